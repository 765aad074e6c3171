"""Put 5,000 WordNet glosses into a store in memory and ask it a question in words."""

from __future__ import annotations

import sys
import time

import chroma_nb as chroma
from chroma_nb import datasets


def main(question: str) -> None:
    started = time.perf_counter()
    client = chroma.Client(chroma.Settings(embedding="static"))
    glosses = client.get_or_create_collection("glosses")
    glosses.add(**datasets.glosses())
    added = time.perf_counter()
    answer = glosses.query(query_texts=[question], n_results=5, where={"pos": "noun"})
    asked = time.perf_counter()
    print(f"{glosses.count():,} glosses embedded and stored in {added - started:.2f} s")
    print(f"{question!r} answered in {(asked - added) * 1e3:.1f} ms:\n")
    for document, distance in zip(answer["documents"][0], answer["distances"][0], strict=True):
        print(f"  {distance:.3f}  {document}")
    client.close()


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "a small bird that sings")
