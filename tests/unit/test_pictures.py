"""Pictures that no one can decode are named, and no exception of the decoder gets through."""

import struct
import zlib
from pathlib import Path

import pytest

from edge_vision.core.errors import ConfigError
from edge_vision.models.proof.record import read_picture


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    """A header alone, of 60000 x 60000: OpenCV raises for it, where it is silent about other damage."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    (tmp_path / "big.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", b"") + _chunk(b"IEND", b""))
    with pytest.raises(ConfigError, match=r"big.png: has more pixels than OpenCV decodes"):
        read_picture(tmp_path / "big.png")


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture_is_refused(content: bytes, tmp_path: Path) -> None:
    """Whatever its name says."""
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ConfigError, match=r"a.jpg: is not a picture that can be decoded"):
        read_picture(tmp_path / "a.jpg")
