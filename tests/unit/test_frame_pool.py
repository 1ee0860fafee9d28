"""Checks that a picture stays unchanged for as long as somebody holds it, and that its memory comes back after."""

import gc
import weakref
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_vision.core.frame import Frame, FramePool, read_only

SHAPE = (4, 6, 3)


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def test_a_dropped_buffer_is_lent_again() -> None:
    """A frame nobody holds leaves its memory with the pool, which gives it to the next one."""
    pool = FramePool()
    first = weakref.ref(pool.take(SHAPE))
    for _ in range(10):
        image = read_only(pool.take(SHAPE))
        assert image.base is first()
        del image


def test_free_buffers_take_turns() -> None:
    """The one returned longest ago comes first: who reads a moment too long sees old pixels, not torn ones."""
    pool = FramePool()
    held = [pool.take(SHAPE) for _ in range(3)]
    addresses = [_address(array) for array in held]
    held.clear()
    assert [_address(pool.take(SHAPE)) for _ in range(7)] == (addresses * 3)[:7]


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        read_only,
        lambda array: read_only(array)[1:3, 2:4],
        lambda array: read_only(array)[..., 0].T[::2],
        lambda array: array.reshape(-1),
        lambda array: [array[0]],
        memoryview,
        lambda array: Frame("cam", 0, datetime.now(timezone.utc), 0, 0, read_only(array)),
    ],
    ids=["array", "view", "slice of a view", "slice of a slice", "reshaped", "in a list", "memoryview", "frame"],
)
def test_whoever_holds_a_view_keeps_the_buffer(hold: Any) -> None:
    """Any reference to any part of a picture keeps its pixels from reuse."""
    pool = FramePool()
    held = hold(pool.take(SHAPE))
    first = pool._buffers[0]
    first[:] = 7
    address = _address(first)
    del first
    for _ in range(20):
        other = pool.take(SHAPE)
        assert _address(other) != address
        other[:] = 9
    assert (pool._buffers[0] == 7).all()
    del held, other
    gc.collect()
    assert _address(pool._buffers[0]) == address
    assert address in {_address(pool.take(SHAPE)) for _ in range(2)}


def test_the_pool_keeps_at_most_its_limit() -> None:
    """Past the limit buffers are fresh ones that do not come back: the pool itself stays bounded."""
    pool = FramePool(limit=3)
    held = [pool.take(SHAPE) for _ in range(10)]
    assert len({_address(array) for array in held}) == 10
    assert len(pool._buffers) == 3
    pooled = {_address(array) for array in held[:3]}
    held.clear()
    assert {_address(pool.take(SHAPE)) for _ in range(9)} == pooled


def test_a_new_shape_starts_afresh() -> None:
    """A camera that changes its size gets arrays of the new one; held ones of the old size stay as they are."""
    pool = FramePool()
    old = read_only(pool.take(SHAPE))
    content = old.copy()
    new = pool.take((2, 2, 3))
    new[:] = 1
    assert new.shape == (2, 2, 3)
    del new
    assert np.array_equal(old, content)
    assert pool.take(SHAPE).shape == SHAPE  # nobody held the smaller one: it is not lent for another size
    assert pool.take((8, 8, 3)).shape == (8, 8, 3)


def test_what_is_lent_can_be_written_to() -> None:
    """A uint8 array of the shape asked for, contiguous: decoders write into it."""
    buffer = FramePool().take(SHAPE)
    assert (buffer.shape, str(buffer.dtype)) == (SHAPE, "uint8")
    assert buffer.flags.writeable
    assert buffer.flags.c_contiguous


@given(holds=st.lists(st.integers(0, 12), max_size=60), limit=st.integers(1, 6))
def test_no_two_holders_ever_share_memory(holds: list[int], limit: int) -> None:
    """However long frames are held and in whatever order they are dropped: each keeps the number written into it."""
    pool = FramePool(limit)
    held: list[tuple[int, NDArray[np.uint8]]] = []
    for number, place in enumerate(holds):
        if place < len(held):
            del held[place]
        buffer = pool.take((2, 2, 3))
        buffer[:] = number
        held.append((number, read_only(buffer)))
        del buffer
        assert all((image == kept).all() for kept, image in held)
        assert len(pool._buffers) <= limit


def test_a_read_only_view_cannot_be_written_through() -> None:
    """Neither the view nor a slice of it; the buffer itself still can."""
    buffer = FramePool().take(SHAPE)
    buffer[:] = 0
    view = read_only(buffer)
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        view[1:][...] = 1
    buffer[0] = 5
    assert view[0, 0, 0] == 5


def test_wh_is_width_then_height() -> None:
    """The shape has rows first; `wh` has not."""
    frame = Frame("cam", 0, datetime.now(timezone.utc), 0, 0, np.zeros((4, 6, 3), np.uint8))
    assert frame.wh == (6, 4)
