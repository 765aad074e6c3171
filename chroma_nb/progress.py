"""Progress bars that show up only when a wait is worth one."""

from __future__ import annotations

import sys
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

DELAY_SECONDS = 2.0


class ProgressBar:
    """A bar that exists from the moment that the work has lasted `delay_seconds`; a context manager.

    Work that is done earlier imports no tqdm and opens no widget. Only the main thread has bars.
    """

    def __init__(
        self,
        total: int,
        desc: str,
        *,
        unit: str = "it",
        enabled: bool = True,
        delay_seconds: float = DELAY_SECONDS,
    ) -> None:
        self.total = total
        self.desc = desc
        self.unit = unit
        self.done = 0
        # Bars of several threads would be drawn over each other, and a background thread's never belongs
        # to the cell that runs.
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._delay_seconds = delay_seconds
        self._started = time.monotonic()
        self._bar: Any = None

    def __repr__(self) -> str:
        return f"ProgressBar({self.desc!r}, {self.done}/{self.total} {self.unit})"

    def __enter__(self) -> ProgressBar:
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            bar, self._bar = self._bar, None
            if error is not None and hasattr(bar, "disp"):
                # tqdm's notebook bar: red, and it stays.
                bar.leave = True
                bar.disp(bar_style="danger", check_delay=False)
            bar.close()

    def set_total(self, total: int) -> None:
        """Say how much there is to do, where that was found out after the bar was made."""
        self.total = total
        if self._bar is not None:
            self._bar.total = total

    def update(self, n: int) -> None:
        """Say that `n` more units are done."""
        self.done += n
        if self._bar is not None:
            self._bar.update(n)
        elif self._enabled and time.monotonic() - self._started >= self._delay_seconds:
            self._open()

    def _open(self) -> None:
        notebook = _in_notebook()
        if not notebook and not _on_terminal():
            self._enabled = False
            return
        with warnings.catch_warnings():
            # Without ipywidgets tqdm.auto warns ("IProgress not found") and draws its bar as text.
            warnings.simplefilter("ignore")
            from tqdm.auto import tqdm

        self._bar = tqdm(
            total=self.total,
            initial=0,
            desc=self.desc,
            unit=self.unit,
            unit_scale=self.unit == "B",
            unit_divisor=1024 if self.unit == "B" else 1000,
            leave=False,
            disable=False,
            file=sys.stdout if notebook else sys.stderr,
        )
        # The rate and the time left are those of the whole work, not of the part after the delay.
        self._bar.start_t -= time.monotonic() - self._started
        self._bar.update(self.done)
        self._bar.refresh()


def progress_bar(
    total: int,
    desc: str,
    *,
    unit: str = "it",
    enabled: bool = True,
    delay_seconds: float = DELAY_SECONDS,
) -> ProgressBar:
    """Return a context manager whose `update(n)` moves a bar, once the work lasts long enough.

    Args:
        total: Units of the whole work.
        desc: What is being done, as the bar says it.
        unit: The unit's name; "B" are bytes and are scaled.
        enabled: False shows nothing, ever; callers pass `Settings.progress`.
        delay_seconds: How long nothing is shown.
    """
    return ProgressBar(total, desc, unit=unit, enabled=enabled, delay_seconds=delay_seconds)


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    return hasattr(ipython.get_ipython(), "kernel")


def _on_terminal() -> bool:
    stream: Any = sys.stderr  # None under pythonw
    return stream is not None and hasattr(stream, "isatty") and bool(stream.isatty())
