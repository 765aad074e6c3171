"""Load chroma_nb's server for long, and end it in the middle: ``python -m benchmarks.soak``.

Clients add, query, get and delete in several collections under a budget that holds only some of them; half of them over HTTP,
half over Arrow Flight, unless ``--transports`` says otherwise. The server is killed (SIGKILL) and started again, several times. At the end: is every acknowledged record
there, was every answer right, was the budget kept?
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

import chroma_nb
from benchmarks.servers import Running, free_port, running, start_ours
from chroma_nb import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

TRANSPORTS = ("http", "grpc")
DIMENSION = 64
COLLECTIONS = 8
#: Records in each collection before the load.
BASE = 6_000
#: Of what the collections would hold together, what they may.
BUDGET_SHARE = 0.4


@dataclass
class Book:
    """What the clients know: what was acknowledged, what was begun and broke off."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    #: Collection -> id -> the vector's seed, of records that an add acknowledged.
    there: dict[str, dict[str, int]] = field(default_factory=dict)
    #: Ids whose last write has an unknown end: the server died over it.
    unknown: set[tuple[str, str]] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    #: Of the accounted bytes, the most that was seen, by the server's own report.
    most_used: int = 0
    most_rss: int = 0


def vector_of(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the vector that belongs to a seed."""
    return np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)


class Soak:
    """Clients, a server, and somebody who ends it.

    Args:
        folder: Where the store is.
        n_clients: Clients at a time.
        seconds: How long.
        kills: How often the server is ended.
        transports: Each client has the next one of these: "http" or "grpc".
    """

    def __init__(
        self,
        folder: Path,
        n_clients: int,
        seconds: float,
        kills: int,
        transports: Sequence[str] = TRANSPORTS,
    ) -> None:
        self.transports = transports
        self.folder = folder
        self.n_clients = n_clients
        self.seconds = seconds
        self.kills = kills
        self.book = Book()
        self.budget = 0
        self.port = 0
        self.flight_port = free_port() if "grpc" in transports else 0
        self.stopped = threading.Event()
        self.server: Running | None = None

    def start(self) -> Running:
        """Start the server, on the same port each time."""
        arguments = ["--path", str(self.folder / "store"), "--log-level", "error"]
        if self.flight_port:
            arguments += ["--flight-port", str(self.flight_port)]
        if self.budget:
            arguments += ["--memory", str(self.budget)]
        server = start_ours(self.folder, *arguments, port=self.port)
        self.port = server.port
        return server

    def connect(self, number: int = 0) -> Any:
        """Return a client of its own connections, over the transport of the client of this number."""
        scheme = self.transports[number % len(self.transports)]
        port = self.flight_port if scheme == "grpc" else self.port
        settings = chroma_nb.Settings(retries=0, timeout_seconds=60.0 + random.random())
        return chroma_nb.connect(f"{scheme}://127.0.0.1:{port}", settings=settings)

    def fill(self) -> None:
        """Make the collections, and find out what they would take."""
        with self.connect() as client:
            for number in range(COLLECTIONS):
                name = f"soak-{number}"
                seeds = range(number * BASE, (number + 1) * BASE)
                docs = client.create_collection(name, embedding_function=None)
                docs.add(
                    ids=[f"base-{seed}" for seed in seeds],
                    embeddings=np.stack([vector_of(seed) for seed in seeds]),
                    documents=[f"record {seed}" for seed in seeds],
                    metadatas=[{"seed": seed} for seed in seeds],
                )
                docs.build_index()
                self.book.there[name] = {f"base-{seed}": seed for seed in seeds}
            total = sum(client.memory.load(f"soak-{number}") for number in range(COLLECTIONS))
        self.budget = int(total * BUDGET_SHARE)

    def work(self, number: int) -> None:
        """Be one client, until the end."""
        chance = random.Random(number)
        made = 0
        client = None
        while not self.stopped.is_set():
            name = f"soak-{chance.randrange(COLLECTIONS)}"
            kind = chance.choices(("query", "get", "add", "delete", "unload"), (60, 15, 18, 5, 2))[
                0
            ]
            ids: list[str] = []
            try:
                if client is None:
                    client = self.connect(number)
                docs = client.get_collection(name, embedding_function=None)
                if kind == "add":
                    seeds = [
                        10**7 * (number + 1) + made + i for i in range(chance.randrange(1, 30))
                    ]
                    made += len(seeds)
                    ids = [f"c{number}-{seed}" for seed in seeds]
                    docs.add(
                        ids=ids,
                        embeddings=np.stack([vector_of(seed) for seed in seeds]),
                        documents=[f"record {seed}" for seed in seeds],
                        metadatas=[{"seed": seed} for seed in seeds],
                    )
                    with self.book.lock:
                        self.book.there[name].update(zip(ids, seeds, strict=True))
                elif kind == "delete":
                    with self.book.lock:
                        mine = [
                            one for one in self.book.there[name] if one.startswith(f"c{number}-")
                        ]
                        ids = mine[:3]
                        for one in ids:
                            del self.book.there[name][one]
                    if ids:
                        docs.delete(ids=ids)
                elif kind == "unload":
                    docs.unload()
                else:
                    self.read(docs, name, kind, chance, f"c{number}-")
                self.book.done[kind] += 1
            except (errors.ServerUnavailableError, errors.RateLimitError):
                with self.book.lock:
                    self.book.unknown.update((name, one) for one in ids)
                self.book.done["broken"] += 1
                if client is not None:
                    with contextlib.suppress(Exception):
                        client.close()
                client = None
                time.sleep(0.1)
            except Exception as error:
                self.book.wrong.append(f"{kind}: {type(error).__name__}: {error}"[:300])
        if client is not None:
            client.close()

    def read(self, docs: Any, name: str, kind: str, chance: random.Random, own: str) -> None:
        """Ask for a record that nobody else deletes, and look at the answer."""
        with self.book.lock:
            known = [one for one in self.book.there[name] if one.startswith((own, "base-"))]
            wanted = known[chance.randrange(len(known))]
            seed = self.book.there[name][wanted]
        if kind == "query":
            # Among some records the answer is exact; among all of them a graph may miss one in a hundred.
            among = None if chance.random() < 0.5 else [wanted, *chance.sample(known, 50)]
            among = among and list(dict.fromkeys(among))
            found = docs.query(query_embeddings=[vector_of(seed)], n_results=3, ids=among)
            right = found["ids"][0][0] == wanted and found["distances"][0][0] < 1e-3
            right = right and found["metadatas"][0][0] == {"seed": seed}
            if among is None:
                self.book.done["graph hits" if right else "graph misses"] += 1
                right = True
        else:
            found = docs.get(ids=[wanted])
            right = found["documents"] == [f"record {seed}"]
        if not right:
            self.book.wrong.append(f"{kind} of {wanted} in {name}: {str(found)[:200]}")

    def watch(self) -> None:
        """Look at the server's memory, until the end."""
        while not self.stopped.wait(0.5):
            server = self.server
            with contextlib.suppress(Exception):
                assert server is not None
                rss = psutil.Process(server.process.pid).memory_info().rss
                self.book.most_rss = max(self.book.most_rss, rss)
                with self.connect() as client:
                    self.book.most_used = max(self.book.most_used, client.memory.report().used)

    def run(self) -> dict[str, Any]:
        """Do all of it and return what was found."""
        with contextlib.ExitStack() as stack:
            self.server = stack.enter_context(running(self.start()))
            self.fill()
            self.server.stop()
            self.server = stack.enter_context(running(self.start()))
            threads = [
                threading.Thread(target=self.work, args=(number,))
                for number in range(self.n_clients)
            ]
            threads.append(threading.Thread(target=self.watch))
            for thread in threads:
                thread.start()
            for _ in range(self.kills):
                time.sleep(self.seconds / (self.kills + 1))
                self.server.kill()
                self.server = stack.enter_context(running(self.start()))
            time.sleep(self.seconds / (self.kills + 1))
            self.stopped.set()
            for thread in threads:
                thread.join()
            lost, odd = self.compare()
            events = self.events()
            status = self.server.stop()
        return {
            "clients": self.n_clients,
            "seconds": self.seconds,
            "kills": self.kills,
            "done": dict(self.book.done),
            "records": sum(map(len, self.book.there.values())),
            "lost": lost[:20],
            "neither there nor gone": odd[:20],
            "wrong": self.book.wrong[:20],
            "budget_bytes": self.budget,
            "most_used_bytes": self.book.most_used,
            "most_rss_bytes": self.book.most_rss,
            "unloads_since_the_last_start": events,
            "exit_status": status,
        }

    def compare(self) -> tuple[list[str], list[str]]:
        """Return what is missing of what was acknowledged, and what nobody wrote."""
        lost, odd = [], []
        with self.connect() as client:
            for name, known in self.book.there.items():
                found = client[name].get(include=["metadatas", "embeddings"])
                seeds = {
                    one: metadata["seed"]
                    for one, metadata in zip(found["ids"], found["metadatas"], strict=True)
                }
                unknown = {one for place, one in self.book.unknown if place == name}
                lost += [one for one in known if one not in seeds and one not in unknown]
                odd += [one for one in seeds if one not in known and one not in unknown]
                for one, vector in zip(found["ids"], found["embeddings"], strict=True):
                    if not np.array_equal(vector_of(seeds[one]), vector.astype(np.float32)):
                        odd.append(f"the vector of {one}")
        return lost, odd

    def events(self) -> int:
        """Return how often collections were unloaded since the last start."""
        with self.connect() as client:
            return sum(one.unloads for one in client.memory.report().collections)


def broken(found: dict[str, Any]) -> list[str]:
    """Return what should not have happened."""
    problems = [name for name in ("lost", "neither there nor gone", "wrong") if found[name]]
    done = found["done"]
    if done.get("graph misses", 0) > 0.02 * done.get("graph hits", 0):
        problems.append("the graphs' recall")
    if found["most_used_bytes"] > found["budget_bytes"]:
        problems.append("the budget was passed")
    if not found["unloads_since_the_last_start"]:
        problems.append("nothing was ever unloaded: the budget was too large")
    if found["exit_status"]:
        problems.append(f"the server ended with {found['exit_status']}")
    return problems


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=TRANSPORTS)
    options = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        found = Soak(
            Path(folder), options.clients, options.seconds, options.kills, options.transports
        ).run()
    print(json.dumps(found, indent=1))
    problems = broken(found)
    if problems:
        sys.exit(f"Broken: {', '.join(problems)}")


if __name__ == "__main__":
    main()
