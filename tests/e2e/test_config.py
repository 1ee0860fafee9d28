"""What the command says of files that are wrong: every mistake at once, each with its right place."""

from pathlib import Path

import pytest
from conftest import Start, yolox_bundle
from yaml import safe_dump

TEN_MISTAKES = """\
version: 1
site: Hall 7
cameras:
  - id: gate
    source: {kind: rtsp, url: "rtsp://admin:geheim@10.0.0.9/stream"}
    pipeline: object_detection
    with: {model: models/yolox_nano, confidence: 1.3}
  - id: gate
    source:
      kind: file
      path: nowhere.mp4
      lopp: true
    pipeline: object_detction
  - id: press
    source: {kind: rstp, url: rtsp://10.0.0.9/stream}
    pipeline: object_detection
    with:
      model: models/absent
      clases: [person]
  - id: door
    source: {kind: synthetic, fps: fast}
    pipeline: object_detection
    with: {model: models/yolox_nano, classes: [persn]}
publish:
  - {kind: zeromq, bind: "tcp://127.0.0.1:5556"}
"""

EXPECTED = (
    (2, 7, "site: 'Hall 7' does not match"),
    (5, 31, "cameras[0].source.url: credentials inside a URL"),
    (7, 50, "cameras[0].with.confidence: must be at most 1, not 1.3"),
    (8, 9, "cameras[1].id: duplicate id 'gate'; the first is on line 4"),
    (11, 13, "cameras[1].source.path:"),
    (12, 7, "cameras[1].source.lopp: unknown key; did you mean loop?"),
    (13, 15, "cameras[1].pipeline: unknown pipeline 'object_detction'; did you mean object_detection?"),
    (15, 20, "cameras[2].source.kind: unknown kind 'rstp'; did you mean rtsp?"),
    (18, 14, "cameras[2].with.model:"),
    (19, 7, "cameras[2].with.clases: pipeline object_detection exposes no 'clases'; did you mean classes?"),
    (21, 36, "cameras[3].source.fps: must be a number, not 'fast'"),
    (23, 48, "cameras[3].with.classes[0]: the model has no label 'persn'; did you mean person?"),
)


@pytest.fixture
def site_folder(tmp_path: Path) -> Path:
    """A folder with a model bundle whose weights are a few bytes: `check` does not load them."""
    bundle = tmp_path / "models/yolox_nano"
    bundle.mkdir(parents=True)
    (bundle / "yolox_nano.onnx").write_bytes(b"weights")
    (bundle / "model.yaml").write_text(safe_dump(yolox_bundle(["person", "bicycle"])))
    return tmp_path


def test_every_mistake_at_once_each_at_its_line(site_folder: Path, edge_vision: Start) -> None:
    """A dozen different mistakes: a dozen lines, every line and column right, nothing else, exit 78."""
    site = site_folder / "site.yaml"
    site.write_text(TEN_MISTAKES)
    process = edge_vision("check", site)
    output, errors = process.communicate(timeout=60)
    lines = errors.splitlines()
    assert process.returncode == 78
    assert output == ""
    assert len(lines) == len(EXPECTED), errors
    for said, (line, column, text) in zip(lines, EXPECTED, strict=True):
        assert said.startswith(f"{site}:{line}:{column}: {text}"), said
    assert "geheim" not in errors
    assert "admin" not in errors


def test_run_refuses_what_check_refuses(site_folder: Path, edge_vision: Start) -> None:
    """`run` prints the same lines and ends with 78, which tells systemd not to restart."""
    site = site_folder / "site.yaml"
    site.write_text(TEN_MISTAKES)
    run, check = edge_vision("run", site), edge_vision("check", site)
    assert run.communicate(timeout=60)[1] == check.communicate(timeout=60)[1]
    assert (run.returncode, check.returncode) == (78, 78)


@pytest.mark.parametrize(
    "content,place,text",
    [
        ("version: 1\nsite: [a\n", ":3:1:", "not valid YAML"),
        ("version: 1\nsite: a\nsite: b\ncameras: []\n", ":3:1:", "key given twice; the first is on line 2"),
        ("", ":1:1:", "this key is required"),
        ("- a\n- b\n", ":1:1:", "must be a mapping"),
        ("version: 1\n\tsite: a\n", ":2:1:", "not valid YAML"),
        ("version: 2\nsite: a\ncameras: []\n", ":1:10:", "must be 1, not 2"),
    ],
    ids=["syntax", "double key", "empty", "list", "tab", "version"],
)
def test_files_that_are_not_sites(tmp_path: Path, edge_vision: Start, content: str, place: str, text: str) -> None:
    """Broken YAML and YAML that is no site get a place and a sentence, and no traceback."""
    site = tmp_path / "site.yaml"
    site.write_text(content)
    process = edge_vision("check", site)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert any(line.startswith(f"{site}{place}") and text in line for line in errors.splitlines()), errors
    assert "Traceback" not in errors


def test_mistakes_in_pipeline_and_model_files_name_those_files(site_folder: Path, edge_vision: Start) -> None:
    """A wrong pipeline file or model.yaml is reported in that file, beside what is wrong with the site."""
    (site_folder / "pipelines").mkdir()
    (site_folder / "pipelines/mine.yaml").write_text(
        "stages:\n  - {kind: detect, precison: f32}\n  - {kind: filter, min_area_px: -1}\n"
        "expose: {model: detect.model, size: filtr.min_area_px}\n"
    )
    model = site_folder / "models/yolox_nano/model.yaml"
    model.write_text(model.read_text().replace("nano.onnx", "nano.onx").replace("bgr", "brg"))
    (site_folder / "site.yaml").write_text(
        "version: 1\nsite: a\ncameras:\n  - id: b\n    source: {kind: synthetic}\n    pipeline: mine\n"
        "    with: {model: models/yolox_nano}\npublish: [{kind: mqtt, host: broker, prot: 1}]\n"
    )
    _, errors = edge_vision("check", site_folder / "site.yaml").communicate(timeout=60)
    lines = errors.splitlines()
    mine = site_folder / "pipelines/mine.yaml"
    assert any(
        said.startswith(f"{mine}:2:20: stages[0].precison: unknown key; did you mean precision?") for said in lines
    )
    assert any(said.startswith(f"{mine}:3:33: stages[1].min_area_px: must be at least 0, not -1") for said in lines)
    assert any(said.startswith(f"{mine}:4:") and "did you mean filter" in said for said in lines)
    assert any(said.startswith(f"{model}:") and "must be one of bgr, rgb, gray" in said for said in lines)
    assert any(said.startswith(f"{site_folder / 'site.yaml'}:8:") and "did you mean port" in said for said in lines)
    assert len(lines) == 5, errors


def test_no_line_repeats_a_secret_from_a_wrong_place(site_folder: Path, edge_vision: Start) -> None:
    """Addresses with credentials where a path, a name or a key belongs; a password written as alias or tag."""
    for number, camera in enumerate(
        (
            "source: {kind: file, path: 'rtsp://admin:geheim@10.0.0.9/x'}\n    pipeline: object_detection",
            "source: {kind: images, path: 'rtsp://admin:geheim@10.0.0.9/x'}\n    pipeline: object_detection",
            "source: {kind: synthetic}\n    pipeline: 'rtsp://admin:geheim@10.0.0.9/x'",
            "source: {kind: synthetic}\n    pipeline: object_detection\n    with: {'rtsp://admin:geheim@h': 1}",
            "source: {kind: rtsp, url: 'rtsp://h/1', username: u, password: *geheim}\n    pipeline: object_detection",
            "source: {kind: rtsp, url: 'rtsp://h/1', username: u, password: !geheim x}\n    pipeline: object_detection",
        )
    ):
        site = site_folder / f"site{number}.yaml"
        site.write_text(f"version: 1\nsite: a\ncameras:\n  - id: b\n    {camera}\n")
        process = edge_vision("check", site)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 78
        assert errors.startswith(f"{site}:")
        assert "geheim" not in errors, camera
        assert "admin" not in errors, camera


def test_traps_of_yaml_and_python_are_mistakes_in_their_place(site_folder: Path, edge_vision: Start) -> None:
    """Yes and true are no numbers, a port has a limit, a missing model is the site's, a sink is listed once."""
    site = site_folder / "site.yaml"
    site.write_text(
        "version: 1\nsite: a\ncameras:\n"
        "  - {id: b, source: {kind: synthetic, frames: yes, fps: 1:30}, pipeline: object_detection, with: {}}\n"
        "  - {id: c, source: {kind: synthetic, seed: true}, pipeline: object_detection, with: {threads: true}}\n"
        "publish:\n  - {kind: zeromq, bind: 'tcp://127.0.0.1:99999'}\n"
        "  - {kind: jsonl, path: a}\n  - {kind: jsonl, path: a}\n"
    )
    _, errors = edge_vision("check", site).communicate(timeout=60)
    found = [line.removeprefix(f"{site}:").partition(" ") for line in errors.splitlines()]
    assert [(place.partition(":")[0], text) for place, _, text in found] == [
        ("4", "cameras[0].source.frames: must be a whole number, not 'yes'"),
        ("4", "cameras[0].source.fps: must be a number, not '1:30'"),
        ("4", "cameras[0].with.model: this key is required"),
        ("5", "cameras[1].source.seed: must be a number, not true"),
        ("5", "cameras[1].with.model: this key is required"),
        ("5", "cameras[1].with.threads: must be a number, not true"),
        ("7", "publish[0].bind: port 99999 is not one of 1 to 65535"),
        ("9", "publish[2].path: the same as publish[1].path"),
    ]


def test_paths_that_cannot_be_looked_at_are_mistakes(site_folder: Path, edge_vision: Start) -> None:
    """A name that is too long, a NUL, a folder for a file: a sentence, and no traceback."""
    site = site_folder / "site.yaml"
    site.write_text(
        "version: 1\nsite: a\ncameras:\n"
        f"  - {{id: b, source: {{kind: file, path: {'x' * 300}}}, pipeline: object_detection, with: {{model: m}}}}\n"
        '  - {id: c, source: {kind: file, path: "a\\0b"}, pipeline: object_detection, with: {model: m}}\n'
        "  - {id: d, source: {kind: file, path: models}, pipeline: object_detection, with: {model: models}}\n"
    )
    process = edge_vision("check", site)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "Traceback" not in errors
    for words in (
        "File name too long",
        "cannot contain the character 0",
        "models: is not a file",
        "holds no model.yaml",
    ):
        assert words in errors


def test_resolved_shows_defaults_and_never_a_secret(
    site_folder: Path, edge_vision: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`check --resolved` prints every default, absolute paths, and secrets as references."""
    monkeypatch.setenv("CAMERA_PASSWORD", "geheim")
    (site_folder / "site.yaml").write_text(
        "version: 1\nsite: a\ncameras:\n  - id: b\n"
        "    source: {kind: rtsp, url: rtsp://cam/1, username: u, password: {env: CAMERA_PASSWORD}}\n"
        "    pipeline: object_detection\n    with: {model: models/yolox_nano}\n"
    )
    process = edge_vision("check", site_folder / "site.yaml", "--resolved")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "geheim" not in output
    assert "env: CAMERA_PASSWORD" in output
    assert "read_timeout_s: 5.0" in output
    assert str(site_folder / "models/yolox_nano") in output


def test_a_missing_secret_is_an_error_at_start(site_folder: Path, edge_vision: Start) -> None:
    """`run` ends with 78 and names the reference; `check` on another machine does not need the secret."""
    (site_folder / "site.yaml").write_text(
        "version: 1\nsite: a\ncameras:\n  - id: b\n"
        "    source: {kind: rtsp, url: rtsp://127.0.0.1:9/1, username: u, password: {env: EV_NOT_SET}}\n"
        "    pipeline: object_detection\n    with: {model: models/yolox_nano}\n"
    )
    check = edge_vision("check", site_folder / "site.yaml")
    run = edge_vision("run", site_folder / "site.yaml")
    assert check.wait(60) == 0
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 78
    assert "EV_NOT_SET is not set" in errors
