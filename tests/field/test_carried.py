"""A store is carried about: Colab's DuckDB writes it today, a newer one tomorrow, and Colab's again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import chroma_nb

TURNS = Path(__file__).with_name("turns.py")


def test_two_versions_of_duckdb_write_one_store_in_turn(tmp_path: Path) -> None:
    other = os.environ.get("CHROMA_NB_OTHER_PYTHON")
    if not other:
        pytest.skip("CHROMA_NB_OTHER_PYTHON names no Python with another DuckDB")
    for turn in range(8):
        python = other if turn % 2 else sys.executable
        command = [python, str(TURNS), str(tmp_path / "store"), str(turn)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"turn {turn}, {python}: {done.stderr[-2000:]}"


def test_the_form_of_the_file_is_one_that_old_versions_read(tmp_path: Path) -> None:
    """Whatever DuckDB is installed: with a newer form an older DuckDB reads NULL for values that are there."""
    with chroma_nb.PersistentClient(str(tmp_path)) as client:
        client.create_collection("notes").add(ids=["a"], embeddings=[[1.0]])
    (database,) = tmp_path.glob("*.duckdb")
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE NOT internal"
        ).fetchall()
    # Older ones do not say, and know no newer form.
    assert rows[0][0] in (None, {}, {"storage_version": "v1.2.0+"})
