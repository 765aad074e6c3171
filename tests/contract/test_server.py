"""`ServerContract` over every `Server` that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import chroma_nb.testing
from chroma_nb.server import FastAPI

if TYPE_CHECKING:
    from collections.abc import Callable

    from chroma_nb.api.base import API
    from chroma_nb.server.base import Server
    from chroma_nb.settings import Settings


class TestFastAPI(chroma_nb.testing.ServerContract):
    def make_server(
        self, api: API, settings: Settings, release: Callable[[], object] | None = None
    ) -> Server:
        return FastAPI(api, settings, release)
