"""Who may enter, and what somebody who may not can try."""

from __future__ import annotations

import base64
import json
import socket
import stat
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

import chroma_nb
from benchmarks.servers import Running, running, start_ours
from chroma_nb import cli, errors
from chroma_nb.server.auth import Authenticator, AuthFile
from tests.server.conftest import PLACE, Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def in_tenant(tenant: str) -> str:
    return f"/api/v2/tenants/{tenant}/databases/default_database"


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def test_nobody_is_let_in_without_a_token(place: Place) -> None:
    stranger = Raw(place.server.url)
    for path in ("/api/v2/heartbeat", "/api/v2/version", "/api/v2/healthcheck"):
        assert stranger("GET", path).status_code == 200
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
        answer = stranger("GET", f"{in_tenant('acme')}/collections", headers=headers)
        assert answer.status_code == 401, headers
        assert answer.json()["error"] == "AuthorizationError"
        assert "WWW-Authenticate" in answer.headers
        assert SECRET not in answer.text
    assert stranger("GET", "/metrics").status_code == 401
    # A body is not even read of somebody who is not known.
    assert stranger("POST", "/api/v2/tenants", data=b"x" * 1_000).status_code == 401
    stranger.close()


def test_each_way_to_say_who_one_is(place: Place) -> None:
    token = place.tokens["alice"]
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"X-Chroma-Token": token},
        {"X-Chroma-Token": f"Bearer {token}"},
        basic("carol", SECRET),
        basic("carol", SECRET),  # remembered by now
    ):
        raw = Raw(place.server.url, **headers)
        identity = raw("GET", "/api/v2/auth/identity").json()
        assert identity["tenant"] == "acme"
        assert raw("GET", f"{in_tenant('acme')}/collections").status_code == 200
        raw.close()


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


def test_tokens_change_without_a_restart(place: Place) -> None:
    old = place.file.add_token("dora", ["acme"])
    raw = Raw(place.server.url, Authorization=f"Bearer {old}")
    wait_for(lambda: raw("GET", "/api/v2/auth/identity").status_code == 200)
    new = place.file.add_token("dora", ["acme"])
    other = Raw(place.server.url, Authorization=f"Bearer {new}")
    wait_for(lambda: other("GET", "/api/v2/auth/identity").status_code == 200)
    assert raw("GET", "/api/v2/auth/identity").status_code == 200, "both hold while one is rotated"
    assert place.file.remove("dora") == 2
    wait_for(lambda: raw("GET", "/api/v2/auth/identity").status_code == 401)
    assert other("GET", "/api/v2/auth/identity").status_code == 401
    # A file that is being broken by hand changes nothing.
    text = (place.folder / "auth.json").read_text()
    (place.folder / "auth.json").write_text("{")
    time.sleep(1.2)
    assert place.raw("alice")("GET", "/api/v2/auth/identity").status_code == 200
    (place.folder / "auth.json").write_text(text)
    raw.close()
    other.close()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


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
    assert stat.S_IMODE((place.folder / "auth.json").stat().st_mode) == 0o600


def test_a_refused_token_is_explained(place: Place) -> None:
    with pytest.raises(errors.AuthorizationError, match=r"token=") as refused:
        chroma_nb.connect(place.server.url)
    assert "without a token" in str(refused.value)
    with pytest.raises(errors.AuthorizationError, match=r"what was shown"):
        chroma_nb.connect(place.server.url, token="wrong")


def test_one_token_from_the_environment(tmp_path: Path) -> None:
    with running(start_ours(tmp_path, CHROMA_NB_SERVER_TOKEN="a-long-secret")) as server:
        assert Raw(server.url)("GET", "/api/v2/auth/identity").status_code == 401
        with chroma_nb.connect(server.url, token="a-long-secret") as client:
            assert client.list_collections() == []
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
        assert cli.main(["run", "--host", host, "--port", "0"]) == 1
        assert "without authentication" in capsys.readouterr().err
    chroma_nb.configure()
    with running(
        start_ours(tmp_path, "--host", "0.0.0.0", CHROMA_NB_SERVER_TOKEN="x" * 20)
    ) as server:
        assert Raw(server.url)("GET", "/api/v2/heartbeat").status_code == 200
    with running(start_ours(tmp_path, "--host", "0.0.0.0", "--public")) as server:
        assert Raw(server.url)("GET", f"{PLACE}/collections").status_code == 200


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


def test_the_command_keeps_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "auth.json")
    assert cli.main(["auth", "add", file, "alice", "--tenant", "acme"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith("cnb_")
    assert token not in (tmp_path / "auth.json").read_text()
    assert cli.main(["auth", "list", file]) == 0
    assert capsys.readouterr().out == "alice\ttoken\tacme\n"
    authenticator = Authenticator(chroma_nb.Settings(server_auth_file=file))
    found = authenticator.knows({"authorization": f"Bearer {token}"})
    assert found is not None
    assert (found.name, found.tenants) == ("alice", ("acme",))
    assert cli.main(["auth", "add", file, "bob"]) == 1
    assert "--tenant" in capsys.readouterr().err
    assert cli.main(["auth", "remove", file, "nobody"]) == 1
    assert cli.main(["auth", "remove", file, "alice"]) == 0
    assert json.loads((tmp_path / "auth.json").read_text()) == {"credentials": []}
    (tmp_path / "auth.json").write_text("[]")
    assert cli.main(["auth", "list", file]) == 1
    assert "not a file of credentials" in capsys.readouterr().err


def test_a_file_that_is_not_there_lets_nobody_in(tmp_path: Path) -> None:
    authenticator = Authenticator(chroma_nb.Settings(server_auth_file=str(tmp_path / "none.json")))
    assert not authenticator.is_open
    with pytest.raises(errors.AuthorizationError):
        authenticator.identify({"authorization": f"Bearer {uuid.uuid4()}"})
