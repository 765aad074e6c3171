"""The live panels without a browser: what is clicked happens, nothing is sent in vain, nothing leaks."""

from __future__ import annotations

import datetime
import gc
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.byte_sizes import format_bytes
from chroma_nb.display.views.memory import totals
from chroma_nb.errors import NotSupportedError
from tests.display.tiers import Page
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

widgets = pytest.importorskip("ipywidgets", reason="needs ipywidgets")


def instances() -> dict[str, Any]:
    module = sys.modules["ipywidgets.widgets.widget"]
    # ipywidgets 8, and 7.
    found: dict[str, Any] | None = getattr(module, "_instances", None)
    if found is None:
        found = module.Widget.widgets
    return found


@pytest.fixture
def client() -> Iterator[Any]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, memory_budget="64 MB")
    client = chroma_nb.EphemeralClient(settings)
    client.reset()
    vectors = np.random.default_rng(3).standard_normal((2_000, 64)).astype(np.float32)
    for name in ("alpha", "beta"):
        one = client.create_collection(name, embedding_function=None)
        one.add(
            ids=[f"{n}" for n in range(2_000)],
            embeddings=vectors,
            documents=[f"a text of some length, number {n} " * 20 for n in range(2_000)],
        )
    yield client
    client.reset()
    client.close()


def state(client: Any, name: str) -> Any:
    return next(one for one in client.memory.report().collections if one.name == name)


def row(panel: Any, name: str) -> Any:
    return next(one for one in panel.rows.shown if one.name == name)


def said(widget: Any) -> str:
    return Page(widget.value).text


def test_unload_pin_and_ttl_do_what_they_say(client: Any) -> None:
    with client.memory.widget() as panel:
        assert state(client, "alpha").state == "loaded"
        row(panel, "alpha").unload.click()
        assert state(client, "alpha").state == "on disk"
        assert row(panel, "alpha").unload.disabled
        assert "asked for" in said(panel._events)
        row(panel, "alpha").pin.value = True
        assert state(client, "alpha").pinned
        assert state(client, "alpha").state == "loaded"
        row(panel, "alpha").pin.value = False
        assert not state(client, "alpha").pinned
        row(panel, "beta").ttl.value = 60.0
        assert state(client, "beta").ttl_seconds == 60.0
        client.memory.set_ttl("beta", 33)
        panel.refresh()
        assert row(panel, "beta").ttl.label == "33 s"
        row(panel, "beta").ttl.value = 0.0
        assert state(client, "beta").ttl_seconds is None
        panel.unload_all.click()
        assert client.memory.report().used == 0
        assert panel.unload_all.disabled


def small_ones(client: Any, n: int) -> list[str]:
    names = [f"small-{number:02}" for number in range(n)]
    for number, name in enumerate(names):
        one = client.create_collection(name, embedding_function=None)
        vectors = np.ones((1 + number, 8), dtype=np.float32)
        one.add(ids=[f"{n}" for n in range(1 + number)], embeddings=vectors)
    return names


def on_page(panel: Any) -> list[str]:
    boxes = [one.box for one in panel.rows.shown]
    assert tuple(boxes) == panel.rows._list.children
    return [one.name for one in panel.rows.shown]


def test_a_click_acts_on_the_collection_of_its_row_whatever_moves(client: Any) -> None:
    names = small_ones(client, 12)
    with client.memory.widget() as panel:
        rows = {one.name: one for one in panel.rows.shown}
        late = rows["small-11"]
        # Others grow, and take the places on the page.
        for name in names[:8]:
            one = client.get_collection(name, embedding_function=None)
            one.add(ids=[f"more {n}" for n in range(400)], embeddings=np.ones((400, 8), np.float32))
        panel.refresh()
        assert "small-11" not in on_page(panel)
        late.pin.value = True
        pinned = [one.name for one in client.memory.report().collections if one.pinned]
        assert pinned == ["small-11"]
        assert on_page(panel)[0] == "small-11"
        assert row(panel, "small-11") is late
        for name, one in rows.items():
            assert one.name == name


