"""A gap is measured and judged from the command line, without any model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from commands import run


@pytest.mark.parametrize("width, verdict", [(40.0, "OK"), (46.5, "NG")])
def test_a_picture_is_judged_by_what_is_measured(
    width: float, verdict: str, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """A dark gap between two bright plates, enhanced, measured in millimeters and held against its limits."""
    edges = np.arange(201)
    dark = np.clip(np.minimum(edges[1:], 80 + width) - np.maximum(edges[:-1], 80), 0, 1)
    picture = np.repeat(np.tile(np.rint(200 - 150 * dark), (100, 1))[..., None], 3, axis=2).astype(np.uint8)
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"pictures/{number}.png"), picture)
    pipeline: dict[str, Any] = {
        "version": 1,
        "stages": [
            {"kind": "enhance", "operations": [{"kind": "median"}]},
            {
                "kind": "measure",
                "mm_per_px": 0.1,
                "measures": {"gap": {"kind": "caliper", "line": [[0.2, 0.5], [0.8, 0.5]], "between": "dark"}},
            },
            {"kind": "inspect", "measures": {"gap_mm": {"min": 3.9, "max": 4.1}}, "stable_s": 0},
        ],
    }
    (tmp_path / "gap.yaml").write_text(yaml.safe_dump(pipeline))
    camera = {"id": "cam", "source": {"kind": "images", "path": str(tmp_path / "pictures")}, "pipeline": "gap"}
    site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "out.jsonl"}])
    done = run("run", site)
    assert done.code == 0, done.errors
    messages = [json.loads(line) for line in (site.parent / "out.jsonl").read_text().splitlines()]
    seen = [one for one in messages if one["kind"] == "detections"]
    assert [one["measures"]["gap_mm"] for one in seen] == [pytest.approx(width / 10, abs=0.02)] * 3
    (told,) = (one["event"] for one in messages if one["kind"] == "verdict")
    assert told["verdict"] == verdict
    assert told["part"] == {"track_id": None, "class": None}
    assert len(told["reasons"]) == (verdict == "NG")
