"""The same is asked of chroma_nb and of others where memory is short: nobody's outcome is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import memory_peers
from benchmarks import memory_trial_stores as stores
from benchmarks.memory_limit import limit
from benchmarks.memory_trial_stage import Wrong, check_records

if TYPE_CHECKING:
    from pathlib import Path

PART = stores.Part("some", 20, 4, text=100, keys=3)


def answer(rows: range) -> dict[str, Any]:
    return {
        "ids": [stores.record_id(row) for row in rows],
        "documents": [stores.document(PART, row) for row in rows],
        "metadatas": [stores.metadata(PART, row) for row in rows],
    }


@pytest.mark.slow
@pytest.mark.differential
def test_much_that_is_added_at_once_ends_no_process_of_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("chromadb")
    with limit(200_000_000) as group:
        if group.folder is None:
            pytest.skip("no control group can be made here")
    given = ["--only", "M7-add", "--engines", "usearch,chromadb", "--stores", str(tmp_path)]
    outcomes = memory_peers.main(given)
    (ours,), (theirs,) = outcomes["usearch"], outcomes["chromadb"]
    assert ours.outcome in ("right", "refused"), ours.seen
    assert theirs.outcome in ("right", "killed"), theirs.seen
    for row in (ours, theirs):
        assert row.peak_mb is not None
        assert row.peak_mb <= row.limit_mb == 200
    printed = capsys.readouterr().out
    assert "| asked | limit | chroma_nb (usearch) | chromadb |" in printed
    assert "| 200 MB |" in printed


def test_records_in_any_order_are_right_unless_one_is_missing_or_another() -> None:
    rows = range(20)
    check_records(PART, answer(rows[::-1]), rows, in_order=False)
    with pytest.raises(Wrong, match="not those of"):
        check_records(PART, answer(rows[::-1]), rows)
    with pytest.raises(Wrong, match="19 ids"):
        check_records(PART, answer(rows[1:]), rows, in_order=False)
    for key in ("documents", "metadatas"):
        other = answer(rows)
        other[key][10] = other[key][11]
        with pytest.raises(Wrong, match="of r10 differs"):
            check_records(PART, other, rows, in_order=False)


def test_a_store_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        memory_peers.main(["--engines", "chromadb,milvus"])
    assert "there is no milvus" in capsys.readouterr().err
