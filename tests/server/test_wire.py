"""The REST API as it is on the wire: paths, statuses, shapes, sentences."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import numpy as np
import pytest

from tests.server.conftest import PLACE, Raw

ONE = {"ids": ["a"], "embeddings": [[1.0, 0.0, 0.0]]}


def b64(*values: float) -> str:
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode()


def test_what_a_client_asks_first(raw: Raw) -> None:
    assert raw("GET", "/api/v2/heartbeat").json().keys() == {"nanosecond heartbeat"}
    assert raw("GET", "/api/v2/healthcheck").json() == {
        "is_executor_ready": True,
        "is_log_client_ready": True,
    }
    assert isinstance(raw("GET", "/api/v2/version").json(), str)
    checks = raw("GET", "/api/v2/pre-flight-checks").json()
    assert (checks["max_batch_size"], checks["supports_base64_encoding"]) == (5_461, True)
    assert raw("GET", "/api/v2/auth/identity").json() == {
        "user_id": "",
        "tenant": "default_tenant",
        "databases": ["default_database"],
    }


def test_tenants_and_databases(raw: Raw) -> None:
    assert raw("POST", "/api/v2/tenants", {"name": "acme"}).json() == {}
    assert raw("GET", "/api/v2/tenants/acme").json() == {"name": "acme", "resource_name": None}
    again = raw("POST", "/api/v2/tenants", {"name": "acme"})
    assert (again.status_code, again.json()["error"]) == (409, "UniqueConstraintError")
    assert again.json()["message"] == "Tenant [acme] already exists"
    assert raw("PATCH", "/api/v2/tenants/acme", {"resource_name": "x"}).json() == {}
    for path in ("/api/v2/tenants/nope", "/api/v2/tenants/nope/databases/default_database"):
        missing = raw("GET", path)
        assert (missing.status_code, missing.json()["error"]) == (404, "NotFoundError")
    # A database under a tenant that is not there: Chroma's makes it, the contract advises 404.
    assert raw("POST", "/api/v2/tenants/nope/databases", {"name": "db1"}).status_code == 404
    assert raw("POST", "/api/v2/tenants/acme/databases", {"name": "db1"}).json() == {}
    assert raw("POST", "/api/v2/tenants/acme/databases", {"name": "d"}).status_code == 400
    found = raw("GET", "/api/v2/tenants/acme/databases/db1").json()
    assert (uuid.UUID(found["id"]).version, found["name"], found["tenant"]) == (4, "db1", "acme")
    names = [one["name"] for one in raw("GET", "/api/v2/tenants/acme/databases?limit=5").json()]
    assert names == ["db1"]
    assert raw("DELETE", "/api/v2/tenants/acme/databases/db1").json() == {}
    assert raw("DELETE", "/api/v2/tenants/acme/databases/db1").status_code == 404


def test_a_collection(raw: Raw) -> None:
    made = raw(
        "POST",
        f"{PLACE}/collections",
        {
            "name": "docs",
            "metadata": {"topic": "x", "n": 1, "f": 1.5, "b": True},
            "configuration": {
                "hnsw": {"space": "cosine"},
                "spann": None,
                "embedding_function": {"type": "known", "name": "default", "config": {}},
            },
            "schema": None,
            "get_or_create": False,
            "something_new": 1,
        },
    ).json()
    assert made["configuration_json"]["hnsw"]["space"] == "cosine"
    assert made["metadata"] == {"topic": "x", "n": 1, "f": 1.5, "b": True}
    assert (made["dimension"], made["log_position"], made["version"]) == (None, 0, 0)
    assert (made["tenant"], made["database"]) == ("default_tenant", "default_database")
    # Chroma's client reads the function and the space of the schema as well.
    for index in (made["schema"]["defaults"], made["schema"]["keys"]["#embedding"]):
        config = index["float_list"]["vector_index"]["config"]
        assert config["space"] == "cosine"
        assert config["embedding_function"] == {"type": "known", "name": "default", "config": {}}
    again = raw("POST", f"{PLACE}/collections", {"name": "docs"})
    assert (again.status_code, again.json()["message"]) == (409, "Collection [docs] already exists")
    same = raw("POST", f"{PLACE}/collections", {"name": "docs", "get_or_create": True}).json()
    assert same == made
    by_name = raw("GET", f"{PLACE}/collections/docs").json()
    by_id = raw("GET", f"{PLACE}/collections/by-id/{made['id']}").json()
    assert by_name == by_id == made
    assert raw("GET", f"{PLACE}/collections/{made['id']}").status_code == 404
    assert raw("GET", f"{PLACE}/collections/by-id/docs").status_code == 400
    assert raw("GET", f"{PLACE}/collections_count").json() == 1
    assert raw("GET", f"{PLACE}/collections?limit=0").json() == []
    assert raw("PUT", f"{PLACE}/collections/{made['id']}", {}).json() == {}
    change = {"new_name": "docs2", "new_metadata": {"z": 1}}
    assert raw("PUT", f"{PLACE}/collections/{made['id']}", change).json() == {}
    unknown = {"new_configuration": {"hnsw": {"space": "l2"}}}
    assert raw("PUT", f"{PLACE}/collections/{made['id']}", unknown).status_code == 422
    renamed = raw("GET", f"{PLACE}/collections/docs2").json()
    assert (renamed["id"], renamed["metadata"]) == (made["id"], {"z": 1})
    assert raw("DELETE", f"{PLACE}/collections/docs2").json() == {}
    assert raw("DELETE", f"{PLACE}/collections/docs2").status_code == 404


def test_what_is_kept_of_an_embedding_function_is_never_built(raw: Raw) -> None:
    """Chroma's CVE-2026-45829: a server that imports what a request names runs a stranger's code."""
    function = {
        "type": "known",
        "name": "sentence_transformer",
        "config": {"model_name": "../../evil", "trust_remote_code": True, "code": "import os"},
    }
    path = raw.collection("docs", configuration={"embedding_function": function})
    for method, rest, body in (
        ("POST", "/add", ONE),
        ("POST", "/query", {"query_embeddings": [[1, 0, 0]]}),
        ("GET", "/count", None),
    ):
        assert raw(method, path + rest, body).status_code < 300
    assert (
        raw("GET", f"{PLACE}/collections/docs").json()["configuration_json"]["embedding_function"]
        == function
    )
    for bad in ("text", {"name": "x"}, [1]):
        answer = raw(
            "POST",
            f"{PLACE}/collections",
            {"name": "bad", "configuration": {"embedding_function": bad}},
        )
        assert answer.status_code == 400


def test_records_go_in_and_out(raw: Raw) -> None:
    path = raw.collection("docs")
    added = raw(
        "POST",
        path + "/add",
        {
            "ids": ["a", "b", "a"],
            "embeddings": [b64(1, 0, 0), b64(0, 1, 0), b64(9, 9, 9)],
            "metadatas": [{"k": "v", "n": 1, "tags": ["x"]}, None, None],
            "documents": ["hello", None, "again"],
        },
    )
    # The same id twice in one add: the first counts.
    assert (added.status_code, added.json()) == (201, {})
    assert raw("POST", path + "/add", ONE).status_code == 201
    got = raw("POST", path + "/get", {"include": ["embeddings", "documents", "metadatas"]}).json()
    assert got["ids"] == ["a", "b"]
    assert got["embeddings"] == [[1, 0, 0], [0, 1, 0]]
    assert got["documents"] == ["hello", None]
    assert got["metadatas"] == [{"k": "v", "n": 1, "tags": ["x"]}, None]
    assert got["uris"] is None
    assert got["include"] == ["embeddings", "documents", "metadatas"]
    short = raw("POST", path + "/get?embeddings=base64", {"include": ["embeddings"]}).json()
    assert short["embeddings"] == [b64(1, 0, 0), b64(0, 1, 0)]
    assert raw("POST", path + "/get", {"ids": []}).json()["ids"] == []
    assert raw("POST", path + "/get", {"ids": ["b", "a", "b", "zz"]}).json()["ids"] == ["a", "b"]
    for form in ([[1, 0, 0], [0, 1, 0]], [b64(1, 0, 0), b64(0, 1, 0)]):
        found = raw("POST", path + "/query", {"query_embeddings": form, "n_results": 1}).json()
        assert found["ids"] == [["a"], ["b"]]
        assert found["distances"] == [[0.0], [0.0]]
        assert found["embeddings"] is None
    assert raw("POST", path + "/query", {"query_embeddings": []}).json()["ids"] == []
    none = raw("POST", path + "/query", {"query_embeddings": [[1, 0, 0]], "n_results": 0}).json()
    assert none["ids"] == [[]]
    assert raw("GET", path + "/count?read_level=index_only").json() == 2
    assert raw("GET", path + "/count?read_level=other").status_code == 400
    changed = {"ids": ["a", "zz"], "embeddings": [None, [0, 0, 3]], "metadatas": [{"k": None}, {}]}
    assert raw("POST", path + "/update", changed).json() == {}
    assert raw("POST", path + "/get", {"ids": ["a"]}).json()["metadatas"] == [
        {"n": 1, "tags": ["x"]}
    ]
    new = {"ids": ["c"], "embeddings": [[3, 3, 3]]}
    assert raw("POST", path + "/upsert", new).json() == {}
    assert raw("POST", path + "/delete", {}).json() == {"deleted": 0}
    assert raw("POST", path + "/delete", {"ids": ["a", "nope"]}).json() == {"deleted": 1}
    assert raw("POST", path + "/delete", {"ids": []}).status_code == 400
    assert raw("POST", path + "/delete", {"ids": ["b"], "limit": 1}).status_code == 400
    assert raw("GET", path + "/count").json() == 2
    assert raw("GET", path + "/indexing_status").json()["total_ops"] == 2


_KNN: Any = {"$knn": {"query": [1, 2, 3]}}


def _search(**parts: Any) -> dict[str, Any]:
    return {"searches": [parts]}


def _sparse(indices: list[int], values: list[float], **options: Any) -> dict[str, Any]:
    return {"$knn": {"query": {"indices": indices, "values": values}, **options}}


def _tagged(**more: Any) -> dict[str, Any]:
    return {"#type": "sparse_vector", "indices": [1], "values": [1.0], **more}


def _sparse_with(**more: Any) -> dict[str, Any]:
    return {"$knn": {"query": _tagged(**more), "key": "sp"}}


def _groups(operator: str, k: int, **more: Any) -> dict[str, Any]:
    return {"keys": ["c"], "aggregate": {operator: {"keys": ["y"], "k": k, **more}}}


@pytest.mark.parametrize(
    ("rest", "body", "status", "words"),
    [
        ("/add", {"ids": ["a"], "embeddings": [[1, 2]]}, 400, "dimension of 3, got 2"),
        ("/add", {"ids": ["a", "b"], "embeddings": [[1, 2, 3]]}, 400, "Unequal lengths"),
        ("/add", {"ids": [""], "embeddings": [[1, 2, 3]]}, 400, "Empty ID"),
        ("/add", {"ids": ["a"], "embeddings": [[]]}, 400, "at least 1 dimension"),
        ("/add", {"ids": ["a"], "embeddings": ["@@@"]}, 400, "base64"),
        ("/add", {"ids": ["a"], "embeddings": ["AAAA"]}, 400, "float32"),
        ("/add", {"ids": ["a"], "embeddings": [b64(1, float("nan"), 0)]}, 400, "NaN"),
        ("/add", {"ids": ["a"]}, 422, "missing field `embeddings`"),
        ("/add", {"ids": [1], "embeddings": [[1, 2, 3]]}, 422, "ids.0"),
        ("/add", {**ONE, "metadatas": [{"#x": 1}]}, 400, "#x"),
        ("/add", {**ONE, "metadatas": [{"x": {"y": 1}}]}, 400, "metadata value"),
        ("/add", {**ONE, "metadatas": [{"x": [1, "y"]}]}, 400, "same type"),
        ("/query", {"query_embeddings": [[1, 2]]}, 400, "dimension"),
        ("/query", {"query_embeddings": [[1, 2, 3]], "include": ["nope"]}, 400, "nope"),
        ("/query", {"query_embeddings": [[1, 2, 3]], "where": {}}, 400, "where"),
        ("/get", {"where": {"a": {"$like": 1}}}, 400, "like"),
        ("/get", {"where_document": {"$regex": "("}}, 400, "missing )"),
        ("/get", {"limit": -1}, 422, "limit"),
        ("/get", {"include": "documents"}, 422, "include"),
        ("/search", {}, 422, "missing field `searches`"),
        ("/search", _search(rank={}), 400, "one operator"),
        ("/search", _search(rank=1), 400, "one operator"),
        ("/search", _search(rank={"$val": 1, "$abs": {"$val": 1}}), 400, "one operator"),
        ("/search", _search(rank={"$rrf": []}), 422, "unknown operator"),
        ("/search", _search(rank={"$knn": {"query": "words"}}), 422, "Texts are embedded"),
        ("/search", _search(rank={"$knn": {"key": "x"}}), 422, "missing field `query`"),
        ("/search", _search(rank={"$knn": {"query": [1, 2]}}), 400, "dimension of 3, got 2"),
        ("/search", _search(rank={"$knn": {"query": [1], "limit": -1}}), 422, "limit"),
        ("/search", _search(rank=_sparse([2, 1], [1, 1])), 400, "ascending"),
        ("/search", _search(rank=_sparse([1], [1, 1])), 400, "same length"),
        ("/search", _search(rank=_sparse([1], [1], key="#embedding")), 400, "SparseVector"),
        ("/search", _search(filter={"a": {"$like": 1}}), 422, "like"),
        ("/search", _search(limit=5), 422, "limit"),
        ("/search", _search(limit={"limit": -1}), 422, "limit"),
        ("/search", _search(limit={"offset": -1}), 422, "offset"),
        ("/search", _search(select=["#score"]), 422, "select"),
        ("/search", _search(group_by=None), 422, "group_by"),
        ("/search", _search(group_by={"keys": ["c"]}), 400, "both keys and an aggregate"),
        ("/search", _search(rank=_KNN, group_by=_groups("$mean", 1)), 422, "unknown operator"),
        ("/search", _search(rank=_KNN, group_by=_groups("$min_k", 0)), 400, "at least one"),
        ("/search", _search(group_by=_groups("$min_k", 1)), 400, "searches[0].group_by"),
        ("/search", {**_search(), "read_level": "newest"}, 422, "read_level"),
        # What an unknown member says is not dropped.
        ("/search", {**_search(), "limits": 1}, 422, "limits"),
        ("/search", _search(filters={}), 422, "filters"),
        ("/search", _search(limit={"limt": 1}), 422, "limt"),
        ("/search", _search(select={"keys": [], "key": 1}), 422, "select.key"),
        ("/search", _search(rank={"$knn": {**_KNN["$knn"], "limt": 1}}), 422, "Did you mean limit"),
        ("/search", _search(rank={"$sub": {"left": _KNN, "right": _KNN, "k": 1}}), 422, "'k'"),
        (
            "/search",
            _search(rank={"$sum": [_KNN, {"$abs": {**_KNN, "k": 1}}]}),
            400,
            "one operator",
        ),
        ("/search", _search(rank=_sparse_with(weights=[1])), 422, "'weights'"),
        ("/search", _search(rank=_KNN, group_by={**_groups("$min_k", 1), "k": 1}), 422, "'k'"),
        ("/search", _search(rank=_KNN, group_by=_groups("$min_k", 1, n=1)), 422, "'n'"),
        ("/add", {**ONE, "metadatas": [{"sp": _tagged(weights=[1])}]}, 400, "'weights'"),
        ("/functions/attach", {}, 501, "function"),
        ("/nope", {}, 404, ""),
    ],
)
def test_what_is_refused(raw: Raw, rest: str, body: Any, status: int, words: str) -> None:
    path = raw.collection("docs")
    assert raw("POST", path + "/add", {"ids": ["z"], "embeddings": [[1, 2, 3]]}).status_code == 201
    answer = raw("POST", path + rest, body)
    assert answer.status_code == status, answer.text
    if words:
        assert words in answer.json()["message"]
        assert answer.json()["error"] in ("InvalidArgumentError", "ChromaError")
    else:
        assert answer.content == b""
    assert raw("GET", path + "/count").json() == 1


def test_bodies_that_are_no_json(raw: Raw) -> None:
    path = raw.collection("docs")
    headers = {"Content-Type": "application/json"}
    for data in (b"{", b"\xff\xfe", b"[1, 2", b'{"ids": ["\\ud800"], "embeddings": [[1]]}'):
        answer = raw("POST", path + "/add", data=data, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["message"].startswith("Failed to parse the request body as JSON")
    for data in (b"[]", b"1", b"null", b'"x"'):
        assert raw("POST", path + "/add", data=data, headers=headers).status_code == 422
    deep = b'{"where":' + b'{"$and":[' * 100_000
    assert raw("POST", path + "/get", data=deep, headers=headers).status_code in (400, 422)
    plain = raw("POST", path + "/add", data=json.dumps(ONE), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415


def test_collections_that_are_not_there(raw: Raw) -> None:
    missing = f"{PLACE}/collections/{uuid.uuid4()}"
    for method, rest, body in (
        ("GET", "/count", None),
        ("POST", "/add", ONE),
        ("POST", "/add", {"ids": [], "embeddings": []}),
        ("POST", "/get", {}),
        ("POST", "/delete", {}),
        ("POST", "/query", {"query_embeddings": [[1.0]]}),
        ("POST", "/unload", None),
        ("GET", "/indexing_status", None),
        ("GET", "/fork_count", None),
    ):
        answer = raw(method, missing + rest, body)
        assert (answer.status_code, answer.json()["error"]) == (404, "NotFoundError"), rest
    answer = raw("GET", f"{PLACE}/collections/not-a-uuid/count")
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidUUID")


def test_unload_under_both_prefixes(raw: Raw) -> None:
    path = raw.collection("docs")
    key = path.rpartition("/")[2]
    n = 2_000
    vectors = np.random.default_rng(0).normal(size=(n, 32)).astype("<f4")
    body = {
        "ids": [str(i) for i in range(n)],
        "embeddings": [base64.b64encode(row.tobytes()).decode() for row in vectors],
    }
    assert raw("POST", path + "/add", body).status_code == 201
    question = {"query_embeddings": [vectors[7].tolist()], "n_results": 3}
    before = raw("POST", path + "/query", question).json()
    for unload in (f"/api/v1/collections/{key}/unload", path + "/unload"):
        assert raw("POST", path + "/load").json()["resident_bytes"] > 0
        assert raw("POST", unload).json()["released"] > 0
        assert raw("POST", unload, {}).json() == {"released": 0}
        assert raw("POST", path + "/query", question).json() == before
    assert raw("POST", f"/api/v1/collections/{uuid.uuid4()}/unload").status_code == 404
    assert raw("POST", "/api/v1/collections/nonsense/unload").status_code == 400


def test_the_first_api_is_retired(raw: Raw) -> None:
    for path in ("/api/v1", "/api/v1/heartbeat", "/api/v1/collections"):
        answer = raw("GET", path)
        assert (answer.status_code, answer.json()["error"]) == (410, "Unimplemented")
    assert raw("GET", "/nowhere").status_code == 404
    assert raw("PUT", "/api/v2/heartbeat").status_code == 405


def test_memory_over_the_wire(raw: Raw) -> None:
    path = raw.collection("docs")
    assert raw("POST", path + "/add", ONE).status_code == 201
    budget = raw("GET", "/api/v2/memory/budget").json()["budget"]
    assert raw("PUT", "/api/v2/memory/budget", {"budget": "100 MB"}).json() == {
        "budget": 100_000_000
    }
    assert raw("PUT", "/api/v2/memory/budget", {"budget": "much"}).status_code == 400
    assert raw("PUT", "/api/v2/memory/budget", {"budget": budget}).json() == {"budget": budget}
    assert raw("PUT", path + "/pin", {"pinned": True}).json() == {}
    assert raw("PUT", path + "/ttl", {"seconds": 5.5}).json()["ttl_seconds"] == 5.5
    assert raw("PUT", path + "/ttl", {"seconds": -1}).status_code == 400
    assert raw("PUT", path + "/ttl", {"seconds": 1e308}).json()["ttl_seconds"] == 1e308
    assert raw("PUT", path + "/ttl", {"seconds": 5.5}).json()["ttl_seconds"] == 5.5
    for budget_too_large in (10**400, "1e400 GB", "9" * 5_000):
        answer = raw("PUT", "/api/v2/memory/budget", {"budget": budget_too_large})
        assert answer.status_code == 400, answer.text
    report = raw("POST", f"{PLACE}/memory/report", {}).json()
    (one,) = report["collections"]
    assert (one["name"], one["pinned"], one["ttl_seconds"]) == ("docs", True, 5.5)
    assert raw("PUT", path + "/pin", {"pinned": False}).json() == {}
    assert raw("POST", f"{PLACE}/memory/preview", {"budget": 0}).status_code in (200, 400)
    assert raw("POST", f"{PLACE}/memory/unload").json()["released"] >= 0
    size = {"n_records": 100_000, "dimension": 384}
    # Codes have half a byte for each number.
    estimate = raw("POST", "/api/v2/memory/estimate", size).json()
    assert estimate["n_bytes"] > 100_000 * 384 // 2


def test_a_trace_id_ties_things_together(raw: Raw) -> None:
    own = raw("GET", "/api/v2/version").headers["chroma-trace-id"]
    assert len(own) == 32
    given = raw("GET", "/api/v2/version", headers={"chroma-trace-id": "abcdef-12345"})
    assert given.headers["chroma-trace-id"] == "abcdef-12345"
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = raw("GET", "/api/v2/version", headers={"traceparent": parent})
    assert traced.headers["chroma-trace-id"] == "0af7651916cd43dd8448eb211c80319c"
    odd = raw("GET", "/api/v2/version", headers={"chroma-trace-id": '<script>"'})
    assert "<" not in odd.headers["chroma-trace-id"]


def test_a_collection_that_is_refused_is_not_made(raw: Raw) -> None:
    """Nor does it keep the others of its database from being listed."""
    path = raw.collection("good")
    function = b'"embedding_function":{"type":"x","a":1e400,"b":%d}' % 10**30
    headers = {"content-type": "application/json"}
    for body in (
        b'{"name":"bad","configuration":{%b}}' % function,
        b'{"name":"bad","configuration":{"hnsw":{"resize_factor":1e400}}}',
        b'{"name":"bad","configuration":{"hnsw":{"resize_factor":NaN}}}',
        b'{"name":"bad","metadata":{"a":1e400}}',
    ):
        made = raw("POST", f"{PLACE}/collections", data=body, headers=headers)
        assert made.status_code in (400, 422), made.text
    changed = raw("PUT", path, data=b'{"new_configuration":{%b}}' % function, headers=headers)
    assert changed.status_code == 400
    listed = raw("GET", f"{PLACE}/collections")
    assert [one["name"] for one in listed.json()] == ["good"]


# -- searches as Chroma's clients send them ------------------------------------------------------


def _searched(raw: Raw, *searches: Any, parameters: str = "") -> Any:
    path = raw.collection("docs")
    records = {
        "ids": ["a", "b", "c"],
        "embeddings": [[0, 0, 0], [1, 0, 0], [0, 2, 0]],
        "metadatas": [{"c": "x"}, {"c": "y"}, None],
        "documents": ["red", None, "blue"],
    }
    assert raw("POST", path + "/add", records).status_code == 201
    answer = raw("POST", path + "/search" + parameters, {"searches": list(searches)})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_answer_to_searches(raw: Raw) -> None:
    knn = {"$knn": {"query": [0, 0, 0], "limit": 2}}
    selected = {"keys": ["c", "#score", "#document", "#embedding"]}
    assert _searched(raw, {"rank": knn, "select": selected}, {"filter": {}}) == {
        "ids": [["a", "b"], ["a", "b", "c"]],
        "documents": [["red", None], None],
        "embeddings": [[[0, 0, 0], [1, 0, 0]], None],
        "metadatas": [[{"c": "x"}, {"c": "y"}], None],
        "scores": [[0, 1], None],
        "select": [["#document", "#embedding", "#score", "c"], []],
    }


def test_scores_that_json_cannot_hold(raw: Raw) -> None:
    ranked = {"rank": {"$log": {"$knn": {"query": [0, 0, 0]}}}, "select": {"keys": ["#score"]}}
    assert _searched(raw, ranked)["scores"] == [[None, 0, pytest.approx(1.3862944)]]


def test_what_our_own_clients_ask_for_beside_it(raw: Raw) -> None:
    rank = {"$log": {"$knn": {"query": [0, 0, 0], "limit": 1}}}
    ranked = {"rank": rank, "select": {"keys": ["#score", "#embedding"]}}
    found = _searched(raw, ranked, parameters="?positions=true&embeddings=base64")
    assert (found["scores"], found["positions"]) == ([["-inf"]], [[[0]]])
    assert (found["found"], found["scored"]) == ([[1]], [1])
    assert found["embeddings"] == [[b64(0, 0, 0)]]
    assert not {"positions", "found", "scored"} & _searched(raw, ranked).keys()


@pytest.mark.parametrize(
    ("operator", "parts", "scores"),
    [
        ("$sum", 1, [0, 1, 4]),
        ("$mul", 1, [0, 1, 4]),
        ("$max", 1, [0, 1, 4]),
        ("$min", 1, [0, 1, 4]),
        ("$sum", 0, []),
        ("$max", 0, []),
    ],
)
def test_operations_of_one_rank_and_of_none(
    raw: Raw, operator: str, parts: int, scores: list[float]
) -> None:
    rank = {operator: [{"$knn": {"query": [0, 0, 0]}}] * parts}
    found = _searched(raw, {"rank": rank, "select": {"keys": ["#score"]}})
    assert found["scores"] == [scores]


def test_no_searches_have_no_answers(raw: Raw) -> None:
    names = ("ids", "documents", "embeddings", "metadatas", "scores", "select")
    assert _searched(raw) == {name: [] for name in names}
