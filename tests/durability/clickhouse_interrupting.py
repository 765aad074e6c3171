"""Interrupts calls over ClickHouse (Ctrl-C), and checks the store after each.

``python -m tests.durability.clickhouse_interrupting FOLDER URL CALL N...``; an empty URL is the engine in this process, N may be
a range "first:last:step". One process for all of them, as each has to leave the store usable for the next one. Prints a
line of JSON for each: where the interrupt came (null: the call had fewer places), and how the call ended.
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import TYPE_CHECKING, Any

from chroma_nb.settings import Settings
from chroma_nb.testing._api_base import PLACE, configuration_of
from chroma_nb.testing._processes import Process, records_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Records that are there all the time, and of one write.
N_BASE, N_BATCH = 20, 3


def interrupted_at(n: int, act: Callable[[], object]) -> tuple[str | None, str]:
    """Run `act` with a KeyboardInterrupt at the n-th place where Python looks for signals in this thread.

    These are the beginning of a function, and the return from one that is written in C; in any module.

    Returns:
        The place, None where there are fewer; and how `act` ended.
    """
    left, where = n, None

    def profile(frame: Any, event: str, argument: object) -> None:
        nonlocal left, where
        if event in ("call", "c_return"):
            left -= 1
            if not left:
                sys.setprofile(None)
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise KeyboardInterrupt

    sys.setprofile(profile)
    try:
        act()
        ended = "returned"
    except BaseException as error:
        ended = f"{type(error).__name__}: {error}"
    finally:
        sys.setprofile(None)
    return where, ended


class Store:
    """A collection of which it is known what is in it, seen by two processes; both are in this one."""

    def __init__(self, settings: Settings) -> None:
        from chroma_nb.db import Clickhouse

        self.mine, self.theirs = (Process(Clickhouse(settings), settings) for _ in range(2))
        info = self.mine.api.create_collection(
            f"notes-{uuid.uuid4().hex}", configuration_of(), None, get_or_create=False, **PLACE
        )
        self.mine.id = self.theirs.id = info.id
        #: Id -> version.
        self.known = {f"base-{row}": 0 for row in range(N_BASE)}
        self.mine.add(*self.known)
        self.mine.load()

    def calls(self, n: int) -> dict[str, tuple[Callable[[], object], dict[str, int]]]:
        """Return the calls of case n, each with the versions that it writes."""
        mine = self.mine
        new, old = [f"n{n}-{part}" for part in range(N_BATCH)], list(self.known)[:N_BATCH]
        return {
            "add": (lambda: mine.add(*new), dict.fromkeys(new, 0)),
            "upsert": (lambda: mine.upsert(*old, version=n), dict.fromkeys(old, n)),
            "query": (lambda: mine.nearest("base-1", where={"version": 0}), {}),
            "get": (lambda: (mine.api.unload(mine.id, **PLACE), mine.records()), {}),
            # What the other one has written comes into the loaded segment first.
            "catch up": (lambda: mine.nearest("base-1"), {}),
        }

    def one_case(self, call: str, n: int) -> dict[str, Any]:
        act, written = self.calls(n)[call]
        if call == "catch up":
            self.theirs.add(f"theirs-{n}")
            self.theirs.upsert("base-7", version=n)
            self.known |= {f"theirs-{n}": 0, "base-7": n}
        where, ended = interrupted_at(n, act)
        wrong = []
        if ended not in ("returned", "KeyboardInterrupt: "):
            wrong.append(ended)
        before, after = self.known, {**self.known, **written}
        possible = (
            [records_of(after)] if ended == "returned" else [records_of(after), records_of(before)]
        )
        found = self.mine.records()
        if found not in possible:
            wrong.append(f"found {sorted(found)}")
        # It can be used as before. What a server of ClickHouse was asked for may still come, until the next commit.
        self.mine.add(f"after-{n}")
        is_written = self.mine.records() == records_of({**after, f"after-{n}": 0})
        self.known = after if is_written else before
        self.theirs.add(f"late-{n}")
        self.known |= {f"after-{n}": 0, f"late-{n}": 0}
        # Both see the same.
        for process in (self.mine, self.theirs):
            if process.records() != records_of(self.known):
                wrong.append(f"then {sorted(process.records())}")
            wrong += [
                f"{id} is not found"
                for id, version in self.known.items()
                if process.nearest(id, version) != id
            ]
        doomed = [id for id in self.known if not id.startswith("base-")]
        if self.mine.delete(*doomed) != len(doomed):
            wrong.append("not all were deleted")
        self.known = {id: self.known[id] for id in self.known if id not in doomed}
        return {"n": n, "where": where, "ended": ended, "wrong": wrong}

    def close(self) -> None:
        self.mine.api.close()
        self.theirs.api.close()


def numbers_of(given: list[str]) -> Iterator[int]:
    for one in given:
        if ":" in one:
            yield from range(*map(int, one.split(":")))
        else:
            yield int(one)


def main(folder: str, url: str, call: str, *given: str) -> None:
    place = {"clickhouse_url": url} if url else {"path": f"{folder}/store"}
    settings = Settings(
        db="clickhouse", temp_path=folder, progress=False, idle_unload_seconds=0, **place
    )
    store = Store(settings)
    for number in numbers_of(list(given)):
        case = store.one_case(call, number)
        print(json.dumps(case), flush=True)
        if case["where"] is None:
            break
    assert store.mine.api.segments.check(store.mine.id, lambda _: None).is_whole
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
