"""Stores for tests."""

from __future__ import annotations

import itertools
from typing import Any

import chroma_nb

_ratios = itertools.count()


def private_settings(**values: Any) -> chroma_nb.Settings:
    """Return settings that no other test has: clients with equal settings share one store in memory."""
    return chroma_nb.Settings(compact_ratio=0.5 + next(_ratios) / 1e6, **values)
