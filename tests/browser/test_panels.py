"""The live panels: what is clicked happens, and what is saved can be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.elsewhere import chosen_theme, in_voila, run_in_notebook_7
from tests.browser.lab import TIMEOUT
from tests.browser.live_maps import select_with_a_lasso, wait_for_ground
from tests.browser.scratch import GLOSSES, write_notebook
from tests.browser.static_pages import axe_problems, contrast_problems

if TYPE_CHECKING:
    from pathlib import Path

SETUP = (
    GLOSSES
    + """
animals = client.create_collection("animals")
animals.add(**datasets.glosses(1_500))
glosses.query(query_texts="a large furry animal", n_results=3)
# When the index is there, less is held: what a panel says of a smaller budget would not be true a moment later.
glosses.build_index()
"""
)

MANY = """
for number in range(10):
    client.create_collection(f"notes-{number:02}").add(**datasets.glosses(40 + number))
"""


def test_the_memory_panel_acts_and_leaves_a_snapshot(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    again = 'client.memory.budget = "200 MB"\nglosses.query(query_texts="x", n_results=1)["ids"]'
    pinned = "print([one.name for one in client.memory.report().collections if one.pinned])"
    cells = SETUP + MANY, "panel = client.memory.widget()\npanel", again, pinned
    name = write_notebook(jupyter[1] / "panel.ipynb", *cells)
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    panel = lab.outputs(1)
    panel.locator(".cnb-live").wait_for(timeout=TIMEOUT)
    lab.wait_drawn()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.screenshot(pictures / f"memory-widget-{theme}.png", panel)
        assert contrast_problems(lab.page, ".cnb-live") == []
    lab.set_theme("light")
    assert axe_problems(lab.page, ".cnb-live") == []
    # A collection of another page is found, and its own button pins it.
    live = panel.locator(".cnb-live")
    assert live.get_by_text("notes-01").count() == 0
    live.locator("input[type=text]").first.fill("-01")
    live.get_by_text("1 of 12 collections").wait_for(timeout=TIMEOUT)
    row = live.locator(".widget-hbox", has_text="notes-01").last
    row.get_by_role("button", name="pin").click()
    live.locator("input[type=text]").first.fill("")
    live.get_by_text("1 to 8 of 12 collections").wait_for(timeout=TIMEOUT)
    assert live.get_by_text("notes-01").count() == 1, "what is pinned comes first"
    lab.run_cell(3)
    assert "['notes-01']" in lab.outputs(3).inner_text()
    # The slider shows what would go; Apply does it.
    slider = panel.locator(".noUi-handle").first
    slider.focus()
    for _ in range(12):
        slider.press("ArrowLeft")
        if panel.get_by_text("would unload").count():
            break
        lab.wait_idle()
    panel.get_by_text("would unload").wait_for(timeout=TIMEOUT)
    assert "on disk" not in panel.locator(".cnb-live").inner_text(), "nothing before Apply"
    panel.get_by_role("button", name="Apply").click()
    panel.locator(".cnb-live").get_by_text("on disk").first.wait_for(timeout=TIMEOUT)
    panel.locator(".cnb-live").get_by_text("room was needed").first.wait_for(timeout=TIMEOUT)
    lab.run_cell(2)
    # The snapshot is there and not to be seen, as long as the panel lives.
    assert panel.locator(".cnb-snapshot").count() == 1
    assert not panel.locator(".cnb-snapshot").is_visible()
    row = panel.locator(".widget-hbox", has_text="glosses").last
    row.get_by_text("loaded").wait_for(timeout=TIMEOUT)
    row.get_by_role("button", name="Unload").click()
    row.get_by_text("on disk").wait_for(timeout=TIMEOUT)
    assert "0 B" in row.inner_text()
    panel.locator(".cnb-live").get_by_text("asked for").wait_for(timeout=TIMEOUT)
    lab.wait_idle()
    lab.save()
    lab.shut_down_kernel()
    lab.open(name)
    snapshot = lab.outputs(1).locator(".cnb-snapshot")
    snapshot.wait_for(timeout=TIMEOUT)
    assert "on disk" in snapshot.inner_text()
    assert "Error displaying widget" not in lab.outputs(1).inner_text()
    lab.screenshot(pictures / "memory-snapshot.png", lab.outputs(1))


def test_the_search_panel_answers_while_somebody_types(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    name = write_notebook(jupyter[1] / "search.ipynb", SETUP, "glosses.widget(n_results=5)")
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    panel = lab.outputs(1)
    panel.locator(".cnb-live").wait_for(timeout=TIMEOUT)
    box = panel.get_by_placeholder("a question, in your own words")
    box.click()
    box.press_sequentially("a large furry animal", delay=20)
    panel.get_by_text("furred").first.wait_for(timeout=TIMEOUT)
    panel.locator("select").nth(1).select_option(index=1)
    panel.get_by_text("where={'pos': 'noun'}").first.wait_for(timeout=TIMEOUT)
    lab.wait_drawn()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.screenshot(pictures / f"search-widget-{theme}.png", panel)
        assert contrast_problems(lab.page, ".cnb-live") == []
    assert axe_problems(lab.page, ".cnb-live") == []
    lab.set_theme("light")


KINDS = """
import datetime
days = [datetime.date(2001, 1, 1) + datetime.timedelta(days=3 * row) for row in range(1_500)]
log = client.create_collection("log")
log.add(
    **datasets.glosses(1_500)
    | {
        "metadatas": [
            {
                "topic": row["topic"], "day": day, "price": 1.01 ** number, "stars": number % 5 + 1,
                "tags": [row["pos"], "old" if number < 900 else "new"], "title": f"entry {number}",
                "is_first": number < 100, "shelf": f"shelf {number % 7}", "words": row["words"],
            }
            for number, (row, day) in enumerate(zip(datasets.glosses(1_500)["metadatas"], days))
        ]
    }
)
"""


def test_the_search_panel_filters_by_days_numbers_texts_and_tags(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    cells = SETUP, KINDS + "\npanel = log.widget(n_results=4)\npanel"
    lab.open(write_notebook(jupyter[1] / "kinds.ipynb", *cells))
    lab.run_all()
    assert not lab.errors()
    panel = lab.outputs(1)
    panel.locator(".cnb-live").wait_for(timeout=TIMEOUT)
    for _ in range(3):
        panel.get_by_label("filter by").select_option(index=1)
        lab.wait_idle()
    panel.locator("input[type=date]").first.fill("2011-05-01")
    panel.get_by_text("'$gte': '2011-05-01'").first.wait_for(timeout=TIMEOUT)
    tags = panel.locator("input[list]").first
    tags.fill("noun")
    tags.press("Enter")
    panel.get_by_text("'$contains': 'noun'").first.wait_for(timeout=TIMEOUT)
    panel.get_by_placeholder("a question, in your own words").fill("a large furry animal")
    panel.get_by_text("query_texts=['a large furry animal']").first.wait_for(timeout=TIMEOUT)
    lab.wait_drawn()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.screenshot(pictures / f"search-widget-kinds-{theme}.png", panel)
        assert contrast_problems(lab.page, ".cnb-live") == []
    assert axe_problems(lab.page, ".cnb-live") == []
    lab.set_theme("light")


def test_the_live_map_gives_a_selection_back(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    name = write_notebook(
        jupyter[1] / "map.ipynb",
        SETUP,
        'live = glosses.plot(color="pos", query="a large furry animal", interactive=True)\nlive',
        'glosses.plot(color="pos", query="a large furry animal")',
        'print(len(live.selected_ids), glosses.get(where={"mine": True}, limit=1)["ids"])',
        "",
    )
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    panel = lab.outputs(1)
    canvas = panel.locator("canvas").first
    canvas.wait_for(timeout=TIMEOUT)
    lab.wait_drawn()
    panel.evaluate("element => element.scrollIntoView({block: 'center'})")
    lab.wait_drawn()
    # One alone would be a click.
    select_with_a_lasso(lab, panel, re.compile(r"^(\d\d+|[\d,]{5,}) selected: .selected_ids"))
    lab.wait_idle()
    lab.wait_drawn()
    for theme, ground in (("light", "#ffffff"), ("dark", "#111111")):
        lab.set_theme(theme)
        wait_for_ground(lab.page, canvas, ground)
        for width, mark in ((900, "-narrow"), (1_400, "")):
            lab.page.set_viewport_size({"width": width, "height": 1_400})
            lab.wait_drawn()
            lab.screenshot(pictures / f"map-widget-{theme}{mark}.png", panel)
        assert contrast_problems(lab.page, ".cnb-live") == []
        assert axe_problems(lab.page, ".cnb-live") == []
        lab.screenshot(pictures / f"map-static-{theme}.png", lab.outputs(2))
    lab.set_theme("light")
    # A metadata value is asked about before it is set.
    panel.get_by_placeholder("metadata key").fill("mine")
    panel.get_by_placeholder("its value").fill("True")
    panel.get_by_role("button", name="Set value").click()
    panel.get_by_text("Set 'mine': True for").wait_for(timeout=TIMEOUT)
    lab.run_cell(3)
    assert lab.outputs(3).inner_text().strip().endswith("[]")
    panel.get_by_role("button", name="Yes, do it").click()
    panel.get_by_text("changed: where={'mine': True}").wait_for(timeout=TIMEOUT)
    lab.run_cell(3)
    assert not lab.outputs(3).inner_text().strip().endswith("[]")
    # Finding selects as well; what is selected is shown as a table.
    panel.get_by_placeholder("a word in the texts, or an id").fill("elephant")
    panel.get_by_placeholder("a word in the texts, or an id").press("Enter")
    panel.locator(".cnb-live table").get_by_text("elephant").first.wait_for(timeout=TIMEOUT)
    lab.wait_idle()
    lab.save()
    lab.shut_down_kernel()
    lab.open(name)
    snapshot = lab.outputs(1).locator(".cnb-snapshot img")
    snapshot.wait_for(timeout=TIMEOUT)
    assert "Error displaying widget" not in lab.outputs(1).inner_text()


MAP = 'glosses.plot(color="pos", query="a cat", limit=600, method="pca", interactive=True)'


def use_the_map(page: Any) -> None:
    """Wait until a live map is drawn, and select one of its groups."""
    panel = page.locator(".cnb-live").first
    panel.locator("canvas").first.wait_for(timeout=TIMEOUT)
    panel.locator("select").first.select_option(label="adv")
    panel.get_by_text("selected: .selected_ids").wait_for(timeout=TIMEOUT)
    panel.locator("table").first.wait_for(timeout=TIMEOUT)
    assert axe_problems(page, ".cnb-live") == []


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#111111")])
def test_the_live_map_works_in_notebook_7(
    page: Any, jupyter: tuple[str, Path], pictures: Path, theme: str, ground: str
) -> None:
    url, root = jupyter
    with chosen_theme(url, theme):
        run_in_notebook_7(page, url, write_notebook(root / "map-7.ipynb", SETUP, MAP))
        use_the_map(page)
        wait_for_ground(page, page.locator(".cnb-live canvas").first, ground)
        page.screenshot(path=str(pictures / f"map-notebook-7-{theme}.png"))


@pytest.mark.parametrize(("theme", "ground"), [("light", "#ffffff"), ("dark", "#212121")])
def test_the_live_map_works_in_voila(
    page: Any, tmp_path_factory: pytest.TempPathFactory, pictures: Path, theme: str, ground: str
) -> None:
    with in_voila(page, tmp_path_factory.mktemp("voila-map"), SETUP, MAP, theme=theme):
        use_the_map(page)
        wait_for_ground(page, page.locator(".cnb-live canvas").first, ground)
        assert not page.locator(".cnb-snapshot").last.is_visible()
        page.screenshot(path=str(pictures / f"map-voila-{theme}.png"))
