"""The operators of Chroma's filters."""

from __future__ import annotations

#: Operators that join conditions.
LOGICAL = ("$and", "$or")
#: Operators on numbers and dates.
ORDERED = ("$gt", "$gte", "$lt", "$lte")
#: Operators that take a list of values.
MEMBERSHIP = ("$in", "$nin")
#: Operators on a field that holds a list; on a document they ask for a piece of text.
LISTS = ("$contains", "$not_contains")
#: Operators on a metadata field.
FIELD_OPERATORS = (*ORDERED, "$ne", "$eq", *MEMBERSHIP, *LISTS)
#: Operators that take a regular expression.
PATTERNS = ("$regex", "$not_regex")
DOCUMENT_OPERATORS = (*LISTS, *PATTERNS)
#: Operators on a field or on the document.
OPERATORS = (*FIELD_OPERATORS, *PATTERNS)
