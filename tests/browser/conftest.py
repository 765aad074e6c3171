"""One browser and one JupyterLab for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"),
    *("--no-first-run", "--disable-component-update", "--disable-sync"),
    "--force-color-profile=srgb",
]
#: Errors in other people's JavaScript, which change nothing for us.
FOREIGN = (
    # jupyter-scatter draws once more when its plot is closed.
    "reading 'scaling'",
    # A widget still speaks when its comm is closed.
    "no comm channel defined",
    # Notebook 7 without JupyterLab's file browser.
    "filebrowser:open-path",
    "reading 'schema'",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(str(item.fspath)).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, headless."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the extra 'browser'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh page, which must not meet an error in JavaScript."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert not [one for one in problems if not any(known in one for known in FOREIGN)]


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """JupyterLab, which serves Notebook 7 as well: its address and its folder of notebooks."""
    pytest.importorskip("jupyterlab", reason="needs the extra 'browser'")
    from tests.browser.server import TOKEN, lab_arguments, serve

    home = tmp_path_factory.mktemp("jupyter")
    root = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", root)
    with serve(lab_arguments(root), home, root, f"/api/status?token={TOKEN}") as url:
        yield url, root


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go; CHROMA_NB_PICTURES names a folder that stays."""
    chosen = os.environ.get("CHROMA_NB_PICTURES")
    return Path(chosen) if chosen else tmp_path_factory.mktemp("pictures")


@pytest.fixture
def lab(page: Any, jupyter: tuple[str, Path]) -> Any:
    """JupyterLab on the page."""
    from tests.browser.lab import Lab

    return Lab(page, jupyter[0])
