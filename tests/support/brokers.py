"""Real brokers and workers for tests: RabbitMQ and Redis on loopback, ended by their ids."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPO = Path(__file__).parents[2]
HAS_CELERY = all(importlib.util.find_spec(name) for name in ("celery", "redis"))
NO_CELERY = 'needs celery and redis: pip install "chroma-nb[celery]"'
#: Kind -> what starts it. Debian's packages are redis-server and rabbitmq-server.
PROGRAMS = {"redis": "redis-server", "rabbitmq": "rabbitmq-server"}
#: How long a broker or a worker may take to be there: the machine may be busy.
_PATIENCE_SECONDS = 90.0


def missing(kind: str) -> str:
    """Say why tests with this broker cannot run; "" where they can."""
    if not HAS_CELERY:
        return NO_CELERY
    if shutil.which(PROGRAMS[kind]) is None:
        return f"needs {PROGRAMS[kind]}: apt-get install {PROGRAMS[kind]}"
    return ""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(what: Callable[[], Any], doing: str, seconds: float = _PATIENCE_SECONDS) -> Any:
    """Return what a function returns once that is true; `doing` is in the error where it never is."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{doing} has taken more than {seconds:.0f} s")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process, and then all that it has started: it is not to say that these are gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        for one in [found, *found.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.wait(timeout=30)


@dataclass
class Broker:
    """A broker of a test. It can be stopped and started again, with what it has kept or without."""

    kind: str
    folder: Path
    #: Serve with TLS: the folder has ca.pem, server.pem and server.key.
    tls: bool = False
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[Any] | None = None
    _daemon_port: int = field(default_factory=free_port)
    _node_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        safe = "s" if self.tls else ""
        if self.kind == "redis":
            return f"redis{safe}://127.0.0.1:{self.port}/0"
        return f"amqp{safe}://guest:guest@127.0.0.1:{self.port}//"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        (self._start_redis if self.kind == "redis" else self._start_rabbitmq)()
        wait_for(self.answers, f"starting {self.kind}")

    def _start_redis(self) -> None:
        listen = ["--port", str(self.port)]
        if self.tls:
            listen = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            for option, name in (("ca-cert", "ca.pem"), ("cert", "server.pem")):
                listen += [f"--tls-{option}-file", str(self.folder / name)]
            listen += ["--tls-key-file", str(self.folder / "server.key")]
        self._run(["redis-server", *listen, "--bind", "127.0.0.1", "--save", ""], dict(os.environ))

    def _run(self, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{self.kind}.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def _start_rabbitmq(self) -> None:
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": loopback,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._daemon_port),
        }
        if self.tls:
            (self.folder / "rabbitmq.conf").write_text(
                "listeners.tcp = none\n"
                f"listeners.ssl.default = 127.0.0.1:{self.port}\n"
                f"ssl_options.cacertfile = {self.folder / 'ca.pem'}\n"
                f"ssl_options.certfile = {self.folder / 'server.pem'}\n"
                f"ssl_options.keyfile = {self.folder / 'server.key'}\n"
                "ssl_options.verify = verify_none\n"
            )
            del environment["RABBITMQ_NODE_PORT"], environment["RABBITMQ_NODE_IP_ADDRESS"]
        program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        # Debian's own command changes to another user.
        command = str(program) if program.exists() else "rabbitmq-server"
        self._run([command], environment)

    def answers(self) -> bool:
        """Say whether it does what a broker does, not only listens."""
        from chroma_nb.tasks.app import make_app

        verify = str(self.folder / "ca.pem") if self.tls else "true"
        with (
            contextlib.suppress(Exception),
            make_app(self.url, tls_verify=verify).connection_for_write() as one,
        ):
            one.ensure_connection(max_retries=1, timeout=2)
            return True
        return False

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            end(self._process)
            self._process = None
            wait_for(lambda: not _listens(self.port), f"stopping {self.kind}")

    def close(self) -> None:
        """End it, and the port mapper that RabbitMQ leaves behind, by its id."""
        self.stop()
        for one in psutil.process_iter(["name", "environ"]):
            environment = one.info["environ"] or {}
            if one.info["name"] == "epmd" and environment.get("ERL_EPMD_PORT") == str(
                self._daemon_port
            ):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()


@contextlib.contextmanager
def running_broker(kind: str, folder: Path, *, tls: bool = False) -> Iterator[Broker]:
    folder.mkdir(parents=True, exist_ok=True)
    broker = Broker(kind, folder, tls)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()


@dataclass
class Worker:
    """A worker of a test: `chroma-nb worker`."""

    broker: str
    log: Path
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[Any] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            start = self.log.stat().st_size
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "chroma_nb",
                    "worker",
                    "--broker",
                    self.broker,
                    "--log-level",
                    "info",
                    *self.arguments,
                ],
                cwd=self.log.parent,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(REPO), **self.environment},
            )

        def is_ready() -> bool:
            assert self._process is not None
            said = self.log.read_bytes()[start:]
            assert self._process.poll() is None, said.decode(errors="replace")
            return b" ready." in said

        wait_for(is_ready, "starting a worker")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def children(self) -> list[psutil.Process]:
        """The processes that compute."""
        return psutil.Process(self.pid).children()

    def kill_child(self) -> None:
        for one in self.children():
            one.kill()

    def pause(self) -> None:
        """Have it hang, its children too."""
        for one in [psutil.Process(self.pid), *self.children()]:
            one.send_signal(signal.SIGSTOP)

    def stop(self) -> None:
        """Kill it, and what computes for it: nothing is said to the broker."""
        if self._process is not None:
            end(self._process)
            self._process = None


@contextlib.contextmanager
def running_worker(broker: str, log: Path, *arguments: str, **environment: str) -> Iterator[Worker]:
    worker = Worker(broker, log, arguments, environment)
    try:
        worker.start()
        yield worker
    finally:
        worker.stop()


class KilledWorkers:
    """Two workers, of which now and then one is killed, or the process that computes for it; a killed one is started again.

    Args:
        broker: The broker's address.
        folder: Where their logs go.
        seconds: Between two kills, on average.
    """

    def __init__(self, broker: str, folder: Path, seconds: float = 4.0) -> None:
        self._workers = [Worker(broker, folder / f"worker{n}.log") for n in range(2)]
        self._seconds = seconds
        self._ended = threading.Event()
        self._killer = threading.Thread(target=self._kill, name="killer", daemon=True)
        self.kills = 0

    def __enter__(self) -> KilledWorkers:
        for one in self._workers:
            one.start()
        self._killer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._killer.join()
        for one in self._workers:
            one.stop()

    def _kill(self) -> None:
        chance = random.Random(1)
        while not self._ended.wait(chance.uniform(0.5, 1.5) * self._seconds):
            one = chance.choice(self._workers)
            self.kills += 1
            if chance.random() < 0.5:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill_child()
            else:
                one.stop()
                one.start()
