"""Load chroma_nb's server for long, and end it in the middle: ``python -m benchmarks.soak``.

Clients add, query, get and delete in several collections under a budget that holds only some of them; half of them over HTTP,
half over Arrow Flight, unless ``--transports`` says otherwise. The server is killed (SIGKILL) and started again, several times. At the end: is every acknowledged record
there, was every answer right, was the budget kept?

With ``--clickhouse`` there are two servers over one ClickHouse, each client asks now the one and now the other, and both and
the engine are killed in turn. ``--clickhouse-url`` names a real server of ClickHouse, with a database of its own, which is not
killed.
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
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

import chroma_nb
from benchmarks.servers import Running, free_port, running, start_clickhouse, start_ours
from chroma_nb import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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


class Server:
    """One of our servers, always at the same ports."""

    def __init__(self, folder: Path, transports: Sequence[str], clickhouse_url: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._environment = {"CHROMA_NB_TEMP_PATH": str(folder)}
        if clickhouse_url:
            self._environment["CHROMA_NB_DB"] = "clickhouse"
            self._environment["CHROMA_NB_CLICKHOUSE_URL"] = clickhouse_url
        self.budget = 0
        self._port = 0
        self._flight_port = free_port() if "grpc" in transports else 0
        self.running: Running | None = None

    def start(self, held: contextlib.ExitStack) -> None:
        """Start it, and have it ended with the others."""
        arguments = ["--path", str(self._folder / "store"), "--log-level", "error"]
        if self._flight_port:
            arguments += ["--flight-port", str(self._flight_port)]
        if self.budget:
            arguments += ["--memory", str(self.budget)]
        server = start_ours(self._folder, *arguments, port=self._port, **self._environment)
        self._port = server.port
        self.running = held.enter_context(running(server))

    def kill(self) -> None:
        assert self.running is not None
        self.running.kill()

    def stop(self) -> int:
        assert self.running is not None
        return self.running.stop()

    def connect(self, scheme: str) -> Any:
        """Return a client of its own connections."""
        port = self._flight_port if scheme == "grpc" else self._port
        settings = chroma_nb.Settings(retries=0, timeout_seconds=60.0 + random.random())
        return chroma_nb.connect(f"{scheme}://127.0.0.1:{port}", settings=settings)


class Soak:
    """Clients, servers, and somebody who ends them.

    Args:
        folder: Where the store is.
        n_clients: Clients at a time.
        seconds: How long.
        kills: How often a server, or the engine, is ended.
        transports: Each client has the next one of these: "http" or "grpc".
        n_servers: More than one need ClickHouse.
        clickhouse_url: ClickHouse is there. With several servers and no address, an engine is started.
    """

    def __init__(
        self,
        folder: Path,
        n_clients: int,
        seconds: float,
        kills: int,
        transports: Sequence[str] = TRANSPORTS,
        *,
        n_servers: int = 1,
        clickhouse_url: str = "",
    ) -> None:
        self.transports = transports
        self.folder = folder
        self.n_clients = n_clients
        self.seconds = seconds
        self.kills = kills
        self.book = Book()
        self.stopped = threading.Event()
        self.held = contextlib.ExitStack()
        self.engine: Running | None = None
        if n_servers > 1 and not clickhouse_url:
            self.engine = self.held.enter_context(running(start_clickhouse(folder)))
            clickhouse_url = f"{self.engine.url}/default"
        self.servers = [
            Server(folder / f"server{number}", transports, clickhouse_url)
            for number in range(n_servers)
        ]

    def kill_engine(self) -> None:
        """End ClickHouse and start it again."""
        assert self.engine is not None
        self.engine.kill()
        again = start_clickhouse(self.folder, self.engine.port)
        self.engine = self.held.enter_context(running(again))

    def kill_server(self, server: Server) -> None:
        server.kill()
        server.start(self.held)

    def connect(self) -> Any:
        return self.servers[0].connect(self.transports[0])

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
        for server in self.servers:
            server.budget = int(total * BUDGET_SHARE)

    def work(self, number: int) -> None:
        """Be one client, until the end."""
        chance = random.Random(number)
        made = 0
        #: By server.
        clients: dict[Server, Any] = {}
        while not self.stopped.is_set():
            name = f"soak-{chance.randrange(COLLECTIONS)}"
            kind = chance.choices(("query", "get", "add", "delete", "unload"), (60, 15, 18, 5, 2))[
                0
            ]
            ids: list[str] = []
            server = chance.choice(self.servers)
            try:
                if server not in clients:
                    scheme = self.transports[number % len(self.transports)]
                    clients[server] = server.connect(scheme)
                docs = clients[server].get_collection(name, embedding_function=None)
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
                with contextlib.suppress(Exception):
                    clients.pop(server).close()
                time.sleep(0.1)
            except Exception as error:
                self.book.wrong.append(f"{kind}: {type(error).__name__}: {error}"[:300])
        for client in clients.values():
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
            for server in self.servers:
                with contextlib.suppress(Exception):
                    assert server.running is not None
                    rss = psutil.Process(server.running.process.pid).memory_info().rss
                    self.book.most_rss = max(self.book.most_rss, rss)
                    with server.connect(self.transports[0]) as client:
                        used = client.memory.report().used
                    self.book.most_used = max(self.book.most_used, used)

    def run(self) -> dict[str, Any]:
        """Do all of it and return what was found."""
        with self.held:
            self.servers[0].start(self.held)
            self.fill()
            self.servers[0].stop()
            for server in self.servers:
                server.start(self.held)
            threads = [
                threading.Thread(target=self.work, args=(number,))
                for number in range(self.n_clients)
            ]
            threads.append(threading.Thread(target=self.watch))
            for thread in threads:
                thread.start()
            ends: list[Callable[[], None]] = [
                partial(self.kill_server, server) for server in self.servers
            ]
            if self.engine is not None:
                ends.append(self.kill_engine)
            for _, end in zip(range(self.kills), cycle(ends), strict=False):
                time.sleep(self.seconds / (self.kills + 1))
                end()
            time.sleep(self.seconds / (self.kills + 1))
            self.stopped.set()
            for thread in threads:
                thread.join()
            lost, odd = self.compare()
            events = self.events()
            statuses = [server.stop() for server in self.servers]
        return {
            "clients": self.n_clients,
            "servers": len(self.servers),
            "seconds": self.seconds,
            "kills": self.kills,
            "done": dict(self.book.done),
            "records": sum(map(len, self.book.there.values())),
            "lost": lost[:20],
            "neither there nor gone": odd[:20],
            "wrong": self.book.wrong[:20],
            "budget_bytes": self.servers[0].budget,
            "most_used_bytes": self.book.most_used,
            "most_rss_bytes": self.book.most_rss,
            "unloads_since_the_last_start": events,
            "exit_statuses": statuses,
        }

    def compare(self) -> tuple[list[str], list[str]]:
        """Return what is missing of what was acknowledged, and what nobody wrote."""
        lost, odd = [], []
        for server in self.servers:
            with server.connect(self.transports[0]) as client:
                for name, known in self.book.there.items():
                    found = client[name].get(include=["metadatas", "embeddings"])
                    seeds = {
                        one: metadata["seed"]
                        for one, metadata in zip(found["ids"], found["metadatas"], strict=True)
                    }
                    if len(seeds) != len(found["ids"]):
                        odd.append(f"records of {name} are there twice")
                    unknown = {one for place, one in self.book.unknown if place == name}
                    lost += [one for one in known if one not in seeds and one not in unknown]
                    odd += [one for one in seeds if one not in known and one not in unknown]
                    for one, vector in zip(found["ids"], found["embeddings"], strict=True):
                        if not np.array_equal(vector_of(seeds[one]), vector.astype(np.float32)):
                            odd.append(f"the vector of {one}")
        return lost, odd

    def events(self) -> int:
        """Return how often collections were unloaded since the last starts."""
        n_unloads = 0
        for server in self.servers:
            with server.connect(self.transports[0]) as client:
                n_unloads += sum(one.unloads for one in client.memory.report().collections)
        return n_unloads


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
    if any(found["exit_statuses"]):
        problems.append(f"the servers ended with {found['exit_statuses']}")
    return problems


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--transports", nargs="+", choices=TRANSPORTS, default=TRANSPORTS)
    parser.add_argument("--clickhouse", action="store_true")
    parser.add_argument("--clickhouse-url", default="")
    options = parser.parse_args(given)
    n_servers = 2 if options.clickhouse or options.clickhouse_url else 1
    with tempfile.TemporaryDirectory() as folder:
        found = Soak(
            Path(folder),
            options.clients,
            options.seconds,
            options.kills,
            options.transports,
            n_servers=n_servers,
            clickhouse_url=options.clickhouse_url,
        ).run()
    print(json.dumps(found, indent=1))
    problems = broken(found)
    if problems:
        sys.exit(f"Broken: {', '.join(problems)}")


if __name__ == "__main__":
    main()
