"""H.264 and H.265 as files and streams have them: units behind their length, or behind a start code."""

from typing import Final, NamedTuple

from edge_vision.core.packets import EncodedTrack

_START: Final = b"\x00\x00\x00\x01"
_BOXED: Final = 1
"""The first byte of avcC and hvcC, which a start code never is (ISO/IEC 14496-15)."""


class Sets(NamedTuple):
    """Parameter sets behind start codes, and how many bytes of length stand before each unit; 0: start codes do."""

    units: bytes
    length_bytes: int


def parameter_sets(track: EncodedTrack) -> Sets:
    """What a decoder must see before the first picture. Raises ValueError for a record that ends too early."""
    record = track.extradata
    if track.codec not in {"h264", "hevc"} or not record:
        return Sets(b"", 0)
    if record[0] != _BOXED:
        return Sets(record, 0)
    try:
        return _of_h264(record) if track.codec == "h264" else _of_h265(record)
    except IndexError:
        msg = f"the parameter sets of the {track.codec} stream end too early"
        raise ValueError(msg) from None


def with_start_codes(data: bytes, length_bytes: int) -> bytes:
    """The units of one picture behind start codes. Raises ValueError where a length leads beyond the end."""
    if not length_bytes:
        return data
    units, at = list[bytes](), 0
    for _ in range(len(data)):
        if at >= len(data):
            break
        end = at + length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
        if end > len(data):
            msg = "a unit of the picture leads beyond its end"
            raise ValueError(msg)
        units += (_START, data[at + length_bytes : end])
        at = end
    return b"".join(units)


def _of_h264(record: bytes) -> Sets:
    units, at = b"", 5
    for mask in (0x1F, 0xFF):  # sequence sets, then picture sets
        count, at = record[at] & mask, at + 1
        found, at = _units(record, at, count)
        units += found
    return Sets(units, (record[4] & 3) + 1)


def _of_h265(record: bytes) -> Sets:
    units, at = b"", 23
    for _ in range(record[22]):
        found, at = _units(record, at + 3, int.from_bytes(record[at + 1 : at + 3], "big"))
        units += found
    return Sets(units, (record[21] & 3) + 1)


def _units(record: bytes, at: int, count: int) -> tuple[bytes, int]:
    """So many units, each behind two bytes of length, and where they end."""
    units = b""
    for _ in range(count):
        end = at + 2 + int.from_bytes(record[at : at + 2], "big")
        if end > len(record):
            raise IndexError
        units += _START + record[at + 2 : end]
        at = end
    return units, at
