"""A store in memory, one for each file of tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.api.base import API


@pytest.fixture(scope="module")
def api() -> Iterator[API]:
    with chroma_nb.EphemeralClient(private_settings(progress=False, allow_reset=True)) as client:
        yield client.api
