"""The ring of encoded packets: what it keeps, what it lets go, and where what is cut from it begins and ends."""

import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_vision.capture.ring import _OVERHEAD, Ring
from edge_vision.core.packets import EncodedTrack, Packet, PacketRing

SECOND = 1_000_000_000
TRACK = EncodedTrack("h264", b"sets", (64, 48), Fraction(1, 90_000))
LARGE = 1 << 30


def _packet(number: int, *, key: bool = False, size: int = 10, shown: int | None = None) -> Packet:
    """Packet `number` of ten a second, shown in its turn or at another place."""
    at = number if shown is None else shown
    return Packet(bytes(size), at * 9000, number * 9000, 9000, key, at * SECOND // 10)


def _ring(count: int, every: int, *, max_bytes: int = LARGE, max_s: float = 1e6, size: int = 10) -> Ring:
    """A ring that was given `count` packets, each `every`-th a key frame."""
    ring = Ring(max_bytes, max_s)
    ring.begin(TRACK)
    for number in range(count):
        ring.add(_packet(number, key=number % every == 0, size=size))
    return ring


def _numbers(packets: list[Packet]) -> list[int]:
    return [packet.dts // 9000 for packet in packets]


def test_a_ring_is_what_evidence_reads() -> None:
    """It has the members of the protocol; empty, it says so."""
    ring: PacketRing = Ring(1000, 1)
    assert ring.track is None
    assert ring.newest_ns == -1
    assert ring.between(0, LARGE) == []


@pytest.mark.parametrize(
    "first, last, expected",
    [
        (12, 14, range(10, 15)),  # from the key frame before
        (10, 10, range(10, 11)),  # the key frame itself
        (9, 10, range(11)),  # one before it: from the key frame before that
        (-50, 3, range(4)),  # before all: from the oldest key frame
        (25, 99, range(20, 30)),  # past the newest: what there is
        (40, 50, range(20, 30)),  # later than all: the newest group, for what may still come
        (-9, -5, range(0)),  # earlier than all
    ],
)
def test_a_cut_begins_with_a_key_frame_and_ends_in_time(first: int, last: int, expected: range) -> None:
    """Media times, both included."""
    ring = _ring(30, 10)
    found = ring.between(first * SECOND // 10, last * SECOND // 10)
    assert _numbers(found) == list(expected)
    assert ring.newest_ns == 29 * SECOND // 10


def test_a_cut_holds_what_its_last_picture_is_decoded_from() -> None:
    """The picture shown third is decoded after the one shown fourth."""
    ring = Ring(LARGE, 100)
    ring.begin(TRACK)
    for number, shown in enumerate([0, 3, 1, 2, 6, 4, 5]):
        ring.add(_packet(number, key=number == 0, shown=shown))
    assert _numbers(ring.between(0, SECOND * 2 // 10)) == [0, 1, 2, 3]
    assert _numbers(ring.between(0, SECOND * 3 // 10)) == [0, 1, 2, 3]
    assert ring.newest_ns == SECOND * 6 // 10


def test_old_groups_go_when_what_is_left_shows_long_enough() -> None:
    """Two seconds are wanted, a group lasts one: two groups and what the third has so far."""
    ring = _ring(35, 10, max_s=2)
    assert _numbers(ring.between(0, LARGE * SECOND)) == list(range(10, 35))
    ring.add(_packet(35))
    assert _numbers(ring.between(0, LARGE * SECOND))[0] == 10
    for number in range(36, 41):
        ring.add(_packet(number, key=number == 40))
    assert _numbers(ring.between(0, LARGE * SECOND))[0] == 20


def test_bytes_are_a_limit_whatever_is_wanted() -> None:
    """Whole groups go, oldest first."""
    group = 10 * (100 + _OVERHEAD)
    ring = _ring(30, 10, size=100, max_bytes=2 * group - 1)
    assert _numbers(ring.between(0, LARGE * SECOND)) == list(range(20, 30))
    assert _ring(30, 10, size=100, max_bytes=3 * group).kept_bytes == 3 * group


def test_a_stream_without_key_frames_does_not_grow() -> None:
    """A group larger than the limit goes as a whole; what follows is of use from the next key frame on."""
    ring = _ring(1, 1, max_bytes=20 * (10 + _OVERHEAD))
    for number in range(1, 1000):
        ring.add(_packet(number))
        assert ring.kept_bytes <= 20 * (10 + _OVERHEAD)
    assert ring.between(0, LARGE * SECOND) == []
    assert ring.newest_ns == -1
    assert ring.overrun
    ring.add(_packet(1000, key=True))
    ring.add(_packet(1001))
    assert not ring.overrun
    assert _numbers(ring.between(0, LARGE * SECOND)) == [1000, 1001]


def test_what_comes_before_a_key_frame_is_left_out() -> None:
    """Nobody could decode it."""
    ring = Ring(LARGE, 100)
    ring.begin(TRACK)
    ring.add(_packet(0))
    assert ring.between(0, LARGE) == []
    assert ring.kept_bytes == 0


def test_another_track_ends_what_was_before() -> None:
    """All of it, or what came before the packet that belongs to the new track."""
    other = EncodedTrack("hevc", b"", (64, 48), Fraction(1, 90_000))
    ring = _ring(25, 10)
    ring.begin(other, first_pts=20 * 9000)
    assert ring.track == other
    assert _numbers(ring.between(0, LARGE * SECOND)) == list(range(20, 25))
    ring.begin(TRACK, first_pts=5)
    assert ring.between(0, LARGE * SECOND) == []
    ring = _ring(25, 10)
    ring.begin(other)
    assert ring.between(0, LARGE * SECOND) == []


def test_a_thread_that_was_replaced_fills_no_more() -> None:
    """It hung in a library, and wakes up with packets of a connection that is gone."""
    ring, replaced = _ring(5, 5), threading.Event()

    def replace() -> None:
        ring.begin(TRACK)
        ring.add(_packet(100, key=True))
        replaced.set()

    thread = threading.Thread(target=replace)
    thread.start()
    thread.join()
    assert replaced.is_set()
    ring.add(_packet(5, key=True))
    assert _numbers(ring.between(0, LARGE * SECOND)) == [100]


def test_nothing_of_a_pause_is_kept() -> None:
    """What was before it may be asked for until it ends; then it begins anew with a key frame, in another track."""
    ring = _ring(15, 10)
    track = ring.track
    ring.pause()
    for number in range(15, 35):
        ring.add(_packet(number, key=number % 10 == 0))
    assert ring.paused
    assert (_numbers(ring.between(0, LARGE * SECOND)), ring.track) == (list(range(15)), track)
    ring.resume()
    for number in range(35, 45):
        ring.add(_packet(number, key=number % 10 == 0))
    assert not ring.paused
    assert _numbers(ring.between(0, LARGE * SECOND)) == list(range(40, 45))
    assert ring.track == track
    assert ring.track is not track
    ring.resume()
    assert len(ring.between(0, LARGE * SECOND)) == 5, "there was no pause"


def test_a_camera_that_is_opened_during_a_pause_is_not_kept_either() -> None:
    """Nor what a new picture begins with."""
    ring = _ring(5, 5)
    ring.pause()
    ring.begin(TRACK)
    ring.add(_packet(5, key=True))
    ring.begin(TRACK, first_pts=5 * 9000)
    ring.add(_packet(10, key=True))
    assert ring.between(0, LARGE * SECOND) == []
    ring.resume()
    ring.add(_packet(15, key=True))
    assert _numbers(ring.between(0, LARGE * SECOND)) == [15]


def test_one_fills_and_others_read() -> None:
    """Whoever reads meanwhile gets whole groups, in order."""
    ring, done, wrong = _ring(10, 10, max_s=3), threading.Event(), list[str]()

    def read() -> None:
        while not done.is_set():
            found = ring.between(0, LARGE * SECOND)
            numbers = _numbers(found)
            if not found or not found[0].is_key or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                wrong.append(str(numbers))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(10, 4000):
        ring.add(_packet(number, key=number % 10 == 0))
    done.set()
    for reader in readers:
        reader.join()
    assert wrong == []


@given(
    keys=st.lists(st.booleans(), max_size=60),
    sizes=st.integers(0, 2000),
    max_bytes=st.integers(1, 20_000),
    max_s=st.floats(0.1, 10),
    first=st.integers(-10, 70),
    length=st.integers(0, 70),
)
def test_whatever_comes_the_bounds_hold(
    keys: list[bool], sizes: int, max_bytes: int, max_s: float, first: int, length: int
) -> None:
    """Never more bytes than allowed; a cut begins with a key frame and leaves nothing out that is kept."""
    ring = Ring(max_bytes, max_s)
    ring.begin(TRACK)
    for number, key in enumerate(keys):
        ring.add(_packet(number, key=key, size=sizes))
        assert ring.kept_bytes <= max_bytes
    found = ring.between(first * SECOND // 10, (first + length) * SECOND // 10)
    numbers = _numbers(found)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    assert not found or found[0].is_key
