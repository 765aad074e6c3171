"""Maps and memory plots: their data, their display, hostile text."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import chroma_nb
from chroma_nb import datasets
from chroma_nb.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("matplotlib", reason="needs the extra 'plot'")


@pytest.fixture(scope="module")
def glosses() -> Iterator[Any]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, graph_min_records=600)
    client = chroma_nb.EphemeralClient(settings)
    client.reset()
    collection = client.create_collection("glosses")
    collection.add(**datasets.glosses(800))
    yield collection
    client.reset()
    client.close()


def test_a_map_shows_every_record_and_the_answer(glosses: Any) -> None:
    made = glosses.plot(color="pos", query="a large furry animal", n_results=7)
    frame = made.to_pandas()
    assert sorted(frame["id"]) == sorted(glosses.get(include=[])["ids"])
    near = frame[frame["rank"] > 0].sort_values("rank")
    answer = glosses.query(query_texts="a large furry animal", n_results=7)
    assert list(near["id"]) == answer["ids"][0]
    assert set(frame["pos"]) == {"noun", "verb", "adj", "adv"}
    assert made.asked is not None
    assert made.asked.shape == (2,)
    assert len(repr(made)) < 80
    assert "800 of 800 records" in made.subtitle


def test_a_sample_is_spread_and_has_the_answer(glosses: Any) -> None:
    made = glosses.plot(limit=100, query="a large furry animal", n_results=20)
    order = glosses.get(include=[])["ids"]
    places = sorted(order.index(one) for one in made.points.ids)
    assert 100 <= len(places) <= 120
    assert len(set(places)) == len(places)
    assert max(np.diff([0, *places, 799])) < 60, "no part of the collection is left out"
    assert (made.points.ranks > 0).sum() == 20


def test_the_picture_is_html_and_a_png_with_its_size(glosses: Any, tmp_path: Path) -> None:
    made = glosses.plot(color="topic")
    data, metadata = made._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert made._repr_png_() == data["image/png"]
    assert made._repr_html_() == data["text/html"]
    assert data["text/plain"] == repr(made)
    assert 600 < metadata["image/png"]["width"] < 900
    assert set(made._repr_mimebundle_(include=["text/plain"])[0]) == {"text/plain"}
    made.save(tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text().startswith("<?xml")


def test_colours_of_few_of_many_and_of_numbers(glosses: Any) -> None:
    few = glosses.plot(color="pos")
    assert {name for name, _, _ in few.groups()} == {"noun", "verb", "adj", "adv"}
    many = glosses.plot(color="topic")
    names = [name for name, _, _ in many.groups()]
    assert names[0] == "other"
    assert len(names) == 9
    assert sum(which.sum() for _, which, _ in many.groups()) == 800
    assert glosses.plot(color="words").is_scale is (
        len({one["words"] for one in glosses.get()["metadatas"]}) > 8
    )


def test_what_cannot_be_drawn_is_said(glosses: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"'colour'.*topic"):
        glosses.plot(color="colour")
    for limit in (0, -1, 1.5, True):
        with pytest.raises(InvalidArgumentError, match="limit"):
            glosses.plot(limit=limit)
    empty = glosses.client.create_collection("empty")
    with pytest.raises(InvalidArgumentError, match="no records to plot"):
        empty.plot()


@pytest.mark.parametrize(
    "text",
    [
        "$x$ and $$",
        "<script>alert(1)</script>",
        "\u202egnp",
        "\x00\x1b[31m",
        "漢字 और",
        "x" * 100_000,
    ],
)
def test_hostile_text_is_drawn_as_text(text: str) -> None:
    # Warnings are errors here: a glyph that the font lacks would be one.
    client = chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True))
    client.reset()
    collection = client.create_collection("notes", embedding_function=None, metadata={"a": "b"})
    known = "a " + text.replace("\x00", "")
    collection.add(
        ids=["a", known, "c"],
        embeddings=np.eye(3),
        documents=[known, known, known],
        metadatas=[{known: known}, {known: known + "2"}, None],
    )
    made = collection.plot(color=known, query=[1.0, 0.0, 0.0], n_results=1)
    made.name = made.question = text
    assert made._repr_png_().startswith(b"\x89PNG")
    assert "<script" not in made._repr_html_()
    client.reset()


def test_memory_over_time(glosses: Any) -> None:
    memory = glosses.client.memory
    assert memory.plot()._repr_png_().startswith(b"\x89PNG")
    for _ in range(2):
        memory.load("glosses")
        time.sleep(0.6)
        memory.unload("glosses")
        time.sleep(0.6)
    made = memory.plot()
    used = [sample.used for sample in made.report.history]
    assert max(used) > 0
    assert used[-1] == 0
    assert [event.action for event in made.report.events][-2:] == ["load", "unload"]
    data, _ = made._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert len(repr(made)) < 80


def test_nothing_global_is_touched() -> None:
    code = """
