"""`edge-vision try` with any pipeline: what it draws, and what it says happened."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from commands import run
from conftest import ROOT
from face_bundles import write_yunet

PARTS = ROOT / "configs/demo/parts"
WHOLE = "zones={room: [[0, 0], [1, 0], [1, 1], [0, 1]]}"


@pytest.fixture
def visit(data: Path, tmp_path: Path) -> Path:
    """The first visit of the room, and the second before and after it."""
    truth = json.loads((data / "video/ground_truth.json").read_text())["one-by-one-person-detection.mp4"]
    first, last = truth["visit_frames"][0]
    reader = cv2.VideoCapture(str(data / "video/one-by-one-person-detection.mp4"), cv2.CAP_FFMPEG)
    frames = [reader.read()[1] for _ in range(last + 20)][max(0, first - 10) :]
    reader.release()
    size = (frames[0].shape[1], frames[0].shape[0])
    writer = cv2.VideoWriter(str(tmp_path / "visit.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return tmp_path / "visit.avi"


def test_a_clip_is_drawn_with_what_happened_in_it(visit: Path, yolox: Path, tmp_path: Path) -> None:
    """One person visits a room: `try` tells the events that a site publishes, and writes them as messages."""
    drawn, told = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    given = ["--pipeline", "object_counting", "--with", f"model={yolox}", "--with", "classes=[person]", "--with", WHOLE]
    done = run("try", visit, *given, "-o", drawn, "--events", told)
    assert done.code == 0, done.errors
    assert done.output.endswith("\nevents: 3 count, 1 zone_entered, 1 zone_left\n")
    messages = [json.loads(line) for line in told.read_text().splitlines()]
    zones = [(one["kind"], one["seq"]) for one in messages if one["kind"] != "count"]
    assert zones == [("zone_entered", 1), ("zone_left", 1)]
    assert [one["event"]["total"] for one in messages if one["kind"] == "count"] == [0, 1, 0]
    before, after = _frames(visit), _frames(drawn)
    assert len(before) == len(after)
    entered, counted = (messages[at]["frame"]["index"] for at in (1, 2))
    # The banner "room: person 1 entered", for the ten frames of the second after it, and that of the count, half a
    # second later: light on dark, at the bottom.
    assert counted == entered + 5
    banners = [float(picture[-20:, :200].mean()) for picture in after]
    clip = [float(picture[-20:, :200].mean()) for picture in before]
    assert [abs(one - other) > 25 for one, other in zip(banners, clip, strict=True)][entered : entered + 17] == [
        *[True] * 15, *[False] * 2,
    ]  # fmt: skip


def _frames(clip: Path) -> list[np.ndarray]:
    reader = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG)
    frames = [picture for _, picture in iter(reader.read, (False, None))]
    reader.release()
    return frames


def test_a_picture_is_followed_long_enough_to_be_counted(data: Path, yolox: Path, tmp_path: Path) -> None:
    """A tracker hands on what it has seen in three frames: a picture is shown to it as a camera that stands still."""
    given = ["--pipeline", "object_counting", "--model", str(yolox), "--with", WHOLE]
    done = run("try", data / "images/misc/dog.jpg", *given, "-o", tmp_path / "out.png")
    assert done.code == 0, done.errors
    assert "1 frame on" in done.output
    assert "1 dog" in done.output
    assert "zone_entered" in done.output


def test_every_picture_of_a_folder_is_drawn(data: Path, tmp_path: Path) -> None:
    """Into a folder that is made for it, under the same names; a model without a `model` key of its own kind, too."""
    faces = write_yunet(tmp_path / "yunet", data)
    source, target = tmp_path / "in", tmp_path / "made/out"
    source.mkdir()
    names = ["a.jpg", "b.png"]
    picture = cv2.imread(str(next((data / "images/misc").glob("*.jpg"))))
    assert picture is not None
    for name in names:
        cv2.imwrite(str(source / name), picture)
    (source / "notes.txt").write_text("no picture")
    (source / "c.jpg").write_text("no picture either")
    done = run("try", source, "--model", faces, "-o", target)
    assert done.code == 0, done.errors
    assert "2 frames" in done.output
    assert "c.jpg: is not a picture that can be decoded, and is left out" in done.errors
    assert sorted(file.name for file in target.iterdir()) == names
    assert all(cv2.imread(str(file)) is not None for file in target.iterdir())


def test_a_pipeline_without_a_model_needs_none(tmp_path: Path) -> None:
    """`--model` is a short form of `--with model=`, no more."""
    (tmp_path / "bare.yaml").write_text("stages: [{kind: count, stable_s: 0}]\nexpose: {every: count.period_s}\n")
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((48, 64, 3), np.uint8))
    done = run("try", "in.png", "--pipeline", "bare.yaml", "-o", "out.png", "--model", PARTS, cwd=tmp_path)
    assert done.code == 78
    assert "--with model: pipeline bare exposes no 'model'; known: every" in done.errors


def test_try_says_what_is_missing(tmp_path: Path) -> None:
    """Each key by its name, in one go; nothing is written."""
    two = {"kind": "detect"}, {"kind": "filter"}
    mine = {"stages": [*two], "expose": {"detector": "detect.model", "least": "filter.min_confidence"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((48, 64, 3), np.uint8))
    done = run("try", "in.png", "--pipeline", "mine.yaml", "--with", "least=2", "-o", "out.png", cwd=tmp_path)
    assert done.code == 78
    assert done.errors.splitlines() == [
        "--with detector: this key is required",
        "--with least: must be at most 1, not 2",
    ]
    assert not (tmp_path / "out.png").exists()
    done = run("try", "in.png", "--pipeline", "mine.yaml", "--with", f"detector={PARTS}", "-o", "out.png", cwd=tmp_path)
    assert done.code == 0, done.errors
    assert (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["in", "-o", "taken.png"], 2, "taken.png: is a file; pictures of a folder go to a folder"),
        (["empty", "-o", "out"], 70, "empty: holds no pictures"),
        (["broken", "-o", "out"], 70, "broken: no picture in it can be decoded"),
        (["in/a.png", "-o", "out.mp4"], 2, "a picture goes to a picture"),
        (["in/a.png", "-o", "out.png", "--events", "in/a.png"], 2, "write events to another file"),
        (["in/a.png", "-o", "out.png", "--events", "nowhere/a.jsonl"], 78, "nowhere/a.jsonl: No such file"),
        (["in", "-o", "in"], 2, "is the input"),
        (["in/a.png", "-o", "out.png", "--with", "model=x"], 78, "--with model=x: model is given twice"),
        (["in/a.png", "-o", "out.png", "--with", "classes=[a"], 78, "the value is not valid YAML"),
        (["in/a.png", "-o", "out.png", "--with", "classes=[no]"], 78, "the model has no label 'no'"),
    ],
)
def test_try_refuses_what_cannot_be(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    """A sentence, the right exit code, and the input as it was."""
    (tmp_path / "in").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_bytes(b"no picture")
    cv2.imwrite(str(tmp_path / "in/a.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "taken.png").write_bytes(b"mine")
    before = (tmp_path / "in/a.png").read_bytes()
    done = run("try", *arguments, "--model", PARTS, cwd=tmp_path)
    assert (done.code, words in done.errors) == (code, True), done.errors
    assert (tmp_path / "in/a.png").read_bytes() == before
    assert (tmp_path / "taken.png").read_bytes() == b"mine"
