"""What the tracker costs per frame, with 1, 20, 50 and 200 objects that move, cross, hide, appear and leave.

The figure is processor time, the best of several runs over the same 300 frames of 1080p. With `--limit` a frame of 50
objects may cost so many milliseconds, or the exit code is 1.

usage: python benchmarks/tracker.py [--limit 0.5] [--looks 256]
"""

import argparse
import sys
import time

import numpy as np

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.tracker import Tracker, TrackerOptions
from edge_vision.core.detections import Detections

COUNTS = (1, 20, 50, 200)
JUDGED = 50
FRAMES = 300
FRAME_NS = 33_333_333
WH = np.array([1920.0, 1080.0])
LABELS = ("car", "truck", "person")


def scenes(count: int, looks: int = 0, seed: int = 0) -> list[Detections]:
    """What a detector that trembles, overlooks and doubts would see of so many objects; who leaves comes in anew."""
    rng = np.random.default_rng(seed)
    place, step = rng.uniform(0, WH, (count, 2)), rng.normal(0, 4, (count, 2))
    size, class_id = rng.uniform([40, 80], [80, 200], (count, 2)), rng.integers(0, len(LABELS), count)
    look = rng.normal(size=(count, looks)).astype(np.float32)
    frames = []
    for _ in range(FRAMES):
        place += step
        gone = ((place < -size / 2) | (place > WH + size / 2)).any(axis=1)
        place[gone] = rng.uniform(0, WH, (int(gone.sum()), 2))
        center, wh = place + rng.normal(0, 1, place.shape), size * (1 + rng.normal(0, 0.01, size.shape))
        confidence, seen = rng.beta(8, 2, count), rng.uniform(size=count) > 0.03  # noqa: PLR2004 - 3 % overlooked
        boxes = np.concatenate([center - wh / 2, center + wh / 2], axis=1)[seen].astype(np.float32)
        embedding = look[seen] + 0.3 * rng.normal(size=(int(seen.sum()), looks)).astype(np.float32)
        embedding /= np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), np.float32(1e-6))
        found = (boxes, confidence[seen].astype(np.float32), class_id[seen].astype(np.int32))
        frames.append(Detections(*found, embedding=embedding if looks else None))
    return frames


def cost_ms(frames: list[Detections], rounds: int = 7) -> tuple[float, int]:
    """Milliseconds of processor time per frame, and how many tracks were numbered."""
    best = float("inf")
    numbers: set[int] = set()
    for _ in range(rounds):
        tracker = Tracker(TrackerOptions(kind="tracker"), StageContext(LABELS))
        started = time.process_time()
        found = [tracker.update(seen, number * FRAME_NS) for number, seen in enumerate(frames)]
        best = min(best, (time.process_time() - started) / len(frames) * 1e3)
        numbers = {int(track_id) for one in found if one.track_id is not None for track_id in one.track_id}
    return best, len(numbers)


def main() -> int:
    """One line for each number of objects; 1 when the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, metavar="MS", help=f"exit with 1 if {JUDGED} objects cost more")
    parser.add_argument("--looks", type=int, default=0, metavar="D", help="give each object an embedding of D numbers")
    options = parser.parse_args()
    judged = 0.0
    for count in COUNTS:
        spent, numbers = cost_ms(scenes(count, options.looks))
        print(f"{count:4} objects: {spent * 1e3:6.0f} µs per frame ({numbers} tracks in {FRAMES} frames)")
        judged = spent if count == JUDGED else judged
    if options.limit is not None and judged > options.limit:
        print(f"{JUDGED} objects cost {judged:.3f} ms per frame, the limit is {options.limit:g} ms")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
