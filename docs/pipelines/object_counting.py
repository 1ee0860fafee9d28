"""Draws docs/pipelines/object_counting.jpg: parts of the rendered line, followed and counted by the real pipeline.

usage: python docs/pipelines/object_counting.py
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

from edge_vision.capture.conveyor import Conveyor
from edge_vision.publish.drawing.colors import color_of

OUTPUT: Final = Path(__file__).with_suffix(".jpg")
MODEL: Final = Path(__file__).resolve().parents[2] / "configs/demo/parts"
WH: Final = (960, 540)
FPS: Final = 25
FRAMES: Final = 396
GATE: Final = [[0.5, 1.0], [0.5, 0.0]]
TABLE: Final = [[0.62, 0.17], [0.97, 0.17], [0.97, 0.83], [0.62, 0.83]]
INK, PAPER = (30, 30, 30), (245, 245, 245)


def watch() -> list[dict[str, Any]]:
    """Every message of `object_counting` over the rendered line."""
    with tempfile.TemporaryDirectory() as folder:
        source = {"kind": "synthetic", "size": list(WH), "fps": FPS, "frames": FRAMES, "realtime": False}
        settings = {"model": str(MODEL), "lines": {"gate": GATE}, "zones": {"table": TABLE}, "zone_anchor": "center"}
        camera = {"id": "line", "source": source, "pipeline": "object_counting", "with": settings}
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (Path(folder) / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", f"{folder}/site.yaml"], check=True)
        return [json.loads(line) for line in (Path(folder) / "out.jsonl").read_text().splitlines()]


def centers(messages: list[dict[str, Any]]) -> dict[int, list[tuple[int, int]]]:
    """Where each track has been."""
    way: dict[int, list[tuple[int, int]]] = {}
    for one in messages:
        for found in one.get("objects", []):
            left, top, right, bottom = found["xyxy"]
            way.setdefault(found["track_id"], []).append((round((left + right) / 2), round((top + bottom) / 2)))
    return way


def write(image: NDArray[np.uint8], text: str, place: tuple[int, int], size: float = 0.55) -> None:
    """A line of text on paper."""
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    corner = (place[0] - 4, place[1] - height - 5)
    cv2.rectangle(image, corner, (place[0] + width + 4, place[1] + below + 1), PAPER, cv2.FILLED)
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)


def draw(messages: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """The last frame, with the tracks that are in it, and what had been told by then."""
    image = np.empty((WH[1], WH[0], 3), np.uint8)
    Conveyor(WH, FPS).draw(FRAMES - 1, image)
    start, end = (tuple(np.rint(np.array(point) * WH).astype(int).tolist()) for point in GATE)
    cv2.arrowedLine(image, start, end, (60, 60, 230), 3, cv2.LINE_AA, tipLength=0.03)
    cv2.polylines(
        image, [np.rint(np.array(TABLE) * WH).astype(np.int32)], isClosed=True, color=(40, 160, 240), thickness=2
    )
    shown = [one for one in messages if one["kind"] == "detections"][-1]["objects"]
    way = centers(messages)
    for found in shown:
        color = color_of(found["class_id"])
        left, top, right, bottom = map(round, found["xyxy"])
        cv2.polylines(image, [np.array(way[found["track_id"]][-45:], np.int32)], False, color, 2, cv2.LINE_AA)
        cv2.rectangle(image, (left, top), (right, bottom), color, 2, cv2.LINE_AA)
        write(image, f"{found['class']} {found['track_id']}", (left + 4, top - 6))
    crossed = [one["event"] for one in messages if one["kind"] == "line_crossed"]
    by_class = {one["class"]: one["class_counts"]["in"] for one in crossed}
    write(
        image,
        f"line gate: {crossed[-1]['counts']['in']} in ({', '.join(f'{n} {c}' for c, n in by_class.items())})",
        (14, 26),
    )
    inside = [one["event"] for one in messages if one["kind"] in {"zone_entered", "zone_left"}][-1]
    write(image, f"zone table: {inside['occupancy']} inside", (620, 26))
    count = [one["event"] for one in messages if one["kind"] == "count"][-1]
    write(image, f"in the picture: {count['total']}", (14, WH[1] - 14))
    return image


if __name__ == "__main__":
    cv2.imwrite(str(OUTPUT), draw(watch()), [cv2.IMWRITE_JPEG_QUALITY, 72])
    print(f"{OUTPUT}: {OUTPUT.stat().st_size // 1024} kB")
