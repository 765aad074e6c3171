"""`plain_scalar`: NumPy's scalars, dates and enumerations as the plain values that are stored and compared.

A date or a time becomes ISO 8601 text, so that every client of Chroma can read it. `instant` reads such
text again: dates are compared by the moment that they stand for, not by their letters.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np

#: A date in ISO 8601's extended form, with or without a time and an offset. Python's `re` and RE2 read it
#: alike, and it holds no question mark, which would be a parameter in SQL. The groups are `ISO_GROUPS`.
ISO_DATE = (
    r"^([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"([Tt ]([01][0-9]|2[0-3])(:([0-5][0-9])(:([0-5][0-9])([.,]([0-9]{1,9})){0,1}){0,1}){0,1}"
    r"([Zz]|([+-])([01][0-9]|2[0-3])(:{0,1}([0-5][0-9])(:{0,1}([0-5][0-9])){0,1}){0,1}){0,1}){0,1}$"
)
ISO_GROUPS = (
    "year",
    "month",
    "day",
    "time",
    "hour",
    "from_minute",
    "minute",
    "from_second",
    "second",
    "point",
    "fraction",
    "zone",
    "sign",
    "offset_hour",
    "from_offset_minute",
    "offset_minute",
    "from_offset_second",
    "offset_second",
)
_ISO_DATE = re.compile(ISO_DATE)
_MIDNIGHT = "T00:00:00"
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
SECOND = 10**9


def is_integer(value: Any) -> bool:
    """Say whether a value is a whole number, Python's or NumPy's; True and False are none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def plain_scalar(value: Any) -> Any:
    """Return a value as a plain str, int, float or bool where it stands for one; else as it is.

    `datetime.datetime`, `datetime.date`, `pandas.Timestamp` and `numpy.datetime64` become ISO 8601 text.
    Not-a-time values (NaT) become NaN, and are refused where NaN is.
    """
    if isinstance(value, np.datetime64):
        return _iso_of_datetime64(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime.date):
        # pandas' NaT is an instance of datetime, and equals nothing.
        return value.isoformat() if value == value else float("nan")
    return value


def _iso_of_datetime64(value: np.datetime64) -> Any:
    if np.isnat(value):
        return float("nan")
    unit = np.datetime_data(value.dtype)[0]
    text = str(np.datetime_as_string(value.astype("datetime64[D]") if unit in "YMW" else value))
    head, point, fraction = text.partition(".")
    # As pandas writes it: no fraction, six digits, or nine.
    fraction = fraction.rstrip("0")
    if not fraction:
        return head
    return f"{head}{point}{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}"


def date_spellings(value: Any) -> list[str]:
    """Return how a date without an offset may have been stored: a day as its midnight as well.

    Args:
        value: A `datetime.date`, `datetime.datetime`, `pandas.Timestamp` or `numpy.datetime64`.

    Returns:
        One text or two, as `plain_scalar` writes them; none where the value is something else.
    """
    if not isinstance(value, datetime.date | np.datetime64):
        return []
    text = plain_scalar(value)
    if not isinstance(text, str):
        return []
    day = text.removesuffix(_MIDNIGHT)
    return [day, day + _MIDNIGHT] if len(day) == len("2024-05-01") else [text]


def instant(text: str) -> int | None:
    """Return the moment that an ISO 8601 text stands for, in nanoseconds since 1970 UTC.

    Text without an offset is taken as UTC, text without a time as midnight. None where the text is not a
    date in the form ``YYYY-MM-DD[THH[:MM[:SS[.fraction]]][Z|+HH[:MM]]]``.
    """
    # Most texts are not dates: one look decides.
    if text[4:5] != "-":
        return None
    found = _ISO_DATE.match(text)
    if found is None or text[-1] == "\n":
        return None
    (year, month, day, _, hour, _, minute, _, second, _, fraction, _) = found.groups()[:12]
    sign, offset_hour, _, offset_minute, _, offset_second = found.groups()[12:]
    try:
        days = datetime.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    seconds = days * 86_400 + int(hour or 0) * 3_600 + int(minute or 0) * 60 + int(second or 0)
    offset = int(offset_hour or 0) * 3_600 + int(offset_minute or 0) * 60 + int(offset_second or 0)
    seconds += offset if sign == "-" else -offset
    return seconds * SECOND + int((fraction or "").ljust(9, "0"))
