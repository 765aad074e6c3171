"""`VectorIndexContract` over every engine of vector graphs, and over one of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb.testing
from tests.support.own_index import OwnIndex

if TYPE_CHECKING:
    from chroma_nb.index.base import VectorIndex


class TestEveryEngine(chroma_nb.testing.VectorIndexContract):
    @pytest.fixture
    def engine(self, engine: type[VectorIndex]) -> type[VectorIndex]:
        return engine


class TestOwnIndex(chroma_nb.testing.VectorIndexContract):
    def index_class(self) -> type[VectorIndex]:
        return OwnIndex
