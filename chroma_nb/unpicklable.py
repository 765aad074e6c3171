"""`Unpicklable`: objects of an open store, which belong to the process that opened it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

_T = TypeVar("_T", bound="Unpicklable")


class Unpicklable:
    """Says what to do instead where an object is pickled, as `multiprocessing` and joblib do, or copied deeply."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} objects cannot be pickled or deep-copied, and so not be sent to another process: "
            "they hold an open store or a connection. Open a client there: chroma_nb.connect(url), of a server "
            "that all processes use (`chroma-nb run`). Or send the records: collection.get() or to_pandas()."
        )

    def __copy__(self: _T) -> _T:
        # `copy.copy` would ask `__reduce_ex__`, too.
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied
