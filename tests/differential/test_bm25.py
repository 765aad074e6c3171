"""BM25 in chromadb and in chroma_nb: the same indices, and the same values to the last digit."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip(
    "chromadb", reason='chromadb is not installed: pip install "chroma-nb[differential]"'
)
import chromadb.utils.embedding_functions as theirs
from chromadb.utils.embedding_functions.schemas.bm25_tokenizer import (
    DEFAULT_CHROMA_BM25_STOPWORDS,
)

import chroma_nb.utils.embedding_functions as ours
from chroma_nb.embedding.words import STOP_WORDS

pytestmark = pytest.mark.differential

LETTERS = "aeinrst AEINRST-'_.,0123\n\t\u00a0\u3000İıßΣσςÉé́कि漢字😀"
WORDS = st.sampled_from(
    [
        "running",
        "Foxes",
        "the",
        "DON'T",
        "naïve",
        "university",
        "organize",
        "ΑΣ",
        "ΟΔΟΣ.",
        "x" * 41,
        "İstanbul",
    ]
)
TEXTS = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.text(alphabet=LETTERS, max_size=40),
        st.lists(WORDS, max_size=12).map(" ".join),
    ),
    min_size=1,
    max_size=5,
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "k": st.floats(0.1, 3),
        "b": st.floats(0, 1),
        "avg_doc_length": st.floats(1, 1000),
        "token_max_length": st.integers(1, 60),
        "stopwords": st.lists(st.sampled_from(["The", "fox", "foxes", "ss", "running"])),
        "include_tokens": st.booleans(),
    },
)


@given(texts=TEXTS, config=CONFIGS)
@example(texts=["", "the", "İstanbul ΟΔΟΣ ΟΔΟΣ's Σ"], config={"include_tokens": True})
@settings(max_examples=300, deadline=None)
def test_texts_have_the_same_vectors(texts, config):
    mine = ours.ChromaBm25EmbeddingFunction(**config)
    other = theirs.ChromaBm25EmbeddingFunction(**config)
    for found, wanted in zip(mine(texts), other(texts), strict=True):
        assert found.to_dict() == wanted.to_dict()
    assert [one.to_dict() for one in mine.embed_query(texts)] == [
        one.to_dict() for one in other.embed_query(texts)
    ]
    assert mine.get_config() == other.get_config()


def test_the_stop_words_are_those_that_can_match():
    assert {word for word in DEFAULT_CHROMA_BM25_STOPWORDS if "'" not in word} == STOP_WORDS


def test_a_function_of_chromadb_serves_as_a_sparse_function():
    class Wrapped(ours.SparseEmbeddingFunction):
        def __call__(self, input):
            return theirs.ChromaBm25EmbeddingFunction()(input)

    assert Wrapped()(["quick fox"]) == ours.ChromaBm25EmbeddingFunction()(["quick fox"])
