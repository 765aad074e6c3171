"""Panels live in marimo, which runs anywidget and not the controls of ipywidgets: served and clicked, and by its runner."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.servers import running, start_ours
from tests.browser.live_maps import ground_of, wait_for_ground
from tests.browser.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("marimo", reason="needs the extra 'browser'")
pytest.importorskip("anywidget", reason="needs the extra 'plot'")

FOLDER = Path(__file__).parent
#: For what a busy machine takes; nothing waits so long on an ordinary one.
PATIENCE = 20_000


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A server, which the notebook finds in the environment."""
    with (
        running(start_ours(tmp_path_factory.mktemp("server"))) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("CHROMA_NB_TEST_SERVER", server.url)
        yield


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
    """Open the notebook; return its panels: that of the memory, that of the search, twice, and that of days and lists."""
    page.goto(url)
    panels = page.locator(".cnb-panel")
    panels.nth(3).wait_for(timeout=PATIENCE)
    page.get_by_role("row", name="trains run on rails").first.wait_for(timeout=PATIENCE)
    return panels


def test_the_panels_live(page: Any, app: str, pictures: Path) -> None:
    panels = opened(page, app)
    assert panels.count() == 4
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


def test_days_texts_and_members_of_lists_are_asked_for(page: Any, app: str) -> None:
    panel = opened(page, app).nth(3)
    code = panel.locator("code").last
    # A day as somebody types it, part by part; half a day asks for nothing.
    day = panel.get_by_label("from", exact=True)
    day.click()
    day.press_sequentially("0301")
    day.press("ArrowRight")
    panel.get_by_label("to", exact=True).fill("2001-06-30")
    panel.get_by_text("'$lt': '2001-07-01'").wait_for(timeout=PATIENCE)
    assert "$gte" not in code.inner_text()
    day.fill("2001-03-01")
    panel.get_by_text("'$gte': '2001-03-01'").wait_for(timeout=PATIENCE)
    # A member of the lists: offered, typed, and taken with Enter.
    member = panel.get_by_label("has", exact=True)
    offered = member.evaluate("one => [...one.list.options].map((option) => option.value)")
    assert {"old", "new", "shelf 6"} <= set(offered)
    member.fill("shel")
    assert "$contains" not in code.inner_text(), "what is half typed is not asked"
    member.fill("shelf 6")
    panel.get_by_text("'$contains': 'shelf 6'").wait_for(timeout=PATIENCE)
    # A text that is in no list.
    title = panel.get_by_label("is", exact=True)
    title.fill("entry 555")
    title.press("Enter")
    panel.get_by_text("'title': 'entry 555'").wait_for(timeout=PATIENCE)
    title.fill("entry 27")
    panel.get_by_text("'title': 'entry 27'").wait_for(timeout=PATIENCE)
    panel.get_by_role("row", name="2001-03-23").wait_for(timeout=PATIENCE)
    # A day is taken out again.
    day.fill("")
    panel.locator("code", has_text="'$gte'").wait_for(state="detached", timeout=PATIENCE)


def test_the_table_lives(page: Any, app: str, pictures: Path) -> None:
    opened(page, app)
    tables = page.locator(".cnb-table")
    tables.nth(2).wait_for(timeout=PATIENCE)
    table, again, found = (tables.nth(at) for at in range(3))
    table.scroll_into_view_if_needed()
    # A document is text.
    assert table.get_by_text("<b>page</b> 1", exact=True).count()
    assert not table.locator("td b").count()
    # What is done in one place is seen in the other.
    table.get_by_role("button", name="year", exact=True).click()
    again.locator('th[aria-sort="ascending"]').wait_for(timeout=PATIENCE)
    table.get_by_role("button", name="year").first.click()
    again.locator("tbody tr").first.get_by_text("2019").wait_for(timeout=PATIENCE)
    table.get_by_role("button", name="next page").click()
    again.get_by_text("26–50 of 60 records").first.wait_for(timeout=PATIENCE)
    table.get_by_role("button", name="Filters").click()
    table.get_by_role("group", name="values of kind").get_by_label("tale").check()
    again.get_by_text("1–25 of 30 records that match").first.wait_for(timeout=PATIENCE)
    assert not again.get_by_role("group", name="values of kind").is_visible(), (
        "a drawer is one's own"
    )
    # Select, change, take back; with the keyboard.
    table.get_by_role("checkbox", name="select book 59").check()
    again.get_by_text("1 selected").wait_for(timeout=PATIENCE)
    cell = table.get_by_role("button", name="year of book 57")
    cell.focus()
    cell.press("Enter")
    box = table.get_by_label("new value of year of book 57")
    box.fill("1066")
    box.press("Enter")
    save = table.get_by_role("button", name="Save")
    save.wait_for(timeout=PATIENCE)
    save.press("Enter")
    again.get_by_text("Saved: year of book 57 is 1066.").wait_for(timeout=PATIENCE)
    table.screenshot(path=pictures / "marimo-table-light.png")
    again.get_by_role("button", name="Undo year").click()
    table.get_by_text("Taken back").wait_for(timeout=PATIENCE)
    # Wider here is wider there.
    before = again.locator("th").first.bounding_box()["width"]
    handle = table.get_by_role("separator", name="width of id")
    handle.focus()
    for _ in range(3):
        handle.press("ArrowRight")
    page.wait_for_function(
        "([one, width]) => one.getBoundingClientRect().width > width + 40",
        arg=[again.locator("th").first.element_handle(), before],
        timeout=PATIENCE,
    )
    # The table of an answer.
    found.get_by_text("1–10 of 12 records").first.wait_for(timeout=PATIENCE)
    found.get_by_role("button", name="distance").click()
    found.locator('th[aria-sort="ascending"]').wait_for(timeout=PATIENCE)


def test_results_and_comparisons_are_tables(page: Any, app: str, pictures: Path) -> None:
    opened(page, app)
    # `show()` is no text that is printed.
    shown = page.locator(".output", has_text="showing 2 of 12 records").last
    shown.locator("td", has_text="<b>page</b> 7").first.wait_for(timeout=PATIENCE)
    assert not shown.locator("td b").count()
    compared = page.locator(".output", has_text="in both").last
    compared.locator("table").first.wait_for(timeout=PATIENCE)
    compared.screenshot(path=pictures / "marimo-compare-light.png")


def test_what_is_at_a_server_is_shown_and_lives(page: Any, app: str) -> None:
    opened(page, app)
    shown = page.locator(".output", has_text="from far away").first
    shown.locator("td", has_text="<b>far</b>").first.wait_for(timeout=PATIENCE)
    assert page.locator("b", has_text="far").count() == 0
    table = page.locator(".cnb-table").nth(3)
    table.get_by_text("1–2 of 2 records").first.wait_for(timeout=PATIENCE)
    table.get_by_role("checkbox", name="select b").check()
    table.get_by_text("1 selected").wait_for(timeout=PATIENCE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 1400])
def test_it_can_be_read_and_used_by_all(
    browser: Any, app: str, pictures: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    context = browser.new_context(viewport={"width": width, "height": 1400}, color_scheme=scheme)
    page = context.new_page()
    kinds = opened(page, app).nth(3)
    page.screenshot(path=pictures / f"marimo-{scheme}-{width}.png", full_page=True)
    kinds.screenshot(path=pictures / f"marimo-kinds-{scheme}-{width}.png")
    table = page.locator(".cnb-table").first
    table.wait_for(timeout=PATIENCE)
    table.screenshot(path=pictures / f"marimo-table-{scheme}-{width}.png")
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
    for name in ("search", "memory", "kinds", "table", "found", "far_table"):
        defined[name].close()
    for one in ("client", "more", "far"):
        defined[one].close()
