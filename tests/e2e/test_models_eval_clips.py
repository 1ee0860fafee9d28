"""`edge-vision models eval` on clips and crops: tracks, counts and readings beside what is known of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundles import write_bundle, write_vehicles
from commands import models, run

from edge_vision.cli.command import run_command

ACROSS = "lines={gate: [[0.0, 0.5], [1.0, 0.5]]}"
CARS = ("--with", "precision=int8", "--with", "classes=[vehicle]", "--with", "confidence=0.3", "--with", ACROSS)

INT8 = ("--with", "precision=int8")
"""What the detector of vehicles has files for."""


@pytest.fixture(scope="module")
def vehicles(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 detector of vehicles."""
    return write_vehicles(tmp_path_factory.mktemp("vehicles") / "model", data)


def test_the_tracker_alone_is_measured_on_what_a_detector_saw(data: Path) -> None:
    """The figures that the tracker is held to, in a sentence and as JSON."""
    folder = data / "tracking/one-by-one"
    arguments = ("eval", "--tracks", folder / "gt.txt", "--detections", folder / "det.txt", "--fps", "10")
    done = models(*arguments)
    assert done.code == 0, done.errors
    assert "IDF1 0.99" in done.output
    assert "0 switches, 6 identities for 6 objects" in done.output
    facts = json.loads(models(*arguments, "--json").output)
    assert (facts["switches"], facts["identities"], facts["objects"]) == (0, 6, 6)
    assert facts["idf1"] >= 0.95


@pytest.mark.full
def test_a_pipeline_is_measured_on_a_clip(data: Path, yolox: Path) -> None:
    """Six people, as the real detector sees them and the real pipeline follows them."""
    clip = data / "video/one-by-one-person-detection.mp4"
    truth = data / "tracking/one-by-one/gt.txt"
    done = models("eval", yolox, "--tracks", truth, "--clip", clip, "--with", "classes=[person]", "--json")
    assert done.code == 0, done.errors
    facts = json.loads(done.output)
    assert (facts["switches"], facts["identities"], facts["objects"]) == (0, 6, 6)
    assert facts["idf1"] >= 0.95


def test_a_run_agrees_with_its_own_tracks_until_two_are_exchanged(
    data: Path, vehicles: Path, write_site: Callable[..., Path], tmp_path: Path
) -> None:
    """What `run` published, written as known tracks: all is right; a number changed half way is one switch."""
    settings: dict[str, Any] = {"model": str(vehicles), "precision": "int8", "classes": ["vehicle"], "confidence": 0.3}
    clip = data / "video/car-detection.mp4"
    camera = {"id": "cam", "source": {"kind": "file", "path": str(clip)}, "pipeline": "object_counting"}
    site = write_site(cameras=[{**camera, "with": settings}], publish=[{"kind": "jsonl", "path": "out.jsonl"}])
    assert run("run", site).code == 0
    messages = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    rows = [
        (one["frame"]["index"] + 1, found["track_id"], *found["xyxy"])
        for one in messages
        if one["kind"] == "detections"
        for found in one["objects"]
    ]
    longest = max({row[1] for row in rows}, key=lambda number: sum(row[1] == number for row in rows))
    middle = sorted(row[0] for row in rows if row[1] == longest)[10]
    for file, other in (("same.txt", longest), ("changed.txt", 99)):
        lines = [
            f"{frame},{other if number == longest and frame > middle else number},{x},{y},{right - x},{bottom - y}"
            for frame, number, x, y, right, bottom in rows
        ]
        (tmp_path / file).write_text("\n".join(lines))
    base = ("eval", vehicles, "--clip", clip, *CARS[:6], "--json")
    same, changed = (
        json.loads(models(*base, "--tracks", tmp_path / name).output) for name in ("same.txt", "changed.txt")
    )
    assert (same["mota"], same["idf1"], same["switches"]) == (1.0, 1.0, 0)
    assert same["identities"] == same["objects"] == changed["objects"] - 1
    assert changed["idf1"] < 1.0


def _counts(folder: Path, **content: Any) -> Path:
    file = folder / "counts.yaml"
    file.write_text(yaml.safe_dump({"version": 1, **content}))
    return file


