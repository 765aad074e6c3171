"""A memory limit for one process: a cgroup, or RLIMIT_DATA where none can be made.

This module is imported before anything heavy, so it needs the standard library only.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

MEMORY_V1 = ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control")
MEMORY_V2 = ("memory.max", "memory.peak", "memory.events")
#: Version 1 writes "no limit" as a huge number.
UNLIMITED = 1 << 60

_numbers = itertools.count(1)


@dataclass
class Limit:
    """A limit that one process at a time is put under.

    Args:
        size: Bytes.
        folder: The cgroup's folder; None: RLIMIT_DATA is set in the process instead.
        version: Of the cgroup's interface, 1 or 2; 0 without one.
    """

    size: int
    folder: Path | None = None
    version: int = 0

    @property
    def kind(self) -> str:
        """Say what enforces the limit."""
        return f"cgroup v{self.version}" if self.folder else "RLIMIT_DATA"

    def arguments(self) -> list[str]:
        """Return what the measured process is told, so that it puts itself under the limit."""
        if self.folder:
            return ["--cgroup-procs", str(self.folder / "cgroup.procs")]
        return ["--data-limit", str(self.size)]

    def peak(self) -> int | None:
        """Return the most bytes the cgroup ever held, file cache included; None: not known."""
        if not self.folder:
            return None
        name = (MEMORY_V1 if self.version == 1 else MEMORY_V2)[1]
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / name).read_text())
        return None  # memory.peak is there since Linux 5.19

    def kills(self) -> int:
        """Return how many processes the kernel has killed for the sake of the limit."""
        if not self.folder:
            return 0
        name = (MEMORY_V1 if self.version == 1 else MEMORY_V2)[2]
        with contextlib.suppress(OSError):
            for line in (self.folder / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
        return 0

    def close(self) -> None:
        """Remove the cgroup; its process has ended."""
        for _ in range(100):
            if not self.folder or not self.folder.exists():
                return
            try:
                self.folder.rmdir()
            except OSError:  # the kernel is not yet done with the process
                time.sleep(0.05)

    def __enter__(self) -> Limit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def limit(size: int) -> Limit:
    """Return a limit of `size` bytes: the first cgroup that can be made, else RLIMIT_DATA."""
    for version, parent in _parents():
        folder = parent / f"chroma_nb_benchmark_{os.getpid()}_{next(_numbers)}"
        try:
            if version == 2:
                _delegate(parent)
            folder.mkdir()
        except OSError:
            continue
        made = Limit(size, folder, version)
        try:
            _set(made)
        except OSError:
            made.close()
            continue
        return made
    return Limit(size)


def join(cgroup_procs: str | None, data_limit: int | None) -> None:
    """Put this process under a limit, as `Limit.arguments` describes it.

    Raises:
        OSError: The system refuses.
    """
    if cgroup_procs:
        Path(cgroup_procs).write_text(str(os.getpid()))
    if data_limit:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (data_limit, data_limit))


def forget_files(folder: Path) -> None:
    """Let the system's file cache drop a store, so that its reader pays for what it reads."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _set(made: Limit) -> None:
    assert made.folder is not None
    if made.version == 1:
        (made.folder / "memory.limit_in_bytes").write_text(str(made.size))
        swap = {"memory.memsw.limit_in_bytes": made.size, "memory.swappiness": 0}
    else:
        (made.folder / "memory.max").write_text(str(made.size))
        swap = {"memory.swap.max": 0}
    for name, value in swap.items():
        with contextlib.suppress(OSError):  # a kernel that accounts for no swap
            (made.folder / name).write_text(str(value))


def _delegate(parent: Path) -> None:
    """Let children of a v2 cgroup have memory limits.

    Raises:
        OSError: The kernel refuses, for instance because `parent` has processes of its own.
    """
    control = parent / "cgroup.subtree_control"
    if "memory" not in control.read_text().split():
        control.write_text("+memory")


def _parents(proc: Path = Path("/proc/self")) -> list[tuple[int, Path]]:
    """Return (version, folder) of the cgroups in which ours may be made, best first.

    A process that already has a limit stays below it: only a child of its own cgroup will do.
    """
    mounts = _mounts(proc)
    own = _own(proc)
    found: list[tuple[int, Path]] = []
    if 1 in mounts and "memory" in own:
        root = mounts[1]
        mine = _inside(root, own["memory"])
        found += [(1, mine)] if _limited_v1(mine) else [(1, root), (1, mine)]
    if 2 in mounts and "" in own:
        root = mounts[2]
        mine = _inside(root, own[""])
        found.append((2, mine))
        if mine != root and not _limited_v2(mine):
            # A v2 cgroup with processes of its own has no limited children; a sibling may be made.
            found.append((2, mine.parent))
    return list(dict.fromkeys(found))


def _mounts(proc: Path) -> dict[int, Path]:
    """Return where the memory controller (1) and the unified hierarchy (2) are mounted."""
    found: dict[int, Path] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "mountinfo").read_text().splitlines():
            left, _, right = line.partition(" - ")
            kind, _, options = right.split(" ", 2)
            place = Path(left.split()[4])
            if kind == "cgroup" and "memory" in options.split(","):
                found.setdefault(1, place)
            elif kind == "cgroup2":
                found.setdefault(2, place)
    return found


def _own(proc: Path) -> dict[str, str]:
    """Return this process's cgroup of each v1 controller, and of v2 under the empty name."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "cgroup").read_text().splitlines():
            _, controllers, place = line.split(":", 2)
            found.update(dict.fromkeys(controllers.split(","), place))
    return found


def _inside(root: Path, place: str) -> Path:
    # In a container the file may name the host's path, while the mount shows the container's part.
    mine = root / place.lstrip("/")
    return mine if mine.is_dir() else root


def _limited_v1(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "hierarchical_memory_limit":
                return int(value) < UNLIMITED
    return False


def _limited_v2(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return (folder / "memory.max").read_text().strip() != "max"
    return False
