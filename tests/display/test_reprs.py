"""Every object shows itself: well-formed, bounded, deterministic, readable without styles."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.display import kept
from chroma_nb.display.render import style
from chroma_nb.memory.limits import ExplainedLimits
from tests.display.tiers import Page
from tests.support.waiting import wait_until

NAMES = [
    "client",
    "collections",
    "collection",
    "get",
    "query",
    "by embedding",
    "search",
    "words",
    "nothing searched",
    "nothing",
    "comparison",
    "fields",
    "explain",
    "explain search",
    "status",
    "memory",
    "report",
    "preview",
    "estimate",
    "limits",
    "schema",
    "settings",
    "check",
    "transfer",
    "error",
    "budget error",
]


def test_the_list_of_objects_is_complete(objects: dict[str, Any]) -> None:
    assert list(objects) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_well_formed_and_made_of_what_survives(
    objects: dict[str, Any], name: str
) -> None:
    page = Page(objects[name]._repr_html_())
    assert not page.problems
    assert not page.strange()
    assert page.text


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_agrees_with_the_single_methods(objects: dict[str, Any], name: str) -> None:
    shown = objects[name]
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    if name not in ("memory", "report"):
        assert bundle["text/html"] == shown._repr_html_()
    assert set(shown._repr_mimebundle_(include=["text/plain"])) == {"text/plain"}
    assert set(shown._repr_mimebundle_(exclude=["text/plain"])) == {"text/html"}
    assert all(len(line) <= 600 for line in bundle["text/plain"].splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_one_line_says_what_it_is(objects: dict[str, Any], name: str) -> None:
    # A result's repr is its dict's, as with Chroma; NumPy writes arrays in several lines.
    # That of the limits is the table that print() shows.
    assert "\n" not in repr(objects[name]) or name in ("get", "limits")
    if name in ("client", "collection", "fields", "memory", "report", "estimate", "settings"):
        assert len(repr(objects[name])) < 110


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_bars_can_be_read_aloud(objects: dict[str, Any], name: str) -> None:
    page = Page(objects[name]._repr_html_())
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption")
    for tag, attributes in page.elements:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
    # A bar never stands without its number.
    for bar in re.findall(
        r"<(?:meter|progress)[^>]*>(.*?)</(?:meter|progress)>", _html(objects[name])
    ):
        assert bar == ""
    for before in re.findall(r"([^<>]*)<(?:meter|progress)", _html(objects[name])):
        assert re.search(r"\d", before)


def _html(shown: Any) -> str:
    return str(shown._repr_html_())


def _quickest(shown: Any) -> tuple[float, str]:
    """Return the least of three times to show it, seconds, and the page; others use the machine too."""
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        html = _html(shown)
        runs.append((time.perf_counter() - started, html))
    return min(runs)


def _html_when_free(shown: Any) -> str:
    """Return the page; on a busy machine a display says so instead of waiting, and is asked again."""
    pages: list[str] = []

    def is_shown() -> bool:
        pages.append(_html(shown))
        return "the store is busy" not in pages[-1]

    wait_until(is_shown)
    return pages[-1]


def test_styles_are_small_scoped_and_never_half_a_colour() -> None:
    sheet = style()
    assert len(sheet.encode()) <= 2_048
    for rule in re.findall(r"([^{}]+)\{([^{}]*)\}", sheet):
        assert all(one.strip().startswith(".cnb") for one in rule[0].split(","))
        # A bar's own parts have no text.
        if "background" in rule[1] and "meter" not in rule[0]:
            assert "color:inherit" in rule[1].replace("background-color", "")


def test_every_value_is_there_once_and_in_order(objects: dict[str, Any]) -> None:
    page = Page(_html(objects["query"]))
    result = objects["query"]
    for row, ids in enumerate(result["ids"]):
        for at, one in enumerate(ids):
            assert f" {one} " in page.text
            assert f"{result['distances'][row][at]:.4f}" in page.text
    assert page.text.index("0.") < page.text.index("furry")
    # Long texts go on where the fold is, and are not said twice.
    assert page.text.count("trains run on rails") <= 2 * 20


def test_matching_words_are_marked(collection: Any) -> None:
    html = _html(collection.query(query_texts="a LARGE bear with fur", n_results=1))
    assert "<mark>bear</mark>" in html
    assert "<mark>large</mark>" in html
    assert "<mark>fur</mark>" not in html, "only whole words"
    html = _html(collection.get(where_document={"$contains": "furry a"}))
    assert "<mark>furry a</mark>" in html


def test_the_same_state_gives_the_same_bytes() -> None:
    code = """
import hashlib, chroma_nb
from tests.display.conftest import DOCUMENTS, objects_of
settings = chroma_nb.Settings(embedding="static", memory_budget="100 MB")
client = chroma_nb.EphemeralClient(settings)
collection = client.create_collection("notes", metadata={"source": "a test"})
collection.add(ids=["a", "b", "c"], documents=DOCUMENTS, metadatas=[{"n": 1}, {"n": 2}, None])
shown = objects_of(client, collection)
for name in ("client", "collections", "get", "query", "fields", "preview", "estimate", "settings"):
    print(name, hashlib.sha256(shown[name]._repr_html_().encode()).hexdigest())
