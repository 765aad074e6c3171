"""One turn at a store that several DuckDBs write: read it all, change it, leave what it holds beside it.

`python turns.py STORE SEED`; the truth lies in STORE.json.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import chroma_nb

Truth = dict[str, list[Any]]


def check(client: Any, collection: Any, truth: Truth) -> None:
    """Every value is what was given, by the API and by SQL."""
    got = collection.get(include=["metadatas", "documents"])
    held = {
        i: [m, d] for i, m, d in zip(got["ids"], got["metadatas"], got["documents"], strict=True)
    }
    assert held == truth
    if truth:
        # As text: a gap must not cost an integer its last digits.
        frame = client.sql("SELECT id, CAST(rank AS VARCHAR) AS rank FROM notes")
        ranks = dict(zip(frame["id"], frame["rank"], strict=True))
        for name, (metadata, _) in truth.items():
            rank = (metadata or {}).get("rank")
            assert ranks[name] == (None if rank is None else str(rank)), name


def change(collection: Any, truth: Truth, rng: random.Random) -> None:
    names = list(
        dict.fromkeys(f"r{rng.randrange(20000)}" for _ in range(rng.choice([1, 7, 300, 3000])))
    )
    delete(collection, truth, [name for name in names if name in truth])
    metadatas = [{"rank": rng.randrange(2**60)} if rng.random() < 0.7 else None for _ in names]
    documents = [f"text {rng.randrange(10**9)}" if rng.random() < 0.6 else None for _ in names]
    embeddings = [[rng.random()] * 8 for _ in names]
    collection.add(ids=names, embeddings=embeddings, metadatas=metadatas, documents=documents)
    truth.update((i, [m, d]) for i, m, d in zip(names, metadatas, documents, strict=True))
    delete(collection, truth, rng.sample(sorted(truth), min(len(truth), rng.choice([1, 50, 1000]))))


def delete(collection: Any, truth: Truth, names: list[str]) -> None:
    if names:
        collection.delete(ids=names)
        for name in names:
            del truth[name]


def main() -> None:
    store, seed = sys.argv[1], int(sys.argv[2])
    side = Path(store + ".json")
    truth: Truth = json.loads(side.read_text()) if side.exists() else {}
    with chroma_nb.PersistentClient(store) as client:
        collection = client.get_or_create_collection("notes")
        check(client, collection, truth)
        rng = random.Random(seed)
        for _ in range(3):
            change(collection, truth, rng)
            check(client, collection, truth)
    side.write_text(json.dumps(truth))


if __name__ == "__main__":
    main()
