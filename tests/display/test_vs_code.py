"""What a notebook's outputs are made of is on the lists that VS Code publishes of what it shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs Jupyter")
nbclient = pytest.importorskip("nbclient", reason="needs Jupyter")
pytest.importorskip("ipywidgets", reason="needs ipywidgets")

ROOT = Path(__file__).parents[2]

#: `contributes.notebookRenderer[0].mimeTypes` of extensions/notebook-renderers/package.json in microsoft/vscode, commit
#: 116f89b1cd57f4f565326c13951f4c3e8ff274dd: what VS Code shows without any extension. (Outputs that its own code makes of
#: streams and errors are left out.)
BUILT_IN = {
    *("image/gif", "image/png", "image/jpeg", "image/svg+xml"),
    *("text/html", "text/plain", "application/javascript"),
}
#: The renderer `jupyter-ipywidget-renderer` of its Jupyter extension (microsoft/vscode-jupyter), without which it runs no
#: Python either.
JUPYTER_EXTENSION = {"application/vnd.jupyter.widget-view+json"}

CELLS = [
    """
import chroma_nb
from tests.display.conftest import notes_in, objects_of
settings = chroma_nb.Settings(embedding="static", memory_budget="100 MB")
client = chroma_nb.EphemeralClient(settings)
notes = notes_in(client)
objects = objects_of(client, notes)
""",
    "for one in objects.values(): display(one)",
    "client.memory.widget()",
    "notes.widget()",
    "client.memory.plot()",
    "notes.plot()",
    "notes.plot(interactive=True)",
    "notes.query(query_texts='bear').show(rows=5)",
]


@pytest.fixture(scope="module")
def outputs() -> list[Any]:
    """The outputs of a notebook in a real kernel that show what we make."""
    pytest.importorskip("matplotlib", reason="needs the extra 'plot'")
    pytest.importorskip("jscatter", reason="needs the extra 'plot'")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in CELLS])
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}
    )
    client.execute(env=environment)
    return [
        output
        for cell in notebook.cells
        for output in cell.outputs
        if output.output_type in ("display_data", "execute_result")
    ]


def test_every_type_is_on_the_lists(outputs: list[Any]) -> None:
    assert len(outputs) > 25
    made = {kind for output in outputs for kind in output.data}
    assert made <= BUILT_IN | JUPYTER_EXTENSION
    assert made >= {"text/html", "text/plain", "image/png", *JUPYTER_EXTENSION}


def test_every_output_has_a_form_without_extensions(outputs: list[Any]) -> None:
    for output in outputs:
        assert set(output.data) & BUILT_IN, output.data.keys()


def test_beside_each_widget_stands_what_stays_without_a_kernel(outputs: list[Any]) -> None:
    """VS Code saves no state of widgets, so a widget alone would leave nothing in the notebook."""
    live = [at for at, one in enumerate(outputs) if JUPYTER_EXTENSION & set(one.data)]
    assert len(live) == 3
    for at in live:
        assert "cnb-snapshot" in outputs[at + 1].data["text/html"]
