"""What a site file may say about pictures and clips of events."""

from typing import Annotated, Literal, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, model_validator

from edge_vision.core.events import KINDS, VerdictName
from edge_vision.core.options import Identifier, Integer, Number, Options, RelativePath
from edge_vision.core.schema_errors import did_you_mean, shown

_Name = TypeVar("_Name", bound=str)


def _known_event(kind: str) -> str:
    if kind not in KINDS:
        msg = f"unknown kind of event {shown(kind)}{did_you_mean(kind, tuple(KINDS))}"
        raise ValueError(msg)
    return kind


def _each_once(names: tuple[_Name, ...]) -> tuple[_Name, ...]:
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        msg = f"{double} is listed twice"
        raise ValueError(msg)
    return names


_EventKind: TypeAlias = Annotated[str, AfterValidator(_known_event), Field(json_schema_extra={"enum": [*KINDS]})]
_EventKinds: TypeAlias = Annotated[tuple[_EventKind, ...], AfterValidator(_each_once)]
_Verdicts: TypeAlias = Annotated[tuple[VerdictName, ...], Field(min_length=1), AfterValidator(_each_once)]
_Cameras: TypeAlias = Annotated[tuple[Identifier, ...], Field(min_length=1), AfterValidator(_each_once)]
PictureKind: TypeAlias = Literal["annotated", "clean"]
_Pictures: TypeAlias = Annotated[tuple[PictureKind, ...], AfterValidator(_each_once)]


class ClipOptions(Options):
    """A clip around each event. Events that follow each other soon share one."""

    before_s: Number = Field(5.0, ge=0, le=60, description="What was before the event, in media time.")
    after_s: Number = Field(5.0, ge=0, le=60, description="What comes after it, in media time.")
    sample_fps: Number = Field(
        5.0, gt=0, le=30, description="Pictures per second of a clip that is made of analyzed frames."
    )
    max_width: Integer = Field(960, ge=160, le=3840, description="Such pictures are made smaller than this, in pixels.")
    ring_mb: Number = Field(
        32.0,
        ge=1,
        le=4096,
        description="Memory per camera for what was before, in MB; when full, the clip begins later.",
    )


class EvidenceOptions(Options):
    """Pictures and clips of events, kept on this machine within limits; a message of kind evidence names them."""

    kinds: _EventKinds = Field(description="Kinds of events of which evidence is kept; none: only what is asked for.")
    verdicts: _Verdicts | None = Field(
        None, description="Of verdicts those that say this, such as NG; all if not given."
    )
    cameras: _Cameras | None = Field(None, description="Cameras of which evidence is kept; all if not given.")
    snapshot: _Pictures = Field(
        ("annotated", "clean"),
        description="Pictures of the event's frame: with what was seen drawn on it, and without.",
    )
    jpeg_quality: Integer = Field(90, ge=1, le=100, description="Quality of the pictures, in JPEG's own measure.")
    clip: ClipOptions | None = Field(None, description="A clip around each event; none if not given.")
    cooldown_s: Number = Field(
        0.0,
        ge=0,
        le=86_400,
        description="Per camera and kind, events so soon after one with evidence get none; counted.",
    )
    folder: RelativePath | None = Field(None, description="Where the files lie; evidence/ in state_dir if not given.")
    max_mb: Number = Field(2000.0, ge=1, le=100_000_000, description="Disk for evidence, in MB; the oldest goes first.")
    max_age_h: Number = Field(
        720.0, gt=0, le=876_000, description="Hours, of those in which the daemon ran, after which it goes."
    )
    queue_mb: Number = Field(
        64.0, gt=0, le=4096, description="Memory for pictures that wait to be written, in MB; beyond it there are none."
    )

    @model_validator(mode="after")
    def _something(self) -> "EvidenceOptions":
        if self.kinds and not self.snapshot and self.clip is None:
            msg = "keeps nothing: name pictures under snapshot, or give it a clip"
            raise ValueError(msg)
        return self
