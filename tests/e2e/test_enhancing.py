"""A lens is straightened on the road from the command line, and one that does not fit is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run

LENS: dict[str, Any] = {
    "camera_matrix": [[500, 0, 320], [0, 500, 180], [0, 0, 1]],
    "distortion_coefficients": [-0.2, 0.05, 0, 0],
}


def _site(write_site: Callable[..., Path], folder: Path, wh: tuple[int, int], **source: Any) -> Path:
    """Two frames of a rendered line, straightened and measured."""
    (folder / "lens.json").write_text(json.dumps({**LENS, "image_width": wh[0], "image_height": wh[1]}))
    pipeline = {
        "version": 1,
        "stages": [
            {"kind": "enhance", "operations": [{"kind": "undistort", "file": "lens.json", "keep": 1.0}]},
            {"kind": "measure", "measures": {"rim": {"kind": "brightness", "region": [0.48, 0, 0.52, 0.01]}}},
        ],
    }
    (folder / "straight.yaml").write_text(yaml.safe_dump(pipeline))
    camera = {
        "id": "cam",
        "source": {"kind": "synthetic", "frames": 2, "realtime": False, **source},
        "pipeline": "straight",
    }
    return write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "out.jsonl"}])


@pytest.mark.parametrize("wh", [(640, 360), (500, 300)])
def test_a_lens_is_straightened(wh: tuple[int, int], write_site: Callable[..., Path], tmp_path: Path) -> None:
    """Later stages see the straight picture: all of it kept, there is nothing at the middle of its upper side."""
    site = _site(write_site, tmp_path, wh, size=list(wh))
    done = run("run", site)
    assert done.code == 0, done.errors
    messages = [json.loads(line) for line in (site.parent / "out.jsonl").read_text().splitlines()]
    seen = [one for one in messages if one["kind"] == "detections"]
    assert len(seen) == 2
    assert all(one["measures"]["rim"] < 20 for one in seen)
    assert (seen[0]["frame"]["width"], seen[0]["frame"]["height"]) == wh


def test_frames_of_another_size_are_told(write_site: Callable[..., Path], tmp_path: Path) -> None:
    """The file, its size and that of the frames; the run does not end as if all were well."""
    site = _site(write_site, tmp_path, (1280, 720), size=[640, 360])
    done = run("run", site)
    assert done.code == 70
    assert "lens.json was made with pictures of 1280x720, the frames have 640x360" in done.errors
