"""The notebooks, top to bottom, where people open them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

NOTEBOOKS = sorted(file.name for file in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab(lab: Any, pictures: Path, name: str) -> None:
    lab.open(name)
    lab.run_all()
    assert not lab.errors()
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        lab.screenshot(pictures / f"{name.removesuffix('.ipynb')}-{theme}.png")
    lab.set_theme("light")
