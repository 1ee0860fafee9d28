"""A network that looks at clips runs from the command line: it tells which way things move, and only when it can."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import EDGE, FRAMES, SURE, square, walk, write_clip_model
from commands import models, run
from numpy.typing import NDArray

ROUTE = ["right"] * 6 + ["down"] * 6


def _run(write_site: Callable[..., Path], model: Path, source: dict[str, Any], *backends: str) -> tuple[Any, str]:
    """The messages about frames, and what was logged."""
    camera = {"id": "cam", "source": source, "pipeline": "object_detection"}
    camera["with"] = {"model": str(model), "backends": list(backends)}
    site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}])
    done = run("run", site)
    assert done.code == 0, done.errors
    messages = [json.loads(line) for line in done.output.splitlines()]
    return [one for one in messages if one["kind"] == "detections"], done.errors


def _pictures(folder: Path, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    folder.mkdir()
    for number, image in enumerate(images):
        assert cv2.imwrite(str(folder / f"{number:03}.png"), image)
    return {"kind": "images", "path": str(folder), "fps": 25}


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("layout", ["ncthw", "nthwc"])
def test_which_way_a_square_moves(layout: str, backend: str, tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """The score is the one worked out by hand, wherever all four frames go one way; before there are four, nothing."""
    model = write_clip_model(tmp_path / "ways", layout=layout)
    source = _pictures(tmp_path / "pictures", walk(ROUTE))
    messages, _ = _run(write_site, model, source, backend)
    assert len(messages) == len(ROUTE) + 1
    assert {one["model"]["backend"] for one in messages} == {backend}
    for one in messages:
        last = one["frame"]["index"]
        steps = ROUTE[max(0, last - FRAMES + 1) : last]
        if last < FRAMES - 1:
            assert one["objects"] == []
            continue
        (found,) = one["objects"]
        assert found["class"] in steps
        assert found["xyxy"] == [0, 0, EDGE, EDGE]
        if len(set(steps)) == 1:
            assert found["confidence"] == pytest.approx(SURE, abs=2e-4)


def test_a_recording_is_looked_at_at_the_rate_of_the_network(tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """A file of 25 frames per second for a network of 12.5: every second one; the answer stands until the next."""
    film = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 25, (EDGE, EDGE))
    for image in walk(["right"] * 8 + ["down"] * 8, step=0.5):
        writer.write(image)
    writer.release()
    source = {"kind": "file", "path": str(film)}
    messages, _ = _run(write_site, write_clip_model(tmp_path / "rated", fps=12.5), source, "onnxruntime")
    assert [len(one["objects"]) for one in messages] == [0] * 6 + [1] * 11
    told = [(one["objects"][0]["class"], one["objects"][0]["confidence"]) for one in messages[6:]]
    assert told[0::2][:5] == told[1::2]
    assert [name for name, _ in told[:4] + told[8:]] == ["right"] * 4 + ["down"] * 3
    assert [score for _, score in told[:4] + told[8:]] == pytest.approx([SURE] * 7, abs=0.02)  # the codec leaves traces
    messages, _ = _run(write_site, write_clip_model(tmp_path / "unrated"), source, "onnxruntime")
    assert [len(one["objects"]) for one in messages] == [0] * 3 + [1] * 14
    assert max(one["objects"][0]["confidence"] for one in messages[3:]) < 0.95  # twice too slow to be sure


def test_opencv_is_passed_over_and_golden_pictures_are_still_clips(
    tmp_path: Path, write_site: Callable[..., Path]
) -> None:
    """The reason is told; golden data are made, serve the gate, and show an input that was changed."""
    model = write_clip_model(tmp_path / "ways")
    still = _pictures(tmp_path / "still", [square(5, 6), square(2, 9)])
    done = models("golden", model, "--images", still["path"])
    assert done.code == 0, done.errors
    messages, log = _run(write_site, model, _pictures(tmp_path / "p", walk(ROUTE)), "opencv_dnn", "openvino")
    (line,) = (line for line in log.splitlines() if "opencv_dnn passed over" in line)
    assert "does not run networks that look at clips (input [1, 3, 4, 16, 16])" in line
    assert "unverified: 2 of 2 objects found" in log
    assert [len(one["objects"]) for one in messages] == [0] * 3 + [1] * 10
    done = models("check", model)
    print(done.output, done.errors)
    assert "ways.onnx: opencv_dnn cannot run it: " in done.output + done.errors  # and no node is blamed
    assert "does not run networks that look at clips" in done.output + done.errors
    text = (model / "model.yaml").read_text()
    (model / "model.yaml").write_text(text.replace("  layout:", "  mean: [0.1, 0.1, 0.1]\n  layout:"))
    done = models("verify", model)
    assert done.code != 0
    assert "gray levels" in done.output + done.errors


def test_a_clip_model_is_imported(tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """Five axes tell the layout and the number of frames."""
    made = write_clip_model(tmp_path / "ways")
    labels = tmp_path / "labels.txt"
    labels.write_text("right\nleft\ndown\nup\n")
    done = models("import", made / "ways.onnx", "-o", tmp_path / "imported", "--labels", labels)
    assert done.code == 0, done.errors
    text = (tmp_path / "imported/model.yaml").read_text()
    assert "layout: ncthw" in text
    assert "frames: 4" in text
    del write_site


def test_a_network_of_other_clips_is_an_error_at_start(tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """The warm-up fills the clip, so that outputs that do not fit show before the first camera."""
    model = write_clip_model(tmp_path / "ways")
    text = (model / "model.yaml").read_text().replace("- up\n", "- up\n- still\n")
    (model / "model.yaml").write_text(text)
    camera = {"id": "cam", "source": {"kind": "synthetic"}, "pipeline": "object_detection"}
    camera["with"] = {"model": str(model), "backends": ["onnxruntime"]}
    site = write_site(cameras=[camera], publish=[{"kind": "jsonl", "path": "-"}])
    done = run("run", site)
    assert done.code == 78
    assert "5 labels" in done.errors
