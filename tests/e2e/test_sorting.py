"""Pictures are sorted by what they show, from the command line; and a classifier in the wrong place is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import write_mobilenet
from commands import run

SHOWN = ["cat.bmp"] * 5 + ["bird.bmp"] * 2 + ["cat.bmp"] * 2 + ["bird.bmp"] * 6 + ["grace_hopper.bmp"] * 4
SHOWN += ["sunflower.bmp"] * 4
"""Ten in a second: a cat, a bird that is gone too soon to count, a bird that stays, somebody, a flower."""


def _site(data: Path, tmp_path: Path, write_site: Callable[..., Path], pipeline: str, **settings: Any) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(SHOWN):
        (folder / f"{number:02}-{name}").symlink_to(data / "images/misc" / name)
    camera = {
        "id": "belt",
        "source": {"kind": "images", "path": str(folder), "fps": 10},
        "pipeline": pipeline,
        "with": {"model": str(write_mobilenet(tmp_path / "mobilenet", data)), "precision": "int8", **settings},
    }
    return write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "out.jsonl"}])


def test_pictures_are_sorted_by_their_class(data: Path, tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """Each class is told when it has stood for 0.3 s, once; what is not sure enough is no class."""
    settings = {"top_k": 3, "confidence": 0.3, "stable_s": 0.3}
    site = _site(data, tmp_path, write_site, "classification_sorting", **settings)
    done = run("run", site)
    assert done.code == 0, done.errors
    messages = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    changes = [one for one in messages if one["kind"] == "class_changed"]
    told = [(one["frame"]["index"], one["event"]["class"], one["event"]["previous"]) for one in changes]
    assert told == [
        (3, "tiger cat", None),
        (12, "chickadee", "tiger cat"),
        (18, None, "chickadee"),
        (22, "daisy", None),
    ]
    assert [one["event"]["previous_s"] for one in changes] == pytest.approx([0.0, 0.9, 0.6, 0.4])
    cats = changes[0]["event"]["scores"]
    assert list(cats) == ["tiger cat", "Egyptian cat", "tabby, tabby cat"]
    assert list(cats.values()) == pytest.approx([0.324, 0.219, 0.191], abs=0.01)  # as TensorFlow's interpreter has it
    seen = [one["objects"] for one in messages if one["kind"] == "detections"]
    assert [len(objects) for objects in seen] == [3] * len(SHOWN)
    assert seen[0][0]["class"] == "tiger cat"


def test_a_classifier_cannot_count_objects(data: Path, tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """A tracker needs boxes: said at `check`, with the line of the model."""
    done = run("check", _site(data, tmp_path, write_site, "object_counting"))
    assert done.code == 78
    assert "stage tracker needs box, and model mobilenet_v1_025_128 gives class" in done.errors
    assert "site.yaml:11:12: " in done.errors