import sys, chroma_nb
client = chroma_nb.EphemeralClient()
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=["a", "b"], embeddings=[[1.0, 2.0], [2.0, 1.0]])
assert not [name for name in sys.modules if name.startswith(("matplotlib", "jscatter", "openTSNE"))]
notes.plot()._repr_png_()
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# -- the live map ---------------------------------------------------------------------------------


@pytest.fixture
def live(glosses: Any) -> Iterator[Any]:
    pytest.importorskip("jscatter", reason="needs the extra 'plot'")
    with glosses.plot(color="pos", query="a large furry animal", interactive=True) as live:
        yield live


def test_a_selection_comes_back_as_ids_and_records(live: Any, glosses: Any) -> None:
    assert live.selected_ids == []
    assert live.selection()["ids"] == []
    heard: list[list[str]] = []
    live.on_selection(heard.append)
    # What the front end sends when somebody has drawn a lasso; the last point is the question.
    live.view.selection = np.array([2, 0, 800], dtype=np.uint32)
    ids = live.picture.points.ids
    assert live.selected_ids == [ids[0], ids[2]]
    assert heard == [live.selected_ids]
    assert live.selection()["ids"] == live.selected_ids
    assert len(live.to_pandas()) == 2
    assert live._status.value == ""
    assert ids[0] in live._table.value


def test_ids_that_another_panel_has_are_selected(live: Any, glosses: Any) -> None:
    answer = glosses.query(query_texts="a kind of bird", n_results=3)["ids"][0]
    live.selected_ids = answer
    assert sorted(live.selected_ids) == sorted(answer)
    with pytest.raises(InvalidArgumentError, match="1 id of 2 not on the map, such as 'unknown'"):
        live.selected_ids = [answer[0], "unknown"]
    assert sorted(live.selected_ids) == sorted(answer)


def test_finding_and_groups_select(live: Any) -> None:
    points = live.picture.points
    live.find.value = "ANIMAL"
    found = [
        one
        for one, text in zip(points.ids, points.documents, strict=True)
        if "animal" in text.casefold()
    ]
    assert live.selected_ids == found
    live.group.value = "verb"
    assert live.selected_ids == [
        one for one, value in zip(points.ids, points.values, strict=True) if value == "verb"
    ]
    live.clear.click()
    assert live.selected_ids == []
    live.find.value = "no text has this"
    assert "nothing found" in live._chosen.value


