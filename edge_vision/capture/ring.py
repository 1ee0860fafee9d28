"""Keeps the newest encoded pictures of a camera, so that what led to an event can be shown as it was."""

import threading
from collections import deque
from dataclasses import replace
from typing import Final

from edge_vision.core.packets import EncodedTrack, Packet

_OVERHEAD: Final = 320
"""Bytes that a packet takes beside its data: its object and the numbers in it, measured with CPython 3.11."""


class Ring:
    """The newest packets of one camera, as groups that each begin with a key frame; whole groups go, oldest first.

    As many groups are kept as it takes to show the last `max_s` seconds of media time, and never more than
    `max_bytes`: a group that is larger than that by itself goes, too, and nothing is kept until the next key frame. The
    thread that began the track fills it: what comes from one that hung, and was replaced, is left out. Any thread may
    ask, and pause it: what comes meanwhile is never kept.
    """

    def __init__(self, max_bytes: int, max_s: float) -> None:
        self._max_bytes = max_bytes
        self._max_ns = int(max_s * 1e9)
        self._lock = threading.Lock()
        self._track: EncodedTrack | None = None
        self._filler = 0
        self._groups: deque[list[Packet]] = deque()
        self._weights: deque[int] = deque()
        self._overrun = False
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether nothing is kept, as long as the camera is disabled."""
        return self._paused

    def pause(self) -> None:
        """Keep nothing of what comes from now on; what was before may still be asked for."""
        with self._lock:
            self._paused = True

    def resume(self) -> None:
        """Begin anew with the next key frame; what was before the pause goes, so that nothing spans it."""
        with self._lock:
            if self._paused:
                self._paused = self._overrun = False
                self._track = None if self._track is None else replace(self._track)
                self._groups.clear()
                self._weights.clear()

    @property
    def overrun(self) -> bool:
        """Whether what came since the last key frame is more than `max_bytes`: nothing is kept until the next one."""
        return self._overrun

    @property
    def track(self) -> EncodedTrack | None:
        """What the packets are; None while there are none."""
        return self._track

    @property
    def newest_ns(self) -> int:
        """The highest media time among the packets kept; -1 when there are none."""
        with self._lock:
            return max((packet.media_ns for packet in self._groups[-1]), default=-1) if self._groups else -1

    @property
    def kept_bytes(self) -> int:
        """The memory that the packets take."""
        with self._lock:
            return sum(self._weights)

    def between(self, first_ns: int, last_ns: int) -> list[Packet]:
        """The packets from one media time to another, both included, in the order in which they are decoded.

        Begins with the last key frame at or before `first_ns`, or the oldest key frame kept; empty when there are none.
        Holds what the last picture is decoded from, too, though that may be shown later.
        """
        with self._lock:
            groups = list(self._groups)
            sizes = [len(group) for group in groups]
        begin = max((place for place, group in enumerate(groups) if group[0].media_ns <= first_ns), default=0)
        found = [
            packet
            for group, size in zip(groups[begin:], sizes[begin:], strict=True)
            for packet in group[:size]
        ]  # fmt: skip
        wanted = [place for place, packet in enumerate(found) if packet.media_ns <= last_ns]
        return found[: wanted[-1] + 1] if wanted else []

    def begin(self, track: EncodedTrack, first_pts: int | None = None) -> None:
        """From now on the packets are of this track; older ones go, up to the one with `first_pts`, if it is there."""
        with self._lock:
            self._track, self._filler, self._overrun = track, threading.get_ident(), False
            rest = [packet for group in self._groups for packet in group]
            place = next((place for place, packet in enumerate(rest) if packet.pts == first_pts), len(rest))
            self._groups.clear()
            self._weights.clear()
            for packet in rest[place:]:
                self._append(packet)

    def add(self, packet: Packet) -> None:
        """Keep a packet; one that no key frame precedes is of no use, and left out."""
        with self._lock:
            if threading.get_ident() == self._filler and not self._paused:
                self._append(packet)
                self._shrink()

    def _append(self, packet: Packet) -> None:
        if packet.is_key:
            self._groups.append([])
            self._weights.append(0)
        if self._groups:
            self._groups[-1].append(packet)
            self._weights[-1] += len(packet.data) + _OVERHEAD

    def _shrink(self) -> None:
        """Let go of groups that are too much, or older than what is to be shown."""
        if not self._groups:
            return
        oldest_ns = self._groups[-1][-1].media_ns - self._max_ns
        too_old = sum(group[0].media_ns <= oldest_ns for group in self._groups) - 1
        excess, too_much = sum(self._weights) - self._max_bytes, 0
        for weight in self._weights:
            if excess <= 0:
                break
            excess -= weight
            too_much += 1
        for _ in range(max(too_old, too_much)):
            self._groups.popleft()
            self._weights.popleft()
        self._overrun = not self._groups
