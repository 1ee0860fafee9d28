"""Finds the parameter sets of H.264 and H.265 inside a key frame, where a camera that changes its picture sends them."""

import re
from typing import Final

_START: Final = re.compile(rb"\x00*\x00\x00\x01")
"""What stands before each unit of a byte stream (H.264 and H.265, annex B), the zeros behind the unit before included."""
_SETS: Final = {"h264": (0x1F, 0, {7, 8}), "hevc": (0x7E, 1, {32, 33, 34})}
"""Codec: mask and shift of a unit's type in its first byte, and the types of parameter sets."""


def parameter_sets(codec: str, packet: bytes) -> bytes:
    """The parameter sets in a packet, each behind a start code; empty when it has none, or another form."""
    if codec not in _SETS or not packet.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        return b""
    mask, shift, kinds = _SETS[codec]
    units = [unit for unit in _START.split(packet) if unit]
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units if (unit[0] & mask) >> shift in kinds)
