"""The data: WordNet's glosses, their MiniLM embeddings, and the exact answers.

Everybody gets the same benchmark: one seeded order over all 117,659 glosses of WordNet 3.0, whose
first `QUERIES` are the queries (and in no index) and whose next ones are the records. Embeddings
come from a folder of prepared ones where they are there, else from the cache, else from MiniLM.

``python -m benchmarks.data --records 100000`` prepares them without measuring anything.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

Vectors = npt.NDArray[np.float32]

QUERIES = 1_000
DIMENSIONS = 384
SEED = 20_231_128
#: `record number % SHARDS`: the metadata filter ``{"shard": k}`` matches 9 % of the records.
SHARDS = 11
#: Each stands in 1 to 2 % of the glosses: what the `$contains` queries look for.
WORDS = ("water", "plant", "white", "leaves", "people", "family", "body", "flowers")

#: Texts embedded between two lines of progress.
CHUNK = 8_192

#: The folder tried when ``--data`` is not given.
DEFAULT_FOLDER = Path("../shared/data")
#: Where Debian's package ``wordnet-base`` puts its files.
DEFAULT_WORDNET = Path("/usr/share/wordnet")


@dataclass
class Dataset:
    """Records, queries, and where they come from."""

    name: str
    ids: list[str]
    documents: list[str]
    metadatas: list[dict[str, Any]]
    vectors: Vectors
    queries: Vectors

    def __len__(self) -> int:
        return len(self.ids)

    def record_bytes(self) -> int:
        """Return the size of ids, documents and metadata, in UTF-8 and JSON, without vectors."""
        texts = sum(
            len(i.encode()) + len(d.encode()) for i, d in zip(self.ids, self.documents, strict=True)
        )
        return texts + sum(len(json.dumps(m)) for m in self.metadatas)


def cache_folder() -> Path:
    """Return the folder of prepared embeddings: never inside the repository."""
    given = os.environ.get("CHROMA_NB_BENCH_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "chroma_nb" / "benchmarks"


def load(
    records: int,
    folder: Path | None = None,
    wordnet: Path | None = None,
    minilm: Path | None = None,
) -> Dataset:
    """Return `records` glosses and `QUERIES` held-out ones, embedding what is missing.

    Args:
        records: How many to index.
        folder: Holds ``*.jsonl.gz`` (id, document, metadata) with ``*-minilm-f16.npy`` beside it.
        wordnet: Folder of WordNet's ``data.noun`` and so on.
        minilm: Folder of ``model.onnx`` and ``tokenizer.json``; None: where chroma_nb finds it
            (``CHROMA_NB_MINILM_PATH``, Chroma's cache folder, else a download).

    Raises:
        FileNotFoundError: Neither enough prepared embeddings nor WordNet are there.
    """
    folder = folder or (DEFAULT_FOLDER if DEFAULT_FOLDER.is_dir() else None)
    prepared = dict(_read_folder(folder)) if folder else {}
    glosses = dict(_read_wordnet(wordnet or DEFAULT_WORDNET))
    name = "WordNet 3.0 glosses, all-MiniLM-L6-v2"
    if not glosses:
        glosses = {key: record for key, (record, _) in prepared.items()}
    if len(glosses) < records + QUERIES:
        raise FileNotFoundError(
            f"{records + QUERIES:,} glosses are needed and {len(glosses):,} are there. Install "
            "WordNet (Debian: apt-get install wordnet-base) or name its folder with --wordnet; "
            f"or ask for fewer with --records; or try --quick, which needs no data."
        )
    keys = sorted(glosses)
    order = np.random.default_rng(SEED).permutation(len(keys))[: QUERIES + records]
    chosen = [keys[i] for i in order]
    vectors = np.empty((len(chosen), DIMENSIONS), dtype=np.float32)
    known = {key: vector for key, (_, vector) in prepared.items()}
    known.update(_read_cache())
    missing = [key for key in chosen if key not in known]
    if missing:
        known.update(_embed(missing, [glosses[k]["document"] for k in missing], minilm))
    for row, key in enumerate(chosen):
        vectors[row] = known[key]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = [glosses[key] for key in chosen[QUERIES:]]
    return Dataset(
        name=name,
        ids=chosen[QUERIES:],
        documents=[r["document"] for r in kept],
        metadatas=[{**r["metadata"], "shard": i % SHARDS} for i, r in enumerate(kept)],
        vectors=np.ascontiguousarray(vectors[QUERIES:]),
        queries=np.ascontiguousarray(vectors[:QUERIES]),
    )


def synthetic(records: int, queries: int = QUERIES) -> Dataset:
    """Return made-up records in clusters, for a quick run that needs no download."""
    random = np.random.default_rng(SEED)
    centres = random.standard_normal((64, DIMENSIONS), dtype=np.float32)
    rows = centres[random.integers(0, len(centres), records + queries)]
    rows = rows + 0.7 * random.standard_normal(rows.shape, dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    words = random.integers(0, 500, (records, 10))
    documents = [
        " ".join(WORDS[w] if w < len(WORDS) else f"word{w}" for w in row) for row in words.tolist()
    ]
    return Dataset(
        name="synthetic clusters",
        ids=[f"made.{i:08d}" for i in range(records)],
        documents=documents,
        metadatas=[
            {"pos": "noun", "lexname": i % 45, "words": 10, "shard": i % SHARDS}
            for i in range(records)
        ],
        vectors=np.ascontiguousarray(rows[queries:]),
        queries=np.ascontiguousarray(rows[:queries]),
    )


def _read_folder(folder: Path) -> Iterator[tuple[str, tuple[dict[str, Any], Any]]]:
    for texts in sorted(folder.glob("*.jsonl.gz")):
        array = texts.with_name(texts.name.removesuffix(".jsonl.gz") + "-minilm-f16.npy")
        if not array.exists():
            continue
        vectors = np.load(array, mmap_mode="r")
        with gzip.open(texts, "rt", encoding="utf-8") as lines:
            for line, vector in zip(lines, vectors, strict=True):
                record = json.loads(line)
                yield record["id"], (record, vector)


def read_glosses(folder: Path | None, wordnet: Path | None) -> list[dict[str, Any]]:
    """Return the glosses of WordNet, or those of a folder of prepared ones where WordNet is not there; perhaps none.

    Args:
        folder: As for `load`.
        wordnet: As for `load`.
    """
    found = [record for _, record in _read_wordnet(wordnet or DEFAULT_WORDNET)]
    return found or [record for _, (record, _) in _read_folder(folder or DEFAULT_FOLDER)]


def _read_wordnet(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parse WordNet's data files: offset, lexicographer file, kind, words, ..., gloss."""
    for pos in ("noun", "verb", "adj", "adv"):
        path = folder / f"data.{pos}"
        if not path.exists():
            continue
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("  "):
                    continue  # the licence
                head, _, gloss = line.partition(" | ")
                fields = head.split()
                word = fields[4].replace("_", " ")
                key = f"{pos}.{fields[0]}"
                yield (
                    key,
                    {
                        "id": key,
                        "document": f"{word}: {gloss.strip()}",
                        "metadata": {
                            "pos": pos,
                            "lexname": int(fields[1]),
                            "words": int(fields[3], 16),
                        },
                    },
                )


def _cache_files() -> tuple[Path, Path]:
    folder = cache_folder()
    return folder / "wordnet-minilm-f16.npy", folder / "wordnet-minilm-ids.json"


def _read_cache() -> dict[str, Any]:
    array, names = _cache_files()
    if not (array.exists() and names.exists()):
        return {}
    keys = json.loads(names.read_text())
    return dict(zip(keys, np.load(array, mmap_mode="r"), strict=True))


def _embed(keys: list[str], texts: list[str], minilm: Path | None) -> dict[str, Any]:
    """Embed texts with chroma_nb's own MiniLM and add them to the cache."""
    print(f"Embedding {len(texts):,} glosses with MiniLM (once; then cached) ...", file=sys.stderr)
    from chroma_nb.utils.embedding_functions import ONNXMiniLM_L6_V2

    embed = ONNXMiniLM_L6_V2(model_path=minilm)
    parts = []
    for first in range(0, len(texts), CHUNK):
        parts.append(np.asarray(embed(texts[first : first + CHUNK]), dtype=np.float16))
        print(f"  {min(first + CHUNK, len(texts)):,} of {len(texts):,}", file=sys.stderr)
    vectors = np.concatenate(parts)
    merged = _read_cache()
    merged.update(zip(keys, vectors, strict=True))
    array, names = _cache_files()
    array.parent.mkdir(parents=True, exist_ok=True)
    stacked = np.stack(list(merged.values()))
    # Whole files under new names first: a run that is stopped leaves no half cache.
    fresh = array.with_suffix(".new.npy")
    np.save(fresh, stacked)
    fresh_names = names.with_suffix(".new")
    fresh_names.write_text(json.dumps(list(merged)))
    os.replace(fresh, array)
    os.replace(fresh_names, names)
    return dict(zip(keys, vectors, strict=True))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the data are."""
    parser.add_argument("--records", type=int, default=100_000, help="how many to index")
    parser.add_argument("--data", type=Path, help="folder of prepared embeddings")
    parser.add_argument("--wordnet", type=Path, help="folder of WordNet's data.noun etc.")
    parser.add_argument("--minilm", type=Path, help="folder of model.onnx and tokenizer.json")


def main() -> None:
    """Prepare the data and say what they are."""
    parser = argparse.ArgumentParser(description="Prepare the benchmark's embeddings.")
    add_arguments(parser)
    given = parser.parse_args()
    data = load(given.records, given.data, given.wordnet, given.minilm)
    print(
        f"{data.name}: {len(data):,} records, {len(data.queries):,} queries, {data.vectors.shape[1]} dimensions"
    )
    print(
        f"ids, documents and metadata: {data.record_bytes() / 1e6:.1f} MB; cache: {cache_folder()}"
    )
    for word in WORDS:
        share = sum(word in d for d in data.documents) / len(data)
        print(f"  {word!r} stands in {share:.2%} of the documents")


if __name__ == "__main__":
    main()
