"""The ClickHouse store: a log for the catalogue and one for each collection, in a server or in this process (chDB)."""
