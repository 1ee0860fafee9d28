"""Classical measurements of a gray picture: brightness, sharpness, edges along a line, blobs, a template."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.plugin import require

Gray: TypeAlias = NDArray[np.uint8]
"""(height, width), 0..255."""


def gray_crops(image: NDArray[np.uint8], xyxy: NDArray[np.float32]) -> Iterator[Gray]:
    """What boxes (n, 4) show of a picture (height, width, 3) BGR, in gray; at least the one nearest pixel."""
    cv2: Any = require("cv2", "cpu")
    height, width = image.shape[:2]
    whole = np.rint(np.clip(np.nan_to_num(xyxy), 0, (width, height, width, height))).astype(int)
    for left, top, right, bottom in np.minimum(whole, (width - 1, height - 1, width, height)).tolist():
        crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
        yield np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY), np.uint8)


def brightness(gray: Gray) -> float:
    """The mean gray level, 0..255."""
    cv2: Any = require("cv2", "cpu")
    return float(cv2.mean(gray)[0]) if gray.size else float("nan")


def sharpness(gray: Gray) -> float:
    """The variance of the Laplacian: high where there are edges, low where the picture is blurred.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000. It grows with contrast: compare only
    pictures of one camera.
    """
    cv2: Any = require("cv2", "cpu")
    if not gray.size:
        return float("nan")
    # The Laplacian of bytes fits into 16 bits, and OpenCV sums it up eight times faster than NumPy does as floats.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(gray, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)


def profile(gray: Gray, start: tuple[float, float], end: tuple[float, float], width_px: float) -> NDArray[np.float64]:
    """Gray levels along a line, one per pixel, each the mean across a band of `width_px` around it.

    Points are continuous coordinates: (0.5, 0.5) is the middle of the first pixel. Between pixels it interpolates.
    """
    cv2: Any = require("cv2", "cpu")
    ends = np.array([start, end], np.float64)
    length = float(np.linalg.norm(ends[1] - ends[0]))
    along = (ends[1] - ends[0]) / length
    across = np.array([-along[1], along[0]])
    steps = np.arange(max(2, int(length)) + 0.0)
    band = np.arange(max(1, round(width_px))) - (max(1, round(width_px)) - 1) / 2
    points = ends[0] + (steps[:, None, None] + 0.5) * along + band[None, :, None] * across - 0.5
    maps = points.astype(np.float32)
    found = cv2.remap(
        gray.astype(np.float32), maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(found.mean(axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Edge:
    """A step of brightness along a line: where, in pixels from its start, and how high, positive when it rises."""

    at_px: float
    step: float


def edges(levels: NDArray[np.float64], sigma_px: float, min_contrast: float) -> list[Edge]:
    """The steps in gray levels sampled at 0.5, 1.5, ...: extrema of the smoothed slope, placed by a parabola.

    The slope is that of a Gaussian-smoothed profile, so that a step is seen with its height; the parabola through the
    slope's extremum and its neighbors gives the place to a fraction of a pixel (as in Steger, An unbiased detector of
    curvilinear structures, PAMI 1998).
    """
    reach = max(1, int(np.ceil(3 * sigma_px)))
    at = np.arange(-reach, reach + 1, dtype=np.float64)
    bell = np.exp(-(at**2) / (2 * sigma_px**2))
    bell /= bell.sum()
    padded = np.pad(levels, reach + 1, mode="edge")
    slope = np.gradient(np.convolve(padded, bell, mode="same"))[reach + 1 : -reach - 1]
    size = np.abs(slope)
    if len(size) < 3:  # noqa: PLR2004 - an extremum needs two neighbors
        return []
    middle, left, right = size[1:-1], size[:-2], size[2:]
    # Of an ideal step whose slope has this peak; the difference of two neighbors blurs by a box of 2 px, too.
    height = middle * np.sqrt(2 * np.pi * (sigma_px**2 + 1 / 3))
    peaks = np.flatnonzero((middle > left) & (middle >= right) & (height >= min_contrast))
    bend = left[peaks] - 2 * middle[peaks] + right[peaks]
    shift = np.where(bend < 0, 0.5 * (left[peaks] - right[peaks]) / np.where(bend < 0, bend, -1), 0)
    return [
        Edge(float(peak + 1.5 + move), float(np.sign(slope[peak + 1]) * height[peak]))
        for peak, move in zip(peaks, shift, strict=True)
    ]


def width_between(found: list[Edge], between: Literal["outer", "inner", "dark", "bright"]) -> float:
    """The distance of two edges in pixels, NaN where they are not there.

    outer: the first and the last. inner: the two next to each other that are nearest. dark: from the first that falls
    to the last that rises. bright: from the first that rises to the last that falls.
    """
    if between in ("dark", "bright"):
        sign = 1 if between == "bright" else -1
        opening = next((edge.at_px for edge in found if edge.step * sign > 0), None)
        closing = next((edge.at_px for edge in reversed(found) if edge.step * sign < 0), None)
        return closing - opening if opening is not None and closing is not None and closing > opening else float("nan")
    if len(found) < 2:  # noqa: PLR2004 - a width has two ends
        return float("nan")
    places = [edge.at_px for edge in found]
    return places[-1] - places[0] if between == "outer" else float(np.diff(places).min())


def blobs(gray: Gray, threshold: float | None, *, bright: bool, open_px: int, min_area_px: float) -> tuple[int, float]:
    """How many connected blobs there are on one side of a threshold, and their area together in pixels.

    Without a threshold it is Otsu's (A threshold selection method from gray-level histograms, 1979). `open_px` removes
    what is smaller than an ellipse of that size first.
    """
    cv2: Any = require("cv2", "cpu")
    kind = cv2.THRESH_BINARY if bright else cv2.THRESH_BINARY_INV
    method = kind | cv2.THRESH_OTSU if threshold is None else kind
    _, binary = cv2.threshold(gray, 0 if threshold is None else threshold, 255, method)
    if open_px > 1:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (open_px, open_px))
        binary = cv2.morphologyEx(binary, cv2.MORPH_OPEN, kernel)
    _, _, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    areas = areas[areas >= max(min_area_px, 1)]
    return len(areas), float(areas.sum())


def matcher(template: Gray) -> Callable[[Gray], tuple[float, float, float]]:
    """A search for a template: score -1..1 and the place of its middle (x, y) in pixels, NaN where it does not fit in.

    Normalized cross-correlation of what differs from the mean (OpenCV's TM_CCOEFF_NORMED): light does not matter,
    turning and size do. The place is refined by a parabola along each side.
    """
    cv2: Any = require("cv2", "cpu")
    height, width = template.shape

    def search(gray: Gray) -> tuple[float, float, float]:
        if gray.shape[0] < height or gray.shape[1] < width:
            return float("nan"), float("nan"), float("nan")
        scores = np.nan_to_num(cv2.matchTemplate(gray, template, cv2.TM_CCOEFF_NORMED), posinf=0.0, neginf=0.0)
        row, column = np.unravel_index(int(scores.argmax()), scores.shape)
        x = column + _refined(scores[row], int(column)) + width / 2
        y = row + _refined(scores[:, column], int(row)) + height / 2
        return float(scores[row, column]), float(x), float(y)

    return search


def _refined(values: NDArray[np.floating], at: int) -> float:
    """How far from `at` the top of the parabola through it and its neighbors lies, -0.5..0.5."""
    if not 0 < at < len(values) - 1:
        return 0.0
    left, middle, right = (float(value) for value in values[at - 1 : at + 2])
    bend = left - 2 * middle + right
    return 0.5 * (left - right) / bend if bend < 0 else 0.0
