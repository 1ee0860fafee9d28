"""Checks the queue between two threads: its policy, its losses, its end, and that nobody waits for ever."""

import random
import threading
import time
from collections.abc import Callable

import pytest
from conftest import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vision.runtime.channel import Channel, Overflow

BOTH = pytest.mark.parametrize("overflow", list(Overflow))
SOON = 30.0
"""A generous limit: what is waited for happens at once."""


def _in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _drain(channel: Channel[int]) -> list[int]:
    return channel.take(10_000, 0.0)


@BOTH
def test_items_come_out_in_the_order_they_went_in(overflow: Overflow) -> None:
    """First in, first out; the length is what is queued."""
    channel: Channel[int] = Channel(5, overflow)
    for item in range(3):
        assert channel.put(item, 0.0)
    assert len(channel) == 3
    assert [channel.get(0.0), channel.get(0.0), channel.get(0.0), channel.get(0.0)] == [0, 1, 2, None]


def test_a_full_blocking_channel_refuses_without_loss() -> None:
    """Nothing is dropped: the sender is told, and may try again."""
    channel: Channel[int] = Channel(2, Overflow.BLOCK)
    assert [channel.put(item, 0.0) for item in range(3)] == [True, True, False]
    assert channel.dropped == 0
    assert channel.get(0.0) == 0
    assert channel.put(2, 0.0)
    assert _drain(channel) == [1, 2]


def test_a_full_dropping_channel_keeps_the_freshest_and_counts() -> None:
    """The oldest make room, one by one, counted and told to `on_drop`."""
    lost: list[int] = []
    channel: Channel[int] = Channel(2, Overflow.DROP_OLDEST, on_drop=lost.append)
    assert all(channel.put(item, 0.0) for item in range(5))
    assert _drain(channel) == [3, 4]
    assert lost == [0, 1, 2]
    assert channel.dropped == 3


def test_weights_bound_the_load_not_the_count() -> None:
    """As many of the oldest go as the newest needs; a drop frees exactly its weight."""
    lost: list[int] = []
    channel: Channel[int] = Channel(10, Overflow.DROP_OLDEST, weigh=lambda item: item, on_drop=lost.append)
    for item in (4, 3, 3):
        channel.put(item, 0.0)
    assert lost == []
    channel.put(5, 0.0)
    assert lost == [4, 3]
    channel.put(2, 0.0)
    assert lost == [4, 3]
    assert _drain(channel) == [3, 5, 2]
    channel.put(10, 0.0)
    assert lost == [4, 3]


@BOTH
def test_an_item_heavier_than_the_capacity_passes_alone(overflow: Overflow) -> None:
    """It would else block for ever, or never be seen."""
    channel: Channel[int] = Channel(10, overflow, weigh=lambda item: item)
    assert channel.put(50, 0.0)
    assert channel.get(0.0) == 50
    channel.put(1, 0.0)
    if overflow is Overflow.DROP_OLDEST:
        assert channel.put(50, 0.0)
        assert (_drain(channel), channel.dropped) == ([50], 1)
    else:
        assert not channel.put(50, 0.0)
        assert _drain(channel) == [1]


@given(
    weights=st.lists(st.integers(1, 15), max_size=40),
    overflow=st.sampled_from(list(Overflow)),
    takes=st.lists(st.integers(0, 3), min_size=40, max_size=40),
)
def test_the_load_stays_within_the_capacity(weights: list[int], overflow: Overflow, takes: list[int]) -> None:
    """Whatever is put and taken: at most the capacity is queued, or one item; and every item is accounted for."""
    lost: list[int] = []
    channel: Channel[int] = Channel(20, overflow, weigh=lambda item: item, on_drop=lost.append)
    queued: list[int] = []
    seen: list[int] = []
    refused: list[int] = []
    for weight, count in zip(weights, takes, strict=False):
        before = len(lost)
        if channel.put(weight, 0.0):
            queued = [*queued[len(lost) - before :], weight]
        else:
            refused.append(weight)
        assert sum(queued) <= 20
        taken = [channel.get(0.0) for _ in range(min(count, len(channel)))]
        assert taken == queued[: len(taken)]
        seen += queued[: len(taken)]
        queued = queued[len(taken) :]
    assert sorted(seen + lost + refused + _drain(channel)) == sorted(weights)
    assert channel.dropped == len(lost)


def test_take_takes_what_is_there_up_to_the_most() -> None:
    """Oldest first; nothing when there is nothing; and the load is given back."""
    channel: Channel[int] = Channel(5, Overflow.BLOCK)
    assert channel.take(3, 0.0) == []
    for item in range(5):
        channel.put(item, 0.0)
    assert channel.take(3, 0.0) == [0, 1, 2]
    assert [channel.put(item, 0.0) for item in (5, 6, 7, 8)] == [True, True, True, False]
    assert channel.take(99, 0.0) == [3, 4, 5, 6, 7]


