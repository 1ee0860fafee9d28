"""Makes plate_reading.jpg: two rendered cars, and what the real pipeline reads on them.

    python docs/pipelines/plate_reading.py [DATA]

DATA is the folder of test data with the three models, ../shared/data if not given.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from reading_bundles import write_lprnet, write_plate_color, write_plates  # noqa: E402 - found on the path set above

Image = NDArray[np.uint8]
Color = tuple[int, int, int]
BLUE, YELLOW, WHITE, BLACK, GREEN = (150, 60, 10), (30, 190, 230), (255, 255, 255), (15, 15, 15), (80, 220, 80)
FONT = cv2.FONT_HERSHEY_SIMPLEX
CARS: list[tuple[str, Color, Color, Color, list[list[int]]]] = [
    ("K 83PL26", BLUE, WHITE, (140, 140, 140), [[235, 290], [395, 275], [397, 325], [237, 342]]),
    ("K 72NL35", YELLOW, BLACK, (110, 80, 70), [[250, 278], [405, 290], [404, 341], [250, 330]]),
]


def plate(text: str, ground: Color, ink: Color) -> Image:
    """A plate of 440x140 millimeters, a pixel each."""
    picture = np.full((140, 440, 3), ground, np.uint8)
    cv2.rectangle(picture, (6, 6), (433, 133), ink, 3, cv2.LINE_AA)
    (width, height), _ = cv2.getTextSize(text, FONT, 2.6, 9)
    cv2.putText(picture, text, ((440 - width) // 2, 70 + height // 2), FONT, 2.6, ink, 9, cv2.LINE_AA)
    return picture


def scene(text: str, ground: Color, ink: Color, body: Color, quad: list[list[int]]) -> Image:
    """The back of a car with a plate on it, a little blurred and noisy."""
    picture = np.full((480, 640, 3), (120, 120, 115), np.uint8)
    for corner, other, color in (
        ((0, 340), (640, 480), (70, 70, 72)),
        ((150, 60), (490, 180), (60, 50, 45)),
        ((80, 110), (560, 400), body),
        ((95, 230), (175, 280), (40, 40, 200)),
        ((465, 230), (545, 280), (40, 40, 200)),
        ((80, 360), (560, 400), (45, 45, 45)),
    ):
        cv2.rectangle(picture, corner, other, color, cv2.FILLED)
    for x in (150, 490):
        cv2.circle(picture, (x, 405), 36, (25, 25, 25), cv2.FILLED, cv2.LINE_AA)
    flat = np.array([[0, 0], [440, 0], [440, 140], [0, 140]], np.float32)
    matrix = cv2.getPerspectiveTransform(flat, np.array(quad, np.float32))
    laid = cv2.warpPerspective(plate(text, ground, ink), matrix, (640, 480), flags=cv2.INTER_AREA)
    covered = cv2.warpPerspective(np.full((140, 440), 255, np.uint8), matrix, (640, 480)) > 127
    picture[covered] = laid[covered]
    noise = np.random.default_rng(1).normal(0, 3, picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (3, 3), 0.8) + noise, 0, 255).astype(np.uint8)


def read(pictures: list[Image], data: Path, folder: Path) -> list[dict[str, Any]]:
    """The plate that `edge-vision run` finds in each picture."""
    (folder / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"pictures/{number}.png"), picture)
    models = {
        "detector": write_plates(folder / "plates", data),
        "recogniser": write_lprnet(folder / "lprnet", data),
        "color": write_plate_color(folder / "color", data),
    }
    camera = {
        "id": "cam",
        "source": {"kind": "images", "path": "pictures", "fps": 0.5},
        "pipeline": "plate_reading",
        "with": {"reads": 1, **{key: str(path) for key, path in models.items()}},
    }
    site = {"version": 1, "site": "picture", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    subprocess.run([sys.executable, "-m", "edge_vision", "run", str(folder / "site.yaml")], check=True, cwd=ROOT)
    messages = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [one["objects"][0] for one in messages if one["kind"] == "detections"]


def drawn(picture: Image, found: dict[str, Any]) -> Image:
    """The picture with the corners and the reading, and the straightened plate below."""
    quad = np.array(found["quad"], np.float32)
    board = np.full((600, 640, 3), 30, np.uint8)
    board[:480] = picture
    cv2.polylines(board, [np.rint(quad).astype(np.int32)], True, GREEN, 2, cv2.LINE_AA)
    for number, (x, y) in enumerate(np.rint(quad).astype(int).tolist(), 1):
        cv2.circle(board, (x, y), 4, GREEN, cv2.FILLED, cv2.LINE_AA)
        away = (-22 if number in (1, 4) else 8, -8 if number < 3 else 20)
        cv2.putText(board, str(number), (x + away[0], y + away[1]), FONT, 0.6, GREEN, 2, cv2.LINE_AA)
    flat = np.array([[0, 0], [376, 0], [376, 96], [0, 96]], np.float32)
    board[492:588, 12:388] = cv2.warpPerspective(picture, cv2.getPerspectiveTransform(quad, flat), (376, 96))
    facts = found["attributes"]
    cv2.putText(board, found["text"], (400, 530), FONT, 1.1, WHITE, 2, cv2.LINE_AA)
    line = f"{facts['text_confidence']:.2f}   {facts['color']} {facts['color_confidence']:.2f}"
    cv2.putText(board, line, (400, 570), FONT, 0.6, WHITE, 1, cv2.LINE_AA)
    return board


def main() -> None:
    """Render, read, draw, write."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data"
    pictures = [scene(*car) for car in CARS]
    with tempfile.TemporaryDirectory() as folder:
        found = read(pictures, data, Path(folder))
    board = np.concatenate([drawn(*pair) for pair in zip(pictures, found, strict=True)], axis=1)
    cv2.imwrite(str(HERE / "plate_reading.jpg"), board, [cv2.IMWRITE_JPEG_QUALITY, 72])


if __name__ == "__main__":
    main()
