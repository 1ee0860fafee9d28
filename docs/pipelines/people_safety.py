"""Draws docs/pipelines/people_safety.jpg: what the pipeline saw in a real clip, on a drawn floor.

usage: python docs/pipelines/people_safety.py MODEL CLIP

MODEL is a bundle of a detector of people, such as YOLOX-nano; CLIP the worker who steps over a tape. Boxes, times and
distances are those of the run; not a pixel of the clip is in the picture.
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
WH: Final = (960, 540)
TIMELINE: Final = 110
ZONE: Final = [[0.0, 0.45], [0.19, 0.33], [0.52, 0.47], [0.22, 1.0], [0.0, 1.0]]
PRESS: Final = [[0.0, 0.62], [0.1, 0.57], [0.15, 0.74], [0.0, 0.82]]
SETTINGS: Final = {
    "zones": {"press-area": ZONE}, "machines": {"press": PRESS}, "dwell_s": 1.0, "proximity_m": 0.8, "presence_s": 1.0,
}  # fmt: skip
INK, PALE, RED, AMBER, GREEN = (40, 40, 40), (140, 140, 140), (60, 60, 220), (40, 160, 240), (90, 150, 60)
COLORS: Final = {"zone_entered": AMBER, "presence_changed": GREEN, "proximity": RED, "dwell_exceeded": RED}


def watch(model: Path, clip: Path) -> list[dict[str, Any]]:
    """Every message of `people_safety` over the clip."""
    with tempfile.TemporaryDirectory() as folder:
        camera = {
            "id": "hall",
            "source": {"kind": "file", "path": str(clip.absolute())},
            "pipeline": "people_safety",
            "with": {"model": str(model.absolute()), **SETTINGS},
        }
        site = {"version": 1, "site": "docs", "cameras": [camera], "publish": [{"kind": "jsonl", "path": "out.jsonl"}]}
        (Path(folder) / "site.yaml").write_text(yaml.safe_dump(site))
        subprocess.run([sys.executable, "-m", "edge_vision", "run", f"{folder}/site.yaml"], check=True)
        return [json.loads(line) for line in (Path(folder) / "out.jsonl").read_text().splitlines()]


def pixels(points: list[list[float]]) -> NDArray[np.int32]:
    """Points in 0..1 in the picture that is drawn."""
    return np.rint(np.array(points) * WH).astype(np.int32)


def write(image: NDArray[np.uint8], text: str, place: tuple[int, int], color: tuple[int, int, int] = INK) -> None:
    """A line of text."""
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, color, 1, cv2.LINE_AA)


def draw_floor() -> NDArray[np.uint8]:
    """A drawn hall: wall, floor with its tiles, the zone with its tape, and the press."""
    image = np.full((WH[1] + TIMELINE, WH[0], 3), 255, np.uint8)
    horizon = 130
    image[:horizon] = (232, 228, 222)
    image[horizon : WH[1]] = (214, 216, 218)
    for number in range(-12, 13):
        cv2.line(image, (480 + 45 * number, horizon), (480 + 260 * number, WH[1]), (200, 200, 200), 1, cv2.LINE_AA)
    for depth in np.geomspace(12, WH[1] - horizon, 9):
        cv2.line(image, (0, horizon + int(depth)), (WH[0], horizon + int(depth)), (200, 200, 200), 1)
    image[WH[1] :] = 255
    shade = image.copy()
    cv2.fillPoly(shade, [pixels(ZONE)], AMBER)
    cv2.fillPoly(shade, [pixels(PRESS)], PALE)
    image[:] = cv2.addWeighted(shade, 0.3, image, 0.7, 0)
    cv2.polylines(image, [pixels(PRESS)], isClosed=True, color=INK, thickness=1, lineType=cv2.LINE_AA)
    tape = pixels(ZONE)[2:4].astype(np.float64)
    for number in range(24):
        ends = tape[0] + (tape[1] - tape[0]) * np.array([[number], [number + 1]]) / 24
        cv2.line(image, *map(tuple, ends.astype(int)), INK if number % 2 else (0, 210, 250), 5, cv2.LINE_AA)
    write(image, "machines: press", (12, 395))
    write(image, "zones: press-area", (30, 268))
    return image


def draw_person(image: NDArray[np.uint8], box: list[float], color: tuple[int, int, int]) -> tuple[int, int]:
    """A figure as tall as its box, and the box; where its feet are."""
    left, top, right, bottom = (round(2 * side) for side in box)
    middle, tall = (left + right) // 2, bottom - top
    cv2.circle(image, (middle, top + tall // 10), tall // 11, color, 2, cv2.LINE_AA)
    neck, hip = (middle, top + tall // 5), (middle, top + tall * 11 // 20)
    for one, other in (
        (neck, hip), (hip, (middle - tall // 12, bottom)), (hip, (middle + tall // 12, bottom)),
        (neck, (middle - tall // 7, top + tall // 2)), (neck, (middle + tall // 7, top + tall // 2)),
    ):  # fmt: skip
        cv2.line(image, one, other, color, 2, cv2.LINE_AA)
    cv2.rectangle(image, (left, top), (right, bottom), color, 1, cv2.LINE_AA)
    return middle, bottom


def main() -> None:
    """Run the clip, draw what was seen of the worker, and when what was told."""
    messages = watch(Path(sys.argv[1]), Path(sys.argv[2]))
    seen = [one for one in messages if one["kind"] == "detections"]
    told = [one for one in messages if one["kind"] in COLORS]
    people = {one["frame"]["index"]: found for one in seen for found in one["objects"] if found["class"] == "person"}
    image = draw_floor()
    feet = [((one["xyxy"][0] + one["xyxy"][2]), 2 * one["xyxy"][3]) for one in people.values()]
    cv2.polylines(image, [np.rint(feet).astype(np.int32)], isClosed=False, color=PALE, thickness=2)
    entered = next(one["frame"]["index"] for one in told if one["kind"] == "zone_entered")
    last = max(people)
    for index, color in ((entered, AMBER), (last, RED)):
        place = draw_person(image, people[index]["xyxy"], color)
    cv2.line(image, place, nearest(pixels(PRESS), place), RED, 1, cv2.LINE_AA)
    x, y = round(people[last]["xyxy"][2] * 2) + 8, round(people[last]["xyxy"][1] * 2) + 20
    figures = people[last]["attributes"]
    write(image, f"person, track {people[last]['track_id']}", (x + 60, y + 30), RED)
    write(image, f"dwell_s {figures['dwell_s']:.2f}", (x + 60, y + 52), RED)
    write(image, f"distance_m {figures['distance_m']:.2f}", (x + 60, y + 74), RED)
    draw_timeline(image, told, seen[-1]["frame"]["media_ms"])
    cv2.imwrite(str(OUTPUT), image, [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1000:.0f} kB")


def nearest(polygon: NDArray[np.int32], place: tuple[int, int]) -> tuple[int, int]:
    """The point of a polygon's outline that is nearest to a place."""
    steps = np.linspace(0, 1, 200)[:, None, None]
    outline = (polygon * (1 - steps) + np.roll(polygon, -1, axis=0) * steps).reshape(-1, 2)
    x, y = outline[np.linalg.norm(outline - place, axis=1).argmin()].round().astype(int).tolist()
    return x, y


def draw_timeline(image: NDArray[np.uint8], told: list[dict[str, Any]], end_ms: float) -> None:
    """When what was told, in media time."""
    top = WH[1] + 84
    cv2.line(image, (20, top), (WH[0] - 20, top), PALE, 1)
    for second in range(int(end_ms / 1000) + 1):
        x = 20 + round((WH[0] - 40) * second * 1000 / end_ms)
        cv2.line(image, (x, top - 3), (x, top + 3), PALE, 1)
        write(image, f"{second} s", (x - 8, top + 20), PALE)
    for number, one in enumerate(told):
        event, x = one["event"], 20 + round((WH[0] - 40) * one["frame"]["media_ms"] / end_ms)
        what = {
            "presence_changed": "" if event.get("present") else " present: false",
            "proximity": f" {event.get('distance_m', 0):.2f} m",
        }.get(one["kind"], "")
        text, row = one["kind"] + what, WH[1] + 18 + 18 * (number % 3)
        cv2.line(image, (x, row - 10), (x, top), COLORS[one["kind"]], 2)
        wide = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
        write(image, text, (min(x + 5, WH[0] - wide - 4), row), COLORS[one["kind"]])


if __name__ == "__main__":
    main()
