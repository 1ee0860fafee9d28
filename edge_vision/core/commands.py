"""What may be asked of a running site: the commands, their payloads and topics, and who takes them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol, TypeAlias

import msgspec

ROOT: Final = "edge-vision/v1"
"""Where every topic begins."""
TOPIC_WORDS: Final = ("set", "answer")
"""Levels of topics that no camera may be called."""
MOST_BYTES: Final = 4096
"""A command is no longer than this."""
MOST_PICTURE_BYTES: Final = 262_144
"""A picture or a part of a file in an answer is no larger; base64 makes a third more of it."""

MOST_TOPIC_BYTES: Final = 256
"""A topic for an answer is no longer."""

CommandName: TypeAlias = Literal["enabled", "confidence", "snapshot", "fetch", "reload", "ping"]


_END: Final = r"$(?!\n)"
"""The end of a text: to Python's $ a line feed at the end is one more."""

CommandId: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=rf"^[!-~]+{_END}")]
"""What a sender calls a command: printable ASCII without blanks, new for each command, such as a UUID."""


_NAME: Final = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
FilePath: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=rf"^{_NAME}(/{_NAME})*{_END}")]
"""A path down from the folder of evidence: relative, without hidden names and .. in it."""


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every command may have: `id`, by which copies of it are known."""

    id: CommandId | None = None


class Enabled(Payload, frozen=True, kw_only=True):
    """Analyze the frames of a camera, or do not: false keeps the camera open and its stages as they are."""

    value: bool


class Confidence(Payload, frozen=True, kw_only=True):
    """Another confidence for a camera, as `with: {confidence: ...}` sets it; null goes back to the site file's."""

    value: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None


class Snapshot(Payload, frozen=True, kw_only=True):
    """The next frame of a camera that is analyzed, as its pipeline leaves it: a JPEG no wider than `width_px`.

    With `keep` it is kept as evidence instead, and the answer has its path.
    """

    keep: bool = False
    width_px: Annotated[int, msgspec.Meta(ge=64, le=3840)] = 1280
    quality: Annotated[int, msgspec.Meta(ge=10, le=95)] = 80


class Fetch(Payload, frozen=True, kw_only=True):
    """Part of a file that a camera's evidence message names by `path`: at most `length` bytes from `offset`."""

    path: FilePath
    offset: Annotated[int, msgspec.Meta(ge=0, le=1 << 48)] = 0
    length: Annotated[int, msgspec.Meta(ge=1, le=MOST_PICTURE_BYTES)] = MOST_PICTURE_BYTES


class Reload(Payload, frozen=True, kw_only=True):
    """Read the site file again: a valid one is started in the place of the one that runs, an invalid one is refused."""


class Ping(Payload, frozen=True, kw_only=True):
    """Say that the site is there, and how."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of command: its payload, and whether it is about a camera or the whole site."""

    payload: type[Payload]
    of_camera: bool


COMMANDS: Final[dict[str, Row]] = {
    "enabled": Row(Enabled, of_camera=True),
    "confidence": Row(Confidence, of_camera=True),
    "snapshot": Row(Snapshot, of_camera=True),
    "fetch": Row(Fetch, of_camera=True),
    "reload": Row(Reload, of_camera=False),
    "ping": Row(Ping, of_camera=False),
}
"""Every command there is."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A command as it came in, not yet read.

    `source` is the level of the topic where a camera's name belongs, empty for the whole site. `fault` is why whoever
    received it cannot let it pass: it is answered with that. `repeated` marks what says of itself that it is a copy.
    """

    source: str
    what: str
    body: bytes
    fault: str = ""
    repeated: bool = False


Reply: TypeAlias = Callable[[bytes, bool], None]
"""Sends one answer, and hears whether it says ok: called once, from any thread; never blocks, never raises."""


class Commands(Protocol):
    """Whoever carries out commands."""

    def take(self, letter: Letter, allowed: frozenset[str], reply: Reply) -> None:
        """See to it that `reply` is called once, now or later. For any thread; never blocks, never raises."""


class KeptFile(Protocol):
    """A file that is kept as evidence."""

    @property
    def path(self) -> str:
        """How messages name it."""


class AskedPicture(Protocol):
    """A picture that was asked for, and may be on its way."""

    @property
    def outcome(self) -> KeptFile | str | None:
        """The file, or why there is none; None while neither is known."""

    def give_up(self) -> str:
        """Ask for it no more; what it waited for, such as `no frame came`."""


class Evidence(Protocol):
    """The files that were kept as evidence; a command reads them without knowing how they are kept."""

    def ask_snapshot(self, source_id: str) -> AskedPicture:
        """Have the next frame of a camera kept as a picture. Never waits; raises an EdgeVisionError."""

    def fetch(self, path: str, offset: int, length: int) -> tuple[bytes, int]:
        """At most `length` bytes of a file from `offset`, and the size of the whole.

        Raises an EdgeVisionError, such as for no such file.
        """


def read_topic(site: str, topic: str) -> tuple[str, str] | None:
    """The camera, empty for the site, and the command that a topic is about; None for any other topic."""
    levels = topic.split("/")
    head, rest = levels[:3], levels[3:]
    if head != [*ROOT.split("/"), site]:
        return None
    if len(rest) == 2 and rest[0] == "set":  # noqa: PLR2004 - set, what
        return "", rest[1]
    if len(rest) == 3 and rest[1] == "set":  # noqa: PLR2004 - camera, set, what
        return rest[0], rest[2]
    return None


def answer_topic(site: str, source: str, what: str) -> str:
    """Where the answer goes when the command does not say."""
    return f"{ROOT}/{site}/{source}/answer/{what}" if source else f"{ROOT}/{site}/answer/{what}"


def why_no_answer_topic(site: str, topic: str) -> str:
    """Why an answer must not go to a topic that a command names; empty where it may.

    Everything of edge-vision's own is closed but for the answers of this site: an answer must not become a command, or
    pass for a message.
    """
    if not topic:
        return "the response topic is empty"
    if len(topic.encode("utf-8", "surrogatepass")) > MOST_TOPIC_BYTES:
        return f"the response topic is longer than {MOST_TOPIC_BYTES} bytes"
    if topic.startswith("$") or any(sign in topic for sign in "+#\0") or not topic.isprintable():
        return "the response topic has a wildcard, a control character or a $ at its start"
    if topic == "edge-vision" or topic.startswith("edge-vision/"):
        levels = topic.split("/")
        own = levels[:3] == [*ROOT.split("/"), site]
        if not own or "answer" not in levels[3:5] or "set" in levels[3:5]:
            return f"the response topic is one of edge-vision's own: take {ROOT}/{site}/answer/... or one outside"
    return ""


class AnswerFrame(msgspec.Struct, omit_defaults=True):
    """The frame that a snapshot shows, when it was captured (UTC), and the size of its picture in pixels."""

    index: int
    timestamp: str
    width: int
    height: int


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What came of a command. `reason` says why it was not carried out, or what is to be known of it.

    `data` is base64, of `size` bytes in a snapshot, and from byte `offset` on of a file of `size` bytes in a fetch.
    """

    schema: str
    kind: str
    site: str
    boot: str
    timestamp: str
    command: str
    ok: bool
    source: str | None = None
    id: str | None = None
    reason: str | None = None
    problems: list[str] | None = None
    value: bool | float | None = None
    configured: float | None = None
    state: str | None = None
    uptime_s: float | None = None
    version: str | None = None
    frame: AnswerFrame | None = None
    path: str | None = None
    offset: int | None = None
    size: int | None = None
    data: Any = None
