# ruff: noqa: B018
"""A marimo notebook with live panels, for `test_marimo.py`."""

import marimo

app = marimo.App()


@app.cell
def _():
    import tempfile

    import chroma_nb

    # A store of its own: marimo serves all who look at the notebook in one process.
    settings = chroma_nb.Settings(embedding="static", memory_budget="64 MB")
    client = chroma_nb.Client(tempfile.mkdtemp(), settings=settings)
    notes = client.create_collection("notes")
    notes.add(
        ids=[f"{n}" for n in range(40)],
        documents=[
            "<b>a bear</b> is a furry animal" if n % 2 else "trains run on rails" for n in range(40)
        ],
        metadatas=[
            {"year": 1990 + n, "topic": "animals" if n % 2 else "trains"} for n in range(40)
        ],
    )
    return client, notes


@app.cell
def _(client):
    client
    return


@app.cell
def _(client):
    memory = client.memory.widget(refresh_seconds=0.5)
    memory
    return (memory,)


@app.cell
def _(notes):
    search = notes.widget()
    search
    return (search,)


@app.cell
def _(search):
    # The same panel a second time.
    search
    return


if __name__ == "__main__":
    app.run()
