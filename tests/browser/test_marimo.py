"""Panels live in marimo, which runs anywidget and not the controls of ipywidgets: served and clicked, and by its runner."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.live_maps import ground_of, wait_for_ground
from tests.browser.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("marimo", reason="needs the extra 'browser'")
pytest.importorskip("anywidget", reason="needs the extra 'plot'")

FOLDER = Path(__file__).parent
#: For what a busy machine takes; nothing waits so long on an ordinary one.
PATIENCE = 20_000


@contextlib.contextmanager
def served(name: str, home: Path) -> Iterator[str]:
    """Serve one of the notebooks as marimo does, with an empty folder as its home; yield its address."""
    shutil.copy(FOLDER / name, home)
    # Dark where the browser is.
    (home / "pyproject.toml").write_text('[tool.marimo.display]\ntheme = "system"\n')
    arguments = ["marimo", "-q", "run", name, "--headless", "--no-token", "--no-sandbox"]
    with serve(arguments, home, home, "/health") as url:
        yield url


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The notebook of the memory and the search panel."""
    with served("marimo_panels.py", tmp_path_factory.mktemp("marimo")) as url:
        yield url


@pytest.fixture(scope="module")
def map_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The notebook of the live map."""
    pytest.importorskip("jscatter", reason="needs the extra 'plot'")
    with served("marimo_map.py", tmp_path_factory.mktemp("marimo-map")) as url:
        yield url


def opened(page: Any, url: str) -> Any:
    """Open the notebook; return its panels: that of the memory, and that of the search, twice."""
    page.goto(url)
    panels = page.locator(".cnb-panel")
    panels.nth(2).wait_for(timeout=PATIENCE)
    page.get_by_role("row", name="trains run on rails").first.wait_for(timeout=PATIENCE)
    return panels


def test_the_panels_live(page: Any, app: str, pictures: Path) -> None:
    panels = opened(page, app)
    assert panels.count() == 3
    memory, search, again = (panels.nth(at) for at in range(3))
    page.screenshot(path=pictures / "marimo-light.png", full_page=True)

    # A document is text.
    assert search.get_by_text("<b>a bear</b>").count()
    assert not search.locator("td b").count()

    # Typing asks, and both places follow.
    search.get_by_label("for", exact=True).press_sequentially("something with fur")
    for one in (search, again):
        one.get_by_text("records for “something with fur”").wait_for(timeout=PATIENCE)
    assert search.get_by_label("for", exact=True).input_value() == "something with fur"

    # A menu of values, with the metadata filter in the code.
    search.get_by_label("is", exact=True).select_option(label="trains (20)")
    again.get_by_text("where={'topic': 'trains'}").wait_for(timeout=PATIENCE)

    # A range.
    search.get_by_label("from", exact=True).last.fill("2010")
    again.get_by_text("'$gte': 2010").wait_for(timeout=PATIENCE)

    # Unload, pin.
    memory.get_by_text("loaded", exact=True).wait_for(timeout=PATIENCE)
    unload = memory.get_by_role("button", name="Unload", exact=True)
    unload.click()
    memory.get_by_text("on disk", exact=True).wait_for(timeout=PATIENCE)
    assert unload.is_disabled()
    pin = memory.get_by_role("button", name="pin")
    pin.click()
    memory.locator("button[aria-pressed=true]").wait_for(timeout=PATIENCE)
    memory.get_by_text("loaded", exact=True).wait_for(timeout=PATIENCE)

    # The budget's slider shows what it would do, and Apply does it.
    slider = memory.get_by_label("budget")
    slider.focus()
    slider.press("Home")
    memory.get_by_text("1.0 MB", exact=True).wait_for(timeout=PATIENCE)
    memory.get_by_role("button", name="Apply").click()
    memory.get_by_role("row", name="of 1.0 MB").wait_for(timeout=PATIENCE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 1400])
def test_it_can_be_read_and_used_by_all(
    browser: Any, app: str, pictures: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": width, "height": 1400}, color_scheme=scheme)
    page = context.new_page()
    opened(page, app)
    page.screenshot(path=pictures / f"marimo-{scheme}-{width}.png", full_page=True)
    shown = page.locator(".cnb-panel").first.evaluate("one => getComputedStyle(one).colorScheme")
    assert shown == scheme
    found = axe.Axe().run(page, context="marimo-anywidget").response["violations"]
    context.close()
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_live_map_lives(browser: Any, map_app: str, pictures: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": 1000, "height": 1800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(map_app)
    canvas = page.locator("canvas").first
    canvas.wait_for(timeout=PATIENCE)
    above, below = page.locator(".cnb-panel").nth(0), page.locator(".cnb-panel").nth(1)
    dots = above.locator("span").evaluate_all(
        "all => all.map(one => one.style.background).filter(Boolean)"
    )
    assert len(set(dots)) == 4, "of four groups"
    above.get_by_label("select").select_option(label="adv")
    below.get_by_text("selected: .selected_ids").wait_for(timeout=PATIENCE)
    # The table is linked to it.
    n = below.get_by_text("selected: .selected_ids").inner_text().split(" ")[0]
    table = page.locator(".cnb-table")
    table.get_by_text(f"of {n} records selected elsewhere").first.wait_for(timeout=PATIENCE)
    table.locator("tbody tr").nth(1).locator("td").nth(2).click()
    below.get_by_text("1 selected: .selected_ids").wait_for(timeout=PATIENCE)
    ground = ground_of(page)
    assert (ground < "#80") == (scheme == "dark")
    wait_for_ground(page, canvas, ground)
    page.screenshot(path=pictures / f"marimo-map-{scheme}.png", full_page=True)
    found = axe.Axe().run(page, context="marimo-anywidget").response["violations"]
    context.close()
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]


def test_its_own_runner_shows_live_panels() -> None:
    """`app.run()` runs the cells as a script does."""
    import anywidget

    from tests.browser.marimo_panels import app

    outputs, defined = app.run()
    assert "notes" in outputs[1]._repr_html_()
    panel = defined["search"]
    mirror = panel._display_()
    assert isinstance(mirror, anywidget.AnyWidget)
    assert "question" in str(mirror.tree)
    panel.question.value = "a bear"
    panel.search()
    assert panel.result["ids"]
    for one in (panel, defined["memory"]):
        one.close()
    defined["client"].close()
