from __future__ import annotations

import hashlib
import io
import tarfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from chroma_nb.embedding import (
    DefaultEmbeddingFunction,
    ONNXMiniLM_L6_V2,
    _minilm,
    download_minilm,
    embed_documents,
    embedding_function_from_config,
    embedding_function_to_config,
    find_minilm,
    prefetch,
)
from chroma_nb.errors import InternalError
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from tests.unit.embedding.conftest import Service

CACHE = Path(".cache") / "chroma" / "onnx_models" / "all-MiniLM-L6-v2"
FILES = [
    "config.json",
    "model.onnx",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.txt",
]


def archive(names: list[str], *, extra: str | None = None) -> tuple[bytes, str]:
    """An archive laid out as Chroma's is, and its checksum."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in [f"onnx/{name}" for name in names] + ([extra] if extra else []):
            member = tarfile.TarInfo(name)
            content = f"content of {name}".encode()
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


def place(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("x")
    return folder


# -- finding ------------------------------------------------------------------------------------------


def test_order_of_the_search(home: Path, tmp_path: Path) -> None:
    assert find_minilm(Settings()) is None
    cached = place(home / CACHE / "onnx", FILES)
    assert find_minilm(Settings()) == cached
    own = place(tmp_path / "own", ["model.onnx", "tokenizer.json"])
    assert find_minilm(Settings(minilm_path=own)) == own
    nested = place(tmp_path / "nested" / "onnx", FILES)
    assert find_minilm(Settings(minilm_path=nested.parent)) == nested


def test_half_a_model_is_none(home: Path) -> None:
    place(home / CACHE / "onnx", ["model.onnx"])
    assert find_minilm(Settings()) is None


def test_a_path_without_a_model_is_an_error(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Setting minilm_path is .*does not hold model.onnx"):
        find_minilm(Settings(minilm_path=tmp_path))
    with pytest.raises(ValueError, match=r"model_path is .*does not hold model.onnx"):
        ONNXMiniLM_L6_V2(model_path=tmp_path)(["a"])


# -- downloading --------------------------------------------------------------------------------------


def test_a_download_is_where_chroma_looks(home: Path, service: Service) -> None:
    data, sha256 = archive(FILES, extra="onnx/unexpected.txt")
    service.reply(data)
    folder = download_minilm(Settings(), url=service.url, sha256=sha256)
    assert folder == home / CACHE / "onnx"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / "vocab.txt").read_text() == "content of onnx/vocab.txt"
    assert [path.name for path in folder.parent.iterdir()] == ["onnx"]
    assert find_minilm(Settings()) == folder
    assert download_minilm(Settings(), url=service.url, sha256=sha256) == folder
    assert len(service.requests) == 1


def test_a_download_takes_the_place_of_half_a_model(home: Path, service: Service) -> None:
    place(home / CACHE / "onnx", ["model.onnx"])
    data, sha256 = archive(FILES)
    service.reply(data)
    folder = download_minilm(Settings(), url=service.url, sha256=sha256)
    assert (folder / "model.onnx").read_text() == "content of onnx/model.onnx"


def test_another_file_is_refused(home: Path, service: Service) -> None:
    data, _ = archive(FILES)
    service.reply(data)
    with pytest.raises(InternalError, match=r"its SHA-256 is .*, expected 913d"):
        download_minilm(Settings(), url=service.url)
    assert list((home / CACHE).iterdir()) == []


def test_an_archive_chooses_no_place(home: Path, service: Service) -> None:
    data, sha256 = archive(FILES, extra="../../escaped.txt")
    service.reply(data)
    download_minilm(Settings(), url=service.url, sha256=sha256)
    assert not list(home.rglob("escaped.txt"))


@pytest.mark.parametrize("broken", ["incomplete", "no archive"])
def test_an_archive_without_the_model(home: Path, service: Service, broken: str) -> None:
    data, sha256 = archive(FILES[:1])
    if broken == "no archive":
        data = b"no archive"
        sha256 = hashlib.sha256(data).hexdigest()
    service.reply(data)
    with pytest.raises(InternalError, match=r"does not hold model.onnx|Could not store"):
        download_minilm(Settings(), url=service.url, sha256=sha256)
    assert find_minilm(Settings()) is None


def test_no_server(home: Path, service: Service) -> None:
    service.reply(b"gone", status=404)
    with pytest.raises(InternalError, match=r"Could not download .* HTTP 404\. .*minilm_path"):
        download_minilm(Settings(), url=service.url)
    with pytest.raises(InternalError, match=r"Could not download .* no connection\."):
        download_minilm(Settings(), url="http://127.0.0.1:9/")


def test_a_broken_download_leaves_nothing(home: Path, service: Service) -> None:
    data, sha256 = archive(FILES)
    service.reply(data[:100], headers={"Content-Length": str(len(data))})
    with pytest.raises(InternalError):
        download_minilm(Settings(), url=service.url, sha256=sha256)
    assert list((home / CACHE).iterdir()) == []


def test_offline_downloads_nothing(home: Path) -> None:
    for act in (download_minilm, prefetch):
        with pytest.raises(ValueError, match="Setting offline is on"):
            act(Settings(offline=True))
    with pytest.raises(ValueError, match="Setting offline is on"):
        DefaultEmbeddingFunction(settings=Settings(offline=True))(["a"])


def test_prefetch_finds_before_it_downloads(home: Path) -> None:
    cached = place(home / CACHE / "onnx", FILES)
    assert prefetch(Settings(offline=True)) == cached


def test_a_damaged_model_is_named(home: Path) -> None:
    folder = place(home / CACHE / "onnx", FILES)
    with pytest.raises(InternalError, match=r"Cannot read all-MiniLM-L6-v2 in .*prefetch"):
        ONNXMiniLM_L6_V2(model_path=folder)(["a"])


# -- names and configs --------------------------------------------------------------------------------


def test_configs_are_chromas() -> None:
    assert embedding_function_to_config(DefaultEmbeddingFunction()) == {
        "type": "known",
        "name": "default",
        "config": {},
    }
    config = embedding_function_to_config(ONNXMiniLM_L6_V2(["CPUExecutionProvider"]))
    assert config == {
        "type": "known",
        "name": "onnx_mini_lm_l6_v2",
        "config": {"preferred_providers": ["CPUExecutionProvider"]},
    }
    built = embedding_function_from_config(config)
    assert type(built) is ONNXMiniLM_L6_V2
    assert built.get_config() == config["config"]
    assert (DefaultEmbeddingFunction().default_space(), built.default_space()) == ("l2", "cosine")
    with pytest.raises(ValueError, match="unknown field 'path'"):
        embedding_function_from_config({**config, "config": {"path": "x"}})


def test_a_function_built_from_its_config_follows_the_clients_settings(
    home: Path, tmp_path: Path
) -> None:
    settings = Settings(minilm_path=tmp_path)
    for name in ("default", "onnx_mini_lm_l6_v2"):
        config = {"type": "known", "name": name, "config": {}}
        with pytest.raises(ValueError, match="Setting minilm_path"):
            embedding_function_from_config(config, settings=settings)(["a"])


def test_preferred_providers(minilm_folder: Path) -> None:
    with pytest.raises(ValueError, match="must be unique"):
        ONNXMiniLM_L6_V2(["CPUExecutionProvider"] * 2)
    with pytest.raises(ValueError, match="must be a list of strings"):
        ONNXMiniLM_L6_V2([1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="must be subset of available providers"):
        ONNXMiniLM_L6_V2(["NoProvider"], model_path=minilm_folder)(["a"])
    cpu = ONNXMiniLM_L6_V2(["CPUExecutionProvider"], model_path=minilm_folder)
    assert embed_documents(cpu, ["a"]).shape == (1, 384)


def test_batches_are_bounded_and_hold_every_row_once() -> None:
    lengths = np.random.default_rng(0).integers(2, 257, 500)
    batches = list(_minilm._batches(lengths))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert max(map(len, batches)) <= 32
    assert max(len(b) * lengths[b].max() for b in batches) <= 2048


def test_heads_of_long_texts() -> None:
    assert _minilm._head("short") == "short"
    text = "word " * 2000
    head = _minilm._head(text)
    assert text.startswith(head)
    assert head.endswith("word")
    assert _minilm._head("x" * 5000) == "x" * 5000


# -- vectors ------------------------------------------------------------------------------------------

TEXTS = [
    "A cat sat on the mat.",
    "",
    " \n",
    "日本語 🎉 a\x00b",
    "tail after very much space" + " " * 9000 + "tail",
    "many words " * 3000,
    *(f"text number {i} " * (i % 40) for i in range(80)),
]


def test_vectors(minilm_folder: Path) -> None:
    function = ONNXMiniLM_L6_V2(model_path=minilm_folder)
    vectors = embed_documents(function, TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for row in (0, 1, 4, 5, 50):
        alone = embed_documents(function, [TEXTS[row]])
        np.testing.assert_allclose(vectors[row], alone[0], atol=1e-6)
    assert np.isfinite(embed_documents(function, ["broken \ud83d text"])).all()
    near, far = "a kitten on a rug", "interest rates of the central bank"
    query, *others = embed_documents(function, [TEXTS[0], near, far])
    assert query @ others[0] > query @ others[1] + 0.2


def test_the_first_numbers_are_the_models(minilm_folder: Path) -> None:
    recorded = [-0.0344772, 0.0310232, 0.006735, 0.026109]  # by chromadb 1.5.9
    vector = embed_documents(ONNXMiniLM_L6_V2(model_path=minilm_folder), ["hello world"])[0]
    np.testing.assert_allclose(vector[:4], recorded, atol=1e-5)


@pytest.mark.differential
def test_vectors_are_chromas(minilm_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("chromadb", reason="needs the extra 'differential'")
        from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2 as Theirs

        monkeypatch.setattr(Theirs, "DOWNLOAD_PATH", minilm_folder.parent)
        theirs = np.array(Theirs()(TEXTS))
    ours = embed_documents(ONNXMiniLM_L6_V2(model_path=minilm_folder), TEXTS)
    assert np.abs(ours - theirs).max() <= 1e-6
