"""The table without a browser: what is asked for is shown, and a change is what was meant."""

from __future__ import annotations

import base64
import csv
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import running, start_ours
from chroma_nb.collection.search_result import SearchResult
from chroma_nb.errors import InvalidArgumentError, NotSupportedError
from chroma_nb.search import K, Knn, Search
from chroma_nb.widgets.table.columns import Column, Condition, seen_columns
from chroma_nb.widgets.table.copying import as_csv
from chroma_nb.widgets.table.media import MOST_BYTES, Media
from chroma_nb.widgets.table.sources import Record
from tests.display.tiers import Page

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("anywidget", reason="needs the extra 'table'")

METADATAS: list[dict[str, Any] | None] = [
    {"n": 3, "mixed": "b", "flag": True, "a/b~c": "x"},
    {"n": 1, "mixed": 10, "flag": False, "a/b~c": "y"},
    {"n": 2.5, "mixed": 9, "tags": ["x", "y"]},
    {"mixed": "A", "n": 2**60},
    None,
]
#: The ids in the order of each key; those without a value come last.
UP = {"n": "bcade", "mixed": "cbdae", "a/b~c": "abcde"}
DOWN = {"n": "dacbe", "mixed": "bcade", "a/b~c": "bacde"}


@pytest.fixture
def notes(client: Any) -> Any:
    one = client.create_collection("odd-notes")
    texts = ["bear one", "boat two", "bear three", "Bear four", "five"]
    one.add(ids=list("abcde"), embeddings=[[1.0, 0.0]] * 5, documents=texts, metadatas=METADATAS)
    return one


def do(panel: Any, what: str, **more: Any) -> dict[str, Any]:
    """Send what the browser sends, and return what it would draw."""
    panel._root._handle_custom_msg({"do": what, **more}, [])
    state: dict[str, Any] = panel._root.state
    return state


def keys(panel: Any) -> str:
    return "".join(panel._page.records[at].id for at in range(len(panel._page.records)))


def tables_of(notes: Any) -> list[Any]:
    return [notes.table(), notes.get().widget(), notes.search(Search().select_all()).widget()]


def test_a_collection_and_its_result_are_sorted_alike(notes: Any) -> None:
    for panel in tables_of(notes):
        for key, up in UP.items():
            assert do(panel, "sort", column=f"metadata:{key}")["message"] == ""
            assert keys(panel) == up
            do(panel, "sort", column=f"metadata:{key}")
            assert keys(panel) == DOWN[key]
            do(panel, "sort", column=f"metadata:{key}")
            assert keys(panel) == "abcde", "the third click gives the order of insertion back"


def test_a_collection_and_its_result_are_filtered_alike(notes: Any) -> None:
    asked: list[tuple[dict[str, Any], str]] = [
        ({"do": "search", "text": "bear"}, "ac"),
        ({"do": "filter", "column": "metadata:n", "low": "2", "high": ""}, "acd"),
        ({"do": "filter", "column": "metadata:n", "low": "2", "high": "3"}, "ac"),
        ({"do": "filter", "column": "metadata:flag", "chosen": ["bool:true"]}, "a"),
        ({"do": "filter", "column": "metadata:mixed", "chosen": ['str:"A"', "int:10"]}, "bd"),
        ({"do": "filter", "column": "id:", "text": "c"}, "c"),
        ({"do": "filter", "column": "id:", "text": "nobody"}, ""),
    ]
    for panel in tables_of(notes):
        for message, found in asked:
            state = do(panel, **{"what" if k == "do" else k: v for k, v in message.items()})
            assert (keys(panel), state["message"]) == (found, ""), message
            do(panel, "sort", column="id:")
            do(panel, "sort", column="id:")
            assert keys(panel) == found[::-1], message
            do(panel, "sort", column="id:")
            do(panel, "clear")
            assert keys(panel) == "abcde"


def labels(panel: Any) -> list[str]:
    return [one["label"] for one in panel._root.state["columns"] if one["shown"]]


