"""`ChromaBm25EmbeddingFunction`: the worked examples of Chroma's function, long texts, and what it refuses."""

from __future__ import annotations

import random
import re
import sys

import numpy as np
import pytest

import chroma_nb
from chroma_nb import K, Schema, SparseVector, SparseVectorIndexConfig
from chroma_nb.embedding import (
    ChromaBm25EmbeddingFunction,
    SparseEmbeddingFunction,
    register_sparse_embedding_function,
    sparse_embedding_function_from_config,
    sparse_embedding_function_to_config,
    sparse_known_embedding_functions,
)
from chroma_nb.embedding.bm25_weights import rarity
from chroma_nb.embedding.murmur import murmur3
from chroma_nb.embedding.sparse import stored_vectors_of
from chroma_nb.embedding.words import Words, words_of
from chroma_nb.errors import InvalidArgumentError
from chroma_nb.memory.workspace import WORKSPACE, Grant
from chroma_nb.utils.sparse_embedding_utils import normalize_sparse_vector
from chroma_nb.validation import check_sparse_vectors
from tests.stores import private_settings

#: Text -> index -> (stem, value), as Chroma's function gives them.
WORKED = {
    "The quick brown foxes are running quickly": {
        243905464: ("run", 1.6697302104951084),
        741580288: ("brown", 1.6697302104951084),
        771291085: ("quick", 1.8985336254845782),
        1621867415: ("fox", 1.6697302104951084),
    },
    "Chroma Chroma search, search! SEARCH-engine": {
        133657604: ("chroma", 1.8956580276001347),
        553238108: ("search", 1.9872971065631617),
        856081220: ("engin", 1.6652868125369606),
    },
    "naïve café's 3.14": {
        264741300: ("3", 1.6741973840665876),
        605818632: ("café", 1.6741973840665876),
        756638508: ("naïv", 1.6741973840665876),
        1749031367: ("14", 1.6741973840665876),
    },
    "quick fox": {
        771291085: ("quick", 1.6832038254632398),
        1621867415: ("fox", 1.6832038254632398),
    },
}


@pytest.mark.parametrize("text", WORKED)
def test_worked_examples(text):
    wanted = WORKED[text]
    function = ChromaBm25EmbeddingFunction(include_tokens=True)
    assert function([text]) == [
        SparseVector(
            list(wanted),
            [value for _, value in wanted.values()],
            [stem for stem, _ in wanted.values()],
        )
    ]
    assert ChromaBm25EmbeddingFunction()([text])[0].labels is None


def test_a_text_without_words_has_an_empty_vector():
    assert (
        ChromaBm25EmbeddingFunction(include_tokens=True)(["the!", ""]) == [SparseVector([], [])] * 2
    )


