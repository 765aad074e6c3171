"""SQL over collections: one query about the collections of one tenant and database.

Each collection that a query names becomes a view for the time of the query. The view reads the store's own
DuckDB instance. A second instance that holds only what the query may see would have to be filled: the values
of a million records take seconds and hundreds of megabytes as Python objects, for a query that reads one column
in milliseconds, and several collections would have to be copied in one transaction. What a second instance
would protect is protected in other ways, each of which alone would stop most attacks:

* the query is checked before it runs (`tree`, by the lists in `allowed`): one SELECT, with kinds of tables,
  expressions and table functions that are known, and no table but a collection or one that the query makes.
  Scalar functions are the exception: only those in `allowed.REFUSED_FUNCTION` are refused. A new one is stopped
  by the connection's own limits: no file access, a read-only transaction;
* names without a schema cannot reach the store's tables: the cursor uses a database that is empty, and names
  with a schema are refused. The tables' names hold a collection's id, which is random;
* the query is one transaction, which only reads: all that it names is of one moment;
* the whole instance has no access to files but its own and those of its temporary folder, and neither
  extensions nor Python variables can become tables.

System views (``SHOW TABLES``, ``information_schema``) are the one thing that a second instance answers: it is
made for the query and holds an empty table for each collection (`system_views`).
"""

from __future__ import annotations

from chroma_nb.db.sql.columns import ColumnsCache as ColumnsCache
from chroma_nb.db.sql.query import EMPTY_DATABASE as EMPTY_DATABASE
from chroma_nb.db.sql.query import answer_sql as answer_sql
from chroma_nb.db.sql.vectors import VectorFunction as VectorFunction

__all__ = ["EMPTY_DATABASE", "ColumnsCache", "VectorFunction", "answer_sql"]
