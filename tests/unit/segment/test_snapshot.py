"""Snapshots: what was saved comes back, and anything else is passed over."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest

from chroma_nb.segment import snapshot
from chroma_nb.segment.snapshot import (
    FORMAT_VERSION,
    is_damaged,
    open_snapshot,
    save_snapshot,
    snapshot_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 7
SECTIONS: Any = {
    "ids": bytearray(b"abc"),
    "numbers": np.arange(5, dtype=np.int64),
    "alive": np.array([True, False]),
    "nothing": np.empty(0, dtype=np.float32),
}


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return str(tmp_path / "one.0")


@pytest.fixture
def saved(prefix: str) -> str:
    assert save_snapshot(prefix, VERSION, SECTIONS)
    return prefix


#: Damages that the description shows.
STRUCTURE = ("no sections", "no object", "sizes that cancel out", "sizes that are no numbers")


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, rest = content.partition(b"\n")
    return json.loads(line.partition(b" ")[2]), rest


def content_of(header: Any, rest: bytes) -> bytes:
    """Return a snapshot whose description is whole, whatever it says."""
    text = json.dumps(header).encode()
    return b"%08x " % crc32(text) + text + b"\n" + rest


def damage(content: bytes, how: str) -> bytes:
    header, rest = header_of(content)
    if how == "a flipped bit":
        return content[:-1] + bytes([content[-1] ^ 1])
    if how == "cut short":
        return content[:-1]
    if how == "longer":
        return content + b"x"
    if how == "a digit of the description":
        return content.replace(b'"ids": 3', b'"ids": 4')
    if how == "empty":
        return b""
    if how == "zeros":
        return bytes(len(content))
    if how == "half a description":
        return content[:30]
    if how == "no sections":
        del header["sections"]
    elif how == "no object":
        header = [1]
    elif how == "sizes that cancel out":
        header["sections"] = {"ids": len(rest) + 5, "numbers": -5}
    elif how == "sizes that are no numbers":
        header["sections"] = {"ids": "3"}
    return content_of(header, rest)


def test_what_was_saved_comes_back(saved: str) -> None:
    found = open_snapshot(saved, VERSION)
    assert found is not None
    assert {name: bytes(piece) for name, piece in found.items()} == {
        name: memoryview(piece).tobytes() for name, piece in SECTIONS.items()
    }
    assert list(found) == list(SECTIONS)
    assert snapshot_bytes(saved, VERSION) == 3 + 5 * 8 + 2 + len(SECTIONS)
    assert is_damaged(saved, lambda _: None) == ""


def test_one_of_another_version_is_none(saved: str, caplog: pytest.LogCaptureFixture) -> None:
    assert open_snapshot(saved, VERSION + 1) is None
    assert snapshot_bytes(saved, VERSION + 1) is None
    assert is_damaged(saved, lambda _: None) == "", "it is out of date, and whole"
    assert save_snapshot(saved, VERSION + 1, {"ids": bytearray(b"new")})
    assert open_snapshot(saved, VERSION) is None
    assert open_snapshot(saved, VERSION + 1) == {"ids": bytearray(b"new")}
    assert not caplog.records


def test_no_snapshot_is_nothing_to_speak_of(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    assert open_snapshot(prefix, VERSION) is snapshot_bytes(prefix, VERSION) is None
    assert is_damaged(prefix, lambda _: None) == ""
    assert not caplog.records


@pytest.mark.parametrize(
    "how",
    [
        "a flipped bit",
        "cut short",
        "longer",
        "a digit of the description",
        "empty",
        "zeros",
        "half a description",
        "no sections",
        "no object",
        "sizes that cancel out",
        "sizes that are no numbers",
    ],
)
def test_a_damaged_one_is_passed_over_and_reported(
    saved: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved + ".segment"
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(damage(content, how))
    assert open_snapshot(saved, VERSION) is None
    assert "the records are read anew" in caplog.text
    assert how not in STRUCTURE or snapshot_bytes(saved, VERSION) is None
    assert is_damaged(saved, lambda _: None) == path
    assert save_snapshot(saved, VERSION, SECTIONS), "the next one takes its place"
    assert open_snapshot(saved, VERSION) is not None


@pytest.mark.parametrize("version", [1, FORMAT_VERSION - 1, FORMAT_VERSION + 1])
def test_one_of_another_format_is_made_again_and_not_damaged(
    saved: str, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved + ".segment"
    with open(path, "rb") as file:
        header, rest = header_of(file.read())
    header["format"] = version
    older = json.dumps(header).encode() + b"\n" + rest
    with open(path, "wb") as file:
        file.write(older if version == 1 else content_of(header, rest))
    assert open_snapshot(saved, VERSION) is snapshot_bytes(saved, VERSION) is None
    assert is_damaged(saved, lambda _: None) == ""
    assert not caplog.records


def test_a_half_written_one_is_not_seen_and_goes_with_the_next(prefix: str) -> None:
    left = f"{prefix}.segment.0123456789abcdef.new"
    with open(left, "wb") as file:
        file.write(b"half")
    assert open_snapshot(prefix, VERSION) is None
    assert is_damaged(prefix, lambda _: None) == ""
    assert save_snapshot(prefix, VERSION, SECTIONS)
    assert os.listdir(os.path.dirname(prefix)) == ["one.0.segment"]


def test_one_that_cannot_be_saved_leaves_nothing(
    prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkdir(prefix + ".segment")
    assert not save_snapshot(prefix, VERSION, SECTIONS)
    assert "could not be saved" in caplog.text
    assert os.listdir(os.path.dirname(prefix)) == ["one.0.segment"]
    assert open_snapshot(prefix, VERSION) is None
    assert is_damaged(prefix, lambda _: None) == prefix + ".segment", "no file of ours"


def test_after_an_interrupt_the_memory_may_grow_although_the_traceback_is_kept(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debugger's `sys.last_exc` keeps it, and so does any cycle until it is collected."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    pool = {**SECTIONS, "ids": bytearray(b"abc")}
    for module, name in ((os, "replace"), (snapshot, "crc32")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, interrupt)
            with pytest.raises(KeyboardInterrupt) as kept:
                save_snapshot(prefix, VERSION, pool)
        pool["ids"] += b"more"
        assert kept.tb is not None
