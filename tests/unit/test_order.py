"""Checks that stages which do not fit each other or their models are found at `check`, with the line."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from clips import write_clip_model
from demo_site import PARTS

from edge_vision.app.check import check_site
from edge_vision.app.order import check_order
from edge_vision.config.pipeline import Spot, StageDraft
from edge_vision.core.document import read_document
from edge_vision.core.errors import ConfigError
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.options import DetectOptions
from edge_vision.models.bundle import read_bundle


def _problems(tmp_path: Path, write_site: Callable[..., Path], stages: list[dict[str, Any]]) -> list[str]:
    """What `check` says of a pipeline of these stages, a line each, from line 3 of the file on."""
    lines = [
        "version: 1",
        "stages:",
        *(f"  - {yaml.safe_dump(one, default_flow_style=True).strip()}" for one in stages),
    ]
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    site = write_site(cameras=[{"id": "a", "source": {"kind": "synthetic"}, "pipeline": "mine"}])
    try:
        check_site(site)
    except ConfigError as error:
        return [line.partition("mine.yaml:")[2] for line in error.problems]
    return []


NO_TRACKER = "needs track_id, which no stage before it gives: put a tracker before it"
NO_DETECTOR = "needs box, which no stage before it gives: put a detect stage before it"
NO_READER = "a cascade takes a model that tells a text, a class or an embedding, without boxes"
DETECT = {"kind": "detect", "model": str(PARTS)}


@pytest.mark.parametrize(
    "stages, expected",
    [
        ([DETECT, {"kind": "tracker"}, {"kind": "lines"}], None),
        ([DETECT, {"kind": "lines"}], f"4:5: stages[1]: stage lines {NO_TRACKER}"),
        ([{"kind": "tracker"}], f"3:5: stages[0]: stage tracker {NO_DETECTOR}"),
        (
            [DETECT, {"kind": "zones", "name": "bay"}, {"kind": "tracker"}],
            f"4:5: stages[1]: stage bay {NO_TRACKER}",
        ),
        (
            [DETECT, {**DETECT, "name": "again"}],
            "4:5: stages[1]: a second detect stage would throw away what detect found: use a cascade",
        ),
        (
            [DETECT, {"kind": "cascade", "model": str(PARTS)}],
            f"4:28: stages[1].model: model {Path(PARTS).name} gives box and class: {NO_READER}",
        ),
        ([DETECT, {"kind": "cascade", "optional": True, "region": "quad"}], None),
        (
            [DETECT, {"kind": "tracker"}, {"kind": "inspect", "parts": ["bolt"], "counts": {"washers": {"min": 1}}}],
            "5:15: stages[2].counts.washers: the model has no label 'washers'; did you mean washer?",
        ),
        (
            [{"kind": "enhance"}, DETECT, {"kind": "inspect", "parts": ["bolt"]}],
            f"5:5: stages[2]: stage inspect {NO_TRACKER}",
        ),
        ([{"kind": "enhance"}, {"kind": "inspect", "measures": {"gap": {"min": 1}}}], None),
        (
            [DETECT, {"kind": "filter", "classes": ["bolts"]}],
            "4:16: stages[1].classes[0]: the model has no label 'bolts'; did you mean bolt?",
        ),
        (
            [DETECT, {"kind": "distance", "to": ["bolt", "bolts"]}],
            "4:33: stages[1].to[1]: the model has no label 'bolts'; did you mean bolt?",
        ),
        (
            [DETECT, {"kind": "distance", "heights_m": {"bolts": 0.02}}],
            "4:18: stages[1].heights_m.bolts: the model has no label 'bolts'; did you mean bolt?",
        ),
    ],
)
def test_a_stage_must_be_given_what_it_needs(
    tmp_path: Path, write_site: Callable[..., Path], stages: list[dict[str, Any]], expected: str | None
) -> None:
    """Said of the stage that lacks something, in the order of the pipeline."""
    assert _problems(tmp_path, write_site, stages) == ([] if expected is None else [expected])


def _reader(folder: Path, **output: Any) -> Path:
    """A bundle that reads digits, as far as `check` looks: its file is the demo's detector."""
    folder.mkdir()
    shutil.copyfile(Path(PARTS) / "parts.onnx", folder / "parts.onnx")
    content = {
        "version": 1,
        "name": "digits",
        "task": "recognition" if output["format"] == "ctc" else "classification",
        "files": [{"path": "parts.onnx", "format": "onnx"}],
        "input": {"size": [320, 320]},
        "output": output,
        "labels": list("0123456789"),
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


def test_a_reader_has_its_place_in_a_cascade(tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """As a detector it finds nothing; corners must be there to straighten by; what it does not tell cannot turn."""
    reader = str(_reader(tmp_path / "reader", format="ctc"))
    sorter = str(_reader(tmp_path / "sorter", format="classification"))
    cascade = {"kind": "cascade", "model": reader}
    assert _problems(tmp_path, write_site, [DETECT, cascade]) == []
    (said,) = _problems(tmp_path, write_site, [{"kind": "detect", "model": reader}])
    assert said.endswith("model digits gives text and finds no objects: it belongs into a cascade")
    (said,) = _problems(tmp_path, write_site, [DETECT, {**cascade, "region": "quad"}])
    assert "stage cascade needs quad, and model" in said
    (said,) = _problems(tmp_path, write_site, [cascade])
    assert said == f"3:5: stages[0]: stage cascade {NO_DETECTOR}"
    turn = {"region": "box", "turn": {"180": 180}}
    (said,) = _problems(tmp_path, write_site, [DETECT, {"kind": "cascade", "model": sorter, **turn}])
    assert "lay and turn belong to region quad, not to box" in said


def test_an_optional_stage_is_left_out_where_no_model_is_given(tmp_path: Path, write_site: Callable[..., Path]) -> None:
    """And a setting that reaches only that stage is a mistake, at its key."""
    reader = str(_reader(tmp_path / "reader", format="classification"))
    pipeline = {
        "version": 1,
        "stages": [DETECT, {"kind": "cascade", "name": "sort", "optional": True}],
        "expose": {"sorter": "sort.model", "margin": "sort.grow", "threads": ["detect.threads", "sort.threads"]},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(pipeline))

    def stages(**settings: Any) -> list[str]:
        camera = {"id": "a", "source": {"kind": "synthetic"}, "pipeline": "mine", "with": settings}
        return [one.kind for one in check_site(write_site(cameras=[camera])).site.cameras[0].stages]

    assert stages() == stages(threads=1) == ["detect"]
    assert stages(sorter=reader, margin=0.1) == ["detect", "cascade"]
    with pytest.raises(ConfigError, match=r"with\.margin: stage sort is left out as no model is given for it"):
        stages(margin=0.1)


def test_a_model_that_looks_at_clips_is_no_model_for_crops(tmp_path: Path) -> None:
    """A stage that shows pictures one by one would make still clips of them, and never see a movement."""

    class LookOptions(ModelStageOptions):
        kind: Literal["look"] = "look"

    folder = write_clip_model(tmp_path / "ways")
    bundle, _ = read_bundle(folder)
    assert bundle is not None
    file = tmp_path / "mine.yaml"
    file.write_text("stages:\n- {kind: look, model: ways}\n")
    document, _ = read_document(file)
    drafts = [
        StageDraft({"kind": kind, "model": "ways"}, Spot(document, ("stages", 0)), {}, options)
        for kind, options in (
            ("detect", DetectOptions(kind="detect", model=folder)),
            ("look", LookOptions(model=folder)),
        )
    ]
    (problem,) = check_order(drafts, {folder: bundle})
    text = "model ways looks at clips of 4 frames, and stage look shows it single pictures"
    assert text in str(problem)
    assert list(check_order(drafts[:1], {folder: bundle})) == []
