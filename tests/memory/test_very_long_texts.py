"""Texts of 1 MB, as many as the limit of memory has megabytes: written, read, found and deleted."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory_limit import join, limit
from chroma_nb.db._versions import IS_OLD_DUCKDB

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
SCRIPT = """
import json, sys
import numpy as np
import chroma_nb

path, n, step = sys.argv[1], 250, 10
settings = chroma_nb.Settings(progress=False, fsync=False)

def text(row):
    # Of random letters: they are not smaller when compressed.
    return np.random.default_rng(row).bytes(500_000).hex() + f" number {row}."

def found(docs, client):
    return {
        "count": docs.count(),
        "ids": docs.get(ids=["3", "249"], include=["documents"])["documents"] == [text(3), text(249)],
        "words": docs.get(where_document={"$contains": "number 123."}, include=[])["ids"],
        "query": len(docs.query(query_embeddings=[1.0] * 4, n_results=3)["documents"][0]),
        "first": client.sql("SELECT * FROM docs LIMIT 3")["document"].tolist() == [text(0), text(1), text(2)],
        "bytes": int(client.sql("SELECT sum(strlen(document)) AS n FROM docs")["n"][0]),
    }

with chroma_nb.PersistentClient(path, settings) as client:
    docs = client.create_collection("docs", embedding_function=None)
    for start in range(0, n, step):
        rows = range(start, start + step)
        docs.add(ids=[str(row) for row in rows], documents=[text(row) for row in rows],
                 embeddings=np.ones((step, 4), np.float32))
    before = found(docs, client)
with chroma_nb.PersistentClient(path, settings) as client:
    docs = client.get_collection("docs", embedding_function=None)
    after = found(docs, client)
    docs.update(ids=["7"], metadatas=[{"n": 7}])
    docs.delete(ids=[str(row) for row in range(200)])
    print(json.dumps([before, after, docs.get(include=[])["ids"], client.check().is_whole]))
"""


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.skipif(IS_OLD_DUCKDB, reason="DuckDB before 2.0 writes no padding")
def test_two_hundred_and_fifty_in_two_hundred_and_fifty_megabytes(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    with limit(250 * MIB) as made:
        if made.folder:
            enter = partial(join, str(made.folder / "cgroup.procs"), None)
        else:
            enter = partial(join, None, 250 * MIB)
        done = subprocess.run(
            [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "store")],
            preexec_fn=enter,
            capture_output=True,
            text=True,
            check=False,
        )
        kills = made.kills()
    assert done.returncode == 0, done.stderr[-2_000:]
    assert kills == 0
    before, after, left, is_whole = json.loads(done.stdout)
    assert before == after
    assert before == {
        "count": 250,
        "ids": True,
        "words": ["123"],
        "query": 3,
        "first": True,
        "bytes": sum(len(f" number {row}.") + 1_000_000 for row in range(250)),
    }
    assert left == [str(row) for row in range(200, 250)]
    assert is_whole