def test_cars_are_counted_as_a_person_counted_them(data: Path, vehicles: Path, tmp_path: Path) -> None:
    """0 and a table when all is as expected; 1 when not, with both numbers."""
    truth = json.loads((data / "video/ground_truth.json").read_text())["car-detection.mp4"]
    ways = {"in": truth["crossings_down"], "out": truth["crossings_up"]}
    base = ("eval", vehicles, "--clip", data / "video/car-detection.mp4", *CARS)
    expected = _counts(tmp_path, lines={"gate": {"total": ways, "classes": {"vehicle": ways}}})
    done = models(*base, "--counts", expected)
    assert done.code == 0, done.output + done.errors
    assert "all as expected" in done.output
    assert done.output.count("2        2") == 4
    wrong = _counts(tmp_path, lines={"gate": {"total": {"in": 3}}}, picture=[[0, 0], [4, 7]])
    done = models(*base, "--counts", wrong, "--json")
    assert done.code == 1
    facts = json.loads(done.output)
    rows = {(row["what"], row["expected"]): row for row in facts["rows"]}
    assert rows["line gate in", 3]["counted"] == 2
    assert rows["picture", 7]["counted"] is None
    assert rows["picture", 0]["equal"]
    assert facts["different"] == sum(not row["equal"] for row in facts["rows"]) >= 2


def test_plates_are_read_as_often_as_is_known(data: Path, tmp_path: Path) -> None:
    """LPRNet on a hundred crops: 91 exactly, as the reference reads them; the others are named."""
    bundle = write_bundle(
        tmp_path / "lprnet",
        data / "models/lprnet",
        {
            "name": "lprnet",
            "task": "recognition",
            "files": [{"path": "lprnet.onnx", "format": "onnx"}],
            "input": {"size": [94, 24], "color": "bgr", "resize": "stretch", "mean": [127.5] * 3, "std": [128] * 3},
            "output": {"format": "ctc", "layout": "nct", "blank": 67},
            "labels": (data / "models/lprnet/chars.txt").read_text(encoding="utf-8").split(),
        },
    )
    folder = data / "images/plates_crop"
    done = models("eval", bundle, "--texts", folder / "labels.csv", "--images", folder, "--json")
    assert done.code == 0, done.errors
    facts = json.loads(done.output)
    assert (facts["exact"], facts["images"], len(facts["wrong"])) == (91, 100, 9)
    assert facts["error_rate"] == pytest.approx(0.0157, abs=0.0005)
    done = models("eval", bundle, "--texts", folder / "labels.csv", "--images", folder)
    assert "lprnet: 91 of 100 read exactly, character error rate 0.0157" in done.output


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--tracks", "gt.txt"), "--tracks needs BUNDLE"),
        (("model", "--tracks", "gt.txt"), "--tracks needs --clip"),
        (("--tracks", "gt.txt", "--detections", "det.txt"), "--tracks needs --fps"),
        (("--tracks", "gt.txt", "--detections", "det.txt", "--fps", "0"), "must be a number from 0.01 to 1000"),
        (("--tracks", "gt.txt", "--detections", "d.txt", "--fps", "9", "--with", "a=1"), "--with does nothing with"),
        (("model", "--counts", "c.yaml", "--clip", "c.mp4", "--backend", "openvino"), "--backend does nothing with"),
        (("model", "--counts", "c.yaml", "--coco", "a.json", "--clip", "c.mp4"), "not allowed with argument"),
        (("model", "--texts", "labels.csv"), "--texts needs --images"),
        (("model", "--texts", "labels.csv", "--images", "here", "--iou", "0.5"), "--iou does nothing with --texts"),
        (("model", "--images", "here"), "is required"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is known decides what else has to be given, and what would do nothing."""
    with pytest.raises(SystemExit) as ended:
        run_command(["models", "eval", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--tracks", "absent.txt", "--clip", "{clip}"), "absent.txt: no such file"),
        (("--tracks", "{gt}", "--clip", "absent.mp4"), "absent.mp4: no such file"),
        (("--tracks", "{gt}", "--clip", "{clip}", *INT8, "--pipeline", "object_detection"), "has no tracker"),
        (
            ("--counts", "{counts}", "--clip", "{clip}", *INT8),
            "counts.yaml:2:9: lines.gaet: the pipeline has no such line",
        ),
        (("--counts", "{gt}", "--clip", "{clip}", *INT8), "gt.txt:1:1"),
        (("--texts", "{gt}", "--images", "{images}"), "needs the columns file and text (or plate)"),
        (("--texts", "{labels}", "--images", "{images}"), "and reads no text"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: tuple[str, ...],
    words: str,
    data: Path,
    vehicles: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Files that are not what they should be, a pipeline that cannot do it: 78, before any model is loaded."""
    (tmp_path / "counts.yaml").write_text("version: 1\nlines: {gaet: {total: {in: 3}}}\n")
    places = {
        "gt": data / "tracking/one-by-one/gt.txt",
        "clip": data / "video/car-detection.mp4",
        "images": data / "images/plates_crop",
        "labels": data / "images/plates_crop/labels.csv",
        "counts": tmp_path / "counts.yaml",
    }
    assert run_command(["models", "eval", str(vehicles), *(word.format(**places) for word in arguments)]) == 78
    assert words in capsys.readouterr().err
