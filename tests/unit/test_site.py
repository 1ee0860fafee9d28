"""Checks how a site file, its pipelines and their settings become stages in full, or problems in their places."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_vision.analytics.filter import FilterOptions
from edge_vision.config.explain import resolved_yaml
from edge_vision.config.site import SiteDraft, read_site
from edge_vision.inference.options import DetectOptions
from edge_vision.publish.table import name_of

PIPELINE = {
    "version": 1,
    "stages": [{"kind": "detect"}, {"kind": "filter", "name": "keep", "min_confidence": 0.2}],
    "expose": {"model": "detect.model", "classes": "keep.classes", "confidence": "detect.confidence"},
}
SOURCE = {"kind": "synthetic"}

Read = Callable[..., SiteDraft]


@pytest.fixture(name="read")
def _read(tmp_path: Path) -> Read:
    """Read a site of the cameras given, beside a pipeline `watch`."""
    (tmp_path / "watch.yaml").write_text(yaml.safe_dump(PIPELINE))

    def read(*cameras: dict[str, Any], **more: Any) -> SiteDraft:
        file = tmp_path / "site.yaml"
        file.write_text(yaml.safe_dump({"version": 1, "site": "s", "cameras": [*cameras], **more}, sort_keys=False))
        return read_site(file)

    return read


def _camera(name: str = "gate", pipeline: str = "watch", **settings: Any) -> dict[str, Any]:
    return {"id": name, "source": SOURCE, "pipeline": pipeline, "with": {"model": "models/m", **settings}}


def _problems(draft: SiteDraft) -> list[str]:
    assert (draft.site is None) == bool(draft.problems)
    return [f"{problem.file.name}: {problem.path}: {problem.text}" for problem in draft.problems]


def test_a_camera_gets_its_stages_in_full(read: Read, tmp_path: Path) -> None:
    """The pipeline's values, the site's in their place, defaults for the rest; paths from where they were written."""
    draft = read(_camera(classes=["person"]), _camera("dock", confidence=0.5))
    assert draft.site is not None, draft.problems
    gate, dock = draft.site.cameras
    assert gate.stages == (
        DetectOptions(kind="detect", model=tmp_path / "models" / "m"),
        FilterOptions(kind="filter", name="keep", min_confidence=0.2, classes=("person",)),
    )
    assert dock.stages == (
        DetectOptions(kind="detect", model=tmp_path / "models" / "m", confidence=0.5),
        FilterOptions(kind="filter", name="keep", min_confidence=0.2),
    )


def test_a_path_in_a_pipeline_starts_from_the_pipeline(read: Read, tmp_path: Path) -> None:
    """Not from the site that names it."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    stages = [{"kind": "detect", "model": "models/own"}]
    (folder / "own.yaml").write_text(yaml.safe_dump({"version": 1, "stages": stages}))
    draft = read({"id": "gate", "source": SOURCE, "pipeline": "own"})
    assert draft.site is not None, draft.problems
    assert draft.site.cameras[0].stages[0].model == folder / "models" / "own"