def test_a_selection_becomes_a_filter_a_value_a_collection_and_a_file(
    live: Any, glosses: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    live.set_value.click()
    assert "Enter the metadata key" in live._status.value
    with pytest.raises(InvalidArgumentError, match="No record is selected"):
        live.set_metadata("seen", True)
    chosen = live.picture.points.ids[:3]
    live.selected_ids = chosen
    asked = live.filter_code.replace('query_texts="..."', 'query_texts="a dog"')
    answer = eval(asked, {"collection": glosses})
    assert sorted(answer["ids"][0]) == sorted(chosen)
    live.key.value, live.value.value = "seen", "3"
    live.set_value.click()
    assert glosses.get(where={"seen": 3})["ids"] == [], "not before it is confirmed"
    live.cancel.click()
    live.confirm.click()
    assert glosses.get(where={"seen": 3})["ids"] == []
    live.set_value.click()
    live.confirm.click()
    assert sorted(glosses.get(where={"seen": 3})["ids"]) == sorted(chosen)
    live.name.value = "chosen"
    live.copy.click()
    live.confirm.click()
    copied = glosses.client.get_collection("chosen")
    everything = {"include": ["documents", "metadatas", "embeddings"]}
    there, here = copied.get(**everything), glosses.get(ids=chosen, **everything)
    assert there["documents"] == here["documents"]
    assert there["metadatas"] == here["metadatas"]
    assert np.array_equal(there["embeddings"], here["embeddings"])
    assert copied.configuration_json == glosses.configuration_json
    live.copy.click()
    live.confirm.click()
    assert "already exists" in live._status.value
    assert copied.count() == 3
    glosses.client.delete_collection("chosen")
    live.csv.click()
    live.confirm.click()
    rows = (tmp_path / "glosses-selection.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) >= 4
    assert rows[0].startswith("id,document")


def test_a_copy_that_fails_leaves_no_collection(live: Any, glosses: Any) -> None:
    live.selected_ids = live.picture.points.ids[:3]
    from chroma_nb.widgets import map_selection

    def fails(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_selection, "pieces_by_id", fails)
        with pytest.raises(KeyboardInterrupt):
            live.copy_to("half")
    assert "half" not in [one.name for one in glosses.client.list_collections()]


def test_what_the_map_is_told_of_a_record_is_short_and_plain(glosses: Any) -> None:
    pytest.importorskip("jscatter", reason="needs the extra 'plot'")
    from chroma_nb.widgets import MapWidget

    made = glosses.plot(color="pos", query="a dog")
    hostile = "<img src=x onerror=alert(1)>\x00\u202e\n" * 1_000
    made.points.ids[0] = made.points.documents[0] = made.points.values[0] = hostile
    made.question = made.name = hostile
    with MapWidget(glosses, made) as live:
        told = live.view.data.iloc[0]
        for key in ("id", "text", "value"):
            assert len(told[key]) <= 160
            assert told[key].startswith("<img"), "jupyter-scatter writes it as text"
            assert not set(told[key]) & {"\x00", "\u202e", "\n"}
        assert "<img" not in live._legend.value


@pytest.mark.parametrize("query", [None, "a dog"])
@pytest.mark.parametrize("color", [None, "pos", "words"])
def test_the_live_map_follows_the_page(glosses: Any, query: str | None, color: str | None) -> None:
    pytest.importorskip("jscatter", reason="needs the extra 'plot'")
    from matplotlib.colors import to_hex

    from chroma_nb.widgets.map_colors import MapColors

    with glosses.plot(color=color, query=query, method="pca", interactive=True) as live:
        view = live.view
        on_white = [to_hex(one) for one in view.color]
        for ground in ("#111111", "#383838", "#ffffff"):
            live._page_ground.ground = ground
            assert live._status.value == ""
            assert to_hex(view.background_color) == ground
            colors = MapColors(ground)
            assert set(view.labels["fontColor"]) == {colors.ink}
            assert _contrast(colors.ink, ground) >= 4.5
            assert _contrast(to_hex(view.color_selected), ground) >= 4.5
            # The points have the colours of the legend, and the question is there if there is one.
            for _, _, one in live.picture.groups() if live._groups else ():
                assert colors.of(one) in live._legend.value
                assert colors.of(one) in map(to_hex, view.color)
        assert [to_hex(one) for one in view.color] == on_white
        assert (MapColors().ink in on_white) == (query is not None and not live.picture.is_scale)
        before = view.background_color
        for bad in ("", "red", "#12345", "#12345g", "url(x)", "#111111;x"):
            live._page_ground.ground = bad
        assert view.background_color == before
        assert live._status.value == ""


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2)."""
    from matplotlib.colors import to_rgb

    lights = []
    for color in (one, other):
        parts = [
            part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
            for part in to_rgb(color)
        ]
        lights.append(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])
    dark, light = sorted(lights)
    return (light + 0.05) / (dark + 0.05)


def test_the_saved_notebook_keeps_the_picture(live: Any) -> None:
    html = live._repr_html_()
    assert "data:image/png;base64," in html
    assert len(html) < 64_000
    assert 'alt="map of the embeddings of glosses: 800 of 800 records, near records' in html
    assert "application/vnd.jupyter.widget-view+json" in live._repr_mimebundle_()


def test_a_map_is_made_whatever_of_the_package_was_imported_before() -> None:
    code = """
import chroma_nb
from chroma_nb.plotting import EmbeddingMap
client = chroma_nb.EphemeralClient()
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=["a", "b"], embeddings=[[1.0, 2.0], [2.0, 1.0]])
print(isinstance(notes.plot(), EmbeddingMap))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
