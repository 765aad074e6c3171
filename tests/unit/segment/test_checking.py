"""`checked_store`: what a check of collections reads and says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chroma_nb.errors import NotFoundError
from chroma_nb.segment.checking import checked_store

if TYPE_CHECKING:
    import pytest

    from tests.unit.segment.conftest import Store


def test_every_collection_is_read(plain_store: Store) -> None:
    plain_store.write(*"abc")
    infos = plain_store.db.list_collections()
    report = checked_store(plain_store.segments, infos, plain_store.segments.settings, None, None)
    assert [(one.name, one.n_records) for one in report.collections] == [("notes", 3)]
    assert report.is_whole


def test_a_collection_that_is_deleted_meanwhile_is_left_out(
    plain_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deleted(*_: object) -> None:
        raise NotFoundError("gone")

    infos = plain_store.db.list_collections()
    monkeypatch.setattr(type(plain_store.segments), "check", deleted)
    report = checked_store(plain_store.segments, infos, plain_store.segments.settings, None, None)
    assert report.collections == []
