"""Draws docs/pipelines/motion_only.jpg: frames of a rendered hall, what moves in them, and when motion is told.

python docs/pipelines/motion_only.py
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

Picture = NDArray[np.uint8]
WH = (480, 270)
FRAMES = 110
FPS = 10
SHOWN = (8, 30, 52, 95)
ZONE = [[0.0, 0.4], [1.0, 0.4], [1.0, 1.0], [0.0, 1.0]]


def hall(number: int) -> Picture:
    """A wall with a blinking lamp, a floor, and a cart that comes from the left, stops, and goes on."""
    image = np.full((WH[1], WH[0], 3), (205, 205, 200), np.uint8)
    image[108:] = (150, 152, 150)
    lamp = (60, 60, 235) if number // 5 % 2 else (90, 90, 120)
    cv2.circle(image, (400, 50), 14, lamp, cv2.FILLED, cv2.LINE_AA)
    cv2.rectangle(image, (40, 60), (120, 108), (120, 140, 150), cv2.FILLED)
    way = np.interp(number, [14, 40, 60, 84], [-90, 190, 190, 500])
    left = int(way)
    cv2.rectangle(image, (left, 150), (left + 84, 205), (40, 110, 200), cv2.FILLED)
    for wheel in (18, 66):
        cv2.circle(image, (left + wheel, 208), 11, (40, 40, 40), cv2.FILLED, cv2.LINE_AA)
    grain = np.random.default_rng(number).normal(0, 3, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def watch() -> list[dict[str, Any]]:
    """Every message of a run over the hall."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hall").mkdir()
        for number in range(FRAMES):
            cv2.imwrite(str(folder / "hall" / f"{number:03}.png"), hall(number))
        camera = {
            "id": "hall",
            "source": {"kind": "images", "path": "hall", "fps": FPS},
            "pipeline": "motion_only",
            "with": {"zone": ZONE, "still_s": 1.0},
        }
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", str(folder / "site.yaml")], check=True)
        return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def draw(messages: list[dict[str, Any]]) -> Picture:
    """Four frames with their boxes and the zone, and below the part that moves over time, with what was told."""
    canvas = np.full((2 * WH[1] + 190, 2 * WH[0] + 30, 3), 255, np.uint8)
    frames = {one["frame"]["index"]: one for one in messages if one["kind"] == "detections"}
    for place, number in enumerate(SHOWN):
        image = hall(number)
        corners = np.rint(np.array(ZONE) * WH).astype(np.int32)
        cv2.polylines(image, [corners], isClosed=True, color=(200, 130, 30), thickness=2)
        for found in frames[number]["objects"]:
            left, top, right, bottom = np.rint(found["xyxy"]).astype(int).tolist()
            cv2.rectangle(image, (left, top), (right, bottom), (40, 40, 220), 2)
        write(image, f"{number / FPS:.1f} s", (8, 24), (60, 60, 60))
        top, left = 10 + place // 2 * (WH[1] + 10), 10 + place % 2 * (WH[0] + 10)
        canvas[top : top + WH[1], left : left + WH[0]] = image
    base, left, step = canvas.shape[0] - 40, 20, (2 * WH[0] - 10) / FRAMES
    areas = [
        frames[number]["measures"].get("motion", 0.0) if "measures" in frames[number] else 0.0 for number in frames
    ]
    most = max(areas)
    for number, area in enumerate(areas):
        x = round(left + number * step)
        cv2.rectangle(canvas, (x, base - round(area / most * 70)), (round(x + step - 2), base), (150, 150, 150), -1)
    for one in messages:
        if one["kind"] == "motion_changed":
            x = round(left + one["frame"]["index"] * step)
            moving = one["event"]["moving"]
            color = (40, 40, 220) if moving else (60, 150, 40)
            cv2.line(canvas, (x, base + 4), (x, base - 96), color, 2)
            write(canvas, "moving" if moving else "still", (x + 6, base - 84), color)
    write(canvas, "part of the zone that moves, over 11 s", (left, base + 26), (90, 90, 90))
    return canvas


def write(canvas: Picture, text: str, at: tuple[int, int], color: tuple[int, int, int]) -> None:
    """A line of text."""
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, color, 1, cv2.LINE_AA)


if __name__ == "__main__":
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), draw(watch()), [cv2.IMWRITE_JPEG_QUALITY, 82])
