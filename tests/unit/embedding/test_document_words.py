"""Words of the index that searches by words: those of BM25, and characters of texts without spaces, with their pairs."""

from __future__ import annotations

import random
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chroma_nb
from chroma_nb import K, Knn, Search
from chroma_nb.embedding import ChromaBm25EmbeddingFunction
from chroma_nb.embedding.document_words import DOCUMENT_WORDS, DocumentWords, word_queries
from chroma_nb.embedding.words import ENGLISH, _parts
from chroma_nb.memory.workspace import WORKSPACE, Grant
from tests.stores import private_settings

#: Scripts with spaces: letters with and without accents, digits, emoji; Greek, Cyrillic, Thai with its marks.
SPACED = st.text(alphabet="aeinrst AEINRST-'_.,0123\n\u00a0ßéЖΣςกาน\u0e49😀ﬁ", max_size=40)
#: Letters, marks and what is not seen, in several scripts.
MARKED = st.text(
    alphabet="aeo _.\u0301\u0323éệक\u093fत\u094d\u200d\u00adか\u3099東\ufe0f\u0e49", max_size=30
)


@given(st.lists(SPACED, min_size=1, max_size=4))
def test_texts_with_spaces_have_the_words_of_bm25(texts: list[str]) -> None:
    mine, wanted = DOCUMENT_WORDS.count(texts), ENGLISH.count(texts)
    for name in ("rows", "indices", "counts", "lengths"):
        assert np.array_equal(getattr(mine, name), getattr(wanted, name)), name
    assert word_queries(texts) == ChromaBm25EmbeddingFunction()(texts)


@pytest.mark.parametrize(
    ("text", "wanted", "asked"),
    [
        ("東京都へ。", "東 京 都 へ 東京 京都 都へ", "東京 京都 都へ"),
        ("猫", "猫", "猫"),
        ("猫 犬", "猫 犬", "猫 犬"),
        (
            "iPhone用ケース2個",
            "iPhone 用 ケ ー ス 用ケ ケー ース 2 個",
            "iPhone 用ケ ケー ース 2 個",
        ),
        (
            "한국어를 배운다",
            "한 국 어 를 한국 국어 어를 배 운 다 배운 운다",
            "한국 국어 어를 배운 운다",
        ),
        ("東京_タワ", "東 京 東京 タ ワ タワ", "東京 タワ"),
        ("_東_", "東", "東"),
        ("__init__ を_x_", "__init__ を x", "__init__ を x"),
        # Half width, full width, marks of their own, and rare characters beyond 16 bits.
        ("ｶﾞｽ", "ガ ス ガス", "ガス"),
        ("ＡＢ１", "AB1", "AB1"),
        ("か\u3099す", "が す がす", "がす"),
        ("𠮷野", "𠮷 野 𠮷野", "𠮷野"),
        ("ﬁ東", "ﬁ 東", "ﬁ 東"),
    ],
)
def test_characters_and_pairs(text: str, wanted: str, asked: str) -> None:
    assert DOCUMENT_WORDS.split(text) == wanted.split()
    assert DocumentWords(of_queries=True).split(text) == asked.split()
    assert DOCUMENT_WORDS.split(unicodedata.normalize("NFD", "한국")) == ["한", "국", "한국"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cafés Việt", "cafés Việt"),
        ("हिन्दी किताब।", "हिन्दी किताब"),
        ("தமிழ்", "தமிழ்"),
        ("שָׁלוֹם כִּי", "שָׁלוֹם כִּי"),
        ("a\u0301\u0327b_\u0301c", "á\u0327b_\u0301c"),
        # Soft hyphens, joiners, selectors of variants.
        ("hy\u00adphen می\u200cخواهم क्\u200dष 葛\U000e0100城", "hyphen میخواهم क्ष 葛 城 葛城"),
        # What is no letter has no marks, and a mark alone is no word.
        ("\u0301 -\u0301a ❤\ufe0f 1\ufe0f\u20e3", "a 1\u20e3"),
        ("東\u0301x\u0301", "東 x\u0301"),
    ],
)
def test_marks_are_parts_of_words(text: str, wanted: str) -> None:
    wanted = unicodedata.normalize("NFC", wanted)
    for form in ("NFC", "NFD"):
        assert DOCUMENT_WORDS.split(unicodedata.normalize(form, text)) == wanted.split()