def test_an_answer_to_searches_has_its_scores_and_ranks_as_columns(notes: Any) -> None:
    nearest = Knn([1.0, 0.0], limit=3, default=3)
    both = Search(rank=nearest + Knn("bear", key=K.DOCUMENT, default=9)).select_all()
    asked = [both, Search(limit=2), Search(rank=nearest).select("n", K.SCORE)]
    result = notes.search(asked)
    panel = result.widget()
    own = ["search", "rank", "id", "score", "rank by meaning", "rank by words", "document"]
    assert labels(panel)[: len(own)] == own
    assert "result of 3 searches" in repr(panel)
    frame = result.to_pandas()
    n = len(frame)
    assert do(panel, "resize", n=100)["place"] == f"1–{n} of {n} records"
    for at, record in enumerate(panel._page.records):
        for name in ("search", "rank", "score", "rank by meaning", "rank by words"):
            known = record.value(Column("number", name))
            assert known == frame[name][at] or (known is None and frame[name].isna()[at]), name
    # What one search has not selected is empty in its rows, and sorted last.
    assert [one.document for one in panel._page.records][-5:] == [None] * 5
    state = do(panel, "sort", column="number:rank by words")
    assert state["message"] == ""
    words = [one.value(Column("number", "rank by words")) for one in panel._page.records]
    assert words == sorted(one for one in words if one) + [None] * words.count(None)
    do(panel, "filter", column="number:search", low="2", high="")
    assert {one.numbers["search"] for one in panel._page.records} == {2}
    # One record of several searches: what one of them has selected.
    do(panel, "clear")
    same = [one.key for one in panel._page.records if one.id == "a"]
    assert len(same) == 3
    for key in same:
        do(panel, "choose", key=key, how="toggle")
    assert panel.selection()["ids"] == ["a"]
    assert panel.selection()["documents"] == ["bear one"]
    assert "rank by words" in Page(panel._repr_html_()).text


def test_an_answer_to_one_search_shows_what_is_not_the_rank(notes: Any) -> None:
    one = notes.search("bear", by="words")
    assert labels(one.widget())[:4] == ["rank", "id", "score", "document"]
    reranked = notes.search("bear", by="words", rerank=lambda _, texts: range(len(texts)))
    own = ["rank", "id", "score", "rerank score", "rank by words"]
    assert labels(reranked.widget())[: len(own)] == own
    # The names that the display has, and those of to_pandas.
    panel = reranked.widget(columns=["words", "#", "rerank", "rank by words"])
    assert labels(panel) == ["rank by words", "rank", "rerank score"]
    with pytest.raises(InvalidArgumentError, match="Did you mean rank by words"):
        reranked.widget(columns=["rank by word"])


def test_a_score_that_is_not_finite_is_copied_as_json(notes: Any) -> None:
    search = Search(rank=Knn([1.0, 0.0]).log()).select(K.SCORE)
    panel = notes.search(search).widget()
    heard: list[Any] = []
    panel._root.send = lambda content, buffers=None: heard.append(content)
    panel._root._handle_custom_msg({"do": "copy", "what": "row", "key": "0"}, [])
    assert json.loads(heard[0]["copy"])["score"] == "-inf"
    do(panel, "sort", column="number:score")
    assert do(panel, "filter", column="number:score", low="0", high="")["message"] == ""


def test_an_answer_made_by_hand_is_a_table() -> None:
    made = SearchResult(ids=[["a", "b"], ["c"], []], documents=[["x"]], scores=[None, [1.0]])
    panel = made.widget()
    assert [one.document for one in panel._page.records] == ["x", None, None]
    assert SearchResult(ids=[]).widget()._repr_html_()
    assert SearchResult({}).widget().selection()["ids"] == []


