"""Draws docs/pipelines/classification_sorting.jpg: plates that are painted here, sorted by a real model.

python docs/pipelines/classification_sorting.py BUNDLE, where BUNDLE holds a classifier of plate colors with the labels
blue, green and yellow.
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

PLATES = {
    "blue": ((160, 70, 20), (160, 70, 20), (250, 250, 250)),
    "yellow": ((0, 200, 250), (0, 200, 250), (20, 20, 20)),
    "green": ((240, 250, 240), (110, 190, 60), (20, 20, 20)),
    "glare": ((245, 245, 245), (245, 245, 245), (20, 20, 20)),
}
"""Blue, green and red at the top, at the bottom, and of the letters."""
SHOWN = ["blue"] * 5 + ["yellow"] + ["blue"] * 2 + ["yellow"] * 4 + ["glare"] * 4 + ["green"] * 4
SCALE = 36
LEFT, TOP, WIDTH, HEIGHT = 20, 54, 20 * SCALE + 40, 330
COLORS = {"blue": (200, 100, 30), "yellow": (0, 190, 235), "green": (90, 170, 60), None: (170, 170, 170)}


def plate(name: str) -> NDArray[np.uint8]:
    """A plate as a camera over a barrier would see it."""
    top, bottom, ink = PLATES[name]
    image = np.repeat(np.linspace(top, bottom, 96).astype(np.uint8)[:, None], 376, axis=1)
    cv2.putText(image, "AD12345", (12, 70), cv2.FONT_HERSHEY_SIMPLEX, 2.2, ink, 6, cv2.LINE_AA)
    return image


def sort(bundle: Path) -> list[dict[str, Any]]:
    """Every message of a run over the plates."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plates").mkdir()
        for number, shown in enumerate(SHOWN):
            cv2.imwrite(str(folder / "plates" / f"{number:02}.png"), plate(shown))
        camera = {
            "id": "barrier",
            "source": {"kind": "images", "path": "plates", "fps": 10},
            "pipeline": "classification_sorting",
            "with": {"model": str(bundle.resolve()), "confidence": 0.9, "stable_s": 0.2},
        }
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", str(folder / "site.yaml")], check=True)
        return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def draw(messages: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """The plates, what the model says of each frame, and below what is told, when."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    write(canvas, "frames", (LEFT, TOP - 30), 0.5)
    begins = [number for number in range(len(SHOWN)) if number == 0 or SHOWN[number] != SHOWN[number - 1]]
    for begin, end in zip(begins, [*begins[1:], len(SHOWN)], strict=True):
        width = (end - begin) * SCALE - 8
        small = cv2.resize(plate(SHOWN[begin]), (width, width * 96 // 376), interpolation=cv2.INTER_AREA)
        canvas[TOP : TOP + small.shape[0], LEFT + begin * SCALE : LEFT + begin * SCALE + width] = small
    write(canvas, "best class of each frame, height: confidence", (LEFT, TOP + 88), 0.5)
    base = TOP + 160
    for message in messages:
        if message["kind"] == "detections" and message["objects"]:
            best = message["objects"][0]
            x = LEFT + message["frame"]["index"] * SCALE
            height = round(best["confidence"] * 50)
            cv2.rectangle(canvas, (x, base - height), (x + SCALE - 8, base), COLORS[best["class"]], cv2.FILLED)
    cv2.line(canvas, (LEFT, base - 45), (WIDTH - 20, base - 45), (120, 120, 120), 1)
    write(canvas, "class_changed", (LEFT, base + 40), 0.5)
    events = [message for message in messages if message["kind"] == "class_changed"]
    ends = [*(event["frame"]["index"] for event in events[1:]), len(SHOWN)]
    for message, end in zip(events, ends, strict=True):
        name, begin = message["event"]["class"], message["frame"]["index"]
        left, right = LEFT + begin * SCALE, LEFT + end * SCALE - 8
        cv2.rectangle(canvas, (left, base + 54), (right, base + 84), COLORS[name], cv2.FILLED)
        write(canvas, name or "unknown", (left + 8, base + 75), 0.55, (255, 255, 255))
    return canvas


def write(
    canvas: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    size: float,
    color: tuple[int, int, int] = (60, 60, 60),
) -> None:
    """A line of text."""
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)


if __name__ == "__main__":
    picture = draw(sort(Path(sys.argv[1])))
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
