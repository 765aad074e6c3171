"""How much memory this process may use, and how much of it is free.

`psutil.virtual_memory()` reports the host, which is wrong inside a container, on Binder and on many hubs.
The true limit is the least of what the kernel enforces (cgroup v2, cgroup v1, RLIMIT_AS, RLIMIT_DATA), what
JupyterHub and Binder announce (``MEM_LIMIT``), and the physical memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.cgroups import ControlGroups
from chroma_nb.memory.kernel_files import KernelFiles, value_in
from chroma_nb.memory.limits import NO_LIMIT, Limit, explained
from chroma_nb.memory.sizes import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chroma_nb.memory.limits import ExplainedLimits


@dataclass(frozen=True)
class Machine:
    """Reads the limits. The fields are for tests, which give a file tree and an environment of their own."""

    root: str = "/"
    environment: Mapping[str, str] | None = None
    _files: KernelFiles = field(init=False, repr=False, compare=False)
    _groups: ControlGroups = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", KernelFiles(self.root))
        object.__setattr__(self, "_groups", ControlGroups(self._files))

    def limits(self) -> list[Limit]:
        """Return every limit that applies, physical memory last."""
        found = [*self._groups.limits(), *self._announced(), *_resource_limits()]
        found.append(self._physical())
        return found

    def limit(self) -> Limit:
        """Return the least limit: what the process may use in all."""
        return min(self.limits(), key=lambda limit: limit.total)

    def free(self) -> int:
        """Return the bytes that can still be allocated: the least over all limits."""
        return min(limit.free for limit in self.limits())

    def explain(self) -> ExplainedLimits:
        """Return a table of every limit: where it was read, what is free, and which one is reached first."""
        return explained(self.limits())

    def _announced(self) -> Iterator[Limit]:
        environment = os.environ if self.environment is None else self.environment
        text = environment.get("MEM_LIMIT", "").strip()
        if not text:
            return
        try:
            total = parse_bytes(text)
        except InvalidArgumentError:
            return
        if 0 < total < NO_LIMIT:
            # It applies to all processes of the user together; only the memory of this one is known.
            yield Limit("MEM_LIMIT", total, process_rss(), "environment")

    def _physical(self) -> Limit:
        where = "/proc/meminfo"
        text = self._files.read(where) or b""
        total, available = value_in(text, b"MemTotal:"), value_in(text, b"MemAvailable:")
        if total and available is not None:
            total, available = total * 1024, available * 1024
        else:  # macOS, Windows
            import psutil

            memory = psutil.virtual_memory()
            total, available = int(memory.total), int(memory.available)
            where = "psutil.virtual_memory()"
        return Limit("physical memory", total, total - available, where)


def _resource_limits() -> Iterator[Limit]:
    try:
        import resource
    except ImportError:  # Windows has none.
        return
    for name, counter in (("RLIMIT_AS", "vms"), ("RLIMIT_DATA", "data")):
        total, _ = resource.getrlimit(getattr(resource, name))
        if total != resource.RLIM_INFINITY and 0 < total < NO_LIMIT:
            import psutil

            used = psutil.Process().memory_info()
            yield Limit(name, total, int(getattr(used, counter, used.rss)), "getrlimit")


def process_rss() -> int:
    """Return the resident memory of this process, bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


#: The machine that this process runs on.
MACHINE = Machine()
