"""Saved graphs: the engine's file beside a small description of it, checked before it is opened.

A graph is derived data: whatever is wrong with its file (missing, cut short, flipped bits, another
engine or generation) is logged and means that the graph is built again. The checksum matters because
the engines' own readers crash the process on a damaged file instead of raising. The description has one, too:
a wrong place where the tail begins would answer with some records twice, or never.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from chroma_nb.db.own_file import open_plain, unfinished_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chroma_nb.index.base import GraphParameters, VectorIndex

logger = logging.getLogger("chroma_nb")

#: Format 2 had no checksum of the description. Such a graph is built again: whether its description is right
#: nobody can say, and what it costs is some time in the background, once.
#: Nor has format 3 said of which vectors it was built: of two stores that began as one backup, each took the other's.
FORMAT_VERSION = 4
_OLDER = (1, 2, 3)
#: Of the note that a graph is being built.
_NOTE = ".building"


def save_graph(prefix: str, graph: VectorIndex, end: int, vectors: int = 0) -> int:
    """Write a graph so that the old one or the new one is there at any moment.

    Args:
        prefix: Path without suffix.
        graph: The graph; labels below `end` are in it or dead.
        end: Where the tail begins.
        vectors: A checksum of the vectors below `end`; 0 where nothing outlives the process.

    Returns:
        Bytes written.
    """
    path = f"{prefix}.{graph.engine}.graph"
    description_path = path + ".json"
    temporary, new_description = unfinished_name(path), unfinished_name(description_path)
    try:
        graph.save(temporary)
        size = os.path.getsize(temporary)
        description = {
            "format": FORMAT_VERSION,
            "engine": graph.engine,
            "parameters": _identity(graph.parameters),
            "state": graph.state(),
            "end": end,
            "vectors": vectors,
            "size": size,
            "crc32": _checksum(temporary),
        }
        with contextlib.suppress(FileNotFoundError):
            # Between the two renames there is no description, so no wrong one.
            os.unlink(description_path)
        os.replace(temporary, path)
        with open(new_description, "x", encoding="utf-8") as file:
            json.dump({**description, "sum": _description_sum(description)}, file)
        os.replace(new_description, description_path)
    except (OSError, RuntimeError) as error:
        # The engines raise RuntimeError where the disk fails.
        for left in (temporary, new_description):
            with contextlib.suppress(OSError):
                os.unlink(left)
        logger.warning("The graph %s could not be saved (%s); it will be built again.", path, error)
        return 0
    return size


def open_graph(
    prefix: str,
    engine: type[VectorIndex],
    parameters: GraphParameters,
    n_labels: int,
    digest: Callable[[int], int] = lambda end: 0,
) -> tuple[VectorIndex, int] | None:
    """Open the saved graph, if there is one, it is sound, and it is of these vectors.

    Args:
        prefix: Path without suffix.
        engine: The engine.
        parameters: What it should have been built with.
        n_labels: Labels that the collection has.
        digest: Returns the checksum of the vectors below a label.

    Returns:
        The graph and where the tail begins, or None: build it.
    """
    path = f"{prefix}.{engine.engine}.graph"
    description_path = path + ".json"
    try:
        description = _read_description(description_path)
        if description["engine"] != engine.engine:
            raise ValueError(f"it is {description['engine']}'s")
        if description["parameters"] != _identity(parameters):
            raise ValueError("it was built with other parameters")
        end = description["end"]
        if end > n_labels:
            raise ValueError(f"it covers {end} labels, the collection has {n_labels}")
        if digest(end) != description["vectors"]:
            raise ValueError("it was built of other vectors")
        if os.path.getsize(path) != description["size"]:
            raise ValueError("its size is wrong")
        _check_sum(path, description["crc32"])
        graph = engine.open(path, parameters, n_labels + n_labels // 8, description["state"])
        if len(graph) > end:
            raise ValueError(f"it holds {len(graph)} labels, and covers {end}")
        return graph, end
    except FileNotFoundError:
        if has_graph(prefix, engine):
            logger.warning("The saved graph %s is incomplete; it will be built again.", path)
        return None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        logger.warning(
            "The saved graph %s cannot be used (%s); it will be built again.", path, error
        )
        return None


class _OlderError(ValueError):
    """A description is of a version that put no checksum into it: nobody can say whether it is whole."""


def _read_description(path: str) -> dict[str, Any]:
    """Return a graph's description.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is not as it was written.
    """
    with open(path, encoding="utf-8", opener=open_plain) as file:
        description = json.load(file)
    if not isinstance(description, dict) or description.get("format") != FORMAT_VERSION:
        is_older = isinstance(description, dict) and (
            "sum" not in description or description.get("format") in _OLDER
        )
        raise (_OlderError if is_older else ValueError)("it is in another format")
    if description.pop("sum", None) != _description_sum(description):
        raise ValueError("its description's checksum is wrong")
    return description


def _description_sum(description: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(description, sort_keys=True).encode())


def damaged_graphs(prefix: str, on_bytes: Callable[[int], object]) -> list[str]:
    """Read all saved graphs of a collection and return the files that are not as they were written.

    Args:
        prefix: Path without suffix.
        on_bytes: Called with the bytes of each file that was read.
    """
    folder, name = os.path.split(prefix)
    found = []
    ours = [one for one in _listed(folder) if one.startswith(name + ".")]
    for one in sorted({one.removesuffix(".json") for one in ours}):
        path = os.path.join(folder, one)
        if not one.endswith(".graph"):
            continue
        try:
            description = _read_description(path + ".json")
            on_bytes(os.path.getsize(path))
            if os.path.getsize(path) != description["size"]:
                raise ValueError("its size is wrong")
            if _checksum(path) != description["crc32"]:
                raise ValueError("its checksum is wrong")
        except _OlderError:
            continue
        except (OSError, ValueError, KeyError, TypeError):
            found.append(path)
    return found


def _listed(folder: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir(folder)
    return []


@contextlib.contextmanager
def noted_build(prefix: str) -> Iterator[None]:
    """Leave a note on the disk while a graph is built, by which the next process knows that this one died."""
    path = prefix + _NOTE
    # Without it, a disk that is full or read-only, nothing is worse than before.
    with contextlib.suppress(OSError):
        os.close(open_plain(path, os.O_WRONLY | os.O_CREAT))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def has_died_building(prefix: str) -> bool:
    """Say whether a process died while it built this collection's graph."""
    return os.path.exists(prefix + _NOTE)