@BOTH
def test_after_the_end_what_is_queued_can_still_be_taken(overflow: Overflow) -> None:
    """`end()` refuses new items, keeps the queued ones, and is exhausted when they are taken."""
    channel: Channel[int] = Channel(5, overflow)
    channel.put(1, 0.0)
    channel.put(2, 0.0)
    assert (channel.ended, channel.exhausted) == (False, False)
    channel.end()
    assert (channel.ended, channel.exhausted) == (True, False)
    assert not channel.put(3, 0.0)
    assert channel.get(0.0) == 1
    assert not channel.exhausted
    assert channel.take(5, 0.0) == [2]
    assert channel.exhausted
    assert channel.get(SOON) is None
    assert channel.dropped == 1, "what came after the end is lost, and counted"


@BOTH
def test_after_a_cancel_nothing_can_be_taken(overflow: Overflow) -> None:
    """`cancel()` drops what is queued, counted, and refuses new items."""
    lost: list[int] = []
    channel: Channel[int] = Channel(5, overflow, on_drop=lost.append)
    channel.put(1, 0.0)
    channel.put(2, 0.0)
    channel.cancel()
    assert (channel.ended, channel.exhausted, len(channel)) == (True, True, 0)
    assert (lost, channel.dropped) == ([1, 2], 2)
    assert not channel.put(3, 0.0)
    assert channel.get(SOON) is None
    assert channel.dropped == 3


@pytest.mark.parametrize("finish", [Channel.end, Channel.cancel])
def test_the_end_wakes_a_blocked_sender(finish: Callable[[Channel[int]], None]) -> None:
    """Who waits for room in a full channel learns at once that there will be none."""
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    channel.put(1, 0.0)
    answers: list[bool] = []
    started = time.monotonic()
    thread = _in_thread(lambda: answers.append(channel.put(2, 60.0)))
    wait_until(lambda: bool(channel._freed._waiters), SOON, "the sender waits")  # type: ignore[attr-defined]
    finish(channel)
    thread.join(SOON)
    assert answers == [False]
    assert time.monotonic() - started < SOON


@BOTH
@pytest.mark.parametrize("finish", [Channel.end, Channel.cancel])
def test_the_end_wakes_a_blocked_receiver(overflow: Overflow, finish: Callable[[Channel[int]], None]) -> None:
    """Who waits for an item learns at once that none will come."""
    channel: Channel[int] = Channel(1, overflow)
    answers: list[int | None] = []
    thread = _in_thread(lambda: answers.append(channel.get(60.0)))
    wait_until(lambda: bool(channel._filled._waiters), SOON, "the receiver waits")  # type: ignore[attr-defined]
    finish(channel)
    thread.join(SOON)
    assert answers == [None]


def test_an_item_wakes_a_blocked_receiver_and_room_a_blocked_sender() -> None:
    """Neither side waits for its time-out when the other has moved."""
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    answers: list[object] = []
    receiver = _in_thread(lambda: answers.append(channel.get(60.0)))
    wait_until(lambda: bool(channel._filled._waiters), SOON, "the receiver waits")  # type: ignore[attr-defined]
    channel.put(7, 0.0)
    receiver.join(SOON)
    channel.put(8, 0.0)
    sender = _in_thread(lambda: answers.append(channel.put(9, 60.0)))
    wait_until(lambda: bool(channel._freed._waiters), SOON, "the sender waits")  # type: ignore[attr-defined]
    assert channel.take(1, 0.0) == [8]
    sender.join(SOON)
    assert answers == [7, True]
    assert _drain(channel) == [9]


@BOTH
def test_waits_end_with_their_time_out(overflow: Overflow) -> None:
    """No call blocks longer than it was told."""
    channel: Channel[int] = Channel(1, overflow)
    started = time.monotonic()
    assert channel.get(0.05) is None
    assert channel.take(5, 0.05) == []
    channel.put(1, 0.0)
    assert channel.put(2, 0.05) == (overflow is Overflow.DROP_OLDEST)
    assert 0.1 <= time.monotonic() - started < SOON


def test_the_policy_may_change_while_it_runs() -> None:
    """A channel made before its source was known follows the source from then on."""
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    channel.put(1, 0.0)
    assert not channel.put(2, 0.0)
    channel.overflow = Overflow.DROP_OLDEST
    assert channel.put(3, 0.0)
    assert (_drain(channel), channel.dropped) == ([3], 1)


@BOTH
@given(seed=st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_a_random_run_of_two_threads_accounts_for_every_item(overflow: Overflow, seed: int) -> None:
    """BLOCK loses nothing; under DROP_OLDEST what is missing equals the counter; the order holds in both."""
    chance = random.Random(seed)
    lost: list[int] = []
    channel: Channel[int] = Channel(chance.randint(1, 8), overflow, on_drop=lost.append)
    count = 400

    def produce() -> None:
        for item in range(count):
            while not channel.put(item, 5.0):
                assert not channel.ended
        channel.end()

    thread = _in_thread(produce)
    received: list[int] = []
    while not channel.exhausted:
        if chance.random() < 0.5:
            received += channel.take(chance.randint(1, 4), 0.1)
        else:
            item = channel.get(0.1)
            received += [] if item is None else [item]
        if chance.random() < 0.02:
            time.sleep(0.001)
    thread.join(SOON)
    assert received == sorted(received)
    assert sorted(received + lost) == list(range(count))
    assert channel.dropped == len(lost)
    if overflow is Overflow.BLOCK:
        assert received == list(range(count))
