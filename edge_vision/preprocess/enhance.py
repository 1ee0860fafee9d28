"""Makes the picture better before anybody looks at it: contrast, noise, sharpness, light, the lens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from edge_vision.core.errors import ConfigError
from edge_vision.core.frame import FramePool, read_only
from edge_vision.core.options import Fraction, Integer, Number, Options, RelativePath
from edge_vision.core.plugin import require
from edge_vision.core.scene import Scene
from edge_vision.core.stages import StageOptions
from edge_vision.preprocess.calibration import read_calibration

Picture: TypeAlias = NDArray[np.uint8]
"""(height, width, 3) BGR."""


def _odd(size: int) -> int:
    if size % 2 == 0:
        msg = f"must be odd, so that a pixel is in its middle, not {size}"
        raise ValueError(msg)
    return size


OddSize: TypeAlias = Annotated[Integer, Field(ge=3, le=99), AfterValidator(_odd)]


class ClaheOptions(Options):
    """Raises contrast tile by tile, in lightness alone (contrast limited adaptive histogram equalization)."""

    kind: Literal["clahe"]
    clip_limit: Number = Field(2.0, gt=0, le=40, description="How much contrast may rise; noise rises with it.")
    tiles: Integer = Field(8, ge=1, le=64, description="Tiles along each side.")


class EqualizeOptions(Options):
    """Spreads the lightness of the whole picture over the whole range."""

    kind: Literal["equalize"]


class GaussianOptions(Options):
    """Removes noise, and fine detail with it, by a Gaussian blur."""

    kind: Literal["gaussian"]
    sigma_px: Number = Field(1.0, ge=0.3, le=20, description="Width of the bell, in pixels.")


class MedianOptions(Options):
    """Removes specks and keeps edges: each pixel becomes the median around it."""

    kind: Literal["median"]
    size_px: OddSize = Field(3, description="Side of the square that is looked at, in pixels, odd.")


class BilateralOptions(Options):
    """Smooths surfaces and keeps edges: only pixels of a similar color count. Slow."""

    kind: Literal["bilateral"]
    size_px: Annotated[Integer, Field(ge=3, le=15)] = Field(5, description="Diameter that is looked at, in pixels.")
    color: Number = Field(30.0, gt=0, le=255, description="Gray levels within which colors count as similar.")


class NlMeansOptions(Options):
    """Removes noise by averaging places that look alike (non-local means). Very slow: for stills."""

    kind: Literal["nl_means"]
    strength: Number = Field(5.0, gt=0, le=50, description="More removes more noise, and more detail.")
    search_px: Annotated[OddSize, Field(le=41)] = Field(11, description="Side of the square searched, in pixels, odd.")


class SharpenOptions(Options):
    """Sharpens by an unsharp mask: what a blur takes away is added."""

    kind: Literal["sharpen"]
    sigma_px: Number = Field(1.5, ge=0.3, le=20, description="Width of the blur, in pixels: of the detail to raise.")
    amount: Number = Field(1.0, gt=0, le=10, description="How much of it is added; 1 doubles the detail.")


class MorphologyOptions(Options):
    """Grows, shrinks or extracts bright and dark structures smaller than the kernel, in each color."""

    kind: Literal["morphology"]
    method: Literal["open", "close", "erode", "dilate", "gradient", "top_hat", "black_hat"] = Field(
        description="open removes small bright things, close small dark ones; top_hat and black_hat keep only those."
    )
    shape: Literal["rectangle", "ellipse", "cross"] = Field("ellipse", description="Shape of the kernel.")
    size_px: OddSize = Field(3, description="Side of the kernel, in pixels, odd.")


class GammaOptions(Options):
    """Brightens the dark parts, or darkens them: value becomes value to the power of 1 / gamma."""

    kind: Literal["gamma"]
    gamma: Number = Field(ge=0.1, le=10, description="Above 1 brightens, below 1 darkens.")


class WhiteBalanceOptions(Options):
    """Takes a color cast away: the mean of the picture becomes gray (the gray-world assumption)."""

    kind: Literal["white_balance"]
    strength: Fraction = Field(1.0, description="How much of the cast is taken away.")


def _calibrated(file: Any) -> Any:
    read_calibration(file)
    return file


class UndistortOptions(Options):
    """Straightens what a lens bends; coordinates are those of the straight picture from here on."""

    kind: Literal["undistort"]
    file: Annotated[RelativePath, AfterValidator(_calibrated)] = Field(
        description="Calibration as OpenCV writes it, YAML or JSON: camera matrix, distortion, picture size."
    )
    keep: Fraction = Field(
        0.0, description="How much of the rim is kept: 0 shows only real pixels, 1 all of them, and black around them."
    )


Operation: TypeAlias = Annotated[
    ClaheOptions
    | EqualizeOptions
    | GaussianOptions
    | MedianOptions
    | BilateralOptions
    | NlMeansOptions
    | SharpenOptions
    | MorphologyOptions
    | GammaOptions
    | WhiteBalanceOptions
    | UndistortOptions,
    Field(discriminator="kind"),
]


class EnhanceOptions(StageOptions):
    """Changes the picture for every later stage, and for whoever sees it drawn; several operations in order."""

    kind: Literal["enhance"]
    operations: tuple[Operation, ...] = Field((), max_length=16, description="What is done, in this order.")

    @property
    def frame_wh(self) -> tuple[int, int] | None:
        """The only size of frames that these operations take, if there is one."""
        files = (one.file for one in self.operations if isinstance(one, UndistortOptions))
        return next((read_calibration(file).wh for file in files), None)


_Apply: TypeAlias = Callable[[Picture, Picture], object]
"""Reads the first picture and fills the second, of the same size; never writes to the first."""


class Enhance:
    """Puts a new picture in place of the frame's; everybody who holds the old one keeps it as it was.

    The new one lies in a pool of its own, which takes it back when nobody holds it any more (docs/adr/002).
    """

    def __init__(self, options: EnhanceOptions) -> None:
        cv2: Any = require("cv2", "cpu")
        self._apply = [_OPERATIONS[one.kind](cv2, one) for one in options.operations]
        self._pool = FramePool()

    def __call__(self, scene: Scene) -> Scene:
        """The scene with another picture: same size, index, times and source. Raises ConfigError where none fits."""
        if not self._apply:
            return scene
        picture = scene.frame.image
        for apply in self._apply:
            after = self._pool.take(picture.shape)
            apply(picture, after)
            picture = after
        return replace(scene, frame=replace(scene.frame, image=read_only(picture)))


def _clahe(cv2: Any, options: ClaheOptions) -> _Apply:
    clahe = cv2.createCLAHE(options.clip_limit, (options.tiles, options.tiles))
    return _on_lightness(cv2, clahe.apply)


def _equalize(cv2: Any, options: EqualizeOptions) -> _Apply:
    del options
    return _on_lightness(cv2, cv2.equalizeHist)


def _on_lightness(cv2: Any, change: Callable[[NDArray[np.uint8], NDArray[np.uint8]], object]) -> _Apply:
    """Change the luma of YCrCb and leave the colors."""
    buffers: list[NDArray[np.uint8]] = []

    def apply(picture: Picture, out: Picture) -> None:
        if not buffers or buffers[0].shape != picture.shape[:2]:
            buffers[:] = [np.empty(picture.shape[:2], np.uint8) for _ in range(2)]
        light, changed = buffers
        cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb, dst=out)
        cv2.extractChannel(out, 0, dst=light)
        change(light, changed)
        cv2.insertChannel(changed, out, 0)
        cv2.cvtColor(out, cv2.COLOR_YCrCb2BGR, dst=out)

    return apply


def _gaussian(cv2: Any, options: GaussianOptions) -> _Apply:
    return lambda picture, out: cv2.GaussianBlur(picture, (0, 0), options.sigma_px, dst=out)


def _median(cv2: Any, options: MedianOptions) -> _Apply:
    return lambda picture, out: cv2.medianBlur(picture, options.size_px, dst=out)


def _bilateral(cv2: Any, options: BilateralOptions) -> _Apply:
    size, color = options.size_px, options.color
    return lambda picture, out: cv2.bilateralFilter(picture, size, color, size / 2, dst=out)


def _nl_means(cv2: Any, options: NlMeansOptions) -> _Apply:
    strength, search = options.strength, options.search_px
    return lambda picture, out: cv2.fastNlMeansDenoisingColored(picture, out, strength, strength, 5, search)


def _sharpen(cv2: Any, options: SharpenOptions) -> _Apply:
    amount, sigma = options.amount, options.sigma_px

    def apply(picture: Picture, out: Picture) -> None:
        cv2.GaussianBlur(picture, (0, 0), sigma, dst=out)
        cv2.addWeighted(picture, 1 + amount, out, -amount, 0, dst=out)

    return apply


def _morphology(cv2: Any, options: MorphologyOptions) -> _Apply:
    shapes = {"rectangle": cv2.MORPH_RECT, "ellipse": cv2.MORPH_ELLIPSE, "cross": cv2.MORPH_CROSS}
    kernel = cv2.getStructuringElement(shapes[options.shape], (options.size_px, options.size_px))
    method = getattr(cv2, f"MORPH_{options.method.upper().replace('_', '')}")
    return lambda picture, out: cv2.morphologyEx(picture, method, kernel, dst=out)


def _gamma(cv2: Any, options: GammaOptions) -> _Apply:
    table = np.rint(255 * (np.arange(256) / 255) ** (1 / options.gamma)).astype(np.uint8)
    return lambda picture, out: cv2.LUT(picture, table, dst=out)


def _white_balance(cv2: Any, options: WhiteBalanceOptions) -> _Apply:
    levels = np.arange(256, dtype=np.float64)[:, None]

    def apply(picture: Picture, out: Picture) -> None:
        means = np.maximum(np.array(cv2.mean(picture[::4, ::4])[:3]), 1.0)
        gains = 1 + options.strength * (means.mean() / means - 1)
        table = np.clip(np.rint(levels * gains), 0, 255).astype(np.uint8)
        cv2.LUT(picture, table.reshape(1, 256, 3), dst=out)

    return apply


def _undistort(cv2: Any, options: UndistortOptions) -> _Apply:
    lens = read_calibration(options.file)
    straight, _ = cv2.getOptimalNewCameraMatrix(lens.matrix, lens.distortion, lens.wh, options.keep)
    maps = cv2.initUndistortRectifyMap(lens.matrix, lens.distortion, None, straight, lens.wh, cv2.CV_16SC2)

    def apply(picture: Picture, out: Picture) -> None:
        wh = picture.shape[1], picture.shape[0]
        if wh != lens.wh:
            msg = "enhance: {} was made with pictures of {}x{}, the frames have {}x{}: calibrate at that size"
            raise ConfigError(msg.format(options.file, *lens.wh, *wh))
        cv2.remap(picture, *maps, cv2.INTER_LINEAR, dst=out)

    return apply


_OPERATIONS: Final[dict[str, Callable[[Any, Any], _Apply]]] = {
    "clahe": _clahe,
    "equalize": _equalize,
    "gaussian": _gaussian,
    "median": _median,
    "bilateral": _bilateral,
    "nl_means": _nl_means,
    "sharpen": _sharpen,
    "morphology": _morphology,
    "gamma": _gamma,
    "white_balance": _white_balance,
    "undistort": _undistort,
}
"""What does each kind of operation."""
