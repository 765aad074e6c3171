"""What this process may use of the machine's memory, and what is left of it.

`psutil.virtual_memory()` shows the host: inside a container, on Binder and on many hubs it is wrong.
The true limit is the least of what the kernel enforces (cgroup v2, cgroup v1, RLIMIT_AS,
RLIMIT_DATA), what a hub announces (``MEM_LIMIT``, JupyterHub's and Binder's) and what is
built in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.sizes import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: cgroup v1 writes "no limit" as the largest multiple of a page; nobody has a limit of an exabyte.
_NO_LIMIT = 1 << 60


@dataclass(frozen=True)
class Limit:
    """One bound of this process's memory.

    `source` names it: ``"cgroup v2"``, ``"cgroup v1"``, ``"MEM_LIMIT"``, ``"RLIMIT_AS"``,
    ``"RLIMIT_DATA"`` or ``"physical memory"``; `used` is what counts against it by now. Both in bytes.
    """

    source: str
    total: int
    used: int

    @property
    def free(self) -> int:
        """Bytes that can still be had under this bound."""
        return max(0, self.total - self.used)


@dataclass(frozen=True)
class Machine:
    """Reads the bounds; its fields are for tests with a file tree and an environment of their own."""

    root: str = "/"
    environment: Mapping[str, str] | None = None

    def limits(self) -> list[Limit]:
        """Return every bound that applies, physical memory last."""
        found = [*self._cgroups(), *self._announced(), *_resource_limits()]
        found.append(self._physical())
        return found

    def limit(self) -> Limit:
        """Return the least bound: what the process may use in all."""
        return min(self.limits(), key=lambda limit: limit.total)

    def free(self) -> int:
        """Return the bytes that can still be had: the least over all bounds."""
        return min(limit.free for limit in self.limits())

    def _path(self, *parts: str) -> str:
        return os.path.join(self.root, *(part.lstrip("/") for part in parts))

    def _read(self, *parts: str) -> str | None:
        try:
            with open(self._path(*parts), encoding="ascii", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    # -- cgroups ------------------------------------------------------------------------------

    def _cgroups(self) -> Iterator[Limit]:
        """Yield the limits of the process's groups and all groups above: each of them binds."""
        for line in (self._read("proc/self/cgroup") or "").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                yield from self._groups("sys/fs/cgroup", path, self._v2)
                # Both versions side by side: version 2 has a folder of its own then.
                yield from self._groups("sys/fs/cgroup/unified", path, self._v2)
            elif "memory" in controllers.split(","):
                yield from self._groups("sys/fs/cgroup/memory", path, self._v1)

    def _groups(
        self, mount: str, path: str, read: Callable[[str], Limit | None]
    ) -> Iterator[Limit]:
        # Inside a container the path is often the host's and not there; the mount itself is the group.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            limit = read("/".join([mount, *parts[:depth]]))
            if limit is not None:
                yield limit

    def _v2(self, group: str) -> Limit | None:
        return self._group("cgroup v2", group, "memory.max", "memory.current")

    def _v1(self, group: str) -> Limit | None:
        return self._group("cgroup v1", group, "memory.limit_in_bytes", "memory.usage_in_bytes")

    def _group(self, source: str, group: str, limit_name: str, usage_name: str) -> Limit | None:
        total = _number(self._read(group, limit_name))
        if total is None or total >= _NO_LIMIT:
            return None
        used = _number(self._read(group, usage_name)) or 0
        # Files that the kernel caches count as used and go as soon as the memory is wanted.
        cached = 0
        for line in (self._read(group, "memory.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name in ("total_inactive_file", "total_active_file") or (
                source == "cgroup v2" and name in ("inactive_file", "active_file")
            ):
                cached += int(value)
        return Limit(source, total, max(0, used - cached))

    # -- the rest -----------------------------------------------------------------------------

    def _announced(self) -> Iterator[Limit]:
        environment = os.environ if self.environment is None else self.environment
        text = environment.get("MEM_LIMIT", "").strip()
        if not text:
            return
        try:
            total = parse_bytes(text)
        except InvalidArgumentError:
            return
        if 0 < total < _NO_LIMIT:
            # It stands for all processes of the user, of which only this one is known.
            yield Limit("MEM_LIMIT", total, process_rss())

    def _physical(self) -> Limit:
        total = available = None
        for line in (self._read("proc/meminfo") or "").splitlines():
            name, _, value = line.partition(":")
            if name == "MemTotal":
                total = int(value.split()[0]) * 1024
            elif name == "MemAvailable":
                available = int(value.split()[0]) * 1024
        if total is None or available is None:
            import psutil

            memory = psutil.virtual_memory()
            total, available = int(memory.total), int(memory.available)
        return Limit("physical memory", total, total - available)


def _number(text: str | None) -> int | None:
    if text is None or not text.strip().isdigit():
        return None
    return int(text)


def _resource_limits() -> Iterator[Limit]:
    try:
        import resource
    except ImportError:  # Windows has none.
        return
    for name, field in (("RLIMIT_AS", "vms"), ("RLIMIT_DATA", "data")):
        total, _ = resource.getrlimit(getattr(resource, name))
        if total != resource.RLIM_INFINITY and 0 < total < _NO_LIMIT:
            import psutil

            used = psutil.Process().memory_info()
            yield Limit(name, total, int(getattr(used, field, used.rss)))


def process_rss() -> int:
    """Return the resident memory of this process, bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


#: The machine that this process runs on.
MACHINE = Machine()