def has_graph(prefix: str, engine: type[VectorIndex]) -> bool:
    """Say whether there is a saved graph of this engine, sound or not."""
    path = f"{prefix}.{engine.engine}.graph"
    return os.path.exists(path) or os.path.exists(path + ".json")


def _identity(parameters: GraphParameters) -> dict[str, object]:
    """Return what makes a graph another one; ef_search can change at any time."""
    identity: dict[str, object] = asdict(parameters)
    del identity["ef_search"]
    return identity


#: Files whose checksum this process has found right: path -> (inode, size, time of change, checksum).
_sound: dict[str, tuple[int, int, int, int]] = {}


def _check_sum(path: str, expected: int) -> None:
    """Raise `ValueError` if a file is not the one that was written; look through it once only."""
    status = os.stat(path)
    mark = (status.st_ino, status.st_size, status.st_mtime_ns, expected)
    if _sound.get(path) == mark:
        return
    if _checksum(path) != expected:
        raise ValueError("its checksum is wrong")
    _sound[path] = mark


def _checksum(path: str) -> int:
    value = 0
    # Small enough to be summed up while it is in the cache: twice as fast as large pieces.
    buffer = bytearray(256 << 10)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0, opener=open_plain) as file:
        while size := file.readinto(buffer):
            value = zlib.crc32(view[:size], value)
    return value
