"""`LoadedMetadata`: ids, documents and metadata of one collection in a few large buffers."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.db.base import RecordRows
from chroma_nb.db.stored_metadata import read_metadata, read_metadatas
from chroma_nb.filters.expression import DocumentMatches, Expression, field_conditions
from chroma_nb.filters.mask import compile_mask
from chroma_nb.memory.sizes import objects_bytes
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.segment.base import MetadataReader, RecordTexts, all_differ
from chroma_nb.segment.metadata_column import MetadataColumn
from chroma_nb.segment.sparse_index import SparseIndexes
from chroma_nb.segment.text_pool import TextPool, grown, payload_bytes
from chroma_nb.special_keys import DOCUMENT_KEY
from chroma_nb.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from chroma_nb.db.base import Changes, TextSizes
    from chroma_nb.filters.expression import FieldLeaf
    from chroma_nb.filters.mask import FilterReader
    from chroma_nb.search.sparse import SparseVector


#: This many copies of a piece's JSON exist while it is parsed: one text for each record, and one of all.
_JSON_COPIES = 2
#: Metadata and texts are read in pieces that take about this many bytes.
_PIECE_BYTES = 4 << 20
#: A value as an object may take this many times the bytes of its JSON.
_OBJECT_TIMES = 8
#: A filter that has to make the columns of this many keys or more parses each piece of metadata once for all of them. With
#: fewer keys it is quicker to look for each of them in the text (measured with records of 10 to 20,000 keys).
_MANY_KEYS = 16
#: Where more than this share of a pool is texts of no record, as they were replaced, no snapshot of it is saved: it is
#: read from the DB again, which leaves them out.
_SPARE_SHARE = 0.25


class _WithColumns:
    """Evaluates one filter: by columns that were made for it, else as the metadata itself does.

    Args:
        metadata: Evaluates everything else.
        columns: Key -> its column.
    """

    def __init__(self, metadata: LoadedMetadata, columns: Mapping[str, MetadataColumn]) -> None:
        self._columns = columns
        self._match = metadata.match
        self.ids_among = metadata.ids_among
        self.document_contains = metadata.document_contains
        self.document_matches = metadata.document_matches

    def match(self, leaf: FieldLeaf) -> NDArray[np.bool_]:
        """Return which labels match, `negated` not looked at."""
        column = self._columns.get(leaf.key)
        return self._match(leaf) if column is None else column.match(leaf)


class LoadedMetadata(MetadataReader):
    """The metadata half of a loaded segment.

    Metadata stays the JSON text that the DB holds. A filter on a key makes that key's column, once; it
    is kept up to date from then on. So a record with ten thousand keys costs its text and no more.

    Args:
        match_documents: Evaluates a regular expression in the DB: labels whose document matches.
        may_hold: Asked before bytes are kept that are not needed again for sure; where it says no, what was
            made serves once and is let go.
    """

    def __init__(
        self,
        match_documents: Callable[[Expression], NDArray[np.int64]],
        may_hold: Callable[[int], bool],
    ) -> None:
        self._match_documents = match_documents
        self._may_hold = may_hold
        self._column_lock = threading.Lock()
        self.release()

    def release(self) -> None:
        """Become what a collection without records has: what was held is freed, although others still have this object.

        A writer whose commit needs the room has the segment in a variable; and a report or a builder may look at the sizes
        of one that was unloaded a moment ago, as they take no lock for that.
        """
        self._n_labels = 0
        self._n_live = 0
        self._ids = TextPool(hashed=True)
        self._documents = TextPool()
        self._uris: TextPool | None = None
        self._metadatas = TextPool()
        self._sequences = np.empty(0, dtype=np.int64)
        self._alive = np.empty(0, dtype=bool)
        #: Storage order is the order of labels, as long as no embedding was ever updated.
        self._in_order = True
        self._last_sequence = -1
        self._last_label = -1
        self._columns: dict[str, MetadataColumn] = {}
        #: Key -> the number of labels for which there was no room for its column.
        self._too_large: dict[str, int] = {}
        self._sparse = SparseIndexes(self._may_hold)

    @property
    def n_labels(self) -> int:
        return self._n_labels

    @property
    def n_live(self) -> int:
        return self._n_live

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which labels are records, shape (n_labels,)."""
        return self._alive[: self._n_labels]

    def parts(self) -> dict[str, int]:
        """Return the bytes of memory held, by part."""
        found = {
            "ids": self._ids.nbytes,
            "documents": self._documents.nbytes,
            "metadata": self._metadatas.nbytes,
            "columns": self.column_bytes,
            "order": self._sequences.nbytes + self._alive.nbytes,
        }
        if self._uris is not None:
            found["uris"] = self._uris.nbytes
        if self._sparse.keys:
            found["sparse"] = self._sparse.nbytes
        return found

    @staticmethod
    def bytes_for(n_labels: int, sizes: TextSizes) -> int:
        """Return the bytes that loading takes at most, of so many labels with texts of these sizes."""
        texts = sizes.ids + sizes.documents + sizes.metadatas + sizes.uris + 4 * sizes.n_records
        # Four pools with their places and one with hashes, storage order, which are alive; and the
        # eighth that a growing buffer takes beyond what it needs.
        return n_labels * (4 * 12 + 4 + 9) + texts + texts // 8 + 256

    def growth(self, changes: Changes) -> int:
        """Return by how much a commit may raise the bytes held, on the way and afterwards."""
        n_labels = max(self._n_labels, changes.first_label + len(changes.vectors))
        rows = changes.rows
        metadata_bytes = payload_bytes(rows.metadatas)
        more = self._ids.growth(n_labels, payload_bytes(rows.ids))
        more += self._documents.growth(n_labels, payload_bytes(rows.documents))
        more += self._metadatas.growth(n_labels, metadata_bytes)
        uri_bytes = payload_bytes(rows.uris)
        if self._uris is not None or uri_bytes:
            more += (self._uris or TextPool()).growth(n_labels, uri_bytes)
        if n_labels > len(self._alive):
            more += 9 * (self._capacity(n_labels) - len(self._alive)) + self._sequences.nbytes
        for column in list(self._columns.values()):
            # Its arrays and tables may double; each value takes its text, an object and an entry.
            more += column.nbytes + 2 * metadata_bytes + 312 * len(rows) + 9 * n_labels + 1_024
        return more + self._sparse.growth(n_labels)

    def _capacity(self, n_labels: int) -> int:
        return n_labels if self._n_labels == 0 else n_labels + n_labels // 8

    @property
    def column_bytes(self) -> int:
        """Bytes of what filters have made."""
        if not self._columns:
            return 0
        return sum(column.nbytes for column in list(self._columns.values()))

    @property
    def column_keys(self) -> frozenset[str]:
        """What filters and searches have made, by keys; readers may add some at any time."""
        # No metadata key begins with #.
        return frozenset(list(self._columns)) | {f"#{key}" for key in self._sparse.keys}

    def forget_columns(self, but: frozenset[str] = frozenset()) -> None:
        """Let go of what filters and searches have made, but for these keys; the next one makes it again."""
        self._sparse.forget(frozenset(key[1:] for key in but if key[:1] == "#"))
        if not but.issuperset(self._columns):
            self._columns = {key: one for key, one in self._columns.items() if key in but}

    # -- saving -------------------------------------------------------------------------------

    def sections(self) -> dict[str, bytearray | NDArray[Any]]:
        """Return what `restore` needs, as named pieces of memory."""
        pools = {"ids": self._ids, "documents": self._documents, "metadatas": self._metadatas}
        if self._uris is not None:
            pools["uris"] = self._uris
        found = {
            f"{name}.{part}": piece
            for name, pool in pools.items()
            for part, piece in pool.sections().items()
        }
        found["sequences"] = self._sequences[: self._n_labels]
        found["alive"] = self._alive[: self._n_labels]
        return found

    @property
    def is_worth_saving(self) -> bool:
        """False: so many texts were replaced that reading it from the DB again takes less memory."""
        pools = (self._ids, self._documents, self._metadatas)
        return all(pool.spare_share < _SPARE_SHARE for pool in pools)

    def restore(self, sections: Mapping[str, bytearray]) -> None:
        """Become what had these `sections`, which live on in it."""
        pools: dict[str, dict[str, bytearray]] = {}
        for name, piece in sections.items():
            pool, _, part = name.rpartition(".")
            pools.setdefault(pool, {})[part] = piece
        self._ids = TextPool.restore(pools["ids"])
        self._documents = TextPool.restore(pools["documents"])
        self._metadatas = TextPool.restore(pools["metadatas"])
        self._uris = TextPool.restore(pools["uris"]) if "uris" in pools else None
        self._sequences = np.frombuffer(sections["sequences"], dtype=np.int64)
        self._alive = np.frombuffer(sections["alive"], dtype=bool)
        self._n_labels = len(self._alive)
        labels = np.flatnonzero(self._alive)
        self._n_live = len(labels)
        if len(labels):
            sequences = self._sequences[labels]
            self._in_order = bool(np.all(sequences[1:] > sequences[:-1]))
            self._last_sequence, self._last_label = int(sequences.max()), int(labels[-1])

    # -- changes ------------------------------------------------------------------------------

    def load(self, rows: RecordRows, n_labels: int) -> None:
        """Take records in from the DB, which has `n_labels` labels in all."""
        self._put(rows, n_labels)

    def apply(self, changes: Changes) -> NDArray[np.int64]:
        """Take notice of a commit; return the labels that are dead from now on."""
        n_labels = max(self._n_labels, changes.first_label + len(changes.vectors))
        dead = changes.removed[~np.isin(changes.removed, changes.rows.labels)]
        self._alive[changes.removed] = False
        self._n_live -= len(changes.removed)
        self._put(changes.rows, n_labels)
        if len(dead):
            for column in self._columns.values():
                column.clear(dead)
        self._sparse.changed(changes.rows.labels, dead, n_labels)
        return dead

    def _put(self, rows: RecordRows, n_labels: int) -> None:
        labels = rows.labels
        if n_labels > len(self._alive):
            capacity = self._capacity(n_labels)
            self._alive = grown(self._alive, capacity, False)
            self._sequences = grown(self._sequences, capacity, 0)
        for pool in (self._ids, self._documents, self._metadatas):
            pool.resize(n_labels)
        self._ids.put(labels, rows.ids)
        self._documents.put(labels, rows.documents)
        self._metadatas.put(labels, rows.metadatas)
        if self._uris is not None or any(uri is not None for uri in rows.uris):
            if self._uris is None:
                self._uris = TextPool()
            self._uris.resize(n_labels)
            self._uris.put(labels, rows.uris)
        if len(labels):
            self._in_order = self._in_order and self._keeps_order(labels, rows.sequences)
            self._sequences[labels] = rows.sequences
            self._last_sequence = max(self._last_sequence, int(rows.sequences.max()))
            self._last_label = max(self._last_label, int(labels.max()))
        self._alive[labels] = True
        before, self._n_labels = self._n_labels, n_labels
        self._n_live += len(labels)
        if self._columns:
            self._put_into_columns(labels, rows.metadatas, labels[labels < before])

    def _put_into_columns(
        self,
        labels: NDArray[np.int64],
        metadatas: Sequence[str | None],
        changed: NDArray[np.int64],
    ) -> None:
        """Take metadata into the columns that there are; each is parsed once, however many these are.

        Args:
            labels: Whose.
            metadatas: Theirs, as JSON.
            changed: Those of the labels that may have had others before.
        """
        columns = self._columns
        for column in columns.values():
            column.resize(self._n_labels)
            if len(changed):
                column.clear(changed)
        for label, text in zip(labels.tolist(), metadatas, strict=True):
            metadata = read_metadata(text)
            if metadata is None:
                continue
            for key in columns.keys() & metadata.keys():
                if metadata[key] is not None:
                    columns[key].set(label, metadata[key])

    def _keeps_order(self, labels: NDArray[np.int64], sequences: NDArray[np.int64]) -> bool:
        """Say whether storage order is still the order of labels once these rows are in."""
        new = labels > self._last_label
        if not np.array_equal(self._sequences[labels[~new]], sequences[~new]):
            return False
        ordered = sequences[new][np.argsort(labels[new], kind="stable")]
        if not len(ordered):
            return True
        return bool(ordered[0] > self._last_sequence and np.all(ordered[1:] > ordered[:-1]))

    # -- reading ------------------------------------------------------------------------------

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        return self._ids.find(ids, self.alive)

    def mask(
        self, expression: Expression | None, ids: Sequence[str] | None
    ) -> NDArray[np.bool_] | None:
        mask: NDArray[np.bool_] | None = None
        if self._n_live < self._n_labels:
            mask = self.alive
        if ids is not None:
            mask = self.ids_among(ids)
        if expression is not None:
            with self._with_columns(expression) as reader:
                matches = compile_mask(expression, reader)
            mask = matches if mask is None else mask & matches
        return mask

    def select(
        self,
        expression: Expression | None = None,
        *,
        ids: Sequence[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> NDArray[np.int64]:
        if ids is not None and expression is None:
            # Without a look at every label: one id is found in microseconds.
            labels = np.unique(self.find(list(dict.fromkeys(ids))))
            labels = labels[labels >= 0]
        else:
            mask = self.mask(expression, ids)
            labels = np.arange(self._n_labels) if mask is None else np.flatnonzero(mask)
        if not self._in_order:
            labels = labels[np.argsort(self._sequences[labels], kind="stable")]
        return labels[offset : None if limit is None else offset + limit]

    def sequences(self) -> NDArray[np.int64] | None:
        return None if self._in_order else self._sequences[: self._n_labels]

    def read(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None = None,
    ) -> RecordTexts:
        if all_differ(labels):
            found = self._texts(labels, include, measured)
        else:
            # Records that several queries find: their texts are made once, as answers are measured.
            once, places = np.unique(labels, return_inverse=True)
            found = self._texts(once, include, measured).at(places.ravel().tolist())
        if "metadatas" in include:
            found.metadatas = self._metadata_dicts(labels)
        return found

    def _texts(
        self,
        labels: NDArray[np.int64],
        include: Sequence[str],
        measured: Callable[[float, int], None] | None,
    ) -> RecordTexts:
        """Return everything but metadata."""
        wanted = [name for name in include if name in ("documents", "uris")]
        found = RecordTexts([], *([] if name in wanted else None for name in ("documents", "uris")))
        longest = self._ids.longest + self._documents.longest
        pieces = [labels]
        if measured is not None and len(labels) * longest > _PIECE_BYTES:
            n_pieces = min(len(labels), -(-self.text_bytes(labels, wanted) // _PIECE_BYTES))
            pieces = np.array_split(labels, max(1, n_pieces))
        n_read = n_bytes = 0
        for piece in pieces:
            some = [self._ids.get(piece)]
            found.ids += some[0]  # type: ignore[arg-type]
            if found.documents is not None:
                some.append(self._documents.get(piece))
                found.documents += some[-1]
            if found.uris is not None:
                uris = self._uris
                some.append([None] * len(piece) if uris is None else uris.get(piece))
                found.uris += some[-1]
            if measured is not None and len(pieces) > 1:
                n_read += len(piece)
                n_bytes += sum(map(objects_bytes, some))
                measured(n_read / len(labels), n_bytes)
        return found

    def text_bytes(self, labels: NDArray[np.int64], include: Sequence[str]) -> int:
        pools = [self._ids]
        pools += [self._documents] if "documents" in include else []
        pools += [self._metadatas] if "metadatas" in include else []
        pools += [self._uris] if "uris" in include and self._uris is not None else []
        return sum(pool.text_bytes(labels) for pool in pools)

    @property
    def sparse_keys(self) -> frozenset[str]:
        return self._sparse.keys

    @property
    def longest(self) -> int:
        # Asked for by each answer.
        texts = self._ids.longest + self._documents.longest + self._metadatas.longest
        return texts if self._uris is None else texts + self._uris.longest

    def _metadata_dicts(self, labels: NDArray[np.int64]) -> list[dict[str, Any] | None]:
        if len(labels) * self._metadatas.longest <= _PIECE_BYTES:
            return self._parsed(labels)
        found: list[dict[str, Any] | None] = []
        n_bytes = _JSON_COPIES * self._metadatas.text_bytes(labels)
        with WORKSPACE.take(n_bytes) as room:
            n_pieces = -(-n_bytes // max(1, room.n_bytes))
            for piece in np.array_split(labels, max(1, min(n_pieces, len(labels)))):
                found += self._parsed(piece)
        return found

    def _parsed(self, labels: NDArray[np.int64]) -> list[dict[str, Any] | None]:
        return read_metadatas(self._metadatas.get(labels))

    def stored(self, labels: NDArray[np.int64], columns: Sequence[str]) -> RecordRows:
        uris: list[str | None] = []
        if "uri" in columns:
            uris = [None] * len(labels) if self._uris is None else self._uris.get(labels)
        return RecordRows(
            labels,
            self._sequences[labels],
            self._ids.get(labels) if "id" in columns else [],  # type: ignore[arg-type]
            self._documents.get(labels) if "document" in columns else [],
            uris,
            self._metadatas.get(labels) if "metadata" in columns else [],
        )

    def texts(
        self, labels: NDArray[np.int64], columns: Sequence[str]
    ) -> dict[str, Sequence[str | None]]:
        pools = {
            "id": self._ids,
            "document": self._documents,
            "uri": self._uris,
            "metadata": self._metadatas,
        }
        found: dict[str, Sequence[str | None]] = {}
        for name in columns:
            pool = pools[name]
            found[name] = Texts.missing(len(labels)) if pool is None else pool.texts(labels)
        return found

    def sparse_distances(
        self, key: str, query: SparseVector, *, idf: bool, mask: NDArray[np.bool_] | None
    ) -> NDArray[np.float32]:
        pool = self._documents if key == DOCUMENT_KEY else self._metadatas
        return self._sparse.distances(key, query, pool, self.alive, idf=idf, mask=mask)

    # -- what filters ask for -----------------------------------------------------------------

    def match(self, leaf: FieldLeaf) -> NDArray[np.bool_]:
        """Return which labels match, `negated` not looked at; the key's column is made once, if there is room."""
        column = self._columns.get(leaf.key)
        if column is None and self._too_large.get(leaf.key) != self._n_labels:
            with self._column_lock:
                column = self._columns.get(leaf.key) or self._make_column(leaf.key)
        if column is not None:
            return column.match(leaf)
        mask = np.zeros(self._n_labels, dtype=bool)
        for start, stop, labels, values in self._values(leaf.key):
            piece = MetadataColumn.build(stop - start, labels - start, values)
            mask[start:stop] = piece.match(leaf)
        return mask

    @contextlib.contextmanager
    def _with_columns(self, expression: Expression) -> Iterator[FilterReader]:
        """Yield what evaluates a filter, after making the columns of all its keys at once where these are many."""
        keys = {leaf.key for leaf in field_conditions(expression)} - self._columns.keys()
        if len(keys) < _MANY_KEYS:
            yield self
            return
        with contextlib.ExitStack() as held:
            with self._column_lock:
                made = self._make_columns(keys - self._columns.keys(), held)
            yield _WithColumns(self, made) if made else self

    def _make_columns(
        self, keys: AbstractSet[str], held: contextlib.ExitStack
    ) -> dict[str, MetadataColumn]:
        """Make the columns of several keys with one pass over the metadata, and keep those for which there is room.

        A pass for each key would read wide metadata again and again: 1,000 keys of 30 MB took 30 s.

        Args:
            keys: Those that have none.
            held: Holds the memory of columns that are not kept.

        Returns:
            Those that are not kept; nothing where there is no room to make them, so that `match` makes one at a time.
        """
        found: dict[str, tuple[list[int], list[Any]]] = {key: ([], []) for key in keys}
        for start, stop in self._pieces():
            labels = np.flatnonzero(self.alive[start:stop]) + start
            texts = self._metadatas.get(labels)
            for label, text in zip(labels.tolist(), texts, strict=True):
                metadata = read_metadata(text) or {}
                for key in keys & metadata.keys():
                    if metadata[key] is not None:
                        found[key][0].append(label)
                        found[key][1].append(metadata[key])
            if not start:
                # Judged by the first piece, as in `_make_column`.
                each = sum(
                    MetadataColumn.build(stop, np.asarray(some, dtype=np.int64), values).nbytes
                    + objects_bytes(values)
                    for some, values in found.values()
                )
                need = each * self._n_labels // max(1, stop)
                room = held.enter_context(WORKSPACE.take(need))
                if room.n_bytes < need:
                    return {}
        made: dict[str, MetadataColumn] = {}
        for key in keys:
            some, values = found.pop(key)
            column = MetadataColumn.build(self._n_labels, np.asarray(some, dtype=np.int64), values)
            if self._may_hold(column.nbytes):
                self._columns[key] = column
            else:
                self._too_large[key] = self._n_labels
                made[key] = column
        return made

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Yield ranges of labels whose metadata, parsed, takes about `_PIECE_BYTES`."""
        total = self._metadatas.text_bytes(np.arange(self._n_labels))
        each = _OBJECT_TIMES * (1 + total // max(1, self._n_labels))
        step = max(1, _PIECE_BYTES // each)
        for start in range(0, self._n_labels, step):
            yield start, min(start + step, self._n_labels)

    def _make_column(self, key: str) -> MetadataColumn | None:
        """Make a key's column, and keep it if there is room; None where there is not even enough to make it."""
        found: list[NDArray[np.int64]] = []
        values: list[Any] = []
        with contextlib.ExitStack() as held:
            for start, stop, labels, some in self._values(key):
                if not start:
                    # Judged by the first piece: what the column takes, and the values that it is made of.
                    each = MetadataColumn.build(stop, labels, some).nbytes + objects_bytes(some)
                    need = each * self._n_labels // max(1, stop)
                    room = held.enter_context(WORKSPACE.take(need))
                    if room.n_bytes < need:
                        self._too_large[key] = self._n_labels
                        return None
                found.append(labels)
                values += some
            everything = np.concatenate([np.empty(0, dtype=np.int64), *found])
            column = MetadataColumn.build(self._n_labels, everything, values)
        if self._may_hold(column.nbytes):
            self._columns[key] = column
        else:
            self._too_large[key] = self._n_labels
        return column

    def _values(self, key: str) -> Iterator[tuple[int, int, NDArray[np.int64], list[Any]]]:
        """Yield (start, stop, labels of start .. stop - 1 that have the key, its values), piece by piece."""
        for start, stop in self._pieces():
            labels = np.flatnonzero(self.alive[start:stop]) + start
            found, values = self._metadatas.json_values(key, labels)
            yield start, stop, found, values

    def ids_among(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return which labels have one of these ids."""
        mask = np.zeros(self._n_labels, dtype=bool)
        labels = self.find(list(dict.fromkeys(ids)))
        mask[labels[labels >= 0]] = True
        return mask

    def document_contains(self, text: str) -> NDArray[np.bool_]:
        """Return which labels' documents contain the text."""
        return self._documents.contains(text, self._may_hold)

    def document_matches(self, pattern: str) -> NDArray[np.bool_]:
        """Return which labels' documents match the pattern, by the DB's regular expressions."""
        labels = self._match_documents(DocumentMatches(pattern, False))
        mask = np.zeros(self._n_labels, dtype=bool)
        mask[labels[labels < self._n_labels]] = True
        return mask
