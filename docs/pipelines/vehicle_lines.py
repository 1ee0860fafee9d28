"""Draws docs/pipelines/vehicle_lines.jpg: the ways of real cars, as the pipeline followed them, on a drawn road.

usage: python docs/pipelines/vehicle_lines.py MODEL CLIP

MODEL is a bundle of the int8 detector of vehicles and plates, CLIP the cars that go up and down. Ways, times and totals
are those of the run; not a pixel of the clip is in the picture.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

OUTPUT: Final = Path(__file__).with_suffix(".jpg")
WH: Final = (768, 432)
PANEL: Final = 150
GATE: Final = [[0.0, 0.5], [1.0, 0.5]]
INK, PALE, RED = (50, 50, 50), (150, 150, 150), (60, 60, 230)
COLORS: Final = {"in": (200, 120, 30), "out": (40, 150, 60)}


def watch(model: Path, clip: Path) -> list[dict[str, Any]]:
    """Every message of `vehicle_lines` over the clip."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "model": str(model.absolute()),
            "precision": "int8",
            "classes": ["vehicle"],
            "confidence": 0.2,
            "period_s": 10,
        }
        source = {"kind": "file", "path": str(clip.absolute())}
        camera = {
            "id": "road",
            "source": source,
            "pipeline": "vehicle_lines",
            "with": {**settings, "lines": {"gate": GATE}},
        }
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (Path(folder) / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", f"{folder}/site.yaml"], check=True)
        return [json.loads(line) for line in (Path(folder) / "out.jsonl").read_text().splitlines()]


def write(image: NDArray[np.uint8], text: str, place: tuple[int, int], color: tuple[int, int, int] = INK) -> None:
    """A line of text."""
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


def draw(messages: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """The road with the line and the ways across it; below when each car crossed, and the totals of each period."""
    image = np.full((WH[1] + PANEL, WH[0], 3), 255, np.uint8)
    image[: WH[1]] = (214, 222, 216)
    road = np.array([[40, WH[1]], [150, 0], [470, 0], [560, WH[1]]], np.int32)
    cv2.fillPoly(image[: WH[1]], [road], (196, 196, 196), cv2.LINE_AA)
    for part in range(0, WH[1], 48):
        cv2.line(image, (300, part), (300, min(part + 26, WH[1] - 1)), (240, 240, 240), 4, cv2.LINE_AA)
    y = round(GATE[0][1] * WH[1])
    cv2.arrowedLine(image, (0, y), (WH[0] - 1, y), RED, 2, cv2.LINE_AA, tipLength=0.02)
    write(image, "gate", (12, y - 8), RED)
    crossed = [one for one in messages if one["kind"] == "line_crossed"]
    for number, one in enumerate(crossed, 1):
        event = one["event"]
        boxes = [
            found["xyxy"]
            for message in messages
            for found in message.get("objects", [])
            if found["track_id"] == event["track_id"]
        ]
        way = np.rint([((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]).astype(np.int32)
        color = COLORS[event["direction"]]
        cv2.polylines(image, [way], isClosed=False, color=color, thickness=3, lineType=cv2.LINE_AA)
        cv2.arrowedLine(image, way[-8].tolist(), way[-1].tolist(), color, 3, cv2.LINE_AA, tipLength=0.3)
        x, below = way[-1].tolist()
        write(
            image, f"{number}: {event['class']} {event['track_id']}, {event['direction']}", (x + 22, below + 14), color
        )
    seconds = messages[-1]["frame"]["media_ms"] / 1000
    line = WH[1] + 46
    cv2.line(image, (20, line), (WH[0] - 20, line), PALE, 1)
    for number, one in enumerate(crossed, 1):
        x = 20 + round(one["frame"]["media_ms"] / 1000 / seconds * (WH[0] - 40))
        cv2.circle(image, (x, line), 6, COLORS[one["event"]["direction"]], cv2.FILLED, cv2.LINE_AA)
        write(image, f"{number}", (x - 4, line - 12))
    for one in messages:
        if one["kind"] == "line_totals":
            event, at = one["event"], one["frame"]["media_ms"] / 1000
            x = 20 + round(at / seconds * (WH[0] - 40))
            cv2.line(image, (x, line - 24), (x, line + 14), PALE, 1)
            period, counts = event["period"], event["counts"]
            for row, text in enumerate(
                (
                    f"{at:.0f} s",
                    f"period: {period['in']} in, {period['out']} out",
                    f"so far: {counts['in']} in, {counts['out']} out",
                )
            ):
                write(image, text, (x - 180, line + 32 + 22 * row), PALE if not row else INK)
    return image


if __name__ == "__main__":
    cv2.imwrite(str(OUTPUT), draw(watch(Path(sys.argv[1]), Path(sys.argv[2]))), [cv2.IMWRITE_JPEG_QUALITY, 85])
    print(f"{OUTPUT}: {OUTPUT.stat().st_size // 1024} kB")
