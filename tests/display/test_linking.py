"""Linked panels: what is selected in one is shown in the others, once, and errors where they belong."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb.errors import InvalidArgumentError
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("jscatter", reason="needs the extra 'plot'")
pytest.importorskip("matplotlib", reason="needs the extra 'plot'")

N = 60
EVIL = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture
def notes() -> Iterator[Any]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True)
    with chroma_nb.EphemeralClient(settings) as client:
        client.reset()
        notes = client.create_collection("notes")
        notes.add(
            ids=[EVIL, *(f"{n:02}" for n in range(1, N))],
            documents=[
                f"trains run on rails, {n}" if n % 2 else f"a bear has fur, {n}" for n in range(N)
            ],
            metadatas=[{"topic": "trains" if n % 2 else "bears", "n": n} for n in range(N)],
        )
        yield notes
        client.reset()


@pytest.fixture
def live(notes: Any) -> Iterator[Any]:
    with notes.plot(method="pca", color="topic", interactive=True) as live:
        yield live


def lasso(live: Any, *rows: int) -> list[str]:
    """Send what the front end sends when somebody has drawn around points; return their ids."""
    live.view.selection = np.array(rows, dtype=np.uint32)
    ids: list[str] = live.selected_ids
    return ids


def click(table: Any, row: int, how: str = "") -> str:
    """Choose a row of the page; return its id."""
    record = table._page.records[row]
    table._root._handle_custom_msg({"do": "choose", "key": record.key, "how": how}, [])
    return str(record.id)


def shown(table: Any) -> list[str]:
    return [one.id for one in table._page.records]


def test_a_lasso_filters_the_table_and_rows_are_marked_in_the_map(notes: Any, live: Any) -> None:
    with notes.table(page_size=10) as table:
        chroma_nb.link(live, table)
        ids = lasso(live, 0, 3, 5)
        assert sorted(shown(table)) == sorted(ids) == ["03", "05", EVIL]
        assert table._root.state["place"] == "1–3 of 3 records selected elsewhere"
        assert table._root.state["filtered"]
        assert table.selected == []
        one = click(table, 1)
        assert live.selected_ids == [one]
        assert sorted(shown(table)) == sorted(ids), "the table stays as it was drawn around"
        other = click(table, 2, "toggle")
        assert sorted(live.selected_ids) == sorted([one, other])
        # Another lasso, and none.
        ids = lasso(live, 7)
        assert shown(table) == ids
        assert table.selected == []
        lasso(live)
        assert len(shown(table)) == 10
        assert table.only is None
        assert not table._root.state["filtered"]


def test_a_table_of_a_result_is_linked_too(notes: Any, live: Any) -> None:
    with notes.query(query_texts=["a bear", "a train"], n_results=4).widget() as table:
        chroma_nb.link(table, live)
        one = click(table, 0)
        assert live.selected_ids == [one]
        found = notes.query(query_texts="a bear", n_results=4)["ids"][0]
        live.selected_ids = [found[1], found[2]]
        assert sorted(shown(table)) == sorted(found[1:3])


def test_the_answers_of_a_search_are_marked(notes: Any, live: Any) -> None:
    with notes.widget(n_results=5) as search, notes.table() as table:
        heard: list[list[str]] = []
        search.on_selection(heard.append)
        chroma_nb.link(live, table, search)
        assert live.selected_ids == [], "the first records are no answer"
        search.question.value = "something with fur"
        wait_until(lambda: len(live.selected_ids) == 5)
        wait_until(lambda: bool(heard))
        assert heard == [search.result["ids"][0]]
        assert sorted(live.selected_ids) == sorted(heard[0]) == sorted(shown(table))
        ids = lasso(live, 1, 2)
        assert sorted(shown(table)) == sorted(ids)
        search.question.value = ""
        wait_until(lambda: live.selected_ids == [])
        assert table.only is None
        search.contains.value = "bear"
        wait_until(lambda: len(live.selected_ids) == 5)


def test_nothing_is_told_twice(notes: Any, live: Any) -> None:
    """Three panels in a circle of links: each is told once, and what comes back from the browser is no news."""
    with notes.table() as table, notes.plot(method="pca", interactive=True) as other:
        panels = live, table, other
        heard: list[tuple[int, list[str]]] = []
        for at, panel in enumerate(panels):
            panel.on_selection(lambda ids, at=at: heard.append((at, ids)))
        for at in range(3):
            chroma_nb.link(panels[at], panels[(at + 1) % 3])
        ids = lasso(live, 4, 9)
        assert heard == [(2, ids), (0, ids)]
        assert sorted(shown(table)) == sorted(ids)
        heard.clear()
        # jupyter-scatter sends the selection back, in an order of its own.
        other.view.selection = np.array([9, 4], dtype=np.uint32)
        lasso(live, 9, 4)
        assert heard == []
        one = click(table, 0)
        assert sorted(heard) == [(0, [one]), (1, [one]), (2, [one])]
        assert sorted(shown(table)) == sorted(ids)


def test_a_selection_goes_on_through_links(notes: Any, live: Any) -> None:
    with notes.table() as table, notes.plot(method="pca", interactive=True) as other:
        chroma_nb.link(live, table)
        chroma_nb.link(table, other)
        ids = lasso(live, 4, 9)
        assert other.selected_ids == ids
        assert sorted(shown(table)) == sorted(ids)


def test_what_is_selected_already_is_shown_at_once(notes: Any, live: Any) -> None:
    ids = lasso(live, 2, 3)
    with notes.table() as table:
        chroma_nb.link(table, live)
        assert sorted(shown(table)) == sorted(ids)
        assert live.selected_ids == ids


def test_records_that_are_not_on_the_map_are_said(notes: Any) -> None:
    with notes.plot(method="pca", limit=10, interactive=True) as live, notes.table() as table:
        chroma_nb.link(live, table)
        away = next(row for row, one in enumerate(shown(table)) if one not in live._rows)
        there = next(row for row, one in enumerate(shown(table)) if one in live._rows)
        click(table, away)
        one = click(table, there, "toggle")
        assert live.selected_ids == [one]
        assert "Not on this map: 1 of the 2 records selected elsewhere." in live._status.value


def test_an_error_is_shown_in_its_panel_and_the_others_go_on(
    notes: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with notes.table() as table, notes.plot(method="pca", interactive=True) as other:
        chroma_nb.link(live, table, other)
        source = table._source
        monkeypatch.setattr(source, "page", lambda *a, **k: 1 / 0)
        ids = lasso(live, 4)
        assert "ZeroDivisionError" in table._root.state["message"]
        assert live._status.value == ""
        assert other.selected_ids == ids
        monkeypatch.undo()
        ids = lasso(live, 5)
        assert shown(table) == ids
        assert table._root.state["message"] == ""


def test_a_link_ends(notes: Any, live: Any) -> None:
    with notes.table() as table:
        made = chroma_nb.link(live, table)
        assert repr(made).startswith("Link(MapWidget('notes', 60 records), TableWidget(")
        made.unlink()
        made.unlink()
        lasso(live, 4)
        assert table.only is None
        made = chroma_nb.link(live, table)
        assert table.only == live.selected_ids
    # The table is closed.
    assert made.panels == (live,)
    assert live._links == [made]
    lasso(live, 5)
    assert live._status.value == ""
    with pytest.raises(InvalidArgumentError, match="is closed"):
        chroma_nb.link(live, table)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda notes, live: (), "got 0"),
        (lambda notes, live: (live,), "got 1"),
        (lambda notes, live: (live, live), "got 1"),
        (lambda notes, live: (live, None), "None"),
        (lambda notes, live: (live, notes), r"collection\.table\(\)"),
        (lambda notes, live: (live, notes.plot(method="pca")), r"interactive=True"),
        (lambda notes, live: (notes.widget(), notes.widget()), "show no selection"),
        (lambda notes, live: ([live, notes.table()],), "live panels"),
    ],
)
def test_what_cannot_be_linked_is_said(notes: Any, live: Any, given: Any, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        chroma_nb.link(*given(notes, live))


def test_a_table_shows_given_records_alone(notes: Any) -> None:
    with notes.table(page_size=10) as table:
        table.only = (one for one in [EVIL, "05", "05", "unknown"])
        assert sorted(shown(table)) == ["05", EVIL]
        assert table.only == [EVIL, "05", "unknown"]
        assert table._root.state["place"] == "1–2 of 2 records, of 3 selected elsewhere"
        assert shown(table) == eval(table.code, {"collection": notes})["ids"]
        table.only = []
        assert shown(table) == []
        assert "no records" in table._root.state["place"]
        table.only = [f"{n:02}" for n in range(1, 40)]
        assert "ids=table.only" in table.code
        answer = eval(table.code, {"collection": notes, "table": table})
        assert answer["ids"] == shown(table)
        # With a filter, and sorted.
        table._root._handle_custom_msg({"do": "search", "text": "bear"}, [])
        table._root._handle_custom_msg({"do": "sort", "column": "metadata:n"}, [])
        assert shown(table) == [f"{n:02}" for n in range(2, 22, 2)]
        assert (
            table._root.state["place"] == "1–10 of 19 records that match, of 39 selected elsewhere"
        )
        names = {"collection": notes, "client": notes.client, "table": table}
        exec(table.code, names)
        assert names["page"] == shown(table)
        table._root._handle_custom_msg({"do": "clear"}, [])
        assert table.only is None
        for bad in ([1], [""], 5, ["a", None]):
            with pytest.raises((ValueError, TypeError)):
                table.only = bad
        table.only = "05"
        assert shown(table) == ["05"]
        table.only = None
        assert len(shown(table)) == 10


def test_a_table_forgets_rows_that_it_does_not_show(notes: Any) -> None:
    with notes.table() as table:
        heard: list[list[str]] = []
        table.on_selection(heard.append)
        one, two = click(table, 0), click(table, 1, "toggle")
        table.only = [two]
        assert table.selected == [two]
        assert heard == [[one], [one, two], [two]]


def test_linked_panels_do_not_wait_for_each_other(notes: Any, live: Any) -> None:
    """Two threads that select in two panels at a time, each of which tells the other one."""
    with notes.table() as table:
        chroma_nb.link(live, table)

        def draw() -> None:
            for n in range(60):
                lasso(live, n % 50, n % 50 + 1)

        def choose() -> None:
            for n in range(60):
                table._root._handle_custom_msg({"do": "choose", "key": f"{n % 50 + 1:02}"}, [])

        threads = [threading.Thread(target=one, daemon=True) for one in (draw, choose)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(120)
        assert not any(one.is_alive() for one in threads)
        ids = lasso(live, 3)
        assert shown(table) == ids


def test_linked_panels_load_no_collection(notes: Any) -> None:
    notes.unload()
    live, table = notes.plot(method="pca", interactive=True), notes.table()
    notes.unload()
    chroma_nb.link(live, table)
    lasso(live, 4, 5, 6)
    click(table, 1)
    (state,) = (one for one in notes.client.memory.report().collections if one.name == "notes")
    assert state.state == "on disk"
    live.close()
    table.close()
    assert live._links == table._links == []
