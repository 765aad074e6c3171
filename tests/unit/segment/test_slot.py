"""`Slots`: who has a slot, which are pinned, and what a collection is called."""

from __future__ import annotations

import uuid

import pytest

from chroma_nb.errors import NotFoundError
from chroma_nb.index.cores import Cores
from chroma_nb.segment.slot import CollectionName, Slot, Slots
from chroma_nb.settings import Settings
from chroma_nb.testing import SharedMemoryDB
from tests.unit.segment.conftest import create


@pytest.fixture
def db() -> SharedMemoryDB:
    return SharedMemoryDB(Settings())


@pytest.fixture
def slots(db: SharedMemoryDB) -> Slots:
    return Slots(db)


def test_a_slot_is_made_when_it_is_first_asked_for(db: SharedMemoryDB, slots: Slots) -> None:
    notes, other = create(db, "notes"), create(db, "other")
    assert slots.find(notes) is None
    slot = slots.get(notes)
    assert slots.get(notes) is slots.find(notes) is slot
    assert list(slots) == [slot]
    assert slots.find(other) is None
    with pytest.raises(NotFoundError):
        slots.get(uuid.uuid4())
    assert list(slots) == [slot], "one that is not there gets none"


def test_slots_may_go_while_they_are_gone_through(db: SharedMemoryDB, slots: Slots) -> None:
    three = [slots.get(create(db, f"notes{n}")) for n in range(3)]
    seen = []
    for slot in slots:
        slots.remove(slot.collection_id)
        seen.append(slot)
    assert seen == three
    assert list(slots) == []


def test_the_pinned_ones_are_known(db: SharedMemoryDB, slots: Slots) -> None:
    one, two = slots.get(create(db, "one")), slots.get(create(db, "two"))
    for _ in range(2):
        slots.pin(one, True)
    slots.pin(two, True)
    assert slots.pins() == [one, two]
    slots.pin(one, False)
    slots.pin(one, False)
    assert (slots.pins(), one.pinned, two.pinned) == ([two], False, True)
    slots.remove(two.collection_id)
    slots.remove(two.collection_id)
    assert slots.pins() == []
    assert slots.find(two.collection_id) is None


def test_a_deleted_collection_is_called_by_its_id(db: SharedMemoryDB, slots: Slots) -> None:
    notes = create(db, "notes")
    slot = slots.get(notes)
    assert str(slots.name_of(slot)) == "notes"
    db.delete_collection(notes)
    assert str(slots.name_of(slot)) == str(notes)
    db.close()
    assert str(slots.name_of(slot)) == str(notes), "nor does an error hide another one"


@pytest.mark.parametrize(
    ("tenant", "database", "expected"),
    [
        ("default_tenant", "default_database", "notes"),
        ("", "", "notes"),
        ("default_tenant", "mine", "default_tenant/mine/notes"),
        ("me", "default_database", "me/default_database/notes"),
    ],
)
def test_a_name_says_whose_it_is_where_it_has_to(tenant: str, database: str, expected: str) -> None:
    assert str(CollectionName("notes", tenant, database)) == expected


def test_a_use_is_a_read_unless_it_is_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    monkeypatch.setattr(Cores, "note_reading", lambda self: noted.append("read"))
    monkeypatch.setattr(Cores, "note_writing", lambda self: noted.append("written"))
    slot = Slot(uuid.uuid4())
    assert slot.last_used is None
    slot.touch()
    before = slot.last_used
    with slot.write_lock:
        slot.touch()
        slot.touch(writing=True)
    assert noted == ["read", "read", "written"]
    assert before is not None
    assert slot.last_used is not None
    assert slot.last_used >= before
