"""Notebooks that a test writes for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:
    from pathlib import Path


#: Makes a client, and 5,000 records in its collection ``glosses``.
GLOSSES = """
import chroma_nb as chroma
from chroma_nb import datasets
client = chroma.Client(chroma.Settings(embedding="static", allow_reset=True, memory_budget="200 MB"))
client.reset()
glosses = client.create_collection("glosses")
glosses.add(**datasets.glosses())
"""


def write_notebook(path: Path, *cells: str) -> str:
    """Write a notebook of code cells; return its name."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    for at, cell in enumerate(notebook.cells):
        cell.id = f"cell-{at}"
    nbformat.write(notebook, path)
    return path.name
