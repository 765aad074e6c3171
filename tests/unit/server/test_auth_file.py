"""The auth file keeps hashes; tests/server/test_auth.py has all that may be wrong with one, and the command."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chroma_nb.errors import InvalidArgumentError, NotFoundError
from chroma_nb.server.auth_file import (
    AuthFile,
    check_name,
    check_password,
    check_tenants,
    check_token,
    describe,
    token_hash,
)


@pytest.fixture
def file(tmp_path: Path) -> AuthFile:
    return AuthFile(str(tmp_path / "auth.json"))


def test_a_token_is_returned_once_and_its_hash_is_kept(file: AuthFile) -> None:
    token = file.add_token("ada", ["acme"])
    (kept,) = file.read()
    assert (kept.name, kept.kind, kept.tenants) == ("ada", "token", ("acme",))
    assert kept.hash == token_hash(token)
    assert token.startswith(f"cnb_{kept.id}_")
    assert token.rpartition("_")[2] not in Path(file.path).read_text()


def test_a_password_is_checked_against_its_own_hash(file: AuthFile) -> None:
    kept = file.add_password("ada", "correct horse", ["acme"])
    assert check_password("correct horse", kept)
    assert not check_password("wrong horse", kept)
    assert not check_password("correct horse", None)
    assert "correct" not in Path(file.path).read_text()
    assert kept.hash not in repr(kept)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_a_new_file_is_its_owners_alone(file: AuthFile) -> None:
    file.add_token("ada", ["acme"])
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600


def test_the_stamp_changes_with_the_file(file: AuthFile) -> None:
    assert file.stamp() is None
    file.add_token("ada", ["acme"])
    before = file.stamp()
    file.add_token("ada", ["acme"])
    assert before is not None
    assert file.stamp() != before


def test_one_of_several_credentials_is_named_by_its_id(file: AuthFile) -> None:
    file.add_token("ada", ["acme"])
    file.add_token("ada", ["acme"])
    first, second = file.read()
    with pytest.raises(InvalidArgumentError, match="has 2 credentials"):
        file.remove("ada")
    assert file.remove("ada", first.id) == [first]
    assert file.read() == [second]
    with pytest.raises(NotFoundError, match="no credentials of 'eve'"):
        file.remove("eve")


def test_a_credential_is_described_without_its_secret(file: AuthFile) -> None:
    token = file.add_token("ada", ["acme"])
    (kept,) = file.read()
    said = describe(kept)
    assert said == f"token {kept.id} of {kept.created[:10]}"
    assert token not in said


def test_what_is_written_is_read_again(file: AuthFile) -> None:
    file.add_token("ada", ["*"])
    (kept,) = file.read()
    assert file.parse(json.dumps({"credentials": [kept.to_json()]}).encode()) == [kept]


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", 1, None])
def test_a_name_can_be_shown(name: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="printable"):
        check_name(name)


@pytest.mark.parametrize("tenants", [[], "acme", ["a*"], [""], [1], None])
def test_tenants_are_whole_names_or_a_star(tenants: Any) -> None:
    with pytest.raises(InvalidArgumentError):
        check_tenants(tenants)
    assert check_tenants(["acme", "*"]) == ("acme", "*")


@pytest.mark.parametrize("token", [" token", "token\n", "to\x00ken"])
def test_a_token_that_no_client_can_send_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError, match="server_token"):
        check_token(token)
    check_token("token")
