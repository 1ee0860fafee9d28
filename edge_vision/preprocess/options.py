"""The `input:` section of `model.yaml`: how a picture becomes a network's input."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from edge_vision.core.geometry import Anchor, Resize
from edge_vision.core.options import Integer, Number, Options

Side: TypeAlias = Annotated[Integer, Field(ge=8, le=8192)]


class InputOptions(Options):
    """Size, colors, value range and layout of the input; `value = (pixel * scale - mean) / std`."""

    size: tuple[Side, Side] = Field(description="[width, height] of the input, in pixels.")
    color: Literal["bgr", "rgb", "gray"] = Field("rgb", description="Order of the channels.")
    resize: Resize = Field(
        "letterbox",
        description="letterbox keeps the aspect ratio, stretch fills the input; fit_height is for lines of text: as "
        "high as the input, the rest to its right is padded.",
    )
    anchor: Anchor = Field("center", description="Where a letterboxed picture lies.")
    pad_value: Integer = Field(114, ge=0, le=255, description="Gray level of the rim of a letterboxed picture.")
    interpolation: Literal["linear", "area"] = Field(
        "linear", description="How pixels are resized; area averages those that fall together, and costs more time."
    )
    scale: Number = Field(1.0, gt=0, description="Factor on the pixel, before mean and std; 0.00392157 is 1/255.")
    mean: tuple[float, ...] = Field((0.0, 0.0, 0.0), description="Subtracted per channel, in the order of `color`.")
    std: tuple[float, ...] = Field((1.0, 1.0, 1.0), description="Divided by per channel, in the order of `color`.")
    layout: Literal["nchw", "nhwc", "ncthw", "nthwc"] = Field(
        "nchw", description="Order of the axes; t is the time of a clip."
    )
    frames: Integer | None = Field(
        None, ge=2, le=256, description="Frames of a clip, for a network that looks at so many at once."
    )
    fps: Number | None = Field(
        None, gt=0, le=240, description="Frames of a clip per second of media time; every frame if not given."
    )
    dtype: Literal["float32", "uint8"] = Field("float32", description="Element type.")

    @model_validator(mode="after")
    def _channels_agree(self) -> "InputOptions":
        for name in ("mean", "std"):
            count = len(getattr(self, name))
            if count != self.channels and name in self.model_fields_set:
                msg = f"{name} has {count} values, color {self.color} has {self.channels} channels"
                raise ValueError(msg)
        if (self.frames is None) == ("t" in self.layout):
            msg = f"layout {self.layout} is for clips: say with frames how many they have"
            if self.frames is not None:
                msg = f"frames is for clips: layout is ncthw or nthwc then, not {self.layout}"
            raise ValueError(msg)
        if self.fps is not None and self.frames is None:
            msg = "fps is for clips: say with frames how many they have"
            raise ValueError(msg)
        if 0 in self.std:
            msg = "std must not contain 0"
            raise ValueError(msg)
        if self.dtype == "uint8" and not self.is_identity:
            msg = "a uint8 input takes pixels as they are: scale, mean and std must be left out"
            raise ValueError(msg)
        return self

    @property
    def channels(self) -> int:
        """Channels of the input: 3, or 1 for gray."""
        return 1 if self.color == "gray" else 3

    @property
    def is_identity(self) -> bool:
        """Whether pixels go in with the values they have."""
        return self.scale == 1.0 and not any(self.mean) and all(value == 1.0 for value in self.std)

    @property
    def picture(self) -> "InputOptions":
        """The same for one frame of a clip."""
        layout = {"ncthw": "nchw", "nthwc": "nhwc"}.get(self.layout, self.layout)
        return self.model_copy(update={"layout": layout, "frames": None, "fps": None})

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's shape, such as (1, channels, height, width) or (1, frames, height, width, channels)."""
        width, height = self.size
        sizes = {"n": 1, "c": self.channels, "t": self.frames or 1, "h": height, "w": width}
        return tuple(sizes[axis] for axis in self.layout)

    @property
    def gray_level(self) -> NDArray[np.float32]:
        """How far apart two neighboring gray levels are in the input, per channel, in a shape that broadcasts."""
        level = np.float32(self.scale) / np.abs(np.array(self.std[: self.channels], np.float32))
        return np.asarray(level.reshape([-1 if axis == "c" else 1 for axis in self.layout]))
