"""Draws docs/pipelines/face_privacy.jpg: painted people, and what `face_privacy` hands on of them.

python docs/pipelines/face_privacy.py BUNDLE, where BUNDLE holds a face detector such as UltraFace.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]
"""Blue, green, red."""
Place = tuple[float, float]
Arc = tuple[int, int]
WH = (560, 400)


def people() -> Picture:
    """Three painted people in front of a wall, with light and shade."""
    image = np.full((WH[1], WH[0], 3), (190, 200, 205), np.uint8)
    image[310:] = (120, 135, 150)
    paint(image, (120, 150), 62, (140, 175, 225), (40, 50, 70), (150, 90, 50))
    paint(image, (290, 135), 66, (95, 130, 185), (25, 25, 30), (60, 110, 60))
    paint(image, (455, 160), 58, (165, 195, 235), (90, 140, 190), (60, 60, 150))
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.uint8)
    grain = np.random.default_rng(1).normal(0, 4, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def paint(image: Picture, at: tuple[int, int], size: int, skin: Color, hair: Color, coat: Color) -> None:
    """A person from the chest up, the head about `size` pixels to each side of its middle."""
    dark = (int(skin[0] * 0.72), int(skin[1] * 0.72), int(skin[2] * 0.72))

    def spot(on: Picture, middle: Place, axes: Place, color: Color, arc: Arc = (0, 360), thick: int = -1) -> None:
        """An ellipse, or a part of one; lengths in heads."""
        center = (int(at[0] + middle[0] * size), int(at[1] + middle[1] * size))
        cv2.ellipse(on, center, (int(axes[0] * size), int(axes[1] * size)), 0, *arc, color, thick, cv2.LINE_AA)

    spot(image, (0, 2.7), (1.55, 1.3), coat, (180, 360))
    spot(image, (0, 1.25), (0.42, 0.5), dark)
    spot(image, (0, -0.12), (0.95, 1.2), hair)
    spot(image, (0, 0.12), (0.78, 1.02), skin)
    shade = image.copy()
    spot(shade, (0.3, 0.15), (0.48, 0.95), dark)
    image[:] = cv2.addWeighted(image, 0.7, cv2.GaussianBlur(shade, (0, 0), 9), 0.3, 0)
    for side in (-0.34, 0.34):
        spot(image, (side, 0), (0.17, 0.09), (235, 235, 235))
        spot(image, (side, 0), (0.085, 0.085), (40, 35, 30))
        spot(image, (side, -0.16), (0.24, 0.08), hair, (180, 360), 4)
    spot(image, (0, 0.36), (0.13, 0.09), dark, (0, 180), 4)
    spot(image, (0.04, 0.2), (0.03, 0.16), dark, (-90, 90), 3)
    spot(image, (0, 0.64), (0.3, 0.1), (80, 80, 190))


def cover(image: Picture, bundle: Path) -> Picture:
    """What `edge-vision try` draws of it."""
    with tempfile.TemporaryDirectory() as name:
        picture, seen = Path(name) / "people.png", Path(name) / "seen.png"
        cv2.imwrite(str(picture), image)
        command = [sys.executable, "-m", "edge_vision", "try", picture, "--pipeline", "face_privacy"]
        subprocess.run([*map(str, command), "--model", str(bundle), "-o", str(seen)], check=True)
        drawn = cv2.imread(str(seen))
    assert drawn is not None
    return np.asarray(drawn, np.uint8)


if __name__ == "__main__":
    before = people()
    both = np.concatenate([before, np.full((WH[1], 12, 3), 255, np.uint8), cover(before, Path(sys.argv[1]))], axis=1)
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), both, [cv2.IMWRITE_JPEG_QUALITY, 80])
