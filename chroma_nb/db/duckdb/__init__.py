"""The DB on DuckDB: `store` in memory, `persistent` in a folder; docs/design.md has the picture."""
