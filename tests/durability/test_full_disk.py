"""A full disk: the call fails, the store stays readable and consistent, and goes on when there is room.

A small tmpfs is mounted in a user namespace of its own, so the test needs no rights; where the system
does not allow that, it is skipped and says so.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import os, sys
import numpy as np
import chroma_nb
from chroma_nb import errors

folder = sys.argv[1]
headroom_off = sys.argv[2] == "real"
if headroom_off:
    # Without the check before each write, so that DuckDB and the vector file meet the full disk themselves.
    import chroma_nb.db.duckdb.store as module
    module.DuckDB._check_space = lambda self, changes: None
client = chroma_nb.PersistentClient(folder + "/store")
notes = client.create_collection("notes", embedding_function=None)
rng = np.random.default_rng(0)
written = {}
failed = 0
for number in range(400):
    vectors = rng.standard_normal((50, 256)).astype(np.float32)
    ids = [f"{number}-{i}" for i in range(50)]
    documents = ["word " * 100 + one for one in ids]
    try:
        notes.add(ids=ids, embeddings=vectors, documents=documents)
    except errors.InternalError as error:
        assert "nothing" in str(error), error
        failed += 1
        if failed == 3:
            break
    else:
        written.update(zip(ids, vectors))
assert failed == 3 and written, (failed, len(written))


def check(notes):
    got = notes.get(include=["embeddings", "documents"])
    assert got["ids"] == list(written), (len(got["ids"]), len(written))
    assert all(text == "word " * 100 + one for one, text in zip(got["ids"], got["documents"]))
    np.testing.assert_array_equal(got["embeddings"].astype("f4"), np.array(list(written.values())))
    one = next(reversed(written))
    assert notes.query(query_embeddings=[written[one]], n_results=1)["ids"] == [[one]]


check(notes)
# A checkpoint takes space as well, and ends DuckDB's instance when the disk is full.
notes.unload()
check(notes)
notes.unload()
os.unlink(folder + "/ballast")
vectors = rng.standard_normal((10, 256)).astype(np.float32)
ids = [f"after-{i}" for i in range(10)]
notes.add(ids=ids, embeddings=vectors, documents=["word " * 100 + one for one in ids])
written.update(zip(ids, vectors))
check(notes)
client.close()
with chroma_nb.PersistentClient(folder + "/store") as again:
    check(again.get_collection("notes", embedding_function=None))
print("checked", len(written))
"""


@pytest.mark.parametrize("how", ["checked", "real"])
def test_a_full_disk_loses_nothing(tmp_path: Path, how: str) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    inside = (
        f"mount -t tmpfs -o size=50m tmpfs '{disk}' || exit 77; "
        # Deleted later. The oldest DuckDB writes its whole log into the database before the first commit after a failure,
        # and that may need more than the log, which is as long as it was when the disk became full.
        f"head -c 32000000 /dev/zero > '{disk}/ballast'; "
        f"exec '{sys.executable}' '{script}' '{disk}' {how}"
    )
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", inside]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare(1) on this system: a small disk cannot be made")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"this system allows no mount namespace: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout
