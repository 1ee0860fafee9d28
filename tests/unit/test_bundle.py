"""Checks that a model bundle is whole before anybody trusts it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_vision.core.document import Problem
from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.postprocess.embedding import EmbeddingOutput

WEIGHTS = b"weights"
SHA = hashlib.sha256(WEIGHTS).hexdigest()
PLAIN: dict[str, Any] = {
    "version": 1,
    "name": "m",
    "task": "detection",
    "files": [{"path": "m.onnx", "format": "onnx", "sha256": SHA}],
    "input": {"size": [64, 32]},
    "output": {"format": "yolox"},
    "labels": ["a", "b"],
}

Write = Callable[..., tuple[Bundle | None, list[Problem]]]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Write:
    """Read a bundle like the plain one with some keys changed; None takes a key away."""
    (tmp_path / "m.onnx").write_bytes(WEIGHTS)

    def read(**changed: Any) -> tuple[Bundle | None, list[Problem]]:
        content = {key: value for key, value in {**PLAIN, **changed}.items() if value is not None}
        (tmp_path / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return read_bundle(tmp_path)

    return read


def test_a_whole_bundle_has_its_model_spec(read: Write, tmp_path: Path) -> None:
    """Paths inside the folder, the shape of the input, the labels in order."""
    bundle, problems = read()
    assert problems == []
    assert bundle is not None
    assert (bundle.folder, bundle.spec.name, bundle.spec.labels) == (tmp_path, "m", ("a", "b"))
    assert [(file.path, file.format) for file in bundle.spec.files] == [(tmp_path / "m.onnx", "onnx")]
    assert [(file.input_shape, file.input_dtype) for file in bundle.spec.files] == [((1, 3, 32, 64), "float32")]
    assert (bundle.golden, bundle.proof) == (None, "none")


@pytest.mark.parametrize(
    "text, labels",
    [
        ("a\nb\n", ("a", "b")),
        ("  a \r\nb c\r\n\r\n\n", ("a", "b c")),
        ("ü", ("ü",)),
    ],
)
def test_labels_may_be_lines_of_a_file(text: str, labels: tuple[str, ...], read: Write, tmp_path: Path) -> None:
    """One per line; empty lines at the end do not count."""
    (tmp_path / "labels.txt").write_text(text, encoding="utf-8", newline="")
    bundle, problems = read(labels=None, labels_file="labels.txt")
    assert problems == []
    assert bundle is not None
    assert bundle.spec.labels == labels


@pytest.mark.parametrize(
    "raw, words",
    [
        (None, "labels.txt: No such file or directory"),
        (b"", "holds no labels"),
        (b"\n \n", "holds no labels"),
        (b"a\n\nb\n", "line 2 is empty"),
        (b"\na\n", "line 1 is empty"),
        (b"a\xff\n", "is not UTF-8 text"),
    ],
)
def test_a_bad_labels_file_is_a_problem_where_it_is_named(
    raw: bytes | None, words: str, read: Write, tmp_path: Path
) -> None:
    """A line dropped or missing would shift every class behind it."""
    if raw is not None:
        (tmp_path / "labels.txt").write_bytes(raw)
    bundle, (problem,) = read(labels=None, labels_file="labels.txt")
    assert bundle is None
    assert words in problem.text
    assert problem.path == "labels_file"


@pytest.mark.parametrize(
    "changed, path, words",
    [
        ({"files": [{"path": "absent.onnx", "format": "onnx"}]}, "files[0].path", "absent.onnx: no such file"),
        ({"files": [{"path": ".", "format": "onnx"}]}, "files[0].path", "is not a file"),
        ({"files": [*PLAIN["files"], {"path": "m.xml", "format": "openvino"}]}, "files[1].path", "m.xml: no such file"),
        ({"files": [{"path": "m.onnx", "format": "openvino"}]}, "files[0].path", "m.bin: the weights beside the .xml"),
        ({"files": [{"path": "m.onnx", "format": "onnx", "sha256": "0" * 64}]}, "files[0].sha256", f"has sha256 {SHA}"),
        ({"files": [{"path": "../m.onnx", "format": "onnx"}]}, "files[0].path", "must lie inside the bundle"),
        ({"files": [{"path": "a/../../m.onnx", "format": "onnx"}]}, "files[0].path", "must lie inside the bundle"),
        ({"files": [{"path": "/etc/passwd", "format": "onnx"}]}, "files[0].path", "must lie inside the bundle"),
        ({"labels": None, "labels_file": "/etc/passwd"}, "labels_file", "must lie inside the bundle"),
        ({"labels": None, "labels_file": "../labels.txt"}, "labels_file", "must lie inside the bundle"),
        ({"labels_file": "labels.txt"}, "", "exactly one of labels and labels_file"),
        ({"labels": None}, "", "exactly one of labels and labels_file"),
        ({"labels": []}, "labels", "has 0 items"),
        ({"name": "bad name"}, "name", "does not match"),
        ({"task": "segmentation"}, "task", "that is detection"),
        ({"version": 2}, "version", "must be 1, not 2"),
        ({"output": None}, "output", "this key is required"),
    ],
)
def test_what_is_missing_or_changed_is_a_problem_in_its_place(
    changed: dict[str, Any], path: str, words: str, read: Write
) -> None:
    """Each with file, line and the key it is about; and there is no bundle."""
    bundle, problems = read(**changed)
    assert bundle is None
    (problem,) = problems
    assert (problem.path, problem.file.name) == (path, "model.yaml")
    assert words in problem.text


def test_every_problem_is_found_at_once(read: Write) -> None:
    """Two files and the labels, all wrong."""
    files = [{"path": "a.onnx", "format": "onnx"}, {"path": "b.onnx", "format": "onnx"}]
    _, problems = read(files=files, labels=None, labels_file="none.txt")
    assert [problem.path for problem in problems] == ["labels_file", "files[0].path", "files[1].path"]


def test_openvino_weights_need_their_bin(read: Write, tmp_path: Path) -> None:
    """The .xml alone is a graph without numbers."""
    (tmp_path / "m.xml").touch()
    files = [{"path": "m.xml", "format": "openvino"}]
    assert read(files=files)[0] is None
    (tmp_path / "m.bin").touch()
    assert read(files=files)[1] == []


def test_a_folder_without_model_yaml_is_a_problem(tmp_path: Path) -> None:
    """Named with its path."""
    bundle, (problem,) = read_bundle(tmp_path)
    assert bundle is None
    assert str(tmp_path / "model.yaml") in str(problem)
    assert "No such file" in problem.text


def test_files_in_keeps_the_order_of_the_bundle(read: Write, tmp_path: Path) -> None:
    """A runtime is offered the files it can read, the preferred one first."""
    for name in ("m.xml", "m.bin", "n.onnx"):
        (tmp_path / name).touch()
    files = [{"path": "n.onnx", "format": "onnx"}, {"path": "m.xml", "format": "openvino"}, *PLAIN["files"]]
    bundle, _ = read(files=files)
    assert bundle is not None
    assert [file.path.name for file in bundle.spec.files_in(("onnx",))] == ["n.onnx", "m.onnx"]
    assert [file.path.name for file in bundle.spec.files_in(("openvino", "onnx"))] == ["n.onnx", "m.xml", "m.onnx"]
    assert bundle.spec.files_in(("engine",)) == ()


@pytest.mark.parametrize(
    "task, output, fits",
    [
        ("detection", "yolox", "detection"),
        ("classification", "yolox", "detection"),
        ("embedding", "yolox", "detection"),
        ("classification", "classification", "classification"),
        ("detection", "classification", "classification"),
        ("embedding", "embedding", "embedding"),
        ("recognition", "embedding", "embedding"),
    ],
)
def test_a_task_fits_what_the_output_format_gives(read: Write, task: str, output: str, fits: str) -> None:
    """Else the line of the task is named, with what the format is for."""
    bundle, problems = read(task=task, output={"format": output})
    if task == fits:
        assert bundle is not None
        return
    assert bundle is None
    assert (problems[0].line, problems[0].text.rpartition(": ")[2]) == (3, f"that is {fits}")
    assert problems[0].text.startswith(f"task {task} needs a model that gives ")


def test_labels_may_be_left_out_where_a_model_tells_no_classes(read: Write) -> None:
    """An embedding has none; a classifier without them could name nothing."""
    bundle, problems = read(task="embedding", output={"format": "embedding"}, labels=None)
    assert problems == []
    assert bundle is not None
    assert bundle.spec.labels == ()
    bundle, problems = read(task="classification", output={"format": "classification"}, labels=None)
    assert bundle is None
    assert "exactly one of labels and labels_file" in problems[0].text


@pytest.mark.parametrize(
    "text, characters",
    [
        ("a\nb\n \n", ("a", "b", " ")),
        ("a\n \nb", ("a", " ", "b")),
        ("a\r\nb\r\n", ("a", "b")),
        ("a\n\u3000\n\u2028\nb\n", ("a", "\u3000", "\u2028", "b")),
    ],
)
def test_a_blank_may_be_a_character(
    text: str, characters: tuple[str, ...], read: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the alphabet of a model that reads; of classes, a line of blanks is a mistake."""
    (tmp_path / "names.txt").write_text(text, newline="")
    given = {"output": {"format": "embedding"}, "labels": None, "labels_file": "names.txt"}
    monkeypatch.setattr(EmbeddingOutput, "gives", property(lambda _: frozenset({"text"})))
    bundle, problems = read(task="recognition", **given)
    assert bundle is not None, problems
    assert bundle.spec.labels == characters


@pytest.mark.parametrize(
    "output, labels, said",
    [
        ({"format": "segmentation", "background": 2}, ["a", "b"], "background is class 2, and there are 2 labels"),
        ({"format": "segmentation", "background": 0}, ["a"], "background is class 0, and there are 1 labels"),
        ({"format": "segmentation", "background": 1}, ["a", "b"], ""),
        ({"format": "anomaly"}, ["a", "b"], "needs one label, the name of what is unusual, not 2"),
        ({"format": "anomaly"}, ["a"], ""),
    ],
)
def test_labels_go_with_the_output_format(read: Write, output: dict[str, Any], labels: list[str], said: str) -> None:
    """A background without a label, or alone, and two names for one thing are said where the format is written."""
    bundle, problems = read(task="segmentation", output=output, labels=labels)
    assert (bundle is None) == bool(said)
    assert [(problem.path, said in problem.text) for problem in problems] == ([("output", True)] if said else [])
