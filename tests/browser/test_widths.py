"""Tables of results with many columns, where there is not much room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import datasets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("jupyterlab", reason="needs the extra 'browser'")

#: What reaches beyond its table, or beyond its own cell.
_CLIPPED = """() => {
  const table = document.querySelector('.cnb'), end = table.getBoundingClientRect().right + 0.5;
  const beyond = [...table.querySelectorAll('th, td, meter, span, div')].filter(
    one => one.getBoundingClientRect().right > end || (one.clientWidth && one.scrollWidth > one.clientWidth + 1));
  return [...(table.scrollWidth > table.clientWidth ? ['scrolls'] : []),
          ...beyond.map(one => one.textContent.slice(0, 40))];
}"""
_TEXTS = ("natural history", "Alexander von H.", "2021-05-17", "Oxford University Press")


def _numbers(row: int) -> dict[str, Any]:
    return {
        "year": 1900 + row % 120,
        "pages": 100 + row * 7,
        "rating": row % 40 / 10,
        "price": 19.99 + row,
        "stock": row * 13 % 977,
        "weight_grams": 1234.5 + row,
        "score_mean": 0.123456 + row / 1e5,
        "views": 1_000_000 + row * 777,
        "lang_id": row % 9,
    }


def _mixed(row: int) -> dict[str, Any]:
    topic, author, published, publisher = _TEXTS
    return {
        "topic": topic,
        "author": author,
        "published": published,
        "publisher": publisher,
        "year": 1900 + row,
        "rating": 4.25,
        "tags": ["a", "b"],
        "in_print": True,
        "pages": row,
    }


def _long_names(row: int) -> dict[str, Any]:
    return {
        f"the number of the {name} in all editions": row for name in ("pages", "year", "rating")
    }


@pytest.fixture(
    scope="module",
    params=[_numbers, _mixed, _long_names],
    ids=["numbers", "mixed", "long names"],
)
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Results whose records have nine metadata keys, or three with long names, as HTML by name."""
    client = chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static", allow_reset=True))
    client.reset()
    books = client.create_collection("books", configuration={"hnsw": {"space": "cosine"}})
    books.add(
        ids=[f"record-{row:05}" for row in range(300)],
        documents=datasets.glosses(300)["documents"],
        metadatas=[request.param(row) for row in range(300)],
    )
    text = "a large furry animal"
    found = {
        "query": books.query(query_texts=text),
        "with embeddings": books.query(
            query_texts=text, include=["documents", "metadatas", "distances", "embeddings"]
        ),
        "get": books.get(limit=10),
        "without documents": books.get(limit=10, include=["metadatas"]),
        "both": books.search(text),
        "words": books.search(text, by="words"),
        "reranked": books.search(text, rerank=lambda _, texts: [1.25 * len(one) for one in texts]),
    }
    yield {name: one._repr_html_() for name, one in found.items()}
    client.reset()
    client.close()


@pytest.mark.parametrize("theme", ["lab-light", "lab-dark", "colab-dark", "bare"])
@pytest.mark.parametrize("width", [830, 900, 1_400])
def test_nothing_is_clipped(
    page: Any, results: dict[str, str], theme: str, width: int, pictures: Path
) -> None:
    from tests.browser.static_pages import pages

    page.set_viewport_size({"width": width + 60, "height": 1_000})
    for name, html in results.items():
        output = f'<div style="width:{width}px">{html}</div>'
        page.set_content(pages()[theme].replace("{output}", output))
        assert page.evaluate(_CLIPPED) == [], name
        page.screenshot(path=str(pictures / f"width-{name}-{width}-{theme}.png"), full_page=True)


def test_the_measure_finds_what_is_clipped(page: Any, results: dict[str, str]) -> None:
    page.set_content(f'<div style="width:400px">{results["query"]}</div>')
    assert "scrolls" in page.evaluate(_CLIPPED)


def test_keys_without_a_column_are_below_the_document(results: dict[str, str]) -> None:
    from tests.display.tiers import Page

    for name, html in results.items():
        text = Page(html).text
        keys = ("year", "pages", "rating")
        assert all(key in text for key in keys), name
