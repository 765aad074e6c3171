"""The code blocks for backup and repair in docs/storage.md, run as they are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import chroma_nb as chroma
from chroma_nb.errors import StoreCorruptError

pytest.importorskip("pyarrow", reason="the extra 'arrow' is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
N = 300
#: In a file of 256 dimensions: the first block of some 64 KiB.
HEADER, ROW = 4_096, 256 * 4


def blocks(section: str) -> list[str]:
    """Return the Python blocks of a section."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"^## {section}\n(.*?)^## ", text, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.findall(r"^```python\n(.*?)^```$", found[1], flags=re.MULTILINE | re.DOTALL)


def run(section: str) -> dict[str, object]:
    names: dict[str, object] = {}
    for block in blocks(section):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a collection of 300 records, of which one has no document; the place to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHROMA_NB_OFFLINE", "1")
    with chroma.Client("./store", chroma.Settings(embedding="static")) as client:
        notes = client.create_collection("notes")
        notes.add(
            ids=[f"n{i}" for i in range(N)],
            documents=[f"note number {i}" for i in range(N)],
            metadatas=[{"i": i} for i in range(N)],
        )
        notes.add(ids=["bare"], embeddings=[[1.0] * 256])
        client.create_collection("other", embedding_function=None).add(ids="a", embeddings=[1.0])
    return tmp_path / "store"


def damage(store: Path, *rows: int) -> None:
    file = max((store / "vectors").iterdir(), key=lambda one: one.stat().st_size)
    with file.open("r+b") as data:
        for row in rows:
            data.seek(HEADER + row * ROW)
            data.write(b"\x55\xaa\x55\xaa")


def test_the_repair_of_the_page_makes_a_store_whole(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(store, 5, N)
    with chroma.Client("./store") as client:
        notes = client["notes"]
        with pytest.raises(StoreCorruptError) as refused:
            notes.query(query_texts=["note"], n_results=1)
        assert refused.value.ids
        # What still works, as the page says.
        assert len(notes.get()["ids"]) == N + 1
        where = {"$and": [{"i": {"$gte": 100}}, {"i": {"$lt": 150}}]}
        assert len(notes.query(query_texts=["note"], where=where, n_results=99)["ids"][0]) == 50
    found = run("Repair")
    ids = found["ids"]
    assert isinstance(ids, list)
    assert {"n5", "bare"} <= set(ids)
    assert set(refused.value.ids) <= set(ids)
    assert len(ids) < N
    shown = capsys.readouterr().out
    assert "damaged: the vectors of" in shown
    with chroma.Client("./store") as client:
        assert client.check().is_whole
        notes = client["notes"]
        assert notes.count() == N, "the one without a document is deleted"
        answer = notes.query(query_texts=["note number 5"], n_results=1)
        assert answer["ids"] == [["n5"]]
        saved = client.import_("rest.parquet", name="rest")
        assert saved.count() == N + 1 - len(ids)


def test_the_backup_of_the_page_can_be_used(store: Path) -> None:
    run("Backup")
    with chroma.Client("./store") as client:
        assert client["notes-again"].count() == N + 1
    # The way back: into a store that has lost everything.
    shutil.rmtree(store)
    with chroma.Client("./backup") as backup, chroma.Client("./store") as client:
        backup.copy_to(client)
        assert {one.name for one in client.list_collections()} == {"notes", "other"}
        assert client["notes"].query(query_texts=["note number 7"], n_results=1)["ids"] == [["n7"]]


def test_a_whole_folder_put_back_is_whole(store: Path) -> None:
    """The restore of the page: the damaged folder is kept, the backup's takes its place."""
    shutil.copytree(store, "copy")
    damage(store, 5)
    with chroma.Client("./store") as client:
        assert not client.check().is_whole
    store.rename("damaged")
    shutil.copytree("copy", store)
    with chroma.Client("./store") as client:
        assert client.check().is_whole
        assert client["notes"].count() == N + 1


def test_one_vector_file_put_back_is_whole_where_nothing_was_written_since(store: Path) -> None:
    shutil.copytree(store, "copy")
    damage(store, 5)
    (file,) = [
        one for one in (store / "vectors").iterdir() if one.stat().st_size > HEADER + 2 * ROW
    ]
    shutil.copyfile(Path("copy") / "vectors" / file.name, file)
    with chroma.Client("./store") as client:
        assert client.check().is_whole
