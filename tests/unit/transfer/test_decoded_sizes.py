"""What a table takes once it is decoded is known before, and beyond reason it is refused."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import tracemalloc
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chroma_nb
from chroma_nb.errors import InvalidArgumentError, MemoryBudgetError
from chroma_nb.memory import preflight
from chroma_nb.memory.workspace import WORKSPACE, Grant
from chroma_nb.transfer import decoded, export_rows, parquet_reader
from chroma_nb.transfer.decoded import COPIES, HELD_COPIES
from chroma_nb.transfer.parquet_pages import most_bytes, read_pages
from chroma_nb.transfer.parquet_reader import ParquetReader
from chroma_nb.transfer.tables import cells_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

MB = 1_000_000


@pytest.fixture
def client() -> Iterator[Any]:
    with chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True)) as client:
        # The store outlives its clients: another test may have left collections in it.
        client.reset()
        yield client
        client.reset()


def once(n: int, text: str = "x" * MB) -> Any:
    """A column of n rows that are one text."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array([text]))


def runs(n: int) -> Any:
    try:
        return pa.RunEndEncodedArray.from_arrays(pa.array([n], pa.int32()), pa.array(["x" * MB]))
    except TypeError:
        pytest.skip("this pyarrow makes no runs")


def views(n: int) -> Any:
    if not hasattr(pa, "string_view"):
        pytest.skip("this pyarrow has no views")
    # Length, first letters, which of the buffers, where in it.
    view = struct.pack("<i4sii", MB, b"xxxx", 0, 0)
    buffers = [None, pa.py_buffer(view * n), pa.py_buffer(b"x" * MB)]
    try:
        return pa.Array.from_buffers(pa.string_view(), n, buffers)
    except ValueError:
        pytest.skip("this pyarrow makes no views")


def table_of(client: Any, **columns: Any) -> Any:
    """A table as `to_arrow` makes them, with other columns."""
    notes = client.get_or_create_collection("origin", embedding_function=None)
    notes.upsert(ids=["0"], embeddings=[[1.0, 2.0]], documents=["a"])
    n = len(next(iter(columns.values())))
    flat = pa.array(np.ones(2 * n, np.float32))
    given = {
        "id": pa.array([str(i) for i in range(n)]),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, 2),
        **{name: pa.nulls(n, pa.string()) for name in ("document", "uri", "metadata")},
        **columns,
    }
    return pa.table(given).replace_schema_metadata(notes.to_arrow().schema.metadata)


@pytest.mark.parametrize("column", ["document", "uri", "metadata", "id", "more"])
def test_a_small_file_that_would_take_gigabytes_is_refused(
    client: Any, tmp_path: Path, column: str, monkeypatch: Any
) -> None:
    n = 1_200
    if column != "document":
        n = 120
        monkeypatch.setattr(decoded, "_SMALL_BYTES", 100 * MB)
    path = tmp_path / "small.parquet"
    rows = once(n, json.dumps({"key": "x" * MB}) if column == "metadata" else "x" * MB)
    parquet.write_table(table_of(client, **{column: rows}), path, compression="zstd")
    assert path.stat().st_size < MB
    tracemalloc.start()
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(
        InvalidArgumentError, match=r"small\.parquet.*rows 0 to .* the limit is 1,000 times"
    ):
        client.import_(path, "imported")
    assert tracemalloc.get_traced_memory()[1] < 400 * MB
    tracemalloc.stop()
    assert pa.default_memory_pool().max_memory() < before + 400 * MB
    assert [one.name for one in client.list_collections()] == ["origin"]


@pytest.mark.parametrize("make", [once, runs, views])
@pytest.mark.parametrize("own", [True, False])
def test_so_is_such_a_table(client: Any, make: Any, own: bool, monkeypatch: Any) -> None:
    monkeypatch.setattr(decoded, "_SMALL_BYTES", 50 * MB)
    monkeypatch.setattr(decoded, "_MOST_TIMES", 50)
    table = table_of(client, document=make(120))
    table = table if own else table.replace_schema_metadata(None)
    notes = client.get_or_create_collection("notes", embedding_function=None)
    with pytest.raises(
        InvalidArgumentError, match=r"The table has .* rows 0 to .* the limit is 50 times"
    ):
        notes.from_arrow(table)
    assert notes.count() == 0


def test_numbers_in_a_file_count_as_well(client: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Equal numbers are written once, too: a row of millions of them is a few bytes."""
    path = tmp_path / "numbers.parquet"
    flat = pa.array(np.zeros(20 * MB, np.float32))
    table = table_of(client, embedding=pa.FixedSizeListArray.from_arrays(flat, 5 * MB))
    parquet.write_table(table, path, compression="zstd")
    del flat, table
    assert path.stat().st_size < MB
    small = SimpleNamespace(free=lambda: 20 << 20, limit=preflight.MACHINE.limit)
    monkeypatch.setattr(preflight, "MACHINE", small)
    with pytest.raises(MemoryBudgetError, match=r"row group 0 \(4 rows\) .*numbers\.parquet"):
        client.import_(path, "imported")


def zigzag(number: int) -> bytes:
    """A number as Thrift's compact protocol has it."""
    number, out = number << 1, bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_what_a_footer_says_of_sizes_is_not_believed(
    client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "lying.parquet"
    documents = pa.array(["y" * 40 * MB])
    table = table_of(client, document=documents)
    parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    metadata = parquet.read_metadata(path)
    at = table.column_names.index("document")
    honest = metadata.row_group(0).column(at).total_uncompressed_size
    assert honest > 40 * MB
    data, written = path.read_bytes(), zigzag(honest)
    begin = data.index(written, len(data) - metadata.serialized_size - 8)
    small = bytes([0x82, *[0x80] * (len(written) - 2), 0])
    path.write_bytes(data[:begin] + small + data[begin + len(written) :])
    assert parquet.read_metadata(path).row_group(0).column(at).total_uncompressed_size == 1
    machine = SimpleNamespace(free=lambda: 60 << 20, limit=preflight.MACHINE.limit)
    monkeypatch.setattr(preflight, "MACHINE", machine)
    with pytest.raises(MemoryBudgetError, match=r"Reading row group 0 \(1 rows\) .*lying\.parquet"):
        client.import_(path, "imported")


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_pages_are_added_up_as_an_honest_footer_does(
    tmp_path: Path, version: str, compression: str, use_dictionary: bool
) -> None:
    path = tmp_path / "pages.parquet"
    columns = {
        "text": [None if i % 9 == 0 else f"{i % 500} " + "long " * 200 for i in range(3_000)],
        "numbers": [[float(i)] * (i % 4) for i in range(3_000)],
    }
    parquet.write_table(
        pa.table(columns),
        path,
        data_page_version=version,
        compression=compression,
        use_dictionary=use_dictionary,
        data_page_size=10_000,
        row_group_size=2_000,
        write_statistics=True,
    )
    metadata = parquet.read_metadata(path)
    with path.open("rb") as file:
        for group in range(metadata.num_row_groups):
            for at in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(at)
                start = chunk.dictionary_page_offset or chunk.data_page_offset
                pages = read_pages(file, start, chunk.total_compressed_size)
                assert pages.n_values == chunk.num_values
                # The footer counts the headers as well.
                assert 0.8 * chunk.total_uncompressed_size < pages.n_bytes
                assert pages.n_bytes < chunk.total_uncompressed_size


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_what_are_no_pages_is_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        pages = read_pages(io.BytesIO(data), 0, len(data))
        assert pages.n_bytes >= 0


def test_records_are_read_and_written_in_pieces_of_bounded_size(
    client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("chroma_nb.transfer.decoded._PIECE_BYTES", MB)
    documents = [f"{i} " + "y" * 100_000 for i in range(40)]
    origin = client.create_collection("origin", embedding_function=None)
    origin.add(ids=[str(i) for i in range(40)], embeddings=np.eye(40), documents=documents)
    origin.export(tmp_path / "notes.parquet")
    pieces: list[int] = []
    add = chroma_nb.Collection.add

    def counted(self: Any, **given: Any) -> Any:
        pieces.append(len(given["ids"]))
        return add(self, **given)

    monkeypatch.setattr(chroma_nb.Collection, "add", counted)
    notes = client.import_(tmp_path / "notes.parquet", "imported")
    assert sum(pieces) == 40
    assert max(pieces) < 15
    found = notes.get(include=["documents", "embeddings"])
    assert found["documents"] == documents
    assert np.array_equal(found["embeddings"], np.eye(40, dtype=np.float32))


def test_a_file_of_many_row_groups_comes_back_and_is_skipped_the_second_time(
    client: Any, tmp_path: Path
) -> None:
    """Texts of several row groups have several dictionaries; rows that are there are taken out of them."""
    origin = client.create_collection("origin", embedding_function=None)
    documents = [f"text {i % 7}" if i % 5 else None for i in range(300)]
    ids = [f"id {i}" for i in range(300)]
    origin.add(
        ids=ids,
        embeddings=np.ones((300, 2)),
        documents=documents,
        metadatas=[{"n": i} for i in range(300)],
    )
    table = origin.to_arrow().append_column(
        "tags", pa.array([[f"tag {i % 3}", "z"] for i in range(300)])
    )
    parquet.write_table(table, tmp_path / "notes.parquet", row_group_size=37)
    imported = client.import_(tmp_path / "notes.parquet", "imported")
    imported.delete(ids=ids[1::3])
    imported = client.import_(tmp_path / "notes.parquet", "imported")
    assert imported.last_transfer.added == 100
    found = imported.get()
    rows = {one: at for at, one in enumerate(found["ids"])}
    assert [found["documents"][rows[one]] for one in ids] == documents
    for i, one in enumerate(ids):
        assert found["metadatas"][rows[one]] == {"n": i, "tags": [f"tag {i % 3}", "z"]}


def test_texts_that_share_their_beginnings_are_refused_by_name(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "delta.parquet"
    table = table_of(client, document=pa.array(["a", "ab"]))
    encoding = {"document": "DELTA_BYTE_ARRAY"}
    parquet.write_table(table, path, use_dictionary=False, column_encoding=encoding)
    with pytest.raises(InvalidArgumentError, match=r"encoding DELTA_BYTE_ARRAY .*from_arrow"):
        client.import_(path, "imported")


def repeated(value: Any, kind: Any) -> Any:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(200, np.int32)), pa.array([value], kind)
    )


def missing(size: int) -> Any:
    return pa.array([None] * 199 + [[1.0] * size], pa.list_(pa.float32(), size))


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(lambda: repeated("x" * MB, pa.string()), id="decimals that are texts"),
        pytest.param(lambda: repeated(b"x" * MB, pa.binary(MB)), id="bytes of one width"),
        pytest.param(lambda: missing(MB // 4), id="missing lists of one size"),
    ],
)
def test_what_stands_in_a_file_once_is_counted_as_often_as_it_is_decoded(
    tmp_path: Path, column: Any, monkeypatch: Any, request: Any
) -> None:
    """Only texts that are read as dictionaries are in memory once, too."""
    path = tmp_path / "small.parquet"
    table = pa.table({"amount": column()})
    is_list = pa.types.is_fixed_size_list(table.schema.field(0).type)
    # Without it the column is what Parquet's own schema says. It has no lists of one size.
    parquet.write_table(
        table, path, compression="zstd", store_schema=is_list, write_statistics=False
    )
    if "decimals" in request.node.name:
        # A text (25 00 4c 1c 00 00) becomes a decimal of ten digits.
        text, decimal = b"\x18\x06amount\x25\x00\x4c\x1c\x00\x00", b"\x25\x0a\x15\x00\x15\x14"
        data = path.read_bytes()
        assert data.count(text) == 1
        path.write_bytes(data.replace(text, text[:8] + decimal))
        assert pa.types.is_decimal(parquet.read_schema(path).field(0).type)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(decoded, "_SMALL_BYTES", 100 * MB)
    with pytest.raises(InvalidArgumentError, match=r"small\.parquet.* would take 200 MB"):
        ParquetReader(str(path))


def test_columns_of_every_kind_are_measured_as_they_are_decoded(tmp_path: Path) -> None:
    n = 1_000
    numbers = list(range(n))
    columns = {
        "bool": pa.array([True] * n),
        "int": pa.array(numbers, pa.int16()),
        "time": pa.array(numbers, pa.timestamp("us")),
        "decimal": pa.array([Decimal(i) for i in numbers], pa.decimal128(30)),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.ones(8 * n, np.float32)), 8),
        "list": pa.array([[1.0, 2.0]] * n),
        "nested": pa.array([[[1.0], [2.0]]] * n),
        "struct": pa.array([{"a": 1.0, "b": 2}] * n),
        "map": pa.array([[(1, 2.0)]] * n, pa.map_(pa.int64(), pa.float64())),
        "null": pa.nulls(n),
    }
    parquet.write_table(pa.table(columns), tmp_path / "kinds.parquet")
    with ParquetReader(str(tmp_path / "kinds.parquet")) as reader:
        counted = dict.fromkeys(columns, 0)
        for chunk in reader._chunks:
            counted[chunk.column] += chunk.n_bytes
    for name, column in columns.items():
        taken = column.nbytes
        assert taken / 2 < counted[name] < 3 * taken + 8_000, name


