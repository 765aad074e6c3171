"""What "default" means for a new collection on this machine."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from chroma_nb.callers import level_outside
from chroma_nb.embedding import _minilm
from chroma_nb.embedding._minilm import DefaultEmbeddingFunction
from chroma_nb.embedding._static import StaticEmbeddingFunction
from chroma_nb.errors import InternalError
from chroma_nb.lazy import is_installed
from chroma_nb.settings import Settings

if TYPE_CHECKING:
    from chroma_nb.embedding.base import EmbeddingFunction


class EmbeddingNotice(UserWarning):
    """Says once per process that the static model takes MiniLM's place, and why."""


class _Attempts:
    """What this process knows: why the download failed, and whether the notice was given."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.failure: str | None = None
        self.noticed = False


_attempts = _Attempts()


def resolve_default(settings: Settings | None = None) -> EmbeddingFunction[Any]:
    """Choose the embedding function of a new collection that names none.

    `Settings.embedding` decides: "minilm" and "static" are that, "auto" is MiniLM if it is on this machine
    or can be downloaded, else the static model, with one `EmbeddingNotice` per process. A download that
    failed is not tried again in this process, except by `prefetch`.

    Args:
        settings: The client's settings; None: as the environment says.

    Returns:
        A `DefaultEmbeddingFunction` or a `StaticEmbeddingFunction`. With "minilm" the model is looked for
        at the first use, not here.

    Raises:
        InvalidArgumentError: `minilm_path` does not hold the model.
    """
    settings = settings or Settings()
    if settings.embedding == "static":
        return StaticEmbeddingFunction()
    if settings.embedding == "auto":
        reason = _unavailable(settings)
        if reason is not None:
            _notice(reason)
            return StaticEmbeddingFunction()
    return DefaultEmbeddingFunction(settings=settings)


def _unavailable(settings: Settings) -> str | None:
    """Return why MiniLM cannot be had, or None if it is here. Downloads it once, where allowed."""
    for module in ("onnxruntime", "tokenizers"):
        if not is_installed(module):
            return f"{module} is not installed"
    if _minilm.find_minilm(settings) is not None:
        return None
    if settings.offline:
        return "it is not on this machine and Settings.offline is on"
    with _attempts.lock:
        if _attempts.failure is None:
            try:
                _minilm.download_minilm(settings)
            except InternalError as error:
                _attempts.failure = str(error)
        return _attempts.failure


def _notice(reason: str) -> None:
    with _attempts.lock:
        if _attempts.noticed:
            return
        _attempts.noticed = True
    warnings.warn(
        "New collections embed with chroma_nb's own static model (256 dimensions, fast, less exact) "
        f"because MiniLM cannot be had: {reason.rstrip('.')}. chroma_nb.prefetch() gets MiniLM for "
        'collections made after it; Settings(embedding="static") silences this notice.',
        EmbeddingNotice,
        stacklevel=level_outside(),
    )
