"""A bounded queue between two threads that knows its overflow policy, its losses and its end."""

import threading
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Overflow(Enum):
    """What happens to a full queue."""

    BLOCK = auto()
    """The sender waits: every item counts."""
    DROP_OLDEST = auto()
    """The oldest items make room, counted: the freshest count."""


def _one(_: object) -> int:
    return 1


def _nothing(_: object) -> None:
    return None


class Channel(Generic[Item]):
    """Carries items from one side to the other until it ends.

    The end of a stream is a state, not an item: after `end()` what is queued can still be taken, after `cancel()`
    nothing can, and both wake whoever waits. `capacity` counts items, or whatever `weigh` measures (an item heavier
    than the capacity still passes, alone).
    """

    def __init__(
        self,
        capacity: int,
        overflow: Overflow,
        *,
        weigh: Callable[[Item], int] = _one,
        on_drop: Callable[[Item], None] = _nothing,
    ) -> None:
        self._capacity = capacity
        self.overflow = overflow
        self._weigh = weigh
        self._on_drop = on_drop
        self._items: deque[Item] = deque()
        self._load = 0
        self._ended = False
        self._woken = False
        self._dropped = 0
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)
        self._freed = threading.Condition(self._lock)

    def put(self, item: Item, timeout_s: float) -> bool:
        """Queue an item. False when a full BLOCK channel did not free up within `timeout_s`: try again.

        False, too, when the channel has ended: then the item is dropped, counted.
        """
        weight = self._weigh(item)
        with self._lock:
            if self.overflow is Overflow.BLOCK:
                self._freed.wait_for(lambda: self._ended or self._fits(weight), timeout_s)
                if not self._ended and not self._fits(weight):
                    return False
            if self._ended:
                self._count(item)
                return False
            self._make_room(weight)
            self._items.append(item)
            self._load += weight
            self._filled.notify()
            return True

    def get(self, timeout_s: float) -> Item | None:
        """Take the oldest item, or None when there is none within `timeout_s`, or none any more (see `exhausted`)."""
        with self._lock:
            if not self._items and not self._ended:
                self._filled.wait_for(lambda: bool(self._items) or self._ended or self._woken, timeout_s)
            self._woken = False
            if not self._items:
                return None
            item = self._items.popleft()
            self._load -= self._weigh(item)
            self._freed.notify()
            return item

    def take(self, most: int, timeout_s: float) -> list[Item]:
        """Take up to `most` items at once, oldest first; waits like `get` for the first one only."""
        first = self.get(timeout_s)
        if first is None:
            return []
        with self._lock:
            rest = [self._items.popleft() for _ in range(min(most - 1, len(self._items)))]
            self._load -= sum(map(self._weigh, rest))
            self._freed.notify_all()
        return [first, *rest]

    def wake(self) -> None:
        """Let whoever waits for an item return without one: there is something elsewhere to look after."""
        with self._lock:
            self._woken = True
            self._filled.notify_all()

    def discard(self, item: Item) -> None:
        """Drop an item that could not be put, counted."""
        with self._lock:
            self._count(item)

    def end(self) -> None:
        """No more items will come; what is queued can still be taken."""
        with self._lock:
            self._ended = True
            self._filled.notify_all()
            self._freed.notify_all()

    def cancel(self) -> None:
        """Nobody will take items any more: drop what is queued, counted, and let the sender go."""
        with self._lock:
            self._ended = True
            self._drop(len(self._items))
            self._filled.notify_all()
            self._freed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether no more items can be put."""
        return self._ended

    @property
    def exhausted(self) -> bool:
        """Ended, and everything taken."""
        with self._lock:
            return self._ended and not self._items

    @property
    def dropped(self) -> int:
        """How many items were dropped so far."""
        return self._dropped

    def __len__(self) -> int:
        return len(self._items)

    def _fits(self, weight: int) -> bool:
        return not self._items or self._load + weight <= self._capacity

    def _make_room(self, weight: int) -> None:
        excess, count = self._load + weight - self._capacity, 0
        for item in self._items:
            if excess <= 0:
                break
            excess -= self._weigh(item)
            count += 1
        self._drop(count)

    def _drop(self, count: int) -> None:
        for _ in range(count):
            item = self._items.popleft()
            self._load -= self._weigh(item)
            self._count(item)

    def _count(self, item: Item) -> None:
        self._dropped += 1
        self._on_drop(item)
