"""`Question`: it is answered once, whoever is first."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pytest

from chroma_nb.server.flight_question import Question

LONG = 60


class Writer:
    """The server's end of a stream."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[bytes] = []
        self.error = error

    def write_metadata(self, metadata: Any) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(metadata.to_pybytes())


def test_the_first_answer_is_the_only_one() -> None:
    writer = Writer()
    question = Question(writer)
    assert not question.is_answered
    assert question.answer(None, b"late")
    assert question.is_answered
    assert not question.answer(None, b"result")
    assert writer.sent == [b"late"]


def test_of_many_at_once_one_is_sent() -> None:
    writer, start = Writer(), threading.Barrier(8)
    question, said = Question(writer), []

    def answer(number: int) -> None:
        start.wait(LONG)
        said.append(question.answer(None, b"%d" % number))

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(LONG)
    assert sorted(said) == [False] * 7 + [True]
    assert len(writer.sent) == 1


@pytest.mark.parametrize("error", [pa.ArrowInvalid("gone"), OSError("gone")])
def test_a_client_that_has_gone_is_nobodys_fault(error: Exception) -> None:
    question = Question(Writer(error))
    assert question.answer(None, b"result")
    assert question.client_has_gone
