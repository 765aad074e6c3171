"""For each system call: fork a process that runs the scenario, break that call, and check the store that is left.

Run with the shim preloaded: ``python -m tests.trust.every_system_call.walk FOLDER MODE``. Prints the number of calls of
a scenario that nothing breaks, reads a line with the numbers N of the calls to break, and prints one line of JSON for
each N: whether its call was broken, how the processes ended, and what was wrong.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import json
import os
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import chroma_nb
from chroma_nb.db._versions import IS_OLD_DUCKDB
from tests.trust.every_system_call.scenario import Scenario, possible_states, read

if TYPE_CHECKING:
    from collections.abc import Callable

#: Mode -> the kind of fault (the enum of shim.c), and the error.
MODES = {
    "kill": (1, 0),
    "tear": (2, 0),
    "EIO once": (3, errno.EIO),
    "ENOSPC once": (3, errno.ENOSPC),
    "EIO from then on": (4, errno.EIO),
    "ENOSPC from then on": (4, errno.ENOSPC),
}
KILLS = ("kill", "tear")
#: Where its log can be neither written nor truncated, DuckDB 1.3 aborts the process.
ABORTS = IS_OLD_DUCKDB
#: Seconds for one process.
LIMIT = 60

shim = ctypes.CDLL(None)


def in_child(work: Callable[[], None], said: Path, *, may_abort: bool = False) -> str:
    """Run `work` in a forked process; say how that ended."""
    pid = os.fork()
    if not pid:
        with said.open("w") as out:
            os.dup2(out.fileno(), 2)
            faulthandler.enable(out)
            faulthandler.dump_traceback_later(LIMIT, exit=True, file=out)
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                traceback.print_exc(file=out)
            out.flush()
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    ends = {0: "done", signal.SIGKILL: "killed"}
    if may_abort and "Could not truncate file" in said.read_text():
        ends[signal.SIGABRT] = "aborted"
    return ends.get(status, f"ended with {status}: {said.read_text()[-6000:]}")


def one_case(folder: Path, mode: str, n: int) -> dict[str, object]:
    kind, number = MODES[mode]
    store, journal = folder / "disk" / f"{n}", folder / f"journal-{n}"
    broken, said = folder / f"broken-{n}", folder / f"said-{n}"
    told = folder / f"told-{n}"

    def planned(at: int, what: Callable[[Scenario], None]) -> Callable[[], None]:
        def work() -> None:
            if mode.endswith("on"):
                broken.touch()
            shim.fault_plan(kind, ctypes.c_long(at), number, str(broken).encode())
            scenario = Scenario(store, journal, broken, lambda: bool(shim.fault_fired()))
            try:
                what(scenario)
            finally:
                told.write_text(json.dumps([shim.fault_fired(), shim.fault_met()]))

        return work

    def look() -> None:
        states = possible_states(journal)
        with chroma_nb.PersistentClient(store) as client:
            found = read(client)
            assert found in states, f"{found} is none of {states}"
            for name in client:
                client.get_collection(name, embedding_function=None).build_index()
            assert read(client) == found
            # A write deletes vector files that no collection names.
            client.create_collection("written", embedding_function=None)
            client.delete_collection("written")
            vectors = list((store / "vectors").iterdir())
            assert len(vectors) <= len(found), f"orphans: {vectors}"

    may_abort = ABORTS and mode == "EIO from then on"
    ends = [in_child(planned(n, Scenario.run), said, may_abort=may_abort)]
    kills = int(ends[0] == "killed")
    # A process that did not write `told` was ended by the fault.
    fired, met = json.loads(told.read_text()) if told.exists() else (1, 2)
    if mode in KILLS and ends[0] == "killed":
        # Kill it once more, while the store is being opened again.
        ends.append(in_child(planned(1 + n * 7 % 30, Scenario.run_again), said))
        kills += int(ends[1] == "killed")
    ends.append(in_child(look, said))
    allowed = ("done", "killed") if mode in KILLS else ("done", "aborted")
    wrong = [end for end in ends[:-1] if end not in allowed] + [
        end for end in ends[-1:] if end != "done"
    ]
    if not wrong:
        shutil.rmtree(store, ignore_errors=True)
    return {
        "mode": mode,
        "n": n,
        "kills": kills,
        "fired": bool(fired),
        "met": met,
        "ends": [end.partition(":")[0] for end in ends],
        "wrong": wrong,
    }


def main(folder: str, mode: str) -> None:
    # This also imports everything, once for all the processes that are forked.
    places = [Path(folder, name) for name in ("disk", "journal", "broken")]
    Scenario(places[0] / "whole", *places[1:], lambda: False).run()
    print(shim.fault_count(), flush=True)
    for number in sys.stdin.readline().split():
        print(json.dumps(one_case(Path(folder), mode, int(number))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
