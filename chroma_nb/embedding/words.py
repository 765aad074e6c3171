"""Words of texts as numbers: which stems a text has and how often, as Chroma's BM25 counts them.

A word is a run of letters, digits and underscores. Its index is the hash of its stem, so no dictionary has to be
kept or agreed on.
"""

from __future__ import annotations

import contextlib
import re
import threading
import unicodedata
from dataclasses import dataclass
from itertools import chain, filterfalse
from sys import getsizeof
from typing import TYPE_CHECKING, Any

import numpy as np

from chroma_nb import forked
from chroma_nb.embedding.murmur import murmur3
from chroma_nb.importing import import_module
from chroma_nb.memory.workspace import WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

#: The English stop words of NLTK's corpus, as far as they have no apostrophe: a word of a text never has one.
_STOP_WORDS = (
    "a about above after again against ain all am an and any are aren as at be because been before being "
    "below between both but by can couldn d did didn do does doesn doing don down during each few for "
    "from further had hadn has hasn have haven having he her here hers herself him himself his how i if "
    "in into is isn it its itself just ll m ma me mightn more most mustn my myself needn no nor not now o "
    "of off on once only or other our ours ourselves out over own re s same shan she should shouldn so "
    "some such t than that the their theirs them themselves then there these they this those through to "
    "too under until up ve very was wasn we were weren what when where which while who whom why will with "
    "won wouldn y you your yours yourself yourselves"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())

WORD = re.compile(r"\w+")
_NO_WORD = re.compile(r"\W")
#: What is not seen, and may stand within a word.
_JOINERS = "\u00ad\u200c\u200d\u2060"
#: Each byte of ASCII as it stands in a word, in lower case; a space for one that stands in none.
_ASCII_LETTERS = bytes(
    ord(chr(byte).lower()) if byte < 128 and WORD.match(chr(byte)) else ord(" ")
    for byte in range(256)
)
#: What is taken at once, at most: more is no quicker.
_READ_BYTES = 32 << 20
#: What a letter of text takes while it is read: a word of five letters is an object of 54 bytes, an entry of a list, one
#: of a set, and two rows of numbers.
_LETTER_BYTES = 32
#: What remembering a word takes beside its text: an entry of a dictionary, and a number.
_ENTRY_BYTES = 136
#: Bytes of words that are remembered from one call to the next.
_REMEMBERED_BYTES = 8 << 20
_DROPPED = -1
#: A bit beyond an index, of a word that adds nothing to the length of its text.
NO_LENGTH = 1 << 32


@dataclass(frozen=True, eq=False)
class WordCounts:
    """The stems of some texts. One row for each stem of each text, by text and by index.

    Attributes:
        rows: Position of the text, int64, shape (n,).
        indices: The stem's index, uint32, shape (n,).
        counts: How often the text has it, int64, shape (n,).
        lengths: Words of each text that count, repeated ones too: int64, shape (n_texts,).
    """

    rows: NDArray[np.int64]
    indices: NDArray[np.uint32]
    counts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def of_texts(self) -> list[slice]:
        """Return the rows of each text."""
        n_texts = len(self.lengths)
        ends = np.searchsorted(self.rows, np.arange(n_texts), side="right").tolist()
        return list(map(slice, [0, *ends], ends))


