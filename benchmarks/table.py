"""How long it takes until a table over many records is open in JupyterLab, and what it sends: `python -m benchmarks.table`.

It opens `collection.table()` and `result.widget()` in a real JupyterLab and Chromium, beside itables' widget where that
is installed, which sends all rows. The time is from running the cell until the first row is on the page. It needs the
extras ``test``, ``browser`` and ``table``.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

from chroma_nb.lazy import is_installed

SETUP = """
import tempfile, numpy as np, pandas as pd, chroma_nb as chroma, ipywidgets, anywidget
n = {rows}
client = chroma.PersistentClient(tempfile.mkdtemp())
notes = client.create_collection("notes", embedding_function=None)
notes.add(ids=[f"rec-{{i}}" for i in range(n)],
    embeddings=np.random.default_rng(0).standard_normal((n, 32), dtype=np.float32),
    documents=[f"text number {{i}} about bears and boats " * 8 for i in range(n)],
    metadatas=[{{"year": 1900 + i % 120, "topic": "abc"[i % 3], "score": i / 7, "author": f"Author {{i % 977}}"}}
               for i in range(n)])
result = notes.get()
frame = result.to_pandas()
def sent(widget):
    return "sent bytes:", sum(len(str(one)) for one in widget.get_state().values())
"""
CASES = (
    (
        "collection.table()",
        "t = notes.table()\nt",
        "sent(t._root)",
        ".cnb-table tbody tr td:nth-child(2)",
    ),
    (
        "result.widget()",
        "r = result.widget()\nr",
        "sent(r._root)",
        ".cnb-table tbody tr td:nth-child(2)",
    ),
    (
        "itables.ITable(frame)",
        "from itables.widget import ITable\ni = ITable(frame, maxBytes=0)\ni",
        "sum(len(str(v)) for v in i.get_state().values())",
        "table.dataTable tbody tr td:nth-child(2)",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    rows = parser.parse_args().rows
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS
    from tests.browser.lab import Lab
    from tests.browser.scratch import write_notebook
    from tests.browser.server import TOKEN, lab_arguments, serve

    cases = [one for one in CASES if "itables" not in one[0] or is_installed("itables")]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        root = home / "notebooks"
        root.mkdir()
        cells = [cell for _, show, count, _ in cases for cell in (show, count)]
        name = write_notebook(root / "table.ipynb", SETUP.format(rows=rows), *cells)
        with serve(lab_arguments(root), home, root, f"/api/status?token={TOKEN}") as url:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            lab = Lab(browser.new_page(viewport={"width": 1280, "height": 1400}), url)
            lab.open(name)
            lab.run_cell(0)
            for at, (what, _, _, first) in enumerate(cases):
                place = 1 + 2 * at
                lab.page.evaluate(
                    "at => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = at }",
                    place,
                )
                started = time.perf_counter()
                lab.command("notebook:run-cell")
                lab.outputs(place).locator(first).first.wait_for(timeout=300_000)
                seconds = time.perf_counter() - started
                lab.run_cell(place + 1)
                sent = re.findall(r"\d{4,}", lab.outputs(place + 1).inner_text())
                size = f"{int(sent[0]) / 1e6:,.2f} MB sent" if sent else "size unknown"
                print(f"{what}: {rows:,} rows open in {seconds:.2f} s, {size}")
            browser.close()


if __name__ == "__main__":
    main()
