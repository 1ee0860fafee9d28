"""Makes text_reading.jpg: a rendered parcel label, upright and on its head, and what the real pipeline reads on it.

    python docs/pipelines/text_reading.py [DATA]

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

from reading_bundles import write_dbnet, write_direction, write_reader  # noqa: E402 - found on the path set above

Image = NDArray[np.uint8]
LINES = [("FRAGILE", 1.5, 4), ("LOT 4711-B", 1.1, 2), ("EXP 2027/03", 1.1, 2), ("NET 12.5 kg", 1.0, 2)]
INK, GREEN, RED = (25, 25, 25), (60, 150, 30), (40, 40, 220)
FONT = cv2.FONT_HERSHEY_SIMPLEX


def parcel(degrees: float) -> Image:
    """A label of four lines on cardboard, turned about its center."""
    label = np.full((300, 380, 3), 240, np.uint8)
    for number, (text, size, weight) in enumerate(LINES):
        cv2.putText(label, text, (26, 66 + 68 * number), FONT, size, INK, weight, cv2.LINE_AA)
    board = np.full((480, 640, 3), (110, 150, 185), np.uint8)
    cv2.rectangle(board, (0, 225), (640, 255), (140, 180, 205), cv2.FILLED)  # tape
    matrix = cv2.getRotationMatrix2D((190, 150), degrees, 1.0)
    matrix[:, 2] += [130, 90]
    covered = cv2.warpAffine(np.full((300, 380), 255, np.uint8), matrix, (640, 480)) > 127
    board[covered] = cv2.warpAffine(label, matrix, (640, 480), flags=cv2.INTER_AREA)[covered]
    noise = np.random.default_rng(2).normal(0, 3, board.shape)
    return np.clip(cv2.GaussianBlur(board, (3, 3), 0.6) + noise, 0, 255).astype(np.uint8)


def read(pictures: list[Image], data: Path, folder: Path) -> list[list[dict[str, Any]]]:
    """The lines that `edge-vision run` finds in each picture."""
    (folder / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"pictures/{number}.png"), picture)
    models = {
        "detector": write_dbnet(folder / "detector", data, (640, 640)),
        "direction": write_direction(folder / "direction", data),
        "recogniser": write_reader(folder / "reader", data),
    }
    camera = {
        "id": "cam",
        "source": {"kind": "images", "path": "pictures"},
        "pipeline": "text_reading",
        "with": {key: str(path) for key, path in models.items()},
    }
    site = {"version": 1, "site": "picture", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    subprocess.run([sys.executable, "-m", "edge_vision", "run", str(folder / "site.yaml")], check=True, cwd=ROOT)
    messages = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    return [one["objects"] for one in messages if one["kind"] == "detections"]


def drawn(picture: Image, lines: list[dict[str, Any]]) -> Image:
    """The picture with the corners of each line, a dot where it begins, and the readings beside it."""
    board = np.full((480, 900, 3), 30, np.uint8)
    board[:, :640] = picture
    for number, line in enumerate(sorted(lines, key=lambda one: one["xyxy"][1])):
        quad = np.rint(line["quad"]).astype(np.int32)
        cv2.polylines(board, [quad], True, GREEN, 2, cv2.LINE_AA)
        cv2.circle(board, tuple(quad[0].tolist()), 6, RED, cv2.FILLED, cv2.LINE_AA)
        facts = line.get("attributes", {})
        y = 110 + 80 * number
        cv2.putText(board, line.get("text", "-"), (655, y), FONT, 0.9, (255, 255, 255), 2, cv2.LINE_AA)
        said = f"{facts.get('text_confidence', 0):.2f}   direction {facts.get('direction', '?')}"
        cv2.putText(board, said, (655, y + 28), FONT, 0.55, (190, 190, 190), 1, cv2.LINE_AA)
    return board


def main() -> None:
    """Render, read, draw, write."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared/data"
    pictures = [parcel(8), parcel(174)]
    with tempfile.TemporaryDirectory() as folder:
        found = read(pictures, data, Path(folder))
    board = np.concatenate([drawn(*pair) for pair in zip(pictures, found, strict=True)], axis=1)
    small = cv2.resize(board, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(HERE / "text_reading.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 72])


if __name__ == "__main__":
    main()
