"""A question of a stream is answered once: by the thread that works on it, or where it is late by the one that watches."""

from __future__ import annotations

import threading

import pytest

from chroma_nb.server.flight_questions import Question, Questions

LONG = 60


def test_a_question_is_late_only_while_it_is_worked_on() -> None:
    question = Question()
    assert question.seconds_left() > 0
    question.begin(0, bytes)
    assert question.seconds_left() > 0, "it has all the time"
    question.begin(1e-9, bytes)
    assert question.end()
    assert question.seconds_left() > 0
    assert not question.is_late
    question.begin(1e-9, bytes)
    assert question.seconds_left() == 0
    assert question.is_late
    assert not question.end(), "it is answered already"


def test_after_a_late_one_another_thread_goes_on_and_the_work_is_waited_for() -> None:
    hold, sent, threads = threading.Event(), [], []
    over: list[bool] = []

    def answer(questions: Questions) -> None:
        threads.append(threading.current_thread())
        question = questions.next()
        if len(threads) == 1:
            question.begin(0.01, lambda: b"late")
            assert hold.wait(LONG)
            over.append(question.end())
        else:
            question.begin(LONG, lambda: b"never")
            assert question.end()
            hold.set()

    Questions(answer, sent.append).run()
    assert sent == [b"late"]
    assert over == [False]
    assert len(set(threads)) == 2
    assert not any(one.is_alive() for one in threads)


def test_what_the_thread_raises_ends_the_stream() -> None:
    def answer(_: Questions) -> None:
        raise LookupError("odd")

    with pytest.raises(LookupError, match="odd"):
        Questions(answer, print).run()


def test_a_machine_without_a_thread_left_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    from chroma_nb.server.refusals import Refused

    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with pytest.raises(Refused, match="no thread left"):
        Questions(print, print).run()
