"""The memory limits of the control groups (cgroups) that this process is in.

A process is bound by its own group and by every group above it. Two files say which folders these are:
``/proc/self/cgroup`` has the path of the group, and ``/proc/self/mountinfo`` says where the tree of groups is
mounted, and which part of it. A container may see only its own part of the tree, in one of the files or in
both. Where the two do not fit together, the mounted folder is used.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chroma_nb.memory.kernel_files import value_in
from chroma_nb.memory.limits import NO_LIMIT, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chroma_nb.memory.kernel_files import KernelFiles


@dataclass(frozen=True)
class _Version:
    """The file names of one version of cgroups.

    `reclaimable` are the lines of ``memory.stat`` for memory that the kernel counts as used, and frees as soon as
    a process needs it: cached files, and in version 2 the kernel's caches of the file system. Shared memory and
    tmpfs are not in them: the kernel can only swap those.
    """

    source: str
    limits: tuple[str, ...]
    used: str
    reclaimable: tuple[bytes, ...]
    usual_places: tuple[str, ...]


#: A group above ``memory.high`` is not killed, but slowed down so far that it hardly goes on.
#: Swap has a limit of its own, and is never counted as free memory.
_V2 = _Version(
    "cgroup v2",
    ("memory.max", "memory.high"),
    "memory.current",
    (b"inactive_file", b"active_file", b"slab_reclaimable"),
    ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"),
)
#: The values without ``total_`` leave out the groups below. Version 1 does not say how much of the kernel's
#: own memory could be reclaimed, so all of it counts as used.
_V1 = _Version(
    "cgroup v1",
    ("memory.limit_in_bytes",),
    "memory.usage_in_bytes",
    (b"total_inactive_file", b"total_active_file"),
    ("/sys/fs/cgroup/memory",),
)


@dataclass(frozen=True)
class _Mount:
    """A folder where a tree of groups is mounted, and the path of the group at its top."""

    version: _Version
    place: str
    top: tuple[str, ...]


@dataclass(frozen=True)
class _Chain:
    """The folders of this process's group and of the groups above it, as far as they are mounted."""

    version: _Version
    folders: tuple[str, ...]


