"""Checks the queue in front of a device: never too many at once, in order, each with a limit."""

import random
import threading
import time
from collections.abc import Callable

import pytest
from conftest import wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_vision.core.errors import InferenceError
from edge_vision.inference.slots import Slots

SOON = 60.0


class _Crowd:
    """Threads that hold a turn for a moment; notes their order and how many there were at once."""

    def __init__(self, slots: Slots) -> None:
        self.order: list[object] = []
        self.most = 0
        self.errors: list[Exception] = []
        self._slots = slots
        self._inside = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def enter(self, name: object, priority: int = 0, hold_s: float = 0.0, timeout_s: float = 60.0) -> None:
        """Take a turn in a thread of its own."""

        def run() -> None:
            try:
                with self._slots.turn(timeout_s, priority):
                    with self._lock:
                        self._inside += 1
                        self.most = max(self.most, self._inside)
                        self.order.append(name)
                    time.sleep(hold_s)
                    with self._lock:
                        self._inside -= 1
            except InferenceError as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def enter_in_line(self, name: object, priority: int = 0) -> None:
        """The same, and wait until it stands in the queue."""
        standing = len(self._slots._waiting)
        self.enter(name, priority)
        wait_until(lambda: len(self._slots._waiting) == standing + 1, SOON, f"{name} stands in line")

    def join(self) -> None:
        """Wait until everybody has left."""
        for thread in self._threads:
            thread.join(SOON)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_never_more_than_count_at_once(count: int) -> None:
    """Eighty turns, sixteen threads at a time: all come, `count` side by side and never more."""
    slots = Slots("CPU", count)
    crowd = _Crowd(slots)
    for number in range(80):
        crowd.enter(number, hold_s=0.002)
        if number % 16 == 15:
            crowd.join()
    crowd.join()
    assert sorted(crowd.order, key=str) == sorted(range(80), key=str)
    assert crowd.most == count
    assert (slots._free, slots._waiting) == (count, [])


def test_first_come_first_served_within_a_priority() -> None:
    """Who waits longest is next."""
    slots = Slots("CPU", 1)
    crowd = _Crowd(slots)
    with slots.turn(1.0):
        for name in "abcdef":
            crowd.enter_in_line(name)
    crowd.join()
    assert crowd.order == list("abcdef")


def test_priority_goes_before_order() -> None:
    """Priority 0 before 1 before 9, whenever they came."""
    slots = Slots("CPU", 1)
    crowd = _Crowd(slots)
    with slots.turn(1.0):
        for name, priority in [("late", 9), ("b1", 1), ("a1", 0), ("b2", 1), ("a2", 0)]:
            crowd.enter_in_line(name, priority)
    crowd.join()
    assert crowd.order == ["a1", "a2", "b1", "b2", "late"]


def test_a_slot_is_not_taken_past_those_who_wait() -> None:
    """Who comes while others wait stands in line, although a slot may be between two holders."""
    slots = Slots("CPU", 1)
    crowd = _Crowd(slots)
    for _ in range(20):
        with slots.turn(1.0):
            crowd.enter_in_line("waiting")
        with slots.turn(SOON):
            crowd.order.append("came later")
    crowd.join()
    assert crowd.order == ["waiting", "came later"] * 20


def test_no_turn_in_time_is_an_inference_error_and_leaves_no_ticket() -> None:
    """The message has the device, the limit and how many slots are taken; the queue is as before."""
    slots = Slots("GPU.0", 2)
    with slots.turn(1.0), slots.turn(1.0):
        with (
            pytest.raises(InferenceError, match=r"no turn on GPU\.0 within 0\.01 s: 2 of 2 slots are taken"),
            slots.turn(0.01),
        ):
            pytest.fail("a third turn was given")
        assert slots._waiting == []
    with slots.turn(0.0), slots.turn(0.0):
        assert slots._free == 0
    assert slots._free == 2


def test_who_gave_up_does_not_keep_the_others_from_their_turn() -> None:
    """A ticket that ran out in the middle of the queue leaves those behind it in order."""
    slots = Slots("CPU", 1)
    crowd = _Crowd(slots)
    with slots.turn(1.0):
        crowd.enter_in_line("a", 1)
        crowd.enter("impatient", 0, timeout_s=0.01)
        wait_until(lambda: len(crowd.errors) == 1, SOON, "the impatient one gives up")
        crowd.enter_in_line("b", 1)
        crowd.enter_in_line("first", 0)
    crowd.join()
    assert crowd.order == ["first", "a", "b"]
    assert slots._free == 1


def test_the_order_holds_when_the_first_in_line_gives_up() -> None:
    """Whoever leaves the head of a long queue leaves the others in their order."""
    slots = Slots("CPU", 1)
    crowd = _Crowd(slots)
    with slots.turn(1.0):
        crowd.enter("impatient", 0, timeout_s=4.0)
        wait_until(lambda: len(slots._waiting) == 1, SOON, "the impatient one stands in line")
        for priority in (5, 1, 6, 7, 2, 3):
            crowd.enter_in_line(priority, priority)
        wait_until(lambda: len(crowd.errors) == 1, SOON, "the impatient one gives up")
    crowd.join()
    assert crowd.order == [1, 2, 3, 5, 6, 7]


def test_an_error_inside_a_turn_gives_the_slot_back() -> None:
    """A failed inference does not cost the device a slot."""
    slots = Slots("CPU", 1)

    def fail() -> None:
        with slots.turn(0.0):
            msg = "inference failed"
            raise InferenceError(msg)

    calls: list[Callable[[], None]] = [fail, fail]
    for call in calls:
        with pytest.raises(InferenceError, match="inference failed"):
            call()
    assert slots._free == 1


@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_a_random_crowd_with_short_limits_leaves_the_queue_clean(seed: int) -> None:
    """Whoever gets a turn or gives up at the very moment one comes free: no slot is lost and none is made."""
    chance = random.Random(seed)
    slots = Slots("CPU", 2)
    crowd = _Crowd(slots)
    for number in range(60):
        crowd.enter(number, chance.randint(0, 2), chance.random() * 0.003, timeout_s=chance.random() * 0.01)
    crowd.join()
    assert len(crowd.order) + len(crowd.errors) == 60
    assert crowd.most <= 2
    assert (slots._free, slots._waiting) == (2, [])