def test_the_pipeline_beside_the_site_goes_before_the_others(read: Read, tmp_path: Path) -> None:
    """Beside the file, then its pipelines/, then the shipped ones."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "watch.yaml").write_text("not: a pipeline\n")
    assert _problems(read(_camera())) == []
    shipped = read({"id": "gate", "source": SOURCE, "pipeline": "object_detection", "with": {"model": "m"}})
    assert _problems(shipped) == []


@pytest.mark.parametrize(
    "cameras, expected",
    [
        ([_camera(), _camera()], "site.yaml: cameras[1].id: duplicate id 'gate'; the first is on line 4"),
        ([_camera(pipeline="object_detectoin")],
         "site.yaml: cameras[0].pipeline: unknown pipeline 'object_detectoin'; did you mean object_detection?"),
        ([_camera(clases=["x"])],
         "site.yaml: cameras[0].with.clases: pipeline watch exposes no 'clases'; did you mean classes?"),
        ([_camera(confidence=1.5)], "site.yaml: cameras[0].with.confidence: must be at most 1, not 1.5"),
        ([_camera(classes=[])], "site.yaml: cameras[0].with.classes: has 0 items, must have at least 1"),
        ([_camera(classes=["a", 5])], "site.yaml: cameras[0].with.classes[1]: must be text, not 5"),
        ([{"id": "gate", "source": SOURCE, "pipeline": "watch"}],
         "site.yaml: cameras[0].with.model: this key is required"),
        ([{**_camera(), "source": {"kind": "file", "path": "none.mp4"}}],
         "site.yaml: cameras[0].source.path: {folder}/none.mp4: no such file"),
        ([{**_camera(), "source": {"kind": "images", "path": "none"}}],
         "site.yaml: cameras[0].source.path: {folder}/none: no such folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_was_written(
    cameras: list[dict[str, Any]], expected: str, read: Read, tmp_path: Path
) -> None:
    """In the site where the site says it, in the pipeline where the pipeline does; once, and nothing else."""
    assert _problems(read(*cameras)) == [expected.format(folder=tmp_path)]


def test_one_mistake_hides_no_other(read: Read) -> None:
    """Schema, names, files and settings, of several cameras, all at once."""
    draft = read(
        {**_camera(clases=1), "priority": 99},
        {**_camera(confidence=7), "source": {"kind": "file", "path": "none.mp4"}},
        _camera(pipeline="nothing-like-it"),
        publish=[{"kind": "zeromq", "bind": "nowhere"}],
    )
    assert sorted(problem.path for problem in draft.problems) == [
        "cameras[0].priority", "cameras[0].with.clases", "cameras[1].id", "cameras[1].source.path",
        "cameras[1].with.confidence", "cameras[2].id", "cameras[2].pipeline", "publish[0].bind",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "pipeline, expected",
    [
        ({"stages": [{"kind": "filter"}, {"kind": "filter"}]},
         "stages[1]: two stages are called 'filter': give one a name"),
        ({"stages": [{"kind": "filter"}], "expose": {"classes": "fliter.classes"}},
         "expose.classes: 'fliter.classes' is not STAGE.OPTION; did you mean filter?"),
        ({"stages": [{"kind": "filter"}], "expose": {"classes": "filter"}},
         "expose.classes: 'filter' is not STAGE.OPTION; did you mean filter?"),
        ({"stages": []}, "stages: has 0 items, must have at least 1"),
        ({"stages": [{"kind": "filter", "min_area_px": -1}]}, "stages[0].min_area_px: must be at least 0, not -1"),
    ],
)  # fmt: skip
def test_a_wrong_pipeline_is_said_there(pipeline: dict[str, Any], expected: str, read: Read, tmp_path: Path) -> None:
    """The site that names it is not at fault."""
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"version": 1, **pipeline}))
    draft = read({"id": "gate", "source": SOURCE, "pipeline": "mine"})
    assert _problems(draft) == [f"mine.yaml: {expected}"]


def test_a_pipeline_that_exposes_an_option_no_stage_has_is_refused(read: Read, tmp_path: Path) -> None:
    """The mistake is the pipeline's, whether or not a site uses it."""
    content = {"version": 1, "stages": [{"kind": "filter"}], "expose": {"classes": "filter.clases"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    draft = read({"id": "gate", "source": SOURCE, "pipeline": "mine"})
    assert [problem.path for problem in draft.problems] == ["expose.classes"]


def test_the_resolved_site_shows_everything_but_secrets(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every default filled in; a password stays the reference that was written."""
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    source = {"kind": "rtsp", "url": "rtsp://cam/1", "username": "bob", "password": {"env": "CAMERA_PASSWORD"}}
    draft = read({**_camera(), "source": source}, publish=[{"kind": "jsonl", "path": "-"}])
    assert draft.site is not None
    text = resolved_yaml(draft.site)
    assert "hunter2" not in text
    shown = yaml.safe_load(text)
    assert shown["cameras"][0]["source"]["password"]["env"] == "CAMERA_PASSWORD"
    assert shown["cameras"][0]["source"]["read_timeout_s"] > 0
    assert shown["publish"][0]["path"] == "-"


def test_a_site_names_the_runtimes_for_pipelines_that_do_not(read: Read, tmp_path: Path) -> None:
    """The site's list stands in for the default, and gives way to a pipeline's or a camera's own."""
    exposed = {**PIPELINE, "expose": {**PIPELINE["expose"], "backends": "detect.backends"}}  # type: ignore[dict-item]
    (tmp_path / "open.yaml").write_text(yaml.safe_dump(exposed))
    own = {**PIPELINE, "stages": [{"kind": "detect", "backends": ["opencv_dnn"]}, *PIPELINE["stages"][1:]]}  # type: ignore[index]
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(own))
    draft = read(
        _camera("plain"),
        _camera("asked", "open", backends=["onnxruntime"]),
        _camera("pinned", "own"),
        backends=["openvino", "onnxruntime"],
    )
    assert draft.site is not None, draft.problems
    assert [camera.stages[0].backends for camera in draft.site.cameras] == [
        ("openvino", "onnxruntime"), ("onnxruntime",), ("opencv_dnn",),
    ]  # fmt: skip


def test_a_runtime_listed_twice_is_refused(read: Read) -> None:
    """By the site as by a camera."""
    problems = _problems(read(_camera(), backends=["openvino", "openvino"]))
    assert problems == ["site.yaml: backends: openvino is listed twice"]


def test_two_clients_of_one_name_at_one_broker_are_refused(read: Read) -> None:
    """They would throw each other out for ever; at another port, or by another name, they do not."""
    one = {"kind": "mqtt", "host": "broker"}
    others = [{**one, "port": 8883}, {**one, "client_id": "two"}, {"kind": "mqtt", "host": "other"}]
    assert _problems(read(_camera(), publish=[one, *others])) == []
    text = "the broker of publish[0], too: each needs a client_id of its own"
    assert _problems(read(_camera(), publish=[one, {**one, "port": 1883}])) == [f"site.yaml: publish[1].host: {text}"]
    named = {**one, "client_id": "edge-vision-s"}
    assert _problems(read(_camera(), publish=[one, named])) == [f"site.yaml: publish[1].client_id: {text}"]
    assert _problems(read(_camera(), publish=[one, {**one, "tls": {}}, {**one, "port": 8883}])) == [
        f"site.yaml: publish[2].host: {text.replace('[0]', '[1]')}"
    ]


def test_sinks_of_one_broker_are_told_apart_whatever_their_order(read: Read) -> None:
    """What waits for one on disk must not become that of the other when the lines of the file are exchanged."""
    sinks = [{"kind": "mqtt", "host": "broker", "client_id": name} for name in ("a", "b")]
    names = []
    for order in (sinks, sinks[::-1]):
        site = read(_camera(), publish=order).site
        assert site is not None
        names.append([name_of(sink) for sink in site.publish])
    assert names == [["mqtt broker:1883 a", "mqtt broker:1883 b"], ["mqtt broker:1883 b", "mqtt broker:1883 a"]]


def test_webhooks_of_one_server_are_told_apart_by_their_names_whatever_their_order(read: Read) -> None:
    """One of them may be without: it goes on being known by the server's address, also when others come before it."""
    plain = {"kind": "http", "url": "https://mes/secret-1", "kinds": ["gap"]}
    named = {"kind": "http", "url": "https://mes/secret-2", "kinds": ["status"], "name": "alarms"}
    for order in ([plain], [plain, named], [named, plain]):
        site = read(_camera(), publish=order).site
        assert site is not None
        assert [name_of(sink) for sink in site.publish] == [
            {"gap": "http https://mes", "status": "http alarms"}[sink["kinds"][0]] for sink in order
        ]


@pytest.mark.parametrize(
    "sink",
    [{"kind": "mqtt", "host": "broker"}, {"kind": "http", "url": "https://mes/"}],
    ids=lambda sink: str(sink["kind"]),
)
def test_files_of_tls_are_looked_at(read: Read, tmp_path: Path, sink: dict[str, Any]) -> None:
    """One that is not there, and one that is no file; what is in them shows when they are used."""
    room = ".tls" if sink["kind"] == "mqtt" else ""

    def problems(**files: str) -> list[str]:
        return _problems(read(_camera(), publish=[{**sink, **({"tls": files} if room else files)}]))

    (tmp_path / "here.pem").write_text("not looked into")
    assert problems(ca_file="here.pem", certificate="here.pem", key=str(tmp_path / "here.pem")) == []
    assert problems(ca_file="not-here.pem", certificate="here.pem", key=".") == [
        f"site.yaml: publish[0]{room}.ca_file: {tmp_path}/not-here.pem: no such file",
        f"site.yaml: publish[0]{room}.key: {tmp_path}: is not a file",
    ]


def test_a_tilde_is_refused_wherever_a_path_is_written(read: Read, tmp_path: Path) -> None:
    """It would be a folder of that name beside the site file."""
    text = "write the home folder out: ~ stands for nothing here"
    publish = [{"kind": "mqtt", "host": "broker", "tls": {"ca_file": "~/ca.pem"}}]
    assert sorted(_problems(read(_camera(), state_dir="~/state", publish=publish))) == [
        f"site.yaml: publish[0].tls.ca_file: {text}",
        f"site.yaml: state_dir: {text}",
    ]
    site = read(_camera(), state_dir="state").site
    assert site is not None
    assert site.state_dir == tmp_path / "state"
