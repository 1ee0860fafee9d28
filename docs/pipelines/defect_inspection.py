"""Draws docs/pipelines/defect_inspection.jpg: rendered parts with what the shipped pipeline says of them.

usage: python docs/pipelines/defect_inspection.py
"""

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_vision.app.check import check_pipeline
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.capture.conveyor import Conveyor
from edge_vision.capture.options import SyntheticOptions
from edge_vision.config.site import Camera, Site
from edge_vision.core.detections import Detections
from edge_vision.core.frame import Frame, read_only
from edge_vision.core.scene import Scene
from edge_vision.runtime.clock import SystemClock

ROOT: Final = Path(__file__).resolve().parents[2]
WH: Final = (960, 540)
FPS, FRAMES, SEED = 10.0, 110, 6_500_011
COLORS: Final = {"part": (200, 170, 60), "scratch": (0, 220, 255), "hole": (60, 60, 255), "stain": (255, 80, 200)}
SAID: Final = {"OK": (90, 190, 60), "NG": (60, 60, 230), "NOT_INSPECTED": (150, 150, 150)}


def watch() -> tuple[NDArray[np.uint8], Scene]:
    """The last frame of a rendered line, and what the pipeline knows then."""
    settings = ["max_coverage=0.006", "backends=[onnxruntime]"]
    stages, bundles = check_pipeline("defect_inspection", [("model", str(ROOT / "configs/demo/defects"))], settings)
    camera = Camera("line", SyntheticOptions(kind="synthetic"), "defect_inspection", stages, 0)
    clock, line = SystemClock(), Conveyor(WH, FPS, SEED, defect_rate=0.5)
    with open_road(camera, load_engines(Site(Path("docs"), "docs", (camera,), ()), bundles), clock) as road:
        for index in range(FRAMES):
            image = np.empty((WH[1], WH[0], 3), np.uint8)
            line.draw(index, image)
            scene = road(
                Frame("line", index, clock.now(), clock.monotonic_ns(), int(index * 1e9 / FPS), read_only(image))
            )
    return image, scene


def shade(picture: NDArray[np.uint8], seen: Detections, row: int, color: tuple[int, int, int]) -> None:
    """Lay a mask over the picture, with its outline."""
    assert seen.mask is not None
    left, top, right, bottom = np.rint(seen.xyxy[row]).astype(int).tolist()
    grid = cv2.resize(seen.mask[row].astype(np.uint8), (max(1, right - left), max(1, bottom - top)))
    piece = picture[top : top + grid.shape[0], left : left + grid.shape[1]]
    inside = grid[: piece.shape[0], : piece.shape[1]] > 0
    piece[inside] = (0.55 * piece[inside] + 0.45 * np.array(color)).astype(np.uint8)


def main() -> None:
    """Watch, draw, write."""
    image, scene = watch()
    picture, seen = image.copy(), scene.detections
    for row in np.argsort(seen.class_id, kind="stable").tolist():  # parts first, defects over them
        label = scene.labels[seen.class_id[row]]
        if label != "part":
            shade(picture, seen, row, COLORS[label])
    verdicts: Any = seen.attributes["verdict"]
    for row in np.flatnonzero(verdicts != "").tolist():
        left, top, right, bottom = np.rint(seen.xyxy[row]).astype(int).tolist()
        color, text = SAID[verdicts[row]], f"{seen.track_id[row]} {verdicts[row]}"  # type: ignore[index] # tracked
        cv2.rectangle(picture, (left, top), (right, bottom), color, 2, cv2.LINE_AA)
        cv2.rectangle(picture, (left, top - 20), (left + 9 * len(text) + 10, top), color, cv2.FILLED)
        cv2.putText(picture, text, (left + 5, top - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    for number, (label, color) in enumerate(list(COLORS.items())[1:]):
        cv2.rectangle(picture, (20 + 130 * number, 510), (36 + 130 * number, 526), color, cv2.FILLED)
        cv2.putText(
            picture, label, (44 + 130 * number, 524), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
        )
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), picture, [cv2.IMWRITE_JPEG_QUALITY, 72])


if __name__ == "__main__":
    main()
