"""What the stages that judge places, times and distances cost per frame, with 1, 20 and 200 objects.

usage: python benchmarks/safety.py
"""

import time
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from edge_vision.analytics.context import StageContext
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import build_stage
from edge_vision.core.detections import Detections
from edge_vision.core.scene import Scene
from edge_vision.testing.fakes import make_frame

FRAMES: Final = 200
ROUNDS: Final = 5
LABELS: Final = ("person", "truck")
ZONES: Final = {"a": [[0.1, 0.1], [0.6, 0.1], [0.6, 0.9], [0.1, 0.9]], "b": [[0.5, 0.2], [0.9, 0.2], [0.9, 0.9]]}
MACHINE: Final = {"press": [[0.4, 0.4], [0.5, 0.4], [0.5, 0.5], [0.4, 0.5]]}
FLOOR: Final = {"points": [[0, 1], [1, 1], [0.7, 0], [0.3, 0]], "meters": [[0, 0], [9, 0], [9, 20], [0, 20]]}
STAGES: Final[dict[str, dict[str, Any]]] = {
    "filter": {"classes": ["person"], "min_aspect": 0.1, "zones_drop": MACHINE},
    "zones": {"zones": ZONES, "presence_s": 5},
    "dwell": {"zones": ZONES, "limit_s": 10},
    "speed": {"calibration": FLOOR, "limit_mps": 2},
    "distance": {"calibration": FLOOR},
    "proximity": {
        "calibration": FLOOR,
        "machines": MACHINE,
        "classes": ["person"],
        "to": ["truck"],
        "proximity_m": 0.5,
    },
    "crowd": {"zones": ZONES, "limit": 5},
    "smooth": {},
    "heatmap": {},
}


def scenes(count: int) -> list[Scene]:
    """Objects that walk about at random in a picture of 1080p, at 25 frames per second; every tenth is a truck."""
    rng = np.random.default_rng(count)
    places, frames = rng.uniform([100, 200], [1700, 900], (count, 2)), []
    picture = np.broadcast_to(np.zeros((), np.uint8), (1080, 1920, 3))
    for number in range(FRAMES):
        places = np.clip(places + rng.normal(0, 3, places.shape), [0, 0], [1860, 920])
        seen = Detections(
            np.concatenate([places, places + np.array([60, 160])], axis=1).astype(np.float32),
            np.full(count, 0.9, np.float32),
            (np.arange(1, count + 1) % 10 == 0).astype(np.int32),
            track_id=np.arange(1, count + 1, dtype=np.int32),
        )
        frames.append(Scene(make_frame(picture, index=number), seen, labels=LABELS))
    return frames


def main() -> None:
    """One line per stage: the best of five rounds, events and all."""
    options: TypeAdapter[AnalyticsOptions] = TypeAdapter(AnalyticsOptions)
    print(f"{'us per frame':<12}{1:>10}{20:>10}{200:>10}")
    sets = [scenes(count) for count in (1, 20, 200)]
    for kind, given in STAGES.items():
        figures = []
        for frames in sets:
            rounds = []
            for _ in range(ROUNDS):
                stage = build_stage(options.validate_python({"kind": kind, **given}), StageContext(LABELS))
                started = time.process_time()
                for scene in frames:
                    stage(scene)
                rounds.append((time.process_time() - started) / len(frames) * 1e6)
            figures.append(min(rounds))
        print(f"{kind:<12}" + "".join(f"{figure:>10.0f}" for figure in figures))


if __name__ == "__main__":
    main()
