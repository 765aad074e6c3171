"""Stores for tests."""

from __future__ import annotations

import itertools
from typing import Any

import duckdb

import chroma_nb

#: Colab's DuckDB, 1.3.
IS_OLD_DUCKDB = int(duckdb.__version__.split(".")[0]) < 2

_ratios = itertools.count()


def private_settings(**values: Any) -> chroma_nb.Settings:
    """Return settings that no other test has: clients with equal settings share one store in memory."""
    return chroma_nb.Settings(compact_ratio=0.5 + next(_ratios) / 1e6, **values)
