"""`DBContract` over every `DB` that there is. A new one is tested by being named in `DB_IMPLEMENTATIONS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import chroma_nb.testing
from chroma_nb.implementations import DB_IMPLEMENTATIONS, load_implementation
from tests.support.clickhouse import HAS_CLICKHOUSE, NO_CLICKHOUSE, at_clickhouse

if TYPE_CHECKING:
    from chroma_nb.db.base import DB
    from chroma_nb.settings import Settings

#: Those that come with chroma_nb, and the example.
KINDS = {
    **DB_IMPLEMENTATIONS,
    "shared_memory": "chroma_nb.testing.shared_memory_db:SharedMemoryDB",
}


class TestEveryDB(chroma_nb.testing.DBContract):
    says_conflict: ClassVar[str] = r"\[notes\] has changed.*nothing was written"
    says_wrong_label: ClassVar[str] = "next free one is 1"
    says_pattern: ClassVar[str] = r"expression 'a\(b' cannot be read: missing \)"

    @pytest.fixture(params=KINDS, autouse=True)
    def kind(self, request: pytest.FixtureRequest) -> None:
        if request.param == "clickhouse" and not HAS_CLICKHOUSE:
            pytest.skip(NO_CLICKHOUSE)
        self.is_clickhouse = request.param == "clickhouse"
        self.db_class: Any = load_implementation("db", request.param, KINDS)

    def make_db(self, settings: Settings) -> DB:
        return self.db_class(at_clickhouse(settings) if self.is_clickhouse else settings)