class Words:
    """Finds the stems of texts. Each word is stemmed and hashed once and remembered. Safe for threads.

    Args:
        stop_words: Words in lower case that do not count.
        longest: Words of more letters do not count.
        remembered_bytes: What may be remembered, about. What is more is forgotten before the next piece of text.
    """

    def __init__(
        self,
        stop_words: frozenset[str] = STOP_WORDS,
        longest: int = 40,
        remembered_bytes: int = _REMEMBERED_BYTES,
    ) -> None:
        self._stop_words = stop_words
        self._longest = longest
        self._limit = remembered_bytes
        #: Held while words are stemmed, too: a stemmer serves one thread at a time.
        self._lock = threading.Lock()
        self._stemmer: Any = None
        self._known: dict[str, int] = {}
        self._known_bytes = 0
        forked.watch(self)

    def on_fork(self) -> None:
        """In a forked child another thread of the parent may have had the lock, and the stemmer half-way."""
        self._lock = threading.Lock()
        self._stemmer = None
        self._known, self._known_bytes = {}, 0

    def count(self, texts: Sequence[str]) -> WordCounts:
        """Return the stems of texts, and how often each has them.

        Raises:
            ValueError: No stemmer is installed.
        """
        lengths = np.zeros(len(texts), dtype=np.int64)
        keys: list[NDArray[np.int64]] = []
        counts: list[NDArray[np.int64]] = []
        n_letters = sum(map(self.letters, texts))
        with WORKSPACE.take(min(_READ_BYTES, n_letters * _LETTER_BYTES)) as room:
            size = max(1, min(_READ_BYTES, room.n_bytes) // _LETTER_BYTES)
            for rows, words in self._pieces(texts, size):
                indices = self.indices(words)
                kept = indices != _DROPPED
                found, indices = rows[kept], indices[kept]
                is_long = indices < NO_LENGTH
                lengths += np.bincount(found[is_long], minlength=len(texts))
                key, count = np.unique(found << 32 | indices & (NO_LENGTH - 1), return_counts=True)
                keys.append(key)
                counts.append(count)
        key = np.concatenate([np.empty(0, np.int64), *keys])
        count = np.concatenate([np.empty(0, np.int64), *counts])
        if len(key) and not np.all(key[1:] > key[:-1]):
            # A text that was read in several pieces.
            key, places = np.unique(key, return_inverse=True)
            count = np.bincount(places.ravel(), weights=count).astype(np.int64)
        return WordCounts(key >> 32, (key & 0xFFFFFFFF).astype(np.uint32), count, lengths)

    def split(self, text: str) -> list[str]:
        """Return the words of a text as `indices` takes them, in order."""
        return words_of(text)

    def letters(self, text: str) -> int:
        """Return by how many letters the memory is reckoned that reading a text takes."""
        return len(text)

    def _pieces(
        self, texts: Sequence[str], size: int
    ) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
        """Yield (position of its text for each word, words): of texts of about so many letters together."""
        words: list[list[str]] = []
        positions: list[int] = []
        n_letters = 0
        for position, text in enumerate(texts):
            n_own = self.letters(text)
            for part in (text,) if n_own <= size else _parts(text, size * len(text) // n_own):
                words.append(self.split(part))
                positions.append(position)
                n_letters += n_own if part is text else n_own * len(part) // len(text)
                if n_letters >= size:
                    yield _flat(positions, words)
                    words, positions, n_letters = [], [], 0
        if words:
            yield _flat(positions, words)

    def indices(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Return the index of each word as it stands in a text: int64, shape (n,), -1 for one that does not count.

        An index may have the bit `NO_LENGTH`.
        """
        with self._lock:
            if self._known_bytes > self._limit:
                self._known, self._known_bytes = {}, 0
            known = self._known
            with contextlib.suppress(KeyError):
                return np.fromiter(map(known.__getitem__, words), dtype=np.int64, count=len(words))
            # Not `set(words) - known.keys()`, which looks at all that is known.
            new = list(filterfalse(known.__contains__, set(words)))
            known.update(zip(new, self._learn(new), strict=True))
            self._known_bytes += sum(map(getsizeof, new)) + _ENTRY_BYTES * len(new)
            return np.fromiter(map(known.__getitem__, words), dtype=np.int64, count=len(words))

    def _learn(self, words: Sequence[str]) -> list[int]:
        found = np.full(len(words), _DROPPED, dtype=np.int64)
        kept = {at: stem for at, stem in enumerate(self._stems(words)) if stem}
        if kept:
            # The absolute value as a number of 64 bits: the smallest of 32 bits has none.
            found[list(kept)] = np.abs(murmur3(list(kept.values())).astype(np.int64))
        return found.tolist()

    def _stems(self, words: Sequence[str]) -> Iterator[str | None]:
        if self._stemmer is None:
            self._stemmer = _english_stemmer()
        stem_word = self._stemmer.stemWord
        for word in words:
            low = word.lower()
            if low in self._stop_words or len(low) > self._longest:
                yield None
            else:
                yield stem_word(low).strip() or None

    def labels(self, text: str) -> dict[int, str]:
        """Return the first stem of each index that a text has."""
        words = self.split(text)
        found: dict[int, str] = {}
        with self._lock:
            stems = list(self._stems(words))
        for index, stem in zip(self.indices(words).tolist(), stems, strict=True):
            if stem is not None:
                found.setdefault(index, stem)
        return found


def _flat(positions: list[int], words: list[list[str]]) -> tuple[NDArray[np.int64], list[str]]:
    rows = np.repeat(np.asarray(positions, np.int64), list(map(len, words)))
    return rows, list(chain.from_iterable(words))


def words_of(text: str) -> list[str]:
    """Return the words of a text, of ASCII in lower case; others are made so where they are stemmed."""
    if text.isascii():
        # The same words, in half the time.
        return text.encode().translate(_ASCII_LETTERS).decode().split()
    return WORD.findall(text)


def is_mark(character: str) -> bool:
    """Say whether a character is a mark of the letter before it."""
    return unicodedata.category(character).startswith("M")


def _parts(text: str, size: int) -> Iterator[str]:
    """Yield a text in parts of about `size` letters, cut where no word is."""
    start, size = 0, max(1, size)
    while len(text) - start > size:
        cuts = _NO_WORD.finditer(text, start + size)
        # What a mark or a joiner belongs to is before it.
        cut = next((one for one in cuts if not is_mark(one[0]) and one[0] not in _JOINERS), None)
        if cut is None:
            break
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:] if start else text


def _english_stemmer() -> Any:
    """Return a Snowball stemmer: PyStemmer's, or the slower one of snowballstemmer, which gives the same stems.

    Raises:
        ValueError: Neither is installed.
    """
    for module, name in (("Stemmer", "Stemmer"), ("snowballstemmer", "stemmer")):
        try:
            return getattr(import_module(module), name)("english")
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    # Chroma's exception in this case.
    raise ValueError(
        "BM25 needs the Snowball stemmer, which is not installed. Install it with: pip install PyStemmer"
    )


#: Words of English texts with the default stop words, which most functions share.
ENGLISH = Words()


def lowered(words: Iterable[str]) -> frozenset[str]:
    """Return stop words as `Words` takes them."""
    return frozenset(word.lower() for word in words)