def test_a_text_that_is_read_in_pieces_has_the_same_words(monkeypatch):
    rng = random.Random(3)
    texts = [
        " ".join(rng.choice(["apple", "pears", "the", "ΟΔΟΣ", "x" * 50, "İ"]) for _ in range(n))
        for n in (0, 3, 500, 2, 900)
    ]
    whole = Words().count(texts)
    monkeypatch.setattr(WORKSPACE, "take", lambda n_bytes: Grant(32 * 64))
    pieces = Words(remembered_bytes=0).count(texts)
    for name in ("rows", "indices", "counts", "lengths"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name


@pytest.mark.parametrize("config", [{}, {"k": 2, "b": 0.1, "stopwords": ["fox"]}])
def test_vectors_are_made_as_they_are_stored(config):
    texts = [*WORKED, "", "the", "漢字 naïve fox fox", "x" * 41]
    function = ChromaBm25EmbeddingFunction(**config)
    made = stored_vectors_of(function, texts)
    checked = check_sparse_vectors(["sp"] * len(texts), function(texts), [])
    assert made == checked
    assert [one.json for one in made] == [one.json for one in checked]


def test_weights_that_are_no_numbers_are_not_stored():
    function = ChromaBm25EmbeddingFunction(k=-1.0, b=0.0)
    assert stored_vectors_of(function, ["fox"]) is None
    with pytest.raises(InvalidArgumentError, match="finite numbers of 32 bits, got"):
        check_sparse_vectors(["sp"], function(["fox"]), [])


def test_only_a_functions_own_class_makes_stored_vectors():
    class Derived(ChromaBm25EmbeddingFunction):
        def __call__(self, input):
            return [SparseVector([1], [1.0]) for _ in input]

    assert stored_vectors_of(Derived(), ["a"]) is None
    assert stored_vectors_of(ChromaBm25EmbeddingFunction(include_tokens=True), ["a"]) is None
    assert stored_vectors_of(None, ["a"]) is None
    schema = Schema().create_index(
        SparseVectorIndexConfig(source_key=K.DOCUMENT, embedding_function=Derived()), key="sp"
    )
    with chroma_nb.Client(private_settings()) as client:
        notes = client.create_collection("notes", schema=schema, embedding_function=None)
        notes.add(ids=["a"], documents=["fox"], embeddings=[[1.0]])
        assert notes.get()["metadatas"] == [{"sp": SparseVector([1], [1.0])}]


def test_words_of_ascii_are_found_as_those_of_others():
    text = "".join(f"{chr(one)}aB_{chr(one)}{chr(one)}9 " for one in range(128))
    wanted = [word.lower() for word in re.findall(r"\w+", text)]
    assert words_of(text) == wanted
    assert [word.lower() for word in words_of(text + "é")] == [*wanted, "é"]


def test_what_is_remembered_of_words_has_an_end():
    words = Words(remembered_bytes=50_000)
    for start in range(0, 20_000, 100):
        words.count([" ".join(f"word{start + at}" for at in range(100))])
    assert len(words._known) < 1_000
    assert sys.getsizeof(words._known) < 100_000


def test_hashes_are_those_of_the_published_algorithm():
    # Of SMHasher's test vectors.
    assert murmur3(
        ["", "test", "Hello, world!", "The quick brown fox jumps over the lazy dog"]
    ).view(np.uint32).tolist() == [0, 0xBA6BD213, 0xC0363E43, 0x2E4FF723]
    assert murmur3([""], seed=1).view(np.uint32).tolist() == [0x514E28B7]


@pytest.mark.parametrize("wrong", [[], None])
def test_no_texts_are_refused_as_by_chroma(wrong):
    with pytest.raises(ValueError, match="Expected sparse vectors to be a non-empty list"):
        ChromaBm25EmbeddingFunction()(wrong)


def test_what_is_no_text_is_named():
    with pytest.raises(TypeError, match=r"got 3 \(int\) at position 1"):
        ChromaBm25EmbeddingFunction()(["a", 3])


def test_numbers_that_give_no_weights_are_refused():
    with pytest.raises(ValueError, match="avg_doc_length"):
        ChromaBm25EmbeddingFunction(avg_doc_length=0)
    with pytest.raises(ValueError, match="k=nan"):
        ChromaBm25EmbeddingFunction(k=float("nan"))


def test_without_the_stemmer_the_first_call_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    monkeypatch.setitem(sys.modules, "snowballstemmer", None)
    function = ChromaBm25EmbeddingFunction(stopwords=[])
    with pytest.raises(ValueError, match="pip install PyStemmer"):
        function(["apples"])


# -- recorded and built again -------------------------------------------------------------------


def test_a_function_is_recorded_and_built_again():
    function = ChromaBm25EmbeddingFunction(k=2, stopwords=["Foo"], include_tokens=True)
    recorded = sparse_embedding_function_to_config(function)
    assert (recorded["type"], recorded["name"]) == ("known", "chroma_bm25")
    again = sparse_embedding_function_from_config(recorded)
    assert type(again) is ChromaBm25EmbeddingFunction
    assert again.get_config() == function.get_config()
    partly = {"type": "known", "name": "chroma_bm25", "config": {"b": 0.5}}
    assert sparse_embedding_function_from_config(partly).b == 0.5


def test_none_is_recorded_as_unknown():
    assert sparse_embedding_function_to_config(None) == {"type": "unknown"}
    assert sparse_embedding_function_from_config({"type": "unknown"}) is None


@pytest.mark.parametrize(
    "config", [{"url": "x"}, {"k": "x"}, {"stopwords": "abc"}, {"include_tokens": 1}, {"b": True}]
)
def test_a_config_that_is_none_of_the_function_is_refused(config):
    with pytest.raises(InvalidArgumentError, match="chroma_bm25"):
        sparse_embedding_function_from_config(
            {"type": "known", "name": "chroma_bm25", "config": config}
        )


@pytest.mark.parametrize("name", ["huggingface_sparse", "<b>nobody"])
def test_an_unknown_name_is_refused_with_a_way_out(name):
    with pytest.raises(InvalidArgumentError, match="register_sparse_embedding_function"):
        sparse_embedding_function_from_config({"type": "known", "name": name, "config": {}})


def test_a_class_of_ones_own_is_registered():
    @register_sparse_embedding_function
    class Own(SparseEmbeddingFunction):
        def __call__(self, texts):
            return [SparseVector([len(text)], [1.0]) for text in texts]

        @staticmethod
        def name():
            return "own_sparse"

        def get_config(self):
            return {}

        @staticmethod
        def build_from_config(config):
            return Own()

    try:
        recorded = sparse_embedding_function_to_config(Own())
        again = sparse_embedding_function_from_config(recorded)
        assert again(input=["abc"]) == [SparseVector([3], [1.0])]
    finally:
        del sparse_known_embedding_functions["own_sparse"]


def test_what_a_function_of_ones_own_returns_is_checked():
    class Own(SparseEmbeddingFunction):
        def __call__(self, input):
            return input

    for wrong in ("ab", [], [1.0], [{"indices": [], "values": []}]):
        with pytest.raises(ValueError, match="parse"):
            Own()(wrong)


# -- the small formulas -------------------------------------------------------------------------


def test_rarity():
    assert rarity(5, 2) == pytest.approx(0.8754687373539)
    assert rarity(1, 1) > 0


def test_indices_are_sorted_with_their_values_and_labels():
    assert normalize_sparse_vector([3, 1], [0.5, 1.5], ["c", "a"]) == SparseVector(
        [1, 3], [1.5, 0.5], ["a", "c"]
    )
    assert normalize_sparse_vector([], []) == SparseVector([], [])
    with pytest.raises(ValueError, match="ascending"):
        normalize_sparse_vector([1, 1], [1.0, 2.0])
    with pytest.raises(ValueError, match="2 indices and 1 values"):
        normalize_sparse_vector([1, 2], [1.0])


def test_a_forked_child_does_not_wait_for_its_parents_lock():
    words = Words()
    wanted = words.count(["running foxes"])
    # As another thread of the parent may leave it.
    words._lock.acquire()
    words.on_fork()
    assert np.array_equal(words.count(["running foxes"]).indices, wanted.indices)