def test_rows_keep_their_places_while_sizes_change(client: Any) -> None:
    small_ones(client, 4)
    with client.memory.widget() as panel:
        before = on_page(panel)
        client.get_collection(before[0], embedding_function=None).unload()
        panel.refresh()
        assert on_page(panel) == before
        panel.rows.order.value = "by name"
        assert on_page(panel) == sorted(before)


def test_every_collection_can_be_reached(client: Any) -> None:
    names = small_ones(client, 30)
    client.memory.set_ttl("small-03", 60)
    with client.memory.widget() as panel:
        assert panel.rows.back.disabled
        # The one with a TTL, and then the largest.
        assert on_page(panel)[0] == "small-03"
        assert set(on_page(panel)[1:3]) == {"alpha", "beta"}
        assert "1 to 8 of 32 collections" in said(panel.rows._count)
        seen = on_page(panel)
        while not panel.rows.forward.disabled:
            panel.rows.forward.click()
            seen += on_page(panel)
        assert sorted(seen) == sorted([*names, "alpha", "beta"])
        panel.rows.find.value = "LL-2"
        assert sorted(on_page(panel)) == names[22:30]
        assert "of 10 found, 32 collections" in said(panel.rows._count)
        panel.rows.find.value = "small-29"
        assert on_page(panel) == ["small-29"]
        row(panel, "small-29").unload.click()
        assert state(client, "small-29").state == "on disk"
        panel.rows.find.value = "nowhere"
        assert on_page(panel) == []
        assert "0 of 32 collections" in said(panel.rows._count)
        client.delete_collection("small-03")
        for name in names[:2] + names[4:]:
            client.delete_collection(name)
        panel.refresh()
        assert panel.rows.find.layout.display == "", "or nobody could empty it"
        panel.rows.find.value = ""
        assert set(on_page(panel)) == {"small-02", "alpha", "beta"}
        assert panel.rows.find.layout.display == "none", "three collections need no search"


def test_the_slider_shows_first_and_acts_on_apply(client: Any) -> None:
    with client.memory.widget() as panel:
        assert panel.budget.value == client.memory.budget == 64_000_000
        before = client.memory.report()
        panel.budget.value = 1_000_000
        going = [one.collection for one in client.memory.preview(1_000_000)]
        assert going
        assert all(name in said(panel._preview) for name in going)
        after = client.memory.report()
        assert (after.used, after.budget) == (before.used, before.budget), "nothing before Apply"
        assert not panel.apply.disabled
        panel.apply.click()
        gone = {one.name for one in client.memory.report().collections if one.state == "on disk"}
        assert gone == set(going)
        assert client.memory.budget == 1_000_000
        assert panel.apply.disabled
        assert panel._preview.value == ""
        client.memory.budget = 7_000_000
        panel.refresh()
        assert panel.budget.value == 7_000_000, "somebody else's budget is shown"


def test_three_figures_are_three(client: Any) -> None:
    with client.memory.widget() as panel:
        text = said(panel._totals)
        assert text.index("index") < text.index("this kernel") < text.index("machine limit")
        assert client.memory.report().limit_source in text


def test_work_and_short_memory_have_lines_of_their_own(client: Any) -> None:
    with client.memory.widget() as panel:
        report = client.memory.report()
        busy = replace(
            report, work_bytes=7_000_000, process_bytes=2 * report.process_bytes, short=True
        )
        panel._show(busy)
        lines = {
            name: (n_bytes, note)
            for name, n_bytes, _, note in totals(busy, busy.process_bytes, busy.free_bytes)
        }
        text = said(panel._totals)
        for name in ("index", "work", "this kernel", "machine limit"):
            n_bytes, note = lines[name]
            shown = text[text.index(name) :]
            assert shown.index(format_bytes(n_bytes)) < shown.index(note), name
        assert lines["work"][0] == 7_000_000
        assert "memory is short" in text


