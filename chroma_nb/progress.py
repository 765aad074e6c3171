"""Progress bars that show up only when a wait is worth one, and end with what was done.

In a notebook a bar is an output that is updated in place, so what is saved or exported is its last state: a line
such as "Adding to notes: 20,000 records added in 8.1 s". In a terminal tqdm draws it. Work within work shows no
bar of its own: it is a few words behind the outer one.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import warnings
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from chroma_nb.display.base import Displayed
from chroma_nb.memory.sizes import format_bytes
from chroma_nb.words import counted

if TYPE_CHECKING:
    from types import TracebackType

DELAY_SECONDS = 2.0
#: How often an output in a notebook is updated at most.
_UPDATE_SECONDS = 0.2


@dataclass
class ProgressState(Displayed):
    """How far some work is, or how it ended; what a notebook shows."""

    _view = "progress"

    desc: str
    #: What has been done to the units in the end: "added", "embedded".
    did: str
    unit: str
    total: int
    done: int = 0
    seconds: float = 0.0
    #: "" while it goes on; "done", "stopped" or "failed".
    ended: str = ""
    #: What the work within it is at.
    within: str = ""

    def count(self, n: int) -> str:
        """Return a number of units in words."""
        if self.unit == "B":
            return format_bytes(n)
        return counted(n, self.unit)

    def sentence(self) -> str:
        """Return one line that says it all."""
        if self.ended == "done":
            return f"{self.desc}: {self.count(self.done)} {self.did} in {self.seconds:.1f} s"
        far = self.count(self.done)
        if self.total:
            far = f"{far if self.unit == 'B' else f'{self.done:,}'} of {self.count(self.total)}"
        if self.ended:
            return f"{self.desc}: {self.ended} after {far}, {self.seconds:.1f} s"
        left = ""
        if 0 < self.done < self.total:
            left = f", about {self.seconds * (self.total - self.done) / self.done:.0f} s left"
        return f"{self.desc}: {far}{left}{f' ({self.within})' if self.within else ''}"

    def __str__(self) -> str:
        return self.sentence()

    def __repr__(self) -> str:
        return f"<{self.sentence()}>"


class ProgressBar:
    """A bar that exists from the moment that the work has lasted `delay_seconds`; a context manager.

    Work that is done earlier shows nothing and imports nothing. Only the main thread has bars.
    """

    #: Of the main thread's work, the outermost first. Held weakly: an interrupt may keep one from being left.
    _open: ClassVar[list[weakref.ref[ProgressBar]]] = []

    def __init__(
        self,
        total: int,
        desc: str,
        *,
        unit: str = "record",
        did: str = "done",
        enabled: bool = True,
        delay_seconds: float = DELAY_SECONDS,
    ) -> None:
        self.state = ProgressState(desc, did, unit, total)
        # Bars of several threads would be drawn over each other, and a background thread's never belongs
        # to the cell that runs.
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._delay_seconds = delay_seconds
        self._started = time.monotonic()
        #: What draws it; None while nothing is drawn.
        self._drawn: _Notebook | _Terminal | None = None
        self._outer: ProgressBar | None = None

    @property
    def desc(self) -> str:
        """What is being done."""
        return self.state.desc

    @property
    def total(self) -> int:
        """Units of the whole work."""
        return self.state.total

    @property
    def done(self) -> int:
        """Units that are done."""
        return self.state.done

    def __repr__(self) -> str:
        return f"ProgressBar({self.desc!r}, {self.done}/{self.total} {self.state.unit})"

    def __enter__(self) -> ProgressBar:
        self._started = time.monotonic()
        if self._enabled:
            self._open[:] = [one for one in self._open if one() is not None]
            self._outer = self._open[0]() if self._open else None
            self._open.append(weakref.ref(self))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        places = [at for at, one in enumerate(self._open) if one() is self]
        if places:
            # Inner ones that an interrupt has left open go with this one.
            del self._open[places[0] :]
        if self._outer is not None:
            self._outer.state.within = ""
            return
        if self._drawn is not None:
            self.state.seconds = time.monotonic() - self._started
            self.state.ended = "done"
            if error is not None:
                self.state.ended = "failed" if isinstance(error, Exception) else "stopped"
            drawn, self._drawn = self._drawn, None
            drawn.end(self.state)

    def set_total(self, total: int) -> None:
        """Say how much there is to do, where that was found out after the bar was made."""
        self.state.total = total

    def update(self, n: int) -> None:
        """Say that `n` more units are done."""
        self.state.done += n
        if not self._enabled:
            return
        if self._outer is not None:
            self.state.seconds = time.monotonic() - self._started
            self._outer.state.within = self.state.sentence()
            self._outer._show()
        else:
            self._show()

    def _show(self) -> None:
        self.state.seconds = time.monotonic() - self._started
        if self._drawn is None and self.state.seconds >= self._delay_seconds:
            if _in_notebook():
                self._drawn = _Notebook()
            elif _on_terminal():
                self._drawn = _Terminal()
            else:
                self._enabled = False
        if self._drawn is not None:
            self._drawn.update(self.state)


class _Notebook:
    """An output that is updated in place, its last state included where the notebook is saved."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._updated = 0.0

    def update(self, state: ProgressState) -> None:
        now = time.monotonic()
        if now - self._updated < _UPDATE_SECONDS:
            return
        self._updated = now
        if self._handle is None:
            from IPython.display import display

            self._handle = display(state, display_id=True)
        else:
            self._handle.update(state)

    def end(self, state: ProgressState) -> None:
        if self._handle is not None:
            # The work is over whatever becomes of its picture.
            with contextlib.suppress(Exception):
                self._handle.update(state)


