"""Names that complete themselves, and errors that know what was meant."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from chroma_nb import errors

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
    assert 400 < found[1].n_distinct < 600
    assert (found[1].minimum, found[1].maximum) == (0, 499)


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