def page(*fields: bytes, kind: int = 0, counts: bytes = b"\x15\x0a\x15\x00\x00") -> bytes:
    """A page's header with a page of 7 bytes: type, sizes, own header of five PLAIN values, and further fields."""
    own = {0: b"\x2c", 2: b"\x4c", 3: b"\x5c"}[kind] + counts
    header = b"\x15" + zigzag(kind) + b"\x15" + zigzag(9) + b"\x15" + zigzag(7) + own
    return header + b"".join(fields) + b"\x00" + b"x" * 7


def test_a_page_is_read_by_its_header() -> None:
    data = page(kind=2) + page()
    found = read_pages(io.BytesIO(data), 0, len(data))
    assert found[:-1] == (18, 9, 5, {0}, 9, True)
    assert found.each.tolist() == [[9, 5]]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(page(b"\x05\x04\x02"), id="its size twice"),
        pytest.param(page(b"\x05\x06\x02"), id="the other size twice"),
        pytest.param(page(b"\x05\x02\x02"), id="a field out of order"),
        pytest.param(page(b"\x0c\x0a\x15\x00\x00"), id="its own header twice"),
        pytest.param(page().replace(b"\x15\x12", b"\x16\x12", 1), id="a size of 64 bits"),
        pytest.param(page().replace(b"\x15\x12", b"\x14\x12", 1), id="a size of 16 bits"),
        pytest.param(page(counts=b"\x16\x0a\x15\x00\x00"), id="a count of 64 bits"),
        pytest.param(page(counts=b"\x15\x09\x15\x00\x00"), id="a negative count"),
        pytest.param(
            page(counts=b"\x15" + zigzag(2**32 + 5) + b"\x15\x00\x00"), id="a count beyond"
        ),
        pytest.param(page(counts=b"\x00"), id="no count"),
        pytest.param(page().replace(b"\x2c", b"\x5c", 1), id="another page's header"),
        pytest.param(page(kind=0).replace(b"\x15\x00", b"\x15\x0c", 1), id="an unknown kind"),
        pytest.param(page().replace(b"\x15\x0e", b"\x15\x10", 1), id="longer than its column"),
    ],
)
def test_a_header_that_two_readers_could_read_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="page"):
        read_pages(io.BytesIO(data), 0, len(data))