class _Terminal:
    """tqdm's bar, and a line in its place when the work is over."""

    def __init__(self) -> None:
        self._bar: Any = None

    def update(self, state: ProgressState) -> None:
        if self._bar is None:
            self._bar = self._made(state)
            self._bar.update(state.done)
            self._bar.refresh()
            return
        self._bar.total = state.total or None
        self._bar.set_postfix_str(state.within, refresh=False)
        self._bar.update(state.done - self._bar.n)

    def _made(self, state: ProgressState) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from tqdm import tqdm

        is_bytes = state.unit == "B"
        bar = tqdm(
            total=state.total or None,
            desc=state.desc,
            unit=state.unit,
            unit_scale=is_bytes,
            unit_divisor=1024 if is_bytes else 1000,
            leave=False,
            file=sys.stderr,
        )
        # The rate and the time left are those of the whole work, not of the part after the delay.
        bar.start_t -= state.seconds
        return bar

    def end(self, state: ProgressState) -> None:
        if self._bar is not None:
            self._bar.close()
            with contextlib.suppress(OSError, ValueError):
                print(state.sentence(), file=sys.stderr)


def progress_bar(
    total: int,
    desc: str,
    *,
    unit: str = "record",
    did: str = "done",
    enabled: bool = True,
    delay_seconds: float = DELAY_SECONDS,
) -> ProgressBar:
    """Return a context manager whose `update(n)` moves a bar, once the work lasts long enough.

    Args:
        total: Units of the work that is still to do; 0 where that is not known.
        desc: What is being done, as the bar says it: "Adding to notes".
        unit: One of the units, a noun whose plural has an s; "B" are bytes and are scaled.
        did: What was done to them, as the last line says it: "added".
        enabled: False shows nothing, ever; callers pass `Settings.progress`.
        delay_seconds: How long nothing is shown.
    """
    return ProgressBar(
        total, desc, unit=unit, did=did, enabled=enabled, delay_seconds=delay_seconds
    )


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return False
    return hasattr(ipython.get_ipython(), "kernel")


def _on_terminal() -> bool:
    stream: Any = sys.stderr  # None under pythonw
    return stream is not None and hasattr(stream, "isatty") and bool(stream.isatty())
