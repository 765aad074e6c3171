"""`plain_parameters`: the values for ``?``, ``$1`` and ``$name`` as DuckDB takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.words import brief

#: What the values of one list are called. The order matters: a bool is an integer of Python's, too.
_KINDS: dict[type, str] = {
    bool: "bools",
    int: "integers",
    float: "floats",
    str: "texts",
    list: "lists",
    dict: "dicts",
}


def plain_parameters(given: object) -> Any:
    """Return parameters with NumPy's and pandas' values as Python's own.

    Args:
        given: None, a list or tuple, a dict, or an array or Series of single values.

    Raises:
        InvalidArgumentError: Something else, a moment finer than DuckDB holds, or a value that DuckDB would change.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(name): _checked(value) for name, value in given.items()}
    if isinstance(given, list | tuple):
        return [_checked(value) for value in given]
    if hasattr(given, "tolist") and not np.isscalar(given):
        return [_checked(value) for value in given]  # type: ignore[attr-defined]
    raise InvalidArgumentError(
        f"Expected parameters to be a list (for ? and $1) or a dict (for $name), got "
        f"{type(given).__name__}: {brief(given, 80, quoted=True)}."
    )


def _checked(value: Any) -> Any:
    plain = _plain(value)
    _check([plain])
    return plain


def _check(values: list[Any]) -> None:
    """Refuse what DuckDB would change: it takes the values of a list, however deep, for values of one type."""
    values = [value for value in values if value is not None]
    kinds = set(map(_kind, set(map(type, values))))
    integers: list[int] = []
    if "integers" in kinds:
        integers = [value for value in values if _kind(type(value)) == "integers"]
    if integers and not (min(integers) >= -(2**63) and max(integers) < 2**64):
        raise InvalidArgumentError(
            f"The parameter {brief(max(integers, key=abs))} has more than 64 bits, and some versions of DuckDB round it. Give it "
            "as a text: CAST(? AS HUGEINT)."
        )
    if kinds == {"integers", "floats"}:
        inexact = next((value for value in integers if int(float(value)) != value), None)
        if inexact is not None:
            raise InvalidArgumentError(
                "The parameter is a list of integers and floats, which DuckDB takes for floats, and no float is "
                f"{inexact}. Give two lists, or decimal.Decimal for each."
            )
    elif len(kinds) > 1:
        raise InvalidArgumentError(
            f"The parameter is a list of several kinds ({', '.join(sorted(kinds))}), and DuckDB would change all to "
            "one. Give a list for each kind."
        )
    elif kinds == {"lists"}:
        _check([one for value in values for one in value])
    elif kinds == {"dicts"}:
        for name in {name for value in values for name in value}:
            _check([value.get(name) for value in values])


def _kind(of: type) -> str:
    for kind, name in _KINDS.items():
        if issubclass(of, kind):
            return name
    return f"{of.__name__} values"


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
