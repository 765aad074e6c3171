"""Run a command within a memory limit, and look at what its processes took.

    within_memory.py LIMIT_MB PEAK_MB COMMAND...

It fails when the command does, when the kernel had to kill a process, or when the largest of them passed
PEAK_MB of resident memory.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial

from benchmarks.memory_limit import join, limit


def main() -> int:
    size, allowed = int(sys.argv[1]) * 1_000_000, int(sys.argv[2])
    with limit(size) as made:
        if made.folder:
            enter = partial(join, str(made.folder / "cgroup.procs"), None)
        else:
            enter = partial(join, None, size)
        done = subprocess.run(sys.argv[3:], preexec_fn=enter, check=False)
        kills = made.kills()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print(f"{made.kind} of {size / 1e6:.0f} MB: largest process {peak:.0f} MB, {kills} killed")
    return int(done.returncode != 0 or kills > 0 or peak > allowed)


if __name__ == "__main__":
    sys.exit(main())
