"""`plain_parameters`: the values for ``?``, ``$1`` and ``$name`` as DuckDB takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError


def plain_parameters(given: object) -> Any:
    """Return parameters with NumPy's and pandas' values as Python's own.

    Args:
        given: None, a list or tuple, a dict, or an array or Series of single values.

    Raises:
        InvalidArgumentError: Something else, or a moment finer than DuckDB holds.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(name): _plain(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [_plain(value) for value in given]
    if hasattr(given, "tolist") and not np.isscalar(given):
        return [_plain(value) for value in given]  # type: ignore[attr-defined]
    raise InvalidArgumentError(
        f"Expected parameters to be a list (for ? and $1) or a dict (for $name), got "
        f"{type(given).__name__}: {given!r:.80}."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        if isinstance(value, np.datetime64 | np.timedelta64):
            return _moment(value)
        return value.item()
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if type(value).__module__.partition(".")[0] == "pandas":
        return _moment(value)
    return value


def _moment(value: Any) -> Any:
    """Return a Timestamp, a Timedelta, a missing value or a column of pandas or NumPy as Python's own values."""
    import pandas as pd

    if not pd.api.types.is_scalar(value):
        return [_plain(one) for one in value]
    if pd.isna(value):
        return None
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    elif isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    if getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0):
        raise InvalidArgumentError(
            f"The parameter {value} is finer than a microsecond, and DuckDB's timestamps are not. Round it: "
            "value.round('us')."
        )
    for convert in ("to_pydatetime", "to_pytimedelta"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    return value
