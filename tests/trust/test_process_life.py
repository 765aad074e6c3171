"""However a process is forked, and however the child ends: no record is lost, and the next open works.

A sample of the cases by default, ``--all`` for every one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chroma_nb as chroma

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")

WAYS = ["fork", "fork_in_a_thread", "multiprocessing", "pool"]
ENDS = ["nothing", "leave", "drop", "close", "use", "open_again", "open_own", "embed"]
#: Not ("pool", "leave"): Python replaces a worker that exits by a new one, for ever.
CASES = [(way, end) for way in WAYS for end in ENDS if (way, end) != ("pool", "leave")]


def sampled() -> list[tuple[str, str, str]]:
    """Return a sample, the same each time, that has every way and every end twice, with and without busy threads."""
    rng = random.Random(1)
    ends = rng.sample(ENDS, len(ENDS))
    chosen = []
    for turn in range(2):
        for n, end in enumerate(ends):
            way = WAYS[(n + turn) % len(WAYS)]
            if (way, end) in CASES:
                chosen.append((way, end, ["quiet", "busy"][(n // len(WAYS) + turn) % 2]))
    return chosen


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" not in metafunc.fixturenames:
        return
    cases = sampled()
    if metafunc.config.getoption("all"):
        cases = [(*case, is_busy) for case in CASES for is_busy in ("quiet", "busy")]
    metafunc.parametrize(("way", "end", "is_busy"), cases)


@pytest.mark.slow
def test_a_forked_child_does_not_harm_the_parents_store(
    tmp_path: Path, way: str, end: str, is_busy: str
) -> None:
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("forking.py"), store, way, end, is_busy],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = done.stdout.split("\n")
    assert "status 0" in lines, (done.stderr, lines[-3:])
    written = {line for line in lines if line and not line.startswith(("-", "status"))}
    deleted = {line[1:] for line in lines if line.startswith("-")}
    with chroma.PersistentClient(store) as client:
        found = client.get_collection("notes", embedding_function=None).get()
    assert set(found["ids"]) == written - deleted
    assert found["documents"] == found["ids"]
    assert "Traceback" not in done.stderr


#: A thread imports a module for half a second, and the process is forked meanwhile.
FORK_WHILE_IMPORTING = """
import os, pathlib, signal, sys, threading, time
from chroma_nb.lazy import lazily

sys.path.insert(0, sys.argv[1])
pathlib.Path(sys.argv[1], "slow_module.py").write_text("import time; time.sleep(0.5); value = 1")
thread = threading.Thread(target=lazily, args=("slow_module", "value"))
thread.start()
while "slow_module" not in sys.modules:
    time.sleep(0.01)
pid = os.fork()
if not pid:
    # Otherwise the child would wait for ever.
    signal.alarm(20)
    assert lazily("slow_module", "value") == 1
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
thread.join()
assert lazily("slow_module", "value") == 1
"""

#: What is imported asks for a logger, whose lock ``logging`` holds while a process is forked.
FORK_WHILE_AN_IMPORT_LOGS = FORK_WHILE_IMPORTING.replace(
    "from chroma_nb.lazy import lazily",
    "from chroma_nb import importing; import logging; from chroma_nb.lazy import lazily\n"
    "importing._PATIENCE_SECONDS = importing._LONG_PATIENCE_SECONDS = 1e6",
).replace("value = 1", "import logging; logging.getLogger('some'); value = 1")

#: The same with an ``import`` in a function of this package.
FORK_WHILE_A_FUNCTION_IMPORTS = """
import os, pathlib, signal, sys, threading, time
import chroma_nb

sys.path.insert(0, sys.argv[1])
pathlib.Path(sys.argv[1], "slow_module.py").write_text("import time; time.sleep(0.5); value = 1")
file = os.path.join(os.path.dirname(chroma_nb.__file__), "some_file.py")
names = {}
exec(compile("def work():\\n    import slow_module\\n    return slow_module.value", file, "exec"), names)
thread = threading.Thread(target=names["work"])
thread.start()
while "slow_module" not in sys.modules:
    time.sleep(0.01)
pid = os.fork()
if not pid:
    signal.alarm(20)
    assert names["work"]() == 1
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
thread.join()
"""

#: A program runs in the import of its own module, and another thread of it forks: that waits for nothing.
FORK_IN_A_PROGRAM_THAT_IS_IMPORTED = """
import pathlib, sys

sys.path.insert(0, sys.argv[1])
pathlib.Path(sys.argv[1], "program.py").write_text('''
import os, threading
import chroma_nb
from chroma_nb import importing
importing._PATIENCE_SECONDS = importing._LONG_PATIENCE_SECONDS = 1e6
def fork():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
thread = threading.Thread(target=fork)
thread.start()
thread.join()
''')
import program
"""

#: A module forks while it is imported, and another thread waits for it.
FORK_IN_AN_IMPORT = """
import os, pathlib, sys, threading, time
from chroma_nb import importing
from chroma_nb.lazy import lazily

importing._PATIENCE_SECONDS = 1.0
sys.path.insert(0, sys.argv[1])
pathlib.Path(sys.argv[1], "forking_module.py").write_text('''
import os, threading, time
from chroma_nb.lazy import lazily
thread = threading.Thread(target=lazily, args=("forking_module", "pid"))
thread.start()
time.sleep(0.2)
pid = os.fork()
if not pid:
    os._exit(0)
''')
assert os.waitpid(lazily("forking_module", "pid"), 0)[1] == 0
assert lazily("json", "loads")
"""


@pytest.mark.parametrize(
    "script",
    [
        FORK_WHILE_IMPORTING,
        FORK_WHILE_AN_IMPORT_LOGS,
        FORK_WHILE_A_FUNCTION_IMPORTS,
        FORK_IN_A_PROGRAM_THAT_IS_IMPORTED,
        FORK_IN_AN_IMPORT,
    ],
)
def test_a_fork_waits_for_what_other_threads_import(tmp_path: Path, script: str) -> None:
    """But not for ever. The child has a copy of a module's import lock, which no thread of it releases."""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_child_cannot_open_a_store_that_was_open_when_it_was_forked(tmp_path: Path) -> None:
    """Not even after the parent has closed it: the child's copy cannot be closed."""
    store, said = tmp_path / "store", tmp_path / "said"
    client = chroma.PersistentClient(store)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.read(read, 1)
            chroma.PersistentClient(store)
        except BaseException as error:
            said.write_text(f"{type(error).__name__}: {error}")
        os._exit(0)
    client.close()
    os.write(write, b"x")
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    assert said.read_text().startswith("InternalError: The store in")
    assert f"forked while pid {os.getpid()} had the store open" in said.read_text()
    assert "spawn" in said.read_text()
    script = "import sys, chroma_nb; chroma_nb.PersistentClient(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", script, store], check=True, timeout=60)
