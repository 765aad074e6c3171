"""What is shown names a view that exists, and every view is somebody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import chroma_nb
from chroma_nb import check_report, display, progress
from chroma_nb.collection import comparing
from chroma_nb.display.base import Displayed
from chroma_nb.display.views import VIEWS, view
from chroma_nb.memory import report as memory_report
from chroma_nb.tasks import report as tasks_report
from chroma_nb.transfer import report as transfer_report
from chroma_nb.types import IndexingStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

# Everything with classes that are shown.
SHOWN = (
    *(chroma_nb.ClientAPI, chroma_nb.Schema),
    *(check_report, comparing, memory_report, progress, tasks_report, transfer_report),
)


def shown_classes(above: type = Displayed) -> Iterator[type]:
    for below in above.__subclasses__():
        if below.__module__.startswith("chroma_nb."):
            yield below
            yield from shown_classes(below)


def names() -> dict[str, str]:
    """Return the name of each class that is shown -> its view; without bases that are never made."""
    found = {
        kind.__name__: kind._view
        for kind in shown_classes()
        if isinstance(getattr(kind, "_view", None), str)
    }
    return {**found, "IndexingStatus": IndexingStatus(1, 0, 1, 1.0)._view}


def test_every_class_has_a_view_of_its_own_or_its_bases() -> None:
    missing = {
        kind.__name__ for kind in shown_classes() if getattr(kind, "_view", None) not in VIEWS
    }
    # The bases of results, and of `Collection`.
    results = {"ShownResult"}
    handles = {"CollectionHandle", "EmbeddingHandle", "ReadingHandle", "SearchingHandle"}
    assert missing == results | handles


def test_every_view_is_somebodys() -> None:
    assert set(names().values()) == VIEWS.keys()


def test_a_subclass_is_shown_as_its_base() -> None:
    class Mine(IndexingStatus):
        pass

    assert view(Mine(1, 0, 1, 1.0)) == view(IndexingStatus(1, 0, 1, 1.0))


@pytest.mark.parametrize("other", [object(), "text", 3, type("Odd", (), {"_view": ["client"]})()])
def test_anything_else_has_no_view_and_is_shown_as_text(other: object) -> None:
    with pytest.raises(TypeError):
        view(other)
    assert display.html(other) is None
    assert isinstance(display.text(other), str)
