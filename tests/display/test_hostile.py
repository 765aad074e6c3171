"""Other people's text is data: in every slot of every object and panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import display
from chroma_nb.collection import GetResult, QueryResult
from chroma_nb.display.render import fill
from chroma_nb.errors import ChromaError
from chroma_nb.memory.report import Eviction, Preview
from chroma_nb.tasks.report import WorkerInfo, WorkersReport
from tests.display.tiers import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table></div><h1>out",
    "javascript:alert(1)",
    "{{7*7}}{% raw %}{{ style }}",
    "costs $5 or $10, $$x^2$$ \\(y\\)",
    "\u202eright to left\u2066 \u200b\u200d zero width",
    "\x00\x07\x1b[31m control \ufffe",
    "lone \ud800 surrogate \udfff",
    "x" * 1_000_000,
    "</style><style>*{display:none}",
    "' onmouseover='alert(1)",
    "\n\n\t   spaces   \n",
]
NAMES = [f"hostile {n}" for n in range(len(HOSTILE))]


def check(html: str | None) -> str:
    assert html is not None
    page = Page(html)
    assert not page.problems
    assert not page.strange()
    for text in ("<script", "<img", "<h1", "onerror=alert(1)>", 'javascript:alert(1)"'):
        assert text not in html
    html.encode()
    for sign in "\u202e\u2066\x00\x07\x1b\ufffe":
        assert sign not in html
    assert "tex2jax_ignore mathjax_ignore" in html
    return page.text


@pytest.fixture(params=HOSTILE, ids=NAMES)
def hostile(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_workers(hostile: str) -> None:
    """What a worker says of itself is whatever somebody has put into the broker."""
    worker = WorkerInfo(hostile, hostile, 1, hostile, False, False, 1.0)
    report = WorkersReport(hostile, True, [worker], 0, 1, 2, 3, 4, 5, [(1.0, hostile)])
    check(display.html(report))


def test_results(hostile: str) -> None:
    got = GetResult(
        ids=[hostile],
        documents=[hostile],
        metadatas=[{hostile: hostile, "list": [hostile], "n": 1}],
        uris=[hostile],
        embeddings=None,
        data=None,
        included=[],
    )
    check(got._repr_html_())
    result = QueryResult({name: value and [value] for name, value in got.items()})
    result["distances"] = [[0.5]]
    result.asked, result.contains = [hostile], [hostile]
    check(result._repr_html_())
    for shown in (got, result):
        shown._repr_mimebundle_()["text/plain"].encode()


def test_errors_and_previews(hostile: str) -> None:
    check(ChromaError(hostile)._repr_html_())
    check(Preview([Eviction(hostile, 5, hostile)], hostile)._repr_html_())
    ChromaError(hostile)._repr_mimebundle_()["text/plain"].encode()


def test_settings(hostile: str) -> None:
    check(chroma_nb.Settings(path=hostile)._repr_html_())


@pytest.fixture
def client() -> Iterator[Any]:
    # An older store may have collections with long metadata.
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, max_description="16 MB")
    client = chroma_nb.EphemeralClient(settings)
    client.reset()
    yield client
    client.reset()
    client.close()


def test_collections(client: Any, hostile: str) -> None:
    # What a store of records accepts: everything but broken Unicode.
    text = hostile.encode("utf-8", "replace").decode().replace("\x00", "")
    collection = client.create_collection("notes", metadata={text or "x": text})
    collection.add(ids=[text or "x"], documents=[text], metadatas=[{text or "x": text}])
    for shown in (client, collection, collection.fields, client.memory, client.list_collections()):
        check(shown._repr_html_())
    for panel in (client.memory.widget(), collection.widget()):
        html = panel._repr_html_()
        for one in html.split("</style>", 1)[1].split('<div class="cnb '):
            assert "<script" not in one
        for widget in every_widget(panel._root):
            for trait in ("description", "tooltip", "description_tooltip"):
                if trait in widget.keys and widget.has_trait(trait):
                    assert len(getattr(widget, trait) or "") < 40, "nobody's text but ours"
            if type(widget).__name__ == "HTML" and widget.value:
                check(widget.value)
        panel.close()


def every_widget(widget: Any) -> list[Any]:
    found = [widget]
    for child in getattr(widget, "children", ()):
        found += every_widget(child)
    return found


def test_templates_escape_what_they_are_given() -> None:
    check(fill("label", label="<script>alert(1)</script>", kind="t"))
    check(fill("message", message="<img src=x onerror=alert(1)>"))
