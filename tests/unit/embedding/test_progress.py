from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import progress
from chroma_nb.progress import progress_bar

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every bar that was left, as (what, done, total)."""
    left: list[tuple[str, int, int]] = []
    original = progress.ProgressBar.__exit__

    def leave(bar: progress.ProgressBar, *error: Any) -> None:
        left.append((bar.desc, bar.done, bar.total))
        original(bar, *error)

    monkeypatch.setattr(progress.ProgressBar, "__exit__", leave)
    return left


def test_adding_building_and_loading_say_how_far_they_are(
    tmp_path: Path, bars: list[tuple[str, int, int]]
) -> None:
    vectors = np.random.default_rng(1).standard_normal((1_200, 8))
    settings = chroma_nb.Settings(graph_min_records=500)
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(ids=[str(n) for n in range(1_200)], embeddings=vectors)
        notes.build_index()
        assert ("Building the graph", 1_200, 1_200) in bars
    for file in (tmp_path / "store").rglob("*.segment"):
        file.unlink()
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        client.memory.load("notes")
        assert ("Loading", 1_200, 1_200) in bars


def test_a_bar_of_another_thread_is_never_drawn() -> None:
    drawn: list[bool] = []

    def work() -> None:
        with progress.progress_bar(10, "x", delay_seconds=0) as bar:
            bar.update(5)
            drawn.append(bar._bar is not None or bar._enabled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert drawn == [False]


def test_what_fails_leaves_a_red_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets", reason="needs ipywidgets")
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    import tqdm.auto
    import tqdm.notebook

    shown: list[Any] = []

    class Bar(tqdm.notebook.tqdm_notebook):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **values: Any) -> None:
            super().__init__(*args, **{**values, "display": False})
            shown.append(self)

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)

    def work() -> None:
        with progress.progress_bar(10, "embedding", delay_seconds=0) as bar:
            bar.update(2)
            bar.update(2)
            raise RuntimeError("batch 3")

    with pytest.raises(RuntimeError, match="batch 3"):
        work()
    (only,) = shown
    assert only.container.children[-2].bar_style == "danger"
