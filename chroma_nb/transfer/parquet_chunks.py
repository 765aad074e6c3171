"""What the columns of a Parquet file take in memory, known before any of them is decoded.

Counted are the pages, as they say themselves, and what pyarrow makes of them: a value that stands in a dictionary once, or a
missing list of fixed size, is a few bits in the file and as large as any other in memory. What is once in the file is once
in memory only where pyarrow reads texts as dictionaries, which its own schema says. Of the file's description of its columns
only what pyarrow itself goes by is believed.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.transfer.parquet_footer import BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY
from chroma_nb.transfer.parquet_pages import most_bytes, read_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    import numpy as np
    from numpy.typing import NDArray

    from chroma_nb.transfer.parquet_footer import Footer, ParquetLeaf
    from chroma_nb.transfer.parquet_pages import Pages

#: Bytes of BOOLEAN, INT32, INT64, INT96, FLOAT and DOUBLE. The two others have a width of the column, and one of each value.
_WIDTHS = (1, 4, 8, 12, 4, 8)
#: The place of a text in its dictionary, and of a list in its values.
_PLACE_BYTES, _OFFSET_BYTES = 4, 8
#: Encodings of texts that are as long in the page as they are, or stand in the dictionary: PLAIN, and the dictionary's two.
_TEXT_ENCODINGS = frozenset((0, 2, 8))
_NAMES = {6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY"}


class Chunk(NamedTuple):
    """One column of a row group, decoded."""

    group: int
    #: The name of the table's column.
    column: str
    #: These are texts that are read as a dictionary: one that the file has once is in memory once.
    is_dictionary: bool
    n_bytes: int
    #: Bytes of its largest page, which is decompressed whole.
    page_bytes: int
    #: `Pages.each` of texts, one for each row; None for other columns, whose rows are taken for equally large.
    pages: NDArray[np.int64] | None = None

    def most_bytes(self, n_rows: int, n_in_group: int) -> int:
        """Return the most bytes of so many rows of a group that has `n_in_group`; of other columns than texts about that."""
        if self.pages is None:
            return n_rows * (self.n_bytes // max(1, n_in_group))
        return most_bytes(self.pages, n_rows)


class _Leaf(NamedTuple):
    """A column of Parquet as pyarrow makes it."""

    kind: Any
    #: The lists around it, the outermost first: their size, None where each has its own.
    lists: tuple[int | None, ...]


def all_pages(footer: Footer, source: BinaryIO) -> list[list[Pages]]:
    """Return what the pages of each row group say, and in it of each column.

    Args:
        footer: The file's footer. pyarrow's own objects for it end the process where it is damaged.
        source: The file itself.

    Raises:
        ValueError, OSError: The pages are not where they should be, or not what they should be.
    """
    return [
        [read_pages(source, chunk.start, chunk.n_bytes) for chunk in group.chunks]
        for group in footer.groups
    ]


def texts_in_dictionaries(footer: Footer, pages: Sequence[Sequence[Pages]]) -> list[str]:
    """Return the columns of texts, by their paths, in which a text may stand once for many rows."""
    return [
        ".".join(leaf.path)
        for place, leaf in enumerate(footer.leaves)
        if leaf.kind == BYTE_ARRAY and any(group[place].dictionary_bytes for group in pages)
    ]


def measure_chunks(
    schema: Any, footer: Footer, pages_of: Sequence[Sequence[Pages]], what: str
) -> list[Chunk]:
    """Measure every column of every row group.

    Args:
        schema: The `pyarrow.Schema` that pyarrow makes of the file.
        footer: Its footer.
        pages_of: What `all_pages` returns.
        what: Its name for messages: "The file 'x.parquet'".

    Raises:
        ValueError: The pages are not what they should be.
        InvalidArgumentError: Texts have an encoding by which a few bytes are many.
    """
    leaves = [leaf for field in schema for leaf in _leaves(field.type)]
    if len(leaves) != len(footer.leaves):
        raise ValueError("its columns are not those that its schema names")
    found = []
    for group, row_group in enumerate(footer.groups):
        for leaf, column, chunk, pages in zip(
            leaves, footer.leaves, row_group.chunks, pages_of[group], strict=True
        ):
            where = f"column {'.'.join(column.path)!r}, row group {group}"
            if pages.n_values != chunk.n_values:
                raise ValueError(
                    f"{where}: its pages have {pages.n_values:,} values, and its footer says {chunk.n_values:,}"
                )
            if pages.is_compressed and not chunk.is_compressed:
                raise ValueError(f"{where}: its pages are compressed, and its footer says no")
            if column.kind == BYTE_ARRAY:
                _check_encodings(pages, f"{what} has texts", where)
            is_dictionary = column.kind == BYTE_ARRAY and _is_dictionary(leaf.kind)
            width = _PLACE_BYTES if is_dictionary else _width(column, leaf.kind, pages)
            n_bytes = max(pages.n_bytes, _decoded(leaf, width, row_group.n_rows, pages.n_values))
            is_plain = column.kind == BYTE_ARRAY and not is_dictionary and not leaf.lists
            found.append(
                Chunk(
                    group,
                    column.path[0],
                    is_dictionary,
                    n_bytes,
                    pages.largest_bytes,
                    pages.each if is_plain else None,
                )
            )
    return found


def check_nullable(schema: Any, said: Mapping[bytes, bytes] | None) -> None:
    """Check that values may be missing where pyarrow's own schema in the file says so, too.

    By that their bytes are read in one way or another, and the file says it only once otherwise.

    Args:
        schema: The `pyarrow.Schema` that pyarrow makes of the file.
        said: The keys and values of the file.

    Raises:
        ValueError: The two differ, or the file's is none.
    """
    import pyarrow as pa

    text = (said or {}).get(b"ARROW:schema")
    if text is None:
        return
    own = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
    for one, other in zip(own, schema, strict=True):
        if _nullable(one) != _nullable(other):
            raise ValueError(
                f"column {other.name!r} may have missing values by one of its schemas, and not by the other"
            )


def _nullable(field: Any) -> tuple[bool, bool]:
    """Say whether values may be missing, and those in its lists."""
    inner = getattr(field.type, "value_field", None)
    return field.nullable, inner is None or inner.nullable


def _leaves(kind: Any, lists: tuple[int | None, ...] = ()) -> Iterator[_Leaf]:
    """Yield the columns of Parquet of which one of Arrow is made, in their order."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        yield from _leaves(kind.storage_type, lists)
    elif pa.types.is_fixed_size_list(kind):
        yield from _leaves(kind.value_type, (*lists, kind.list_size))
    elif pa.types.is_map(kind):
        for part in (kind.key_type, kind.item_type):
            yield from _leaves(part, (*lists, None))
    elif pa.types.is_struct(kind):
        for at in range(kind.num_fields):
            yield from _leaves(kind.field(at).type, lists)
    elif hasattr(kind, "value_type") and not pa.types.is_dictionary(kind):
        # A list, or one of Arrow's other forms of it.
        yield from _leaves(kind.value_type, (*lists, None))
    else:
        yield _Leaf(kind, lists)


