"""`DBContract`: what every `DB` has to do, whatever keeps the records."""

from __future__ import annotations

import dataclasses
import json
import os
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from chroma_nb.db.base import DB, Changes, RecordRows
from chroma_nb.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    NotSupportedError,
    UniqueConstraintError,
)
from chroma_nb.filters.expression import DocumentMatches
from chroma_nb.filters.parsing import parse_where, parse_where_document
from chroma_nb.settings import Settings
from chroma_nb.testing._db_ranking import RankingTests
from chroma_nb.types import CollectionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TENANT, DATABASE = "default_tenant", "default_database"
CONFIGURATION = {"hnsw": {"space": "l2"}, "spann": None, "embedding_function": None}


def create(db: DB, name: str, **values: Any) -> uuid.UUID:
    info = CollectionInfo(uuid.uuid4(), name, TENANT, DATABASE, CONFIGURATION, **values)
    db.create_collection(info)
    return info.id


def vectors_of(labels: Any) -> np.ndarray:
    """A vector of two dimensions that tells its label."""
    first = np.asarray(labels, dtype=np.float32)
    return np.stack([first, first + 0.5], axis=1)


def rows_of(
    ids: list[str], first_label: int, first_sequence: int, metadatas: list[Any] | None = None
) -> RecordRows:
    n = len(ids)
    return RecordRows(
        np.arange(first_label, first_label + n, dtype=np.int64),
        np.arange(first_sequence, first_sequence + n, dtype=np.int64),
        ids,
        [f"text of {one}" for one in ids],
        [None] * n,
        [None if one is None else json.dumps(one) for one in metadatas or [None] * n],
    )


def insert(
    db: DB, collection: uuid.UUID, ids: list[str], metadatas: list[Any] | None = None
) -> None:
    at = db.extent(collection)
    rows = rows_of(ids, at.next_label, at.next_sequence, metadatas)
    after = db.commit(
        collection,
        Changes(
            rows,
            np.empty(0, dtype=np.int64),
            vectors_of(rows.labels),
            at.next_label,
            len(ids),
            dimension=2,
            n_records_delta=len(ids),
            base_version=at.version,
        ),
    )
    assert after == db.extent(collection)


def replace(db: DB, collection: uuid.UUID, one: str, text: str) -> None:
    """Change a record as an update with an embedding does: a new label, the old sequence."""
    at = db.extent(collection)
    label = db.find_labels(collection, [one])
    old = db.fetch(collection, label)
    rows = RecordRows(
        np.array([at.next_label]), old.sequences, old.ids, [text], old.uris, old.metadatas
    )
    db.commit(collection, Changes(rows, label, vectors_of(rows.labels), at.next_label, 0))


def remove(db: DB, collection: uuid.UUID, ids: list[str]) -> None:
    labels = db.find_labels(collection, ids)
    at = db.extent(collection)
    changes = Changes(
        RecordRows.empty(),
        labels,
        np.empty((0, 2), dtype=np.float32),
        at.next_label,
        0,
        n_records_delta=-len(ids),
    )
    db.commit(collection, changes)


def ids_of(db: DB, collection: uuid.UUID, **asked: Any) -> list[str]:
    return db.fetch(collection, db.select(collection, **asked)).ids


