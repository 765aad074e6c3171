"""The scenario of `test_every_system_call`: everything that changes a store's files, while one system call fails.

Every operation is noted in a journal outside the store: before it, what it is going to change; after it, that it was
acknowledged. From the journal `possible_states` computes in which states the store may be.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb.db.store_lock import StoreLock
from chroma_nb.segment import manager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Collection -> id -> the token from which everything in the record is made.
State = dict[str, dict[str, int]]

#: With these a few records are enough for a graph and for a compaction, and both begin at once.
SETTINGS: dict[str, Any] = {
    "graph_min_records": 20,
    "compact_ratio": 0.3,
    "threads": 1,
    "progress": False,
    "allow_reset": True,
}
manager._MIN_DEAD_BYTES = 0
manager._BUILD_DELAY_SECONDS = 0.01
#: How long to wait for background work, seconds. Where its files cannot be written it never ends.
_PATIENCE = 2.0


def vector(token: int) -> list[float]:
    return np.random.default_rng(token).standard_normal(8).astype("f4").tolist()


def record(token: int) -> dict[str, Any]:
    """Return all of a record but its id, made from its token."""
    return {
        "embeddings": vector(token),
        "documents": f"document {token}",
        "metadatas": {"token": token},
    }


def outcomes(state: State, change: dict[str, Any]) -> list[State]:
    """Return the states that a change brings a store into, in order; the last is the result."""
    name, to = change["of"], change.get("to")
    records = state.get(name)
    match change["does"]:
        case "create":
            return [{**state, name: {}}]
        case "write" if records is not None:
            after = records | change["set"]
            return [
                {**state, name: {key: after[key] for key in after if key not in change["drop"]}}
            ]
        case "copy" if records is not None:
            # The copy is made before it is filled, piece by piece; running the call again resumes it.
            ids = list(records)
            ends = range(len(ids) + 1)
            return [{**state, to: {one: records[one] for one in ids[:end]}} for end in ends]
        case "rename" if records is not None:
            return [{to if key == name else key: one for key, one in state.items()}]
        case "delete" if records is not None:
            return [{key: one for key, one in state.items() if key != name}]
        case "reset":
            return [{}]
    return [state]


def unique(states: list[State]) -> list[State]:
    return [one for n, one in enumerate(states) if one not in states[:n]]


class Journal:
    """What was tried and what was acknowledged, in a file that outlives the process."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def note(self, *words: Any) -> None:
        self._file.write(json.dumps(words) + "\n")
        self._file.flush()


def possible_states(path: Path) -> list[State]:
    """Read a journal and return the states in which the store may be."""
    states: list[State] = [{}]
    reached: list[State] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        word, what = json.loads(line)
        if word == "try":
            reached = [after for state in states for after in outcomes(state, what)]
            done = [outcomes(state, what)[-1] for state in states]
        elif word == "ok":
            states, reached = unique(done), []
        elif word == "nothing":
            reached = []
        elif word == "failed":
            states, reached = unique(states + reached), []
        elif word == "is":
            states, reached = [what], []
    return unique(states + reached)


def read(client: Any) -> State:
    """Read every record of a store in several ways, check that they agree, and return what it holds."""
    state: State = {}
    for name in client:
        collection = client.get_collection(name, embedding_function=None)
        found = collection.get(include=["embeddings", "documents", "metadatas"])
        tokens = [one["token"] for one in found["metadatas"]]
        expected = [record(token) for token in tokens]
        assert found["documents"] == [one["documents"] for one in expected], name
        if tokens:
            vectors = np.float32([one["embeddings"] for one in expected])
            np.testing.assert_array_equal(np.float32(found["embeddings"]), vectors)
            asked = collection.query(query_embeddings=vectors[:5], n_results=1, include=[])
            assert [ids[0] for ids in asked["ids"]] == found["ids"][:5], name
        where = {"token": {"$gte": 0}}
        assert collection.get(where=where, include=[])["ids"] == found["ids"], name
        state[name] = dict(zip(found["ids"], tokens, strict=True))
        assert len(state[name]) == len(tokens) == collection.count(), f"an id twice in {name}"
        assert client.sql(f'SELECT count(*) AS n FROM "{name}"')["n"][0] == len(tokens), name
    return state


