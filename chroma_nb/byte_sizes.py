"""`format_bytes`: a size in words. It imports nothing, as displays are below everything that they show."""

from __future__ import annotations


def format_bytes(n_bytes: float) -> str:
    """Return a size in three digits and a decimal unit: ``"39.2 MB"``."""
    size = float(n_bytes)
    if abs(size) < 1000:
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if abs(size) >= 99.95 else f"{size:.1f} {unit}"
    return f"{size / 1000:,.1f} TB"
