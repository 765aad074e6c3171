"""What a stored config of an embedding function may choose, and what only the user may.

A collection records how to build its embedding function. Whoever wrote the store, the Parquet file or the
server's collection wrote that, too. So a stored config must not decide to which host texts and keys go, which
environment variable is read as a key, or which file is opened. The user says yes by giving the function:
``get_collection(name, embedding_function=...)``.
"""

from __future__ import annotations

import json
import re
from typing import Any

from chroma_nb.embedding.text import shown
from chroma_nb.errors import InvalidArgumentError

#: Fields whose texts choose no host, file, secret, model or code: a word of a service's own list.
_WORDS = frozenset(
    {
        "dtype",
        "embedding_type",
        "encoding_format",
        "input_type",
        "lang",
        "language",
        "metric",
        "normalization",
        "padding",
        "pooling",
        "precision",
        "similarity_fn_name",
        "space",
        "task",
        "task_type",
        "truncate",
        "truncation",
    }
)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
#: Fields in which a number, true or false may be a choice as well, such as port, verify or trust_remote_code.
_CHOOSING = re.compile(
    r"url|uri|host|endpoint|server|address|proxy|api_?base|base_?url|region|env|key|token|secret|password|"
    r"header|path|file|folder|dir|cache|remote|module|class|import|code|"
    r"port|trust|verify|ssl|tls|cert|secure|safe|pickle|exec|eval|debug|log",
    re.IGNORECASE,
)
#: Configs of functions that the user gave in this process, as canonical JSON.
_given: set[str] = set()


def remember_given(name: str, config: dict[str, Any]) -> None:
    """Remember the config of a function that the user gave: stored, it needs no second consent."""
    _given.add(_canonical(name, config))


def consent_needed(
    name: str, cls: type[Any], config: Any, *, registered: bool, consent: str | None = None
) -> str | None:
    """Say what a stored config would choose that only the user may choose.

    Args:
        name: The recorded name of the function.
        cls: Its class. Its `needs_consent(config)` decides where there is one; otherwise only what cannot
            name anything passes: numbers, true, false, null, and single words in a few known fields.
        config: The stored config.
        registered: The user registered the class; without a `needs_consent` its code decides about configs.
        consent: How the user consents, and what can be done without; None: by giving the function.

    Returns:
        A sentence that asks the user to give the function; None where nothing needs consent.

    Raises:
        InvalidArgumentError: The config is none of this function's.
    """
    if not isinstance(config, dict):
        raise InvalidArgumentError(f"its config must be a dict, got {type(config).__name__}")
    if _canonical(name, config) in _given:
        return None
    if hasattr(cls, "validate_config") and hasattr(cls, "needs_consent"):
        cls.validate_config(config)
    judge = getattr(cls, "needs_consent", None)
    would = NotImplemented if judge is None else judge(config)
    if would is NotImplemented or (would is None and _is_inherited(cls)):
        would = None if registered else _judge_by_fields(config)
    if would is None:
        return None
    how = consent or (
        f"open the collection with embedding_function={cls.__name__}(...). Without it, records can be read, and queried "
        "with query_embeddings"
    )
    return (
        f"The stored configuration of embedding function {shown(name)} needs your consent. It would {would}. "
        f"It was chosen by whoever wrote this collection. If you trust that, {how}."
    )


def _is_inherited(cls: type[Any]) -> bool:
    """Whether a class of the user's has the judgement of one of ours, which knows our fields alone."""
    judge = next(base for base in cls.__mro__ if "needs_consent" in vars(base))
    return _is_ours(judge) and not _is_ours(cls)


def _is_ours(cls: type[Any]) -> bool:
    return cls.__module__.partition(".")[0] == "chroma_nb"


def _judge_by_fields(config: dict[str, Any]) -> str | None:
    """Say what a config would choose, None where it holds only what cannot name anything.

    Which field names a host or a model is known to the function alone, so texts pass only in fields that are
    known to name neither. Keys below the first level are texts as well.
    """
    for field, value in config.items():
        if not _is_harmless(field, value):
            return f"choose {shown(field)}: {shown(value)}"
    return None


def _is_harmless(field: str, value: Any) -> bool:
    if value is None or value in ({}, []):
        return True
    if isinstance(value, str):
        return field in _WORDS and _WORD.fullmatch(value) is not None
    return _CHOOSING.search(field) is None and _is_numbers(value)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numbers, value))
    return value is None or isinstance(value, bool | int | float)


def _canonical(name: str, config: dict[str, Any]) -> str:
    return json.dumps([name, config], sort_keys=True, default=repr)
