"""Every object in every theme: legible, and readable by a screen reader."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_ours
from tests.browser.scratch import write_notebook
from tests.display.conftest import notes_in, objects_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("jupyterlab", reason="needs the extra 'browser'")

THEMES = ["lab-light", "lab-dark", "colab-dark", "vscode-dark", "bare"]

#: Where the store is -> how the files of its tests begin.
PREFIXES = {"here": "", "far": "far-"}


@pytest.fixture(scope="module", params=PREFIXES)
def place(request: pytest.FixtureRequest) -> str:
    """Where the store is: in this process, or at a server."""
    return str(request.param)


@pytest.fixture(scope="module")
def fragments(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    settings = chroma_nb.Settings(embedding="static", allow_reset=True, memory_budget="100 MB")
    with contextlib.ExitStack() as stack:
        if place == "here":
            client = stack.enter_context(chroma_nb.EphemeralClient(settings))
        else:
            folder = tmp_path_factory.mktemp("server")
            server = stack.enter_context(running(start_ours(folder, "--allow-reset")))
            client = stack.enter_context(chroma_nb.connect(server.url, settings=settings))
        client.reset()
        shown = objects_of(client, notes_in(client))
        client.memory.unload_all()
        yield {name: one._repr_html_() for name, one in shown.items()}
        client.reset()


@pytest.mark.parametrize("theme", THEMES)
def test_every_text_can_be_read(
    page: Any, fragments: dict[str, str], place: str, theme: str, pictures: Path
) -> None:
    from tests.browser.static_pages import axe_problems, contrast_problems, pages

    output = "".join(f"<h4>{name}</h4>{html}" for name, html in fragments.items())
    output = output.replace("<details>", "<details open>")
    page.set_content(pages()[theme].replace("{output}", output))
    assert contrast_problems(page) == []
    assert axe_problems(page) == []
    # Nothing is cut off: what is too wide can be scrolled, and here nothing is too wide.
    wide = page.evaluate(
        "() => [...document.querySelectorAll('.cnb')].filter(e => e.scrollWidth > e.clientWidth).length"
    )
    assert wide == 0
    page.screenshot(path=str(pictures / f"{PREFIXES[place]}objects-{theme}.png"), full_page=True)


def test_the_measures_find_what_is_wrong(page: Any) -> None:
    from tests.browser.static_pages import axe_problems, contrast_problems

    page.set_content(
        "<html lang=en><head><title>x</title></head><body><p style='color:#999'>grey</p>"
        "<p style='opacity:.4'>faint</p><p>clear</p><input><img src='data:,'></body>"
    )
    found = contrast_problems(page)
    assert [one.split()[0] for one in found] == ["grey", "faint"]
    kinds = {one.split(":")[0] for one in axe_problems(page)}
    assert {"label", "image-alt"} <= kinds


def test_an_untrusted_notebook_is_readable(
    lab: Any, jupyter: tuple[str, Path], fragments: dict[str, str], place: str, pictures: Path
) -> None:
    import nbformat

    name = write_notebook(
        jupyter[1] / f"{PREFIXES[place]}untrusted.ipynb", *(["1"] * len(fragments))
    )
    notebook = nbformat.read(jupyter[1] / name, as_version=4)
    for cell, html in zip(notebook.cells, fragments.values(), strict=True):
        data = {"text/html": html + "<script>window.ran = true</script>", "text/plain": "x"}
        cell.outputs = [nbformat.v4.new_output("display_data", data)]
        cell.execution_count = 1
    nbformat.write(notebook, jupyter[1] / name)
    lab.open(name)
    lab.wait_drawn()
    assert lab.page.evaluate("() => window.ran") is None
    assert lab.page.locator(".jp-OutputArea style").count() == 0, "styles are taken away"
    from tests.display.tiers import Page

    for at, html in enumerate(fragments.values()):
        shown = lab.outputs(at)
        for details in shown.locator("details").all():
            details.evaluate("e => { e.open = true }")
        text = " ".join(shown.inner_text().split())
        for piece in Page(html).pieces:
            assert piece in text, "every value is there without styles"
    lab.screenshot(pictures / f"{PREFIXES[place]}untrusted.png")


def test_text_survives_typesetting(lab: Any, jupyter: tuple[str, Path]) -> None:
    name = write_notebook(
        jupyter[1] / "typeset.ipynb",
        "import chroma_nb\n"
        "notes = chroma_nb.EphemeralClient().get_or_create_collection('typeset', "
        "embedding_function=None)\n"
        "notes.upsert(ids=['a'], embeddings=[[1.0]], "
        "documents=['costs $5, not $10;  two   spaces'])\n"
        "notes.get()",
    )
    lab.open(name)
    lab.run_all()
    cell = lab.outputs(0).locator("td .t").nth(1)
    assert cell.evaluate("e => e.textContent") == "costs $5, not $10;  two   spaces"
    assert cell.evaluate("e => getComputedStyle(e).whiteSpace") in ("pre-wrap", "break-spaces")
    assert lab.outputs(0).locator("mjx-container").count() == 0
