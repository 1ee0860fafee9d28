"""What is done about a full disk: the file stops growing, and what goes makes room for what comes."""

from typing import Final

from edge_vision.publish.outbox.place import Place
from edge_vision.publish.outbox.store import Store
from edge_vision.publish.outbox.trim import Trimmer

_CAREFUL_PAGES: Final = 50
"""Given back at once on a full disk: the log grows by them first."""
_LOGS: Final = 4
"""A log of so many times the reserve is merged at once: readers have kept it from that."""


class Pressure:
    """`on` from the moment at which the disk was full until it has much room again. Used by the thread that writes."""

    def __init__(self, place: Place, trimmer: Trimmer) -> None:
        self.on = False
        self._place = place
        self._trimmer = trimmer

    def begin(self, store: Store, committed: int, *, cut: bool) -> bool:
        """The disk is full: make room inside the file, with the help of the reserve; whether there is any now.

        Where nothing is delivered that could go, and `cut`, the oldest go, told. Raises OutboxError.
        """
        self.on = True
        self._place.reserve.release()
        store.stop_growth(True)
        return self._trimmer.make_room(store, committed, cut=cut)

    def look(self, store: Store) -> None:
        """Grow again where there is room. Raises OutboxError."""
        if self.on and self._place.reserve.roomy:
            self._place.reserve.make()
            store.stop_growth(False)
            self.on = False

    def resume(self, store: Store) -> None:
        """The file is a new one. Raises OutboxError."""
        if self.on:
            store.stop_growth(True)

    def give_back(self, store: Store) -> bool:
        """Keep the log within its bound, and give disk back that is not used; whether there is more of it."""
        if self.on:
            store.merge_log()
            if not store.mostly_free():
                return False
            store.give_back(_CAREFUL_PAGES)
            store.merge_log()
            return store.mostly_free()
        if self._place.log_bytes() > _LOGS * self._place.reserve.size:
            store.merge_log()
        store.give_back()
        return False
