"""Time what a notebook's user waits for: ``python -m benchmarks.notebook``.

Without a browser: from what is clicked or typed to what is sent to the front end. Each figure is the median of several, but
for the first display in a process, which is one. Needs no data but what is in the package.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chroma_nb
from chroma_nb import datasets

if TYPE_CHECKING:
    from collections.abc import Callable

QUESTIONS = (
    "a large furry animal",
    "a small bird that sings",
    "a boat with sails",
    "to cook food",
    "feeling very sad",
    "a person who flies an airplane",
    "a device to tell the time",
)
RECORDS = 20_000
COLLECTIONS = 60
KEYS = 9
ROUNDS = 7

FIRST = """
import time
import chroma_nb
from chroma_nb import datasets
client = chroma_nb.EphemeralClient(chroma_nb.Settings(embedding="static"))
some = client.create_collection("some")
some.add(**datasets.glosses(500))
result = some.query(query_texts="a large furry animal", n_results=10)
started = time.perf_counter()
result._repr_mimebundle_()
print(time.perf_counter() - started)
"""


def records(n: int) -> dict[str, Any]:
    """Return n records with nine metadata keys."""
    some = datasets.glosses()
    texts = [some["documents"][row % len(some["documents"])] for row in range(n)]
    metadatas = [
        {
            "year": 1_900 + row % 120,
            "day": f"20{row % 24:02}-0{row % 9 + 1}-{row % 28 + 1:02}",
            "price": 1.0005**row,
            "stars": row % 5,
            "pos": ("noun", "verb", "adj")[row % 3],
            "title": f"entry {row}",
            "tags": [f"tag {row % 7}", f"tag {row % 11}"],
            "checked": row % 2 == 0,
            "shelf": f"shelf {row % 40}",
        }
        for row in range(n)
    ]
    return {"ids": [str(row) for row in range(n)], "documents": texts, "metadatas": metadatas}


def milliseconds(act: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Return the median time of an act."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        act()
        found.append(time.perf_counter() - started)
    return 1e3 * statistics.median(found)


def first_display() -> float:
    """Return the time of the first display in a process."""
    # As installed packages are: compiled.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }

    def once() -> float:
        command = [sys.executable, "-c", FIRST]
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        return float(done.stdout)

    once()
    return 1e3 * statistics.median(once() for _ in range(5))


def memory_panel(client: Any) -> dict[str, float]:
    """Return the times of a panel of sixty collections, while a graph is built."""
    for number in range(COLLECTIONS - 1):
        one = client.create_collection(f"notes-{number:02}", embedding_function=None)
        one.add(ids=["a", "b"], embeddings=np.eye(2, 8))
    growing = client.create_collection("growing", embedding_function=None)
    growing.add(
        ids=[str(row) for row in range(60_000)],
        embeddings=np.random.default_rng(0).standard_normal((60_000, 128), dtype=np.float32),
    )
    panels: list[Any] = []
    opening = milliseconds(lambda: panels.append(client.memory.widget()), 3)
    panel = panels[-1]
    refresh = milliseconds(panel.refresh, 30)
    status = growing.get_indexing_status().op_indexing_progress
    for one in panels:
        one.close()
    return {
        f"memory panel of {COLLECTIONS} collections, opening": opening,
        f"its refresh, while a graph is {'built' if status < 1 else 'not built any more'}": refresh,
    }


def search_panel(collection: Any) -> dict[str, float]:
    """Return the time from the last key of a question to the answer on its way to the front end."""
    opening = milliseconds(lambda: collection.widget().close(), 3)
    waits = []
    with collection.widget() as panel:
        for question in (*QUESTIONS, *(f"{one}s" for one in QUESTIONS)):
            for end in range(max(1, len(question) - 3), len(question)):
                panel.question.value = question[:end]
            started = time.perf_counter()
            panel.question.value = question
            while question not in panel._code.value:
                time.sleep(0.001)
            waits.append(time.perf_counter() - started)
    return {
        f"search panel over {RECORDS:,} records, opening": opening,
        "its answer, after the last key": 1e3 * statistics.median(waits),
        "its slowest answer": 1e3 * max(waits),
    }


def main(given: list[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.notebook", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--embedding", choices=("static", "minilm"), default="static")
    options = parser.parse_args(given)
    found = {"first display of a result in a process": first_display()}
    settings = chroma_nb.Settings(embedding=options.embedding, progress=False)
    with chroma_nb.EphemeralClient(settings) as client:
        entries = client.create_collection("entries")
        entries.add(**records(RECORDS))
        entries.build_index()
        result = entries.query(query_texts=QUESTIONS[0])
        found[f"display of ten records with {KEYS} keys"] = milliseconds(result._repr_mimebundle_)
        found |= search_panel(entries)
        found |= memory_panel(client)
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name.ljust(width)}  {value:8.1f} ms")


if __name__ == "__main__":
    main()
