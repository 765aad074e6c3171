"""Whichever byte of whichever file is damaged: a store answers right or raises a `ChromaError`, and nothing else.

A sample by default; ``pytest tests/trust/test_every_byte.py --all`` damages far more bytes.
"""

from __future__ import annotations

import json
import os
import queue
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.trust.mutant import ASKED, nothing_said

if TYPE_CHECKING:
    from tests.trust.mutant import Said

MUTANT = Path(__file__).with_name("mutant.py")
#: How long a damaged store may take to answer.
PATIENCE_SECONDS = 60.0
SECTOR = 4_096
Mutation = tuple[str, str, int, int]


class Child:
    """A process that tries mutations; where it dies, a new one is started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(MUTANT), "try", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.put(line)
            lines.put("")

        threading.Thread(target=listen, daemon=True).start()
        self._process, self._lines = process, lines
        return process

    def try_(self, mutation: Mutation) -> Said:
        """Return what became of a copy that is damaged in this way."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(json.dumps(mutation) + "\n")
        process.stdin.flush()
        try:
            line = self._lines.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            self.close()
            return {**nothing_said(), "wrong": [f"no answer within {PATIENCE_SECONDS:g} s"]}
        if not line:
            status = process.wait()
            self.close()
            return {**nothing_said(), "wrong": [f"the process died ({status})"]}
        said: Said = json.loads(line)
        return said

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("every_byte")
    subprocess.run([sys.executable, str(MUTANT), "make", str(found)], check=True, timeout=120)
    files = files_of(found)
    assert {kind(file) for file in files} == {
        *("records.duckdb", "records.duckdb.wal", "commits", "lock"),
        *("f32", "graph", "graph.json", "segment"),
    }
    return found


def files_of(folder: Path) -> dict[str, int]:
    """Return the size of each file of the store, by its path in it."""
    store = folder / "store"
    return {
        str(one.relative_to(store)): one.stat().st_size
        for one in sorted(store.rglob("*"))
        if one.is_file()
    }


def kind(file: str) -> str:
    name = os.path.basename(file)
    if name.startswith(("records", "commits", "lock")):
        return name
    return "graph.json" if name.endswith(".graph.json") else name.rsplit(".", 1)[1]


def other_numbers(file: Path, *, everything: bool) -> list[tuple[int, int]]:
    """Return the bit flips (place, bit) that change a digit of a description's format, version or end to another.

    A format is changed in every way. A version is a random number of many digits, each of which is changed once, unless
    `everything`.
    """
    head = file.read_bytes().split(b"\n", 1)[0]
    found: list[tuple[int, int]] = []
    for number in re.finditer(rb'"(format|version|end)": ([0-9]+)', head):
        for at in range(*number.span(2)):
            bits = [bit for bit in (1, 2, 4, 8) if head[at] ^ bit in b"0123456789"]
            once = number[1] != b"format" and not everything
            found += [(at, bit) for bit in ([bits[at % len(bits)]] if once else bits)]
    return found


def mutations(folder: Path, *, everything: bool) -> list[Mutation]:
    """Return the mutations to try, one at a time; the same in every run."""
    rng = random.Random(20)
    found: list[Mutation] = []
    for file, size in files_of(folder).items():
        what = kind(file)
        heads = {"f32": 16, "records.duckdb": 3 * SECTOR, "segment": 600, "records.duckdb.wal": 200}
        head = min(size, heads.get(what, size if size < SECTOR else 200))
        if what == "commits" or everything:
            chosen = list(range(head))
        else:
            # Most bytes of the database's head are zero: also take the places that are used.
            chosen = sorted(rng.sample(range(head), min(head, 10)))
            if what == "records.duckdb":
                chosen += [sector * SECTOR + at for sector in range(3) for at in range(0, 64, 12)]
        n_rest = {"lock": 0, "commits": 0, "f32": 8, "records.duckdb.wal": 24}.get(what, 8)
        n_rest *= 40 if everything else 1
        rest = [rng.randrange(head, size) for _ in range(n_rest)] if size > head else []
        found += [(file, "flip", at, 1 << rng.randrange(8)) for at in (*chosen, *rest)]
        if what in ("graph.json", "segment"):
            numbers = other_numbers(folder / "store" / file, everything=everything)
            found += [(file, "flip", at, bit) for at, bit in numbers]
        zeroed = [*rng.sample(chosen, min(len(chosen), 4)), *rest[: len(rest) // 4]]
        found += [
            (file, "zero", at, rng.choice([1, 16, 512, SECTOR])) for at in (zeroed if size else ())
        ]
        cuts = {0, 1, size // 2, size - 1, max(0, size - 8), head, *rest[: len(rest) // 6]}
        found += [(file, "cut", at, 0) for at in sorted(cuts) if 0 <= at < size]
        found += [(file, "longer", 1, 0), (file, "longer", 70, 7), (file, "remove", 0, 0)]
    return found


@pytest.mark.slow
def test_right_or_an_error_that_says_so(folder: Path, request: pytest.FixtureRequest) -> None:
    everything = bool(request.config.getoption("all"))
    child = Child(folder)
    wrong: list[str] = []
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    n, started = 0, time.monotonic()
    try:
        for one in mutations(folder, everything=everything):
            n += 1
            said = child.try_(one)
            asked[kind(one[0])] += said["asked"]
            right[kind(one[0])] += said["right"]
            if said["wrong"]:
                wrong.append(f"{' '.join(map(str, one))}: {'; '.join(said['wrong'])}")
    finally:
        child.close()
    seconds = time.monotonic() - started
    print(f"{n} mutations in {seconds:.0f} s, {len(wrong)} wrong")
    for what in asked:
        print(f"{what}: {right[what]} of {asked[what]} answers right")
    assert not wrong, f"{len(wrong)} of {n}:\n" + "\n".join(wrong)
    # Errors are allowed. But for files of which nothing is lost, every answer has to be right.
    for what in asked:
        assert right[what] > 0, f"damage to {what}: everything was refused"
    for what in ("lock", "commits", "graph", "graph.json", "segment"):
        assert right[what] == asked[what], f"damage to {what}"


def test_the_store_itself_is_right(folder: Path) -> None:
    """The answers that others are compared with: an undamaged copy answers all questions right."""
    child = Child(folder)
    try:
        # An undamaged copy, and two with a damaged lock file, of which nothing is read.
        for one in (("lock", "leave", 0, 0), ("lock", "longer", 1, 0), ("lock", "cut", 0, 0)):
            said = child.try_(one)
            n_asked = 3 * (len(ASKED) if one[1] == "leave" else len(ASKED) - 1)
            assert said == {
                "wrong": [],
                "refused": [],
                "asked": n_asked,
                "right": n_asked,
                "whole": True,
            }
    finally:
        child.close()
