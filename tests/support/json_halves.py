"""Columns of texts that are no JSON each, and some when they are put together."""

from __future__ import annotations

#: Three texts each.
HALVES = [
    ['{"k": 1', '"k": 2}', '{"k": 3}, {"k": 4}'],
    # Each begins and ends as an object does.
    ['{"k": [{}', "{}]}", '{"k": 3}, {"k": 4}'],
    ['{"k": "}', '{"}', '{"k": 3}, {"k": 4}'],
    ['{"k": {}', '{"k": {}}}', '{"k": 3}, {"k": 4}'],
    # What shows that they were put together is written over by the second value of a key.
    ['{"a":[{}', '{}],"a":1}', "{},{}"],
]
