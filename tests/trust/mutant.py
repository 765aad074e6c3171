"""A child process for `test_every_byte`: makes the store, and opens damaged copies of it.

``mutant.py make FOLDER`` makes the store in FOLDER/store and its truth in FOLDER/truth.json, and ends as if
killed, so that a log is left. ``mutant.py try FOLDER`` reads one mutation a line, as JSON, from the standard
input, and answers each with a line (`Said`).
"""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

import chroma_nb
from chroma_nb.db.vector_file import HEADER_BYTES
from chroma_nb.errors import ChromaError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

DIMENSION = 256
#: Six full blocks of 64 rows, and a tail. The graph does not cover the last rows, and is so much cheaper than a scan
#: that queries use it.
N, N_LINKED = 400, 340
#: Ends of the names of files that are made again: nothing is lost when they are damaged.
MADE_AGAIN = ("lock", "commits", ".graph", ".graph.json", ".segment")


class Said(TypedDict):
    """What became of one damaged copy."""

    #: What should not have happened, a sentence each.
    wrong: list[str]
    #: The questions that raised an error of ours.
    refused: list[str]
    #: How many questions were asked, and how many answers were right.
    asked: int
    right: int
    #: What `check()` says; False where it raised.
    whole: bool


def settings() -> chroma_nb.Settings:
    return chroma_nb.Settings(
        # A graph: so few records have no use for codes.
        index_engine="usearch",
        graph_min_records=30,
        threads=1,
        progress=False,
        memory_budget="1 GB",
        fsync=False,
    )


@functools.cache
def vectors(seed: int, n: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)


def make(folder: str) -> None:
    path = os.path.join(folder, "store")
    with chroma_nb.PersistentClient(path, settings()) as client:
        large = client.create_collection(
            "large",
            embedding_function=None,
            configuration={"hnsw": {"ef_search": 12, "max_neighbors": 32}},
        )
        for start, stop in ((0, N_LINKED), (N_LINKED, N)):
            large.add(
                ids=[f"large-{i}" for i in range(start, stop)],
                embeddings=vectors(start, stop - start, DIMENSION),
                documents=[f"document {i}" for i in range(start, stop)],
                metadatas=[{"n": i, "even": i % 2 == 0} for i in range(start, stop)],
            )
            if start == 0:
                large.build_index()
        large.delete(ids=["large-7"])
        facts = client.create_collection("facts", embedding_function=None)
        facts.add(ids=["a", "b"], embeddings=vectors(1, 2, 6), metadatas=[{"n": -1}, {"n": -1}])
        small = client.create_collection("small", embedding_function=None)
        small.add(ids=["a", "b"], embeddings=vectors(1, 2, 6), uris=["file:a", "file:b"])
    client = chroma_nb.PersistentClient(path, settings())
    large = collection(client, "large")
    plan = large.explain(query_embeddings=vectors(0, 1, DIMENSION)[0], n_results=1)
    assert plan["strategy"] == "graph", plan
    assert 0 < plan["n_indexed"] < large.count()
    small = client.get_collection("small", embedding_function=None)
    for i in range(4):
        small.add(ids=[f"late-{i}"], embeddings=vectors(2 + i, 1, 6), documents=[f"late {i}"])
    # The snapshot of `facts` is of an older version, and fits in everything else: only its version says so.
    for i in range(4):
        client.get_collection("facts", embedding_function=None).update(
            ids=["a"], metadatas=[{"n": i}]
        )
    small.update(ids=["a"], embeddings=vectors(9, 1, 6), documents=["changed"])
    small.delete(ids=["b"])
    with open(os.path.join(folder, "truth.json"), "w") as file:
        json.dump({name: read(client, name) for name in ("large", "small", "facts")}, file)
    # Like a kill: nothing is closed, and the last commits are in the log.
    os._exit(0)


