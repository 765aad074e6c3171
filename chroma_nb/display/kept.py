"""`view_in_time`: what a store says of an object, or what was shown or known last where it does not answer in time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from chroma_nb.display.facts import as_of, ask_store, is_unanswered, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from chroma_nb.api.base import API
    from chroma_nb.client.client import ClientAPI
    from chroma_nb.display.cells import View

T = TypeVar("T")

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


def view_in_time(
    client: ClientAPI,
    key: Hashable,
    *,
    ask: Callable[[API], T],
    view: Callable[[T], View],
    known: Callable[[], Composed | None],
    nothing: Callable[[str], View],
    instead: str,
) -> View:
    """Return an object of a client as its store describes it, or else as it was described last, with the age of that.

    Args:
        client: The client of the object.
        key: What it is, among the objects of the client.
        ask: Asks the store.
        view: Makes the view of an answer.
        known: Returns what calls have made known, which is shown where it has changed since the last view.
        nothing: Makes the view where nothing is known, of the sentence that says why.
        instead: What asks a server, as a sentence.
    """
    found = ask_store(ask, client)
    if not isinstance(found, Exception):
        return _keep(client, key, view(found))
    last = _last(client, key, known) if is_unanswered(found) else None
    if last is None:
        return nothing(problem(found, instead))
    at, (template, values) = last
    return template, {**values, "past": as_of(time.monotonic() - at, found, instead)}


def _keep(client: ClientAPI, key: Hashable, view: View) -> View:
    """Keep an object's view, and return it."""
    with _lock:
        views = _kept.setdefault(client, OrderedDict())
        views[key] = time.monotonic(), view
        views.move_to_end(key)
        while len(views) > _VIEWS:
            views.popitem(last=False)
    return view


def _last(
    client: ClientAPI, key: Hashable, known: Callable[[], Composed | None]
) -> tuple[float, View] | None:
    """Return when an object was described last, and as what; None where nothing is known of it."""
    with _lock:
        kept = _kept.get(client, OrderedDict()).get(key)
    composed = known()
    if composed is not None and (kept is None or composed.changed_at > kept[0]):
        return composed.at, composed.view
    return kept
