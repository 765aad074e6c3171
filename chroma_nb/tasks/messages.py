"""What goes through the broker: JSON whose texts and arrays have checksums. Everything that comes in is checked here."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Of the messages. A worker of another one, or of another release, is sent nothing.
PROTOCOL = 1
#: What a worker and a store have to have in common: vectors of two releases may differ.
VERSION = f"{__version__}/{PROTOCOL}"
#: The queue of pieces of text and that of graphs; a worker listens to those of its own version alone.
TEXT_QUEUE = f"chroma_nb-texts-{VERSION}"
GRAPH_QUEUE = f"chroma_nb-graphs-{VERSION}"
EMBED_TASK = "chroma_nb.embed"
GRAPH_TASK = "chroma_nb.build_graph"
#: What a worker is asked, to learn that it is there.
HELLO = "chroma_nb_hello"
#: Texts that one message to a worker has at most, and their bytes. A longer text is embedded in the store's own process.
PIECE_TEXTS = 256
PIECE_BYTES = 4 << 20


class RefusedError(Exception):
    """A message that is not what it should be, or work that this worker does not do. The text is a sentence for the sender.

    Args:
        reason: The sentence.
        lasting: The same work would be refused again.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(reason)
        self.lasting = lasting


def text_bytes(text: str) -> int:
    """Return about how many bytes a text takes in a message."""
    return len(text) if text.isascii() else 6 * len(text)


def packed_texts(
    name: str, config: dict[str, Any], texts: Sequence[str], model: str = ""
) -> dict[str, Any]:
    """Return the message that asks for the embeddings of texts.

    Args:
        name: The embedding function's recorded name.
        config: Its recorded config.
        texts: At most `PIECE_TEXTS`.
        model: What tells the model from another one of this name and config; "" where that is not known.
    """
    body = [name, config, list(texts), model]
    return {"version": VERSION, "crc32": _sum_of_json(body), "body": body}


def unpacked_texts(message: Any) -> tuple[str, dict[str, Any], list[str], str]:
    """Return name, config, texts and model of such a message.

    Raises:
        RefusedError: It is no such message, or is damaged.
    """
    body = _checked_body(message)
    if not (isinstance(body, list) and len(body) == 4):
        raise RefusedError("The message is not one of texts to embed.")
    name, config, texts, model = body
    if not (isinstance(name, str) and isinstance(config, dict) and isinstance(texts, list)):
        raise RefusedError("The message is not one of texts to embed.")
    if not isinstance(model, str):
        raise RefusedError("The message is not one of texts to embed.")
    if not 0 < len(texts) <= PIECE_TEXTS:
        raise RefusedError(f"A piece has from 1 to {PIECE_TEXTS} texts, this one {len(texts)}.")
    if not all(isinstance(one, str) for one in texts):
        raise RefusedError("Something in the message is no text.")
    # A text alone may be larger than what a piece is filled up to.
    if sum(map(text_bytes, texts)) > 2 * PIECE_BYTES:
        raise RefusedError(f"A piece has {2 * PIECE_BYTES:,} bytes at most.")
    return name, config, texts, model


def packed_body(body: dict[str, Any]) -> dict[str, Any]:
    """Return a message with any body that is JSON."""
    return {"version": VERSION, "crc32": _sum_of_json(body), "body": body}


def unpacked_body(message: Any) -> dict[str, Any]:
    """Return the body of such a message.

    Raises:
        RefusedError: It is no such message, or is damaged.
    """
    body = _checked_body(message)
    if not isinstance(body, dict):
        raise RefusedError("The message is not one of this kind.")
    return body


def _checked_body(message: Any) -> Any:
    if not isinstance(message, dict) or "body" not in message:
        raise RefusedError("The message is not one of chroma_nb's.")
    if message.get("version") != VERSION:
        raise RefusedError(
            f"The message is of version {str(message.get('version'))[:40]}, and this worker of {VERSION}. Both have to be "
            "the same release of chroma_nb."
        )
    if message.get("crc32") != _sum_of_json(message["body"]):
        raise RefusedError("The message was damaged on its way.", lasting=False)
    return message["body"]


def _sum_of_json(body: Any) -> int:
    # Escaped: a text may hold half of a surrogate pair, which is no UTF-8.
    return zlib.crc32(json.dumps(body, ensure_ascii=True, sort_keys=True).encode("ascii"))


def packed_vectors(vectors: NDArray[np.float32]) -> dict[str, Any]:
    """Return an answer that holds vectors, shape (n, dimension), float32."""
    data = np.ascontiguousarray(vectors, dtype="<f4").tobytes()
    return {
        "version": VERSION,
        "shape": list(vectors.shape),
        "crc32": zlib.crc32(data),
        "data": base64.b64encode(data).decode("ascii"),
    }


def unpacked_vectors(answer: Any, n_texts: int) -> NDArray[np.float32]:
    """Return the vectors of an answer: shape (n_texts, dimension), float32, finite.

    Args:
        answer: What a worker has answered.
        n_texts: How many texts it was sent.

    Raises:
        RefusedError: The worker has refused, or the answer is not what it should be.
    """
    if not isinstance(answer, dict):
        raise RefusedError("the answer is not one of chroma_nb's", lasting=False)
    if isinstance(answer.get("refused"), str):
        raise RefusedError(answer["refused"], lasting=answer.get("lasting") is True)
    if answer.get("version") != VERSION:
        raise RefusedError(f"the answer is of version {str(answer.get('version'))[:40]}")
    try:
        rows, dimension = answer["shape"]
        data = base64.b64decode(answer["data"], validate=True)
        if type(rows) is not int or type(dimension) is not int or dimension < 1:
            raise ValueError("no shape")
        if rows != n_texts or len(data) != 4 * rows * dimension:
            raise ValueError("another number of vectors")
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise RefusedError(f"the answer is not one of vectors ({error})", lasting=False) from error
    if zlib.crc32(data) != answer.get("crc32"):
        raise RefusedError("the answer was damaged on its way", lasting=False)
    vectors = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(rows, dimension)
    if not np.isfinite(vectors).all():
        raise RefusedError("the answer has numbers that are not finite", lasting=False)
    return vectors


def refusal(error: RefusedError) -> dict[str, Any]:
    """Return the answer of a worker that does not do what it was asked."""
    return {"version": VERSION, "refused": str(error), "lasting": error.lasting}
