"""What is done to a live map on a page, and seen of it."""

from __future__ import annotations

import contextlib
import io
from typing import Any

from tests.browser.lab import TIMEOUT


def draw_lasso(page: Any, plot: Any, size: float) -> None:
    """Draw around some points of a plot."""
    box = plot.bounding_box()
    assert box is not None
    left, top = box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.3
    page.mouse.move(left, top)
    page.mouse.down()
    # It ends some way from where it began, or it would be a click.
    for dx, dy in ((size, 0), (size, size), (0, size), (0, size / 3)):
        page.mouse.move(left + dx, top + dy, steps=6)
        # The canvas takes no more than one place in some milliseconds.
        page.wait_for_timeout(40)
    page.mouse.up()
    # Away, so that no hover follows.
    page.mouse.move(box["x"] - 60, top)


def select_with_a_lasso(lab: Any, panel: Any, said: Any) -> None:
    """Draw around points of a map until the panel says so."""
    canvas = panel.locator("canvas").first
    chosen = panel.get_by_text(said)
    for attempt in range(4):
        # The canvas takes the mouse some time after it has drawn, and says nowhere when.
        draw_lasso(lab.page, canvas, 120 + 20 * attempt)
        with contextlib.suppress(lab.Timeout):
            chosen.wait_for(timeout=10_000)
            break
    assert chosen.is_visible()


def ground_of(shown: Any) -> str:
    """Return the colour of most of a page or an element."""
    from PIL import Image

    with Image.open(io.BytesIO(shown.screenshot())) as picture:
        few = picture.convert("RGB").getcolors(maxcolors=2**24) or []
    _, color = max(few)
    return "#{:02x}{:02x}{:02x}".format(*color)


def wait_for_ground(page: Any, canvas: Any, ground: str) -> None:
    """Wait until a map is drawn on this colour."""
    for _ in range(TIMEOUT // 250):
        if ground_of(canvas) == ground:
            return
        page.wait_for_timeout(250)
    assert ground_of(canvas) == ground
