"""`SharedDBContract`: what a shared `DB` has to do, where several processes are at one store.

The processes are `SegmentManager`s in one process, over objects of the DB that share a store.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from chroma_nb.errors import ConflictError, IDAlreadyExistsError, NotFoundError
from chroma_nb.segment import writer
from chroma_nb.segment.segment import LoadedSegment
from chroma_nb.settings import Settings
from chroma_nb.testing._api_base import EVERYTHING, PLACE, configuration_of
from chroma_nb.testing._processes import (
    Process,
    interfering,
    record_of,
    records_of,
)
from chroma_nb.types import RecordBatch

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from chroma_nb.db.base import DB

STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["add", "upsert", "update", "delete", "load", "unload", "compact", "build", "read"]
        ),
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True),
    ),
    max_size=25,
)


class SharedDBContract:
    """The tests of every `DB` that is shared, beside those of `DBContract`.

    Each process of a test is an object of the DB with segments and an API of its own, all in this process. A subclass
    says how they are made::

        class TestMineShared(chroma_nb.testing.SharedDBContract):
            def make_dbs(self, settings, n, n_kept=None):
                place = new_empty_place()
                return [MyDB(settings, place) for _ in range(n)]
    """

    #: Does `changes_since` return the last commits? Where it always returns None, segments are loaded again.
    knows_changes: ClassVar[bool] = True
    #: Numbers of commits that `changes_since` can be told to know. Each is given to `make_dbs`; None: as many as it does.
    n_kept: ClassVar[tuple[int | None, ...]] = (None,)

    def make_dbs(self, settings: Settings, n: int, n_kept: int | None = None) -> Sequence[DB]:
        """Open a new, empty store and return n objects of the DB over it, as n processes would have them.

        Args:
            settings: `temp_path` is a folder for temporary files.
            n: The number of processes.
            n_kept: One of the numbers in `self.n_kept`, or None.
        """
        raise NotImplementedError("A subclass says how its DBs are made.")

    def open_all(
        self, n: int = 2, *, n_kept: int | None = None, temp_path: str = "", **values: Any
    ) -> list[Process]:
        """Open processes over one new store, with one empty collection."""
        values = {"memory_budget": "1 GB", "idle_unload_seconds": 0, **values}
        chosen = Settings(temp_path=temp_path, progress=False, **values)
        processes = [Process(db, chosen) for db in self.make_dbs(chosen, n, n_kept)]
        try:
            info = processes[0].api.create_collection(
                "notes", configuration_of(), None, get_or_create=False, **PLACE
            )
        except BaseException:
            for process in processes:
                process.api.close()
            raise
        for process in processes:
            process.id = info.id
        return processes

    @pytest.fixture
    def open_processes(self, tmp_path: Path) -> Iterator[Callable[..., list[Process]]]:
        """Open processes as `open_all` does, and close them after the test. They leave no temporary file."""
        opened: list[Process] = []

        def open_them(n: int = 2, **values: Any) -> list[Process]:
            processes = self.open_all(n, temp_path=str(tmp_path), **values)
            opened.extend(processes)
            return processes

        yield open_them
        for process in opened:
            process.api.close()
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("chroma-nb-")]

    @pytest.fixture
    def two(self, open_processes: Callable[..., list[Process]]) -> list[Process]:
        """Two processes over one store."""
        return open_processes()

    # -- seeing each other ------------------------------------------------------------------------------

    @pytest.mark.parametrize("is_loaded", [False, True], ids=["on disk", "loaded"])
    def test_each_process_sees_what_another_has_committed(
        self, two: list[Process], is_loaded: bool
    ) -> None:
        one, other = two
        one.add("a", "b", "c")
        if is_loaded:
            other.load()
        assert other.records() == records_of({"a": 0, "b": 0, "c": 0})
        one.add("d")
        assert other.count() == 4
        assert other.records()["d"] == record_of("d")
        one.upsert("a", "e", version=1)
        one.update("b", "nobody", version=2)
        assert one.delete("c") == 1
        expected = {"a": 1, "b": 2, "d": 0, "e": 1}
        assert other.records() == one.records() == records_of(expected)
        assert list(other.records()) == list(expected), "in storage order"
        assert other.nearest("e", 1) == "e"
        found = other.api.get(other.id, where={"version": {"$gte": 1}}, **PLACE)
        assert found.ids == ["a", "b", "e"]
        found = other.api.get(other.id, where_document={"$regex": "version [12]$"}, **PLACE)
        assert found.ids == ["a", "b", "e"]
        assert other.api.metadata_keys(other.id, **PLACE) == ["id", "version"]
        fields = other.api.describe_fields(other.id, **PLACE)
        assert {field.key: field.maximum for field in fields} == {"id": None, "version": 2}
        assert (other.slot.segment is not None) == (is_loaded or other.slot.loads > 0)

    def test_the_first_vectors_come_from_another_process(self, two: list[Process]) -> None:
        one, other = two
        other.load()
        one.add("a", "b")
        assert other.nearest("b") == "b"
        assert other.records() == records_of({"a": 0, "b": 0})

    def test_a_collection_that_another_process_has_changed_or_deleted(
        self, two: list[Process]
    ) -> None:
        one, other = two
        one.add("a")
        other.load()
        changed = {"hnsw": {"ef_search": 77}}
        one.api.modify(one.id, name="renamed", configuration=changed, **PLACE)
        assert other.nearest("a") == "a"
        assert (other.slot.segment.info.name, other.slot.segment.ef_search) == ("renamed", 77)
        assert other.slot.loads == 1
        one.api.delete_collection("renamed", **PLACE)
        for call in (other.records, other.count, lambda: other.add("b")):
            with pytest.raises(NotFoundError):
                call()
        assert other.segments.residents.ledger.used == 0
        assert list(other.segments._slots) == []

    # -- catching up ------------------------------------------------------------------------------------

    def test_a_loaded_segment_catches_up_without_loading_again(self, two: list[Process]) -> None:
        one, other = two
        one.add(*(f"r{n}" for n in range(20)))
        other.load()
        where: Any = {"version": 1}
        assert other.api.get(other.id, where=where, **PLACE).ids == []
        segment = other.slot.segment
        for n in range(5):
            one.add(f"late{n}")
            one.upsert(f"r{n}", version=1)
            one.delete(f"r{n + 10}")
            assert other.nearest(f"late{n}") == f"late{n}"
            assert other.api.get(other.id, where=where, **PLACE).ids == [
                f"r{k}" for k in range(n + 1)
            ]
            assert other.records() == one.records()
        if self.knows_changes:
            assert other.slot.segment is segment
            assert other.slot.loads == 1
        held = other.segments.residents.ledger.held(other.id)
        assert held == other.slot.segment.resident_bytes, "what it has grown by is in the account"

    def test_a_graph_stays_in_use_while_others_write(
        self,
        open_processes: Callable[..., list[Process]],
    ) -> None:
        if not self.knows_changes:
            pytest.skip("a segment is loaded again where changes_since knows no commits")
        one, other = open_processes(graph_min_records=100)
        ids = [f"r{n}" for n in range(300)]
        one.add(*ids)
        other.api.build_index(other.id, **PLACE)
        form = other.slot.segment.form
        assert form != "exact"
        loads = other.slot.loads
        one.add("late")
        one.upsert("r7", version=1)
        one.delete("r8")
        assert (other.nearest("late"), other.nearest("r7", 1)) == ("late", "r7")
        assert other.nearest("r8") != "r8"
        assert other.nearest("r9") == "r9"
        assert (other.slot.segment.form, other.slot.loads) == (form, loads)
        other.api.build_index(other.id, **PLACE)
        assert other.api.indexing_status(other.id, **PLACE).num_unindexed_ops == 0
        assert other.records() == one.records()

    def test_the_commits_since_a_version(self, two: list[Process]) -> None:
        one, other = two
        one.add("a")
        base = other.db.refresh(other.id)
        assert not other.db.is_behind(other.id)
        assert not list(other.db.changes_since(other.id, base.version) or ())
        one.add("b", "c")
        one.delete("a")
        assert other.db.is_behind(other.id)
        assert other.db.extent(other.id) == base, "only refresh moves the view"
        now = other.db.refresh(other.id)
        assert now == one.db.extent(one.id)
        commits = other.db.changes_since(other.id, base.version)
        if not self.knows_changes:
            assert commits is None
            return
        assert commits is not None
        changes = list(commits)
        assert base.n_records + sum(each.n_records_delta for each in changes) == now.n_records
        assert [id for each in changes for id in each.rows.ids] == ["b", "c"]
        assert other.db.changes_since(other.id, base.version + now.version + 1) is None

    def test_commits_that_are_not_known_any_more_are_read_again(
        self,
        open_processes: Callable[..., list[Process]],
    ) -> None:
        if 2 not in self.n_kept:
            pytest.skip("changes_since cannot be told how many commits to know")
        one, other = open_processes(n_kept=2)
        one.add("a")
        other.load()
        one.add("b")
        one.add("c")
        assert (other.nearest("c"), other.slot.loads) == ("c", 1)
        for id in ("d", "e", "f"):
            one.add(id)
        assert (other.nearest("f"), other.slot.loads) == ("f", 2)

    @pytest.mark.parametrize("is_loaded", [False, True], ids=["on disk", "loaded"])
    def test_a_compaction_by_another_process(self, two: list[Process], is_loaded: bool) -> None:
        one, other = two
        one.add("a", "b", "c", "d")
        if is_loaded:
            other.load()
        one.delete("b")
        one.upsert("a", version=1)
        one.segments.compact(one.id)
        expected = records_of({"a": 1, "c": 0, "d": 0})
        assert other.records() == expected
        assert other.nearest("a", 1) == "a"
        other.delete("c")
        other.add("e")
        assert one.records() == other.records() == records_of({"a": 1, "d": 0, "e": 0})

    def test_a_segment_that_cannot_grow_is_dropped_and_answers_stay_right(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a")
        other.load()
        monkeypatch.setattr(other.segments.residents, "reserve", lambda *_, **__: False)
        one.add("b")
        assert other.records() == records_of({"a": 0, "b": 0})
        assert other.slot.segment is None
        assert other.segments.residents.ledger.used == 0

    def test_the_view_does_not_move_under_a_reader(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a", "b", "c")
        looked, is_behind, found = threading.Event(), other.db.is_behind, []

        def look(collection_id: uuid.UUID) -> bool:
            is_old = is_behind(collection_id)
            looked.set()
            return is_old

        with other.segments.present(other.id) as segment:
            labels = segment.metadata.select()
            one.delete("a")
            one.segments.compact(one.id)
            monkeypatch.setattr(other.db, "is_behind", look)
            thread = threading.Thread(target=lambda: found.append(other.records()))
            thread.start()
            assert looked.wait(60)
            # It waits for this reader; where it did not, it would be done by then.
            thread.join(0.3)
            assert segment.metadata.read(labels, ()).ids == ["a", "b", "c"]
            assert not found
        thread.join(60)
        assert found == [records_of({"b": 0, "c": 0})]

    @pytest.mark.parametrize("n_applied", [0, 1])
    def test_a_segment_that_was_stopped_while_it_caught_up_is_not_used(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch, n_applied: int
    ) -> None:
        one, other = two
        one.add("a")
        other.load()
        one.add("b")
        one.add("c")
        apply, calls = LoadedSegment.apply, iter(range(10))
        was_stopped = False

        def stopped(segment: LoadedSegment, *given: Any) -> None:
            nonlocal was_stopped
            if next(calls) == n_applied:
                was_stopped = True
                raise KeyboardInterrupt
            apply(segment, *given)

        with monkeypatch.context() as patch:
            patch.setattr(LoadedSegment, "apply", stopped)
            with contextlib.suppress(KeyboardInterrupt):
                other.records()
        if not was_stopped:
            # Several commits may be given as one, or none may be known.
            assert not (self.knows_changes and n_applied == 0)
            pytest.skip(f"changes_since gave at most {n_applied} of two commits")
        assert other.records() == records_of({"a": 0, "b": 0, "c": 0})
        assert other.nearest("c") == "c"

    def test_a_segment_in_doubt_does_not_catch_up(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a")
        other.load()
        one.add("b")
        one.add("c")
        apply, n_calls = LoadedSegment.apply, iter(range(10))
        was_stopped = False

        def stopped(segment: LoadedSegment, *given: Any) -> None:
            nonlocal was_stopped
            if next(n_calls):
                was_stopped = True
                raise KeyboardInterrupt
            apply(segment, *given)

        def stopped_again(slot: Any) -> None:
            if slot.in_doubt:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(LoadedSegment, "apply", stopped)
            # A second interrupt, while the first one is dealt with.
            patch.setattr(other.segments.residents, "drop_if_in_doubt", stopped_again)
            with contextlib.suppress(KeyboardInterrupt):
                other.records()
        if not was_stopped:
            pytest.skip("changes_since did not give two commits")
        assert other.slot.in_doubt
        one.add("d")
        assert other.records() == records_of({"a": 0, "b": 0, "c": 0, "d": 0})

    # -- conflicts --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("is_loaded", [False, True], ids=["on disk", "loaded"])
    def test_a_write_that_comes_second_is_made_again_on_what_is_there(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch, is_loaded: bool
    ) -> None:
        one, other = two
        one.add("a", "b")
        if is_loaded:
            other.load()

        interfering(other, monkeypatch, lambda: one.add("c"), lambda: one.add("d"))
        other.add("c", "e", version=5)
        expected = {"a": 0, "b": 0, "c": 0, "d": 0, "e": 5}
        assert one.records() == other.records() == records_of(expected)

        interfering(other, monkeypatch, lambda: one.upsert("a", "f", version=1))
        other.api.upsert(other.id, RecordBatch(["a"], metadatas=[{"mine": 2}]), **PLACE)
        document, metadata, vector = record_of("a", 1)
        assert one.records()["a"] == (document, {**metadata, "mine": 2}, vector), (
            "merged with the new"
        )

        interfering(other, monkeypatch, lambda: one.delete("b"))
        other.update("b", "c", version=3)
        assert "b" not in one.records()
        assert one.records()["c"] == record_of("c", 3)

        interfering(other, monkeypatch, lambda: one.add("g"))
        with pytest.raises(IDAlreadyExistsError):
            other.add("g", "h", on_conflict="error")

        interfering(other, monkeypatch, lambda: one.add("h", version=7))
        where: Any = {"version": 7}
        assert other.api.delete(other.id, where=where, **PLACE) == 0, "nothing matched: no commit"
        assert other.api.delete(other.id, ids=["d", "e"], **PLACE) == 2
        assert list(one.records()) == list(other.records()) == ["a", "c", "f", "g", "h"]
        if is_loaded:
            assert other.slot.loads == 1 or not self.knows_changes, "a conflict drops no segment"

    def test_a_write_gives_up_in_the_end_and_leaves_nothing(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a")
        other.load()
        monkeypatch.setattr(writer, "_MOST_TRIES", 3)
        interfering(
            other, monkeypatch, *(lambda n=n: one.upsert("a", version=n) for n in range(1, 4))
        )
        with pytest.raises(ConflictError, match=r"\[notes\].*each of the 3 times.*Repeat the call"):
            other.add("b")
        assert one.records() == other.records() == records_of({"a": 3})
        other.add("b")
        assert one.records() == records_of({"a": 3, "b": 0})

    def test_a_compaction_that_comes_second_is_refused(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a", "b")
        one.delete("a")
        compact = other.db.compact

        def late(collection_id: uuid.UUID) -> None:
            one.add("c")
            compact(collection_id)

        monkeypatch.setattr(other.db, "compact", late)
        with pytest.raises(ConflictError):
            other.segments.compact(other.id)
        assert one.records() == other.records() == records_of({"b": 0, "c": 0})

    def test_a_write_that_comes_after_a_compaction_is_made_again(
        self, two: list[Process], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other = two
        one.add("a", "b", "c", "d")
        one.delete("a")
        other.load()
        # The labels that it was prepared with are other records' now.
        interfering(other, monkeypatch, lambda: one.segments.compact(one.id))
        assert other.delete("c") == 1
        interfering(other, monkeypatch, lambda: one.segments.compact(one.id))
        other.upsert("d", version=1)
        assert one.records() == other.records() == records_of({"b": 0, "d": 1})

    # -- many at once -----------------------------------------------------------------------------------

    def test_concurrent_writers_lose_nothing(
        self, open_processes: Callable[..., list[Process]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each thread writes records of its own, whose state it knows, and all want the same new ids."""
        processes = open_processes(3, graph_min_records=50)
        conflicts: list[ConflictError] = []
        db_class: Any = type(processes[0].db)
        commit, refresh = db_class.commit, db_class.refresh

        def counted(*given: Any) -> Any:
            try:
                return commit(*given)
            except ConflictError as error:
                conflicts.append(error)
                raise

        def slow(*given: Any) -> Any:
            extent = refresh(*given)
            # Between looking and committing, others get a turn.
            time.sleep(0.0005)
            return extent

        monkeypatch.setattr(db_class, "commit", counted)
        monkeypatch.setattr(db_class, "refresh", slow)
        barrier = threading.Barrier(2 * len(processes))
        failures: list[BaseException] = []
        won: list[str] = []
        models: list[dict[str, int]] = []

        def work(process: Process, number: int) -> None:
            walk, mine = random.Random(number), models[number]
            barrier.wait(60)
            for step in range(25):
                id = f"t{number}-{walk.randrange(8)}"
                kind = walk.choice(("add", "upsert", "update", "delete", "read", "contest"))
                if kind == "add":
                    process.add(id, version=step)
                    mine.setdefault(id, step)
                elif kind == "upsert":
                    process.upsert(id, version=step)
                    mine[id] = step
                elif kind == "update":
                    process.update(id, version=step)
                    if id in mine:
                        mine[id] = step
                elif kind == "delete":
                    assert process.delete(id) == (mine.pop(id, None) is not None)
                elif kind == "read":
                    found = process.api.get(process.id, ids=[id], include=EVERYTHING, **PLACE)
                    assert found.ids == ([id] if id in mine else [])
                    if id in mine:
                        assert process.nearest(id, mine[id]) == id
                else:
                    contested = f"contested-{step}"
                    try:
                        process.add(contested, on_conflict="error")
                        won.append(contested)
                    except IDAlreadyExistsError:
                        assert contested in process.records()

        def run(process: Process, number: int) -> None:
            try:
                work(process, number)
            except BaseException as error:
                failures.append(error)

        threads = []
        for number in range(2 * len(processes)):
            models.append({})
            process = processes[number % len(processes)]
            threads.append(threading.Thread(target=run, args=(process, number)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not failures, failures
        assert conflicts, "the threads were never in each other's way"
        assert len(set(won)) == len(won), "one winner each"
        expected = dict.fromkeys(won, 0)
        for model in models:
            expected.update(model)
        for process in processes:
            assert process.records() == records_of(expected)
            assert list(process.records()) == list(processes[0].records())
            assert process.count() == len(expected)
            for id, version in expected.items():
                assert process.nearest(id, version) == id

    def test_every_walk_of_two_processes_is_that_of_a_dictionary(self) -> None:
        @given(STEPS, st.sampled_from(self.n_kept))
        @limits(max_examples=60, deadline=None)
        def walk(steps: list[tuple[int, str, list[str]]], n_kept: int | None) -> None:
            processes = self.open_all(n_kept=n_kept, graph_min_records=2)
            model: dict[str, int] = {}
            try:
                for number, (who, kind, ids) in enumerate(steps):
                    process = processes[who]
                    if kind == "add":
                        process.add(*ids, version=number)
                        model = {**model, **{id: number for id in ids if id not in model}}
                    elif kind == "upsert":
                        process.upsert(*ids, version=number)
                        model.update(dict.fromkeys(ids, number))
                    elif kind == "update":
                        process.update(*ids, version=number)
                        model.update({id: number for id in ids if id in model})
                    elif kind == "delete":
                        assert process.delete(*ids) == sum(id in model for id in ids)
                        model = {id: version for id, version in model.items() if id not in ids}
                    elif kind == "load":
                        process.load()
                    elif kind == "unload":
                        process.api.unload(process.id, **PLACE)
                    elif kind == "compact":
                        # The other one may compact of itself at the same moment.
                        with contextlib.suppress(ConflictError):
                            process.segments.compact(process.id)
                    elif kind == "build":
                        process.api.build_index(process.id, **PLACE)
                    else:
                        for id in ids:
                            if id in model:
                                assert process.nearest(id, model[id]) == id
                    assert process.count() == len(model)
                    if kind == "read" and model:
                        assert list(process.records().items()) == list(records_of(model).items())
                if model:
                    for process in processes:
                        assert list(process.records().items()) == list(records_of(model).items())
            finally:
                for process in processes:
                    process.api.close()

        walk()
