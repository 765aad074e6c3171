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
    # Another store, so that the memory panel of the first one stays small.
    more = chroma_nb.Client(tempfile.mkdtemp(), settings=settings)
    return client, more, notes


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


@app.cell
def _(more):
    # Days, texts and lists have controls of their own.
    import datetime

    first = datetime.date(2001, 1, 1)
    log = more.create_collection("log")
    log.add(
        ids=[f"{n}" for n in range(90)],
        documents=["trains run on rails"] * 90,
        metadatas=[
            {
                "day": f"{first + datetime.timedelta(3 * n)}",
                "title": f"entry {n}",
                "tags": ["old" if n < 60 else "new", f"shelf {n % 7}"],
            }
            for n in range(90)
        ],
    )
    kinds = log.widget(n_results=3)
    kinds
    return (kinds,)


@app.cell
def _(more):
    shelf = more.create_collection("shelf", embedding_function=None)
    shelf.add(
        ids=[f"book {n:02}" for n in range(60)],
        embeddings=[[1.0, n] for n in range(60)],
        documents=[f"<b>page</b> {n}" for n in range(60)],
        metadatas=[{"year": 1960 + n, "kind": "tale" if n % 2 else "poem"} for n in range(60)],
    )
    table = shelf.table(editable=True)
    table
    return shelf, table


@app.cell
def _(table):
    # The same table a second time.
    table
    return


@app.cell
def _(shelf):
    answer = shelf.query(query_embeddings=[[1.0, 7.0]], n_results=12)
    found = answer.widget(page_size=10)
    found
    return answer, found


@app.cell
def _(answer):
    answer.show(rows=2)
    return


@app.cell
def _(answer, shelf):
    import chroma_nb as chroma

    chroma.compare(answer, shelf.query(query_embeddings=[[1.0, 9.0]], n_results=12))
    return (chroma,)


@app.cell
def _(chroma):
    import os

    # The test starts a server, and says where.
    far = chroma.connect(os.environ["CHROMA_NB_TEST_SERVER"])
    afar = far.get_or_create_collection("far-notes", embedding_function=None)
    afar.upsert(
        ids=["a", "b"], embeddings=[[1.0], [2.0]], documents=["from far away", "<b>far</b>"]
    )
    afar
    return afar, far


@app.cell
def _(afar):
    far_table = afar.table()
    far_table
    return (far_table,)


if __name__ == "__main__":
    app.run()