class ControlGroups:
    """Reads the limits of this process's groups.

    The folders are looked up once, and again when the process has moved to another group.

    Args:
        files: Reads the files of the machine.
    """

    def __init__(self, files: KernelFiles) -> None:
        self._files = files
        self._found: tuple[bytes | None, list[_Chain]] | None = None

    def limits(self) -> Iterator[Limit]:
        """Yield the limits of the process's groups and of all groups above them: each one binds."""
        for chain in self._chains():
            least = NO_LIMIT
            for folder in chain.folders:
                limit = self._limit(chain.version, folder)
                if limit is not None:
                    least = min(least, limit.total)
                    yield limit
            if chain.version is _V1:
                yield from self._out_of_sight(chain, least)

    def _limit(self, version: _Version, folder: str) -> Limit | None:
        total, where = NO_LIMIT, ""
        for name in version.limits:
            path = f"{folder}/{name}"
            number = self._files.number(path)
            if number is not None and number < total:
                total, where = number, path
        if not where:
            return None
        return Limit(version.source, total, self._used(version, folder), where)

    def _used(self, version: _Version, folder: str) -> int:
        used = self._files.number(f"{folder}/{version.used}") or 0
        counts = self._files.read(f"{folder}/memory.stat") or b""
        return max(0, used - sum(value_in(counts, name) or 0 for name in version.reclaimable))

    def _out_of_sight(self, chain: _Chain, least: int) -> Iterator[Limit]:
        """Yield the least limit of the groups above that are not mounted here; version 1 reports it."""
        where = f"{chain.folders[0]}/memory.stat"
        total = value_in(self._files.read(where) or b"", b"hierarchical_memory_limit")
        if total is not None and total < least:
            # How much that group has used is not visible here. It is at least what this group has used.
            yield Limit(_V1.source, total, self._used(_V1, chain.folders[-1]), where)

    # -- where they are -----------------------------------------------------------------------

    def _chains(self) -> list[_Chain]:
        text = self._files.read("/proc/self/cgroup")
        found = self._found
        if found is None or found[0] != text:
            found = self._found = (text, self._find(text))
        return found[1]

    def _find(self, text: bytes | None) -> list[_Chain]:
        # gVisor has the groups, but may lack the file with the path of this process's group.
        own = _own_groups(text) if text else {_V2.source: (), _V1.source: ()}
        mounts = _mounts(self._files.read("/proc/self/mountinfo") or b"")
        chains = []
        for version in (_V2, _V1):
            if version.source in own:
                folders = self._folders(version, own[version.source], mounts)
                if folders:
                    chains.append(_Chain(version, folders))
        return chains

    def _folders(
        self, version: _Version, path: tuple[str, ...], mounts: list[_Mount]
    ) -> tuple[str, ...]:
        here = [mount for mount in mounts if mount.version is version]
        # LXC mounts the groups with a file system of another type, which is not found.
        here = here or [_Mount(version, place, ()) for place in version.usual_places]
        # First the mount that shows the most groups above this one. The others show fewer, or groups of other
        # processes.
        fitting = [mount for mount in here if _inside(mount, path) is not None]
        for mount in sorted(fitting or here, key=lambda mount: len(mount.top)):
            folders = tuple(self._upwards(mount, _inside(mount, path) or ()))
            if folders:
                return folders
        return ()

    def _upwards(self, mount: _Mount, inside: tuple[str, ...]) -> Iterator[str]:
        """Yield the folders from the group's up to the mount's that have limits."""
        below = False
        for depth in range(len(inside), -1, -1):
            folder = "/".join([mount.place.rstrip("/"), *inside[:depth]])
            if self._files.read(f"{folder}/{mount.version.limits[0]}") is None:
                continue
            # Old kernels, version 1: the limit of a group may not apply to the groups below it.
            if below and self._files.number(f"{folder}/memory.use_hierarchy") == 0:
                return
            below = True
            yield folder


def _own_groups(text: bytes) -> dict[str, tuple[str, ...]]:
    """Return the paths of this process's groups, by version."""
    own = {}
    for line in text.splitlines():
        number, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if number == b"0" and not controllers:
            own[_V2.source] = _parts(path)
        elif b"memory" in controllers.split(b","):
            own[_V1.source] = _parts(path)
    return own


def _mounts(text: bytes) -> list[_Mount]:
    """Return where the groups that limit memory are mounted."""
    # Of two mounts at one place the later one hides the other.
    found: dict[str, _Mount | None] = {}
    for line in text.splitlines():
        left, _, right = line.partition(b" - ")
        fields, kind = left.split(b" "), right.split(b" ")
        if len(fields) < 5:
            continue
        version: _Version | None = None
        if kind[0] == b"cgroup2":
            version = _V2
        elif kind[0] == b"cgroup" and b"memory" in kind[-1].split(b","):
            version = _V1
        place = os.fsdecode(_unescaped(fields[4]))
        found.pop(place, None)
        top = _parts(_unescaped(fields[3]))
        found[place] = None if version is None else _Mount(version, place, top)
    return [mount for mount in found.values() if mount is not None]


def _inside(mount: _Mount, path: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the path of a group below the top of a mount; None where the mount does not show it.

    Both paths begin at the top of this process's namespace. ``..`` leads out of it.
    """
    top = len(mount.top)
    if path[:top] != mount.top or ".." in path[top:]:
        return None
    return path[top:]


def _parts(path: bytes) -> tuple[str, ...]:
    return tuple(part for part in os.fsdecode(path).split("/") if part)


def _unescaped(name: bytes) -> bytes:
    """Decode a name of ``/proc/self/mountinfo``, where spaces are written as octal numbers."""
    return re.sub(rb"\\([0-3][0-7]{2})", lambda found: bytes([int(found[1], 8)]), name)
