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


def test_the_picture_is_a_png_with_its_size(glosses: Any, tmp_path: Path) -> None:
    made = glosses.plot(color="topic")
    data, metadata = made._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
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
assert not [name for name in sys.modules if name.startswith(("matplotlib", "plotly"))]
notes.plot()._repr_png_()
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# -- the live map ---------------------------------------------------------------------------------


@pytest.fixture
def live(glosses: Any) -> Iterator[Any]:
    pytest.importorskip("plotly", reason="needs the extra 'plot'")
    pytest.importorskip("anywidget", reason="needs the extra 'plot'")
    with glosses.plot(color="pos", query="a large furry animal", interactive=True) as live:
        yield live


def test_a_selection_comes_back_as_ids_and_records(live: Any, glosses: Any) -> None:
    assert live.selected_ids == []
    assert live.selection()["ids"] == []
    heard: list[list[str]] = []
    live.on_select(heard.append)
    n_traces = len(live._plot.data)

    def select(**picked: list[int]) -> None:
        # What the front end sends when somebody has drawn a lasso.
        chosen = [picked.get(f"t{at}", []) for at in range(n_traces)]
        live._plot._js2py_restyle = {
            "style_data": {"selectedpoints": chosen},
            "style_traces": list(range(n_traces)),
            "source_view_id": "a view",
        }

    select(t0=[0, 2])
    points = live.picture.points
    rows = live._rows[0][[0, 2]]
    assert live.selected_ids == [points.ids[row] for row in rows]
    assert heard == [live.selected_ids]
    assert live.selection()["ids"] == live.selected_ids
    assert len(live.to_pandas()) == 2
    # A record under its ring is one record.
    every = list(range(len(live._rows[0])))
    select(**{"t0": every, f"t{n_traces - 2}": list(range(10))})
    assert len(live.selected_ids) == len(set(live.selected_ids)) >= len(every)
    assert live._status.value == ""


def test_every_record_has_its_text_and_none_is_markup(live: Any, glosses: Any) -> None:
    texts = [text for trace in live._plot.data for text in trace.text]
    assert len(texts) == 800 + 10 + 1
    live.picture.points.documents[0] = "<a href='javascript:alert(1)'>$x$</a>" * 50
    hover = live._hover(0)
    assert "<a" not in hover
    assert "$" not in hover
    assert len(hover) < 800


def test_the_saved_notebook_keeps_the_picture(live: Any) -> None:
    html = live._repr_html_()
    assert "data:image/png;base64," in html
    assert 'alt="map of the embeddings of glosses"' in html
    assert "application/vnd.jupyter.widget-view+json" in live._repr_mimebundle_()
