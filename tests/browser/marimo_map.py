# ruff: noqa: B018
"""A marimo notebook with a live map that is linked to a table, for `test_marimo.py`."""

import marimo

app = marimo.App()


@app.cell
def _():
    import tempfile

    import chroma_nb
    from chroma_nb import datasets

    client = chroma_nb.Client(tempfile.mkdtemp(), settings=chroma_nb.Settings(embedding="static"))
    glosses = client.create_collection("glosses")
    glosses.add(**datasets.glosses(600))
    return chroma_nb, glosses


@app.cell
def _(chroma_nb, glosses):
    live = glosses.plot(color="pos", method="pca", interactive=True)
    table = glosses.table(page_size=10)
    chroma_nb.link(live, table)
    live
    return live, table


@app.cell
def _(table):
    table
    return


if __name__ == "__main__":
    app.run()
