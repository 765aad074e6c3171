"""How well words, meaning and both find what was asked for: ``python -m benchmarks.retrieval``.

Two questions about WordNet's entries, each with one right answer among all of them:

* *sense*: an example sentence of an entry is asked; records are "word: definition". Sentence and record share a word.
* *word*: an entry's definition is asked, without the words that it has in common with the answer; records are "word: examples".

It needs texts: WordNet's glosses (Debian: ``apt-get install wordnet-base``, or ``--wordnet FOLDER``), or a folder of
prepared ones (``--data``).
"""

from __future__ import annotations

import argparse
import math
import random
import re
from typing import TYPE_CHECKING, Any

import chroma_nb
from benchmarks import data
from benchmarks.saying import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

QUERIES, TOP = 1_000, 10
PIECE = 5_000
#: "word, word: definition; "example"; "example""
_ENTRY = re.compile(r"^(?P<words>[^:]+): (?P<definition>.+?)(?P<examples>(?:; \"[^\"]+\")*)$", re.S)
_EXAMPLE = re.compile(r"\"([^\"]+)\"")


def entries(given: argparse.Namespace) -> list[tuple[str, str, list[str]]]:
    """Return the words, the definition and the examples of each entry that has examples, in a seeded order."""
    found = []
    for record in data.read_glosses(given.data, given.wordnet):
        entry = _ENTRY.match(record["document"])
        if entry and entry["examples"]:
            found.append((entry["words"], entry["definition"], _EXAMPLE.findall(entry["examples"])))
    if len(found) < 2 * QUERIES:
        raise SystemExit(
            "No glosses are there. apt-get install wordnet-base, or --wordnet FOLDER with data.noun etc., or --data FOLDER of "
            "prepared texts."
        )
    random.Random(7).shuffle(found)
    return found[: given.records]


def questions(
    found: Sequence[tuple[str, str, list[str]]],
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Return each question's name, its records, and its queries, which ask for the first records."""
    asked = found[:QUERIES]
    yield (
        "sense",
        [f"{words}: {definition}" for words, definition, _ in found],
        [examples[0] for _, _, examples in asked],
    )
    queries = []
    for words, definition, _ in asked:
        own = {one.lower() for one in re.findall(r"\w+", words)}
        queries.append(
            " ".join(one for one in definition.split() if one.lower().strip(".,;()") not in own)
        )
    yield "word", [f"{words}: {'; '.join(examples)}" for words, _, examples in found], queries


def ndcg(positions: Sequence[int | None]) -> float:
    """Return nDCG@10 where each query has one right answer, found at this place from 0 (None: not among the ten).

    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002: a gain of 1, discounted by log2(place + 2).
    """
    return sum(1 / math.log2(place + 2) for place in positions if place is not None) / len(
        positions
    )


def measured(collection: Any, queries: Sequence[str], by: str) -> float:
    """Return nDCG@10 of queries that ask for the records "0", "1", ..."""
    places: list[int | None] = []
    for start in range(0, len(queries), 50):
        ids = collection.search(list(queries[start : start + 50]), by=by, n_results=TOP)["ids"]
        for row, one in enumerate(ids):
            right = str(start + row)
            places.append(one.index(right) if right in one else None)
    return ndcg(places)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    data.add_arguments(parser)
    parser.add_argument("--embedding", default="static", help="static or minilm")
    parser.set_defaults(records=20_000)
    options = parser.parse_args(given)
    found = entries(options)
    lines = [
        "| question | records | words | meaning | both |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    with chroma_nb.EphemeralClient(
        chroma_nb.Settings(embedding=options.embedding, progress=False)
    ) as client:
        for name, records, queries in questions(found):
            say(f"{name}: {len(records):,} records")
            collection = client.create_collection(name)
            for start in range(0, len(records), PIECE):
                some = records[start : start + PIECE]
                collection.add(ids=[str(start + row) for row in range(len(some))], documents=some)
            scores = [measured(collection, queries, by) for by in ("words", "meaning", "both")]
            lines.append(
                f"| {name} | {len(records):,} | "
                + " | ".join(f"{one:.3f}" for one in scores)
                + " |"
            )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
