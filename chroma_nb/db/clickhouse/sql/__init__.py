"""SQL over collections in ClickHouse: one query about the collections of one tenant and database.

ClickHouse itself reads the query (`parseQueryToJSON`), so that what is checked is what it would run. Each node of that tree,
each of its fields, each function and each table is looked up in a list of what is allowed (`tree`, `allowed`). Tables are
replaced by names that nobody can guess: a collection's by one that stands for its records at one commit (`columns`), those
that the query itself makes (``WITH``) by others, so that no name reaches a table of ClickHouse. ClickHouse writes the tree as
text again (`formatQueryFromJSON`); the text is read and checked once more, and run in a session that only reads and has
limits (`session`).
"""

from __future__ import annotations

from chroma_nb.db.clickhouse.sql.columns import ColumnsCache as ColumnsCache
from chroma_nb.db.clickhouse.sql.query import answer_sql as answer_sql
from chroma_nb.db.clickhouse.sql.session import Sessions as Sessions

__all__ = ["ColumnsCache", "Sessions", "answer_sql"]
