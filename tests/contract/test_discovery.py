"""Names that complete themselves, and errors that know what was meant."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import errors
from chroma_nb.display import facts
from tests.stores import private_settings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client() -> Iterator[Any]:
    client = chroma_nb.EphemeralClient(chroma_nb.Settings(allow_reset=True))
    client.reset()
    docs = client.create_collection("docs", embedding_function=None)
    client.create_collection("drawings", embedding_function=None)
    docs.add(
        ids=["a", "b", "c"],
        embeddings=[[1.0], [2.0], [3.0]],
        metadatas=[
            {"year": 1998, "a.b 'c' \"d\"": True},
            {"year": 2.5, "kind": "x"},
            {"tags": ["y"]},
        ],
    )
    yield client
    client.reset()
    client.close()


def completions(line: str, **names: Any) -> list[str]:
    """Return what IPython offers at the end of a line."""
    shell = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    from traitlets.config import Config

    # No history: it is a file of the person's, and older IPythons warn of it on a newer Python.
    ip = shell(config=Config({"HistoryManager": {"enabled": False}}))
    ip.user_ns.update(names)
    ip.Completer.use_jedi = False
    with warnings.catch_warnings():
        # IPython calls its own completions provisional.
        warnings.simplefilter("ignore")
        found = list(ip.Completer.completions(line, len(line)))
    return [one.text for one in found]


def test_collections_by_name(client: Any) -> None:
    assert client["docs"] == client.get_collection("docs")
    assert "docs" in client
    assert "dogs" not in client
    assert 7 not in client
    assert list(client) == ["docs", "drawings"]
    with pytest.raises(errors.NotFoundError):
        client["dogs"]


def test_tab_completes_collections_and_keys(client: Any) -> None:
    version_info = pytest.importorskip("IPython").version_info
    found = completions('client["d', client=client)
    if version_info[0] < 8:  # IPython 7, Colab's, offers everything else that begins so as well.
        found = [one for one in found if one in ("docs", "drawings")]
    assert found == ["docs", "drawings"]
    docs = client["docs"]
    assert "year" in completions('docs.fields["y', docs=docs)
    fields = docs.fields
    assert any(one.endswith("fields.year") or one == "year" for one in dir(fields) if "year" in one)
    other = chroma_nb.EphemeralClient(client.get_settings())
    closed = other["docs"].fields
    other.close()
    assert other._ipython_key_completions_() == []
    assert closed._ipython_key_completions_() == []
    assert "K" not in dir(closed)


def test_fields_describe_the_metadata(client: Any) -> None:
    docs = client["docs"]
    docs.unload()
    found = {one.key: one for one in docs.fields.describe()}
    assert set(found) == {"year", "a.b 'c' \"d\"", "kind", "tags"} == set(docs.fields)
    assert len(docs.fields) == 4
    year = found["year"]
    assert (year.kinds, year.n_records, year.minimum, year.maximum) == (
        ("int", "float"),
        2,
        2.5,
        1998,
    )
    assert found["kind"].values == [("x", 1)]
    assert found["a.b 'c' \"d\""].values == [(True, 1)]
    assert found["tags"].kinds == ("list",)
    assert client.memory.report().collections[0].state == "on disk"


def test_keys_are_those_of_the_moment(client: Any) -> None:
    docs = client["docs"]
    odd = "a.b 'c' \"d\""
    assert list(docs.fields) == [odd, "kind", "tags", "year"]
    docs.add(
        ids=["d"], embeddings=[[4.0]], metadatas=[{"new/~ key": 1, "ünï": "x", "zero\u0000": 1}]
    )
    assert list(docs.fields) == [odd, "kind", "new/~ key", "tags", "year", "zero\u0000", "ünï"]
    assert "new/~ key" in docs.fields
    assert len(docs.fields) == 7
    found = {one.key: one.n_distinct for one in docs.fields.describe()}
    assert (found["new/~ key"], found["ünï"], found["zero\u0000"]) == (1, 1, 1)
    # Whatever takes a key away: no value, another record under the id, no record.
    docs.update(ids=["d"], metadatas=[{"ünï": None, "later": 2}])
    assert list(docs.fields) == [odd, "kind", "later", "new/~ key", "tags", "year", "zero\u0000"]
    docs.add(ids=["d"], embeddings=[[4.0]], metadatas=[{"year": 1}], on_conflict="replace")
    assert list(docs.fields) == [odd, "kind", "tags", "year"]
    docs.delete(ids=["b"])
    assert "kind" not in docs.fields
    docs.upsert(ids=["b"], embeddings=[[2.0]], metadatas=[{"kind": "y"}])
    assert "kind" in docs.fields
    docs.delete(where=docs.fields["year"] > 0)
    assert list(docs.fields) == ["kind", "tags"]
    docs.delete(ids=["b", "c"])
    assert list(docs.fields) == []
    assert docs.fields.describe() == []


class Counted:
    """Counts the calls of a method, and makes them."""

    def __init__(self, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._method = getattr(owner, name)
        monkeypatch.setattr(owner, name, self)

    def __call__(self, *arguments: Any, **values: Any) -> Any:
        self.calls += 1
        return self._method(*arguments, **values)


def test_what_is_known_of_the_metadata_is_asked_for_once(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, db = client["docs"], client.api.db
    keys = Counted(db, "metadata_keys", monkeypatch)
    described = Counted(db, "describe_fields", monkeypatch)
    for _ in range(3):
        docs.fields._repr_html_()
        assert docs.fields.describe() == docs.fields.describe(20)
    assert described.calls == 1
    docs.fields.describe(5)
    docs.fields.describe(5)
    assert described.calls == 2
    # What was written says which keys there are.
    docs.add(ids=["d"], embeddings=[[4.0]], metadatas=[{"n": 1}])
    docs.upsert(ids=["d", "e"], embeddings=[[4.0]] * 2, metadatas=[{"m": 1}, None])
    docs.update(ids=["d"], embeddings=[[5.0]])
    assert {"n", "m"} < set(docs.fields)
    assert (keys.calls, described.calls) == (0, 2)
    docs.delete(ids=["d"])
    for _ in range(3):
        assert "n" not in docs.fields
    assert keys.calls == 1
    assert len(docs.fields.describe()) == 4
    assert described.calls == 3
    # A list that is given out is the caller's.
    docs.fields.describe()[0].values.clear()
    docs.fields.describe().clear()
    assert docs.fields.describe()[0].values


def test_one_tab_asks_once(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = client["docs"]
    asked = Counted(type(client.api), "metadata_keys", monkeypatch)
    monkeypatch.setattr(type(client.api), "metadata_keys", lambda *a, **k: asked(*a, **k))
    assert "year" in completions('docs.fields["y', docs=docs)
    assert asked.calls == 1
    dir(docs.fields)
    repr(docs.fields)
    assert "year" in docs.fields
    assert asked.calls == 4


def test_many_values_and_many_keys_are_bounded(client: Any) -> None:
    many = client.create_collection("many", embedding_function=None)
    many.add(
        ids=[str(n) for n in range(500)],
        embeddings=[[float(n)] for n in range(500)],
        metadatas=[{"n": n, f"key {n}": n, "few": n % 3} for n in range(500)],
    )
    found = many.fields.describe(5)
    assert len(found) == 200
    assert [one.key for one in found[:2]] == ["few", "n"]
    assert found[0].values == [(0, 167), (1, 167), (2, 166)]
    assert found[1].values == []
    assert 400 < found[1].n_distinct <= 500
    assert (found[0].is_estimate, found[1].is_estimate) == (False, True)
    assert len(many.fields) == 502
    assert "showing 20 of 502 metadata keys" in many.fields._repr_html_()
    assert (found[1].minimum, found[1].maximum) == (0, 499)


def test_more_keys_than_are_listed(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("collection.fields", "segment.metadata_cache", "db._fields"):
        monkeypatch.setattr(f"chroma_nb.{place}.MOST_METADATA_KEYS", 3)
    wide = client.create_collection("wide", embedding_function=None)
    wide.add(ids=["a"], embeddings=[[1.0]], metadatas=[{"d": 1, "b": 2, "e": 3}])
    wide.add(ids=["b"], embeddings=[[1.0]], metadatas=[{"c": 1, "a": 1}])
    assert list(wide.fields) == ["a", "b", "c"]
    assert "b" in wide.fields
    assert "aa" not in wide.fields
    with pytest.raises(errors.InvalidArgumentError, match="'e' is a metadata key is not known"):
        assert "e" in wide.fields
    wide.delete(ids=["b"])
    wide.update(ids=["a"], metadatas=[{"d": None}])
    assert list(wide.fields) == ["b", "e"]
    assert "d" not in wide.fields


@pytest.mark.parametrize("n", [1, 30, 2_000])
def test_different_values_are_never_more_than_records(client: Any, n: int) -> None:
    many = client.create_collection(f"values-{n}", embedding_function=None)
    many.add(
        ids=[str(i) for i in range(n + 5)],
        embeddings=[[float(i)] for i in range(n + 5)],
        metadatas=[
            *({"s": f"s{i}", "i": i, "f": i + 0.5, "b": i % 2 == 0} for i in range(n)),
            *({"s": ["a", "b"]} for _ in range(5)),
        ],
    )
    found = {one.key: one for one in many.fields.describe()}
    for key in "sif":
        assert found[key].n_distinct <= n
        assert found[key].n_distinct >= 0.8 * n
        assert found[key].is_estimate == (n > 100)
    assert found["s"].n_records == n + 5
    assert found["b"].n_distinct == min(n, 2)
    assert not found["b"].is_estimate
    text = many.fields._repr_html_()
    assert ("about " in text) == (n > 100)
    if n <= 20:
        assert found["f"].values == [(0.5, 1)]


def test_values_of_several_kinds_are_all_counted(client: Any) -> None:
    year = {one.key: one for one in client["docs"].fields.describe()}["year"]
    assert (year.n_distinct, year.is_estimate) == (2, False)
    assert year.values == [(1998, 1), (2.5, 1)]


def test_a_late_description_goes_on_and_is_there_the_next_time(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, db = client["docs"], client.api.db
    describe, go, calls = db.describe_fields, threading.Event(), []

    def late(*arguments: Any) -> Any:
        calls.append(arguments)
        assert go.wait(180)
        return describe(*arguments)

    monkeypatch.setattr(db, "describe_fields", late)
    patience = facts.PATIENCE_SECONDS
    monkeypatch.setattr(facts, "PATIENCE_SECONDS", 0.1)
    for _ in range(2):
        assert "busy" in docs.fields._repr_html_()
    # Names alone are not kept waiting.
    assert "year" in docs.fields
    go.set()
    monkeypatch.setattr(facts, "PATIENCE_SECONDS", patience)
    assert len(docs.fields.describe()) == 4
    assert "busy" not in docs.fields._repr_html_()
    assert len(calls) == 1


def test_fields_make_conditions(client: Any) -> None:
    docs = client["docs"]
    fields = docs.fields
    assert docs.get(where=fields["year"] > 1990)["ids"] == ["a"]
    either = (fields.year < 10) | (fields["a.b 'c' \"d\""] == True)  # noqa: E712
    assert docs.get(where=either)["ids"] == ["a", "b"]
    assert docs.query(query_embeddings=[1.0], where=fields.kind == "x")["ids"] == [["b"]]
    assert docs.to_pandas(where=fields.kind == "x")["id"].tolist() == ["b"]
    assert docs.explain(query_embeddings=[1.0], where=fields.kind == "x")["n_found"] == 1
    assert docs.delete(where=fields.kind == "x") == {"deleted": 1}


def test_errors_know_what_was_meant(client: Any) -> None:
    with pytest.raises(errors.NotFoundError) as raised:
        client.get_collection("docs2")
    assert str(raised.value) == "Collection [docs2] does not exist. Did you mean [docs]?"
    with pytest.raises(errors.NotFoundError, match=r"^Collection \[zzz\] does not exist$"):
        client.get_collection("zzz")
    docs = client["docs"]
    with pytest.raises(ValueError, match="did you mean documents"):
        docs.get(include=["document"])
    with pytest.raises(ValueError, match=r"did you mean \$gte"):
        docs.get(where={"year": {"$gtee": 5}})


def test_metadata_is_described_while_a_collection_is_compacted() -> None:
    """Compaction gives the records another table, and nothing keeps it waiting for who describes them."""
    with chroma_nb.Client(private_settings()) as client:
        docs = client.create_collection("compacted", embedding_function=None)
        ids = [str(n) for n in range(2_000)]
        docs.add(ids=ids, embeddings=[[1.0]] * 2_000, metadatas=[{"k": n} for n in range(2_000)])
        errors: list[BaseException] = []
        done = threading.Event()

        def describe() -> None:
            n_values = 0
            while not done.is_set():
                n_values = n_values % 50 + 1  # other than what was kept
                try:
                    assert [one.key for one in docs.fields.describe(n_values)] == ["k"]
                    assert list(docs.fields) == ["k"]
                except BaseException as error:
                    errors.append(error)

        thread = threading.Thread(target=describe)
        thread.start()
        for n in range(20):
            docs.update(ids=["1"], metadatas=[{"k": n}])
            client.api.segments.compact(docs.id)
        done.set()
        thread.join()
        assert errors == []
