"""Linked panels in JupyterLab: drawn around in the map, chosen in the table, asked in the search panel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.browser.lab import TIMEOUT
from tests.browser.live_maps import select_with_a_lasso
from tests.browser.scratch import GLOSSES, write_notebook
from tests.browser.static_pages import axe_problems, contrast_problems

if TYPE_CHECKING:
    from pathlib import Path

CELLS = (
    GLOSSES,
    'live = glosses.plot(color="pos", method="pca", interactive=True)\nlive',
    "table = glosses.table(page_size=10)\ntable",
    "search = glosses.widget(n_results=7)\nsearch",
    "heard = []\nfor one in (live, table, search):\n    one.on_selection(heard.append)\n"
    "chroma.link(live, table, search)",
    "marked = sorted(live.selected_ids)\nprint(len(heard), sorted(table.only or []) == marked, sorted(search.selected) == marked)",
)


def test_a_selection_goes_from_panel_to_panel(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    lab.open(write_notebook(jupyter[1] / "linked.ipynb", *CELLS))
    lab.run_all()
    assert not lab.errors()
    live, rows, search = (lab.outputs(at) for at in (1, 2, 3))
    live.locator("canvas").first.wait_for(timeout=TIMEOUT)
    live.evaluate("element => element.scrollIntoView({block: 'center'})")
    lab.wait_drawn()
    # A lasso: the table has these records alone.
    select_with_a_lasso(lab, live, re.compile(r"^(\d\d+|[\d,]{5,}) selected: .selected_ids"))
    said = live.get_by_text("selected: .selected_ids").inner_text()
    n = said.split(" ")[0]
    table = rows.locator(".cnb-table")
    table.get_by_text(f"of {n} records selected elsewhere").first.wait_for(timeout=TIMEOUT)
    # A row of the table: the map marks it.
    row = table.locator("tbody tr").nth(1)
    chosen = row.locator("td:nth-child(2)").inner_text()
    row.locator("td").nth(2).click()
    live.get_by_text("1 selected: .selected_ids").wait_for(timeout=TIMEOUT)
    live.locator(".cnb-live table").get_by_text(chosen).first.wait_for(timeout=TIMEOUT)
    assert table.get_by_text(f"of {n} records selected elsewhere").count(), "no echo"
    # A question: its answer is marked in the map, and is in the table.
    search.get_by_placeholder("a question, in your own words").fill("a large furry animal")
    live.get_by_text("7 selected: .selected_ids").wait_for(timeout=TIMEOUT)
    table.get_by_text("of 7 records selected elsewhere").first.wait_for(timeout=TIMEOUT)
    lab.wait_idle()
    lab.run_cell(5)
    first = lab.outputs(5).inner_text()
    assert first.strip() == "6 True True"
    # Nothing goes round: the same has been heard some time later.
    lab.page.wait_for_timeout(1_500)
    lab.run_cell(5)
    assert lab.outputs(5).inner_text() == first
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.wait_drawn()
        lab.screenshot(pictures / f"linked-{theme}.png")
        assert contrast_problems(lab.page, ".cnb-table") == []
    assert axe_problems(lab.page, ".cnb-live") == []
    # Clearing the table's filters shows all, whatever the map marks.
    table.get_by_role("button", name="Clear filters").click()
    table.get_by_text("of 5,000 records").first.wait_for(timeout=TIMEOUT)
    live.get_by_role("button", name="Clear").click()
    live.get_by_text("nothing selected").wait_for(timeout=TIMEOUT)
    lab.set_theme("light")
    assert not lab.errors()
