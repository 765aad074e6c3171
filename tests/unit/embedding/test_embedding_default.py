from __future__ import annotations

import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from chroma_nb.embedding import (
    DefaultEmbeddingFunction,
    EmbeddingNotice,
    StaticEmbeddingFunction,
    _default,
    _minilm,
    embed_documents,
    resolve_default,
)
from chroma_nb.errors import InternalError
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _new_process(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model on the machine, nothing tried, nothing said."""
    monkeypatch.setattr(_default, "_attempts", _default._Attempts())


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Downloads that fail; the list holds one entry for each."""
    tried: list[Any] = []

    def fail(settings: Settings) -> Path:
        tried.append(settings)
        return real(settings, url="http://127.0.0.1:9/")

    real = _minilm.download_minilm
    monkeypatch.setattr(_minilm, "download_minilm", fail)
    return tried


def test_static_is_silent(downloads: list[Any]) -> None:
    assert isinstance(resolve_default(Settings(embedding="static")), StaticEmbeddingFunction)
    assert downloads == []


def test_minilm_is_looked_for_at_the_first_use(downloads: list[Any]) -> None:
    function = resolve_default(Settings(embedding="minilm"))
    assert isinstance(function, DefaultEmbeddingFunction)
    assert downloads == []
    with pytest.raises(InternalError, match="Could not download all-MiniLM-L6-v2"):
        embed_documents(function, ["a"])


def test_auto_takes_minilm_where_it_is(minilm_folder: Path, downloads: list[Any]) -> None:
    function = resolve_default(Settings(minilm_path=minilm_folder, offline=True))
    assert type(function) is DefaultEmbeddingFunction
    assert embed_documents(function, ["a"]).shape == (1, 384)
    assert downloads == []


def test_auto_tries_the_download_once_and_says_so_once(downloads: list[Any]) -> None:
    with pytest.warns(EmbeddingNotice) as caught:
        first = resolve_default(Settings())
    assert isinstance(first, StaticEmbeddingFunction)
    assert len(caught) == 1
    message = str(caught[0].message)
    for part in ("static model", "no connection", "prefetch()", 'Settings(embedding="static")'):
        assert part in message
    assert isinstance(resolve_default(Settings()), StaticEmbeddingFunction)
    assert len(downloads) == 1


def test_the_notice_points_at_the_users_line(downloads: list[Any]) -> None:
    with pytest.warns(EmbeddingNotice) as caught:
        resolve_default(Settings(offline=True))
    assert caught[0].filename == __file__


def test_offline_tries_nothing(downloads: list[Any]) -> None:
    with pytest.warns(EmbeddingNotice, match=r"Settings\.offline is on"):
        assert isinstance(resolve_default(Settings(offline=True)), StaticEmbeddingFunction)
    assert downloads == []


def test_prefetch_ends_the_static_model(
    downloads: list[Any], home: Path, minilm_folder: Path
) -> None:
    with pytest.warns(EmbeddingNotice):
        resolve_default(Settings())
    cached = home / ".cache" / "chroma" / "onnx_models" / "all-MiniLM-L6-v2"
    cached.mkdir(parents=True, exist_ok=True)
    (cached / "onnx").symlink_to(minilm_folder)
    assert isinstance(resolve_default(Settings()), DefaultEmbeddingFunction)


def test_without_onnxruntime(downloads: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name)
    )
    with pytest.warns(EmbeddingNotice, match="onnxruntime is not installed"):
        assert isinstance(resolve_default(Settings()), StaticEmbeddingFunction)
    assert downloads == []


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Unknown setting embedding='statik'.* 'static'"):
        resolve_default(Settings(embedding="statik"))
    with pytest.raises(ValueError, match="Setting minilm_path"):
        resolve_default(Settings(minilm_path=tmp_path))


def test_the_environment_decides_where_no_settings_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHROMA_NB_EMBEDDING", "static")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(resolve_default(), StaticEmbeddingFunction)
