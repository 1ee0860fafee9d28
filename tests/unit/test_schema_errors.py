"""Checks that what is wrong in a file is said in a sentence, in its place, and without secrets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_vision.config.options import PipelineFile, SiteFile
from edge_vision.config.pipeline import read_pipeline
from edge_vision.core.document import read_document
from edge_vision.core.options import Options
from edge_vision.core.schema_errors import did_you_mean, validate
from edge_vision.models.options import FORMATS, BundleFile
from edge_vision.postprocess.table import FORMATS as OUTPUTS

RTSP = {"kind": "rtsp", "url": "rtsp://cam/1"}
MODEL = {
    "version": 1,
    "name": "m",
    "task": "detection",
    "files": [{"path": "m.onnx", "format": "onnx"}],
    "input": {"size": [64, 64]},
    "output": {"format": "yolox"},
    "labels": ["a"],
}

Problems = Callable[[type[Options], Any], list[str]]


@pytest.fixture(name="problems")
def _problems(tmp_path: Path) -> Problems:
    """What is wrong with a content, as "path: text"."""

    def problems(model: type[Options], content: Any) -> list[str]:
        file = tmp_path / "file.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        document, syntax = read_document(file)
        assert syntax == []
        parsed, found = validate(document, model)
        assert (parsed is None) == bool(found)
        return [f"{problem.path}: {problem.text}" for problem in found]

    return problems


def _site(source: Any = None, **camera: Any) -> dict[str, Any]:
    one = {"id": "gate", "source": RTSP if source is None else source, "pipeline": "p", **camera}
    return {"version": 1, "site": "s", "cameras": [one]}


def test_a_right_file_has_no_problems(problems: Problems) -> None:
    """The examples the others are made from are right themselves."""
    assert problems(SiteFile, _site()) == []
    assert problems(BundleFile, MODEL) == []


@pytest.mark.parametrize(
    "content, expected",
    [
        (None, ["version: this key is required", "site: this key is required", "cameras: this key is required"]),
        ([1], [": must be a mapping of keys to values, not a list"]),
        ("text", [": must be a mapping of keys to values, not 'text'"]),
        ({**_site(), "camera": 1}, ["camera: unknown key; did you mean cameras?"]),
        (
            {**_site(), "zzz": 1},
            ["zzz: unknown key; known: backends, cameras, evidence, outbox, publish, site, state_dir, version"],
        ),
        ({**_site(), "version": 2}, ["version: must be 1, not 2"]),
        ({**_site(), "site": "Not Good"}, ["site: 'Not Good' does not match ^[a-z0-9][a-z0-9_-]{0,31}$"]),
        ({**_site(), "site": 7}, ["site: must be text, not 7"]),
        ({**_site(), "site": True}, ["site: must be text, not true"]),
        ({**_site(), "site": None}, ["site: must be text, not nothing"]),
        ({**_site(), "cameras": {}}, ["cameras: must be a list, not a mapping"]),
        ({**_site(), "cameras": []}, ["cameras: has 0 items, must have at least 1"]),
        ({**_site(), "cameras": [7]}, ["cameras[0]: must be a mapping of keys to values, not 7"]),
        ({**_site(), "publish": [{"kind": "jsonl"}]}, ["publish[0].path: this key is required"]),
        (_site(priority=10), ["cameras[0].priority: must be at most 9, not 10"]),
        (_site(priority=-1), ["cameras[0].priority: must be at least 0, not -1"]),
        (_site(priority=1.5), ["cameras[0].priority: must be a whole number, not 1.5"]),
        (_site(priority="high"), ["cameras[0].priority: must be a whole number, not 'high'"]),
        (_site(settings={}), ["cameras[0].settings: unknown key; known: id, pipeline, priority, source, with"]),
        (_site({}),
         ["cameras[0].source: needs a kind, one of rtsp, http, v4l2, file, images, synthetic, av"]),
        (_site({"kind": "rstp"}), ["cameras[0].source.kind: unknown kind 'rstp'; did you mean rtsp?"]),
        (_site("cam"), ["cameras[0].source: must be a mapping of keys to values, not 'cam'"]),
        (_site({"kind": "rtsp"}), ["cameras[0].source.url: this key is required"]),
        (_site({**RTSP, "ulr": 1}), ["cameras[0].source.ulr: unknown key; did you mean url?"]),
        (_site({**RTSP, "open_timeout_s": 0}), ["cameras[0].source.open_timeout_s: must be more than 0, not 0"]),
        (_site({**RTSP, "open_timeout_s": "1s"}), ["cameras[0].source.open_timeout_s: must be a number, not '1s'"]),
        (_site({**RTSP, "read_timeout_s": [1]}), ["cameras[0].source.read_timeout_s: must be a number, not a list"]),
        (_site({"kind": "file", "path": "a", "loop": "perhaps"}),
         ["cameras[0].source.loop: must be true or false, not 'perhaps'"]),
        (_site({"kind": "synthetic", "size": [640, 360, 3]}),
         ["cameras[0].source.size: has 3 items, must have at most 2"]),
        (_site({"kind": "synthetic", "size": [640, 9000]}),
         ["cameras[0].source.size[1]: must be at most 8192, not 9000"]),
        (_site({**RTSP, "username": "u", "password": {"evn": "A"}}),
         ["cameras[0].source.password.evn: unknown key; did you mean env?"]),
        (_site({**RTSP, "username": "u", "password": {}}),
         ["cameras[0].source.password: a secret is exactly one of {env: NAME}, {file: PATH}, {credential: NAME}"]),
        (_site({"kind": "file", "file": "a.mp4", "path": "a"}),
         ["cameras[0].source.file: unknown key; known: decoder_threads, kind, loop, path, realtime"]),
        (_site({"kind": "file", "file": "a.mp4"}),
         ["cameras[0].source.path: this key is required",
          "cameras[0].source.file: unknown key; known: decoder_threads, kind, loop, path, realtime"]),
        (_site({"kind": "synthetic", "size": [640]}),
         ["cameras[0].source.size: has 1 items, must have at least 2"]),
    ],
)  # fmt: skip
def test_a_wrong_site_file_is_explained(content: Any, expected: list[str], problems: Problems) -> None:
    """Where, what it must be, what it is instead; and nothing else."""
    assert problems(SiteFile, content) == expected


@pytest.mark.parametrize(
    "more, expected",
    [
        ({"files": []}, ["files: has 0 items, must have at least 1"]),
        ({"files": [{"path": "", "format": "onnx"}]},
         ["files[0].path: string should have at least 1 character, not ''"]),
        ({"files": [{"path": "m", "format": "onx"}]},
         [f"files[0].format: must be one of {', '.join(FORMATS)} (did you mean onnx?), not 'onx'"]),
        ({"files": [{"path": "/m", "format": "onnx"}]},
         ["files[0].path: must lie inside the bundle: a relative path without .."]),
        ({"files": [{"path": "m", "format": "onnx", "sha256": "A" * 64}]},
         [f"files[0].sha256: '{'A' * 57}...' does not match ^[0-9a-f]{{64}}$"]),
        ({"labels": None}, [": needs exactly one of labels and labels_file"]),
        ({"labels_file": "l.txt"}, [": needs exactly one of labels and labels_file"]),
        ({"input": {"size": [64, 64], "mean": [1.0]}}, ["input: mean has 1 values, color rgb has 3 channels"]),
        ({"output": {"format": "yolo11"}}, ["output.format: unknown format 'yolo11'; did you mean yolox?"]),
        ({"output": {"format": "yolox", "stride": [8]}}, ["output.stride: unknown key; did you mean strides?"]),
        ({"thresholds": {"confidence": 1.5}}, ["thresholds.confidence: must be at most 1, not 1.5"]),
        ({"thresholds": {"confidence": float("inf")}}, ["thresholds.confidence: must be a finite number, not inf"]),
        ({"source": {"licence": "MIT"}}, ["source.licence: unknown key; did you mean license?"]),
        ({"output": {"strides": [8]}}, [f"output: needs a format, one of {', '.join(OUTPUTS)}"]),
    ],
)  # fmt: skip
def test_a_wrong_model_file_is_explained(more: dict[str, Any], expected: list[str], problems: Problems) -> None:
    """The same for model.yaml."""
    found = problems(BundleFile, {**MODEL, **more})
    if "did you mean yolox?" in expected[0]:  # which of the near ones is nearest is difflib's business
        assert found[0].startswith("output.format: unknown format 'yolo11'; did you mean yolo")
    else:
        assert found == expected


@pytest.mark.parametrize(
    "target, expected",
    [
        (7, ["expose.a: must be text or a list, not 7"]),
        (None, ["expose.a: must be text or a list, not nothing"]),
        ([], ["expose.a: has 0 items, must have at least 1"]),
        (["b.c", 7], ["expose.a[1]: must be text, not 7"]),
        ([7, ["x"]], ["expose.a[0]: must be text, not 7", "expose.a[1]: must be text, not a list"]),
        ({"b": "c"}, ["expose.a: must be text or a list, not a mapping"]),
    ],
)
def test_a_choice_of_types_is_explained_once(target: Any, expected: list[str], problems: Problems) -> None:
    """Of what may be text or a list: what is wrong with the one that was meant, without the names pydantic has."""
    assert problems(PipelineFile, {"stages": [{"kind": "filter"}], "expose": {"a": target}}) == expected


@pytest.mark.parametrize(
    "lines, expected",
    [
        ({"gate": [[0, 0]]}, "lines.gate: has 1 items, must have at least 2"),
        ({"gate": [[0, 0], [1]]}, "lines.gate[1]: has 1 items, must have at least 2"),
        ({"Gate": [[0, 0], [1, 1]]}, "lines.Gate: 'Gate' does not match ^[a-z0-9][a-z0-9_-]{0,31}$"),
    ],
)
def test_a_stage_named_like_its_option_is_explained(lines: Any, expected: str, tmp_path: Path) -> None:
    """The stage `lines` has an option `lines`: one is not taken for the other."""
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "stages": [{"kind": "lines", "lines": lines}]}))
    _, problems = read_pipeline(file, {})
    assert [f"{problem.path}: {problem.text}" for problem in problems] == [f"stages[0].{expected}"]


def test_every_problem_is_found_at_once(problems: Problems) -> None:
    """One wrong value hides no other, and a wrong item does not make its list too short."""
    content = {"version": 1, "site": "S!", "cameras": [{"id": 1, "source": {"kind": "rtsp"}, "pipeline": "p", "x": 1}]}
    assert sorted(text.partition(":")[0] for text in problems(SiteFile, content)) == [
        "cameras[0].id", "cameras[0].source.url", "cameras[0].x", "site",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        {**RTSP, "url": "rtsp://bob:hunter2@cam/1"},
        {**RTSP, "url": ["rtsp://bob:hunter2@cam/1"]},
        {**RTSP, "username": "u", "password": {"value": "hunter2"}},
        {**RTSP, "username": "u", "password": ["hunter2"]},
        {**RTSP, "username": {"bob": "hunter2"}},
        {"kind": "rtsp://bob:hunter2@cam/1"},
        "rtsp://bob:hunter2@cam/1",
        {**RTSP, "username": "u", "password": "hunter2"},
        {"kind": "rtsp", "url": "rtsp://cam/1", "username": "u", "password": 4711_4711},
    ],
)
def test_no_problem_repeats_a_secret(source: Any, problems: Problems) -> None:
    """Errors end up in journals: a password in the wrong place is refused and not shown."""
    (text,) = problems(SiteFile, _site(source))
    for word in ("bob", "hunter2", "47114711"):
        assert word not in text


@pytest.mark.parametrize(
    "sink, expected",
    [
        ({"kind": "mqtt", "tls": {"key_password": "hunter2"}}, "tls.key_password: must be a mapping of keys to values"),
        ({"kind": "mqtt", "username": "u", "password": {"hunter2": None}}, "password: a hidden key is unknown"),
        ({"kind": "zeromq", "curve": {"secret_key": {"hunter2": None}}}, "secret_key: a hidden key is unknown"),
        ({"kind": "http", "headers": {"Authorization: hunter2": {"env": "A"}}}, "headers: a hidden key is no name"),
    ],
)
def test_a_secret_in_the_place_of_its_reference_is_not_repeated(
    sink: dict[str, Any], expected: str, problems: Problems
) -> None:
    """Plain text where {env: NAME} belongs, `{hunter2}`, which YAML takes for a key, and a header in one piece."""
    told = problems(SiteFile, {**_site(), "publish": [sink]})
    assert any(expected in line for line in told), told
    assert "hunter2" not in "".join(told)


def test_a_long_value_is_cut(problems: Problems) -> None:
    """An error stays a line that can be read."""
    (text,) = problems(SiteFile, {**_site(), "site": "x" * 500})
    assert len(text) < 150


@pytest.mark.parametrize(
    "stage, expected",
    [
        ({"kind": "filter", "min_confidnce": 1}, "min_confidnce: unknown key; did you mean min_confidence?"),
        ({"kind": "filtr"}, "unknown kind 'filtr'; did you mean filter?"),
        ({"kind": "detect"}, "model: this key is required"),
        ({"kind": "detect", "model": "m", "backends": ["onnx"]}, "backends[0]: must be one of tensorrt, openvino"),
        ({"kind": "detect", "model": "m", "backends": ["openvino", "openvino"]}, "openvino is listed twice"),
        ({"kind": "filter", "min_area_px": 9, "max_area_px": 3}, "min_area_px 9 is more than max_area_px 3"),
        ({"kind": "filter", "classes": []}, "classes: has 0 items, must have at least 1"),
        ({"kind": "filter", "filter": 5}, "filter: unknown key"),
        pytest.param(
            {"kind": "filter", "filter": 5, "classes": []}, "classes: has 0 items, must have at least 1"),
    ],
)  # fmt: skip
def test_a_wrong_stage_is_explained_where_it_was_written(stage: dict[str, Any], expected: str, tmp_path: Path) -> None:
    """A stage of a pipeline file, placed in that file."""
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "stages": [stage]}, sort_keys=False))
    _, problems = read_pipeline(file, {})
    assert any(expected in str(problem) for problem in problems), [str(problem) for problem in problems]
    assert all(str(problem).startswith(f"{file}:") and "stages[0]" in str(problem) for problem in problems)


def test_a_pipeline_is_a_list_of_mappings(problems: Problems) -> None:
    """The stages themselves are looked at later, with the site's settings in them."""
    assert problems(PipelineFile, {"stages": ["detect"]}) == [
        "stages[0]: must be a mapping of keys to values, not 'detect'"
    ]


@pytest.mark.parametrize(
    "word, known, hint",
    [
        ("camera", ["cameras", "site"], "; did you mean cameras?"),
        ("zzz", ["b", "a"], "; known: a, b"),
        ("zzz", [], ""),
        ("zzz", [f"name{n}" for n in range(25)], ""),
    ],
)
def test_a_hint_is_the_nearest_word_or_all_of_them(word: str, known: list[str], hint: str) -> None:
    """Unless there are too many to read."""
    assert did_you_mean(word, known) == hint
