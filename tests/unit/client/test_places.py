"""Where a client's store is, when a folder is given beside what the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.client.places import with_path
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_keeps_the_store_there_wherever_the_environment_sends_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHROMA_NB_API", "fastapi")
    monkeypatch.setenv("CHROMA_NB_URL", "http://host:8000")
    chosen = with_path(Settings(), tmp_path)
    assert chosen.path == str(tmp_path)
    assert chosen.is_persistent
    assert not chosen.is_remote


def test_two_ways_to_one_folder_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "store")
    chosen = with_path(Settings(path=str(tmp_path / "store")), tmp_path / "link")
    assert chosen.is_persistent


@pytest.mark.parametrize("other", [{"path": "elsewhere"}, {"url": "http://user:secret@host:8000"}])
def test_two_places_are_an_error_that_names_both(tmp_path: Path, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match="in one place, and two are given") as caught:
        with_path(Settings(**other), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("nothing", [None, "", "  ", b"store", 3])
def test_what_is_no_path_is_refused(nothing: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"chroma_nb\.EphemeralClient\(\)"):
        with_path(Settings(), nothing)
