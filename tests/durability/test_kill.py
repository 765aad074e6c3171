"""After a kill at any moment all acknowledged records are there, and no operation is half done."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chroma_nb
from tests.durability.writer import vector

WRITER = Path(__file__).with_name("writer.py")


def apply(state: dict[str, int], operation: dict[str, Any]) -> dict[str, int]:
    after = dict(state)
    after.update(operation.get("add", {}))
    after.update(operation.get("update", {}))
    for one in operation.get("delete", []):
        after.pop(one, None)
    return after


def run_and_kill(path: Path, seed: int, seconds: float) -> tuple[list[dict[str, Any]], bool]:
    """Return the operations that the child tried, and whether the last was acknowledged."""
    child = subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(seed)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith("ready"), line
    time.sleep(seconds)
    child.send_signal(signal.SIGKILL)
    lines = child.stdout.read().split("\n")
    child.stdout.close()
    child.wait()
    # The last line may be incomplete.
    lines = lines[:-1]
    tried = [json.loads(line.split(" ", 2)[2]) for line in lines if line.startswith("try ")]
    acknowledged = sum(line.startswith("ok ") for line in lines)
    assert len(tried) - acknowledged in (0, 1)
    return tried, len(tried) == acknowledged


def read_state(path: Path) -> dict[str, int]:
    """Open the store and check that every record is whole; return id -> token."""
    with chroma_nb.PersistentClient(path) as client:
        if "notes" not in [c.name for c in client.list_collections()]:
            return {}
        notes = client.get_collection("notes", embedding_function=None)
        records = notes.get(include=["embeddings", "documents", "metadatas"])
        tokens = [metadata["token"] for metadata in records["metadatas"]]
        assert records["documents"] == [f"document {token}" for token in tokens]
        if tokens:
            expected = np.array([vector(token) for token in tokens], dtype=np.float32)
            np.testing.assert_array_equal(np.asarray(records["embeddings"]), expected)
        state = dict(zip(records["ids"], tokens, strict=True))
        assert notes.count() == len(state)
        if state:
            some = random.Random(1).sample(sorted(state), min(5, len(state)))
            found = notes.query(query_embeddings=[vector(state[one]) for one in some], n_results=1)
            assert [ids[0] for ids in found["ids"]] == some
        return state


def kill_again_and_again(path: Path, n_kills: int, seed: int) -> int:
    rng = random.Random(seed)
    state: dict[str, int] = {}
    operations = 0
    for round_number in range(n_kills):
        tried, complete = run_and_kill(path, seed * 1_000 + round_number, rng.uniform(0.0, 0.35))
        operations += len(tried)
        sure = tried if complete else tried[:-1]
        for operation in sure:
            state = apply(state, operation)
        found = read_state(path)
        possible = [state] if complete else [state, apply(state, tried[-1])]
        assert found in possible, f"round {round_number} after {len(tried)} operations"
        state = found
    return operations


def test_a_few_kills(tmp_path: Path) -> None:
    assert kill_again_and_again(tmp_path / "store", 4, seed=1) > 0


@pytest.mark.slow
def test_sixty_kills(tmp_path: Path) -> None:
    assert kill_again_and_again(tmp_path / "store", 60, seed=2) > 100
