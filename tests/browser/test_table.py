"""The table: sorted, filtered, paged, chosen from, copied and edited where people open notebooks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from benchmarks.servers import running, start_ours
from tests.browser.elsewhere import run_in_notebook_7
from tests.browser.lab import TIMEOUT
from tests.browser.scratch import GLOSSES, write_notebook
from tests.browser.static_pages import axe_problems, contrast_problems

if TYPE_CHECKING:
    from pathlib import Path

#: Texts that would do something if they were read as markup.
HOSTILE = """
evil = "<img src=x onerror=window.hurt=1><script>window.hurt=1</script>"
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=[evil, "b"], embeddings=[[1.0], [2.0]], documents=[evil + " $5 and $10", "b"],
          metadatas=[{evil: evil, "n": 1}, {"n": 2}], uris=["javascript:window.hurt=1", "data:text/html," + evil])
"""


def first_ids(table: Any, n: int = 3) -> list[str]:
    found: list[str] = table.locator("tbody tr td:nth-child(2)").all_inner_texts()
    return found[:n]


def wait_for_row(table: Any, text: str) -> None:
    table.locator("tbody tr").first.get_by_text(text).first.wait_for(timeout=TIMEOUT)


def test_a_table_is_sorted_filtered_paged_and_chosen_from(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    asked = 'print(panel.selected, panel.selection()["ids"] == panel.selected)'
    name = write_notebook(
        jupyter[1] / "table.ipynb", GLOSSES, "panel = glosses.table()\npanel", asked
    )
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    table = lab.outputs(1).locator(".cnb-table")
    table.wait_for(timeout=TIMEOUT)
    wait_for_row(table, "noun.06998631")
    assert "1–25 of 5,000 records" in table.inner_text()
    # Sorted by a click, and the other way round by another one, over all records.
    table.get_by_role("button", name="words", exact=True).click()
    table.locator('th[aria-sort="ascending"]').wait_for(timeout=TIMEOUT)
    table.get_by_role("button", name="words").first.click()
    table.locator('th[aria-sort="descending"]').wait_for(timeout=TIMEOUT)
    # Filtered by a choice, a range and a text; the call says so.
    table.get_by_role("button", name="Filters").click()
    table.get_by_role("group", name="values of pos").get_by_label("noun").check()
    table.get_by_text("records that match").first.wait_for(timeout=TIMEOUT)
    table.get_by_label("words from").fill("2")
    table.get_by_text("'$gte': 2").first.wait_for(timeout=TIMEOUT)
    table.get_by_label("text contains").fill("animal")
    table.get_by_text("'$contains': 'animal'").first.wait_for(timeout=TIMEOUT)
    lab.wait_idle()
    assert all(one.startswith("noun.") for one in first_ids(table, 10))
    # A row is chosen: its whole text stands beside it. With the mouse, and with the keyboard.
    row = table.locator("tbody tr").nth(1)
    chosen = row.locator("td:nth-child(2)").inner_text()
    row.locator("td").nth(2).click()
    table.locator(".record").get_by_text(chosen).wait_for(timeout=TIMEOUT)
    other = table.locator("tbody tr").nth(3).get_by_role("checkbox")
    other.focus()
    other.press("Space")
    table.get_by_text("2 selected").wait_for(timeout=TIMEOUT)
    also = first_ids(table, 4)[3]
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        for width, mark in ((1_400, ""), (900, "-narrow")):
            lab.page.set_viewport_size({"width": width, "height": 1_400})
            lab.wait_drawn()
            lab.screenshot(pictures / f"table-widget-{theme}{mark}.png", lab.outputs(1))
        assert contrast_problems(lab.page, ".cnb-live") == []
    lab.set_theme("light")
    lab.page.set_viewport_size({"width": 1_280, "height": 1_400})
    assert axe_problems(lab.page, ".cnb-live") == []
    lab.run_cell(2)
    assert f"['{chosen}', '{also}'] True" in lab.outputs(2).inner_text()
    # The selection stays when the page turns.
    table.get_by_role("button", name="Clear filters").click()
    table.get_by_text("1–25 of 5,000 records").first.wait_for(timeout=TIMEOUT)
    table.get_by_role("button", name="last page").click()
    table.get_by_text("4,976–5,000 of 5,000").first.wait_for(timeout=TIMEOUT)
    table.get_by_text("2 selected").wait_for(timeout=TIMEOUT)
    # Columns are chosen, and made wider with the keyboard.
    table.get_by_role("button", name="Columns").click()
    table.get_by_role("group", name="columns").get_by_label("topic").uncheck()
    table.get_by_role("button", name="topic", exact=True).wait_for(
        state="detached", timeout=TIMEOUT
    )
    handle = table.get_by_role("separator", name="width of id")
    before = table.locator("th").first.bounding_box()["width"]
    handle.focus()
    handle.press("ArrowRight")
    wide = table.locator("th").first.bounding_box()["width"]
    assert wide > before + 8
    # The copy is there, or stands in a box where the browser keeps its clipboard closed.
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    table.get_by_role("button", name="Copy id").click()
    table.get_by_text("Copied the id.").wait_for(timeout=TIMEOUT)
    assert lab.page.evaluate("() => navigator.clipboard.readText()") == also
    table.get_by_role("button", name="Copy selected as CSV").click()
    table.get_by_text("Copied 2 records as CSV.").wait_for(timeout=TIMEOUT)
    copied = lab.page.evaluate("() => navigator.clipboard.readText()").splitlines()
    assert copied[0] == "id,document,pos,words"
    assert [one.split(",")[0] for one in copied[1:]] == [chosen, also]
    # Whoever opens the page again finds the table as it was, and as wide.
    lab.wait_idle()
    lab.save()
    lab.open(name)
    table = lab.outputs(1).locator(".cnb-table")
    table.get_by_text("4,976–5,000 of 5,000").first.wait_for(timeout=TIMEOUT)
    assert abs(table.locator("th").first.bounding_box()["width"] - wide) < 2
    assert "2 selected" in table.inner_text()
    # What is saved can be read when the kernel is gone.
    assert not lab.outputs(1).locator(".cnb-snapshot").is_visible()
    lab.wait_idle()
    lab.save()
    lab.shut_down_kernel()
    lab.open(name)
    snapshot = lab.outputs(1).locator(".cnb-snapshot")
    snapshot.wait_for(timeout=TIMEOUT)
    assert "4,976–5,000 of 5,000 records" in snapshot.inner_text()
    assert "Error displaying widget" not in lab.outputs(1).inner_text()


def test_a_cell_is_changed_after_a_question_and_taken_back(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    look = 'print(glosses.get(ids=["noun.06998631"])["metadatas"])'
    meanwhile = 'glosses.update(ids=["noun.06998631"], metadatas=[{"topic": "somebody else"}])'
    name = write_notebook(
        jupyter[1] / "edit.ipynb", GLOSSES, "glosses.table(editable=True)", look, meanwhile
    )
    lab.open(name)
    for number in (0, 1):
        lab.run_cell(number)
    table = lab.outputs(1).locator(".cnb-table")
    table.wait_for(timeout=TIMEOUT)
    cell = table.get_by_role("button", name="words of noun.06998631")
    before = cell.inner_text()
    # With the keyboard alone: Enter, a value, Enter, and Enter on Save.
    cell.focus()
    cell.press("Enter")
    box = table.get_by_label("new value of words of noun.06998631")
    box.wait_for(timeout=TIMEOUT)
    box.fill("many")
    box.press("Enter")
    table.get_by_text("Expected a number of the kind integer").wait_for(timeout=TIMEOUT)
    assert axe_problems(lab.page, ".cnb-live") == []
    box.fill("77")
    box.press("Enter")
    save = table.get_by_role("button", name="Save")
    save.wait_for(timeout=TIMEOUT)
    assert f"Change words of noun.06998631 from {before} to 77?" in table.inner_text()
    lab.run_cell(2)
    assert f"'words': {before}" in lab.outputs(2).inner_text(), "nothing before Save"
    lab.screenshot(pictures / "table-edit-light.png", lab.outputs(1))
    assert axe_problems(lab.page, ".cnb-live") == []
    save.press("Enter")
    table.get_by_text("Saved: words of noun.06998631 is 77.").wait_for(timeout=TIMEOUT)
    lab.run_cell(2)
    assert "'words': 77" in lab.outputs(2).inner_text()
    table.get_by_role("button", name="Undo words of noun.06998631").click()
    table.get_by_text("Taken back").wait_for(timeout=TIMEOUT)
    lab.run_cell(2)
    assert f"'words': {before}" in lab.outputs(2).inner_text()
    # What somebody else has changed since is not overwritten.
    topic = table.get_by_role("button", name="topic of noun.06998631")
    topic.dblclick()
    box = table.get_by_label("new value of topic of noun.06998631")
    box.fill("mine")
    box.press("Enter")
    table.get_by_role("button", name="Save").wait_for(timeout=TIMEOUT)
    lab.run_cell(3)
    table.get_by_role("button", name="Save").click()
    table.get_by_text("was changed by somebody else meanwhile").wait_for(timeout=TIMEOUT)
    wait_for_row(table, "somebody else")
    lab.run_cell(2)
    assert "somebody else" in lab.outputs(2).inner_text()


FAR = """
import chroma_nb as chroma
from chroma_nb import datasets
client = chroma.connect({url!r}, settings=chroma.Settings(embedding="static"))
glosses = client.get_or_create_collection("glosses")
glosses.upsert(**datasets.glosses(400))
"""


def test_a_table_works_over_a_server(
    lab: Any, jupyter: tuple[str, Path], tmp_path: Path, pictures: Path
) -> None:
    with running(start_ours(tmp_path)) as server:
        cells = (
            FAR.format(url=server.url),
            "panel = glosses.table(editable=True)\npanel",
            'print(panel.selected, panel.selection()["metadatas"])',
            'glosses.query(query_texts=["a large furry animal"], n_results=30).widget()',
        )
        lab.open(write_notebook(jupyter[1] / "far.ipynb", *cells))
        lab.run_all()
        assert not lab.errors()
        table = lab.outputs(1).locator(".cnb-table")
        table.get_by_text("1–25 of 400 records").first.wait_for(timeout=TIMEOUT)
        # What a server does not do is said, and no button promises it.
        table.get_by_text("A server gives records in the order of their insertion").wait_for()
        assert table.locator("button.sort").count() == 0
        table.get_by_role("button", name="next page").click()
        table.get_by_text("26–50 of 400").first.wait_for(timeout=TIMEOUT)
        table.get_by_role("button", name="Filters").click()
        table.get_by_role("group", name="values of pos").get_by_label("noun").check()
        table.get_by_text("where={'pos': 'noun'}").first.wait_for(timeout=TIMEOUT)
        name = first_ids(table, 1)[0]
        cell = table.get_by_role("button", name=f"words of {name}")
        before = cell.inner_text()
        cell.dblclick()
        box = table.get_by_label(f"new value of words of {name}")
        box.fill("77")
        box.press("Enter")
        table.get_by_role("button", name="Save").press("Enter")
        table.get_by_text(f"Saved: words of {name} is 77.").wait_for(timeout=TIMEOUT)
        table.get_by_role("button", name="Undo words").click()
        table.get_by_text("Taken back").wait_for(timeout=TIMEOUT)
        table.get_by_role("checkbox", name=f"select {name}").check()
        table.get_by_text("1 selected").wait_for(timeout=TIMEOUT)
        lab.run_cell(2)
        said = lab.outputs(2).inner_text()
        assert f"['{name}']" in said
        assert f"'words': {before}" in said
        lab.screenshot(pictures / "table-far-light.png", lab.outputs(1))
        assert axe_problems(lab.page, ".cnb-live") == []
        # An answer is here already: it is sorted here.
        answer = lab.outputs(3).locator(".cnb-table")
        answer.get_by_role("button", name="distance").click()
        answer.locator('th[aria-sort="ascending"]').wait_for(timeout=TIMEOUT)
        server.process.terminate()
        server.process.wait(30)
        table.get_by_role("button", name="Refresh").click()
        table.get_by_text("does not any more").wait_for(timeout=TIMEOUT)
        assert first_ids(table, 1) == [name], "the page stays"


def test_hostile_texts_are_text_and_nothing_is_fetched_unasked(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    addresses = (
        'notes.update(ids=["b"], uris=["http://images.invalid/cat.png"])\n'
        "panel = notes.table(columns=['id', 'document', 'uri', evil, 'n'])\npanel"
    )
    cells = GLOSSES + HOSTILE, addresses, "notes.table(thumbnails=True, editable=True)"
    name = write_notebook(jupyter[1] / "hostile.ipynb", *cells)
    fetched: list[str] = []
    lab.page.on("request", lambda request: fetched.append(request.url))
    lab.open(name)
    for number in (0, 1):
        lab.run_cell(number)
    assert not lab.errors()
    table = lab.outputs(1).locator(".cnb-table")
    table.wait_for(timeout=TIMEOUT)
    wait_for_row(table, "<img src=x")
    table.get_by_role("button", name="Filters").click()
    table.locator("tbody tr").first.locator("td").nth(2).click()
    table.locator(".record").get_by_text("$5 and $10").wait_for(timeout=TIMEOUT)
    assert table.locator("img, script, a, audio, iframe").count() == 0
    assert not [one for one in fetched if "invalid" in one]
    lab.run_cell(2)
    asked = lab.outputs(2).locator(".cnb-table")
    asked.wait_for(timeout=TIMEOUT)
    with contextlib.suppress(lab.Timeout):
        asked.get_by_text("(no image)").wait_for(timeout=TIMEOUT)
    assert [one for one in fetched if "invalid" in one] == ["http://images.invalid/cat.png"]
    assert (
        asked.locator('[src^="javascript"], [href^="javascript"], [src^="data:text"]').count() == 0
    )
    assert lab.page.evaluate("() => window.hurt") is None


def test_a_result_is_a_table_in_notebook_7(
    page: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    url, root = jupyter
    ask = 'glosses.query(query_texts=["a large furry animal", "a vehicle"], n_results=40).widget()'
    run_in_notebook_7(page, url, write_notebook(root / "result.ipynb", GLOSSES, ask))
    table = page.locator(".cnb-table")
    table.wait_for(timeout=TIMEOUT)
    table.get_by_text("1–25 of 80 records").first.wait_for(timeout=TIMEOUT)
    table.get_by_role("button", name="distance").click()
    table.locator('th[aria-sort="ascending"]').wait_for(timeout=TIMEOUT)
    page.screenshot(path=str(pictures / "table-notebook-7.png"))
    assert axe_problems(page, ".cnb-live") == []


def test_the_answer_to_a_search_is_a_table_with_the_place_in_each_part(
    lab: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    asks = (
        'panel = glosses.search("a large furry animal", n_results=40).widget()\npanel',
        'glosses.explain(search="a large furry animal")',
        "glosses.schema",
    )
    lab.open(write_notebook(jupyter[1] / "searched.ipynb", GLOSSES, *asks))
    lab.run_all()
    assert not lab.errors()
    table = lab.outputs(1).locator(".cnb-table")
    table.get_by_text("1–25 of 40 records").first.wait_for(timeout=TIMEOUT)
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        for width, mark in ((1_400, ""), (900, "-narrow")):
            lab.page.set_viewport_size({"width": width, "height": 1_400})
            lab.wait_drawn()
            for cell, what in enumerate(("search-table", "search-explained", "schema"), 1):
                lab.screenshot(pictures / f"{what}-{theme}{mark}.png", lab.outputs(cell))
        assert contrast_problems(lab.page, ".cnb-live") == []
    assert axe_problems(lab.page, ".cnb-live") == []
    heads = table.locator("th .label").filter(has_text="rank by")
    assert heads.all_inner_texts() == ["rank by meaning", "rank by words"]
    for head in heads.all():
        assert head.evaluate("(one) => one.scrollWidth <= one.clientWidth"), "a head is cut"
    # Sorted by the place among the words: what the words did not find is at the end.
    table.get_by_role("button", name="rank by words", exact=True).click()
    table.locator('th[aria-sort="ascending"]').wait_for(timeout=TIMEOUT)
