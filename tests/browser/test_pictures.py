"""Static pictures where they are shown: their writing can be read on light and on dark pages, by the pixels of the screen."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from chroma_nb.plotting.picture import _SCREEN_DPI
from tests.browser.lab import TIMEOUT
from tests.browser.scratch import GLOSSES, write_notebook
from tests.plotting.made import map_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
pytest.importorskip("jupyterlab", reason="needs the extra 'browser'")

THEMES = ["lab-light", "lab-dark", "colab-dark", "vscode-dark", "bare"]
#: Of writing (WCAG 2, level AA), and in the one grey that is left without styles.
ENOUGH, ENOUGH_WITHOUT_STYLES = 4.5, 4.0


@pytest.fixture
def fine(browser: Any) -> Iterator[Any]:
    """A page on a screen whose pixels are finer than a stroke, which one pixel would mix with the ground."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
    yield context.new_page()
    context.close()


def boxes_of(picture: Any) -> dict[str, tuple[float, float, float, float]]:
    """Return where each text is: left, top, right and bottom, as shares of width and height."""
    from matplotlib.text import Text
    from PIL import Image

    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', picture._repr_html_())
    drawn = Image.open(io.BytesIO(base64.b64decode(shown[0])))
    figure = picture.figure
    before = figure.dpi
    # Texts are not as large at any resolution.
    figure.set_dpi(drawn.width / figure.get_size_inches()[0])
    try:
        figure.draw_without_rendering()
        renderer = figure.canvas.get_renderer()
        boxes = {
            f"{text.get_text()} ({at})": text.get_window_extent(renderer)
            for at, text in enumerate(figure.findobj(Text))
            if text.get_visible() and text.get_text().strip() and id(text) not in _beyond(figure)
        }
    finally:
        figure.set_dpi(before)
    width, height = drawn.size
    return {
        name: (box.x0 / width, 1 - box.y1 / height, box.x1 / width, 1 - box.y0 / height)
        for name, box in boxes.items()
    }


def _beyond(figure: Any) -> set[int]:
    """Return the ids of labels that are beyond the ends of their axis."""
    axes = [axis for one in figure.axes for axis in (one.xaxis, one.yaxis)]
    return {
        id(tick.label2 if side else tick.label1)
        for axis in axes
        for tick in axis.get_major_ticks()
        for side in (0, 1)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }


def _light(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative luminance of colours, shape (..., 3), 0 to 1 (WCAG 2)."""
    linear = np.where(pixels <= 0.03928, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    light: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return light


def contrasts(screenshot: bytes, boxes: dict[str, tuple[float, ...]]) -> dict[str, float]:
    """Return the contrast of each text's strokes with the ground, from the pixels of a picture on the screen."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB")) / 255
    height, width, _ = pixels.shape
    ground = _light(pixels[-2, -2])
    found = {}
    for name, (left, top, right, bottom) in boxes.items():
        some = pixels[
            int(top * height) : round(bottom * height), int(left * width) : round(right * width)
        ]
        # Strokes are grey; what has a colour is a point.
        greys = some.reshape(-1, 3)
        light = _light(greys[np.ptp(greys, axis=1) < 0.1])
        high, low = np.maximum(light, ground), np.minimum(light, ground)
        found[name] = float(((high + 0.05) / (low + 0.05)).max())
    return found


def faint(image: Any, picture: Any, enough: float = ENOUGH) -> list[str]:
    """Return the texts of a picture on a page whose contrast is too low."""
    boxes = boxes_of(picture)
    assert len(boxes) > 5
    found = contrasts(image.screenshot(), boxes)
    return [f"{name}: {ratio:.2f}" for name, ratio in found.items() if ratio < enough]


@pytest.fixture(scope="module", params=["dots", "cells", "numbers"])
def picture(request: pytest.FixtureRequest) -> Any:
    """A map."""
    return {
        "dots": lambda: map_of(400),
        "cells": lambda: map_of(5_000),
        "numbers": lambda: map_of(400, scale=True),
    }[request.param]()


@pytest.mark.parametrize("theme", THEMES)
def test_the_writing_has_the_colour_of_the_page(
    fine: Any, picture: Any, theme: str, pictures: Path
) -> None:
    from tests.browser.static_pages import axe_problems, pages

    fine.set_content(pages()[theme].replace("{output}", picture._repr_html_()))
    image = fine.locator("img")
    assert faint(image, picture) == []
    assert axe_problems(fine) == []
    name = "numbers" if picture.is_scale else f"{len(picture.points.ids)}"
    image.screenshot(path=str(pictures / f"picture-{name}-{theme}.png"))


@pytest.mark.parametrize("theme", ["lab-light", "lab-dark", "bare"])
def test_a_page_without_styles_shows_the_same_in_grey(
    fine: Any, picture: Any, theme: str, pictures: Path
) -> None:
    from tests.browser.static_pages import pages

    html = re.sub(r"(?s)<style>.*?</style>| class=\"[^\"]*\"", "", picture._repr_html_())
    fine.set_content(pages()[theme].replace("{output}", html))
    image = fine.locator("img")
    assert faint(image, picture, ENOUGH_WITHOUT_STYLES) == []
    image.screenshot(path=str(pictures / f"picture-plain-{len(picture.points.ids)}-{theme}.png"))


def test_the_measure_finds_what_is_too_faint(fine: Any) -> None:
    from tests.browser.static_pages import pages

    picture = map_of(60)
    html = picture._repr_html_()
    # As if the page had no text colour of its own: the writing is what is left without it.
    fine.set_content(pages()["lab-dark"].replace("{output}", html.replace("currentColor", "none")))
    assert len(faint(fine.locator("img"), picture)) > 5


@pytest.mark.parametrize("width", [420, 900, 1_400])
def test_a_picture_is_never_wider_than_its_page(fine: Any, width: int) -> None:
    from tests.browser.static_pages import pages

    picture = map_of(60)
    fine.set_viewport_size({"width": width, "height": 900})
    fine.set_content(pages()["lab-dark"].replace("{output}", picture._repr_html_()))
    assert fine.evaluate("() => document.documentElement.scrollWidth") <= width
    # Writing and points are made smaller alike.
    shown = fine.locator("img").bounding_box()
    inches = picture.figure.get_size_inches()
    assert shown["width"] / shown["height"] == pytest.approx(inches[0] / inches[1], rel=0.01)
    assert shown["width"] <= round(inches[0] * _SCREEN_DPI)
    if width >= 900:
        assert faint(fine.locator("img"), picture) == []


def test_two_pictures_on_a_page_keep_their_own_writing(fine: Any) -> None:
    from tests.browser.static_pages import pages

    one, other = map_of(60), map_of(90, scale=True)
    fine.set_content(
        pages()["lab-dark"].replace("{output}", one._repr_html_() + other._repr_html_())
    )
    for at, picture in enumerate((one, other)):
        assert faint(fine.locator("img").nth(at), picture) == []


CELLS = (
    GLOSSES,
    'glosses.plot(color="pos", query="a large furry animal", limit=1_000, method="pca")',
    "client.memory.plot()",
)


def test_pictures_in_jupyterlab(lab: Any, jupyter: tuple[str, Path], pictures: Path) -> None:
    import nbformat

    name = write_notebook(jupyter[1] / "pictures.ipynb", *CELLS)
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        for width in (900, 1_400):
            lab.page.set_viewport_size({"width": width, "height": 1_600})
            lab.wait_drawn()
            for cell, kind in ((1, "map"), (2, "memory")):
                image = lab.outputs(cell).locator("img")
                image.wait_for(timeout=TIMEOUT)
                assert image.get_attribute("alt")
                lab.screenshot(pictures / f"{kind}-{theme}-{width}.png", lab.outputs(cell))
                assert _title_contrast(image) >= ENOUGH
    lab.save()
    # Somebody else's notebook: no styles. The map is there, in grey.
    saved = nbformat.read(jupyter[1] / name, as_version=4)
    for cell in saved.cells:
        cell.metadata.pop("trusted", None)
        cell.source += "\n# not what was signed"
    untrusted = "untrusted-pictures.ipynb"
    nbformat.write(saved, jupyter[1] / untrusted)
    lab.open(untrusted)
    lab.wait_drawn()
    assert lab.page.locator(".jp-OutputArea style").count() == 0
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        for cell in (1, 2):
            image = lab.outputs(cell).locator("img")
            image.wait_for(timeout=TIMEOUT)
            assert _title_contrast(image) >= ENOUGH_WITHOUT_STYLES
        lab.screenshot(pictures / f"map-untrusted-{theme}.png", lab.outputs(1))
    lab.set_theme("light")


def _title_contrast(image: Any) -> float:
    """Return the contrast of the first line, which is a picture's name."""
    return contrasts(image.screenshot(), {"title": (0.0, 0.0, 0.5, 0.06)})["title"]


def test_pictures_by_way_of_nbconvert(fine: Any) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra 'browser'")
    nbconvert = pytest.importorskip("nbconvert", reason="needs the extra 'browser'")
    picture = map_of(400)
    data, metadata = picture._repr_mimebundle_()
    data = {**data, "image/png": base64.encodebytes(data["image/png"]).decode()}
    cell = nbformat.v4.new_code_cell("picture", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    for theme in ("light", "dark"):
        html, _ = nbconvert.HTMLExporter(theme=theme).from_notebook_node(notebook)
        fine.set_content(html)
        assert faint(fine.locator("img"), picture) == []
    # Paper takes the PNG.
    latex, found = nbconvert.LatexExporter().from_notebook_node(notebook)
    assert "includegraphics" in latex
    assert [one for one in found["outputs"] if one.endswith(".png")]
