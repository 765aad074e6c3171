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

#: Fields of unknown functions that may choose a host, a file, a secret or code.
_CHOOSING = re.compile(
    r"url|uri|host|endpoint|server|address|proxy|api_?base|base_?url|region|env|key|token|secret|password|"
    r"header|path|file|folder|dir|cache|remote|module|class|import|code",
    re.IGNORECASE,
)
#: Configs of functions that the user gave in this process, as canonical JSON.
_given: set[str] = set()


def remember_given(name: str, config: dict[str, Any]) -> None:
    """Remember the config of a function that the user gave: stored, it needs no second consent."""
    _given.add(_canonical(name, config))


def consent_needed(name: str, cls: type[Any], config: Any, *, registered: bool) -> str | None:
    """Say what a stored config would choose that only the user may choose.

    Args:
        name: The recorded name of the function.
        cls: Its class. Its `needs_consent(config)` decides where there is one; otherwise the names of the
            config's fields do.
        config: The stored config.
        registered: The user registered the class; without a `needs_consent` its code decides about configs.

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
    if would is NotImplemented:
        would = None if registered else _judge_by_fields(config)
    if would is None:
        return None
    return (
        f"The stored configuration of embedding function {shown(name)} needs your consent. It would {would}. "
        "It was chosen by whoever wrote this collection. If you trust that, open the collection with "
        f"embedding_function={cls.__name__}(...). Without it, records can be read, and queried with "
        "query_embeddings."
    )


def _judge_by_fields(value: Any, at: str = "") -> str | None:
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for field, inner in items:
        here = f"{at}.{field}" if at else str(field)
        if isinstance(inner, dict | list):
            found = _judge_by_fields(inner, here)
            if found is not None:
                return found
        elif inner is not None and _CHOOSING.search(here):
            return f"choose {shown(here)}: {shown(inner)}"
    return None


def _canonical(name: str, config: dict[str, Any]) -> str:
    return json.dumps([name, config], sort_keys=True, default=repr)
