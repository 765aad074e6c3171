"""Quiet and quick: importing costs nothing, and what is heavy is imported when it is used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HEAVY = (
    "duckdb",
    "numpy",
    "pandas",
    "pyarrow",
    "onnxruntime",
    "tokenizers",
    "tqdm",
    "requests",
    "ipywidgets",
    "turbovec",
    "usearch",
    "hnswlib",
    "psutil",
    "chromadb",
    "matplotlib",
    "pytest",
    "hypothesis",
    "Stemmer",
    "snowballstemmer",
    "celery",
    "kombu",
    "redis",
)


def run(script: str) -> str:
    # Without bytecode, all modules would be compiled each time.
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env=kept
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_importing_loads_nothing_heavy_and_prints_nothing() -> None:
    script = (
        "import sys, chroma_nb\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not found, found\n"
        "dir(chroma_nb), chroma_nb.Settings, chroma_nb.errors.ChromaError\n"
    )
    assert run(script) == ""


def test_importing_loads_no_part_of_the_package_and_expressions_nothing_heavy() -> None:
    script = (
        "import sys, chroma_nb\n"
        "own = {name for name in sys.modules if name.startswith('chroma_nb')}\n"
        "few = {'chroma_nb', 'chroma_nb._version', 'chroma_nb.importing', 'chroma_nb.lazy'}\n"
        "assert own <= few, own - few\n"
        "from chroma_nb import K, Knn, Rrf, Schema, Search\n"
        "Search(rank=Rrf([Knn('x')]), where=K('a') == 1), Schema()\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules and name != 'numpy']\n"
        "assert not found, found\n"
    )
    assert run(script) == ""


def test_asking_a_server_loads_nothing_but_requests() -> None:
    """As in a browser, where numpy has to be fetched first."""
    script = (
        "import sys, chroma_nb\n"
        "from chroma_nb.api._http import ServerConnection\n"
        "connection = ServerConnection(chroma_nb.Settings(url='http://127.0.0.1:9', retries=0))\n"
        "try:\n"
        "    connection.request('POST', ('api', 'v2', 'tenants'), {'name': 'a'})\n"
        "except chroma_nb.errors.ServerUnavailableError:\n"
        "    pass\n"
        f"found = [name for name in {HEAVY!r} if name in sys.modules and name != 'requests']\n"
        "assert not found, found\n"
    )
    assert run(script) == ""


def test_working_with_embeddings_loads_no_embedder_and_no_table() -> None:
    script = (
        "import sys, chroma_nb, os\n"
        "client = chroma_nb.Client()\n"
        "notes = client.create_collection('notes')\n"
        "notes.add(ids=['a'], embeddings=[[1.0, 2.0]], metadatas=[{'n': 1}])\n"
        "notes.query(query_embeddings=[[1.0, 2.0]], where={'n': 1})\n"
        "import duckdb\n"
        # Before 2.0 DuckDB itself imports pandas when it is given parameters.
        "own = ('pandas',) if int(duckdb.__version__.split('.')[0]) >= 2 else ()\n"
        "for name in ('onnxruntime', 'tokenizers', 'tqdm', 'requests', 'ipywidgets', *own):\n"
        "    assert name not in sys.modules, name\n"
        "client.close()\n"
    )
    assert run(script) == ""


def test_importing_takes_little_longer_than_numpy() -> None:
    script = (
        "import time; started = time.process_time(); import {0}\n"
        "print(time.process_time() - started)"
    )
    # CPU time, one after the other, and the best of each: how busy the machine is should not count.
    ours, numpys = zip(
        *(
            (
                float(run(script.format("chroma_nb; chroma_nb.Client"))),
                float(run(script.format("numpy"))),
            )
            for _ in range(7)
        ),
        strict=True,
    )
    assert min(ours) < 3 * min(numpys)


def test_help_and_names() -> None:
    import chroma_nb

    for name in chroma_nb.__all__:
        assert getattr(chroma_nb, name) is not None
    assert set(chroma_nb.__all__) <= set(dir(chroma_nb))
    for owner in (chroma_nb.ClientAPI, chroma_nb.AdminClientAPI, chroma_nb.Collection):
        for name, member in vars(owner).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert member.__doc__, f"{owner.__name__}.{name}"
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        chroma_nb.Clinet  # noqa: B018