VALUES: dict[str, tuple[Any, list[Any]]] = {
    "texts": (pa.string(), ["a", "bcd", None, ""]),
    "large texts": (pa.large_string(), ["a", "bcd", None, ""]),
    "bytes": (pa.binary(), [b"a", b"bcd", None, b""]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "bcd", None, "a"]),
    "lists": (pa.list_(pa.string()), [["a"], ["bcd", "e"], None, []]),
    "large lists": (pa.large_list(pa.int64()), [[1], [2, 3], None, []]),
    "fixed lists": (pa.list_(pa.float32(), 2), [[1.0, 2.0], [3.0, 4.0], None, [5.0, 6.0]]),
    "struct": (pa.struct([("a", pa.string()), ("b", pa.int8())]), [{"a": "x", "b": 1}, None] * 2),
    "map": (pa.map_(pa.string(), pa.int32()), [[("a", 1)], [("b", 2), ("c", 3)], None, []]),
    "numbers": (pa.int16(), [1, None, 3, 4]),
    "switches": (pa.bool_(), [True, None, False, True]),
    "nothing": (pa.null(), [None] * 4),
}


@pytest.mark.parametrize("name", list(VALUES))
def test_every_kind_of_column_is_measured_and_read(name: str) -> None:
    kind, values = VALUES[name]
    column = pa.array(values, kind)
    sizes = decoded.row_bytes(column)
    assert sizes.shape == (4,)
    assert (sizes >= 0).all()
    assert cells_of(pa.table({"c": column}), "c") == values
    part = column.slice(1, 2)
    assert decoded.row_bytes(part).tolist() == sizes[1:3].tolist()
    assert decoded.cells(part) == values[1:3]
    assert decoded.row_bytes(column.slice(0, 0)).tolist() == []
    assert decoded.cells(pa.chunked_array([part, column])) == values[1:3] + values


def test_texts_are_measured_by_their_length() -> None:
    columns = [pa.array(["a" * n for n in (0, 5, 9)]), once(3, "b" * 7), runs(3), views(3)]
    shares = [np.diff(decoded.row_bytes(column)).tolist() for column in columns]
    assert shares == [[5, 4], [0, 0], [0, 0], [0, 0]]
    assert [int(decoded.row_bytes(one).min()) >= MB for one in columns] == [
        False,
        False,
        True,
        True,
    ]
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 3]), columns[0])
    assert np.diff(decoded.row_bytes(nested)).tolist() == [decoded._TEXT_OBJECT_BYTES + 14]


