"""The notebooks as they are saved: without a kernel, without widgets, by way of nbconvert."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import ROOT
from tests.display.tiers import Page

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_saved_notebook_can_be_read_without_a_kernel(path: object) -> None:
    nbconvert = pytest.importorskip("nbconvert", reason="needs the extra 'browser'")
    html, _ = nbconvert.HTMLExporter(template_name="basic").from_filename(str(path))
    notebook = json.loads(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    assert "widgets" not in notebook["metadata"]
    shown = " ".join(html.split())
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
            saved = "".join(output.get("data", {}).get("text/html", ""))
            if 'class="cnb' in saved:
                for piece in Page(saved).pieces:
                    assert piece in " ".join(Page(html).text.split()) or piece in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_at_most_a_fifth_of_the_outputs_is_not_compared(path: object) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    ignored = [cell for cell in cells if "nbval-ignore-output" in cell["metadata"].get("tags", [])]
    assert all(cell["execution_count"] for cell in cells)
    assert len(ignored) <= 10
    assert sum(len(json.dumps(cell)) for cell in cells) < 2_000_000
