"""Static pictures on any page: what they take, which colours they have, and what of them is in the page's own."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs the extra 'plot'")

from chroma_nb.plotting.layers import GREY_ON_BOTH, has_ground, layers_of
from chroma_nb.plotting.picture import COLORS, FAINT, GREY, INK, SCALE, new_figure, on_any
from tests.plotting.made import map_of
from tests.plotting.test_pictures import _contrast

#: Of JupyterLab, VS Code and GitHub.
GROUNDS = ("#ffffff", "#111111", "#1f1f1f", "#0d1117")


@pytest.mark.parametrize("ground", GROUNDS)
def test_the_colours_are_seen_on_white_and_on_dark(ground: str) -> None:
    for color in (*COLORS, GREY, *SCALE):
        assert _contrast(on_any(color), ground) >= 3, color


def test_writing_without_styles_is_as_far_from_white_as_from_dark() -> None:
    # No colour has 4.5 to 1 on both, which would be 20 to 1 between them.
    assert _contrast("#ffffff", "#111111") < 4.5**2
    on_white, on_dark = (_contrast(GREY_ON_BOTH, ground) for ground in ("#ffffff", "#111111"))
    assert min(on_white, on_dark) > 4.3
    assert abs(on_white - on_dark) < 0.1


def _n_bytes(data: dict[str, Any]) -> int:
    """Return what an output takes in a notebook."""
    made = {**data, "image/png": base64.encodebytes(data["image/png"])}
    return sum(len(one if isinstance(one, bytes) else one.encode()) for one in made.values())


@pytest.mark.parametrize(
    ("n", "options"),
    [
        (10, {}),
        (800, {}),
        (2_000, {}),
        (2_000, {"scale": True}),
        (3_000, {}),
        (20_000, {}),
        (20_000, {"scale": True}),
        (20_000, {"color": None}),
    ],
)
def test_an_output_has_at_most_64_kb(n: int, options: dict[str, Any]) -> None:
    from PIL import Image

    data, metadata = map_of(n, **options)._repr_mimebundle_()
    assert _n_bytes(data) <= 64 << 10
    shown = re.findall(r'src="data:image/png;base64,([^"]+)"', data["text/html"])
    width, height = Image.open(io.BytesIO(base64.b64decode(shown[0]))).size
    assert width >= 1.2 * metadata["image/png"]["width"], "sharp on a fine screen"
    assert height >= 1.2 * metadata["image/png"]["height"]
    assert Image.open(io.BytesIO(data["image/png"])).size[0] >= metadata["image/png"]["width"]


def test_the_same_map_has_the_same_bytes_in_every_process() -> None:
    code = """
import hashlib
from tests.plotting.made import map_of
data, _ = map_of(500)._repr_mimebundle_()
print(hashlib.sha256(data["image/png"] + data["text/html"].encode()).hexdigest())
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def _figure_with_text() -> Any:
    figure = new_figure(3, 2, "a test")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.scatter([0.5], [0.75], s=400, c="#d55e00", linewidths=0)
    axes.text(0.1, 0.3, "strong", color=INK, fontsize=14)
    axes.text(0.1, 0.1, "faint", color=FAINT, fontsize=14)
    return figure


def test_writing_is_parted_from_what_has_colours() -> None:
    layers = layers_of(_figure_with_text(), 100)
    seen = layers.colored[..., 3] > 128
    assert (layers.colored[seen, :3] == (0xD5, 0x5E, 0)).all()
    rows = len(layers.written) // 2
    assert seen[:rows].any()
    assert not seen[rows:].any()
    assert not layers.written[: rows // 2].any()
    # Faint writing is as opaque as strong, and gets less of the page's colour.
    strong, faint = layers.shown[rows : rows + rows // 2], layers.shown[-rows // 2 :]
    assert strong.max() > 250
    assert 205 < faint.max() < 225
    assert layers.written[-rows // 2 :].max() > 250


def test_what_is_written_over_colours_has_a_gap_around_it() -> None:
    figure = new_figure(2, 2, "a test")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.axvspan(0, 1, color="#009e73")
    from chroma_nb.plotting.map_figure import _halo

    axes.text(0.5, 0.5, "name", color=INK, fontsize=20, path_effects=_halo(3))
    layers = layers_of(figure, 100)
    assert layers.written.max() > 250
    assert layers.colored[layers.written > 250, 3].max() < 10
    gap = (layers.colored[..., 3] < 60) & (layers.written == 0)
    assert gap.sum() > 100
    assert (layers.colored[20:30, 40:-40, 3] == 255).all()


def test_a_figure_is_left_as_it_was() -> None:
    picture = map_of(50)
    figure = picture.figure
    engine = figure.get_layout_engine()

    def saved() -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        return buffer.getvalue()

    # matplotlib settles its layout when it draws once.
    saved()
    before = saved()
    assert picture._repr_html_()
    assert figure.get_layout_engine() is engine
    assert saved() == before


def test_what_somebody_adds_is_kept() -> None:
    picture = map_of(50)
    axes = picture.figure.axes[0]
    axes.text(*picture.points.coordinates[3], "mine", color="#ff0000", fontsize=40)
    layers = layers_of(picture.figure, 80)
    assert (layers.colored[layers.colored[..., 3] == 255, :3] == (255, 0, 0)).all(axis=1).any()


def test_a_ground_of_ones_own_stays() -> None:
    from PIL import Image

    picture = map_of(50)
    assert not has_ground(picture.figure)
    picture.figure.set_facecolor("#222244")
    assert has_ground(picture.figure)
    data, _ = picture._repr_mimebundle_()
    assert "text/html" not in data
    assert Image.open(io.BytesIO(data["image/png"])).convert("RGB").getpixel((1, 1)) == (34, 34, 68)
    assert picture._repr_html_() is None


def test_a_title_in_a_colour_moves_no_other() -> None:
    picture = map_of(50)
    picture.figure.axes[0].set_title("mine", loc="right", color="#d55e00", fontsize=12, pad=22)
    layers = layers_of(picture.figure, 80)
    # The name of the map, and what is beside it.
    assert layers.written[:30, :150].max() > 250
    assert layers.colored[:30, 300:, 3].max() > 250


def test_settings_of_matplotlib_change_nothing() -> None:
    import matplotlib as mpl

    before, _ = map_of(50)._repr_mimebundle_()
    with mpl.rc_context(
        {"savefig.bbox": "tight", "axes.facecolor": "black", "text.color": "white"}
    ):
        after, _ = map_of(50)._repr_mimebundle_()
    assert after == before


def test_a_figure_of_any_size_fits() -> None:
    picture = map_of(2_000)
    picture.figure.set_size_inches(40, 30)
    assert _n_bytes(picture._repr_mimebundle_()[0]) <= 64 << 10


def test_nothing_is_left_where_nothing_is_drawn() -> None:
    picture = map_of(50)
    picture.figure.clear()
    data, _ = picture._repr_mimebundle_()
    pixels = _pixels(data["image/png"])
    assert not pixels[..., 3].any()


def _pixels(png: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def test_what_cannot_be_drawn_is_said_and_not_raised() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from tests.plotting.made import map_of
picture = map_of(20)
data, metadata = picture._repr_mimebundle_()
assert set(data) == {"text/plain"} and not metadata
assert picture._repr_png_() is None and picture._repr_html_() is None
print(data["text/plain"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "EmbeddingMap('glosses', 20 of 20 records)" in done.stdout
    assert "chroma-nb[plot]" in done.stdout