def test_an_error_is_shown_and_the_button_works_again(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.memory.widget() as panel:

        def fails(*args: Any, **values: Any) -> Any:
            raise RuntimeError("the disk is <gone>")

        api = type(client.api)
        with monkeypatch.context() as patch:
            for name in ("unload", "unload_all", "pin", "set_ttl", "set_memory_budget"):
                patch.setattr(api, name, fails)
            acts = [
                row(panel, "alpha").unload.click,
                panel.unload_all.click,
                lambda: setattr(row(panel, "alpha").pin, "value", True),
                lambda: setattr(row(panel, "alpha").ttl, "value", 10.0),
                lambda: (setattr(panel.budget, "value", 2_000_000), panel.apply.click()),
            ]
            for act in acts:
                panel._say("")
                act()
                assert said(panel._status) == "Not done. RuntimeError: the disk is <gone>"
        panel.unload_all.click()
        assert panel._status.value == ""
        assert client.memory.report().used == 0


def test_a_store_without_memory_management_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*args: Any, **values: Any) -> Any:
        raise NotSupportedError("chroma 1.5.9 has no memory report.")

    monkeypatch.setattr(type(client.api), "memory_report", refuses)
    with client.memory.widget() as panel:
        assert "chroma 1.5.9 has no memory report." in said(panel._status)
        assert panel._root.children == (panel._status,)
        assert "no memory report" in panel._repr_html_()


class Messages:
    """Counts what the widgets would send: ipywidgets 7 sends nothing where there is no kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        base = sys.modules["ipywidgets.widgets.widget"].Widget
        original = base.notify_change

        def notify_change(widget: Any, change: Any) -> None:
            if change["name"] in widget.keys:
                self.sent.append(f"{type(widget).__name__} {change['name']}")
            original(widget, change)

        monkeypatch.setattr(base, "notify_change", notify_change)


def test_nothing_is_sent_when_nothing_changes(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with client.memory.widget(refresh_seconds=60) as panel:
        panel.refresh()
        messages = Messages(monkeypatch)
        for _ in range(5):
            panel.refresh()
        assert messages.sent == []
        client.get_collection("alpha", embedding_function=None).unload()
        panel.refresh()
        assert messages.sent


def test_it_refreshes_by_itself(client: Any) -> None:
    with client.memory.widget(refresh_seconds=0.5) as panel:
        client.memory.unload_all()
        wait_until(lambda: row(panel, "alpha").unload.disabled)


def test_closing_leaves_no_widget_and_no_thread(client: Any) -> None:
    def count() -> tuple[int, set[threading.Thread]]:
        for thread in threading.enumerate():
            if thread.name.startswith("chroma_nb memory widget"):
                thread.join(180)
        gc.collect()
        # Others, the helper of displays and the builder of graphs, end in their own time.
        return len(instances()), set(threading.enumerate())

    beta = client.get_collection("beta", embedding_function=None)
    with client.memory.widget(), beta.widget():
        pass
    before = count()
    for _ in range(20):
        panel, search = client.memory.widget(), beta.widget()
        panel.close()
        panel.close()
        search.close()
    widgets, threads = count()
    assert widgets == before[0]
    assert {thread.name for thread in threads - before[1]} <= {"chroma_nb display"}


def test_a_closed_client_ends_the_panel(client: Any) -> None:
    other = chroma_nb.EphemeralClient(client.get_settings())
    panel = other.memory.widget()
    assert "alpha" in Page(panel._repr_html_()).text
    other.close()
    assert "alpha" in Page(panel._repr_html_()).text
    panel.refresh()
    assert "closed" in said(panel._status)
    assert set(on_page(panel)) >= {"alpha", "beta"}, "what it had last"
    controls = [row(panel, "alpha").unload, row(panel, "alpha").pin, row(panel, "alpha").ttl]
    for control in (*controls, panel.budget, panel.apply, panel.unload_all, panel.rows.find):
        assert control.disabled
    panel.close()
    assert "alpha" in Page(panel._repr_html_()).text, "the snapshot stays what it was"


def test_what_is_displayed_is_a_widget_and_a_snapshot(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    published: list[tuple[dict[str, Any], dict[str, Any], bool]] = []

    def publish(data: Any, metadata: Any = None, *, transient: Any = None, **values: Any) -> None:
        published.append((data, transient, bool(values.get("update"))))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    panel = client.memory.widget()
    panel._ipython_display_()
    (live, _, _), (snapshot, transient, _) = published
    view = live["application/vnd.jupyter.widget-view+json"]
    assert view == {
        "version_major": 2,
        "version_minor": 0,
        "model_id": panel._root.model_id,
    }
    assert "text/html" not in live
    assert "alpha" in Page(snapshot["text/html"]).text
    row(panel, "alpha").unload.click()
    assert published[-1][2], "the snapshot is brought up to date"
    assert published[-1][1] == transient
    assert "on disk" in Page(published[-1][0]["text/html"]).text
    panel.close()
    bundle = panel._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}, "a closed panel is its snapshot"


def test_the_static_panel_names_every_call(client: Any) -> None:
    text = Page(client.memory._repr_html_()).text
    for call in (
        "unload('alpha')",
        "pin('alpha')",
        "set_ttl('alpha', 60)",
        "unload_all()",
        "widget()",
    ):
        assert f"client.memory.{call}" in text
    assert "client.memory.budget = " in text


def test_without_ipywidgets_there_is_the_snapshot_and_a_hint() -> None:
    code = """
