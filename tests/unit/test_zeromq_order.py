"""Messages put in order, whatever is lost on the way and in whatever order gaps are noticed."""

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zeromq_site import make_message

from edge_vision.core.message import Message
from edge_vision.publish.zeromq import order as ordering
from edge_vision.publish.zeromq.order import Missed, Order, lost
from edge_vision.publish.zeromq.words import Answer, HeartbeatMessage, Last, Range, Request
from edge_vision.testing.fakes import FakeClock, FakeHistory

KINDS = ["count", "reading"]


def beat(boot: str, last: dict[tuple[str, str], int]) -> HeartbeatMessage:
    """A heartbeat with these numbers."""
    numbers = [Last(source, kind, seq) for (source, kind), seq in last.items()]
    return HeartbeatMessage("edge-vision/1", "heartbeat", boot, "test", "", 2.0, numbers)


def answer(history: FakeHistory, request: Request, order: Order) -> None:
    """What the replay socket would say."""
    if request.ranges:
        order.answered(request, Answer(done=True, ranges=[Range(*row) for row in history.ranges()], kinds=KINDS))
        return
    found = history.since(request.boot, request.source, request.kind, request.first, request.last, 10_000)
    for message in found:
        order.hear(message)
    order.answered(request, Answer(done=True, missing=0))


def told(found: list[Message | Missed]) -> dict[tuple[str, str], list[int]]:
    """The numbers handed on, by boot and kind."""
    numbers = defaultdict(list)
    for one in found:
        if isinstance(one, Message):
            numbers[one.boot, one.kind].append(one.seq)
    return dict(numbers)


@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.9), fails=st.floats(0, 0.6), boots=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_nothing_that_is_kept_is_missed(seed: int, loss: float, fails: float, boots: int) -> None:
    """Messages of several boots get lost, doubled and delayed; questions fail: all come in order, each once."""
    chance = random.Random(seed)
    clock, history = FakeClock(), FakeHistory()
    order = Order(clock, asks=True)
    found: list[Message | Missed] = []
    started: set[tuple[str, str]] = set()
    for number in range(boots):
        boot, last = f"{number:02}", dict[tuple[str, str], int]()
        for _ in range(chance.randrange(1, 60)):
            clock.advance(chance.random())
            stream = "cam", chance.choice(KINDS)
            last[stream] = last.get(stream, 0) + 1
            message = make_message(last[stream], kind=stream[1], boot=boot)
            history.messages.append(message)
            first = number == 0 and (boot, stream[1]) not in started
            if first or chance.random() >= loss:  # what it hears first of all is where it begins
                order.hear(message)
                started.add((boot, stream[1]))
                if chance.random() < 0.1:
                    order.hear(message)
            if chance.random() < 0.1:
                order.heartbeat(beat(boot, last))
            if (question := order.question()) and chance.random() >= fails:
                answer(history, question, order)
            found += order.take()
        order.heartbeat(beat(boot, last))
    for _ in range(200):
        clock.advance(0.5)
        if question := order.question():
            answer(history, question, order)
    found += order.take()
    expected = defaultdict(list)
    for message in history.messages:
        expected[message.boot, message.kind].append(message.seq)
    assert told(found) == dict(expected)
    assert not lost(found)
    assert order.positions == {(boot, "cam", kind): seqs[-1] for (boot, kind), seqs in expected.items()}
    assert order._held_bytes == 0


@given(seed=st.integers(0, 2**32), loss=st.floats(0, 0.9))
@settings(max_examples=100, deadline=None)
def test_every_number_is_handed_on_or_missed(seed: int, loss: float) -> None:
    """Where nothing is kept, or only some: from the first number heard to the last told, each once and in order."""
    chance = random.Random(seed)
    clock, history = FakeClock(), FakeHistory()
    order = Order(clock, asks=chance.random() < 0.5)
    found: list[Message | Missed] = []
    for number in range(1, 80):
        message = make_message(number)
        if number == 1 or chance.random() >= loss:
            order.hear(message)
        if chance.random() < 0.3:
            history.messages.append(message)
        if question := order.question():
            answer(history, question, order)
        clock.advance(chance.random())
        found += order.take()
    order.heartbeat(beat("00000b", {("cam", "count"): 79}))
    for _ in range(500):
        clock.advance(1.0)
        if question := order.question():
            answer(history, question, order)
    found += order.take()
    numbers: list[int] = []
    for one in found:
        numbers += [one.seq] if isinstance(one, Message) else range(one.first, one.last + 1)
    assert numbers == list(range(1, 80))


def test_an_unanswered_question_is_asked_a_few_times_then_given_up() -> None:
    """So that what follows is not held for ever."""
    clock = FakeClock()
    order = Order(clock, asks=True)
    order.hear(make_message(1))
    order.hear(make_message(3))
    asked = 0
    for _ in range(100):
        clock.advance(1.0)
        question = order.question()
        if question is not None and not question.ranges:
            asked += 1
            order.answered(question, Answer(error="no answer"))
        elif question is not None:
            order.answered(question, Answer(error="no answer"))
    assert asked == 4
    assert [getattr(one, "seq", None) for one in order.take()] == [1, None, 3]
    assert order.positions[make_message(1).boot, "cam", "count"] == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than may wait behind a gap gives the gap up."""
    monkeypatch.setattr(ordering, "_MOST_HELD_BYTES", 100_000)
    order = Order(FakeClock(), asks=True)
    order.hear(make_message(1))
    for number in range(3, 1000):
        order.hear(make_message(number, more="x" * 1000))
        assert order._held_bytes <= 110_000
    found = order.take()
    assert Missed("00000b", "cam", "count", 2, 2) in found


def test_boots_are_forgotten_in_the_end() -> None:
    """The oldest, with what is still missing of them told."""
    order = Order(FakeClock(), asks=True)
    for boot in range(200):
        order.hear(make_message(2, boot=f"{boot:04}"))
    assert len({boot for boot, _, _ in order.positions}) == 64
    found = order.take()
    assert Missed("0001", "cam", "count", 1, 1) in found
    assert len(found) == 2 * (200 - 64) - 1  # of the first nothing is missed


@pytest.mark.parametrize("asks", [True, False])
def test_only_what_was_subscribed_to_is_missed(asks: bool) -> None:
    """Numbers in a heartbeat of streams that others listen to are not ours."""
    order = Order(FakeClock(), asks=asks, wants=lambda _source, kind: kind == "count")
    order.heartbeat(beat("00000b", {("cam", "count"): 1, ("cam", "reading"): 1}))
    order.heartbeat(beat("00000b", {("cam", "count"): 1, ("cam", "reading"): 9}))
    assert order.take() == []
    order.heartbeat(beat("00000b", {("cam", "count"): 2, ("cam", "reading"): 9}))
    found: list[Any] = order.take()
    assert found == ([] if asks else [Missed("00000b", "cam", "count", 2, 2)])
