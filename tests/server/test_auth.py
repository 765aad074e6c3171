"""Who may enter, and what somebody who may not can try."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import hashlib
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import Running, running, start_ours
from chroma_nb import cli, errors
from chroma_nb.server import auth_file
from chroma_nb.server.auth import Authenticator, Identity, Login, PasswordQueue
from chroma_nb.server.auth_file import AuthFile
from chroma_nb.server.refusals import Refused
from chroma_nb.wire.operations import OPERATIONS
from tests.server.conftest import PLACE, TRANSPORTS, Raw, asked, skip_without
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "correct horse battery"


class Place:
    """A server with three tenants: two for a token each, one for a user; and one token for all."""

    def __init__(
        self, server: Running, folder: Path, file: AuthFile, tokens: dict[str, str]
    ) -> None:
        self.server = server
        self.folder = folder
        self.file = file
        self.tokens = tokens

    def raw(self, name: str) -> Raw:
        return Raw(self.server.url, Authorization=f"Bearer {self.tokens[name]}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("auth")
    file = AuthFile(str(folder / "auth.json"))
    tokens = {
        "root": file.add_token("root", ["*"]),
        "alice": file.add_token("alice", ["acme"]),
        "bob": file.add_token("bob", ["bolt"]),
    }
    file.add_password("carol", SECRET, ["acme"])
    arguments = ("--path", str(folder / "store"), "--auth", file.path, "--allow-reset")
    with running(start_ours(folder, *arguments)) as server:
        place = Place(server, folder, file, tokens)
        root = place.raw("root")
        for tenant in ("acme", "bolt"):
            assert root("POST", "/api/v2/tenants", {"name": tenant}).status_code == 200
            made = root("POST", f"/api/v2/tenants/{tenant}/databases", {"name": "default_database"})
            assert made.status_code in (200, 409)
        root.close()
        yield place


@pytest.fixture(scope="module")
def over_flight(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over Arrow Flight with the same auth file."""
    folder = tmp_path_factory.mktemp("flight")
    with running(start_ours(folder, "--auth", place.file.path, **TRANSPORTS["grpc"])) as server:
        yield server


@pytest.fixture(params=list(TRANSPORTS))
def there(request: pytest.FixtureRequest, place: Place) -> Running:
    """The server, of each transport."""
    skip_without(request.param)
    if request.param == "http":
        return place.server
    found: Running = request.getfixturevalue("over_flight")
    return found


def in_tenant(tenant: str) -> str:
    return f"/api/v2/tenants/{tenant}/databases/default_database"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_nobody_is_let_in_without_a_token(place: Place, there: Running) -> None:
    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer cnb_wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": f"bearer  {place.tokens['alice'][:-1]}"},
        {"X-Chroma-Token": "wrong"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"carol").decode()},
        basic("carol", "wrong"),
        basic("nobody", SECRET),
        basic("", ""),
        {"Authorization": "Digest username=carol"},
    ):
        status, found = asked(there.url, headers, "acme")
        assert status == 401, headers
        assert found["error"] == "AuthorizationError"
        assert SECRET not in str(found)


def test_what_is_open_to_strangers(place: Place) -> None:
    unknown = Raw(place.server.url)
    for path in ("/api/v2/heartbeat", "/api/v2/version", "/api/v2/healthcheck"):
        assert unknown("GET", path).status_code == 200
    answer = unknown("GET", f"{in_tenant('acme')}/collections")
    assert "WWW-Authenticate" in answer.headers
    assert unknown("GET", "/metrics").status_code == 401
    # A body is not even read of somebody who is not known.
    assert unknown("POST", "/api/v2/tenants", data=b"x" * 1_000).status_code == 401
    unknown.close()


def test_each_way_to_say_who_one_is(place: Place, there: Running) -> None:
    token = place.tokens["alice"]
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"X-Chroma-Token": token},
        {"X-Chroma-Token": f"Bearer {token}"},
        basic("carol", SECRET),
        basic("carol", SECRET),  # remembered by now
    ):
        assert asked(there.url, headers)[1]["tenant"] == "acme"
        assert asked(there.url, headers, "acme")[0] == 200
        assert asked(there.url, headers, "bolt")[0] == 403


