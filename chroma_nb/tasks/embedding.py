"""What a worker does with texts: it builds the embedding function that is named, and calls it."""

from __future__ import annotations

import functools
import json
import zlib
from collections import OrderedDict
from typing import Any

from chroma_nb.embedding._minilm import ONNXMiniLM_L6_V2
from chroma_nb.embedding.calls import embed_documents
from chroma_nb.embedding.protocol import recordable
from chroma_nb.embedding.registry import built, known_embedding_functions
from chroma_nb.embedding.text import shown
from chroma_nb.errors import ChromaError
from chroma_nb.tasks.messages import RefusedError, packed_vectors, refusal, unpacked_texts

#: Functions that ask a service: another process' cores gain nothing, and its keys are not the sender's to use.
SERVICES = frozenset({"openai", "ollama"})
#: What makes MiniLM another model.
_MODEL_FILES = ("model.onnx", "tokenizer.json")
_READ_BYTES = 1 << 20
#: Functions that a worker keeps, as building one may load a model.
_KEPT = 4
_functions: OrderedDict[str, Any] = OrderedDict()


def sendable(function: Any) -> tuple[str, dict[str, Any]]:
    """Return (name, config) of a function that a worker may be able to build.

    Raises:
        RefusedError: None can.
    """
    described = recordable(function)
    if described is None:
        raise RefusedError(
            f"{shown(type(function).__name__)} has no name(), get_config() and build_from_config() by which a worker could build it"
        )
    name, config = described
    if name in SERVICES:
        raise RefusedError(f"{shown(name)} asks a service, which workers do not")
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RefusedError(f"the config of {shown(name)} is not JSON ({error})") from error
    return name, config


def model_of(function: Any) -> str:
    """Return what tells a function's model from another one, where its config does not say it; "" where it is not known.

    MiniLM may be in any folder (`Settings.minilm_path`), and what is there may be another model.
    """
    folder = function.folder() if isinstance(function, ONNXMiniLM_L6_V2) else None
    if folder is None:
        return ""
    files = [(folder / name, (folder / name).stat()) for name in _MODEL_FILES]
    return " ".join(_sum_of(str(path), at.st_size, at.st_mtime_ns) for path, at in files)


@functools.lru_cache(maxsize=16)
def _sum_of(path: str, size: int, changed: int) -> str:
    """Return a file's checksum; it is read again when its size or time has changed."""
    value = 0
    with open(path, "rb") as file:
        while piece := file.read(_READ_BYTES):
            value = zlib.crc32(piece, value)
    return f"{size:x}-{value:08x}"


def answer(message: Any) -> dict[str, Any]:
    """Return the vectors of the texts in a message, or why there are none. Raises nothing that a message can bring about.

    Args:
        message: What `packed_texts` returned, or anything that somebody has put into the queue.
    """
    try:
        name, config, texts, model = unpacked_texts(message)
        function = _function(name, config)
        mine = model_of(function)
        if model and mine and model != mine:
            raise RefusedError(
                f"The model of {shown(name)} in the worker is another one than the store's: give both the same "
                "(CHROMA_NB_MINILM_PATH)."
            )
        return packed_vectors(embed_documents(function, texts))
    except RefusedError as error:
        return refusal(error)
    except Exception as error:
        # The sender embeds the texts itself, and meets the same error where it is one of the texts.
        return refusal(
            RefusedError(f"{type(error).__name__}: {shown(str(error), 300)}", lasting=False)
        )


def _function(name: str, config: dict[str, Any]) -> Any:
    """Return the function of this name and config. Nothing is imported but the class that is registered by the name.

    Raises:
        RefusedError: There is none, or the config would choose what only the worker's owner may: a host, a file, a key.
    """
    if name in SERVICES:
        raise RefusedError(f"{shown(name)} asks a service, which workers do not")
    if name not in known_embedding_functions:
        raise RefusedError(
            f"No embedding function {shown(name)} is registered in the worker. Name the module that registers it: "
            "chroma-nb worker --functions MODULE"
        )
    key = json.dumps([name, config], sort_keys=True)
    if key in _functions:
        _functions.move_to_end(key)
        return _functions[key]
    try:
        function = built(known_embedding_functions, name, config)
    except ChromaError as error:
        raise RefusedError(shown(str(error), 500)) from error
    _functions[key] = function
    while len(_functions) > _KEPT:
        _functions.popitem(last=False)
    return function
