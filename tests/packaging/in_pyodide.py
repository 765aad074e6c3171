"""What a notebook in Pyodide does: connect, write, ask, and show everything. Run there, and here with the same left out."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from typing import Any

#: What the package uses elsewhere and Pyodide has no build of, or what a notebook that only connects does without.
ABSENT = (
    *(
        "duckdb",
        "hnswlib",
        "onnxruntime",
        "pandas",
        "psutil",
        "pyarrow",
        "tokenizers",
        "turbovec",
        "usearch",
    ),
    *("xxhash", "tqdm", "ipywidgets", "IPython"),
)


def leave_out() -> None:
    """Make this interpreter as poor as Pyodide's: without those modules, and without a thread."""
    # Before the platform has its name: urllib3 would look for a browser.
    importlib.import_module("requests")
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]
    sys.platform = "emscripten"

    def no_thread(*_: Any, **__: Any) -> None:
        raise RuntimeError("can't start new thread")

    threading.Thread.start = no_thread  # type: ignore[assignment,method-assign]


def pages(url: str) -> dict[str, str]:
    """Use a server, and return how each object is shown: its name -> its HTML."""
    import chroma_nb

    client = chroma_nb.connect(url)
    notes = client.get_or_create_collection("lite", embedding_function=None)
    notes.upsert(
        ids=["a", "b", "c"],
        embeddings=[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]],
        documents=["a bear", "a <b>train</b>", None],
        metadatas=[{"n": 1}, {"n": 2, "tags": ["x"]}, None],
    )
    assert notes.count() == 3
    found = notes.query(query_embeddings=[[1.0, 0.0]], n_results=2)
    assert found["ids"] == [["a", "c"]]
    notes.delete(ids=["c"])
    assert client.list_collections()[0].name == "lite"
    objects = {
        "client": client,
        "collections": client.list_collections(),
        "collection": notes,
        "get": notes.get(include=["documents", "metadatas", "embeddings"]),
        "query": found,
        "nothing": notes.get(where={"m": 1}),
        "fields": notes.fields,
        "explain": notes.explain(query_embeddings=[[1.0, 0.0]]),
        "status": notes.get_indexing_status(),
        "memory": client.memory,
        "report": client.memory.report(),
        "preview": client.memory.preview("1 MB"),
        "estimate": client.memory.estimate(1_000, 10),
        "settings": client.get_settings(),
    }
    with contextlib.suppress(chroma_nb.errors.NotFoundError):
        client.get_collection("nobody")
    made = {name: one._repr_html_() for name, one in objects.items()}
    for name, one in objects.items():
        assert one._repr_mimebundle_()["text/plain"], name
    client.close()
    return made


def refusals(url: str) -> list[str]:
    """Return what is said of what does not work there."""
    import chroma_nb

    said = []
    client = chroma_nb.connect(url)
    for call in (
        chroma_nb.Client,
        lambda: chroma_nb.PersistentClient("./store"),
        lambda: client.get_or_create_collection("texts").add(ids=["a"], documents=["a bear"]),
    ):
        try:
            call()
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
        else:
            said.append("nothing")
    client.close()
    return said


if __name__ == "__main__":
    import json

    leave_out()
    print(json.dumps({"pages": pages(sys.argv[1]), "refusals": refusals(sys.argv[1])}))