@given(MARKED, MARKED)
def test_composed_and_decomposed_texts_have_the_same_words(one: str, other: str) -> None:
    text = f"{one} {other}"
    words = DOCUMENT_WORDS.split(text)
    for form in ("NFC", "NFD"):
        assert DOCUMENT_WORDS.split(unicodedata.normalize(form, text)) == words
    assert words == DOCUMENT_WORDS.split(one) + DOCUMENT_WORDS.split(other)
    # Wherever a long text is cut.
    assert [word for part in _parts(text, 5) for word in DOCUMENT_WORDS.split(part)] == words


def test_pairs_add_nothing_to_the_length_of_a_text() -> None:
    counted = DOCUMENT_WORDS.count(["東京都 東京 the towers", "tower"])
    assert counted.lengths.tolist() == [6, 1]
    words = {"東": 2, "京": 2, "都": 1, "東京": 2, "京都": 1, "tower": 1}
    assert len(counted.indices) == len(words) + 1
    assert sorted(counted.counts.tolist()[:-1]) == sorted(words.values())
    # The same number for the same characters, in a document and in a query.
    (query,) = word_queries(["京都"])
    assert query.indices[0] in counted.indices.tolist()


def test_a_text_that_is_read_in_pieces_has_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["東京都に行く。" * 300, "", "京都 " * 50 + "plain words " * 200, "猫"]
    whole = DocumentWords().count(texts)
    monkeypatch.setattr(WORKSPACE, "take", lambda n_bytes: Grant(32 * 64))
    pieces = DocumentWords().count(texts)
    for name in ("rows", "indices", "counts", "lengths"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name


DOCUMENTS = {
    "tokyo": "東京に行く",
    "kyoto": "京都の東の町",
    "seoul": "서울에서 커피를 마셨다",
    "birds": "我喜欢小鸟和猫",
    "mixed": "The Tokyo tower (東京タワー) is red",
    "plain": "plain English text about towers",
}


@pytest.fixture(scope="module")
def notes() -> Any:
    with chroma_nb.Client(private_settings()) as client:
        notes = client.create_collection("notes", embedding_function=None)
        notes.add(
            ids=list(DOCUMENTS), documents=list(DOCUMENTS.values()), embeddings=[[1.0, 0.0]] * 6
        )
        yield notes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("東京", {"tokyo", "mixed"}),
        ("東京タワー", {"tokyo", "mixed"}),
        ("ﾀﾜｰ", {"mixed"}),
        ("京", {"tokyo", "kyoto", "mixed"}),
        ("小鸟", {"birds"}),
        ("猫", {"birds"}),
        ("커피", {"seoul"}),
        ("tower", {"mixed", "plain"}),
        ("猫鸟", set()),
    ],
)
def test_parts_of_texts_are_found(notes: Any, text: str, wanted: set[str]) -> None:
    loaded = notes.search(text, by="words")
    assert set(loaded["ids"][0]) == wanted
    notes.unload()
    again = notes.search(Search(rank=Knn(text, key=K.DOCUMENT)).select(K.SCORE))
    assert (again["ids"], again["scores"]) == (loaded["ids"], loaded["scores"])


def test_what_has_more_of_a_text_comes_first(notes: Any) -> None:
    assert notes.search("東京タワー", by="words")["ids"][0] == ["mixed", "tokyo"]


def test_the_index_takes_at_most_seven_times_the_bytes_of_the_texts() -> None:
    dice = random.Random(1)
    characters = [chr(0x4E00 + at) for at in range(3_000)]
    documents = ["".join(dice.choices(characters, k=40)) for _ in range(2_000)]
    with chroma_nb.Client(private_settings()) as client:
        notes = client.create_collection("notes", embedding_function=None)
        ids = [str(at) for at in range(len(documents))]
        notes.add(ids=ids, documents=documents, embeddings=[[1.0, 0.0]] * len(ids))
        assert ids[7] in notes.search(documents[7], by="words")["ids"][0]
        (memory,) = client.memory.report().collections
        n_bytes = sum(len(document.encode()) for document in documents)
        assert 0 < memory.parts["sparse"] <= 7 * n_bytes
