"""Draws docs/pipelines/object_detection.jpg: a rendered conveyor line, and what the shipped model sees on it.

python docs/pipelines/object_detection.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edge_vision.capture.conveyor import Conveyor

ROOT = Path(__file__).resolve().parents[2]
WH = (800, 450)


def main() -> None:
    """One frame of the line, drawn by `edge-vision try`."""
    frame = np.empty((WH[1], WH[0], 3), np.uint8)
    Conveyor(WH, 25.0, 4).draw(60, frame)
    with tempfile.TemporaryDirectory() as name:
        picture, seen = Path(name) / "line.png", Path(name) / "seen.png"
        cv2.imwrite(str(picture), frame)
        command = [sys.executable, "-m", "edge_vision", "try", picture, "--model", ROOT / "configs/demo/parts"]
        subprocess.run([*map(str, command), "-o", str(seen)], check=True)
        drawn = cv2.imread(str(seen))
    assert drawn is not None
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), drawn, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