def test_the_credentials_of_an_argument_count_more_than_the_environments(
    place: Place, there: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, token = there.url, place.tokens["bob"]

    def who(**given: Any) -> str:
        return str(
            chroma_nb.connect(given.pop("target", url), **given).api.get_user_identity().user_id
        )

    with pytest.raises(errors.InvalidArgumentError, match="got both: token and basic_auth"):
        who(token=token, basic_auth=("carol", SECRET))
    monkeypatch.setenv("CHROMA_NB_TOKEN", token)
    assert who() == "bob"
    assert who(basic_auth=("carol", SECRET)) == "carol"
    with_user = url.replace("://", "://carol:correct%20horse@")
    with pytest.raises(
        errors.InvalidArgumentError, match="got both: token and a user in the address"
    ):
        who(target=with_user)
    monkeypatch.setenv("CHROMA_NB_BASIC_AUTH", f"carol:{SECRET}")
    with pytest.raises(errors.InvalidArgumentError, match="got both"):
        who()
    assert who(token=place.tokens["alice"]) == "alice"
    assert who(settings=chroma_nb.Settings(token=token), basic_auth=("carol", SECRET)) == "carol"


def test_a_header_that_shows_other_credentials_is_refused(
    place: Place, there: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, token = there.url, place.tokens["bob"]
    headers = {"authorization": f"Bearer {place.tokens['alice']}"}
    assert chroma_nb.connect(url, headers=headers).api.get_user_identity().user_id == "alice"
    monkeypatch.setenv("CHROMA_NB_TOKEN", token)
    for given in ({}, {"token": token}, {"basic_auth": ("carol", SECRET)}):
        with pytest.raises(errors.InvalidArgumentError, match="headers holds 'authorization'"):
            chroma_nb.connect(url, headers=headers, **given)
    assert (
        chroma_nb.connect(url, headers=headers, token="").api.get_user_identity().user_id == "alice"
    )


def test_a_tenant_is_closed_to_others(place: Place) -> None:
    alice, bob = place.raw("alice"), place.raw("bob")
    made = alice("POST", f"{in_tenant('acme')}/collections", {"name": "secrets"}).json()
    key = made["id"]
    path = f"{in_tenant('acme')}/collections/{key}"
    body = {"ids": ["a"], "embeddings": [[1.0]], "documents": ["the plan"]}
    assert alice("POST", path + "/add", body).status_code == 201
    attempts: list[tuple[str, str, Any]] = [
        # Another tenant's paths.
        ("GET", "/api/v2/tenants/acme", None),
        ("GET", f"{in_tenant('acme')}/collections", None),
        ("GET", path + "/count", None),
        ("POST", path + "/get", {}),
        ("POST", path + "/delete", {"ids": ["a"]}),
        ("POST", path + "/unload", None),
        ("PUT", path, {"new_name": "mine"}),
        ("DELETE", f"{in_tenant('acme')}/collections/secrets", None),
        ("DELETE", in_tenant("acme"), None),
        ("POST", f"{in_tenant('acme')}/memory/report", {}),
        ("POST", f"{in_tenant('acme')}/memory/unload", None),
        ("POST", "/api/v2/tenants/acme/databases", {"name": "extra"}),
        # Another tenant's collection by way of one's own.
        ("GET", f"{in_tenant('bolt')}/collections/by-id/{key}", None),
        ("GET", f"{in_tenant('bolt')}/collections/{key}/count", None),
        ("POST", f"{in_tenant('bolt')}/collections/{key}/get", {}),
        ("POST", f"{in_tenant('bolt')}/collections/{key}/query", {"query_embeddings": [[1.0]]}),
        ("POST", f"{in_tenant('bolt')}/collections/{key}/add", body),
        ("POST", f"{in_tenant('bolt')}/collections/{key}/fork", {"new_name": "mine"}),
        ("PUT", f"{in_tenant('bolt')}/collections/{key}/pin", {"pinned": True}),
        ("PUT", f"{in_tenant('bolt')}/collections/{key}/ttl", {"seconds": 1}),
        ("GET", f"{in_tenant('bolt')}/collections/{key}/fields", None),
        ("GET", f"{in_tenant('bolt')}/collections/{key}/metadata_keys", None),
        ("POST", f"/api/v1/collections/{key}/unload", None),
        ("POST", f"/api/v1/collections/{key}/unload?tenant=acme", None),
        # Tricks with the path.
        ("GET", f"{in_tenant('bolt')}/../../acme/databases/default_database/collections", None),
        ("GET", "/api/v2/tenants/bolt%2F..%2Facme/databases/default_database/collections", None),
        ("GET", "/api/v2/tenants/bolt/..%2f..%2facme/databases/default_database", None),
        ("GET", "/api/v2/tenants/BOLT/../acme/databases/default_database/collections", None),
        ("GET", "//api/v2/tenants/acme/databases/default_database/collections", None),
        ("GET", "/api/v2/tenants/acme%00/databases/default_database/collections", None),
        ("GET", "/api/v2/tenants/*/databases/default_database/collections", None),
        # What concerns everybody.
        ("POST", "/api/v2/reset", None),
        ("POST", "/api/v2/tenants", {"name": "mine"}),
        ("PUT", "/api/v2/memory/budget", {"budget": 0}),
        ("GET", "/metrics", None),
    ]
    for method, target, sent in attempts:
        answer = bob(method, target, sent)
        assert answer.status_code in (401, 403, 404, 405), (method, target, answer.text)
        assert "the plan" not in answer.text
        assert "secrets" not in answer.text
    assert alice("POST", path + "/get", {}).json()["documents"] == ["the plan"]
    assert bob("GET", f"{in_tenant('bolt')}/collections").json() == []
    assert alice("POST", path + "/load").status_code == 200
    assert alice("POST", path + "/unload").status_code == 200
    mine = alice("POST", f"{in_tenant('acme')}/memory/report", {}).json()
    assert "secrets" in {one["collection"] for one in mine["events"]}
    theirs = bob("POST", f"{in_tenant('bolt')}/memory/report", {})
    assert theirs.json()["collections"] == []
    assert "secrets" not in theirs.text
    assert key not in theirs.text
    preview = bob("POST", f"{in_tenant('bolt')}/memory/preview", {"budget": 1_000})
    assert "secrets" not in preview.text
    alice.close()
    bob.close()


#: What only an admin may do: a request, and what the refusal says of it.
FOR_ADMINS: tuple[tuple[str, str, Any, str], ...] = (
    ("POST", "/api/v2/reset", None, "reset the store"),
    ("POST", "/api/v2/tenants", {"name": "mine"}, "make tenants"),
    ("PUT", "/api/v2/memory/budget", {"budget": 0}, "set the memory budget"),
    ("GET", "/metrics", None, "read the metrics"),
)


def test_a_refusal_says_who_may_what(place: Place) -> None:
    """And nothing of others: a tenant that is there and one that is not look alike."""
    bob = place.raw("bob")
    for tenant in ("acme", "no-such-tenant"):
        answer = bob("GET", f"{in_tenant(tenant)}/collections")
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            f"Forbidden: 'bob' may use the tenants ['bolt'], not '{tenant}'. Connect with one of these as "
            "tenant=..., or ask an admin of the server for a credential of that tenant"
        )
    for method, path, body, what in FOR_ADMINS:
        answer = bob(method, path, body)
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            f"Forbidden: only an admin (a credential with --tenant '*') may {what}, not 'bob'"
        )
    bob.close()
    for one in OPERATIONS.values():
        assert bool(one.admin_may) == (one.scope == "admin"), one.name
    many = Identity("m" * 500, tuple(f"tenant{n}" for n in range(900)))
    with pytest.raises(errors.ChromaAuthError, match=r"'tenant4' and 895 more\], not") as refused:
        many.check_tenant("x" * 10_000)
    assert len(str(refused.value)) < 600
    with (
        chroma_nb.connect(place.server.url, token=place.tokens["bob"]) as client,
        pytest.raises(errors.ChromaAuthError, match="only an admin"),
    ):
        client.reset()


