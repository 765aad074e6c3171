"""What a worker does with texts: it builds the embedding function that is named, and calls it."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

from chroma_nb.embedding.calls import embed_documents
from chroma_nb.embedding.protocol import recordable
from chroma_nb.embedding.registry import built, known_embedding_functions
from chroma_nb.embedding.text import shown
from chroma_nb.errors import ChromaError
from chroma_nb.tasks.messages import RefusedError, packed_vectors, refusal, unpacked_texts

#: Functions that ask a service: another process' cores gain nothing, and its keys are not the sender's to use.
SERVICES = frozenset({"openai", "ollama"})
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


def answer(message: Any) -> dict[str, Any]:
    """Return the vectors of the texts in a message, or why there are none. Raises nothing that a message can bring about.

    Args:
        message: What `packed_texts` returned, or anything that somebody has put into the queue.
    """
    try:
        name, config, texts = unpacked_texts(message)
        return packed_vectors(embed_documents(_function(name, config), texts))
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
