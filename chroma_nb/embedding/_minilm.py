"""MiniLM in ONNX: Chroma's default, with Chroma's vectors, from Chroma's own cache folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import forked
from chroma_nb.boundary import public_call, public_class
from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.checks import check_config, check_texts
from chroma_nb.errors import InternalError, InvalidArgumentError, MemoryBudgetError
from chroma_nb.importing import import_module
from chroma_nb.memory.workspace import WORKSPACE
from chroma_nb.progress import progress_bar
from chroma_nb.settings import Settings
from chroma_nb.types import Documents, Embeddings, Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MODEL = "all-MiniLM-L6-v2"
MAX_TOKENS = 256
DIMENSION = 384
ARCHIVE_URL = "https://chroma-onnx-models.s3.amazonaws.com/all-MiniLM-L6-v2/onnx.tar.gz"
ARCHIVE_SHA256 = "913d7300ceae3b2dbc2c50d1de4baacab4be7b9380491c27fab7418616a16ec3"

_NEEDED = ("model.onnx", "tokenizer.json")
#: What the archive holds, and what Chroma looks for before it downloads for itself.
_ARCHIVED = (
    "config.json",
    "model.onnx",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "vocab.txt",
)

_TEXTS_PER_BATCH = 32
#: 32 texts of 256 tokens in one run took 250 MB more and were slower than 8 of them (31 against 49
#: texts/s on 2 cores), so long texts go in smaller batches.
_TOKENS_PER_BATCH = 2048
#: What a token takes on its way through the model, bytes (measured: 8 texts of 256 tokens, 60 MB).
_TOKEN_BYTES = 30_000
#: The model in memory takes this many times its file (90 MB), and is there once more while it is read.
_MODEL_TIMES = 2.2
_TEXTS_PER_WINDOW = 512
#: 256 tokens of English are about 1,100 characters. What comes after this many is looked at only if needed.
_HEAD_CHARACTERS = 4000

_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 30.0
_CHUNK_BYTES = 1 << 18

_downloading = threading.Lock()
_loading = threading.Lock()
_models: dict[tuple[Path, tuple[str, ...] | None], MiniLM] = {}


# -- where the model is -------------------------------------------------------------------------------


def find_minilm(settings: Settings | None = None) -> Path | None:
    """Return the folder that holds MiniLM on this machine, or None.

    Args:
        settings: `minilm_path` is looked at first, then Chroma's cache folder.

    Raises:
        InvalidArgumentError: `minilm_path` is set and the model is not there.
    """
    settings = settings or Settings()
    if settings.minilm_path:
        return _given(settings.minilm_path, "Setting minilm_path")
    with contextlib.suppress(RuntimeError):  # no home folder
        folder = _cache_folder() / "onnx"
        if _holds_model(folder):
            return folder
    return None


def download_minilm(
    settings: Settings | None = None,
    *,
    url: str = ARCHIVE_URL,
    sha256: str = ARCHIVE_SHA256,
) -> Path:
    """Download MiniLM (80 MB) into Chroma's cache folder, where chromadb finds it too.

    The archive is checked before it is unpacked, and the folder appears complete or not at all.

    Args:
        settings: `offline` refuses, `progress` shows a bar.
        url: Where the archive is.
        sha256: The archive's checksum, in hexadecimal.

    Returns:
        The folder that holds the model.

    Raises:
        InvalidArgumentError: `Settings.offline` is on.
        InternalError: It cannot be had: no network, another file, no place to write.
    """
    settings = settings or Settings()
    if settings.offline:
        raise InvalidArgumentError(
            f"Setting offline is on, so {MODEL} is not downloaded. Switch it off, or set minilm_path to "
            "a folder that holds model.onnx and tokenizer.json."
        )
    with _downloading:
        try:
            cache = _cache_folder()
            folder = cache / "onnx"
            if _holds_model(folder):  # another thread was faster
                return folder
            cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as work:
                archive = Path(work) / "onnx.tar.gz"
                _fetch(url, archive, sha256, progress=settings.progress)
                unpacked = Path(work) / "onnx"
                _unpack(archive, unpacked)
                _put(unpacked, folder)
        except (OSError, RuntimeError, tarfile.TarError) as error:
            raise InternalError(
                f"Could not store {MODEL} in Chroma's cache folder ({type(error).__name__}: {error})."
            ) from error
    return folder


@public_call
def prefetch(settings: Settings | None = None) -> Path:
    """Make sure that MiniLM is on this machine: find it, else download it.

    Args:
        settings: As for the client.

    Returns:
        The folder that holds the model.

    Raises:
        InvalidArgumentError: `minilm_path` is wrong, or `offline` is on and the model is not here.
        InternalError: It cannot be downloaded.
    """
    settings = settings or Settings()
    return find_minilm(settings) or download_minilm(settings)


def _cache_folder() -> Path:
    """Where chromadb 1.x keeps the model; not configurable there."""
    return Path.home() / ".cache" / "chroma" / "onnx_models" / MODEL


def _holds_model(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _NEEDED)


def _given(path: str | os.PathLike[str], source: str) -> Path:
    folder = Path(path).expanduser()
    for candidate in (folder, folder / "onnx"):
        if _holds_model(candidate):
            return candidate
    raise InvalidArgumentError(
        f"{source} is {os.fspath(path)!r}, which does not hold {' and '.join(_NEEDED)}. Point it at the "
        "folder that does, or leave it empty to use Chroma's cache folder."
    )


# -- the download -------------------------------------------------------------------------------------


def _fetch(url: str, target: Path, sha256: str, *, progress: bool) -> None:
    import requests

    digest = hashlib.sha256()
    try:
        with requests.get(
            url, stream=True, timeout=(_CONNECT_SECONDS, _SILENCE_SECONDS)
        ) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0))
            with (
                target.open("wb") as file,
                progress_bar(
                    size, f"Downloading {MODEL}", unit="B", did="downloaded", enabled=progress
                ) as bar,
            ):
                for chunk in response.iter_content(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                    bar.update(len(chunk))
    except requests.RequestException as error:
        raise InternalError(
            f"Could not download {MODEL} from {url}: {_reason(error)}. Try again with a network, or copy "
            "model.onnx and tokenizer.json to this machine and set minilm_path to their folder."
        ) from error
    if digest.hexdigest() != sha256:
        raise InternalError(
            f"The file downloaded from {url} is not {MODEL}: its SHA-256 is {digest.hexdigest()}, "
            f"expected {sha256}. Something between here and there changed or cut it; try again."
        )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return f"{type(error).__name__}: {error}"


def _unpack(archive: Path, folder: Path) -> None:
    """Take the six known files out of the archive, by name: nothing in it chooses where it goes."""
    folder.mkdir()
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            directory, _, name = member.name.removeprefix("./").rpartition("/")
            source = tar.extractfile(member) if member.isfile() else None
            if directory != "onnx" or name not in _ARCHIVED or source is None:
                continue
            with source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
    if not _holds_model(folder):
        raise InternalError(f"The archive of {MODEL} does not hold {' and '.join(_NEEDED)}.")


def _put(unpacked: Path, folder: Path) -> None:
    """Rename into place. A folder without the model is moved away; a complete one stays."""
    if folder.exists():
        if _holds_model(folder):  # another process was faster
            return
        folder.rename(unpacked.with_name("incomplete"))
    try:
        unpacked.rename(folder)
    except OSError:
        if not _holds_model(folder):
            raise


# -- the model ----------------------------------------------------------------------------------------


class MiniLM:
    """The loaded model and its tokenizer; safe for many threads.

    Args:
        folder: Holds `model.onnx` and `tokenizer.json`.
        providers: onnxruntime's execution providers, best first; None: those that it has.

    Raises:
        ImportError: onnxruntime or tokenizers is not installed.
        InvalidArgumentError: onnxruntime does not have such a provider.
        InternalError: A file is damaged.
    """

    def __init__(self, folder: Path, providers: Sequence[str] | None = None) -> None:
        onnxruntime = _import("onnxruntime")
        tokenizers = _import("tokenizers")
        self.folder = folder
        available = onnxruntime.get_available_providers()
        unavailable = [name for name in providers or () if name not in available]
        if unavailable:
            raise InvalidArgumentError(
                f"Preferred providers must be subset of available providers: {available}, got "
                f"{unavailable[0]!r}"
            )
        # Chroma leaves CoreML out as well: it is slower than the processor for this model.
        self._providers = [
            name for name in providers or available if name != "CoreMLExecutionProvider"
        ] or ["CPUExecutionProvider"]
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = self._new_session()
        except MemoryBudgetError:
            raise
        except Exception as error:  # neither library has an exception class of its own to name
            raise InternalError(
                f"Cannot read {MODEL} in {folder}: {error}. Delete the folder and run "
                "chroma_nb.prefetch()."
            ) from error
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._tokenizer.no_padding()
        self._encode = getattr(self._tokenizer, "encode_batch_fast", self._tokenizer.encode_batch)

        forked.watch(self)

    def _new_session(self) -> Any:
        onnxruntime = _import("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Threads that spin between two batches cost a tenth more processor time and win nothing here.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A plan for each shape of batch, which is seldom met again, keeps memory and saves no time.
        options.enable_mem_pattern = False
        path = self.folder / "model.onnx"
        with WORKSPACE.take_all(
            int(_MODEL_TIMES * path.stat().st_size),
            f"The model {MODEL}",
            'use a smaller one: Settings(embedding="static")',
            "embed where there is more memory, and add the embeddings: collection.add(embeddings=...)",
        ):
            return onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=self._providers
            )

    def on_fork(self) -> None:
        """In a forked child: the threads of the session are gone, and it would wait for them."""
        forked.keep_for_ever(self._session)
        self._session = None

    def __repr__(self) -> str:
        return f"MiniLM({str(self.folder)!r})"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Args:
            texts: n texts; their first 256 tokens count.

        Returns:
            Shape (n, 384), float32, rows of length one.
        """
        vectors = np.empty((len(texts), DIMENSION), np.float32)
        for start in range(0, len(texts), _TEXTS_PER_WINDOW):
            ids = self._token_ids(texts[start : start + _TEXTS_PER_WINDOW])
            lengths = np.fromiter(map(len, ids), np.int64, len(ids))
            with WORKSPACE.take(_TOKENS_PER_BATCH * _TOKEN_BYTES) as room:
                for rows in _batches(lengths, room.rows(_TOKEN_BYTES)):
                    vectors[start + rows] = self._run([ids[row] for row in rows], lengths[rows])
        return vectors

    def _run(self, ids: list[list[int]], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """Run the model on the tokens of n texts, `lengths` shape (n,): shape (n, 384), float32, rows of length one."""
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        tokens = np.zeros_like(mask)
        tokens[mask.astype(bool)] = [token for row in ids for token in row]
        inputs = {
            "input_ids": tokens,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        if self._session is None:
            self._session = self._new_session()
        hidden: NDArray[np.float32] = self._session.run(None, inputs)[0]
        # Mean over a text's tokens, then length one.
        sums = np.einsum("btd,bt->bd", hidden, mask.astype(np.float32))
        means = sums / lengths[:, None].astype(np.float32)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(norms, 1e-12), dtype=np.float32)

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokenise the heads of long texts, and the whole of those whose head has too few tokens."""
        ids = self._tokenize([_head(text) for text in texts])
        short = [
            row
            for row, text in enumerate(texts)
            if len(text) > _HEAD_CHARACTERS and len(ids[row]) < MAX_TOKENS
        ]
        for row, whole in zip(short, self._tokenize([texts[row] for row in short]), strict=True):
            ids[row] = whole
        return ids

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        try:
            encodings = self._encode(texts)
        except Exception:
            # The error of tokenizers for a lone surrogate is vague.
            cleaned = [
                t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts
            ]
            encodings = self._encode(cleaned)
        return [encoding.ids for encoding in encodings]


def _head(text: str) -> str:
    """Cut a long text before a space, which changes none of the tokens that are left."""
    if len(text) <= _HEAD_CHARACTERS:
        return text
    cut = max(text.rfind(space, 1, _HEAD_CHARACTERS) for space in " \n")
    return text if cut < 0 else text[:cut]


def _batches(
    lengths: NDArray[np.int64], n_tokens: int = _TOKENS_PER_BATCH
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, texts of about one length together: what is padded is computed as well.

    Args:
        lengths: Shape (n,), the texts' tokens.
        n_tokens: Tokens of a batch at most, one text at least.
    """
    n_tokens = min(n_tokens, _TOKENS_PER_BATCH)
    order = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(order):
        last = min(first + _TEXTS_PER_BATCH, len(order))
        while last - first > 1 and (last - first) * lengths[order[last - 1]] > n_tokens:
            last -= 1
        yield order[first:last]
        first = last


def _import(module: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ImportError(
            f"{MODEL} needs {module}, which is not installed: pip install {module}. Settings(embedding="
            '"static") does without it.'
        ) from error


def _begin_in_child() -> None:
    global _downloading, _loading
    _downloading, _loading = threading.Lock(), threading.Lock()


forked.call_in_child(_begin_in_child)


def load_minilm(folder: Path, providers: Sequence[str] | None = None) -> MiniLM:
    """Return the model in a folder; one for the whole process.

    Raises:
        ImportError, InvalidArgumentError, InternalError: As `MiniLM`.
    """
    key = (folder, None if providers is None else tuple(providers))
    with _loading:
        if key not in _models:
            _models[key] = MiniLM(folder, providers)
        return _models[key]


# -- the embedding functions --------------------------------------------------------------------------


@public_class
class ONNXMiniLM_L6_V2(EmbeddingFunction[Documents]):
    """all-MiniLM-L6-v2: 384 dimensions, mean pooling, length one, the first 256 tokens of each text.

    The vectors are those of Chroma's function of the same name. The model is found, or downloaded, at the
    first use.

    Args:
        preferred_providers: onnxruntime's execution providers, best first; None: those that it has.
        model_path: Folder that holds `model.onnx` and `tokenizer.json`; not recorded.
        settings: `minilm_path`, `offline`, `progress`; None: as the environment says, at first use.

    Raises:
        InvalidArgumentError: The providers are not different texts.
    """

    documents_per_call = 512

    def __init__(
        self,
        preferred_providers: list[str] | None = None,
        *,
        model_path: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        if preferred_providers and not all(isinstance(p, str) for p in preferred_providers):
            raise InvalidArgumentError(
                f"Preferred providers must be a list of strings, got {preferred_providers!r}"
            )
        if preferred_providers and len(set(preferred_providers)) != len(preferred_providers):
            raise InvalidArgumentError(
                f"Preferred providers must be unique, got {preferred_providers!r}"
            )
        self._preferred_providers = preferred_providers
        self._model_path = model_path
        self._settings = settings

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts.

        Args:
            input: n texts.

        Returns:
            n vectors of shape (384,), float32, of length one.

        Raises:
            InvalidArgumentError: Something in `input` is no text; the model is not here and may not be
                downloaded.
            InternalError: The model cannot be downloaded or read.
            ImportError: onnxruntime or tokenizers is not installed.
        """
        return list(self.model().embed(check_texts(input)))

    def model(self) -> MiniLM:
        """Return the loaded model; find or download it first."""
        folder = self.folder() or prefetch(self._settings)
        return load_minilm(folder, self._preferred_providers or None)

    def folder(self) -> Path | None:
        """Return where the model is; None where it would have to be downloaded."""
        if self._model_path is not None:
            return _given(self._model_path, "model_path")
        return find_minilm(self._settings)

    def use_settings(self, settings: Settings) -> None:
        """Look for the model where these settings say, unless others were given before."""
        self._settings = self._settings or settings

    @staticmethod
    def name() -> str:
        """Return "onnx_mini_lm_l6_v2"."""
        return "onnx_mini_lm_l6_v2"

    def get_config(self) -> dict[str, Any]:
        """Return Chroma's field: preferred_providers."""
        return {"preferred_providers": self._preferred_providers}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Any]:
        """Build the function from its config."""
        ONNXMiniLM_L6_V2.validate_config(config)
        return ONNXMiniLM_L6_V2(preferred_providers=config.get("preferred_providers"))

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return None: a config chooses among the providers that onnxruntime brings, and nothing else."""
        return None

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidArgumentError where the config is not one of this function."""
        check_config("onnx_mini_lm_l6_v2", config, {"preferred_providers": (list, type(None))})

    def default_space(self) -> Space:
        """Return "cosine"."""
        return "cosine"

    def max_tokens(self) -> int:
        """Return how many tokens of a text count, the two special ones included."""
        return MAX_TOKENS


@public_class
class DefaultEmbeddingFunction(ONNXMiniLM_L6_V2):
    """Chroma's default: MiniLM, by the name "default".

    A collection that names it holds MiniLM's vectors, so nothing else can take its place there. What a
    new collection gets when MiniLM cannot be had is for `resolve_default` to say.
    """

    def __init__(
        self,
        *,
        model_path: str | os.PathLike[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__(model_path=model_path, settings=settings)

    @staticmethod
    def name() -> str:
        """Return "default"."""
        return "default"

    def get_config(self) -> dict[str, Any]:
        """Return an empty config."""
        return {}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> EmbeddingFunction[Any]:
        """Build the function."""
        return DefaultEmbeddingFunction()

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Accept any config, as Chroma does."""
        return

    def default_space(self) -> Space:
        """Return "l2", as Chroma's default does: vectors of length one have one order in all spaces."""
        return "l2"