def test_headers_cannot_be_smuggled_in(place: Place) -> None:
    """By hand, as no library would send it."""
    port = place.server.port
    for name in ("X-Chroma-Token", "Authorization", "chroma-trace-id", "traceparent", "Host"):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
            text = (
                f"GET /api/v2/auth/identity HTTP/1.1\r\nHost: x\r\n{name}: a\r\nX-Evil: 1\r\n"
                f"{name}: Bearer {'x' * 50}\r\nConnection: close\r\n\r\n"
            )
            wire.sendall(text.encode())
            answer = b""
            while part := wire.recv(4_096):
                answer += part
        head = answer.partition(b"\r\n\r\n")[0]
        assert head.split()[1] in (b"400", b"401"), head
        assert b"X-Evil" not in head
    for value in ("a\r\nX-Evil: 1", "a\nb", "ü" * 3):
        with pytest.raises(errors.InvalidArgumentError, match=r"header|HTTP"):
            chroma_nb.connect(place.server.url, token=value)


def spellings(name: str, token: str, password: str) -> dict[str, dict[str, str]]:
    """Every way to show two credentials of one name."""
    text = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {
        "bearer": {"Authorization": f"Bearer {token}"},
        "bearer in lower case": {"authorization": f"bearer   {token}"},
        "chroma's header": {"X-Chroma-Token": token},
        "chroma's header in another case": {"x-CHROMA-token": f"Bearer {token}"},
        "basic": {"Authorization": f"Basic {text}"},
        "basic in lower case": {"AUTHORIZATION": f"basic  {text}"},
    }


def test_access_ends_with_the_next_request(place: Place) -> None:
    """In every spelling, on connections that stay open, and for passwords that were found right."""
    token = place.file.add_token("dora", ["acme"])
    place.file.add_password("dora", SECRET, ["acme"])
    shown = spellings("dora", token, SECRET)
    raws = {how: Raw(place.server.url, **headers) for how, headers in shown.items()}
    for _ in range(2):
        for how, raw in raws.items():
            assert raw("GET", f"{in_tenant('acme')}/collections").status_code == 200, how
    stopped = threading.Event()
    codes: dict[str, list[int]] = {how: [] for how in raws}

    def ask(how: str) -> None:
        while not stopped.is_set():
            codes[how].append(raws[how]("GET", "/api/v2/auth/identity").status_code)

    threads = [threading.Thread(target=ask, args=(how,)) for how in raws]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(len(found) > 2 for found in codes.values()))
    assert len(place.file.remove("dora", all_of_them=True)) == 2
    # What is asked from here on is asked after the change.
    wait_until(lambda: all(found[-1] == 401 for found in codes.values()))
    for how, headers in shown.items():
        fresh = Raw(place.server.url, **headers)
        assert fresh("GET", "/api/v2/auth/identity").status_code == 401, how
        fresh.close()
    stopped.set()
    for thread in threads:
        thread.join()
    for how, found in codes.items():
        assert sorted(found) == found, f"{how} was let in again"
        assert set(found) == {200, 401}
        raws[how].close()


