"""Panels and maps learn their page's theme, however late it or they come."""

from __future__ import annotations

from typing import Any

import pytest

from chroma_nb.widgets.front_end_files import read
from tests.browser.lab import TIMEOUT

PAGE = "<html><head></head><body>a text</body></html>"
#: Draws what knows the page's colour, and keeps it in `window.told`.
DRAW = """
([script]) => {
  window.told = {};
  const model = { get: (name) => window.told[name], set: (name, value) => { window.told[name] = value; }, save_changes() {} };
  window.drawn = document.createElement("div");
  const render = new Function(script.replace(/export default.*/, "") + "; return render")();
  window.end = render({ model, el: window.drawn });
}
"""
DARK = "body { background-color: #123456; color: #fff }"


@pytest.fixture
def drawn(page: Any) -> Any:
    page.set_content(PAGE)
    page.evaluate(DRAW, [read("themes.js") + read("page_ground.js")])
    return page


def wait_for(page: Any, ground: str) -> None:
    page.wait_for_function("wanted => window.told.ground === wanted", arg=ground, timeout=TIMEOUT)


def test_an_element_that_is_put_on_the_page_late(drawn: Any) -> None:
    drawn.evaluate(
        "css => document.head.append(Object.assign(document.createElement('style'), {textContent: css}))",
        DARK,
    )
    # Longer than any of the moments at which a page that is there already is looked at.
    drawn.wait_for_timeout(800)
    assert drawn.evaluate("window.told.ground") is None
    drawn.evaluate("document.body.append(window.drawn)")
    wait_for(drawn, "#123456")


def test_a_style_sheet_that_arrives_late(drawn: Any) -> None:
    drawn.evaluate("document.body.append(window.drawn)")
    wait_for(drawn, "#ffffff")
    drawn.wait_for_timeout(800)
    drawn.route("**/theme.css", lambda route: route.fulfill(body=DARK, content_type="text/css"))
    drawn.evaluate(
        "document.head.append(Object.assign(document.createElement('link'), {rel: 'stylesheet', href: 'http://page.test/theme.css'}))"
    )
    wait_for(drawn, "#123456")


def test_what_is_taken_away_is_not_looked_at_any_more(drawn: Any) -> None:
    drawn.evaluate("document.body.append(window.drawn)")
    wait_for(drawn, "#ffffff")
    drawn.evaluate("window.end()")
    drawn.evaluate("document.body.style.backgroundColor = '#123456'")
    drawn.wait_for_timeout(800)
    assert drawn.evaluate("window.told.ground") == "#ffffff"
