"""`StaticEmbeddingFunction`: vectors by table look-up, for when MiniLM cannot be had."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb.boundary import public_class
from chroma_nb.embedding.base import EmbeddingFunction
from chroma_nb.embedding.checks import check_config, check_texts
from chroma_nb.errors import InternalError, InvalidArgumentError, NotSupportedError
from chroma_nb.types import Documents, Embeddings, Space
from chroma_nb.webassembly import IS_WEBASSEMBLY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

MODEL = "static-minilm-256-int8"
_FOLDER = Path(__file__).parent / "data" / MODEL

#: What is tokenised at once (a token takes about 70 bytes then), and the rows that are gathered at once: the
#: rows of 128 short texts are 0.6 MB, which stays in the processor's cache (measured: 1.4x faster than 1,024).
_TEXTS = 4096
_CHARACTERS = 500_000
_ROWS = 2560


class StaticModel:
    """A table of int8 token vectors and its tokenizer; safe for many threads.

    Args:
        folder: Holds `model.safetensors` (one int8 tensor `embeddings` of shape (tokens, dimension))
            and `tokenizer.json`.

    Raises:
        InternalError: A file is missing or is not what it should be.
    """

    def __init__(self, folder: Path) -> None:
        if IS_WEBASSEMBLY:
            raise NotSupportedError(
                "Texts cannot be embedded by Python in a browser (Pyodide, JupyterLite): tokenizers and onnxruntime have no "
                "build for it. Give embeddings=[...] and query_embeddings=[...], or a function that asks a service: "
                "embedding_function=..."
            )
        from tokenizers import Tokenizer

        self.folder = folder
        self.table = read_int8_table(folder / "model.safetensors")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises nothing more precise
            raise InternalError(f"Cannot read {folder / 'tokenizer.json'}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # Without offsets it is faster; tokenizers 0.19 has only the other one.
        self._encode = getattr(self._tokenizer, "encode_batch_fast", self._tokenizer.encode_batch)
        if self._tokenizer.get_vocab_size() > len(self.table):
            raise InternalError(
                f"{folder} has {self._tokenizer.get_vocab_size():,} tokens and {len(self.table):,} "
                "vectors. The files do not belong together."
            )

    def __repr__(self) -> str:
        tokens, dimension = self.table.shape
        return f"StaticModel({self.folder.name!r}, {tokens:,} tokens x {dimension})"

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return int(self.table.shape[1])

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts; each text's vector depends on that text alone, to the last bit.

        Args:
            texts: n texts of any length, all of which counts.

        Returns:
            Shape (n, dimension), float32, rows of length one.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        start = 0
        while start < len(texts):
            end = _end_of_batch(texts, start)
            if end == start + 1:
                vectors[start] = _unit(self._sum_of_long(texts[start])[None, :])[0]
            else:
                self._embed_into(texts[start:end], vectors[start:end])
            start = end
        return vectors

    def _embed_into(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Embed n texts into `vectors`, shape (n, dimension), float32."""
        ids = self._token_ids(texts)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter(itertools.chain.from_iterable(ids), np.int32, int(lengths.sum()))
        ends = np.cumsum(lengths)
        first = 0
        while first < len(texts):
            begin = int(ends[first - 1]) if first else 0
            # As many whole texts as fit into _ROWS rows, and at least one.
            last = max(first + 1, int(np.searchsorted(ends, begin + _ROWS, side="right")))
            if last == first + 1:
                sums = self._sum(flat[begin : int(ends[first])])[None, :]
            else:
                sums = self._sums(flat[begin : int(ends[last - 1])], lengths[first:last])
            vectors[first:last] = _unit(sums)
            first = last

    def _sums(self, ids: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Sum the table's rows of each text. Sums of integers are exact: they do not depend on order or batches.

        Args:
            ids: Tokens of all texts, one after the other; shape (tokens,), int32.
            lengths: Tokens of each text, shape (n,), int64.

        Returns:
            Shape (n, dimension), int64.
        """
        sums = np.zeros((len(lengths), self.dimension), np.int64)
        filled = np.flatnonzero(lengths)  # reduceat would give an empty text its neighbour's row
        if len(filled):
            starts = np.cumsum(lengths[filled]) - lengths[filled]
            sums[filled] = np.add.reduceat(self.table[ids], starts, axis=0, dtype=np.int32)
        return sums

    def _sum(self, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """Sum the rows of one text of any length, in bounded steps.

        Args:
            ids: Its tokens, shape (tokens,), int32.

        Returns:
            Shape (dimension,), int64.
        """
        total = np.zeros(self.dimension, np.int64)
        for start in range(0, len(ids), _ROWS):
            total += self.table[ids[start : start + _ROWS]].sum(axis=0, dtype=np.int32)
        return total

    def _sum_of_long(self, text: str) -> NDArray[np.int64]:
        """Sum the rows of a long text, tokenized in pieces; shape (dimension,), int64."""
        total = np.zeros(self.dimension, np.int64)
        for piece in _pieces(text):
            total += self._sum(np.asarray(self._token_ids([piece])[0], np.int32))
        return total

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encodings = self._encode(list(texts), add_special_tokens=False)
        except Exception:
            # The error of tokenizers for a lone surrogate is vague.
            cleaned = [
                t.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for t in texts
            ]
            encodings = self._encode(cleaned, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def _end_of_batch(texts: Sequence[str], start: int) -> int:
    """Return where a batch of texts ends that is not too much at once; it has at least one."""
    characters = 0
    for end in range(start, min(start + _TEXTS, len(texts))):
        characters += len(texts[end])
        if characters > _CHARACTERS and end > start:
            return end
    return min(start + _TEXTS, len(texts))


def _pieces(text: str) -> Iterator[str]:
    """Cut a text before spaces, which changes no token; where there are none it stays whole."""
    start = 0
    while len(text) - start > _CHARACTERS:
        cut = max(text.rfind(space, start + 1, start + _CHARACTERS) for space in " \n")
        if cut < 0:
            break
        yield text[start:cut]
        start = cut
    yield text[start:]


def _unit(sums: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return rows of shape (n, dimension) scaled to length one, float32."""
    values = sums.astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", values, values))
    # A text without a known token has no direction. It gets a fixed one, so that no distance is NaN.
    values[norms == 0] = 1.0
    norms[norms == 0] = np.sqrt(values.shape[1])
    values /= norms[:, None]
    return values.astype(np.float32)


def read_int8_table(path: Path) -> NDArray[np.int8]:
    """Map the tensor `embeddings` of a safetensors file into memory.

    The format: 8 bytes, little-endian, length of the header; the header, JSON: name -> dtype, shape and
    offsets; the data. (github.com/huggingface/safetensors, "Format")

    Returns:
        Shape (tokens, dimension), int8, read-only.

    Raises:
        InternalError: The file is missing, damaged, or holds something else.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < size else {}
        tensor = header["embeddings"]
        rows, columns = tensor["shape"]
        begin, end = tensor["data_offsets"]
        if tensor["dtype"] != "I8" or end - begin != rows * columns or 8 + length + end > size:
            raise ValueError(f"dtype {tensor['dtype']}, shape {tensor['shape']}, {size:,} bytes")
        table = np.memmap(path, np.int8, "r", offset=8 + length + begin, shape=(rows, columns))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InternalError(
            f"Cannot read the static model {path}: {error}. Install chroma-nb again."
        ) from error
    return np.asarray(table)


@functools.lru_cache(maxsize=4)
def load_static_model(folder: Path = _FOLDER) -> StaticModel:
    """Return the model in a folder; one for the whole process."""
    return StaticModel(folder)


@public_class
class StaticEmbeddingFunction(EmbeddingFunction[Documents]):
    """The model that comes with chroma_nb: 256 dimensions, 8 MB, nothing to download, very fast.

    A text's vector is the mean of its WordPiece tokens' vectors, made length one. The token vectors are
    distilled from all-MiniLM-L6-v2. Word order plays no part, so it finds less than MiniLM does: a word's
    definition among 8,000 of WordNet's is in the first ten for 35 % of the words, with MiniLM for 46 %.

    A text without any known token (an empty one, say) gets a fixed vector, 1/16 in each component.

    Args:
        model: Name of the model. There is one.

    Raises:
        InvalidArgumentError: There is no such model.
    """

    documents_per_call = 8192

    def __init__(self, model: str = MODEL) -> None:
        if model != MODEL:
            raise InvalidArgumentError(f"Unknown static model {model!r}. Known: {MODEL}.")
        self.model = model

    def __repr__(self) -> str:
        return f"StaticEmbeddingFunction({self.model!r})"

    def __call__(self, input: Documents) -> Embeddings:
        """Embed texts.

        Args:
            input: n texts.

        Returns:
            n vectors of shape (256,), float32, of length one.

        Raises:
            InvalidArgumentError: Something in `input` is no text.
        """
        return list(load_static_model().embed(check_texts(input)))

    @staticmethod
    def name() -> str:
        """Return "static_minilm"."""
        return "static_minilm"

    def get_config(self) -> dict[str, Any]:
        """Return the model's name."""
        return {"model": self.model}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> StaticEmbeddingFunction:
        """Build the function from its config."""
        StaticEmbeddingFunction.validate_config(config)
        return StaticEmbeddingFunction(**config)

    @staticmethod
    def needs_consent(config: dict[str, Any]) -> str | None:
        """Return None: there is one model, and it comes with the package."""
        return None

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Raise InvalidArgumentError where the config is not one of this function."""
        check_config("static_minilm", config, {"model": (str,)})

    def default_space(self) -> Space:
        """Return "cosine"."""
        return "cosine"
