"""Finds the parameter sets of H.264 and H.265 inside a key frame, where a camera that changes its picture has them."""

from typing import Final

_START: Final = b"\x00\x00\x01"
"""What stands before each unit of a byte stream (H.264 and H.265, annex B)."""
_SETS: Final = {"h264": (0x1F, 0, {7, 8}), "hevc": (0x7E, 1, {32, 33, 34})}
"""Codec: mask and shift of a unit's type in its first byte, and the types of parameter sets."""


def parameter_sets(codec: str, packet: bytes) -> bytes:
    """The parameter sets in a packet, each behind a start code; empty when it has none, or another form."""
    if codec not in _SETS or not packet.startswith((_START, b"\x00" + _START)):
        return b""
    mask, shift, kinds = _SETS[codec]
    units = [unit.rstrip(b"\x00") for unit in packet.split(_START)]  # zeros behind a unit belong to no unit
    return b"".join(b"\x00" + _START + unit for unit in units if unit and (unit[0] & mask) >> shift in kinds)
