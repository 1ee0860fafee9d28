"""What leaves the box."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One encoded message.

    `id` is "<boot>-<source>-<kind>-<seq>" and unique for all time; `seq` starts at 1 per (boot, source, kind).
    `retain` asks a broker to keep it as the topic's last known value. Which kinds may not be lost, each sink says.
    """

    id: str
    boot: str
    seq: int
    kind: str
    source: str
    topic: str
    body: bytes
    retain: bool = False

    @property
    def weight(self) -> int:
        """The memory it holds, in bytes, roughly: what a queue bounded by bytes counts."""
        return len(self.body) + 600