def test_the_code_gives_the_page_that_is_shown(notes: Any, client: Any) -> None:
    panel = notes.table()
    do(panel, "filter", column="metadata:n", low="1", high="3")
    do(panel, "sort", column="metadata:a/b~c")
    names: dict[str, Any] = {"collection": notes, "client": client}
    exec(panel.code, names)
    assert names["page"] == list(keys(panel))
    do(panel, "sort", column="metadata:a/b~c")
    do(panel, "sort", column="metadata:a/b~c")
    assert eval(panel.code, names)["ids"] == list(keys(panel))


def test_what_was_meant_is_chosen_whatever_page_is_shown(notes: Any) -> None:
    panel = notes.table(page_size=10)
    heard: list[list[str]] = []
    panel.on_selection(heard.append)
    do(panel, "search", text="boat")
    state = do(panel, "choose", key="d", how="only")
    assert state["record"]["document"] == "Bear four", "a click that comes late"
    assert panel.selected == ["d"]
    do(panel, "choose", key="b", how="toggle")
    assert panel.selected == ["d", "b"]
    assert panel.selection()["ids"] == ["b", "d"]
    assert heard == [["d"], ["d", "b"]]
    notes.delete(ids=["d"])
    assert "not there any more" in do(panel, "choose", key="d", how="only")["message"]
    do(panel, "select_none")
    assert panel.selected == []
    assert panel.selection()["ids"] == [], "nothing chosen is not everything"


def test_nonsense_from_the_page_is_a_sentence(notes: Any) -> None:
    panel = notes.table()
    for message in (
        {"do": "fly"},
        {"do": "turn", "to": -1},
        {"do": "turn", "to": "x"},
        {"do": "sort", "column": "metadata:gone"},
        {"do": "filter", "column": "metadata:n", "low": "many"},
        {"do": "filter", "column": "metadata:n", "low": "9", "high": "1"},
        {"do": "filter", "column": "metadata:flag", "chosen": ["int:1"]},
        {"do": "resize", "n": 10**9},
        {"do": "edit", "key": "a", "column": "metadata:n"},
        {"do": "save"},
        {"do": "undo"},
    ):
        panel._root._handle_custom_msg(message, [])
        assert panel._root.state["message"], message
        assert keys(panel) == "abcde"
    assert do(panel, "turn", to=10**9)["place"] == "1–5 of 5 records"


def test_widths_are_remembered_whatever_the_columns_become(notes: Any) -> None:
    panel = notes.table()

    def widths() -> dict[str, int]:
        return {one["name"]: one["width"] for one in panel._root.state["columns"] if one["width"]}

    do(panel, "widths", widths={"id:": 200, "metadata:n": 10**9, "document:": -4.5})
    kept = {"id:": 200, "metadata:n": 2_000, "document:": 48}
    assert widths() == kept
    notes.update(ids=["a"], metadatas=[{"a new key": 1}])
    do(panel, "refresh")
    do(panel, "columns", column="metadata:n", shown=False)
    do(panel, "sort", column="id:")
    assert widths() == kept
    bad: list[Any] = [None, 7, {"id:": "wide"}, {"id:": True}, {"id:": None}, {"gone": 100}]
    for one in bad:
        assert do(panel, "widths", widths=one)["message"], one
    assert widths() == kept
    assert do(panel, "widths", widths={"id:": float("nan")})["message"] == ""
    assert 48 <= widths()["id:"] <= 2_000


