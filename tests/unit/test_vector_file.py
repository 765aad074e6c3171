"""`VectorFile`: rows by label, in memory while they are few, in a file when they are many."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.db import vector_file
from chroma_nb.db.block_sums import BlockSums
from chroma_nb.db.vector_file import HEADER_BYTES, VectorFile
from chroma_nb.errors import StoreCorruptError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIMENSION = 8
#: More than stays in memory.
MANY = 40_000


def rows(start: int, stop: int) -> np.ndarray:
    labels = np.arange(start, stop, dtype=np.float32)
    return np.repeat(labels[:, None], DIMENSION, axis=1)


@pytest.fixture(params=["named", "unnamed"])
def vectors(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorFile]:
    path = str(tmp_path / "a.f32") if request.param == "named" else None
    file = VectorFile(path, DIMENSION, folder=str(tmp_path))
    yield file
    file.close()


@pytest.mark.parametrize("n", [1, 100, MANY])
def test_what_was_appended_is_read(vectors: VectorFile, n: int) -> None:
    vectors.append(0, rows(0, n))
    vectors.append(n, rows(n, 2 * n))
    np.testing.assert_array_equal(vectors.read_range(0, 2 * n), rows(0, 2 * n))
    np.testing.assert_array_equal(vectors.mapped(2 * n), rows(0, 2 * n))
    out = np.empty((2 * n + 3, DIMENSION), dtype=np.float32)
    assert np.shares_memory(vectors.read_range(0, 2 * n, out), out)


@pytest.mark.parametrize("n", [100, MANY])
@pytest.mark.parametrize("kind", ["near", "far", "shuffled", "repeated", "run", "none"])
def test_rows_are_read_in_the_order_that_was_asked(vectors: VectorFile, n: int, kind: str) -> None:
    vectors.append(0, rows(0, n))
    random = np.random.default_rng(0)
    labels = {
        "near": np.arange(0, n, 3),
        "far": np.arange(0, n, max(1, n // 7)),
        "shuffled": random.permutation(n),
        "repeated": random.integers(0, n, 50),
        "run": np.arange(n // 2, n),
        "none": np.empty(0, dtype=np.int64),
    }[kind]
    found = vectors.read(labels)
    assert found.shape == (len(labels), DIMENSION)
    np.testing.assert_array_equal(found[:, 0], labels)


def test_rows_all_over_the_file_are_read_with_one_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = VectorFile(str(tmp_path / "a.f32"), DIMENSION)
    vectors.append(0, rows(0, MANY))
    monkeypatch.setattr(vector_file, "_RANGE_BYTES", 100 * vectors.row_bytes)
    opened: list[Any] = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(args) or really(*args))
    labels = np.random.default_rng(0).permutation(MANY)[:200]
    assert np.array_equal(vectors.read(labels)[:, 0], labels)
    assert len(opened) == 1
    vectors.close()


def test_rows_past_the_committed_ones_are_written_over(vectors: VectorFile) -> None:
    vectors.append(0, rows(0, MANY))
    vectors.append(10, rows(1_000, 1_005))
    assert vectors.read_range(9, 16)[:, 0].tolist() == [9, 1000, 1001, 1002, 1003, 1004, 15]


def test_arrays_outlive_the_growth_of_what_they_show(vectors: VectorFile) -> None:
    vectors.append(0, rows(0, 10))
    early = vectors.mapped(10)
    vectors.append(10, rows(10, MANY))
    late = vectors.mapped(MANY)
    vectors.release()
    vectors.close()
    np.testing.assert_array_equal(early, rows(0, 10))
    assert late[-1, 0] == MANY - 1


def test_what_is_mapped_is_counted_and_let_go(vectors: VectorFile) -> None:
    vectors.append(0, rows(0, MANY))
    n_bytes = MANY * 4 * DIMENSION
    assert vectors.mapping_cost(MANY) == n_bytes
    vectors.mapped(MANY)
    assert (vectors.mapped_bytes, vectors.mapping_cost(MANY)) == (n_bytes, 0)
    assert vectors.release() == n_bytes
    assert (vectors.mapped_bytes, vectors.mapping_cost(MANY)) == (0, n_bytes)


def test_a_mapping_is_read_only(vectors: VectorFile) -> None:
    vectors.append(0, rows(0, MANY))
    with pytest.raises(ValueError, match="read-only"):
        vectors.mapped(MANY)[0] = 1


def test_few_rows_without_a_name_take_no_descriptor(tmp_path: Path) -> None:
    vectors = VectorFile(None, DIMENSION, folder=str(tmp_path))
    vectors.append(0, rows(0, 100))
    assert vectors.bytes_on_disk == 0
    vectors.append(100, rows(100, MANY))
    assert vectors.bytes_on_disk == HEADER_BYTES + MANY * 4 * DIMENSION
    assert os.listdir(tmp_path) == [], "a file without a name leaves nothing when the process dies"
    vectors.close()


def test_a_named_file_comes_back_and_keeps_no_descriptor(tmp_path: Path) -> None:
    path = str(tmp_path / "a.f32")
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    first = VectorFile(path, DIMENSION)
    first.append(0, rows(0, MANY))
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    first.close()
    again = VectorFile(path, DIMENSION)
    again.check_length(MANY)
    np.testing.assert_array_equal(again.read_range(0, MANY), rows(0, MANY))
    with pytest.raises(StoreCorruptError, match=r"holds 40,000 rows, 40,001 were committed"):
        again.check_length(MANY + 1)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "a.f32")
    VectorFile(path, DIMENSION).close()
    with pytest.raises(StoreCorruptError, match="not one of 9 dimensions"):
        VectorFile(path, DIMENSION + 1)
    (tmp_path / "b.f32").write_bytes(b"x" * HEADER_BYTES)
    with pytest.raises(StoreCorruptError, match="Restore it from a backup"):
        VectorFile(str(tmp_path / "b.f32"), DIMENSION)


def test_a_file_that_ends_early_is_not_read_as_zeros(tmp_path: Path) -> None:
    path = str(tmp_path / "a.f32")
    vectors = VectorFile(path, DIMENSION)
    vectors.append(0, rows(0, MANY))
    os.truncate(path, HEADER_BYTES + 100)
    for read in (
        lambda: vectors.read_range(0, MANY),
        lambda: vectors.read(np.array([0, MANY // 2, MANY - 1])),
    ):
        with pytest.raises(StoreCorruptError, match="ended before its committed rows"):
            read()


def test_rows_that_are_made_up_to_be_mapped_cut_off_none_that_a_writer_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file was cut where no record is. A writer adds rows while a reader makes it long enough again."""
    n = MANY
    file = VectorFile(str(tmp_path / "a.f32"), DIMENSION)
    file.check_against(BlockSums(file.row_bytes), lambda blocks: None)
    assert file.sums is not None

    def add(start: int, stop: int) -> None:
        growth = file.append(start, rows(start, stop))
        assert growth is not None
        assert file.sums is not None
        file.sums.adopt(growth)

    add(0, n)
    os.truncate(tmp_path / "a.f32", HEADER_BYTES + (n - 1) * file.row_bytes)
    file.forget_checks()
    check = file._check

    def check_and_lose_the_race(*given: Any) -> None:
        check(*given)
        monkeypatch.undo()
        # As another thread does: the tail is left as it is, and the next block begins.
        file.append(n + file.block_rows, rows(0, 10))

    monkeypatch.setattr(file, "_check", check_and_lose_the_race)
    assert len(file.mapped(n)) == n
    assert file.bytes_on_disk == HEADER_BYTES + (n + file.block_rows + 10) * file.row_bytes
    file.close()
