"""`returned_when_freed`: memory that goes back to the system; a fork meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: A thread is within while the process forks; the child says by its exit code whether it can go on.
FORKED = """
import os, threading
from chroma_nb.memory import trim

inside, go = threading.Event(), threading.Event()

def hold():
    with trim.returned_when_freed(), trim._lock:
        inside.set()
        go.wait()

thread = threading.Thread(target=hold)
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    with trim.returned_when_freed():
        assert trim._n_within <= 1
    os._exit(7)
_, status = os.waitpid(child, 0)
go.set()
thread.join()
assert trim._n_within == 0
print(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_within_does_not_hang_the_child() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("7\n", "", 0)
