"""What SQL may say: every list of what is allowed and what is refused.

Nodes, tables, expressions and table functions are allow-lists: what a later version of DuckDB adds is refused
until somebody has looked at it and put it here.

Scalar functions are the exception: only those in `REFUSED_FUNCTION` are refused. A new one is stopped by the
connection's own limits: no file access, a read-only transaction.

The names in capitals are those of DuckDB's tree of a query (``json_serialize_sql``), which `tree` walks through.
"""

from __future__ import annotations

import re

# -- allowed ----------------------------------------------------------------------------------

#: Kinds of queries.
QUERIES = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
#: Kinds of tables in FROM.
TABLES = {
    "BASE_TABLE",
    "SUBQUERY",
    "JOIN",
    "TABLE_FUNCTION",
    "EXPRESSION_LIST",
    "EMPTY",
    "PIVOT",
    "SHOW_REF",
}
#: Kinds of expressions.
EXPRESSIONS = {
    "BETWEEN",
    "CASE",
    "CAST",
    "COLLATE",
    "COLUMN_REF",
    "COMPARISON",
    "CONJUNCTION",
    "CONSTANT",
    "DEFAULT",
    "FUNCTION",
    "LAMBDA",
    "LAMBDA_REF",
    "OPERATOR",
    "PARAMETER",
    "POSITIONAL_REFERENCE",
    "STAR",
    "SUBQUERY",
    "TYPE",
    "WINDOW",
}
#: Parts of a query that are neither of these.
MODIFIERS = {
    "ORDER_MODIFIER",
    "LIMIT_MODIFIER",
    "LIMIT_PERCENT_MODIFIER",
    "DISTINCT_MODIFIER",
    "ORDER_DEFAULT",
    "ASCENDING",
    "DESCENDING",
}
#: Functions that stand where a table does. They read nothing but their arguments.
TABLE_FUNCTIONS = {
    "range",
    "generate_series",
    "unnest",
    "json_each",
    "json_tree",
    "repeat",
    "repeat_row",
}
#: System views: they list collections and columns, and are answered by an instance without records (`system_views`).
#: Those that may be called as table functions.
SYSTEM_FUNCTIONS = {
    "duckdb_columns",
    "duckdb_databases",
    "duckdb_functions",
    "duckdb_keywords",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
}
#: Those that may be named without a schema.
SYSTEM_VIEWS = {
    "duckdb_columns",
    "duckdb_databases",
    "duckdb_schemas",
    "duckdb_tables",
    "duckdb_types",
    "duckdb_views",
    "sqlite_master",
    "sqlite_schema",
    "pg_tables",
    "pg_class",
    "pg_attribute",
    "pg_namespace",
    "pg_views",
    "pg_type",
}
#: All views of these schemas may be named, but those in `REFUSED_SYSTEM_VIEWS`.
SYSTEM_SCHEMAS = {"information_schema", "pg_catalog"}

# -- refused ----------------------------------------------------------------------------------

#: Settings may hold what comes from the environment, such as the address of a proxy with its password.
REFUSED_SYSTEM_VIEWS = {"pg_settings"}
#: Functions that run SQL from a text, which nobody has checked, that read settings, the environment or files, or
#: that change something. The connection's limits stop most of them, too. chroma_nb_* are the store's own.
REFUSED_FUNCTION = re.compile(
    r"(query|query_table|summary|getenv|get_env|current_setting|which_secret|write_log|"
    r"nextval|currval|setval|get_block_size|format_type|pg_get_\w+|duckdb_\w+|pragma_\w+|chroma_nb_\w+|"
    r"json_(serialize|deserialize|execute)_\w+|(read|write|parquet|copy|import|export|attach|install|load|"
    r"enable|disable|force|python|pandas|arrow|sniff|__internal)_\w+|glob|checkpoint|\w*_scan)",
    re.IGNORECASE,
)
#: Options of EXPLAIN. ANALYZE runs the statement; the others would change the form of the answer.
REFUSED_EXPLAIN_OPTIONS = {
    "ANALYZE",
    "ANALYSE",
    "FORMAT",
    "VERBOSE",
    "COSTS",
    "SETTINGS",
    "TIMING",
    "SUMMARY",
}

#: What to do instead of reading a file.
FILES = (
    "client.sql() reads no files. What collection.export() wrote comes back with client.import_(path); other files come "
    "as tables: collection.from_pandas(pandas.read_csv(path)), "
    "collection.from_arrow(pyarrow.parquet.read_table(path))."
)
#: Table functions that read files.
FILE_FUNCTION = re.compile(r"(read|parquet|sniff)_\w+|glob|\w+_scan", re.IGNORECASE)
