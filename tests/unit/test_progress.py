from __future__ import annotations

import io
import re
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
    from collections.abc import Iterator
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


def test_the_last_line_says_what_was_done(terminal: Terminal) -> None:
    work(did="counted", delay_seconds=0.0)
    assert re.search(
        r"\nWorking: 5 texts counted in \d+\.\d s\n$|\rWorking: 5 texts", terminal.getvalue()
    )
    assert open_bars() == 0


@pytest.mark.parametrize(
    ("error", "how"), [(RuntimeError("batch 3"), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_work_that_ends_early_says_how_far_it_was(
    terminal: Terminal, error: BaseException, how: str
) -> None:
    def stopped() -> None:
        with progress_bar(5, "Working", delay_seconds=0.0) as bar:
            bar.update(2)
            assert open_bars() == 1
            raise error

    with pytest.raises(type(error)):
        stopped()
    assert open_bars() == 0
    assert f"Working: {how} after 2 of 5 records" in terminal.getvalue()


def test_bytes_are_scaled(terminal: Terminal) -> None:
    with progress_bar(10 << 20, "Loading", unit="B", did="loaded", delay_seconds=0.0) as bar:
        bar.update(5 << 20)
    assert "5.00M/10.0M" in terminal.getvalue()
    assert "Loading: 5.2 MB loaded in" in terminal.getvalue()


def test_an_unknown_total_is_no_reason_to_fail(terminal: Terminal) -> None:
    with progress_bar(0, "Loading", unit="B", did="loaded", delay_seconds=0.0) as bar:
        bar.update(100)
        bar.update(100)
    assert "Loading: 200 B loaded in" in terminal.getvalue()


def test_a_total_that_is_found_out_late(terminal: Terminal) -> None:
    with progress_bar(0, "Copying", did="copied", delay_seconds=0.0) as bar:
        bar.set_total(4)
        bar.update(3)
        assert "3/4" in terminal.getvalue()


def test_work_within_work_has_no_bar_of_its_own(terminal: Terminal) -> None:
    with progress_bar(2, "Adding", did="added", delay_seconds=0.0) as bar:
        bar.update(1)
        with progress_bar(30, "Embedding", unit="text", did="embedded", delay_seconds=0.0) as inner:
            inner.update(10)
            assert "Embedding: 10 of 30 texts" in str(bar.state)
            assert open_bars() == 1
        assert "Embedding" not in str(bar.state)
        bar.update(1)
    lines = [line for line in terminal.getvalue().split("\n") if " in " in line]
    assert len(lines) == 1
    assert "Adding: 2 records added in" in lines[0]


def test_a_bar_that_an_interrupt_left_open_goes_with_the_outer_one() -> None:
    with progress_bar(2, "Adding", delay_seconds=0.0):
        inner = progress_bar(30, "Embedding")
        inner.__enter__()
        assert len(progress.ProgressBar._open) == 2
    assert progress.ProgressBar._open == []


CELL = """
from chroma_nb.progress import progress_bar
with progress_bar({total}, "Adding to notes", did="added", delay_seconds=0.0) as bar:
    for _ in range(3):
        bar.update(4_000)
        if {fails}:
            raise {fails}
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Any]:
    manager_module = pytest.importorskip("jupyter_client.manager")
    manager, client = manager_module.start_new_kernel(kernel_name="python3", startup_timeout=120)
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client: Any, cell: str) -> list[dict[str, Any]]:
    """Return the outputs of a cell as a notebook saves them: an updated one has its last state."""
    outputs: dict[str, dict[str, Any]] = {}

    def note(message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind in ("display_data", "update_display_data"):
            outputs[content["transient"]["display_id"]] = content["data"]
        elif kind == "stream":
            outputs[f"stream {len(outputs)}"] = {"text/plain": content["text"]}

    client.execute_interactive(cell, output_hook=note, timeout=120)
    return list(outputs.values())


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("None", r"Adding to notes: 12,000 records added in \d+\.\d s"),
        ("RuntimeError()", r"Adding to notes: failed after 4,000 of 20,000 records, \d+\.\d s"),
        (
            "KeyboardInterrupt()",
            r"Adding to notes: stopped after 4,000 of 20,000 records, \d+\.\d s",
        ),
    ],
)
def test_a_saved_notebook_has_the_last_line_alone(kernel: Any, fails: str, sentence: str) -> None:
    """No bar at 0 %, none that is red after success, no widget that a reader has not got."""
    (shown,) = run(kernel, CELL.format(total=20_000, fails=fails))
    assert set(shown) == {"text/plain", "text/html"}
    assert re.fullmatch(sentence, shown["text/plain"])
    assert "<progress" not in shown["text/html"]
    assert re.search(sentence, shown["text/html"])


def test_while_it_lasts_a_notebook_shows_how_far_it_is(kernel: Any) -> None:
    cell = """
from chroma_nb.progress import ProgressState
from IPython.display import display
display(ProgressState("Adding to <b>", "added", "record", 20_000, 5_000, 2.0), display_id="x")
"""
    (shown,) = run(kernel, cell)
    assert shown["text/plain"] == "Adding to <b>: 5,000 of 20,000 records, about 6 s left"
    assert '<progress max="20000" value="5000">' in shown["text/html"]
    assert "<b>" not in shown["text/html"].replace("&lt;b&gt;", "")


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
        assert ("Building the index", 1_200, 1_200) in bars
    for file in (tmp_path / "store").rglob("*.segment"):
        file.unlink()
    with chroma_nb.PersistentClient(tmp_path / "store", settings) as client:
        client.memory.load("notes")
        assert ("Loading notes", 1_200, 1_200) in bars


def test_a_bar_of_another_thread_is_never_drawn() -> None:
    drawn: list[bool] = []

    def work() -> None:
        with progress.progress_bar(10, "x", delay_seconds=0) as bar:
            bar.update(5)
            drawn.append(bar._drawn is not None or bar._enabled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert drawn == [False]
