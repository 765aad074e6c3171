"""Everything that a cell can show, in each place where notebooks are opened; marimo has a file of its own."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.servers import running, start_ours
from tests.browser.elsewhere import in_voila, run_in_notebook_7
from tests.browser.lab import TIMEOUT, Lab
from tests.browser.scratch import GLOSSES, write_notebook
from tests.browser.static_pages import axe_problems, contrast_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Cells, and what their displays say.
SHOWN = {
    'found = glosses.query(query_texts=["a bear"], n_results=12)\nfound.show(rows=2)': "showing 2 of 12 records",
    'chroma.compare(found, glosses.query(query_texts=["a large furry animal"], n_results=12))': "in both",
    "far": "far-notes",
    "far['far-notes']": "<b>far</b>",
}
#: Cells with live panels, and what these say.
LIVE = {
    "client.memory.widget()": "this kernel",
    "glosses.widget(n_results=3)": "the first records in the order in which they came",
    "glosses.table()": "1–25 of 5,000 records",
    "far['far-notes'].table()": "1–2 of 2 records",
}
FAR = """
far = chroma.connect({url!r})
far.get_or_create_collection("far-notes", embedding_function=None).upsert(
    ids=["<i>a</i>", "b"], embeddings=[[1.0], [2.0]], documents=["from far away", "<b>far</b>"])
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    with running(start_ours(tmp_path_factory.mktemp("server"))) as server:
        yield (GLOSSES + FAR.format(url=server.url), *SHOWN, *LIVE)


@contextlib.contextmanager
def opened(
    place: str, page: Any, jupyter: tuple[str, Path], folder: Path, cells: tuple[str, ...]
) -> Iterator[None]:
    url, root = jupyter
    if place == "voila":
        with in_voila(page, folder, *cells):
            yield
        return
    name = write_notebook(root / f"everything-{place}.ipynb", *cells)
    if place == "lab":
        lab = Lab(page, url)
        lab.open(name)
        lab.run_all()
    else:
        run_in_notebook_7(page, url, name)
    yield


@pytest.mark.parametrize("place", ["lab", "notebook-7", "voila"])
def test_everything_is_shown_and_lives(
    page: Any,
    jupyter: tuple[str, Path],
    tmp_path: Path,
    pictures: Path,
    cells: tuple[str, ...],
    place: str,
) -> None:
    with opened(place, page, jupyter, tmp_path, cells):
        live = page.locator(".cnb-live")
        live.nth(3).wait_for(timeout=TIMEOUT)
        for at, said in enumerate(LIVE.values()):
            live.nth(at).get_by_text(said).first.wait_for(timeout=TIMEOUT)
        for said in SHOWN.values():
            page.locator(".cnb", has_text=said).first.wait_for(timeout=TIMEOUT)
        # A snapshot is for those who have no kernel.
        assert not any(one.is_visible() for one in page.locator(".cnb-snapshot").all())
        # A text is a text.
        assert page.locator("b", has_text="far").count() == 0
        assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        memory, search, table, far = (live.nth(at) for at in range(4))
        search.get_by_placeholder("a question, in your own words").fill("a large furry animal")
        search.get_by_text("query_texts=['a large furry animal']").wait_for(timeout=TIMEOUT)
        table.get_by_role("button", name="next page").click()
        table.get_by_text("26–50 of 5,000 records").first.wait_for(timeout=TIMEOUT)
        far.get_by_role("checkbox", name="select b").check()
        far.get_by_text("1 selected").wait_for(timeout=TIMEOUT)
        row = memory.locator(".widget-hbox", has_text="glosses").last
        row.get_by_role("button", name="Unload").click()
        row.get_by_text("on disk").wait_for(timeout=TIMEOUT)
        page.screenshot(path=str(pictures / f"everything-{place}.png"), full_page=True)
        assert contrast_problems(page, ".cnb-live") == []
        assert axe_problems(page, ".cnb-live") == []