import sys, warnings
warnings.simplefilter("error")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ipywidgets":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "ipywidgets" else find(name, *a)
import chroma_nb
client = chroma_nb.EphemeralClient()
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=["a"], embeddings=[[1.0, 2.0]])
for panel in (client.memory.widget(), notes.widget()):
    html = panel._repr_mimebundle_()["text/html"]
    assert "notes" in html or "a" in html
    assert html.count("pip install ipywidgets") == 1
    panel.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split("nanobind")[0], done.stdout) == (0, "", "")


# -- the search panel -----------------------------------------------------------------------------


@pytest.fixture
def glosses(client: Any) -> Any:
    from chroma_nb import datasets

    glosses = client.create_collection("glosses")
    glosses.add(**datasets.glosses(400))
    return glosses


def test_a_question_is_answered_as_the_code_says(glosses: Any) -> None:
    with glosses.widget(n_results=4) as panel:
        assert panel.result["ids"] == glosses.get(limit=4)["ids"], "before anybody asks"
        panel.question.value = "a large furry animal"
        wait_until(lambda: panel.code.startswith("collection.query"))
        (menu,) = panel.filters["pos"]
        menu.value = "noun"
        (slider,) = panel.filters["words"]
        low, high = slider.value
        slider.value = (low, high - 1)
        panel.contains.value = "a"
        wait_until(lambda: "where_document" in panel.code)
        again = eval(panel.code, {"collection": glosses})
        assert panel.result == again
        assert all(one["pos"] == "noun" for one in again["metadatas"][0])
        assert len(again["ids"][0]) == 4
        assert "ms" in said(panel._about)
        assert panel._status.value == ""
        panel.n_results.value = 2
        assert len(panel.result["ids"][0]) == 2


def test_typing_asks_once(glosses: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with glosses.widget() as panel:
        asked: list[str] = []
        original = type(glosses.api).query

        def query(*args: Any, **values: Any) -> Any:
            asked.append("query")
            return original(*args, **values)

        monkeypatch.setattr(type(glosses.api), "query", query)
        # Nobody types as slowly, whatever else the machine does.
        panel._wait = 1.0
        for end in range(1, len("a furry animal") + 1):
            panel.question.value = "a furry animal"[:end]
        wait_until(lambda: "a furry animal" in panel.code)
        assert asked == ["query"]


def test_own_embeddings_are_asked_by_id(client: Any) -> None:
    alpha = client.get_collection("alpha", embedding_function=None)
    with alpha.widget(n_results=3) as panel:
        assert [label for label, _ in panel.by.options] == ["words", "near to"]
        panel.question.value = "17"
        wait_until(lambda: "query" in panel.code)
        assert panel.result["ids"][0][0] == "17"
        assert panel.result == eval(panel.code, {"collection": alpha})
        panel.question.value = "nobody"
        wait_until(lambda: "nobody" in panel.code)
        assert "no record of this id" in said(panel._about)


def test_a_question_or_a_record(glosses: Any) -> None:
    one = glosses.get(limit=1)["ids"][0]
    with glosses.widget(n_results=3) as panel:
        labels = [label for label, _ in panel.by.options]
        assert labels == ["meaning", "words", "both", "near to"]
        panel.by.value = "record"
        panel.question.value = one
        wait_until(lambda: one in panel.code)
        assert panel.result["ids"][0][0] == one
        assert panel.result == eval(panel.code, {"collection": glosses})
        panel.by.value = "meaning"
        assert "query_texts" in panel.code, "at once, as nobody types"


@pytest.mark.parametrize("by", ["words", "both"])
def test_a_question_is_searched_by_words_too(glosses: Any, by: str) -> None:
    with glosses.widget(n_results=3) as panel:
        panel.by.value = by
        panel.question.value = "bear"
        wait_until(lambda: "'bear'" in panel.code)
        assert "bear" in panel.result["documents"][0][0]
        assert panel.result == eval(panel.code, {"collection": glosses})
        assert f"by='{by}'" in panel.code
        assert "score" in panel._answer.value
        assert said(panel._status) == ""
        panel.contains.value = "no document has this"
        wait_until(lambda: "has this" in panel.code)
        assert panel.result["ids"] == [[]]
        assert "score" not in panel._answer.value


def test_a_function_that_does_not_fit_says_what_does(client: Any) -> None:
    own = client.create_collection("own")
    own.add(ids=["a", "b"], documents=["x", "y"], embeddings=[[1.0, 0.0], [0.0, 1.0]])
    with own.widget() as panel:
        panel.question.value = "a question"
        wait_until(lambda: "near to" in said(panel._status))
        assert "dimension of 2" in said(panel._status)
        panel.by.value = "words"
        panel.question.value = "x"
        wait_until(lambda: panel.result is not None and panel.result["ids"] == [["a"]])
        panel.by.value = "record"
        panel.question.value = "a"
        wait_until(lambda: panel.result is not None and panel.result["ids"] == [["a", "b"]])
        assert said(panel._status) == ""


# -- filters, by what the values are --------------------------------------------------------------

KINDS = {
    "pos": ["noun", "verb", "adverb"],
    "rating": [1, 2, 3, 4, 5],
    "flag": [True, False],
    "price": [0.5, 3.25, 19.99, 1_200.0, 7.5],
    "when": [f"20{year:02}-03-{day:02}" for year in range(10) for day in range(1, 9)],
    "title": [f"title {number}" for number in range(60)],
    "tags": [["red", "old"], ["green"], ["red", "new", "large"]],
    "sizes": [[1, 2], [2, 3]],
    "same": ["x"],
}


@pytest.fixture
def kinds(client: Any) -> Any:
    kinds = client.create_collection("kinds")
    kinds.add(
        ids=[str(row) for row in range(240)],
        documents=[f"a text about {row}" for row in range(240)],
        metadatas=[
            {key: values[row % len(values)] for key, values in KINDS.items()} for row in range(240)
        ],
    )
    return kinds


def shown_filters(panel: Any) -> dict[str, Any]:
    for key in [key for _, key in panel.add_filter.options if isinstance(key, str)]:
        panel.add_filter.value = key
    return dict(panel.filters)


def matching(kinds: Any, panel: Any) -> list[dict[str, Any]]:
    assert panel._status.value == ""
    found = kinds.get(where=panel.where)["metadatas"]
    shown: list[dict[str, Any]] = panel.result["metadatas"]
    assert shown == found[: len(shown)]
    return list(found)


def test_every_key_gets_a_control_for_its_kind(kinds: Any) -> None:
    with kinds.widget() as panel:
        assert len(panel.filters) == 6
        found = {
            key: [type(control).__name__ for control in controls]
            for key, controls in shown_filters(panel).items()
        }
        assert found == {
            "flag": ["Dropdown"],
            "pos": ["Dropdown"],
            "price": ["Text", "Text"],
            "rating": ["IntRangeSlider"],
            "sizes": ["Combobox"],
            "tags": ["Combobox"],
            "title": ["Combobox"],
            "when": ["DatePicker", "DatePicker"],
        }
        assert panel.add_filter.layout.display == "none", "all of them are there"
        assert panel.where is None


def test_a_key_without_a_simple_filter_says_so(kinds: Any) -> None:
    with kinds.widget() as panel:
        offered = [key for _, key in panel.add_filter.options if isinstance(key, str)]
        if "same" in offered:
            panel.add_filter.value = "same"
            assert "all its values are the same" in said(panel._status)
        assert "same" not in panel.filters


@pytest.mark.parametrize(
    ("key", "values", "holds"),
    [
        ("flag", [True], lambda one: one["flag"] is True),
        ("rating", [(2, 3)], lambda one: 2 <= one["rating"] <= 3),
        ("price", ["3", "20"], lambda one: 3 <= one["price"] <= 20),
        ("price", ["", "7.5"], lambda one: one["price"] <= 7.5),
        ("title", ["title 7"], lambda one: one["title"] == "title 7"),
        ("tags", ["red"], lambda one: "red" in one["tags"]),
        ("sizes", ["3"], lambda one: 3 in one["sizes"]),
        (
            "when",
            [datetime.date(2004, 3, 2), datetime.date(2006, 3, 5)],
            lambda one: "2004-03-02" <= one["when"] <= "2006-03-05",
        ),
    ],
)
def test_a_filter_finds_what_it_says(kinds: Any, key: str, values: Any, holds: Any) -> None:
    with kinds.widget() as panel:
        controls = shown_filters(panel)[key]
        for control, value in zip(controls, values, strict=True):
            control.value = value
        found = matching(kinds, panel)
        assert 0 < len(found) < 240
        assert len(found) == sum(map(holds, kinds.get()["metadatas"]))
        assert all(map(holds, found))


def test_values_that_look_alike_can_all_be_chosen(client: Any) -> None:
    alike = client.create_collection("alike", embedding_function=None)
    long = ["L" * 45 + str(number) for number in range(3)]
    mixed: list[Any] = [True, "True", "yes"]
    alike.add(
        ids=[str(row) for row in range(60)],
        embeddings=np.ones((60, 2)),
        metadatas=[{"long": long[row % 3], "mixed": mixed[row % 3]} for row in range(60)],
    )
    with alike.widget() as panel:
        for key, values in (("long", long), ("mixed", mixed)):
            (menu,) = panel.filters[key]
            offered = [value for _, value in menu.options[1:]]
            assert sorted(map(repr, offered)) == sorted(map(repr, values))
            for value in values:
                menu.value = value
                assert panel.where == {key: value}
            menu.value = menu.options[0][1]
        assert len({label for label, _ in panel.filters["mixed"][0].options}) == 4


def test_the_last_day_counts_to_its_end(client: Any) -> None:
    log = client.create_collection("log", embedding_function=None)
    moments = [
        f"2024-05-{day:02}T{hour:02}:30:00" for day in range(1, 21) for hour in range(0, 24, 6)
    ]
    log.add(
        ids=moments,
        embeddings=np.ones((len(moments), 2)),
        metadatas=[{"at": one} for one in moments],
    )
    with log.widget(n_results=50) as panel:
        first, last = panel.filters["at"]
        first.value = last.value = datetime.date(2024, 5, 7)
        assert [one[:10] for one in panel.result["ids"]] == ["2024-05-07"] * 4
        last.value = datetime.date.max
        assert panel._status.value == ""


def test_what_is_no_number_is_said(kinds: Any) -> None:
    with kinds.widget() as panel:
        low, _ = (
            panel.filters["price"] if "price" in panel.filters else shown_filters(panel)["price"]
        )
        for typed in ("1,5", "cheap", "<b>2</b>", "nan", "1e999", "1_0", "9" * 400):
            low.value = typed
            assert f"Expected a number, got {typed[:59]}" in said(panel._status).replace("'", "")
        low.value = ""
        assert panel._status.value == ""


def test_the_panel_shows_as_many_records_as_it_says(kinds: Any) -> None:
    with kinds.widget(n_results=25) as panel:
        assert panel._answer.value.count("<tr>") - panel._answer.value.count("<thead><tr>") == 25


def test_an_error_while_searching_is_shown(glosses: Any) -> None:
    with glosses.widget() as panel:
        glosses.client.delete_collection("glosses")
        panel.search = panel._safely(panel.search)
        panel.search()
        assert "NotFoundError" in said(panel._status)
