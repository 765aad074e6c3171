"""Words of documents, and of what is searched in them: those of BM25, and pairs of Chinese, Japanese and Korean characters.

These languages put no spaces between words, or write particles onto them. So each pair of neighbouring characters counts
as a word, as in Lucene's CJKAnalyzer
(https://lucene.apache.org/core/10_0_0/analysis/common/org/apache/lucene/analysis/cjk/CJKBigramFilter.html). Every
character counts as well, so that a word of one character is found, and pairs add nothing to the length of a text.

Composed and decomposed letters are the same, and marks are parts of their words: vowels of Hindi and Tamil, points of
Arabic and Hebrew. To Python's ``re`` they are no letters, and a word would be cut into pieces at each.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import TYPE_CHECKING

from chroma_nb.embedding.bm25_weights import Bm25
from chroma_nb.embedding.words import NO_LENGTH, Words, is_mark, words_of
from chroma_nb.search.sparse import SparseVector

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Letters of the Unicode blocks of Hangul, Hiragana, Katakana, Bopomofo and Chinese characters, as ranges of a regular
#: expression: https://www.unicode.org/Public/UNIDATA/Blocks.txt
_LETTERS = (
    "\u1100-\u11ff\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
#: Latin letters and digits as wide as these, Katakana and Hangul of half their width, and marks that are characters of
#: their own: other spellings of the same.
_OTHER_WIDTH = "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uffdc\u3099\u309a"
#: What is not seen within a word, and is none of its letters: soft hyphens, joiners, and selectors of variants
#: (https://www.unicode.org/reports/tr29/#WB4).
_UNSEEN = re.compile("[\u00ad\u200c\u200d\u2060\ufe00-\ufe0f\U000e0100-\U000e01ef]")
#: Marks are in this range; what is beyond it selects variants.
_MARKS = range(0x300, 0x20000)
#: Thai, Lao, Burmese and Khmer have no spaces: cut at their marks, parts of them are found at least.
_UNCUT = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f]+"
)
_UNSPACED = re.compile(f"[{_LETTERS}{_OTHER_WIDTH}]+")
_LETTER = re.compile(f"[{_LETTERS}]")
_RUN_OR_REST = re.compile(f"([{_LETTERS}]+)|[^{_LETTERS}]+")
#: A character takes so many times the memory of a letter while texts are read: it is a word, and so is the pair with the next.
_CHARACTER_TIMES = 8


class DocumentWords(Words):
    """Finds words as `Words` does, and beside them characters and their pairs.

    Args:
        of_queries: Of several characters their pairs alone: a text that has the characters apart has nothing in common
            with them.
    """

    def __init__(self, *, of_queries: bool = False) -> None:
        super().__init__()
        self._of_queries = of_queries

    def split(self, text: str) -> list[str]:
        """Return the words of a text, and its characters with the pairs of them."""
        if text.isascii():
            return words_of(text)
        words_in = _word_with_marks().findall
        text = _UNSEEN.sub("", unicodedata.normalize("NFC", text))
        if not _UNSPACED.search(text):
            return words_in(text)
        words: list[str] = []
        # Ligatures elsewhere stay as they are.
        for word in words_in(_UNSPACED.sub(_in_one_spelling, text)):
            if not _LETTER.search(word):
                words.append(word)
                continue
            for found in _RUN_OR_REST.finditer(word):
                run = found[1]
                if not run:
                    # An underscore that joins a character to others is no word, nor is a mark of the character.
                    words += filter(None, (one.strip("_") for one in words_in(found[0])))
                    continue
                if len(run) == 1 or not self._of_queries:
                    words += run
                words += map(str.__add__, run, run[1:])
        return words

    def letters(self, text: str) -> int:
        """Return more for a text that may have such characters."""
        return len(text) * (1 if text.isascii() else _CHARACTER_TIMES)

    def _learn(self, words: Sequence[str]) -> list[int]:
        found = super()._learn(words)
        if self._of_queries:
            return found
        # A text is as long as it has characters and words.
        return [
            index | NO_LENGTH if index >= 0 and _is_pair(word) else index
            for word, index in zip(words, found, strict=True)
        ]


@functools.cache
def _word_with_marks() -> re.Pattern[str]:
    """Return what finds words with the marks of their letters. It is made when the first text asks for it: 20 ms."""
    marks = _UNCUT.sub("", "".join(filter(is_mark, map(chr, _MARKS))))
    # Characters of 16 bits are looked up at once, others are compared with one range after the other.
    near = "".join(one for one in marks if one < "\U00010000")
    beyond = marks[len(near) :]
    return re.compile(rf"\w+(?:(?=[^\x00-\u02ff])(?:[{near}]|[{beyond}])+\w*)*")


def _in_one_spelling(found: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", found[0])


def _is_pair(word: str) -> bool:
    match = _RUN_OR_REST.fullmatch(word) if len(word) == 2 else None
    return match is not None and match[1] is not None


#: Words of documents.
DOCUMENT_WORDS = DocumentWords()
_QUERY_WORDS = DocumentWords(of_queries=True)


def word_queries(texts: Sequence[str]) -> list[SparseVector]:
    """Return texts as what the words of documents are compared with: a sparse vector of BM25 weights for each.

    Raises:
        ValueError: No stemmer is installed.
    """
    counted = _QUERY_WORDS.count(texts)
    indices, values = counted.indices.tolist(), Bm25().weights(counted).tolist()
    return [SparseVector.of_plain(indices[rows], values[rows]) for rows in counted.of_texts()]
