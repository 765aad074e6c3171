from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from chroma_nb import progress
from chroma_nb.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    # Not sys.stderr itself: pytest's capture puts its own there before each test.
    seen = SimpleNamespace(stderr=stream, stdout=sys.stdout, modules=sys.modules)
    monkeypatch.setattr(progress, "sys", seen)
    return stream


def open_bars() -> int:
    from tqdm.std import tqdm

    return len(getattr(tqdm, "_instances", ()))


def work(steps: int = 5, **arguments: Any) -> None:
    with progress_bar(steps, "Working", unit="text", **arguments) as bar:
        for _ in range(steps):
            bar.update(1)


def test_short_work_shows_nothing(terminal: Terminal) -> None:
    work()
    assert terminal.getvalue() == ""


def test_long_work_shows_a_bar(terminal: Terminal) -> None:
    work(delay_seconds=0.0)
    assert "Working" in terminal.getvalue()
    assert "/5" in terminal.getvalue()
    assert open_bars() == 0


def test_the_bar_starts_with_what_is_done(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress_bar(10, "Working") as bar:
        for _ in range(3):
            now[0] += 0.5
            bar.update(1)
        assert terminal.getvalue() == ""
        now[0] += 0.5
        bar.update(1)
        assert "4/10" in terminal.getvalue()


def test_switched_off(terminal: Terminal) -> None:
    work(enabled=False, delay_seconds=0.0)
    assert terminal.getvalue() == ""


def test_nothing_is_printed_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work(delay_seconds=0.0)
    monkeypatch.setattr(sys, "stderr", None)
    work(delay_seconds=0.0)
    monkeypatch.undo()
    assert capsys.readouterr() == ("", "")


def test_an_error_leaves_no_bar_behind(terminal: Terminal) -> None:
    def stopped() -> None:
        with progress_bar(5, "Working", delay_seconds=0.0) as bar:
            bar.update(1)
            assert open_bars() == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert open_bars() == 0


def test_bytes_are_scaled(terminal: Terminal) -> None:
    with progress_bar(10 << 20, "Loading", unit="B", delay_seconds=0.0) as bar:
        bar.update(5 << 20)
    assert "5.00M/10.0M" in terminal.getvalue()


def test_an_unknown_total_is_no_reason_to_fail(terminal: Terminal) -> None:
    with progress_bar(0, "Loading", unit="B", delay_seconds=0.0) as bar:
        bar.update(100)
        bar.update(100)
    assert "Loading" in terminal.getvalue()


NOTEBOOK = """
import sys, warnings
warnings.simplefilter("error")
{before}
from ipykernel.inprocess import InProcessKernelManager
manager = InProcessKernelManager(); manager.start_kernel()
# What tqdm looks for; a kernel in a process of its own always has it, one in this process may not.
manager.kernel.shell.config.IPKernelApp.parent_appname = "tests"
import ipykernel.zmqshell
from chroma_nb.progress import progress_bar
with progress_bar(3, "Working", delay_seconds=0.0) as bar:
    bar.update(1); bar.update(2)
    print(type(bar._bar).__mro__[1].__module__)
"""


@pytest.mark.parametrize("widgets", [True, False])
def test_in_a_notebook(widgets: bool) -> None:
    """With widgets a widget; without them text, and no warning that asks for an update."""
    pytest.importorskip("ipykernel", reason="needs ipykernel")
    pytest.importorskip("ipywidgets", reason="needs ipywidgets")
    before = "" if widgets else "sys.modules['ipywidgets'] = None"
    code = NOTEBOOK.replace('warnings.simplefilter("error")', "").replace(
        "from chroma_nb",
        # ipywidgets 7, Colab's, is deprecated in its own imports; everything else is an error.
        'warnings.simplefilter("error")\n'
        'warnings.simplefilter("ignore", DeprecationWarning)\nfrom chroma_nb',
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format(before=before)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
    )
    assert done.returncode == 0, done.stderr
    expected = "tqdm.notebook" if widgets else "tqdm.std"
    assert expected in done.stdout
    assert "IProgress" not in done.stdout + done.stderr


def test_tqdm_is_not_imported_for_short_work() -> None:
    code = (
        "import sys; from chroma_nb.progress import progress_bar\n"
        "with progress_bar(1, 'x') as bar: bar.update(1)\n"
        "print('tqdm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_warning_escapes(terminal: Terminal) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        work(delay_seconds=0.0)
