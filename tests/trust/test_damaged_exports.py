"""An exported file that is damaged gives the records that were written, or an error that names it."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError, NotFoundError
from chroma_nb.transfer.parquet_reader import ParquetReader
from chroma_nb.utils.data_loaders import ImageLoader
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

parquet = pytest.importorskip("pyarrow.parquet")
N, DIMENSION = 2_000, 16


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")


def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, DIMENSION)).astype(np.float32)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "notes.parquet"
    with chroma_nb.EphemeralClient(private_settings()) as client:
        notes = client.get_or_create_collection("exported_notes", embedding_function=None)
        ids = [f"n{i}" for i in range(N)]
        notes.add(
            ids=ids,
            embeddings=rows(),
            documents=[f"note {i}" for i in range(N)],
            metadatas=[{"n": i} for i in range(N)],
        )
        notes.export(path)
        client.delete_collection("exported_notes")
    return path


def test_a_flipped_byte_is_an_error_or_changes_nothing(exported: Path, tmp_path: Path) -> None:
    data = exported.read_bytes()
    refused: list[str] = []
    with chroma_nb.EphemeralClient(private_settings()) as client:
        for at in np.random.default_rng(1).integers(0, len(data), 40).tolist():
            damaged = bytearray(data)
            damaged[at] ^= 4
            path = tmp_path / "damaged.parquet"
            path.write_bytes(damaged)
            try:
                # A flip in the footer may hit the name of the collection or its configuration.
                notes = client.import_(path, name="read")
            except InvalidArgumentError as error:
                refused.append(str(error))
                with pytest.raises(NotFoundError):
                    client.get_collection("read")
                continue
            found = notes.get(include=["embeddings", "documents", "metadatas"])
            assert np.array_equal(found["embeddings"], rows()), at
            assert found["documents"] == [f"note {i}" for i in range(N)], at
            assert found["metadatas"] == [{"n": i} for i in range(N)], at
            client.delete_collection("read")
    assert len(refused) > 20
    assert all("damaged.parquet" in said for said in refused)


@needs_pipes
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    def read(pipe: Path) -> str:
        with (
            chroma_nb.EphemeralClient(private_settings()) as client,
            pytest.raises(InvalidArgumentError, match="is no plain file") as caught,
        ):
            client.import_(pipe, name="read")
        return str(caught.value)

    assert said_of_a_pipe(tmp_path, read)


@needs_pipes
def test_a_pipe_in_place_of_an_image_is_not_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="the extra 'plot' is not installed")

    def read(pipe: Path) -> str:
        with pytest.raises(OSError, match="is no plain file") as caught:
            ImageLoader()([str(pipe)])
        return str(caught.value)

    assert said_of_a_pipe(tmp_path, read)


def said_of_a_pipe(folder: Path, read: Callable[[Path], str]) -> list[str]:
    """Have a thread read a pipe that nobody writes to; return the error, or nothing if it waits."""
    pipe = folder / "pipe.parquet"
    os.mkfifo(pipe)
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(read(pipe)), daemon=True)
    thread.start()
    thread.join(180)
    return said


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "socket", "link to a pipe"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, kind: str) -> None:
    """Otherwise `export("/dev/null")`, called by root, would replace that device by a file."""
    place = tmp_path / "place"
    if kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(place))
    else:
        os.mkfifo(tmp_path / "place")
    before = place.lstat()
    target = place
    if kind == "link to a pipe":
        target = tmp_path / "link"
        target.symlink_to(place)
    with chroma_nb.EphemeralClient(private_settings()) as client:
        notes = client.create_collection("notes_to_place", embedding_function=None)
        notes.add(ids=["a"], embeddings=[[1.0]])
        if target is place:
            with pytest.raises(InvalidArgumentError, match="is no plain file but a device, a pipe"):
                notes.export(target)
        else:
            assert notes.export(target) == 1
            assert target.is_file()
            assert not target.is_symlink()
        client.delete_collection("notes_to_place")
    assert place.lstat() == before


def test_a_file_that_is_replaced_during_an_import_is_read_to_its_end(
    exported: Path, tmp_path: Path
) -> None:
    """The file that was checked is the file that is read."""
    path = tmp_path / "notes.parquet"
    path.write_bytes(exported.read_bytes())
    (tmp_path / "other").write_bytes(b"something else")
    with ParquetReader(str(path)) as reader:
        (tmp_path / "other").replace(path)
        assert reader.ids() == [f"n{i}" for i in range(N)]
        assert reader.read(0, N).column("document")[N - 1].as_py() == f"note {N - 1}"


def test_a_description_that_was_changed_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "described.parquet"
    table = parquet.read_table(exported)
    changed = {
        # The description is in the footer, of which Parquet has no checksum.
        key: value.replace(b'"exported_notes"', b'"exported_n0tes"')
        for key, value in table.schema.metadata.items()
    }
    parquet.write_table(table.replace_schema_metadata(changed), path)
    with (
        chroma_nb.EphemeralClient(private_settings()) as client,
        pytest.raises(InvalidArgumentError, match="not as it was written"),
    ):
        client.import_(path)


def test_a_cut_file_leaves_no_collection(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.parquet"
    path.write_bytes(exported.read_bytes()[:-2_000])
    with chroma_nb.EphemeralClient(private_settings()) as client:
        with pytest.raises(InvalidArgumentError, match=r"cut\.parquet"):
            client.import_(path, name="cut")
        with pytest.raises(NotFoundError):
            client.get_collection("cut")


def test_records_that_were_there_stay(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.parquet"
    data = bytearray(exported.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    with chroma_nb.EphemeralClient(private_settings()) as client:
        there = client.create_collection("there", embedding_function=None)
        there.add(ids=["a"], embeddings=[[1.0] * DIMENSION])
        with pytest.raises(InvalidArgumentError, match=r"damaged\.parquet"):
            client.import_(path, name="there")
        assert there.get()["ids"] == ["a"]
        client.delete_collection("there")


@pytest.mark.parametrize("depth", [100, 900, 5_000, 100_000])
def test_a_description_that_is_nested_too_deeply_is_refused(
    exported: Path, tmp_path: Path, depth: int
) -> None:
    table = parquet.read_table(exported)
    description = json.loads(table.schema.metadata[b"chroma_nb"])
    function = {"type": "known", "name": "x", "config": {"a": "DEEP"}}
    description["configuration"]["embedding_function"] = function
    text = json.dumps(description).replace('"DEEP"', "[" * depth + "]" * depth)
    planted = table.replace_schema_metadata({b"chroma_nb": text.encode()})
    parquet.write_table(planted, tmp_path / "deep.parquet")
    with chroma_nb.EphemeralClient(private_settings()) as client:
        with pytest.raises(
            InvalidArgumentError, match="has a chroma_nb description that cannot be"
        ):
            client.import_(tmp_path / "deep.parquet", name="read_deep")
        with pytest.raises(NotFoundError):
            client.get_collection("read_deep")
        notes = client.create_collection("read_deep", embedding_function=None)
        with pytest.raises(
            InvalidArgumentError, match="The table has a chroma_nb description that"
        ):
            notes.from_arrow(planted)
        client.delete_collection("read_deep")


def test_cells_that_are_nested_too_deeply_are_refused_or_kept_as_text(exported: Path) -> None:
    import pandas as pd
    import pyarrow as pa

    deep = "[" * 100_000 + "]" * 100_000
    kind = pa.string()
    for _ in range(3_000):
        kind = pa.list_(kind)
    table = parquet.read_table(exported).slice(0, 1)
    nested = table.append_column("more", pa.nulls(1, kind))
    at = table.column_names.index("metadata")
    planted = table.set_column(at, "metadata", pa.array([deep]))
    frame = pd.DataFrame({"id": ["a"], "document": ["b"], "uri": [None], "metadata": [deep]})
    frame["embedding"] = [[0.0] * DIMENSION]
    with chroma_nb.EphemeralClient(private_settings()) as client:
        notes = client.create_collection("read_cells", embedding_function=None)
        with pytest.raises(InvalidArgumentError, match="Column 'more' is nested too deeply"):
            notes.from_arrow(nested)
        with pytest.raises(InvalidArgumentError, match=r"Row 0 .*column 'metadata': .*recursion"):
            notes.from_arrow(planted)
        assert notes.count() == 0
        # In a frame, a text that cannot be parsed as JSON is kept as a text.
        notes.from_pandas(frame)
        assert notes.get()["metadatas"] == [{"metadata": deep}]
        client.delete_collection("read_cells")