print(hashlib.sha256(collection._repr_html_().replace(str(collection.id), "").encode()).hexdigest())
"""
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.splitlines()) == 9


def test_the_limits_are_a_table_that_says_which_is_reached_first(objects: dict[str, Any]) -> None:
    shown = objects["limits"]
    page = Page(shown._repr_html_())
    assert "500 kB are free. The limit that is reached first: cgroup v2." in page.text
    assert page.text.count("(reached first)") == 1
    assert "/proc/meminfo" in page.text
    assert shown._repr_mimebundle_()["text/plain"] == str(shown)
    assert "No limit" in ExplainedLimits()._repr_html_()


def test_results_are_plain_dicts(collection: Any) -> None:
    for result in (collection.get(), collection.query(query_texts=["x", "y"], n_results=2)):
        plain = dict(result)
        assert isinstance(result, dict)
        assert result == plain
        assert json.loads(json.dumps(result)) == json.loads(json.dumps(plain))
        frame = result.to_pandas()
        assert frame.columns.nlevels == 1
        assert len(frame.columns) <= 20


def test_a_thousand_collections_stay_small_and_quick(client: Any) -> None:
    for number in range(1_000):
        client.create_collection(f"collection-{number:04}", embedding_function=None)
    seconds, html = _quickest(client)
    assert seconds < 0.1
    assert len(html.encode()) <= 20 << 10
    assert "showing 10 of 1,000 collections" in Page(html).text
    for shown in (client.list_collections(), client.memory, client.memory.report()):
        html = _html_when_free(shown)
        assert "showing 10 of 1,000 collections" in Page(html).text
        assert len(html.encode()) <= 20 << 10


def test_huge_results_are_bounded(client: Any) -> None:
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(
        ids=[f"{n}-" + "i" * 500 for n in range(300)],
        embeddings=np.ones((300, 768), dtype=np.float32),
        documents=["<&>" * 5_000 + str(n) for n in range(300)],
        metadatas=[{f"key{k}": "<&>" * 200 for k in range(50)} for _ in range(300)],
    )
    result = wide.query(
        query_embeddings=np.ones((40, 768)), n_results=300, include=["documents", "metadatas"]
    )
    bundle = result._repr_mimebundle_()
    assert len(bundle["text/plain"]) < 20_000
    assert len(bundle.get("text/html", "").encode()) <= 64 << 10
    got = wide.get(include=["documents", "embeddings"])
    html = _html(got)
    assert len(html.encode()) <= 64 << 10
    assert "showing 10 of 300 records" in Page(html).text
    assert "768-d" in html
    assert ".to_pandas()" in html


def test_showing_loads_nothing(client: Any, collection: Any) -> None:
    collection.unload()
    for shown in (client, collection, client.list_collections(), client.memory, collection.fields):
        assert shown._repr_html_()
    assert client.memory.report().collections[0].state == "on disk"
    assert "on disk" in Page(_html(client)).text


def test_a_store_that_hangs_or_fails_is_shown_as_unavailable(
    client: Any, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is imported for the first display.
    client.get_settings()._repr_html_()
    api = type(client.api)

    def sleeps(*args: Any, **values: Any) -> Any:
        time.sleep(2)

    def fails(*args: Any, **values: Any) -> Any:
        raise RuntimeError("the disk is <gone>")

    for what, word in ((sleeps, "busy"), (fails, "&lt;gone&gt;")):
        _replace(monkeypatch, api, what)
        for shown in (client, collection, client.memory, collection.fields):
            seconds, html = _quickest(shown)
            assert seconds < 0.15
            assert "Unavailable" in html
            assert word in html
            assert not shown._repr_mimebundle_()["text/plain"].startswith("<")


def _replace(monkeypatch: pytest.MonkeyPatch, api: Any, what: Any) -> None:
    """Have a store answer what displays ask by another function."""
    for name in (
        *("list_collections", "memory_report", "get_collection_by_id"),
        *("describe_fields", "metadata_keys"),
    ):
        monkeypatch.setattr(api, name, what)


def test_a_busy_store_is_shown_as_it_was_last(
    client: Any, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    api = type(client.api)
    objects = {
        "client": client,
        "collection": collection,
        "collections": client.list_collections(),
        "memory": client.memory,
        "fields": collection.fields,
    }
    with monkeypatch.context() as busy:
        _replace(busy, api, lambda *_, **__: held.wait(60))
        for shown in objects.values():
            assert "the store is busy" in _html(shown)
            assert "As of" not in _html(shown)
    held.set()
    before = {name: Page(_html(shown)).text for name, shown in objects.items()}
    assert not any("As of" in text or "busy" in text for text in before.values())
    held.clear()
    with monkeypatch.context() as busy:
        _replace(busy, api, lambda *_, **__: held.wait(60))
        for name, shown in objects.items():
            page = Page(_html(shown))
            assert not page.problems
            assert re.match(r"As of \d+ s ago, the store is busy\. ", page.text)
            assert page.text.partition("busy. ")[2] == before[name]
        # Another handle of the same collection is the same object.
        assert "As of" in _html(collection.client.collection_of(collection.get_model()))
        # Another client has shown nothing yet.
        other = chroma_nb.EphemeralClient(client.get_settings())
        assert "As of" not in _html(other)
        other.close()
    held.set()
    assert "As of" not in _html(client)


def test_what_was_shown_last_keeps_no_store(client: Any) -> None:
    other = chroma_nb.EphemeralClient(client.get_settings())
    shown = other.create_collection("short-lived", embedding_function=None)
    for one in (other, shown, other.memory, shown.fields, other.list_collections()):
        assert _html(one)
    references = [weakref.ref(other), weakref.ref(shown)]
    del other, shown, one
    gc.collect()
    wait_until(lambda: all(one() is None for one in references))


def test_few_things_are_kept(client: Any) -> None:
    for number in range(100):
        assert _html(client.create_collection(f"c-{number}", embedding_function=None))
    assert len(kept._kept[client]) == kept._VIEWS


def test_a_closed_client_says_so(client: Any, collection: Any) -> None:
    other = chroma_nb.EphemeralClient(client.get_settings())
    shown = other.get_collection("notes")
    other.close()
    assert "closed" in _html(other)
    assert "closed" in _html(shown)
    assert "closed" in _html(other.memory)


def test_fifty_displays_fit_a_notebook(objects: dict[str, Any]) -> None:
    sizes = [len(_html(shown).encode()) for shown in objects.values()]
    assert sum(sizes) / len(sizes) * 50 < 2 << 20


def test_importing_the_package_draws_nothing() -> None:
    code = "import sys, chroma_nb; chroma_nb.EphemeralClient; print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tables_stay_narrow_unless_asked(client: Any) -> None:
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(
        ids=["a", "b"],
        embeddings=[[1.0], [2.0]],
        metadatas=[{f"k{n}": n for n in range(60)}, {"k59": 1, "rare": 2}],
    )
    for result in (
        wide.get(include=["metadatas", "documents", "uris", "embeddings"]),
        wide.query(query_embeddings=[1.0]),
    ):
        frame = result.to_pandas()
        assert len(frame.columns) <= 20
        assert "k59" in frame.columns, "the most frequent keys have columns"
        assert frame["other metadata"][1]["rare"] == 2
        every = result.to_pandas(max_columns=None)
        assert "rare" in every.columns
        assert "other metadata" not in every.columns
    assert len(wide.to_pandas().columns) == 2 + 61


def _found(client: Any, space: str, distances: list[float]) -> Any:
    """Return a result with these distances."""
    collection = client.create_collection(f"near-{space}", embedding_function=None)
    collection.add(
        ids=[f"r{at}" for at in range(len(distances))], embeddings=np.eye(len(distances))
    )
    result = collection.query(query_embeddings=np.ones((1, len(distances))), include=["distances"])
    result["distances"][0][:] = distances
    result.space = space
    return result


@pytest.mark.parametrize(
    ("space", "distances", "shown", "bars"),
    [
        ("cosine", [0.2, 0.9, 1.5], ["0.8000", "0.1000", "-0.5000"], ["0.8", "0.1", "0.0"]),
        ("ip", [-3.0, -1.0, 2.0], ["4.0000", "2.0000", "-1.0000"], ["1.0", "0.5", "0.0"]),
        ("l2", [0.0, 2.0, 6.0], ["0.0000", "2.0000", "6.0000"], ["1.0", "0.5", "0.25"]),
        ("l2", [0.0, 0.0, 0.0], ["0.0000"] * 3, ["1.0"] * 3),
    ],
)
def test_a_longer_bar_is_nearer(
    client: Any, space: str, distances: list[float], shown: list[str], bars: list[str]
) -> None:
    html = _html(_found(client, space, distances))
    found = re.findall(r'class="n">([^<]*)<meter min="0" max="1" value="([^"]*)"', html)
    assert found == list(zip(shown, bars, strict=True))
    assert "a longer bar is nearer" in html
    names = {"cosine": "similarity", "ip": "inner product", "l2": "distance"}
    assert f">{names[space]}</th>" in html
    assert ">distance</th>" in html


def test_many_keys_leave_the_document_its_room(client: Any) -> None:
    wide = client.create_collection("nine-keys", embedding_function=None)
    metadata = {
        "year": 2024,
        "author": "Anna Maria Schmidt",
        "published": "2024-02-15",
        **{f"key number {at}": f"value <{at}> & more" for at in range(6)},
    }
    wide.add(
        ids=["a", "b"],
        embeddings=np.ones((2, 2)),
        documents=["a document", None],
        metadatas=[metadata, {"year": 1, "tags": ["p", 'q"']}],
    )
    page = Page(_html(wide.get()))
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", _html(wide.get()))
    assert heads[:3] == ["id", "document", "year"]
    assert len(heads) <= 7
    # What has no column is below the document, each value once.
    for text in ("value <5> & more", 'tags: ["p", "q\\""]', "Anna Maria Schmidt"):
        assert page.text.count(text) == 1
    assert '<td class="w"><span class="t">2024-02-15</span></td>' in _html(wide.get())