class Scenario:
    """Runs the operations on one store.

    Args:
        path: The store.
        journal: The file of the journal.
        broken: As long as this file exists, system calls fail (modes "from then on").
        fired: Says whether a system call was broken so far.
    """

    def __init__(self, path: Path, journal: Path, broken: Path, fired: Callable[[], bool]) -> None:
        self.path, self.journal_path = path, journal
        self.journal = Journal(journal)
        self.broken, self.fired = broken, fired
        self.client: Any = None
        self._token = 0
        self._last_error: Exception | None = None

    # -- doing --------------------------------------------------------------------------------

    def attempt(self, change: dict[str, Any] | None, call: Callable[[], object]) -> bool:
        """Run one operation; say whether it was acknowledged."""
        if change is not None:
            self.journal.note("try", change)
        try:
            call()
        except chroma_nb.errors.ChromaError as error:
            assert self.fired(), "it failed although no system call was broken"
            self._last_error = error
            if change is not None:
                # A copy makes several commits: that nothing was kept may be said of the last one alone.
                is_sure = "nothing of this call was kept" in str(error) and change["does"] != "copy"
                self.journal.note("nothing" if is_sure else "failed", None)
            return False
        if change is not None:
            self.journal.note("ok", None)
        return True

    def do(self, change: dict[str, Any] | None, call: Callable[[], object]) -> None:
        """Run one operation. When it fails, go on with the same client and repeat it."""
        was_fired = self.fired()
        if not self.attempt(change, call):
            if self.broken.exists():
                # Repeat it and read while the disk still fails: only errors of ours may be raised.
                self.attempt(change, call)
                with contextlib.suppress(chroma_nb.errors.ChromaError):
                    read(self.client) if self.client is not None else None
                self.broken.unlink()
            if self.client is not None:
                found = self.check()
                if change is None or found != outcomes(found, change)[-1]:
                    assert self.attempt(change, call), f"the disk works again: {self._last_error!r}"
        if was_fired and self.broken.exists():
            # Background work met the failure. The disk works again from here on.
            self.broken.unlink()
            if self.client is not None:
                self.check()

    def check(self) -> State:
        """Check that the store is in one of the possible states, and note which one."""
        try:
            found = read(self.client)
        except chroma_nb.errors.ChromaError:
            # Background work that had begun while the disk failed has just raised.
            assert self.fired()
            self.broken.unlink(missing_ok=True)
            found = read(self.client)
        states = possible_states(self.journal_path)
        assert found in states, f"{shortened(found)} is none of {[shortened(s) for s in states]}"
        self.journal.note("is", found)
        return found

    def tokens(self, ids: list[str]) -> dict[str, int]:
        first = self._token
        self._token += len(ids)
        return {one: first + n for n, one in enumerate(ids)}

    def at(self, name: str) -> Any:
        return self.client.get_collection(name, embedding_function=None)

    def open(self) -> None:
        def call() -> None:
            self.client = chroma_nb.PersistentClient(self.path, chroma_nb.Settings(**SETTINGS))

        self.do(None, call)
        if self.client is None:
            call()

    def create(self, name: str) -> None:
        self.do(
            {"does": "create", "of": name},
            lambda: self.client.create_collection(name, embedding_function=None),
        )

    def write(self, name: str, ids: list[str], how: str = "upsert") -> None:
        tokens = self.tokens(ids)
        records = [record(token) for token in tokens.values()]
        columns = {key: [one[key] for one in records] for key in records[0]}
        change = {"does": "write", "of": name, "set": tokens, "drop": []}
        self.do(change, lambda: getattr(self.at(name), how)(ids=ids, **columns))

    def drop(self, name: str, ids: list[str]) -> None:
        change = {"does": "write", "of": name, "set": {}, "drop": ids}
        self.do(change, lambda: self.at(name).delete(ids=ids))

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Wait for background work, for a while."""

        def call() -> None:
            until = time.monotonic() + _PATIENCE
            with contextlib.suppress(chroma_nb.errors.ChromaError):
                while not is_done() and time.monotonic() < until and not self.fired():
                    time.sleep(0.002)

        self.do(None, call)

    def close(self) -> None:
        client, self.client = self.client, None
        self.do(None, client.close)
        # The lock must be free, whatever failed: otherwise this raises.
        StoreLock(str(self.path / "lock")).release()

    # -- the operations -----------------------------------------------------------------------

    def run(self) -> None:
        """Do everything that changes files, from the first opening to the last close."""
        self.open()
        self.create("notes")
        self.write("notes", [f"a{i}" for i in range(30)], "add")
        self.wait(lambda: self.at("notes").get_indexing_status().num_unindexed_ops == 0)
        self.write("notes", ["b"], "add")
        self.write("notes", [f"a{i}" for i in range(5)], "update")
        self.do(None, lambda: self.client.unload("notes"))
        self.write("notes", [f"c{i}" for i in range(600)])
        self.do(None, lambda: self.at("notes").build_index())
        self.do(None, lambda: self.client.memory.set_ttl("notes", 0.01))
        self.wait(lambda: self.client.memory.report().collections[0].state == "on disk")
        self.do(None, lambda: self.client.memory.set_ttl("notes", None))
        generations = self._files("vectors")
        self.drop("notes", [f"c{i}" for i in range(550)])
        self.wait(lambda: self._files("vectors") != generations)
        self.do(
            {"does": "copy", "of": "notes", "to": "copy"}, lambda: self.at("notes").fork("copy")
        )
        self.do(
            {"does": "rename", "of": "copy", "to": "other"},
            lambda: self.at("copy").modify(name="other"),
        )
        self.write("other", ["d", "a7"])
        self.do({"does": "delete", "of": "other"}, lambda: self.client.delete_collection("other"))
        self.write("notes", ["e", "a0"])
        self.close()
        self.open()
        self.write("notes", [f"f{i}" for i in range(20)])
        self.create("more")
        self.write("more", ["g"])
        self.do({"does": "reset", "of": ""}, lambda: self.client.reset())
        self.create("notes")
        self.write("notes", [f"h{i}" for i in range(40)])
        self.drop("notes", [f"h{i}" for i in range(20)])
        self.close()
        self.run_again()

    def run_again(self) -> None:
        """Open the store that is there, write once more, and close it."""
        if self.fired():
            self.broken.unlink(missing_ok=True)
        self.open()
        self.check()
        if "after" not in self.client:
            self.create("after")
        self.write("after", ["x", "y"])
        self.check()
        self.close()

    def _files(self, folder: str) -> list[str]:
        return sorted(one.name for one in (self.path / folder).iterdir())


def shortened(state: State) -> str:
    return str({name: len(records) for name, records in state.items()})
