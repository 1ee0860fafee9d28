"""What a pipeline may say about running a model."""

from typing import Literal

from pydantic import Field

from edge_vision.core.options import Integer, Number, Options
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.remote.options import RemoteOptions


class BatchingOptions(Options):
    """Gathers frames of several cameras into one inference."""

    most: Integer = Field(8, ge=2, le=64, description="At most so many frames at once.")
    window_ms: Number = Field(5.0, ge=0, le=1000, description="How long the first frame waits for others.")
    always: bool = Field(False, description="Also where a measurement at start shows no gain.")


class DetectOptions(ModelStageOptions):
    """Runs a model on every frame: preprocess, inference, postprocess."""

    kind: Literal["detect"]
    remote: RemoteOptions | None = Field(
        None, description="Servers that are asked first; the runtimes of this machine stand in while none answers."
    )
    batching: BatchingOptions | None = Field(
        None, description="Frames of several cameras in one inference, where the model has a batch axis."
    )

    def most_at_once(self, cameras: int) -> int:
        """How many frames one inference may be given: at most one of each camera."""
        return 1 if self.batching is None else min(self.batching.most, cameras)

    @property
    def longest_wait_s(self) -> float:
        """How long a frame may wait: for each server to connect and answer, for its batch, then for the device."""
        servers_s = 2 * self.remote.timeout_s * len(self.remote.urls) if self.remote else 0.0
        return servers_s + self.timeout_s * (2 if self.batching else 1)
