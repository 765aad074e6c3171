"""Whichever bit of a Parquet file's footer is damaged: `import_()` gives the records or an error, and the process lives.

Parquet has no checksum of it. A sample by default; ``pytest tests/trust/test_damaged_footers.py --all`` flips every bit.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.transfer.parquet_chunks import check_nullable
from chroma_nb.transfer.parquet_footer import read_footer
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

MUTANT = Path(__file__).with_name("footer_mutant.py")
N = 40
#: Bits that are flipped in a normal run.
SAMPLE = 250
FOOTER_SUM = b"chroma_nb footer"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("footers") / "notes.parquet"
    with collection() as notes:
        notes.add(
            ids=[f"id{k}" for k in range(N)],
            embeddings=[[k, 1] for k in range(N)],
            documents=[f"doc {k % 7}" if k % 3 else None for k in range(N)],
            uris=[f"doc {k % 7}" if k % 3 else None for k in range(N)],
            metadatas=[{"a": k} for k in range(N)],
        )
        notes.export(path)
    return path


@contextmanager
def collection() -> Iterator[Any]:
    settings = private_settings(progress=False, allow_reset=True)
    with chroma_nb.EphemeralClient(settings) as client:
        yield client.create_collection("notes", embedding_function=None)
        client.reset()


@pytest.fixture
def client() -> Iterator[Any]:
    settings = private_settings(progress=False, allow_reset=True)
    with chroma_nb.EphemeralClient(settings) as client:
        yield client
        client.reset()


def without_sum(data: bytes) -> bytes:
    """The file as older versions wrote it, or somebody else who has added columns."""
    assert data.count(FOOTER_SUM) == 1
    at = data.index(FOOTER_SUM)
    return data[:at] + data[at + len(FOOTER_SUM) + 4 :]


def footer_start(data: bytes) -> int:
    return len(data) - 8 - int.from_bytes(data[-8:-4], "little")


def import_changed(client: Any, tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "changed.parquet"
    path.write_bytes(data)
    return client.import_(path, name="changed")


@pytest.mark.slow
@pytest.mark.parametrize("summed", [True, False], ids=["with its checksum", "without"])
def test_a_flipped_bit_is_an_error_or_changes_nothing(
    exported: Path, tmp_path: Path, request: pytest.FixtureRequest, summed: bool
) -> None:
    data = exported.read_bytes() if summed else without_sum(exported.read_bytes())
    path = tmp_path / "notes.parquet"
    path.write_bytes(data)
    start = footer_start(data) - len(FOOTER_SUM) - 4
    flips = [(at, 1 << bit) for at in range(start, len(data)) for bit in range(8)]
    if not request.config.getoption("all"):
        flips = random.Random(21).sample(flips, SAMPLE)
    said: dict[tuple[int, int], str] = {}
    while len(said) < len(flips):
        # One for all, and where it dies, another for the rest.
        rest = flips[len(said) :]
        done = subprocess.run(
            [sys.executable, str(MUTANT), str(path)],
            input="".join(json.dumps(one) + "\n" for one in rest),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = done.stdout.splitlines()
        if len(lines) < len(rest):
            lines.append(f"the process died ({done.returncode})")
        said.update(zip(rest, lines, strict=False))
    wrong = {flip: one for flip, one in said.items() if one not in ("right", "refused")}
    assert not wrong
    answers = list(said.values())
    assert answers.count("refused") > len(flips) / 2
    if summed:
        # But for the mark of the checksum itself, which is then not looked for.
        assert {
            at < start + len(FOOTER_SUM) for (at, _), one in said.items() if one == "right"
        } <= {True}


@pytest.mark.parametrize("changed", [b"\x24\x02", b"\x25\x00"])
def test_what_pyarrow_ends_the_process_for_is_an_error(
    exported: Path, tmp_path: Path, changed: bytes
) -> None:
    """Asked for a column whose counts of levels have another length than its levels, pyarrow does so."""
    data = without_sum(exported.read_bytes())
    # Of the schema: documents may be missing.
    optional = b"\x25\x02\x18\x08document"
    assert data.count(optional) == 1
    path = tmp_path / "levels.parquet"
    path.write_bytes(data.replace(optional, changed + optional[2:]))
    code = (
        "import sys, chroma_nb\n"
        "try:\n"
        "    chroma_nb.EphemeralClient().import_(sys.argv[1])\n"
        "except chroma_nb.errors.InvalidArgumentError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "levels.parquet" in done.stdout


def test_a_schema_that_contradicts_itself_is_an_error() -> None:
    """Files of older pyarrows have no counts of levels."""
    import base64

    schema = pa.schema([("document", pa.string()), ("embedding", pa.list_(pa.float32(), 2))])
    said = {b"ARROW:schema": base64.b64encode(schema.serialize().to_pybytes())}
    check_nullable(schema, said)
    check_nullable(schema, None)
    inner = pa.field("element", pa.float32(), nullable=False)
    for at, other in (
        (0, schema.field(0).with_nullable(False)),
        (1, schema.field(1).with_nullable(False)),
        (1, pa.field("embedding", pa.list_(inner, 2))),
    ):
        with pytest.raises(ValueError, match=f"column '{schema.names[at]}' may have missing"):
            check_nullable(schema.set(at, other), said)


@pytest.mark.parametrize("where", ["the file", "a row group", "both"])
@pytest.mark.parametrize("n_rows", [8, 48])
def test_another_number_of_rows_is_an_error(
    exported: Path, tmp_path: Path, client: Any, where: str, n_rows: int
) -> None:
    data = bytearray(without_sum(exported.read_bytes()))
    places = []
    at = footer_start(data)
    while (at := data.find(bytes([0x16, 2 * N]), at + 1)) > 0:
        places.append(at + 1)
    # First the file's, then the values of each column, or their levels, and last the row group's.
    chosen = {"the file": places[:1], "a row group": places[-1:], "both": [places[0], places[-1]]}
    for one in chosen[where]:
        data[one] = 2 * n_rows
    footer = parquet.read_metadata(pa.BufferReader(bytes(data)))
    rows = (footer.num_rows, footer.row_group(0).num_rows)
    assert (
        rows
        == {
            "the file": (n_rows, N),
            "a row group": (N, n_rows),
            "both": (n_rows, n_rows),
        }[where]
    )
    with pytest.raises(InvalidArgumentError, match=r"changed\.parquet.* rows"):
        import_changed(client, tmp_path, bytes(data))
    assert client.count_collections() == 0


def test_all_numbers_of_rows_and_values_changed_alike_are_an_error(
    exported: Path, tmp_path: Path, client: Any
) -> None:
    """Pages say how many values they have."""
    data = bytearray(without_sum(exported.read_bytes()))
    at = footer_start(data)
    while (at := data.find(bytes([0x16, 2 * N]), at + 1)) > 0:
        data[at + 1] = 2 * 8
    with pytest.raises(InvalidArgumentError, match=r"its pages have 40 values, and .* says 8"):
        import_changed(client, tmp_path, bytes(data))


def rewritten(exported: Path, path: Path, change: Callable[[Any], Any], **options: Any) -> Path:
    """Write the table of an export as somebody else does."""
    parquet.write_table(change(parquet.read_table(exported)), path, **options)
    return path


@pytest.mark.parametrize("name", ["document", "uri", "metadata", "embedding", "id"])
def test_a_file_without_one_of_our_columns_is_refused(
    exported: Path, tmp_path: Path, client: Any, name: str
) -> None:
    """Under another name, all of it would be metadata, or nothing."""

    def rename(table: Any) -> Any:
        names = [one.upper() if one == name else one for one in table.column_names]
        return table.rename_columns(names).replace_schema_metadata(table.schema.metadata)

    path = rewritten(exported, tmp_path / "renamed.parquet", rename)
    with pytest.raises(
        InvalidArgumentError, match=rf"renamed\.parquet' lacks the column '{name}'.*from_arrow"
    ):
        client.import_(path)
    assert client.count_collections() == 0
    if name in ("uri", "metadata"):
        # What the message says works.
        notes = client.create_collection("notes", embedding_function=None)
        notes.from_arrow(parquet.read_table(path))
        assert notes.count() == N


@pytest.mark.parametrize("kind", ["binary", "int64"])
def test_a_column_of_another_type_is_refused(
    exported: Path, tmp_path: Path, client: Any, kind: str
) -> None:
    def change(table: Any) -> Any:
        at = table.column_names.index("document")
        return table.set_column(at, "document", pa.nulls(N, kind))

    path = rewritten(exported, tmp_path / "changed.parquet", change)
    with pytest.raises(
        InvalidArgumentError, match=rf"changed\.parquet' has the type .*{kind}.*text"
    ):
        client.import_(path)


def test_files_of_older_versions_and_rewritten_ones_are_read(
    exported: Path, tmp_path: Path, client: Any
) -> None:
    """They have no checksum before the footer, and older ones no list of columns."""

    def old(table: Any) -> Any:
        description = json.loads(table.schema.metadata[b"chroma_nb"])
        assert description.pop("columns") == ["id", "document", "uri", "metadata", "embedding"]
        return table.replace_schema_metadata({b"chroma_nb": json.dumps(description).encode()})

    expected = client.import_(exported, name="new").get(include=["documents", "embeddings"])
    for name, change in (("old", old), ("same", lambda table: table)):
        path = rewritten(exported, tmp_path / f"{name}.parquet", change, row_group_size=7)
        found = client.import_(path, name=name).get(include=["documents", "embeddings"])
        assert found["ids"] == expected["ids"]
        assert found["documents"] == expected["documents"]
        assert found["embeddings"].tolist() == expected["embeddings"].tolist()

    def lacks_one(table: Any) -> Any:
        return old(table).drop_columns(["uri"])

    path = rewritten(exported, tmp_path / "lacks.parquet", lacks_one)
    with pytest.raises(InvalidArgumentError, match="lacks the column 'uri'"):
        client.import_(path)


def test_a_column_that_was_added_becomes_metadata(
    exported: Path, tmp_path: Path, client: Any
) -> None:
    def add(table: Any) -> Any:
        return table.append_column("stars", pa.array(list(range(N))))

    path = rewritten(exported, tmp_path / "added.parquet", add)
    found = client.import_(path, name="added").get(ids=["id3"])
    assert found["metadatas"] == [{"a": 3, "stars": 3}]


def test_other_readers_read_the_file(exported: Path) -> None:
    import duckdb
    import polars

    assert parquet.read_table(exported).num_rows == N
    assert polars.read_parquet(exported).height == N
    assert duckdb.sql(f"SELECT count(*) FROM '{exported}'").fetchall() == [(N,)]


@pytest.mark.parametrize("where", ["file", "table"])
def test_a_long_description_is_refused_before_it_is_parsed(
    tmp_path: Path, client: Any, where: str
) -> None:
    text = b'{"format": 1, "name": "long", "x": [' + b"{}," * 2_000_000 + b"0]}"
    table = pa.table({"id": ["a"], "embedding": [[1.0]]})
    table = table.replace_schema_metadata({b"chroma_nb": text})
    path = tmp_path / "long.parquet"
    parquet.write_table(table, path)
    notes = client.create_collection("notes", embedding_function=None)
    tracemalloc.start()
    with pytest.raises(InvalidArgumentError, match=r"6\.0 MB, the limit is 1\.0 MB .*max_descr"):
        _ = client.import_(path) if where == "file" else notes.from_arrow(table)
    # As Python objects it takes 128 MB.
    assert tracemalloc.get_traced_memory()[1] < 64_000_000
    tracemalloc.stop()


def test_a_description_as_long_as_a_store_takes_comes_back(tmp_path: Path) -> None:
    settings = private_settings(progress=False, max_description="20 kB", allow_reset=True)
    with chroma_nb.EphemeralClient(settings) as client:
        longest = 20_000
        while True:
            try:
                notes = client.create_collection(
                    "n" * 400, embedding_function=None, metadata={"k": "ü" * (longest // 6)}
                )
                break
            except InvalidArgumentError:
                longest -= 6
        notes.add(ids=["a"], embeddings=[[1.0]])
        notes.export(tmp_path / "long.parquet")
        assert client.import_(tmp_path / "long.parquet", name="again").metadata == notes.metadata
        client.reset()


def unsigned(value: int) -> bytes:
    """A number as Thrift writes it."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def many(size: int) -> bytes:
    """The head of a list of structures, as the field of the schema."""
    return b"\x29\xfc" + unsigned(size)


