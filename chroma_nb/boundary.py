"""`public_call`: what every public function does around its work, so that an error is easy to read.

* A keyword that a function does not have is answered with the one that was probably meant.
* The sentence of an argument's error ends with the method's name, as Chroma's does.
* An answer that memory is refused for has the name of the method that was called, whatever that asks the store for.
* A file that cannot be opened because too many are open, wherever that was met, is an `InternalError` that says so.
* In IPython a traceback ends at the caller's own line. The frames of this package say nothing about an error
  that was raised on purpose or about an interrupt, and would push its sentence off the screen. Where a function
  of the caller's own failed, an embedding function say, its frames are shown and those between are not. The
  traceback itself stays whole, for debuggers and logs; ``%xmode Verbose`` shows it.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from chroma_nb.errors import ChromaError, DuplicateIDError, InternalError, MemoryBudgetError
from chroma_nb.suggest import did_you_mean
from chroma_nb.system_errors import is_too_many_files, way_out

_F = TypeVar("_F", bound=Callable[..., Any])
_C = TypeVar("_C", bound=type[Any])
_E = TypeVar("_E", bound=BaseException)

#: Methods that Chroma names at the end of an argument's error.
_NAMED = frozenset(("add", "upsert", "update", "delete", "get", "query", "explain"))
#: Errors of arguments whose sentence gets the method's name. What stands for an answer of Chroma's server
#: (`InvalidArgumentError` and others) has none there either.
_NAMED_ERRORS = (ValueError, TypeError, DuplicateIDError)
#: Where Python's own kinds of errors are raised on purpose.
_CHECKS = tuple(
    f"chroma_nb.{name}"
    for name in (
        "boundary",
        "client",
        "collection",
        "embedding",
        "factories",
        "filters",
        "implementations",
        "index",
        "lazy",
        "memory",
        "scalars",
        "schema",
        "search",
        "settings",
        "stores",
        "transfer",
        "validation",
    )
)
#: How a refused answer is named, at the beginning of a sentence: "get() of 8,000 records", "query() for 10 results".
_REFUSED_ANSWER = re.compile(r"(^|: )\w+\(\) (?=(?:of|for) [\d,]+ (?:records|results) )")
#: Where functions are called that are not this package's: (module, function). What they raise is the caller's
#: affair, and so are their frames.
_CALLS_OTHERS = {
    # What an embedding function is asked.
    ("chroma_nb.embedding.calls", "_embed"),
    ("chroma_nb.embedding.base", "__call__"),
    ("chroma_nb.embedding.protocol", "__call__"),
    ("chroma_nb.embedding.protocol", "recordable"),
    ("chroma_nb.embedding.conflicts", "_check_same_model"),
    ("chroma_nb.embedding.conflicts", "check_conflict_on_get"),
    ("chroma_nb.embedding.conflicts", "check_conflict_on_modify"),
    # A data loader, and what only needs to be iterated.
    ("chroma_nb.collection.embedder", "_load_data"),
    ("chroma_nb.collection.configuration", "_ask"),
    ("chroma_nb.validation.lists", "as_list"),
}
#: Special methods that a caller's own expression runs.
_SPECIAL = {
    "__init__",
    "__call__",
    "__getitem__",
    "__contains__",
    "__iter__",
    "__len__",
    "__bool__",
    "__and__",
    "__rand__",
    "__or__",
    "__ror__",
    "__invert__",
    "__gt__",
    "__ge__",
    "__lt__",
    "__le__",
    *(f"__{side}{name}__" for side in ("", "r") for name in ("add", "sub", "mul", "truediv")),
}
#: What other libraries call an argument -> what it may be called here, the likeliest first.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("k", "top_k", "topk", "n", "num_results", "size", "limit", "count"), ("n_results", "limit")
    ),
    **dict.fromkeys(
        ("text", "texts", "doc", "docs", "document", "content", "contents", "page_content"),
        ("documents", "query_texts", "document"),
    ),
    **dict.fromkeys(
        ("query", "question", "q", "prompt", "search", "query_texts"),
        ("query_texts", "query", "searches"),
    ),
    # `search` has one filter for both.
    "where_document": ("where",),
    **dict.fromkeys(
        ("vector", "vectors", "embedding", "query_vector"), ("embeddings", "query_embeddings")
    ),
    **dict.fromkeys(("key", "keys", "uuid"), ("ids", "id")),
    **dict.fromkeys(
        ("meta", "metas", "metadata", "payload", "payloads"), ("metadatas", "metadata")
    ),
    **dict.fromkeys(("filter", "filters", "condition"), ("where",)),
    **dict.fromkeys(("ef", "embedder", "embedding_fn", "model"), ("embedding_function",)),
    **dict.fromkeys(("distance", "metric", "space"), ("configuration",)),
    **dict.fromkeys(
        ("dir", "directory", "folder", "persist_directory", "persist_dir"), ("path", "target")
    ),
    **dict.fromkeys(("address", "uri", "endpoint", "url"), ("target", "host")),
}


def public_call(function: _F) -> _F:
    """Return a function that does the same, and whose errors are easy to read."""
    return _public(function, is_method=True)


def _public(function: _F, *, is_method: bool) -> _F:
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if type(error) is TypeError and kwargs:
                _explain_keyword(function, error, kwargs)
            if type(error) in _NAMED_ERRORS and name in _NAMED and _is_ours(error):
                _add_name(error, name)
            # The outermost method is the caller's.
            if isinstance(error, MemoryBudgetError) and is_method and not name.startswith("_"):
                _name_answer(error, name)
            if _has_too_many_files(error) and not _is_others(error):
                raise ends_at_caller(_too_many_files(error)) from error
            if _is_expected(error) or _is_others(error):
                ends_at_caller(error)
            raise
        except KeyboardInterrupt as error:
            ends_at_caller(error)
            raise

    return call  # type: ignore[return-value]


def ends_at_caller(error: _E) -> _E:
    """Return an exception that IPython shows without this package's frames."""
    if "IPython" in sys.modules:
        # IPython asks an exception whether it renders itself.
        error._render_traceback_ = functools.partial(_rendered, error)  # type: ignore[attr-defined]
    return error


