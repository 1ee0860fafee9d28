"""Writes configs/demo/conveyor.mp4, the clip the demo plays: 20 seconds of the make-believe conveyor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Read by OpenCV when a writer is opened: bits per second, and a key frame every two seconds.
os.environ["OPENCV_FFMPEG_WRITER_OPTIONS"] = "b;700000|g;50"

import cv2
import numpy as np
from scenes import Scene

from edge_vision.capture.conveyor import Conveyor

CLIP = Path(__file__).parents[1] / "configs" / "demo" / "conveyor.mp4"
WH = (640, 360)
FPS = 25
FRAMES = 20 * FPS
SEED = 7  # 32 parts of all three kinds, 6 of them with a scratch, a hole or a stain


def frames() -> Iterator[Scene]:
    """Draw the first frames of the line with their truth; every scene has an image of its own."""
    conveyor = Conveyor(WH, FPS, SEED)
    for index in range(FRAMES):
        image = np.empty((WH[1], WH[0], 3), np.uint8)
        conveyor.draw(index, image)
        truth = conveyor.truth(index)
        yield Scene(image, truth.xyxy, truth.class_id)


def main() -> None:
    """Write the clip, then read it back and count its frames."""
    CLIP.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(CLIP), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, WH)
    if not writer.isOpened():
        msg = "this OpenCV cannot write mp4v"
        raise RuntimeError(msg)
    for scene in frames():
        writer.write(scene.image)
    writer.release()
    video = cv2.VideoCapture(str(CLIP), cv2.CAP_FFMPEG)
    count, error = 0, 0.0
    for scene in frames():
        read, image = video.read()
        if not read:
            break
        count += 1
        error += float(((image.astype(np.float32) - scene.image) ** 2).mean())
    extra = video.grab()
    video.release()
    if count != FRAMES or extra:
        msg = f"{CLIP} decodes to {count} frames{' and more' if extra else ''}, not {FRAMES}"
        raise RuntimeError(msg)
    psnr = 10 * np.log10(255**2 / (error / count))
    print(f"{CLIP}: {CLIP.stat().st_size / 1e6:.2f} MB, {count} frames, {psnr:.1f} dB")


if __name__ == "__main__":
    main()