@pytest.mark.parametrize("make", [once, runs, views])
def test_what_stands_for_a_text_is_measured_as_the_text(make: Any) -> None:
    column = make(5).slice(2)
    assert decoded.row_bytes(column).tolist() == [decoded._TEXT_OBJECT_BYTES + MB] * 3
    assert decoded.cells(column) == ["x" * MB] * 3


@pytest.mark.parametrize("make", [once, runs])
def test_rows_of_one_value_share_one_object(make: Any) -> None:
    first, *others = decoded.cells(make(5).slice(2))
    assert len(others) == 2
    assert all(one is first for one in others)


def test_a_few_long_texts_among_many_short_ones_are_reckoned_with(
    client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """On average a row has 3 kB. pyarrow reads a page as a whole, and here each long text has one."""
    path, n, n_long = tmp_path / "skewed.parquet", 2_000, 3
    documents = ["d"] * (n - n_long) + [f"{at} " + "y" * 2 * MB for at in range(n_long)]
    table = table_of(client, document=pa.array(documents))
    parquet.write_table(
        table, path, use_dictionary=False, write_batch_size=1, data_page_size=1 << 20
    )
    required: list[int] = []
    monkeypatch.setattr(parquet_reader, "require", lambda n_bytes, *_: required.append(n_bytes))
    with parquet_reader.ParquetReader(str(path)) as reader:
        assert required[0] > 6 * MB
        assert reader.n_rows == n
    monkeypatch.undo()
    again = client.import_(path, "skewed")
    assert again.get(include=["documents"])["documents"] == documents


@pytest.mark.parametrize(("n", "most"), [(1, 9), (2, 11), (3, 12), (4, 17), (100, 17)])
def test_the_pages_of_consecutive_values_are_counted_from_wherever_they_begin(
    n: int, most: int
) -> None:
    # Bytes and values: 5 bytes of two values, one of one, 2 of one, 9 of two.
    each = np.array([[5, 2], [1, 1], [2, 1], [9, 2]])
    assert most_bytes(each, n) == most == _by_hand(each, n)


def _by_hand(each: Any, n: int) -> int:
    page_of = np.repeat(np.arange(len(each)), each[:, 1])
    runs = [set(page_of[at : at + n]) for at in range(len(page_of))]
    return max(sum(each[page, 0] for page in run) for run in runs)


def test_rows_that_are_decoded_one_by_one_are_added_many_at_a_time(
    client: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each page is larger than what may be decoded at once, which the rows in it are not."""
    path, n = tmp_path / "pages.parquet", 2_000
    documents = [f"{at} " + "y" * 1_000 for at in range(n)]
    # A dictionary, which each batch has a copy of.
    uris = pa.array([f"{at % 500} " + "z" * 200 for at in range(n)])
    table = table_of(client, document=pa.array(documents), uri=uris)
    parquet.write_table(table, path, use_dictionary=["uri"], data_page_size=300_000)
    room = 100_000
    monkeypatch.setattr(parquet_reader, "piece_bytes", lambda: room)
    monkeypatch.setattr(WORKSPACE, "take", lambda wanted: Grant(min(wanted, COPIES * room)))
    with parquet_reader.ParquetReader(str(path)) as reader:
        assert reader._batch_rows == 1
        rows = export_rows.ExportedRows(reader, table.column_names)
        sizes = []
        for start, stop, n_bytes in rows.windows():
            sizes.append(stop - start)
            assert n_bytes <= room
            assert sum(batch.nbytes for batch, _ in reader._held) < 2 * room
            assert (
                reader.read(start, stop).column("uri").to_pylist() == uris[start:stop].to_pylist()
            )
    assert sum(sizes) == n
    assert len(sizes) < n / 50
    again = client.import_(path, "pages").get(include=["documents", "uris"])
    assert (again["documents"], again["uris"]) == (documents, uris.to_pylist())


def test_what_a_piece_takes_is_granted_until_the_next_is_asked_for(
    client: Any, tmp_path: Path
) -> None:
    path = tmp_path / "granted.parquet"
    table = table_of(client, document=pa.array(["x" * 1_000] * 12_000))
    parquet.write_table(table, path, use_dictionary=False)
    with parquet_reader.ParquetReader(str(path)) as reader:
        rows = export_rows.ExportedRows(reader, table.column_names)
        before = WORKSPACE.used
        for window in rows.windows():
            assert WORKSPACE.used - before == HELD_COPIES * window.n_bytes > 1_000
        assert WORKSPACE.used == before
