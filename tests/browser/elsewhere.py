"""Notebooks where no `Lab` is: Notebook 7 and Voila."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.browser.lab import IDLE, TIMEOUT
from tests.browser.scratch import write_notebook
from tests.browser.server import TOKEN, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run_in_notebook_7(page: Any, url: str, name: str) -> None:
    """Open a notebook of a running server, and run all its cells."""
    pytest.importorskip("notebook", reason="needs the extra 'browser'")
    page.goto(f"{url}/notebooks/{name}?token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=TIMEOUT)
    # What is to be run before the kernel is there may be forgotten.
    page.wait_for_function("() => !!window.jupyterapp", timeout=TIMEOUT)
    page.wait_for_function(IDLE, timeout=TIMEOUT)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()


@contextlib.contextmanager
def chosen_theme(url: str, theme: str) -> Iterator[None]:
    """Have a running server show pages in the ``light`` or ``dark`` theme until the end of the block."""
    setting = f"{url}/lab/api/settings/@jupyterlab/apputils-extension:themes"

    def choose(raw: str) -> None:
        headers = {"Authorization": f"token {TOKEN}"}
        requests.put(setting, json={"raw": raw}, headers=headers, timeout=30).raise_for_status()

    choose(json.dumps({"theme": f"JupyterLab {theme.capitalize()}"}))
    try:
        yield
    finally:
        choose("{}")


@contextlib.contextmanager
def in_voila(page: Any, home: Path, *cells: str, theme: str = "light") -> Iterator[None]:
    """Show code cells as an app until the end of the block.

    Args:
        page: The browser's page.
        home: An empty folder.
        cells: The code.
        theme: ``light`` or ``dark``.
    """
    pytest.importorskip("voila", reason="needs the extra 'browser'")
    name = write_notebook(home / "app.ipynb", *cells)
    arguments = ["voila", name, "--no-browser", "--Voila.ip=127.0.0.1"]
    arguments.append(f"--VoilaConfiguration.theme={theme}")
    with serve(arguments, home, home, "/voila/static/voila.js") as url:
        page.goto(url, timeout=TIMEOUT)
        yield
