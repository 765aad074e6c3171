"""Which DuckDB this is: some of its faults are of one version alone."""

from __future__ import annotations

import duckdb

#: Before 2.0, such as Colab's.
IS_OLD_DUCKDB = int(duckdb.__version__.split(".")[0]) < 2