class DBContract(RankingTests):
    """The tests of every `DB`.

    A subclass says how one is made::

        class TestMine(chroma_nb.testing.DBContract):
            def make_db(self, settings):
                return MyDB(settings)

    One that is shared has those of `SharedDBContract` as well.
    """

    #: What errors have to say, as regular expressions: which collection has changed, that nothing was written, which
    #: label would have been right, which pattern cannot be read, that the DB is closed.
    says_conflict: ClassVar[str] = r"(?s)notes.*nothing was written"
    says_wrong_label: ClassVar[str] = r"\b1\b"
    says_pattern: ClassVar[str] = r"a\(b"
    says_closed: ClassVar[str] = r"closed"

    def make_db(self, settings: Settings) -> DB:
        """Open the store of these settings and return it.

        Args:
            settings: `path` is a folder of this test's own, which may be missing, and `temp_path` one for temporary
                files. A DB that persists is opened with the same path a second time, once it is closed.
        """
        raise NotImplementedError("A subclass says how its DB is made.")

    @pytest.fixture
    def open_db(self, tmp_path: Path) -> Iterator[Callable[[], DB]]:
        """Open the store of this test; again, once it is closed."""
        settings = Settings(path=str(tmp_path / "store"), temp_path=str(tmp_path), progress=False)
        opened: list[DB] = []

        def open_it() -> DB:
            opened.append(self.make_db(settings))
            return opened[-1]

        yield open_it
        for db in opened:
            db.close()

    @pytest.fixture
    def db(self, open_db: Callable[[], DB]) -> DB:
        """An empty store."""
        return open_db()

    @pytest.fixture
    def notes(self, db: DB) -> uuid.UUID:
        """An empty collection in it."""
        return create(db, "notes")

    # -- tenants and databases ------------------------------------------------------------------------

    def test_the_defaults_are_there(self, db: DB) -> None:
        assert db.has_tenant(TENANT)
        assert db.find_database(DATABASE, TENANT) is not None
        assert [name for _, name in db.list_databases(TENANT)] == [DATABASE]

    def test_tenants_and_databases_are_unique_and_listed_in_order(self, db: DB) -> None:
        db.create_tenant("acme")
        assert db.has_tenant("acme")
        assert not db.has_tenant("other")
        with pytest.raises(UniqueConstraintError):
            db.create_tenant("acme")
        made = [db.create_database(name, "acme") for name in ("one", "two")]
        assert db.list_databases("acme") == list(zip(made, ("one", "two"), strict=True))
        assert db.find_database("one", "acme") == made[0]
        assert db.find_database("one", TENANT) is None
        with pytest.raises(UniqueConstraintError):
            db.create_database("one", "acme")

    def test_a_database_goes_with_its_collections(self, db: DB, notes: uuid.UUID) -> None:
        db.delete_database(DATABASE, TENANT)
        assert db.find_database(DATABASE, TENANT) is None
        with pytest.raises(NotFoundError):
            db.get_collection(notes)

    # -- collections ----------------------------------------------------------------------------------

    def test_a_collection_is_found_by_name_and_id(self, db: DB) -> None:
        made = create(db, "notes", metadata={"n": 1, "text": "ü\U0001f600", "flag": True})
        info = db.get_collection(made)
        assert (info.id, info.name, info.dimension, info.ttl_seconds) == (made, "notes", None, None)
        assert info.metadata == {"n": 1, "text": "ü\U0001f600", "flag": True}
        assert info.configuration == CONFIGURATION
        assert db.find_collection("notes", TENANT, DATABASE) == info
        assert db.find_collection("notes", TENANT, "other") is None
        assert db.find_collection("Notes", TENANT, DATABASE) is None

    def test_names_are_unique_and_listed_in_order(self, db: DB) -> None:
        for name in ("zebra", "ape", "moose"):
            create(db, name)
        assert [info.name for info in db.list_collections()] == ["zebra", "ape", "moose"]
        assert db.list_collections(TENANT, "other") == []
        with pytest.raises(UniqueConstraintError):
            create(db, "ape")
        assert len(db.list_collections(TENANT, DATABASE)) == 3

    def test_a_collection_is_changed(self, db: DB, notes: uuid.UUID) -> None:
        create(db, "taken")
        info = db.get_collection(notes)
        with pytest.raises(UniqueConstraintError):
            db.update_collection(notes, lambda info: dataclasses.replace(info, name="taken"))
        changed = dataclasses.replace(
            info,
            name="renamed",
            metadata=None,
            configuration={"hnsw": {"space": "ip"}},
            ttl_seconds=9,
            schema={"keys": {"s": {"string": {}}}},
        )
        assert db.update_collection(notes, lambda _: changed) == changed
        assert db.get_collection(notes) == changed
        assert db.find_collection("notes", TENANT, DATABASE) is None
        assert db.find_collection("renamed", TENANT, DATABASE) == changed

    def test_a_deleted_collection_is_gone(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b"])
        db.delete_collection(notes)
        for call in (db.get_collection, db.extent, db.vectors, db.select, db.delete_collection):
            with pytest.raises(NotFoundError):
                call(notes)
        assert db.find_collection("notes", TENANT, DATABASE) is None
        assert ids_of(db, create(db, "notes")) == []

    # -- records --------------------------------------------------------------------------------------

    def test_an_empty_collection(self, db: DB, notes: uuid.UUID) -> None:
        at = db.extent(notes)
        assert (at.n_records, at.next_label, at.next_sequence) == (0, 0, 0)
        assert db.select(notes).dtype == np.int64
        assert len(db.select(notes)) == 0
        assert list(db.scan(notes)) == []
        assert db.find_labels(notes, ["a"]).tolist() == [-1]
        assert len(db.fetch(notes, np.array([0, 1]))) == 0
        assert db.text_sizes(notes).n_records == 0
        assert db.describe_fields(notes, 10) == []
        assert db.metadata_keys(notes) == []

    def test_a_commit_is_there_when_it_returns(self, db: DB, notes: uuid.UUID) -> None:
        before = db.extent(notes)
        insert(db, notes, ["b", "a"], [{"n": 1}, None])
        after = db.extent(notes)
        assert (after.n_records, after.next_label, after.next_sequence) == (2, 2, 2)
        assert after.version != before.version
        assert db.get_collection(notes).dimension == 2
        rows = db.fetch(notes, np.array([1, 0]))
        assert rows.ids == ["a", "b"]
        assert rows.labels.tolist() == [1, 0]
        assert rows.documents == ["text of a", "text of b"]
        assert rows.uris == [None, None]
        assert [None if one is None else json.loads(one) for one in rows.metadatas] == [
            None,
            {"n": 1},
        ]
        assert db.find_labels(notes, ["a", "none", "b"]).tolist() == [1, -1, 0]
        np.testing.assert_array_equal(
            db.vectors(notes).read(np.array([1, 0])), vectors_of(np.array([1, 0]))
        )

    def test_a_call_that_looks_once_sees_its_own_commit(self, db: DB, notes: uuid.UUID) -> None:
        with db.one_look():
            before = db.refresh(notes)
            insert(db, notes, ["a"])
            with db.one_look(joins=True):
                assert db.get_collection(notes).dimension == 2
                after = db.refresh(notes)
        assert (before.n_records, after.n_records) == (0, 1)
        assert db.refresh(notes) == db.extent(notes) == after

    def test_each_commit_has_a_version_of_its_own(self, db: DB, notes: uuid.UUID) -> None:
        def state() -> tuple[int, int]:
            extent = db.extent(notes)
            return extent.generation, extent.version

        states = [state()]
        for id in ("a", "b", "c"):
            insert(db, notes, [id])
            states.append(state())
        assert len({version for _, version in states}) == 4
        db.compact(notes)
        states.append(state())
        insert(db, notes, ["d"])
        states.append(state())
        assert len(set(states)) == 6

    def test_a_changed_record_keeps_its_place(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b", "c"])
        replace(db, notes, "a", "new")
        assert ids_of(db, notes) == ["a", "b", "c"]
        assert db.find_labels(notes, ["a"]).tolist() == [3]
        assert db.fetch(notes, np.array([3])).documents == ["new"]
        assert len(db.fetch(notes, np.array([0]))) == 0, "its old label is nobody's"
        assert db.extent(notes).n_records == 3
        assert [rows.labels.tolist() for rows in db.scan(notes)] == [[1, 2, 3]]

    def test_removed_records_are_gone(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b", "c"])
        remove(db, notes, ["b"])
        assert ids_of(db, notes) == ["a", "c"]
        assert db.extent(notes).n_records == 2
        insert(db, notes, ["b"])
        assert ids_of(db, notes) == ["a", "c", "b"]
        assert db.find_labels(notes, ["b"]).tolist() == [3], "a label is never used twice"

    def test_a_commit_that_fails_leaves_nothing(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a"])
        before = db.extent(notes)
        rows = rows_of(["b"], 7, 1)
        with pytest.raises(InternalError, match=self.says_wrong_label):
            db.commit(notes, Changes(rows, np.empty(0, np.int64), vectors_of([7]), 7, 1))
        assert db.extent(notes) == before
        assert ids_of(db, notes) == ["a"]

    def test_a_commit_on_another_version_is_refused(self, db: DB, notes: uuid.UUID) -> None:
        before = db.extent(notes)
        insert(db, notes, ["a"])
        at = db.extent(notes)
        rows = rows_of(["b"], at.next_label, at.next_sequence)
        nothing, vectors = np.empty(0, np.int64), vectors_of(rows.labels)
        late = Changes(rows, nothing, vectors, at.next_label, 1, 2, 1, base_version=before.version)
        with pytest.raises(ConflictError, match=self.says_conflict):
            db.commit(notes, late)
        assert db.extent(notes) == at
        assert ids_of(db, notes) == ["a"]
        db.commit(notes, dataclasses.replace(late, base_version=at.version))
        assert ids_of(db, notes) == ["a", "b"]

    def test_a_commit_may_bring_a_schema(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a"])
        assert db.get_collection(notes).schema is None
        schema: dict[str, Any] = {"keys": {"n": {"int": {}}}}
        nothing, vectors = np.empty(0, np.int64), vectors_of([1])
        rows = rows_of(["b"], 1, 1)
        db.commit(notes, Changes(rows, nothing, vectors, 1, 1, 2, 1, schema=schema))
        assert db.get_collection(notes).schema == schema
        insert(db, notes, ["c"])
        assert db.get_collection(notes).schema == schema

    def test_looking_again_moves_nothing_where_nobody_else_writes(
        self, db: DB, notes: uuid.UUID
    ) -> None:
        insert(db, notes, ["a"])
        at = db.extent(notes)
        assert db.refresh(notes) == at
        with pytest.raises(NotFoundError):
            db.refresh(uuid.uuid4())

    @pytest.mark.parametrize(
        "text", ["", "\0", "a\0b", "'; DROP TABLE x; --", "\U0001f600" * 3, "é", "x" * 1_000_000]
    )
    def test_texts_are_returned_unchanged(self, db: DB, notes: uuid.UUID, text: str) -> None:
        rows = rows_of([text or "id"], 0, 0, [{text or "key": text}])
        rows.documents, rows.uris = [text], [text]
        nothing = np.empty(0, dtype=np.int64)
        db.commit(notes, Changes(rows, nothing, vectors_of([0]), 0, 1, 2, 1))
        found = db.fetch(notes, np.array([0]))
        assert (found.ids, found.documents, found.uris) == ([text or "id"], [text], [text])
        assert found.metadatas[0] is not None
        assert json.loads(found.metadatas[0]) == {text or "key": text}
        assert db.find_labels(notes, [text or "id"]).tolist() == [0]
        sizes = db.text_sizes(notes)
        assert (sizes.ids, sizes.documents) == (len((text or "id").encode()), len(text.encode()))
        assert len(text.encode()) <= db.longest_document(notes) <= max(sizes.longest, sizes.n_bytes)

    def test_records_are_selected(self, db: DB, notes: uuid.UUID) -> None:
        ids = [f"{n:02}" for n in range(20)]
        insert(db, notes, ids, [{"n": n, "even": n % 2 == 0} for n in range(20)])

        def where(condition: dict[str, Any], **asked: Any) -> list[str]:
            return ids_of(db, notes, expression=parse_where(condition), **asked)

        assert ids_of(db, notes) == ids
        assert ids_of(db, notes, limit=3, offset=18) == ["18", "19"]
        assert ids_of(db, notes, limit=0) == []
        assert ids_of(db, notes, ids=["07", "none", "03"]) == ["03", "07"]
        assert where({"n": {"$gte": 17}}) == ["17", "18", "19"]
        assert where({"$and": [{"n": {"$lt": 5}}, {"even": True}]}) == ["00", "02", "04"]
        assert where({"n": {"$in": [3, 4]}}, ids=["04", "05"]) == ["04"]
        assert where({"n": {"$gte": 10}}, limit=2, offset=1) == ["11", "12"]
        assert where({"none": {"$ne": 1}}) == ids
        text = parse_where_document({"$contains": "of 1"})
        assert ids_of(db, notes, expression=text) == ids[10:]
        assert ids_of(db, notes, expression=parse_where_document({"$regex": "0[12]$"})) == [
            "01",
            "02",
        ]

    def test_a_pattern_that_cannot_be_read_is_refused(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a"])
        with pytest.raises(InvalidArgumentError, match=self.says_pattern):
            db.select(notes, DocumentMatches("a(b", negated=False))

    def test_metadata_is_described(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b", "c"], [{"n": 1, "s": "x"}, {"n": 2.5}, {"n": 7}])
        fields = {field.key: field for field in db.describe_fields(notes, 10)}
        assert list(fields) == ["n", "s"]
        assert (fields["n"].n_records, fields["n"].minimum, fields["n"].maximum) == (3, 1, 7)
        assert set(fields["n"].kinds) == {"int", "float"}
        assert fields["s"].values == [("x", 1)]
        assert db.metadata_keys(notes) == ["n", "s"]

    def test_compaction_keeps_records_and_order_and_starts_a_generation(
        self, db: DB, notes: uuid.UUID
    ) -> None:
        insert(db, notes, ["a", "b", "c", "d"])
        replace(db, notes, "a", "new")
        remove(db, notes, ["c"])
        before = db.extent(notes)
        db.compact(notes)
        after = db.extent(notes)
        assert after.generation == before.generation + 1
        assert (after.n_records, after.next_label) == (3, 3)
        rows = db.fetch(notes, db.select(notes))
        assert (rows.ids, rows.labels.tolist()) == (["a", "b", "d"], [0, 1, 2])
        assert rows.documents[0] == "new"
        np.testing.assert_array_equal(db.vectors(notes).read_range(0, 3), vectors_of([4, 1, 3]))
        insert(db, notes, ["e"])
        assert ids_of(db, notes) == ["a", "b", "d", "e"]

    def test_collections_are_apart(self, db: DB, notes: uuid.UUID) -> None:
        other = create(db, "other")
        insert(db, notes, ["a", "b"])
        insert(db, other, ["a"])
        remove(db, other, ["a"])
        assert ids_of(db, notes) == ["a", "b"]
        assert db.extent(other).n_records == 0

    # -- memory, SQL, life ------------------------------------------------------------------------------

    def test_the_memory_is_known_and_limited(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, [f"{n}" for n in range(1_000)])
        assert db.memory_bytes >= 0
        limit = db.memory_limit
        db.set_memory_limit(limit + (16 << 20))
        if limit:
            assert db.memory_limit == limit + (16 << 20)
        assert db.bytes_on_disk(notes) >= 0
        db.settle()
        assert len(ids_of(db, notes)) == 1_000

    def test_sql_reads_the_collections_of_one_database(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b"], [{"n": 1}, {"n": 2}])
        query = "SELECT id FROM notes WHERE n > ?"
        if type(db).sql is DB.sql:
            with pytest.raises(NotSupportedError, match=r"has no SQL\. Use get"):
                db.sql(query, [1], TENANT, DATABASE)
            return
        assert db.sql(query, [1], TENANT, DATABASE)["id"].tolist() == ["b"]

    def test_a_reset_store_is_new(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a"])
        db.create_tenant("acme")
        db.reset()
        assert db.list_collections() == []
        assert not db.has_tenant("acme")
        assert db.has_tenant(TENANT)
        assert db.find_database(DATABASE, TENANT) is not None

    def test_what_persists_comes_back(self, open_db: Callable[[], DB]) -> None:
        db = open_db()
        notes = create(db, "notes", metadata={"n": 1})
        insert(db, notes, ["a", "b"], [{"n": 1}, None])
        replace(db, notes, "a", "new")
        before = db.extent(notes)
        persists = db.persists
        db.close()
        db.close()
        again = open_db()
        if not persists:
            assert again.list_collections() == []
            return
        assert again.extent(notes) == before
        assert again.get_collection(notes).metadata == {"n": 1}
        assert again.get_collection(notes).dimension == 2
        assert again.fetch(notes, again.select(notes)).documents == ["new", "text of b"]
        np.testing.assert_array_equal(again.vectors(notes).read(np.array([2])), vectors_of([2]))

    def test_what_a_store_says_of_itself(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b"])
        assert db.is_there()
        assert db.unnamed_files() == []
        assert db.damaged_collections() == []
        assert db.derived_folder is None or os.path.isdir(db.derived_folder)
        assert db.commit_bytes(np.array([10, 20])) >= 0
        assert db.working_bytes >= 0
        assert not db.is_at_work
        (records, files, texts), gone = db.sizes([notes, uuid.uuid4()])
        assert (records, files) == (2, db.bytes_on_disk(notes))
        # 0 is "not counted".
        assert texts in (0, db.text_sizes(notes).n_bytes)
        assert gone == (0, 0, 0)

    def test_a_store_says_which_one_settings_name(self, db: DB, tmp_path: Path) -> None:
        one = Settings(path=str(tmp_path / "store"), progress=False)
        same = one.replace(path=str(tmp_path / "other" / ".." / "store"), offline=True)
        assert type(db).place(one) == type(db).place(same)
        assert type(db).place(one) != type(db).place(one.replace(path=str(tmp_path / "other")))

    def test_vectors_are_read_in_each_way(self, db: DB, notes: uuid.UUID) -> None:
        ids = [f"{n}" for n in range(50)]
        insert(db, notes, ids)
        vectors, expected = db.vectors(notes), vectors_of(np.arange(50))
        assert (vectors.dimension, vectors.row_bytes) == (2, 8)
        labels = np.array([49, 0, 7, 7])
        for _ in range(2):
            np.testing.assert_array_equal(vectors.read(labels), expected[labels])
            np.testing.assert_array_equal(vectors.read_range(10, 30), expected[10:30])
            out = np.zeros((64, 2), dtype=np.float32)
            found = vectors.read_range(10, 30, out)
            np.testing.assert_array_equal(found, expected[10:30])
            assert np.shares_memory(found, out)
            assert vectors.mapping_cost(50) >= 0
            mapped = vectors.mapped(50)
            if mapped is not None:
                np.testing.assert_array_equal(mapped, expected)
                assert vectors.mapped_bytes >= 0
            del mapped
            # As they are after a while without use.
            vectors.forget_checks()
            assert vectors.release() >= 0
            assert vectors.mapped_bytes == 0
        assert vectors.digest(50) == vectors.digest(50)
        insert(db, notes, ["more"])
        np.testing.assert_array_equal(vectors.read(np.array([50])), vectors_of([50]))

    def test_an_abandoned_db_is_closed(self, db: DB, notes: uuid.UUID) -> None:
        db.abandon()
        with pytest.raises(Exception, match=self.says_closed):
            db.select(notes)

    def test_a_closed_db_says_so(self, db: DB, notes: uuid.UUID) -> None:
        db.close()
        with pytest.raises(Exception, match=self.says_closed):
            db.list_collections()
        with pytest.raises(Exception, match=self.says_closed):
            db.select(notes)

    def test_what_was_written_is_whole(self, db: DB, notes: uuid.UUID) -> None:
        insert(db, notes, ["a", "b"], [{"n": 1}, None])
        remove(db, notes, ["a"])
        read: list[int] = []
        found = db.check(notes, read.append)
        assert found.is_whole
        assert (found.name, found.n_records) == ("notes", 1)
        assert sum(read) > 0
        assert db.rows_to_skip(notes) == 0
