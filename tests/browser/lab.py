"""`Lab`: one notebook in JupyterLab, as somebody at a screen uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.browser.server import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator, Page

#: A cell of the notebooks may take so long on a slow machine, ms.
TIMEOUT = 90_000

#: Whether the kernel of the notebook that is open has nothing to do.
IDLE = """() => {
  const panel = window.jupyterapp && window.jupyterapp.shell.currentWidget;
  const kernel = panel && panel.context && panel.context.sessionContext.session
    && panel.context.sessionContext.session.kernel;
  return !!kernel && kernel.status === 'idle';
}"""
_ALL_RUN = """() => {
  const cells = window.jupyterapp.shell.currentWidget.content.widgets;
  return cells.every(cell => cell.model.type !== 'code' || !cell.model.sharedModel.source.trim()
    || (cell.model.executionCount !== null && cell.model.executionState !== 'running'));
}"""


class Lab:
    """A notebook opened in JupyterLab.

    Args:
        page: The browser's page.
        url: The server's address.
    """

    def __init__(self, page: Page, url: str) -> None:
        from playwright.sync_api import TimeoutError

        self.Timeout = TimeoutError
        self.page = page
        self.url = url

    def open(self, path: str, *, reset: bool = True) -> None:
        """Open a notebook and wait until it is drawn and its kernel is ready."""
        query = f"?token={TOKEN}" + ("&reset" if reset else "")
        self.page.goto(f"{self.url}/lab/tree/{path}{query}")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=TIMEOUT)
        self.page.wait_for_function("() => !!window.jupyterapp", timeout=TIMEOUT)
        self.wait_idle()

    def wait_idle(self) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.wait_for_function(IDLE, timeout=TIMEOUT)

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments]
        )

    def run_all(self) -> None:
        """Run the notebook top to bottom."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        self.page.wait_for_function(_ALL_RUN, timeout=TIMEOUT)
        self.wait_idle()
        self.wait_drawn()

    def run_cell(self, number: int) -> None:
        """Run one cell."""
        self.page.evaluate(
            "at => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = at }", number
        )
        self.command("notebook:run-cell")
        self.wait_idle()

    def wait_drawn(self) -> None:
        """Wait until two pictures of the page in a row are laid out alike."""
        measure = "() => document.querySelector('.jp-Notebook').scrollHeight"
        before = -1
        for _ in range(60):
            height = self.page.evaluate(measure)
            if height == before:
                return
            before = height
            self.page.wait_for_timeout(250)

    def set_theme(self, theme: str) -> None:
        """Change to the ``light`` or the ``dark`` theme."""
        name = "JupyterLab Dark" if theme == "dark" else "JupyterLab Light"
        self.command("apputils:change-theme", theme=name)
        self.page.wait_for_selector(
            f'body[data-jp-theme-name="{name}"]', state="attached", timeout=TIMEOUT
        )
        self.page.wait_for_timeout(300)

    def save(self) -> None:
        """Save the notebook, and wait until it is saved."""
        self.command("docmanager:save")
        self.page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty", timeout=TIMEOUT
        )

    def shut_down_kernel(self) -> None:
        """End the kernel, as closing the machine over night does."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.context.sessionContext.shutdown()"
        )

    def cell(self, number: int) -> Locator:
        """Return one cell."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def outputs(self, number: int) -> Locator:
        """Return what a cell has put out."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def errors(self) -> list[str]:
        """Return the tracebacks that cells show."""
        marks = self.page.locator('.jp-OutputArea-output[data-mime-type$="stderr"]')
        errors = self.page.locator(
            '.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]'
        )
        return [*errors.all_inner_texts(), *marks.all_inner_texts()]

    def screenshot(self, path: Path, locator: Locator | None = None) -> None:
        """Take a picture of an element, or of the page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        (locator or self.page).screenshot(path=str(path))
