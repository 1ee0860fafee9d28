"""What a site file and a pipeline file may say."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.capture.options import SourceOptions
from edge_vision.core.options import Identifier, Integer, Options, RelativePath
from edge_vision.core.stages import Backends
from edge_vision.inference.options import DetectOptions
from edge_vision.preprocess.enhance import EnhanceOptions
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.options import OutboxOptions, SinkOptions

StageOptions: TypeAlias = Annotated[DetectOptions | EnhanceOptions | AnalyticsOptions, Field(discriminator="kind")]
"""Every kind of stage a pipeline can list."""


class CameraOptions(Options):
    """One source and the pipeline that analyzes it."""

    id: Identifier = Field(description="Name of the source in every message; unique in the site.")
    source: SourceOptions = Field(description="Where the frames come from.")
    pipeline: Identifier = Field(description="Name of a pipeline file: NAME.yaml.")
    settings: dict[str, Any] = Field(
        default_factory=dict, alias="with", description="Values for what the pipeline exposes."
    )
    priority: Integer = Field(0, ge=0, le=9, description="Who waits for a device goes by priority, 0 first.")


class SiteFile(Options):
    """One site: its cameras, and where their messages go."""

    version: Literal[1] = Field(description="Version of this format.")
    site: Identifier = Field(description="Name of the site in every message and topic.")
    cameras: tuple[CameraOptions, ...] = Field(min_length=1, max_length=256, description="The cameras.")
    publish: tuple[SinkOptions, ...] = Field((), max_length=32, description="Where messages go.")
    state_dir: RelativePath | None = Field(
        None, description="Folder for what outlives the process; systemd's state directory or the user's if not given."
    )
    outbox: OutboxOptions = Field(OutboxOptions(), description="Limits of what waits on disk for its delivery.")
    evidence: EvidenceOptions | None = Field(None, description="Pictures and clips of events; none if not given.")
    backends: Backends | None = Field(
        None, description="Runtimes to try, in this order, where a pipeline does not say; all of them if not given."
    )


class PipelineFile(Options):
    """A reusable definition: stages in order, and which of their options a site may set."""

    version: Literal[1] = Field(1, description="Version of this format.")
    description: str = Field("", description="What it does, in a sentence.")
    stages: tuple[dict[str, Any], ...] = Field(min_length=1, description="The stages: kind, name and options.")
    expose: dict[str, str | Annotated[tuple[str, ...], Field(min_length=1)]] = Field(
        default_factory=dict, description="For each key of `with`, the option it sets, STAGE.OPTION, or a list of them."
    )