def public_class(cls: _C) -> _C:
    """Make a `public_call` of each public method and property of a class; a class decorator."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if inspect.isfunction(member):
            setattr(cls, name, public_call(member))
        elif isinstance(member, property):
            read = None if member.fget is None else _public(member.fget, is_method=False)
            write = None if member.fset is None else _public(member.fset, is_method=False)
            setattr(cls, name, property(read, write, doc=member.__doc__))
    return cls


def _explain_keyword(function: Callable[..., Any], error: TypeError, given: dict[str, Any]) -> None:
    """Say which keyword was probably meant, where the call has one that the function does not know."""
    parameters = inspect.signature(function).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    unknown = [name for name in given if name not in parameters]
    if not unknown:
        return
    known = [name for name in parameters if name != "self"]
    if not known:
        return
    hint = next(
        (f" Did you mean {one}=?" for one in _SYNONYMS.get(unknown[0], ()) if one in known), ""
    ) or did_you_mean(unknown[0], known, " Did you mean {}=?")
    name = function.__name__
    if name == "__init__":
        name = function.__qualname__.split(".")[-2]
    error.args = (
        f"{name}() got an unexpected keyword argument {unknown[0]!r}.{hint} It takes: "
        f"{', '.join(known)}.",
    )


def _innermost(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _is_ours(error: BaseException) -> bool:
    """Say whether a check of this package raised it: not an embedding function of the user's, say."""
    trace = _innermost(error)
    module = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    return module.startswith(_CHECKS)


def _is_expected(error: BaseException) -> bool:
    """Say whether its sentence is all that a caller needs; any other may be a mistake of ours."""
    if isinstance(error, ChromaError):
        return True
    return type(error) in (ValueError, TypeError, ImportError) and _is_ours(error)


def _has_too_many_files(error: BaseException) -> bool:
    if isinstance(error, ChromaError):
        return False
    # DuckDB's name is asked for, as importing it would take a while.
    is_systems = isinstance(error, OSError) or "duckdb" in type(error).__module__
    return is_systems and is_too_many_files(error)


def _too_many_files(error: BaseException) -> InternalError:
    return InternalError(
        f"Too many files are open: {error}. Nothing is lost or damaged. {way_out(error)}, and repeat the call."
    )


def _is_others(error: BaseException) -> bool:
    """Say whether a function of the caller's own raised it, called by this package."""
    return _callers_frames(error.__traceback__)[1]


def _add_name(error: Exception, name: str) -> None:
    if not error.args or not isinstance(error.args[0], str) or hasattr(error, "method"):
        return
    way_out = getattr(error, "way_out", "")
    sentence = error.args[0].removesuffix(f". {way_out}") if way_out else error.args[0]
    # The name comes before the full stop, where there is one.
    sentence = sentence.removesuffix(".")
    error.args = (f"{sentence} in {name}. {way_out}".rstrip(), *error.args[1:])
    error.method = name  # type: ignore[attr-defined]


def _name_answer(error: MemoryBudgetError, name: str) -> None:
    """Let the refusal of an answer name the method that wanted it."""
    if error.args and isinstance(error.args[0], str):
        said = _REFUSED_ANSWER.sub(rf"\g<1>{name}() ", error.args[0], count=1)
        error.args = (said, *error.args[1:])


def _rendered(error: BaseException) -> list[str]:
    """Return what IPython shows of an error: the frames that are not this package's affair."""
    from IPython import get_ipython

    shown: Any = get_ipython().InteractiveTB
    render: Callable[..., list[str]] = shown.structured_traceback
    trace = error.__traceback__
    if shown.mode == "Verbose":
        return render(type(error), error, trace)
    frames, is_others = _callers_frames(trace)
    shortened: TracebackType | None = None
    for one in reversed(frames):
        shortened = TracebackType(shortened, one.tb_frame, one.tb_lasti, one.tb_lineno)
    if is_others:
        return render(type(error), error, shortened)
    followed_from = error.__cause__, error.__context__, error.__suppress_context__
    try:
        # What it followed from is this package's affair as well.
        error.__cause__, error.__suppress_context__ = None, True
        return render(type(error), error, shortened or trace)
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = followed_from


def _callers_frames(trace: TracebackType | None) -> tuple[list[TracebackType], bool]:
    """Return the frames of a traceback that are the caller's, and whether it was there that it ended.

    What this package calls belongs to it, NumPy say, except where it calls a function of the caller's own.
    """
    frames: list[TracebackType] = []
    called_from: tuple[str, str] | None = None
    was_here = False
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module == "chroma_nb" or module.startswith("chroma_nb."):
            called_from = module, trace.tb_frame.f_code.co_name
            was_here = True
        elif called_from is None or called_from in _CALLS_OTHERS:
            called_from = None
            frames.append(trace)
        trace = trace.tb_next
    return frames, was_here and called_from is None
