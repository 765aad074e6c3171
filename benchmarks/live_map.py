"""How long it takes until a live map of many records is drawn in JupyterLab: `python -m benchmarks.live_map`.

It runs `collection.plot(limit=n, interactive=True)` in a real JupyterLab and Chromium, whose WebGL is in software, and stops
the clock when the canvas has points. The layout is there already, as for each map after the first one of the same records.
Before it, the same with 1,000 records: what the front end and the libraries take whatever is on the map. The kernel's CPU
seconds are those until the panel is sent, which is what other work on the machine changes least. It needs the extras ``test``,
``browser`` and ``plot``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

SETUP = """
import numpy as np, chroma_nb as chroma, jscatter
from chroma_nb import datasets
n = {n}
client = chroma.EphemeralClient(chroma.Settings(embedding="static", progress=False))
notes = client.create_collection("notes-{n}", embedding_function=None)
rng = np.random.default_rng(0)
centres = 3 * rng.standard_normal((40, 32), dtype=np.float32)
group = rng.integers(0, 40, n)
texts = datasets.glosses()["documents"]
vectors = centres[group] + rng.standard_normal((n, 32), dtype=np.float32)
notes.add(ids=[f"rec-{{i}}" for i in range(n)], embeddings=vectors,
    documents=[texts[(i * 7 + group[i] * 120) % len(texts)] for i in range(n)],
    metadatas=[{{"topic": f"topic {{group[i] % 9}}"}} for i in range(n)])
# What is kept of it is the layout.
made = notes.plot(limit=n, method="pca")
"""
SHOW = """
import time
before = time.process_time()
live = notes.plot(color="topic", limit=n, method="pca", interactive=True)
cpu = time.process_time() - before
live
"""
#: Of a page: whether the canvas of a cell's output has something but its ground.
DRAWN = """at => {
  const cell = document.querySelectorAll('.jp-Notebook .jp-Cell')[at];
  const canvas = cell && cell.querySelector('.cnb-live canvas');
  if (!canvas || !canvas.width) return false;
  const context = canvas.getContext('2d');
  if (!context) throw new Error('the canvas cannot be read');
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) {
    seen.add((data[i] << 24) | (data[i + 1] << 16) | (data[i + 2] << 8) | data[i + 3]);
    if (seen.size > 20) return true;
  }
  return false;
}"""


def drawn_after(lab: Any, at: int) -> float:
    """Run a cell; return the seconds until its map has points."""
    lab.page.evaluate(
        "at => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = at }", at
    )
    started = time.perf_counter()
    # Not waiting for the cell's end: the kernel makes the saved picture while the browser draws.
    lab.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell') }")
    lab.page.wait_for_function(DRAWN, arg=at, timeout=600_000, polling=50)
    seconds = time.perf_counter() - started
    lab.wait_idle()
    return seconds


def main() -> None:
    """Measure, and print a line for each size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=100_000)
    sizes = (1_000, parser.parse_args().records)
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS
    from tests.browser.lab import Lab
    from tests.browser.scratch import write_notebook
    from tests.browser.server import TOKEN, lab_arguments, serve

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        root = home / "notebooks"
        root.mkdir()
        cells = [cell for n in sizes for cell in (SETUP.format(n=n), SHOW, "print(cpu)")]
        name = write_notebook(root / "map.ipynb", *cells)
        with serve(lab_arguments(root), home, root, f"/api/status?token={TOKEN}") as url:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            lab = Lab(browser.new_page(viewport={"width": 1280, "height": 1400}), url)
            lab.open(name)
            for number, n in enumerate(sizes):
                lab.run_cell(3 * number)
                seconds = drawn_after(lab, 3 * number + 1)
                lab.run_cell(3 * number + 2)
                cpu = float(lab.outputs(3 * number + 2).inner_text())
                print(
                    f"{n:,} records: drawn after {seconds:.2f} s; the kernel's CPU seconds {cpu:.2f}"
                )
            browser.close()


if __name__ == "__main__":
    main()