def read(client: Any, name: str, asked: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the answers of a collection to all questions; of an error of ours its text."""
    found: dict[str, Any] = {}
    for what in asked or ASKED:
        try:
            found[what] = ASKED[what](client, name)
        except ChromaError as error:
            found[what] = {"refused": str(error)}
    return found


def collection(client: Any, name: str) -> Any:
    return client.get_collection(name, embedding_function=None)


def records(client: Any, name: str) -> Any:
    found = collection(client, name).get(include=["documents", "metadatas", "uris"])
    return [found["ids"], found["documents"], found["metadatas"], found["uris"]]


def embeddings(client: Any, name: str) -> Any:
    found = collection(client, name).get(include=["embeddings"])
    return [found["ids"], np.asarray(found["embeddings"], dtype=np.float32).tobytes().hex()]


def some_embeddings(client: Any, name: str) -> Any:
    found = collection(client, name).get(limit=2, include=["embeddings"])
    return np.asarray(found["embeddings"], dtype=np.float32).tobytes().hex()


def query(client: Any, name: str, **arguments: Any) -> Any:
    asked, n_results = vectors(77, 2, 6), 5
    if name == "large":
        # Each vector is its own nearest neighbour, whether the graph or a scan finds it.
        rows = (vectors(0, N_LINKED, DIMENSION), vectors(N_LINKED, N - N_LINKED, DIMENSION))
        asked, n_results = np.concatenate(rows)[::5], 1
    found = collection(client, name).query(query_embeddings=asked, n_results=n_results, **arguments)
    return [found["ids"], found["distances"], found["documents"], found["metadatas"]]


def filtered(client: Any, name: str) -> Any:
    return query(client, name, where={"n": {"$lt": 20}})


def sql(client: Any, name: str) -> Any:
    frame = client.sql(f'SELECT id, document, embedding FROM "{name}" ORDER BY id')
    values = [np.asarray(one, dtype=np.float32).tobytes().hex() for one in frame["embedding"]]
    return [
        frame["id"].tolist(),
        [None if d is None else str(d) for d in frame["document"]],
        values,
    ]


ASKED = {
    "names": lambda client, _: [one.name for one in client.list_collections()],
    "count": lambda client, name: collection(client, name).count(),
    "records": records,
    "query": query,
    "filtered": filtered,
    "some embeddings": some_embeddings,
    "embeddings": embeddings,
    "sql": sql,
}


def mutate(path: str, how: str, at: int, n: int) -> None:
    if how == "leave":
        return
    if how == "remove":
        os.unlink(path)
        return
    with open(path, "r+b") as file:
        if how == "cut":
            file.truncate(at)
        elif how == "longer":
            file.seek(0, os.SEEK_END)
            file.write(bytes([n]) * at)
        else:
            file.seek(at)
            old = file.read(n if how == "zero" else 1)
            file.seek(at)
            file.write(bytes(len(old)) if how == "zero" else bytes([old[0] ^ n]))


def nothing_said() -> Said:
    return {"wrong": [], "refused": [], "asked": 0, "right": 0, "whole": False}


def tried(folder: str, truth: dict[str, Any], mutation: list[Any]) -> Said:
    """Damage a copy of the store and ask it all questions."""
    path = os.path.join(folder, "copy")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(os.path.join(folder, "store"), path)
    file, how, at, n = mutation
    mutate(os.path.join(path, file), how, at, n)
    said = nothing_said()
    # SQL starts a thread, which takes long. It is left out for files of which it reads no more than the others.
    questions = [one for one in ASKED if one != "sql" or file.endswith(".f32") or how == "leave"]
    said["asked"] = len(questions) * len(truth)
    try:
        client = opened(path, file)
    except ChromaError as error:
        said["refused"].append(f"opening ({str(error)[:200]})")
        if not str(error).strip():
            said["wrong"].append("an error without words")
    else:
        with client:
            ask(client, truth, questions, said)
            try:
                said["whole"] = client.check().is_whole
            except ChromaError:
                said["whole"] = False
    wrong = said["wrong"]
    if said["refused"] and said["whole"]:
        wrong.append("something was refused, and check() finds everything whole")
    # A question that does not need the damaged file must not be refused.
    in_header = how == "flip" and at < HEADER_BYTES
    needs_no_vector = ("opening", "names of", "count of", "records of")
    for one in said["refused"]:
        if file.endswith(MADE_AGAIN) or (
            file.endswith(".f32") and (in_header or one.startswith(needs_no_vector))
        ):
            wrong.append(f"refused: {one}")
    return said


def opened(path: str, file: str) -> Any:
    """Open a damaged store as its owner would: by doing what the error says."""
    try:
        return chroma_nb.PersistentClient(path, settings())
    except InvalidArgumentError as error:
        where = os.path.join(path, file)
        if file not in ("lock", "commits") or f"{where}' is a file that holds" not in str(error):
            raise
        # It looks like a file of another program, which a store must not overwrite.
        os.unlink(where)
        return chroma_nb.PersistentClient(path, settings())


def ask(client: Any, truth: dict[str, Any], questions: list[str], said: Said) -> None:
    """Ask all questions, and note which answers are right, wrong or refused."""
    for name, known in truth.items():
        for what, answer in read(client, name, questions).items():
            if isinstance(answer, dict):
                said["refused"].append(f"{what} of {name} ({answer['refused'][:200]})")
                if not answer["refused"].strip():
                    said["wrong"].append(f"{what} of {name} was refused without a word")
            elif json.loads(json.dumps(answer)) == known[what]:
                said["right"] += 1
            else:
                said["wrong"].append(f"{what} of {name} is wrong")


def main(what: str, folder: str) -> None:
    logging.getLogger("chroma_nb").setLevel(logging.CRITICAL)
    if what == "make":
        make(folder)
    with open(os.path.join(folder, "truth.json")) as file:
        truth = json.load(file)
    for line in sys.stdin:
        try:
            said = tried(folder, truth, json.loads(line))
        except BaseException as error:
            said = nothing_said()
            said["wrong"].append(f"raised {type(error).__name__}: {str(error)[:300]}")
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
