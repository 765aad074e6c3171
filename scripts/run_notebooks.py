"""Run the notebooks top to bottom and save them with their outputs.

    run_notebooks.py [--twice] [names]

With --twice each one is run twice in one kernel, the second time has to come out without an error, and
nothing is saved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def run(path: Path, *, twice: bool) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    started = time.perf_counter()
    with client.setup_kernel():
        for _ in range(1 + twice):
            for at, cell in enumerate(notebook.cells):
                client.execute_cell(cell, at)
    seconds = time.perf_counter() - started
    if not twice:
        number = 0
        for cell in notebook.cells:
            # When and how often somebody ran it is nobody's business.
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                number += 1
                cell.execution_count = number
                for output in cell.outputs:
                    if "execution_count" in output:
                        output["execution_count"] = number
        notebook.metadata.pop("widgets", None)
        nbformat.write(notebook, path)
    print(f"{path.name}: {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--twice", action="store_true")
    chosen = parser.parse_args()
    names = chosen.names or sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    for name in names:
        run(ROOT / "notebooks" / f"{name.removesuffix('.ipynb')}.ipynb", twice=chosen.twice)


if __name__ == "__main__":
    main()
