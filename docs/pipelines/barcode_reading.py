"""Draws docs/pipelines/barcode_reading.jpg: parcels with codes that are drawn here, and what is read on them.

python docs/pipelines/barcode_reading.py
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

from edge_vision.testing.codes import code128_b, draw_aruco, draw_code128, draw_ean, draw_qr

Picture = NDArray[np.uint8]
WH = (1040, 560)
KINDS = ["qr", "ean13", "code128", "aruco"]
COLORS = {"qr": (60, 160, 40), "ean13": (200, 110, 30), "code128": (30, 100, 230), "aruco": (190, 60, 190)}


def belt() -> Picture:
    """A dark belt with parcels; the light comes from the left."""
    rng = np.random.default_rng(2)
    scene = np.full((WH[1], WH[0], 3), (70, 66, 62), np.uint8)
    lay(scene, draw_qr("LOT 2026-11 / 0042", 4), (160, 150), 12, (230, 250))
    lay(scene, draw_ean("4006381333931", 2, 90), (460, 140), -7, (330, 210))
    lay(scene, draw_code128(code128_b("PARCEL-8817"), 2, 70), (300, 410), 4, (440, 180))
    lay(scene, draw_qr("https://example.org/p/17", 3), (800, 150), -28, (220, 220))
    lay(scene, draw_ean("5901234123457", 2, 80), (640, 390), 90, (260, 200))
    lay(scene, draw_aruco(7, 90), (900, 420), 20, (190, 190))
    light = np.linspace(1.1, 0.72, WH[0])[None, :, None]
    grain = rng.normal(0, 4, scene.shape)
    return np.clip(cv2.GaussianBlur(scene, (0, 0), 0.8) * light + grain, 0, 255).astype(np.uint8)


def lay(scene: Picture, code: Picture, center: tuple[int, int], angle: float, wh: tuple[int, int]) -> None:
    """A cardboard parcel with a label on it, turned."""
    width, height = wh
    parcel = np.full((height, width, 3), (110, 155, 190), np.uint8)
    cv2.rectangle(parcel, (0, 0), (width - 1, height - 1), (80, 120, 150), 3)
    top, left = (height - code.shape[0]) // 2, (width - code.shape[1]) // 2
    parcel[top : top + code.shape[0], left : left + code.shape[1]] = code[..., None]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    turn[:, 2] += np.array(center) - np.array(wh) / 2
    there = cv2.warpAffine(np.full((height, width), 255, np.uint8), turn, WH)
    cv2.copyTo(cv2.warpAffine(parcel, turn, WH, flags=cv2.INTER_LINEAR), there, scene)


def read(scene: Picture) -> list[dict[str, Any]]:
    """The objects that are seen on a belt; each must also have been told, once it was seen twice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "belt").mkdir()
        for number in range(2):
            cv2.imwrite(str(folder / "belt" / f"{number}.png"), scene)
        camera = {
            "id": "belt",
            "source": {"kind": "images", "path": "belt"},
            "pipeline": "barcode_reading",
            "with": {"kinds": KINDS},
        }
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", str(folder / "site.yaml")], check=True)
        messages = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    objects = [one["objects"] for one in messages if one["kind"] == "detections"][-1]
    told = [one["event"]["text"] for one in messages if one["kind"] == "reading"]
    assert told == [one["text"] for one in objects]
    return objects


def draw(scene: Picture, objects: list[dict[str, Any]]) -> Picture:
    """Corners and texts on the belt; a dot at the first corner."""
    for found in objects:
        color = COLORS[found["class"]]
        quad = np.rint(found["quad"]).astype(np.int32)
        cv2.polylines(scene, [quad], isClosed=True, color=color, thickness=3, lineType=cv2.LINE_AA)
        cv2.circle(scene, quad[0].tolist(), 7, color, cv2.FILLED, cv2.LINE_AA)
        text = f"{found['class']} {found['text']}"
        (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)
        left = int(np.clip(quad[:, 0].mean() - wide / 2, 4, WH[0] - wide - 8))
        top = int(np.clip(quad[:, 1].max() + 8, 4, WH[1] - tall - 12))
        cv2.rectangle(scene, (left - 4, top), (left + wide + 4, top + tall + 10), color, cv2.FILLED)
        cv2.putText(scene, text, (left, top + tall + 3), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255,) * 3, 1, cv2.LINE_AA)
    return scene


if __name__ == "__main__":
    parcels = belt()
    found = draw(parcels, read(parcels))
    cv2.imwrite(str(Path(__file__).with_suffix(".jpg")), found, [cv2.IMWRITE_JPEG_QUALITY, 68])