def test_a_change_that_the_clock_does_not_show(tmp_path: Path) -> None:
    """Same size, same times, same file: its bytes are what counts."""
    path = tmp_path / "auth.json"
    token = AuthFile(str(path)).add_token("alice", ["acme"])
    asks = Authenticator(chroma_nb.Settings(server_auth_file=str(path)))
    before = path.stat()
    assert asks.identify({"x-chroma-token": token}) == Identity("alice", ("acme",))
    path.write_text(path.read_text().replace("acme", "bolt"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert asks.identify({"x-chroma-token": token}) == Identity("alice", ("bolt",))


def test_a_password_that_is_removed_while_it_is_checked(tmp_path: Path) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    file.add_token("root", ["*"])
    file.add_password("carol", SECRET, ["acme"])
    asks = Authenticator(chroma_nb.Settings(server_auth_file=file.path))
    shown = asks.identify({"authorization": basic("carol", SECRET)["Authorization"]})
    assert isinstance(shown, Login)
    state = asks._current()
    found = state.check(shown)
    assert found is not None
    file.remove("carol")
    with pytest.raises(errors.AuthorizationError):
        asks.check(shown)
    assert state.remember(shown, found) is not None, "it was right in the file as it was"
    assert isinstance(refusal_of(asks, {"authorization": "Basic Y2Fyb2w6eA=="}), str)
    with pytest.raises(errors.AuthorizationError):
        asks.identify({"authorization": basic("carol", SECRET)["Authorization"]})


def refusal_of(asks: Authenticator, headers: dict[str, str]) -> str:
    with pytest.raises(errors.AuthorizationError) as refused:
        asks.identify(headers)
    return str(refused.value)


#: Files that are no auth files: a name, the text, and what is said of it.
WRONG_FILES = (
    ("empty", "", "it is empty"),
    ("blank", " \n", "it is empty"),
    ("cut", '{"credentials": [', "it is not JSON"),
    ("binary", "\x00\x01", "it is not JSON"),
    ("deep", "[" * 100_000, "it is not JSON"),
    ("null", "null", 'expected {"credentials": [...]}'),
    ("array", "[]", 'expected {"credentials": [...]}'),
    ("number", "1", 'expected {"credentials": [...]}'),
    ("no list", '{"credentials": {}}', 'expected {"credentials": [...]}'),
    ("item", '{"credentials": [1]}', "credential 1: expected an object"),
)
GOOD = {"name": "alice", "kind": "token", "hash": "0" * 64, "tenants": ["acme"]}
#: Members that are wrong, and what is said of them.
WRONG_MEMBERS = (
    ({"tenants": "team*"}, "list such as"),
    ({"tenants": "*"}, "list such as"),
    ({"tenants": []}, "list such as"),
    ({"tenants": {"acme": True}}, "list such as"),
    ({"tenants": None}, "list such as"),
    ({"tenants": ["team*"]}, "whole name"),
    ({"tenants": ["**"]}, "whole name"),
    ({"tenants": ["acme", 1]}, "to be a name"),
    ({"tenants": [""]}, "to be a name"),
    ({"name": ""}, "`name`"),
    ({"name": 1}, "`name`"),
    ({"kind": "admin"}, "`kind`"),
    ({"kind": None}, "`kind`"),
    ({"hash": "0" * 63}, "`hash`"),
    ({"hash": "cnb_a_secret"}, "`hash`"),
    ({"hash": None}, "`hash`"),
    ({"kind": "password"}, "`hash`"),
    ({"kind": "password", "hash": "scrypt$zz$" + "0" * 64}, "`hash`"),
    ({"id": 7}, "`id`"),
    ({"created": 7}, "`created`"),
    ({"tenant": "acme"}, "unknown member 'tenant'"),
)


@pytest.mark.parametrize(("name", "text", "said"), WRONG_FILES, ids=[one[0] for one in WRONG_FILES])
def test_a_file_that_is_no_auth_file(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(errors.InvalidArgumentError) as refused:
        Authenticator(chroma_nb.Settings(server_auth_file=str(path)))
    assert said in str(refused.value)
    assert str(path) in str(refused.value)
    with pytest.raises(errors.InvalidArgumentError, match="not a usable auth file"):
        AuthFile(str(path)).add_token("bob", ["acme"])
    assert path.read_text() == text, "what is there is not written over"


@pytest.mark.parametrize(("wrong", "said"), WRONG_MEMBERS)
def test_a_member_of_the_wrong_kind(tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"credentials": [GOOD, {**GOOD, **wrong}]}))
    with pytest.raises(errors.InvalidArgumentError) as refused:
        AuthFile(str(path)).read()
    assert "credential 2" in str(refused.value)
    assert said in str(refused.value)
    assert "cnb_a_secret" not in str(refused.value)


def test_files_of_older_versions_are_read(tmp_path: Path) -> None:
    """Without ids and dates, with short names of tenants, and with members beside the list."""
    path = tmp_path / "auth.json"
    token = "cnb_" + "x" * 43
    kept = hashlib.sha256(token.encode()).hexdigest()
    old = {"name": "al", "kind": "token", "hash": kept, "tenants": ["ab", "*"]}
    path.write_text(json.dumps({"credentials": [old], "comment": "ours"}))
    (one,) = AuthFile(str(path)).read()
    assert (one.id, one.created, one.tenants) == (kept[:8], "", ("ab", "*"))
    asks = Authenticator(chroma_nb.Settings(server_auth_file=str(path)))
    assert asks.identify({"x-chroma-token": token}) == Identity("al", ("ab", "*"))


def test_a_file_that_goes_wrong_lets_nobody_in(place: Place, there: Running) -> None:
    """Until it is right again; each change is one line in the log."""
    path = place.folder / "auth.json"
    good = path.read_text()
    shown = [
        {"Authorization": f"Bearer {place.tokens['alice']}"},
        basic("carol", SECRET),
    ]
    lines = there.log.read_text().count("Its credentials are refused")

    def codes() -> set[int]:
        return {asked(there.url, headers)[0] for headers in shown}

    def restore() -> None:
        path.write_text(good)
        path.chmod(0o600)

    states: list[Callable[[], object]] = [
        lambda: path.write_text("{"),
        lambda: path.write_text(""),
        lambda: path.write_text("null"),
        lambda: path.write_text(json.dumps({"credentials": [{**GOOD, "tenants": "team*"}]})),
        path.unlink,
        lambda: (path.unlink(), path.mkdir()),
        lambda: (path.unlink(), os.mkfifo(path)),
        lambda: (path.unlink(), path.symlink_to("/dev/zero")),
    ]
    for number, change in enumerate(states, start=1):
        assert codes() == {200}
        change()
        for _ in range(3):
            assert codes() == {401}, number
        said = asked(there.url, shown[0])[1]["message"]
        assert said == "Unauthorized: the server's auth file cannot be used now"
        assert there.log.read_text().count("Its credentials are refused") == lines + number
        if path.is_dir():
            path.rmdir()
        elif path.is_symlink() or not path.is_file():
            path.unlink(missing_ok=True)
        restore()
    assert codes() == {200}


def test_a_tenant_is_made_when_its_user_comes(place: Place) -> None:
    """Of the tenants that the auth file names; an admin makes others."""
    token = place.file.add_token("erin", ["fresh", "other"])
    with chroma_nb.connect(place.server.url, token=token) as client:
        assert client.tenant == "fresh"
        client.create_collection("docs", embedding_function=None).add(ids="a", embeddings=[1.0])
        assert [one.name for one in client.list_collections()] == ["docs"]
        client.set_tenant("other")
        assert client.list_collections() == []
    root, bob = place.raw("root"), place.raw("bob")
    assert root("GET", "/api/v2/tenants/fresh").status_code == 200
    assert root("GET", "/api/v2/tenants/nobodys").status_code == 404, "an admin names no tenant"
    for who in (bob, Raw(place.server.url)):
        assert who("GET", f"{in_tenant('third')}/collections").status_code in (401, 403)
    assert root("GET", "/api/v2/tenants/third").status_code == 404
    # Two at a time, both first; and what is not there within it stays what it is.
    token = place.file.add_token("finn", ["third"])
    with ThreadPoolExecutor(8) as pool:
        headers = {"X-Chroma-Token": token}
        paths = [f"{in_tenant('third')}/collections"] * 8
        answers = list(
            pool.map(lambda path: Raw(place.server.url)("GET", path, headers=headers), paths)
        )
    assert [one.status_code for one in answers] == [200] * 8
    missing = Raw(place.server.url, **headers)("GET", f"{in_tenant('third')}/collections/none")
    assert missing.status_code == 404
    assert "Tenant" not in missing.text


def test_a_body_that_comes_while_its_sender_is_removed(place: Place) -> None:
    token = place.file.add_token("gail", ["acme"])
    body = b'{"name": "late"}'
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=20) as wire:
        wire.sendall(
            f"POST {in_tenant('acme')}/collections HTTP/1.1\r\nHost: localhost\r\nX-Chroma-Token: {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert wire.recv(1_000).startswith(b"HTTP/1.1 100"), "it was let in"
        place.file.remove("gail")
        wire.sendall(body)
        assert wire.recv(1_000).startswith(b"HTTP/1.1 401")


def test_secrets_are_kept_nowhere(place: Place) -> None:
    with chroma_nb.connect(place.server.url, token=place.tokens["alice"]) as client:
        assert client.tenant == "acme"
        shown = [repr(client), repr(client.api), repr(client.get_settings()), str(client.memory)]
        shown += [client._repr_html_() or "", client.get_settings()._repr_html_() or ""]
        with pytest.raises(errors.ChromaAuthError) as refused:
            client.set_tenant("bolt")
        shown.append(str(refused.value))
    with pytest.raises(errors.AuthorizationError, match=r"refuses") as refused:
        chroma_nb.connect(place.server.url.replace("//", f"//carol:{SECRET}x@"))
    shown.append(str(refused.value))
    with chroma_nb.connect(place.server.url.replace("//", f"//carol:{SECRET}@")) as client:
        shown += [repr(client), repr(client.get_settings()), client._repr_html_() or ""]
    for text in shown:
        assert not any(token in text for token in place.tokens.values())
        assert SECRET not in text
    log = place.server.log.read_text()
    kept = (place.folder / "auth.json").read_text()
    for text in (log, kept):
        assert not any(token in text for token in place.tokens.values())
        assert SECRET not in text


def test_a_refused_token_is_explained(there: Running) -> None:
    with pytest.raises(errors.AuthorizationError, match=r"token=") as refused:
        chroma_nb.connect(there.url)
    assert "without a token: Unauthorized: no token was shown. Pass connect(" in str(refused.value)
    with pytest.raises(errors.AuthorizationError, match=r"what was shown"):
        chroma_nb.connect(there.url, token="wrong")


def test_one_token_from_the_environment(tmp_path: Path) -> None:
    with running(start_ours(tmp_path, CHROMA_NB_SERVER_TOKEN="a-long-secret")) as server:
        assert Raw(server.url)("GET", "/api/v2/auth/identity").status_code == 401
        with chroma_nb.connect(server.url, token="a-long-secret") as client:
            assert client.list_collections() == []
            with pytest.raises(errors.AuthorizationError, match="chroma-nb run --allow-reset"):
                client.reset()
        chosen = chroma_nb.Settings(
            chroma_client_auth_provider="chromadb.auth.token_authn.TokenAuthClientProvider",
            chroma_client_auth_credentials="a-long-secret",
            chroma_auth_token_transport_header="X-Chroma-Token",
        )
        with chroma_nb.HttpClient(port=server.port, settings=chosen) as client:
            assert client.get_user_identity().user_id == "token"


def test_a_public_address_wants_authentication(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        assert cli.main(["run", "--host", host, "--port", "0"]) == 2
        assert "without authentication" in capsys.readouterr().err
    chroma_nb.configure()
    with running(
        start_ours(tmp_path, "--host", "0.0.0.0", CHROMA_NB_SERVER_TOKEN="x" * 20)
    ) as server:
        assert Raw(server.url)("GET", "/api/v2/heartbeat").status_code == 200
        (warned,) = warnings_of(server)
        assert "Serving on 0.0.0.0 without TLS" in warned
        assert "--tls-certificate" in warned
        server.log.unlink()
    with running(start_ours(tmp_path, "--host", "0.0.0.0", "--public")) as server:
        assert Raw(server.url)("GET", f"{PLACE}/collections").status_code == 200
        assert warnings_of(server) == []


def warnings_of(server: Running) -> list[str]:
    lines = map(json.loads, server.log.read_text().splitlines())
    return [line["message"] for line in lines if line["level"] == "warning"]


def test_web_pages_of_elsewhere_are_refused(server: Running) -> None:
    raw = Raw(server.url)
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}.evil.example"):
        answer = raw("POST", "/api/v2/reset", headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "Access-Control-Allow-Origin" not in answer.headers
    # A name of somebody else's that leads here: its pages would look like this server's own.
    for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example:80"):
        led = raw("GET", f"{PLACE}/collections", headers={"Host": host, "Origin": f"http://{host}"})
        assert led.status_code == 403, host
        assert "--public" in led.json()["message"]
    for host in ("localhost", f"localhost:{server.port}", "[::1]:8000", "192.0.2.1", "127.0.0.1:1"):
        assert raw("GET", "/api/v2/version", headers={"Host": host}).status_code == 200, host
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert raw("GET", "/api/v2/version", headers=own).status_code == 200
    raw.close()


def test_named_web_pages_may_ask(tmp_path: Path) -> None:
    page = "https://app.example"
    with running(start_ours(tmp_path, CHROMA_NB_SERVER_CORS_ORIGINS=page)) as server:
        raw = Raw(server.url)
        answer = raw("GET", "/api/v2/version", headers={"Origin": page})
        assert answer.headers["Access-Control-Allow-Origin"] == page
        preflight = raw(
            "OPTIONS",
            f"{PLACE}/collections",
            headers={"Origin": page, "Access-Control-Request-Method": "POST"},
        )
        assert preflight.status_code == 200
        other = raw("GET", "/api/v2/version", headers={"Origin": "https://evil.example"})
        assert other.status_code == 403
        raw.close()


# -- the file and the command ---------------------------------------------------------------------


def listed(file: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Return the rows of `auth list`."""
    capsys.readouterr()
    assert cli.main(["auth", "list", file]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "KIND", "ID", "CREATED", "TENANTS"]
    return [row.split() for row in rows]


def test_the_command_keeps_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "auth.json")
    assert cli.main(["auth", "add", file, "alice", "--tenant", "acme"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("cnb_")
    assert token not in (tmp_path / "auth.json").read_text()
    assert stat.S_IMODE((tmp_path / "auth.json").stat().st_mode) == 0o600
    ((*start, identifier, created, tenant),) = listed(file, capsys)
    assert start == ["alice", "token"]
    assert tenant == "acme"
    assert created == datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    # The id is seen in the token, and is far from being the token.
    assert token.startswith(f"cnb_{identifier}_")
    assert len(token) - len(identifier) > 43
    asks = Authenticator(chroma_nb.Settings(server_auth_file=file))
    assert asks.identify({"authorization": f"Bearer {token}"}) == Identity("alice", ("acme",))
    with pytest.raises(errors.AuthorizationError):
        asks.identify({"authorization": f"Bearer cnb_{identifier}_"})
    for arguments, said in (
        ([], "--tenant"),
        (["--tenant", "team*"], "whole name"),
        (["--tenant", "ab"], "at least 3"),
        (["--tenant", ""], "to be a name"),
    ):
        assert cli.main(["auth", "add", file, "bob", *arguments]) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["auth", "add", file, "\x1b[2J", "--tenant", "acme"]) == 2
    assert cli.main(["auth", "remove", file, "nobody"]) == 1
    assert cli.main(["auth", "remove", file, "alice"]) == 0
    assert json.loads((tmp_path / "auth.json").read_text()) == {"credentials": []}
    capsys.readouterr()
    for command in (["list"], ["remove"]):
        arguments = [
            "auth",
            *command,
            str(tmp_path / "none.json"),
            *["alice"][: command != ["list"]],
        ]
        assert cli.main(arguments) == 2
        assert "does not exist. `chroma-nb auth add" in capsys.readouterr().err


def test_one_of_several_credentials_is_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "auth.json")
    for _ in range(2):
        assert cli.main(["auth", "add", file, "alice", "--tenant", "acme"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("a good password\n"))
    assert cli.main(["auth", "add", file, "alice", "--tenant", "acme", "--password"]) == 0
    assert cli.main(["auth", "add", file, "bob", "--tenant", "acme"]) == 0
    capsys.readouterr()
    rows = listed(file, capsys)
    ids = [row[2] for row in rows]
    assert [row[1] for row in rows] == ["token", "token", "password", "token"]
    assert cli.main(["auth", "remove", file, "alice"]) == 2
    said = capsys.readouterr().err
    assert all(one in said for one in (*ids[:3], "--token", "--all"))
    assert ids[3] not in said
    assert cli.main(["auth", "remove", file, "alice", "--token", "zzzz"]) == 1
    assert cli.main(["auth", "remove", file, "alice", "--token", ""]) == 1
    assert cli.main(["auth", "remove", file, "bob", "--token", ids[0]]) == 1, "it is not bob's"
    # The beginning of two ids: it says so, and does not ask for what was given.
    path = tmp_path / "auth.json"
    path.write_text(
        path.read_text().replace(ids[0], "3f3f" + "0" * 4).replace(ids[1], "3f3f" + "1" * 4)
    )
    ids[:2] = ["3f3f0000", "3f3f1111"]
    capsys.readouterr()
    assert cli.main(["auth", "remove", file, "alice", "--token", "3f3f"]) == 2
    said = capsys.readouterr().err
    assert "--token '3f3f' fits 2 ids of 'alice': token 3f3f0000 of " in said
    assert "; token 3f3f1111 of " in said
    assert said.endswith(". Give more of the id.\n")
    assert ids[2] not in said
    assert cli.main(["auth", "remove", file, "alice", "--token", ids[0][:6]]) == 0
    assert [row[2] for row in listed(file, capsys)[-3:]] == ids[1:]
    assert cli.main(["auth", "remove", file, "alice", "--all"]) == 0
    capsys.readouterr()
    assert [row[2] for row in listed(file, capsys)] == ids[3:]


def test_a_terminal_is_safe_from_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "auth.json"
    path.write_text(
        json.dumps({"credentials": [{**GOOD, "name": "a\x1b[2Jb", "tenants": ["c\nd"]}]})
    )
    assert cli.main(["auth", "list", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "a\\x1b[2Jb" in shown
    assert len(shown.splitlines()) == 2


def test_eight_at_once_lose_nothing(tmp_path: Path) -> None:
    file = str(tmp_path / "auth.json")
    command = [sys.executable, "-m", "chroma_nb", "auth", "add", file]
    added = [
        subprocess.Popen(
            [*command, f"user{i}", "--tenant", "acme"], stdout=subprocess.PIPE, text=True
        )
        for i in range(8)
    ]
    tokens = [process.communicate(timeout=60)[0].strip() for process in added]
    assert [process.returncode for process in added] == [0] * 8
    asks = Authenticator(chroma_nb.Settings(server_auth_file=file))
    for number, token in enumerate(tokens):
        assert asks.identify({"x-chroma-token": token}) == Identity(f"user{number}", ("acme",))
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {"auth.json", ".auth.json.lock"}


def test_a_writer_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    monkeypatch.setattr("chroma_nb.server.auth_file._LOCK_SECONDS", 0.0)
    with file._locked(), pytest.raises(errors.InternalError, match="Another process"):
        AuthFile(file.path).add_token("alice", ["acme"])
    AuthFile(file.path).add_token("alice", ["acme"])


def test_a_folder_that_is_missing_or_not_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "not made"
    for command in (["add"], ["remove"]):
        options = ["--tenant", "acme"] if command == ["add"] else []
        arguments = ["auth", *command, str(missing / "auth.json"), "alice", *options]
        assert cli.main(arguments) == 2
        assert f"Make it first, as the user who runs the server: `mkdir -p '{missing}'`." in (
            capsys.readouterr().err
        )
    assert not missing.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX rights")
def test_a_folder_that_one_may_not_write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755 if os.geteuid() == 0 else 0o500)
        done = subprocess.run(
            [
                *as_nobody(),
                *(sys.executable, "-m", "chroma_nb", "auth", "add"),
                *(f"{folder}/auth.json", "alice", "--tenant", "acme"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
        )
        os.chmod(folder, 0o700)
    assert done.returncode == 2, done.stderr
    assert f"may not write in the folder {folder!r}" in done.stderr
    assert done.stdout == ""


def as_nobody() -> list[str]:
    """Return what a command is run by that root's rights must not help; empty where there are none."""
    if os.geteuid() != 0:
        return []
    under = ["setpriv", "--reuid", "65534", "--clear-groups"]
    if shutil.which("setpriv") is None:
        pytest.skip("root needs setpriv for this")
    tried = [*under, sys.executable, "-c", "import chroma_nb.cli"]
    if subprocess.run(tried, capture_output=True, check=False, cwd="/").returncode:
        pytest.skip("nobody may not run this Python")
    return under


def test_links_are_not_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "elsewhere" / "real.json"
    target.parent.mkdir()
    AuthFile(str(target)).add_token("alice", ["acme"])
    before = target.read_text()
    link = tmp_path / "auth.json"
    link.symlink_to(target)
    assert cli.main(["auth", "add", str(link), "bob", "--tenant", "acme"]) == 2
    assert str(target) in capsys.readouterr().err
    assert link.is_symlink()
    assert target.read_text() == before
    # To read through one is allowed: that is how orchestrators hand out secrets.
    assert len(AuthFile(str(link)).read()) == 1
    # A link in place of the lock, to somebody's file.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".other.json.lock").symlink_to(victim)
    assert cli.main(["auth", "add", str(tmp_path / "other.json"), "bob", "--tenant", "acme"]) == 1
    assert victim.read_text() == "precious"


def test_the_files_owner_and_group_stay(tmp_path: Path) -> None:
    """A server that runs as another user can read the file after an administrator has changed it."""
    path = tmp_path / "auth.json"
    file = AuthFile(str(path))
    file.add_token("alice", ["acme"])
    path.chmod(0o666)
    if os.geteuid() == 0:
        os.chown(path, 65_534, 65_534)
    before = path.stat()
    file.add_token("bob", ["acme"])
    after = path.stat()
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert stat.S_IMODE(after.st_mode) == 0o640, "a group may read if it could, nobody else"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="auth add"):
        Authenticator(chroma_nb.Settings(server_auth_file=str(tmp_path / "none.json")))


def test_a_token_that_no_client_can_show() -> None:
    for token in (" secret", "secret\n", "se\x00cret", "  "):
        with pytest.raises(errors.InvalidArgumentError, match="server_token"):
            Authenticator(chroma_nb.Settings(server_token=token))


def test_the_time_of_a_check_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check takes as many hashes, whoever is asked for; none where nobody has a password."""
    hashes: list[str] = []
    original = auth_file._scrypt

    def scrypt(password: str, salt: bytes) -> bytes:
        hashes.append(password)
        return original(password, salt)

    file = AuthFile(str(tmp_path / "auth.json"))
    file.add_token("root", ["*"])
    asks = Authenticator(chroma_nb.Settings(server_auth_file=file.path))
    monkeypatch.setattr(auth_file, "_scrypt", scrypt)
    for name in ("root", "nobody"):
        assert "wrong password" in refusal_of(
            asks, {"authorization": basic(name, "guess")["Authorization"]}
        )
    assert hashes == [], "a server that has tokens alone hashes nothing"
    for password in (SECRET, SECRET + "2"):
        file.add_password("carol", password, ["acme"])
    file.add_password("dave", SECRET, ["acme"])
    counts = set()
    for name, password in (
        *(("carol", SECRET), ("carol", SECRET + "2"), ("carol", "wrong")),
        *(("dave", SECRET), ("dave", "wrong"), ("root", "wrong"), ("nobody", "wrong")),
    ):
        hashes.clear()
        with contextlib.suppress(errors.AuthorizationError):
            asks.check(Login(name, password))
        counts.add(len(hashes))
    assert counts == {2}


def test_a_password_waits_for_one_guess_of_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And for those of its own address that came before."""
    checked: list[str] = []

    class Recording(Authenticator):
        def check(self, login: Login) -> Identity:
            checked.append(login.name)
            return super().check(login)

    file = AuthFile(str(tmp_path / "auth.json"))
    file.add_password("carol", SECRET, ["acme"])
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    queue = PasswordQueue(Recording(chroma_nb.Settings(server_auth_file=file.path)))

    async def show(address: str, name: str, password: str) -> Identity | None:
        try:
            return await queue.check(
                Login(name, password), basic_headers(name, password), address, lambda: None
            )
        except errors.AuthorizationError:
            return None

    async def all_at_once() -> list[Identity | None]:
        guesses = [show(f"192.0.2.{number // 3}", f"guess{number}", "wrong") for number in range(6)]
        # One from an address that guesses as well, one from an address of its own.
        return await asyncio.gather(
            *guesses, show("192.0.2.0", "carol", SECRET), show("192.0.2.9", "carol", SECRET)
        )

    found = asyncio.run(all_at_once())
    queue.close()
    assert found == [None] * 6 + [Identity("carol", ("acme",))] * 2
    assert checked.index("carol") <= 2, "one guess of each of two addresses"
    # Its second password is known by then, and is not checked again.
    assert checked.count("carol") == 1
    assert len(checked) == 7


def test_a_password_that_comes_when_the_server_has_stopped_is_refused(tmp_path: Path) -> None:
    file = AuthFile(str(tmp_path / "auth.json"))
    file.add_password("carol", SECRET, ["acme"])
    queue = PasswordQueue(Authenticator(chroma_nb.Settings(server_auth_file=file.path)))
    queue.close()
    shown = queue.check(
        Login("carol", SECRET), basic_headers("carol", SECRET), "192.0.2.1", lambda: None
    )
    with pytest.raises(Refused, match="it is stopping"):
        asyncio.run(shown)


def basic_headers(name: str, password: str) -> dict[str, str]:
    return {key.lower(): value for key, value in basic(name, password).items()}


RUN = [sys.executable, "-m", "chroma_nb", "run", "--port", "0"]


def failed(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a server that cannot start, and return its status and what it said."""
    done = subprocess.run(
        [*RUN, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.stdout == "", "something was served"
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("chroma-nb: ")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def unusable(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The same in this process, which is quicker; status 2 is asserted."""
    assert cli.main(["run", "--port", "0", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    return shown.err


def test_what_a_server_cannot_use_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith("CHROMA_NB_"):
            monkeypatch.delenv(name)
    store = tmp_path / "store"
    file = tmp_path / "file"
    file.write_text("x")
    missing = str(tmp_path / "missing.json")
    cases = {
        ("--auth", missing): ("does not exist", "auth add", missing),
        ("--auth", str(tmp_path)): ("is a folder", str(tmp_path)),
        ("--auth", str(file)): ("not a usable auth file", str(file)),
        ("--auth", ""): ("--auth is empty",),
        ("--tls-certificate", missing): ("--tls-certificate", missing),
        ("--tls-key", missing): ("--tls-certificate FILE", missing),
        ("--tls-certificate", str(file)): ("PEM", str(file)),
        ("--memory", "nonsense"): ("memory_budget", "512 MB", "nonsense"),
        ("--port", "70000"): ("65,535",),
        ("--port", "-1"): ("server_port", "-1"),
        ("--path", str(file)): ("is a file", str(file)),
        ("--path", ""): ("--path is empty",),
        (str(store),): ("For the folder of the store: --path", str(store)),
        ("--path", str(file / "below")): ("cannot be written", "below"),
    }
    for arguments, expected in cases.items():
        given = arguments if "--path" in arguments else ("--path", str(store), *arguments)
        said = unusable(*given, capsys=capsys)
        for part in expected:
            assert part in said, (arguments, said)
    assert not store.exists(), "nothing was made for a server that does not start"
    chroma_nb.configure()
    # Once as it is typed.
    assert failed("--auth", missing)[0] == 2


def test_a_certificate_that_cannot_be_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trustme = pytest.importorskip("trustme")
    from cryptography.hazmat.primitives import serialization

    own, other = (trustme.CA().issue_cert("localhost") for _ in range(2))
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    own.cert_chain_pems[0].write_to_path(certificate)
    other.private_key_pem.write_to_path(key)
    pair = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    assert "belongs to it" in unusable(*pair, capsys=capsys)
    plain = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert "encrypted" in unusable(*pair, capsys=capsys)
    chroma_nb.configure()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX rights")
def test_a_file_that_the_servers_user_may_not_read() -> None:
    # Not pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        file = os.path.join(folder, "auth.json")
        AuthFile(file).add_token("alice", ["acme"])
        # Root reads everything, so the server runs as nobody.
        under = as_nobody()
        if not under:
            os.chmod(file, 0)
        done = subprocess.run(
            [*under, *RUN, "--auth", file],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd="/",
        )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "may not read the auth file" in done.stderr
    assert file in done.stderr
    assert len(done.stderr.splitlines()) == 1