GROUP = b"\x48\x01a\x15\x02\x00"  # A schema's element: its name, one child.


@pytest.mark.parametrize(
    ("footer", "said"),
    [
        pytest.param(
            many(100_001) + GROUP * 100_001 + b"\x00", "more than 64 groups", id="deep schema"
        ),
        pytest.param(many(2**40), "ends too early", id="an endless list"),
        pytest.param(many(10) + GROUP, "ends too early", id="a list cut short"),
        pytest.param(b"\xfc" * 10_000, "nested too deeply", id="deep structures"),
        pytest.param(b"\xf9" + b"\x19" * 10_000, "nested too deeply", id="deep lists"),
        pytest.param(many(600_000) + b"\x48\x00\x00" * 600_000, "parts", id="many columns"),
        pytest.param(b"\x26\x00\x00", "another kind", id="a number for the schema"),
        pytest.param(b"\x06" + unsigned(80_000) + b"\x00\x00", "another order", id="field 40,000"),
        pytest.param(b"\x28" + unsigned(2**63) + b"x", "kind", id="a text for the schema"),
        pytest.param(b"\x00", "lacks a field", id="nothing"),
    ],
)
def test_a_hostile_footer_is_an_error(tmp_path: Path, footer: bytes, said: str) -> None:
    path = tmp_path / "hostile.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with path.open("rb") as file, pytest.raises(ValueError, match=said):
        read_footer(file)
    with (
        chroma_nb.EphemeralClient(private_settings()) as client,
        pytest.raises(InvalidArgumentError, match=r"hostile\.parquet"),
    ):
        client.import_(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"PAR1", b"PAR1PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1\x05\x00\x00\x00PAR1"],
    ids=["empty", "cut", "only its ends", "2 GB", "longer than the file"],
)
def test_what_has_no_footer_is_an_error(tmp_path: Path, client: Any, data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"changed\.parquet"):
        import_changed(client, tmp_path, data)
