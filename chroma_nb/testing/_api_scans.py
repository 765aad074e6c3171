"""The part of `APIContract` about scans: reading a collection at one version, piece by piece."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.api.scanning import Scan, ScanPiece
from chroma_nb.errors import ChromaError, NotFoundError
from chroma_nb.testing._api_base import (
    EVERYTHING,
    PLACE,
    APITests,
    batch_of,
    create,
    vectors_of,
)

if TYPE_CHECKING:
    import uuid

    from chroma_nb.api.base import API

_N, _DIMENSION = 120, 8
#: So few bytes that a collection has several pieces.
_SMALL = 1_000


class ScanTests(APITests):
    """Tests of `API.scan`. A subclass whose API has no snapshots skips those of one version."""

    @pytest.fixture
    def many(self, api: API) -> uuid.UUID:
        """Enough records for several pieces; some lack a document, metadata or a URI."""
        docs = create(api, "many").id
        batch = batch_of(
            [f"id{at}" for at in range(_N)],
            np.random.default_rng(3).normal(size=(_N, _DIMENSION)),
            documents=[f"text {at} 😀" if at % 3 else None for at in range(_N)],
            metadatas=[{"n": at, "é": [1.5, 2.0]} if at % 4 else None for at in range(_N)],
            uris=[f"file:///{at}" if at % 5 else None for at in range(_N)],
        )
        api.add(docs, batch, **PLACE)
        return docs

    def test_columns_say_what_get_says(self, api: API, many: uuid.UUID) -> None:
        for include in (EVERYTHING, (), ("uris",)):
            for asked in ({}, {"limit": 7, "offset": 5}, {"where": {"n": {"$gt": 90}}, "limit": 9}):
                found = api.get(many, include=include, **asked, **PLACE)
                columns = api.get_columns(many, include=include, **asked, **PLACE)
                assert isinstance(columns, ScanPiece)
                assert list(columns.ids) == found.ids
                for name in ("documents", "uris"):
                    column = getattr(columns, name)
                    assert (None if column is None else list(column)) == getattr(found, name)
                if found.metadatas is None:
                    assert columns.metadatas is None
                else:
                    texts = [one and json.loads(one) for one in columns.metadatas or ()]
                    assert texts == found.metadatas
                if found.embeddings is None:
                    assert columns.embeddings is None
                else:
                    np.testing.assert_array_equal(columns.embeddings, found.embeddings)
        assert list(api.get_columns(many, ids=["none"], **PLACE).ids) == []

    def test_a_scan_returns_what_get_returns(self, api: API, many: uuid.UUID) -> None:
        with api.scan(many, piece_bytes=_SMALL, **PLACE) as scan:
            assert isinstance(scan, Scan)
            assert iter(scan) is scan
            assert (scan.n_records, scan.dimension) == (_N, _DIMENSION)
            pieces = list(scan)
            assert list(scan) == []
        assert len(pieces) > 1
        for piece in pieces:
            assert isinstance(piece, ScanPiece)
            assert piece.n_damaged == 0
            assert piece.embeddings is not None
            assert piece.embeddings.dtype == np.float32
            assert piece.embeddings.flags.c_contiguous
            assert piece.embeddings.shape == (len(piece), _DIMENSION)
        found = api.get(many, include=EVERYTHING, **PLACE)
        assert joined(pieces) == columns_of(
            found.ids, found.embeddings, found.documents, found.metadatas, found.uris
        )

    def test_a_scan_returns_what_was_asked_for(self, api: API, many: uuid.UUID) -> None:
        for include in ((), ("documents",), ("uris", "embeddings"), ("metadatas",)):
            pieces = list(api.scan(many, ids=["id7", "none", "id1"], include=include, **PLACE))
            assert [id for piece in pieces for id in piece.ids] == ["id1", "id7"]
            for name in EVERYTHING:
                for piece in pieces:
                    assert (getattr(piece, name) is not None) == (name in include)
        chosen: Any = {"where": {"n": {"$gt": 50}}, "where_document": {"$contains": "1 "}}
        wanted = api.get(many, include=(), **chosen, **PLACE).ids
        scan = api.scan(many, include=(), **chosen, **PLACE)
        assert scan.n_records == len(wanted) > 2
        assert [id for piece in scan for id in piece.ids] == wanted
        assert list(api.scan(many, where={"n": -1}, **PLACE)) == []
        with pytest.raises(ValueError, match="operator"):
            api.scan(many, where={"n": {"$no": 1}}, **PLACE)

    def test_a_scan_of_nothing(self, api: API) -> None:
        with api.scan(create(api, "empty").id, **PLACE) as scan:
            assert (scan.n_records, scan.dimension) == (0, 0)
            assert list(scan) == []

    def test_a_scan_is_of_one_version(self, api: API, many: uuid.UUID) -> None:
        rng = np.random.default_rng(4)
        for load in (False, True):
            (api.load if load else api.unload)(many, **PLACE)
            found = api.get(many, include=EVERYTHING, **PLACE)
            expected = columns_of(
                found.ids, found.embeddings, found.documents, found.metadatas, found.uris
            )
            pieces = []
            for piece in api.scan(many, piece_bytes=_SMALL, **PLACE):
                pieces.append(piece)
                some = [str(one) for one in rng.choice(api.get(many, include=(), **PLACE).ids, 5)]
                some = list(dict.fromkeys(some))
                vectors = vectors_of(rng.normal(size=(len(some), _DIMENSION)))
                api.delete(many, ids=some[:1], **PLACE)
                api.update(many, batch_of(some[1:2], documents=["new"]), **PLACE)
                api.update(many, batch_of(some[2:], vectors[2:]), **PLACE)
                api.upsert(
                    many, batch_of([some[0], f"new{load}{len(pieces)}"], vectors[:2]), **PLACE
                )
                if len(pieces) % 3 == 0:
                    api.unload(many, **PLACE)
            assert joined(pieces) == expected

    def test_scans_of_several_versions_at_once(self, api: API, many: uuid.UUID) -> None:
        scans, wanted = [], []
        for at in range(3):
            wanted.append(api.get(many, include=(), **PLACE).ids)
            scans.append(api.scan(many, include=(), piece_bytes=_SMALL, **PLACE))
            next(scans[-1])
            api.delete(many, ids=[f"id{90 + at}", f"id{at}"], **PLACE)
        for scan, ids in zip(scans, wanted, strict=True):
            rest = [id for piece in scan for id in piece.ids]
            assert rest == ids[len(ids) - len(rest) :]

    def test_a_scan_ends_with_its_collection(self, api: API, many: uuid.UUID) -> None:
        scan, closed = (api.scan(many, piece_bytes=_SMALL, **PLACE) for _ in range(2))
        next(scan)
        next(closed)
        closed.close()
        closed.close()
        with pytest.raises(ChromaError, match="ended before all was read: it was closed"):
            next(closed)
        api.delete_collection("many", **PLACE)
        with pytest.raises(NotFoundError):
            next(scan)
        scan.close()
        with pytest.raises(NotFoundError):
            api.scan(many, **PLACE)

    def test_a_scan_ends_with_a_reset(self, api: API, many: uuid.UUID) -> None:
        scan = api.scan(many, piece_bytes=_SMALL, **PLACE)
        next(scan)
        api.reset()
        with pytest.raises(NotFoundError):
            next(scan)

    def test_a_scan_ends_with_the_store(self, api: API, many: uuid.UUID) -> None:
        scan = api.scan(many, piece_bytes=_SMALL, **PLACE)
        next(scan)
        api.close()
        with pytest.raises(ChromaError, match=self.says_closed):
            next(scan)
        scan.close()


def columns_of(ids: Any, embeddings: Any, *columns: Any) -> list[tuple[Any, ...]]:
    """Return records as rows that can be compared."""
    return list(zip(ids, np.asarray(embeddings).tolist(), *columns, strict=True))


def joined(pieces: list[ScanPiece]) -> list[tuple[Any, ...]]:
    """Return the records of all pieces as rows that can be compared."""
    out = []
    for piece in pieces:
        texts = piece.metadatas or ()
        metadatas = [None if one is None else json.loads(one) for one in texts]
        out += columns_of(piece.ids, piece.embeddings, piece.documents, metadatas, piece.uris)
    return out