def test_what_cannot_be_asked_leaves_the_page_and_what_it_answers(
    notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = notes.table(editable=True, page_size=10)
    do(panel, "filter", column="metadata:n", low="2")
    before = do(panel, "choose", key="a", how="only")

    def fail(*arguments: Any, **more: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(notes), "get", fail)
    messages: list[dict[str, Any]] = [
        {"what": "refresh"},
        {"what": "clear"},
        {"what": "search", "text": "bear"},
        {"what": "resize", "n": 50},
        {"what": "sort", "column": "metadata:n"},
        {"what": "columns", "column": "document:", "shown": False},
        {"what": "filter", "column": "metadata:n", "low": "", "high": ""},
        {"what": "choose", "key": "c", "how": "toggle"},
    ]
    for message in messages:
        after = do(panel, **message)
        assert "the disk is gone" in after["message"]
        assert after | {"message": ""} == before | {"message": ""}, message
    monkeypatch.undo()
    # Nor is half of it shown, where the page could be read and the chosen record could not.
    monkeypatch.setattr(type(panel._source), "record", fail)
    after = do(panel, "clear")
    assert "the disk is gone" in after["message"]
    assert after | {"message": ""} == before | {"message": ""}
    monkeypatch.undo()
    assert do(panel, "clear")["message"] == ""
    assert keys(panel) == "abcde"


def test_every_place_in_marimo_shows_the_same_and_can_ask(notes: Any) -> None:
    panel = notes.table()
    first, second = panel._display_(), panel._display_()
    assert first.state == second.state == panel._root.state
    first._handle_custom_msg({"do": "sort", "column": "metadata:n"}, [])
    assert keys(panel) == "bcade"
    assert first.state == second.state == panel._root.state
    # A copy goes to the clipboard of the one that asked.
    sent: list[tuple[str, Any]] = []
    for name, one in (("first", first), ("second", second), ("root", panel._root)):
        one.send = lambda content, buffers=None, name=name: sent.append((name, content))
    second._handle_custom_msg({"do": "copy", "what": "id", "key": "a"}, [])
    assert sent == [("second", {"copy": "a", "name": "the id"})]
    panel.close()
    assert first.state["ended"]
    assert second.state["rows"] == panel._root.state["rows"]
    second._handle_custom_msg({"do": "sort", "column": "id:"}, [])
    assert keys(panel) == "bcade", "a closed table does nothing"
    assert "odd-notes" in panel._display_()._repr_html_()


def test_a_table_works_over_a_server_and_says_when_it_is_gone(tmp_path: Path) -> None:
    with running(start_ours(tmp_path)) as server, chroma_nb.connect(server.url) as client:
        far = client.create_collection("far", embedding_function=None)
        n = 60
        far.add(
            ids=[f"{at:02}" for at in range(n)],
            embeddings=[[1.0, at] for at in range(n)],
            documents=[f"bear {at}" if at % 2 else f"boat {at}" for at in range(n)],
            metadatas=[{"n": at, "kind": "odd" if at % 2 else "even"} for at in range(n)],
        )
        panel = far.table(editable=True, page_size=10)
        assert panel._root.state["place"] == "1–10 of 60 records"
        assert do(panel, "turn", to=6)["place"] == "51–60 of 60 records"
        # It says what a server does not do.
        assert "copy_to" in do(panel, "sort", column="metadata:n")["message"]
        do(panel, "filter", column="metadata:kind", chosen=['str:"odd"'])
        do(panel, "filter", column="metadata:n", low="30", high="")
        state = do(panel, "search", text="bear")
        assert (state["place"], state["message"]) == ("1–10 of more", "")
        assert panel._page.records[0].id == "31"
        state = do(panel, "turn", to=2)
        assert (state["place"], state["last"]) == ("11–15 of 15", True)
        do(panel, "choose", key="51", how="only")
        do(panel, "choose", key="55", how="range")
        assert panel.selection()["ids"] == ["51", "53", "55"]
        do(panel, "edit", key="53", column="metadata:n")
        do(panel, "propose", text="99", kind="integer")
        assert do(panel, "save")["message"] == ""
        assert far.get(ids=["53"])["metadatas"] == [{"n": 99, "kind": "odd"}]
        assert "Taken back" in do(panel, "undo")["done"]
        assert far.get(ids=["53"])["metadatas"] == [{"n": 53, "kind": "odd"}]
        before = do(panel, "columns", column="document:", shown=False)
        server.process.terminate()
        server.process.wait(30)
        for act, more in (("refresh", {}), ("turn", {"to": 1}), ("clear", {})):
            after = do(panel, act, **more)
            assert "does not any more" in after["message"]
            assert after | {"message": ""} == before | {"done": ""}, "the page stays"
        assert "11–15 of 15" in Page(panel._repr_html_()).text


def test_a_change_keeps_the_kind_and_undo_restores(notes: Any) -> None:
    panel = notes.table(editable=True)
    before = notes.get()["metadatas"]
    cases: list[tuple[str, str, str, str, Any]] = [
        ("a", "n", "4", "integer", 4),
        ("c", "n", "4", "decimal", 4.0),
        ("a", "flag", "false", "true or false", False),
        ("c", "tags", '["z"]', "list", ["z"]),
        ("e", "mixed", "new", "text", "new"),
        ("d", "n", str(2**60 + 1), "integer", 2**60 + 1),
    ]
    for key, name, text, kind, value in cases:
        draft = do(panel, "edit", key=key, column=f"metadata:{name}")["draft"]
        assert draft["kind"] == kind
        change = do(panel, "propose", text=text, kind=kind)["change"]
        assert (change["id"], change["label"]) == (key, name)
        assert notes.get()["metadatas"] == before, "nothing before Save"
        assert do(panel, "save")["message"] == ""
        got = notes.get(ids=[key])["metadatas"][0][name]
        assert (got, type(got)) == (value, type(value))
        assert "Taken back" in do(panel, "undo")["done"]
        assert repr(notes.get()["metadatas"]) == repr(before)
    do(panel, "edit", key="a", column="metadata:n")
    do(panel, "propose", text="", kind="no value")
    do(panel, "save")
    assert "n" not in notes.get(ids=["a"])["metadatas"][0]
    do(panel, "undo")
    assert notes.get(ids=["a"])["metadatas"][0] == before[0]


def test_what_changed_meanwhile_is_not_overwritten(notes: Any) -> None:
    panel = notes.table(editable=True)
    notes.update(ids=["a"], metadatas=[{"n": 100}])
    assert "somebody else" in do(panel, "edit", key="a", column="metadata:n")["message"]
    do(panel, "edit", key="a", column="metadata:n")
    do(panel, "propose", text="5", kind="integer")
    notes.update(ids=["a"], metadatas=[{"flag": False}])
    assert "somebody else" in do(panel, "save")["message"]
    assert notes.get(ids=["a"])["metadatas"][0]["n"] == 100
    do(panel, "edit", key="a", column="metadata:n")
    do(panel, "propose", text="5", kind="integer")
    do(panel, "save")
    notes.update(ids=["a"], metadatas=[{"n": 6}])
    assert "stays as it is" in do(panel, "undo")["message"]
    assert notes.get(ids=["a"])["metadatas"][0]["n"] == 6
    do(panel, "edit", key="b", column="metadata:n")
    for text, kind in (
        ("x", "integer"),
        ("nan", "decimal"),
        ("[1", "list"),
        (str(2**70), "integer"),
    ):
        assert do(panel, "propose", text=text, kind=kind)["message"], (text, kind)
    assert notes.get(ids=["b"])["metadatas"][0]["n"] == 1


def test_the_snapshot_shows_the_page_and_escapes(notes: Any) -> None:
    notes.add(ids=["<b>"], embeddings=[[1.0, 0.0]], documents=["<script>"], metadatas=[{"n": 7}])
    with notes.table() as panel:
        do(panel, "filter", column="metadata:n", low="7", high="7")
        html = panel._repr_html_()
    assert "<script>" not in html
    assert "<script>" in Page(html).text
    assert "1–1 of 1 record that match" in Page(html).text


def test_without_anywidget_there_is_a_snapshot_and_a_line() -> None:
    code = (
        "import sys; sys.modules['anywidget'] = None\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'anywidget' else real(name, *more)\n"
        "import chroma_nb as c\n"
        "n = c.EphemeralClient().create_collection('notes', embedding_function=None)\n"
        "n.add(ids=['a'], embeddings=[[1.0]], documents=['a bear'])\n"
        "t = n.table(); html = t._repr_html_(); t.refresh(); t.close()\n"
        "assert 'a bear' in html and 'chroma-nb[table]' in html, html\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_a_server_is_not_asked_to_sort(notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> Any:
        raise NotSupportedError("not here")

    monkeypatch.setattr(type(notes.api), "is_near", False)
    monkeypatch.setattr(type(notes.api), "sql", refuse)
    monkeypatch.setattr(type(notes.api), "describe_fields", refuse)
    panel = notes.table()
    state = do(panel, "filter", column="metadata:n", low="2")
    assert keys(panel) == "acd"
    assert (state["can_sort"], state["pages"]) == (False, None)
    assert "copy_to" in state["note"]
    assert "copy_to" in do(panel, "sort", column="metadata:n")["message"]


def test_bad_arguments_name_the_way_out(notes: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="Did you mean"):
        notes.table(columns=["mixd"])
    with pytest.raises(InvalidArgumentError, match="10, 25, 50, 100"):
        notes.get().widget(page_size=7)
    with pytest.raises(InvalidArgumentError, match="a folder"):
        notes.table(thumbnails="/no/such/folder")


def test_csv_holds_no_formula() -> None:
    columns = [Column("id"), Column("document"), Column("metadata", "n"), Column("metadata", "=x")]
    texts = ["=1+1", " +1", "-2", "@a", "\t=1", 'a "quoted", text\nof two lines']
    records = [Record(f"{at}", f"{at}", text, None, {"n": -5}) for at, text in enumerate(texts)]
    rows = list(csv.reader(io.StringIO(as_csv(columns, records), newline="")))
    assert rows[0] == ["id", "document", "n", "'=x"]
    assert [one[1] for one in rows[1:]] == [*("'" + one for one in texts[:-1]), texts[-1]]
    assert {one[2] for one in rows[1:]} == {"-5"}, "a number is no formula"


def test_only_what_is_asked_for_becomes_a_medium(tmp_path: Path) -> None:
    png = base64.b64decode("iVBORw0KGgo=") + b"rest"
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "big.png").write_bytes(png + bytes(MOST_BYTES))
    outside = tmp_path / "inner"
    outside.mkdir()
    web = "https://example.org/a.PNG?x=1"
    assert Media(False).of(web) is None
    asked, folder = Media(True), Media(tmp_path)
    assert asked.of(web) == {"kind": "image", "src": web}
    assert (asked.of("http://e.org/a.mp3") or {})["kind"] == "audio"
    assert (asked.of("http://e.org/") or {})["kind"] == "link"
    assert asked.of("a.png") is None, "no file unasked"
    for uri in (
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "data:image/svg+xml;base64,AAAA",
        "ftp://e.org/a.png",
        "//e.org/a.png",
        "http://user:secret@e.org/a.png",
        "http://e.org\\@evil.org/a.png",
        "http://[",
        "",
        None,
    ):
        assert asked.of(uri) is None, uri
    assert (folder.of("a.png") or {})["src"].startswith("data:image/png;base64,")
    assert (folder.of((tmp_path / "a.png").as_uri()) or {})["kind"] == "image"
    assert [folder.of(one) for one in ("text.png", "big.png", "none.png", "\0")] == [None] * 4
    assert Media(outside).of("../a.png") is None, "only below the folder"


def test_conditions_and_columns_know_kinds_apart() -> None:
    assert Condition(among=(1,)).matches(1.0)
    assert not Condition(among=(1,)).matches(True)
    assert not Condition(low=0).matches(True)
    assert not Condition(low=0).matches("5")
    (seen,) = seen_columns([{"k": 1}, {"k": True}, {"k": "1"}, None])
    assert [type(value) for value, _ in seen.choices] == [int, bool, str]
