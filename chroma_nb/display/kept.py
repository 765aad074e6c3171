"""`keep_view` and `last_view`: what was shown or known last, for when there is no answer in time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from chroma_nb.display.facts import as_of, is_unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.client.client import ClientAPI
    from chroma_nb.display.cells import View

#: Objects of a client whose last view is kept. A view has at most as much text as an output: 64 kB.
_VIEWS = 32

_lock = threading.Lock()
#: Client -> key of an object -> when it was shown (`time.monotonic`), and as what. Views are made of texts alone, so they
#: keep neither a store nor a collection alive, and they go with the client.
_kept: WeakKeyDictionary[ClientAPI, OrderedDict[Hashable, tuple[float, View]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Composed:
    """A view of what the answers to calls have said, at a server that is not asked for it."""

    view: View
    #: When the oldest of these answers came, and since when they say something else; as `time.monotonic`.
    at: float
    changed_at: float


def keep_view(client: ClientAPI, key: Hashable, view: View) -> View:
    """Keep an object's view, and return it.

    Args:
        client: The client of the object.
        key: What it is, among the objects of the client.
        view: Made of an answer of this moment.
    """
    with _lock:
        views = _kept.setdefault(client, OrderedDict())
        views[key] = time.monotonic(), view
        views.move_to_end(key)
        while len(views) > _VIEWS:
            views.popitem(last=False)
    return view


def last_view(
    client: ClientAPI,
    key: Hashable,
    error: Exception,
    instead: str = "",
    compose: Callable[[], Composed | None] = lambda: None,
) -> View | None:
    """Return what is known of an object that has not answered, with its age; None where nothing is, or it did answer.

    Args:
        client: The client of the object.
        key: What it is, among the objects of the client.
        error: Why there is no answer.
        instead: What asks a server.
        compose: Returns what calls have made known, which is shown where it has changed since the last view.
    """
    if not is_unanswered(error):
        return None
    with _lock:
        kept = _kept.get(client, OrderedDict()).get(key)
    known = compose()
    if known is not None and (kept is None or known.changed_at > kept[0]):
        at, (template, values) = known.at, known.view
    elif kept is not None:
        at, (template, values) = kept
    else:
        return None
    return template, {**values, "past": as_of(time.monotonic() - at, error, instead)}
