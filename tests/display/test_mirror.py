"""A panel as one anywidget: what the controls show is in its tree, and what is done to an element is done to the control."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from tests.display.tiers import Page
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

w = pytest.importorskip("ipywidgets", reason="needs ipywidgets")
pytest.importorskip("anywidget", reason="needs anywidget")

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def client() -> Iterator[Any]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, memory_budget="64 MB")
    client = chroma_nb.EphemeralClient(settings)
    client.reset()
    notes = client.create_collection("notes")
    notes.add(
        ids=["a", "b", "c", "d"],
        documents=["a bear", f"a train {HOSTILE}", "a cat", "a car"],
        metadatas=[{"year": 1990 + n, "topic": "animals" if n % 2 else "rails"} for n in range(4)],
    )
    yield client
    client.reset()
    client.close()


def node(mirror: Any, **wanted: Any) -> tuple[str, dict[str, Any]]:
    """Return the first node that has these values, and its id."""
    for key, one in mirror.tree["nodes"].items():
        if all(one.get(name) == value for name, value in wanted.items()):
            return key, one
    raise AssertionError(f"no node has {wanted}")


def tell(mirror: Any, key: str, **what: Any) -> None:
    """Do what the front end does."""
    mirror._handle_custom_msg({"id": key, **what}, [])


def test_all_that_our_panels_are_made_of_has_a_form(client: Any) -> None:
    for panel in (client.memory.widget(), client["notes"].widget()):
        mirror = panel._display_()
        tree = mirror.tree
        kinds = {one["kind"] for one in tree["nodes"].values()}
        assert "other" not in kinds
        assert tree["nodes"][tree["root"]]["kind"] == "column"
        # Each node is in one place, and each place has its node.
        inside = [child for one in tree["nodes"].values() for child in one.get("children", ())]
        assert sorted([*inside, tree["root"]]) == sorted(tree["nodes"])
        # A control has words of its own.
        for one in tree["nodes"].values():
            if "disabled" in one:
                assert one["description"]
        panel.close()


def test_every_standard_control_can_be_set() -> None:
    heard: list[Any] = []
    button = w.Button(description="Go")
    button.on_click(lambda _: heard.append("clicked"))
    controls = {
        "button": (button, None),
        "toggle": (w.ToggleButton(), True),
        "check": (w.Checkbox(), True),
        "text": (w.Text(), "typed"),
        "lines": (w.Textarea(), "two\nlines"),
        "dropdown": (w.Dropdown(options=[("a", 10), ("b", 20)]), 1),
        "radio": (w.RadioButtons(options=["x", "y"]), 1),
        "steps": (w.SelectionSlider(options=[("1 MB", 1), ("2 MB", 2)]), 1),
        "int": (w.IntSlider(min=0, max=9), 7),
        "float": (w.FloatSlider(min=0, max=1, step=0.01), 0.25),
        "ints": (w.IntRangeSlider(min=0, max=9), [2, 3]),
        "floats": (w.FloatRangeSlider(min=0, max=1), [0.5, 0.75]),
        "number": (w.BoundedIntText(min=0, max=5), 4),
        "day": (w.DatePicker(), "2001-05-31"),
        "suggested": (w.Combobox(options=["x", HOSTILE]), "what is not in the list"),
        "listed": (w.Combobox(options=["x", HOSTILE], ensure_option=True), HOSTILE),
    }
    box = w.VBox([one for one, _ in controls.values()])
    from chroma_nb.widgets.mirror import mirror_of

    problems: list[Exception] = []
    mirror = mirror_of(box, problems.append)
    keys = dict(zip(controls, mirror.tree["nodes"][mirror.tree["root"]]["children"], strict=True))
    for name, (_, value) in controls.items():
        tell(mirror, keys[name], **({"click": True} if value is None else {"value": value}))
    assert not problems
    assert heard == ["clicked"]
    assert [one.value for one, value in controls.values() if value is not None] == [
        *(True, True, "typed", "two\nlines", 20, "y", 2, 7, 0.25, (2, 3), (0.5, 0.75), 4),
        *(datetime.date(2001, 5, 31), "what is not in the list", HOSTILE),
    ]
    shown = mirror.tree["nodes"]
    assert shown[keys["day"]]["value"] == "2001-05-31"
    assert shown[keys["listed"]]["options"] == ["x", HOSTILE]
    tell(mirror, keys["day"], value=None)
    assert controls["day"][0].value is None, "a day can be taken out again"
    # What is absurd is refused, and said.
    for name, value in (
        *(("dropdown", 99), ("int", "x"), ("ints", [1]), ("floats", None)),
        *(("day", "12001-01-01"), ("day", 7), ("listed", "z")),
    ):
        tell(mirror, keys[name], value=value)
    assert len(problems) == 7
    assert controls["listed"][0].value == HOSTILE
    n_problems = len(problems)
    for message in (None, 7, {}, {"id": "nobody", "value": 1}, {"id": keys["text"]}, {"id": {}}):
        mirror._handle_custom_msg(message, [])
    button.disabled = True
    tell(mirror, keys["button"], click=True)
    assert (heard, len(problems)) == (["clicked"], n_problems)
    mirror.end("")
    tell(mirror, keys["check"], value=False)
    assert controls["check"][0].value is True, "an ended mirror acts on nothing"


def test_what_is_typed_is_asked_and_answered(client: Any) -> None:
    panel = client["notes"].widget()
    mirror, again = panel._display_(), panel._display_()
    key, question = node(mirror, description="for")
    assert question["kind"] == "text"
    tell(mirror, key, value="something with fur")
    wait_until(lambda: "records for “something with fur”" in str(again.tree))
    assert panel.question.value == "something with fur"
    key, _ = node(mirror, kind="choice", description="is")
    tell(mirror, key, value=1)
    wait_until(lambda: "where=" in str(again.tree))
    # Documents are text.
    pages = [one["value"] for one in mirror.tree["nodes"].values() if one["kind"] == "html"]
    for page in pages:
        assert not Page(page).strange()
    assert HOSTILE not in "".join(pages)
    panel.close()


def test_days_texts_and_members_of_lists_have_a_control(client: Any) -> None:
    log = client.create_collection("log")
    first = datetime.date(2001, 1, 1)
    log.add(
        ids=[f"{n}" for n in range(60)],
        documents=["a bear"] * 60,
        metadatas=[
            {
                "day": f"{first + datetime.timedelta(n)}",
                "title": f"entry {n}",
                "tags": ["a", f"{n}"],
            }
            for n in range(60)
        ],
    )
    panel = log.widget()
    mirror = panel._display_()
    assert "other" not in {one["kind"] for one in mirror.tree["nodes"].values()}
    for wanted, value, said in (
        ({"kind": "day", "description": "from"}, "2001-01-05", "'$gte': '2001-01-05'"),
        ({"kind": "day", "description": "to"}, "2001-02-01", "'$lt': '2001-02-02'"),
        ({"kind": "suggested", "description": "is"}, "entry 7", "{'title': 'entry 7'}"),
        ({"kind": "suggested", "description": "has"}, "7", "{'$contains': '7'}"),
    ):
        tell(mirror, node(mirror, **wanted)[0], value=value)
        assert said in panel.code
    assert panel.result["ids"] == ["7"]
    panel.close()


def test_a_click_does_what_it_does_in_jupyter(client: Any) -> None:
    client["notes"].query(query_texts="a bear")
    panel = client.memory.widget()
    mirror = panel._display_()
    key, _ = node(mirror, kind="button", description="Unload")
    tell(mirror, key, click=True)
    assert client.memory.report().collections[0].state == "on disk"
    wait_until(lambda: node(mirror, kind="button", description="Unload")[1]["disabled"])
    panel.close()


def test_a_panel_that_grows_is_followed(client: Any) -> None:
    panel = client.memory.widget()
    mirror = panel._display_()

    def pins() -> int:
        return sum(one["kind"] == "toggle" for one in mirror.tree["nodes"].values())

    assert pins() == 1
    client.create_collection("another")
    panel.refresh()
    wait_until(lambda: pins() == 2)
    client.delete_collection("another")
    panel.refresh()
    wait_until(lambda: pins() == 1)
    panel.close()


def test_a_closed_panel_leaves_its_snapshot(client: Any) -> None:
    panel = client["notes"].widget()
    mirror = panel._display_()
    panel.close()
    assert [one["kind"] for one in mirror.tree["nodes"].values()] == ["html"]
    assert "a bear" in str(mirror.tree)
    assert "a bear" in panel._display_()._repr_html_()


def test_few_places_show_one_panel(client: Any) -> None:
    panel = client["notes"].widget()
    mirrors = [panel._display_() for _ in range(6)]
    n_nodes = [len(one.tree["nodes"]) for one in mirrors]
    assert n_nodes[:2] == [1, 1]
    assert min(n_nodes[2:]) > 5
    panel.close()


def test_without_anywidget_it_is_a_snapshot_that_says_so(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chroma_nb.widgets.panel.is_installed", lambda name: name != "anywidget")
    panel = client["notes"].widget()
    html = panel._display_()._repr_html_()
    assert "a bear" in html
    assert "pip install ipywidgets anywidget" in html
    panel.close()


def test_jupyter_is_asked_as_before(client: Any) -> None:
    panel = client["notes"].widget()
    assert "application/vnd.jupyter.widget-view+json" in panel._repr_mimebundle_()
    assert panel._mirrors == []
    panel.close()


def test_nothing_of_it_is_imported_before_it_is_shown(client: Any) -> None:
    import subprocess

    code = (
        "import sys, chroma_nb; c = chroma_nb.EphemeralClient(); p = c.memory.widget(); "
        "print('chroma_nb.widgets.mirror' in sys.modules, 'anywidget' in sys.modules); p.close()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
