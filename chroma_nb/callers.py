"""`level_outside`: where in the user's code a warning belongs."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def level_outside() -> int:
    """Return the `stacklevel` of `warnings.warn`, seen from who calls this, of the user's line that led here."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    return level