def _is_dictionary(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_dictionary(kind))


def _check_encodings(pages: Pages, what: str, where: str) -> None:
    """Refuse texts that are told by what they have in common with the one before: a few bytes are many."""
    for odd in sorted(pages.encodings - _TEXT_ENCODINGS):
        raise InvalidArgumentError(
            f"{what} in the encoding {_NAMES.get(odd, odd)} ({where}), which import_() does not read. Write it anew "
            "with collection.export(), or add it with collection.from_arrow(pyarrow.parquet.read_table(path))."
        )


def _width(column: ParquetLeaf, kind: Any, pages: Pages) -> int:
    """Return the bytes that a value may take."""
    if column.kind == BYTE_ARRAY:
        # Of one that is not read as a dictionary each value may be the largest. Others are as long in the pages.
        return max(_PLACE_BYTES, pages.dictionary_bytes)
    width = column.width if column.kind == FIXED_LEN_BYTE_ARRAY else _WIDTHS[column.kind]
    try:
        return max(width, -(-int(kind.bit_width) // 8))
    except ValueError:
        # Only nulls, of which there is nothing in memory.
        return width


def _decoded(leaf: _Leaf, width: int, n_rows: int, n_values: int) -> int:
    """Return the bytes of all values, and of where the lists around them begin. A page counts missing values as well."""
    places, n_bytes = min(n_rows, n_values), 0
    for size in leaf.lists:
        if size is None:
            n_bytes += _OFFSET_BYTES * places
            places = n_values
        else:
            # A list that is missing has places as well.
            places *= size
    return n_bytes + places * width
