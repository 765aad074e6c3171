"""A child process for the crash test: writes at random and says what was acknowledged.

Before an operation it prints ``try <json>``, after it ``ok <number>``. Run: ``python writer.py PATH SEED``.
"""

from __future__ import annotations

import functools
import json
import random
import sys
from typing import Any

import numpy as np

import chroma_nb

DIMENSION = 16


@functools.cache
def vector(token: int) -> list[float]:
    """The embedding that belongs to a token; the parent can compute it, too."""
    return np.random.default_rng(token).standard_normal(DIMENSION).astype(np.float32).tolist()


def say(*words: Any) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(path: str, seed: int) -> None:
    rng = random.Random(seed)
    settings = chroma_nb.Settings(graph_min_records=200, compact_ratio=0.3)
    client = chroma_nb.PersistentClient(path, settings)
    collection = client.get_or_create_collection("notes", embedding_function=None)
    known = collection.get(include=[])["ids"]
    say("ready", len(known))
    for number in range(1_000_000):
        token = rng.randrange(1 << 30)
        choice = rng.random()
        if choice < 0.5 or len(known) < 5:
            ids = [f"{token}-{i}" for i in range(rng.choice([1, 1, 3, 40, 300]))]
            tokens = [token + i for i in range(len(ids))]
            say("try", number, json.dumps({"add": dict(zip(ids, tokens, strict=True))}))
            collection.add(
                ids=ids,
                embeddings=[vector(t) for t in tokens],
                documents=[f"document {t}" for t in tokens],
                metadatas=[{"token": t} for t in tokens],
            )
            known.extend(ids)
        elif choice < 0.8:
            ids = rng.sample(known, min(len(known), rng.choice([1, 2, 30])))
            tokens = [token + i for i in range(len(ids))]
            say("try", number, json.dumps({"update": dict(zip(ids, tokens, strict=True))}))
            collection.update(
                ids=ids,
                embeddings=[vector(t) for t in tokens],
                documents=[f"document {t}" for t in tokens],
                metadatas=[{"token": t} for t in tokens],
            )
        elif choice < 0.95:
            ids = rng.sample(known, min(len(known), rng.choice([1, 5, 50])))
            say("try", number, json.dumps({"delete": ids}))
            collection.delete(ids=ids)
            gone = set(ids)
            known = [one for one in known if one not in gone]
        else:
            say("try", number, json.dumps({"unload": True}))
            collection.unload()
        say("ok", number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
