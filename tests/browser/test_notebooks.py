"""The notebooks, top to bottom, where people open them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT
from tests.browser.elsewhere import run_in_notebook_7
from tests.browser.lab import TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted(file.stem for file in (ROOT / "notebooks").glob("*.ipynb"))


def tall(lab: Any) -> None:
    """Make the page as tall as the notebook, so that a picture shows all of it."""
    height = lab.page.evaluate(
        "() => document.querySelector('.jp-WindowedPanel-outer').scrollHeight"
    )
    lab.page.set_viewport_size({"width": 1280, "height": min(6_000, height + 160)})
    lab.wait_drawn()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab(lab: Any, pictures: Path, name: str) -> None:
    lab.open(f"{name}.ipynb")
    lab.run_all()
    assert not lab.errors()
    tall(lab)
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.screenshot(
            pictures / f"{name}-{theme}.png", lab.page.locator(".jp-NotebookPanel").first
        )
    lab.set_theme("light")


def test_a_notebook_runs_in_notebook_7(
    page: Any, jupyter: tuple[str, Path], pictures: Path
) -> None:
    run_in_notebook_7(page, jupyter[0], "memory_budget.ipynb")
    # The last cell has run when what it prints is there, and the panel was alive before it.
    page.get_by_text("0 bytes held").wait_for(timeout=TIMEOUT)
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    page.screenshot(path=str(pictures / "notebook-7.png"))
