"""Encoded pictures as they came from a camera, kept for a while: what evidence is cut from without encoding anew."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Packet:
    """One encoded picture.

    `pts`, `dts` and `duration` count in the track's `time_base`, and go on where a stream's own times jump: `dts` rises
    from packet to packet, `pts` is never before `dts`. `media_ns` is the media time of the frame it becomes.
    """

    data: bytes
    pts: int
    dts: int
    duration: int
    is_key: bool
    media_ns: int


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """What a decoder must know before the first packet.

    `codec` is FFmpeg's name of it, such as h264; `extradata` are its parameter sets, as the stream has them (empty
    where they come in the packets); `wh` is the size of the picture in pixels, as it is encoded; `time_base` is in
    seconds. The picture is to be turned by `turns` quarters of a circle, counterclockwise, to stand upright.
    """

    codec: str
    extradata: bytes
    wh: tuple[int, int]
    time_base: Fraction
    turns: int = 0

    @property
    def shown_wh(self) -> tuple[int, int]:
        """Width and height of the picture when it stands upright, in pixels."""
        width, height = self.wh
        return (height, width) if self.turns % 2 else (width, height)


class PacketRing(Protocol):
    """The newest packets of one camera, bounded by bytes and seconds; any thread may ask."""

    @property
    def track(self) -> EncodedTrack | None:
        """What the packets are; None before the camera was first open.

        Another object when the camera came back, changed its picture, or was disabled for a while: no packets follow
        those of the one before.
        """

    @property
    def paused(self) -> bool:
        """Whether nothing is kept, as long as the camera is disabled."""

    @property
    def overrun(self) -> bool:
        """Whether what came since the last key frame is too much to be kept: nothing is until the next one."""

    @property
    def newest_ns(self) -> int:
        """The highest media time among the packets kept; -1 when there are none."""

    def between(self, first_ns: int, last_ns: int) -> list[Packet]:
        """The packets from one media time to another, both included, in the order in which they are decoded.

        Begins with the last key frame at or before `first_ns`, or the oldest key frame kept; empty when there are none.
        All belong to the present `track`.
        """
