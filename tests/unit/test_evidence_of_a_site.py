"""What a site file may ask for as evidence, and from what it is made for each camera."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from conftest import ROOT

from edge_vision.app.check import check_site
from edge_vision.app.evidence import keeper_of, rings_of
from edge_vision.config.site import Site
from edge_vision.core.errors import ConfigError, MissingLibraryError
from edge_vision.core.packets import EncodedTrack, Packet
from edge_vision.core.stages import StageOptions
from edge_vision.publish.wire import Wire
from edge_vision.testing.fakes import FakeClock

PARTS = str(ROOT / "configs/demo/parts")
GATE = {"kinds": ["verdict"], "cameras": ["gate"]}
WriteSite = Callable[..., Path]


def _camera(name: str, pipeline: str = "motion_only", **source: Any) -> dict[str, Any]:
    return {"id": name, "source": source or {"kind": "synthetic"}, "pipeline": pipeline}


@pytest.mark.parametrize(
    "evidence, problems",
    [
        ({"kinds": ["verdcit"]}, ["evidence.kinds[0]: unknown kind of event 'verdcit'; did you mean verdict?"]),
        ({"kinds": ["detections"]}, ["evidence.kinds[0]: unknown kind of event 'detections'"]),
        ({"kinds": ["verdict", "verdict"]}, ["evidence.kinds: verdict is listed twice"]),
        ({}, ["evidence.kinds: "]),
        ({"kinds": ["verdict"], "snapshot": []}, ["evidence: keeps nothing: name pictures under snapshot, or give it"]),
        ({"kinds": ["verdict"], "snapshot": ["clear"]}, ["evidence.snapshot[0]: "]),
        ({"kinds": ["verdict"], "verdicts": ["BAD"]}, ["evidence.verdicts[0]: "]),
        ({**GATE, "clip": {"before_s": 61}}, ["evidence.clip.before_s: must be at most 60"]),
        ({**GATE, "clip": {"after_s": -1}}, ["evidence.clip.after_s: must be at least 0"]),
        ({**GATE, "clip": {"befor_s": 1}}, ["evidence.clip.befor_s: unknown key"]),
        ({"kinds": ["verdict"], "cameras": ["gat"]}, ["evidence.cameras[0]: the site has no camera 'gat'; did you"]),
        ({"kinds": ["verdict"], "clip": {}}, ["evidence.clip: stills: pictures of a folder make no clip"]),
        ({"kinds": ["verdict"], "clip": {}, "cameras": None}, ["evidence.clip: stills: pictures of a folder make no"]),
        ({**GATE, "cameras": 5}, ["evidence.cameras: must be a list"]),
        ({"kinds": ["verdict"], "max_mb": 0, "jpeg_quality": 101}, ["evidence.max_mb: ", "evidence.jpeg_quality: "]),
    ],
)  # fmt: skip
def test_mistakes_are_told_where_they_stand(
    evidence: dict[str, Any], problems: list[str], write_site: WriteSite, tmp_path: Path
) -> None:
    """Each with line and column, all at once."""
    cameras = [_camera("gate"), _camera("stills", kind="images", path=str(tmp_path))]
    file = write_site(cameras=cameras, evidence=evidence)
    with pytest.raises(ConfigError) as raised:
        check_site(file)
    assert len(raised.value.problems) == len(problems)
    lines = file.read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if line.startswith("evidence:"))
    assert all(int(problem.partition(" evidence")[0].split(":")[1]) >= first for problem in raised.value.problems)
    assert all(any(text in problem for problem in raised.value.problems) for text in problems), raised.value.problems


def test_a_folder_of_pictures_may_stand_beside_cameras_with_clips(write_site: WriteSite, tmp_path: Path) -> None:
    """When evidence names the others; and without a clip it has pictures, too."""
    cameras = [_camera("gate"), _camera("stills", kind="images", path=str(tmp_path))]
    for evidence in ({"kinds": ["verdict"], "clip": {}, "cameras": ["gate"]}, {"kinds": ["verdict"]}):
        assert check_site(write_site(cameras=cameras, evidence=evidence)).site.evidence is not None


def _site(write_site: WriteSite, tmp_path: Path, **evidence: Any) -> Site:
    (tmp_path / "pipelines").mkdir(exist_ok=True)
    stages = "stages: [{kind: detect}, {kind: blur}, {kind: count}]\nexpose: {model: detect.model}\n"
    (tmp_path / "pipelines/covered.yaml").write_text(stages)
    stream = {"kind": "av", "url": "rtsp://10.0.0.1/s"}
    cameras = [
        _camera("packets", **stream),
        {**_camera("covered", "covered", **stream), "with": {"model": PARTS}},
        _camera("frames", kind="rtsp", url="rtsp://10.0.0.1/s"),
        _camera("other", **stream),
    ]
    content = {"kinds": ["count"], "cameras": ["packets", "covered", "frames"], "clip": {}, **evidence}
    return check_site(write_site(cameras=cameras, evidence=content)).site


def test_packets_are_kept_where_nothing_is_covered(write_site: WriteSite, tmp_path: Path) -> None:
    """Of `av` cameras of which evidence is wanted; never where a stage covers what they show."""
    assert list(rings_of(_site(write_site, tmp_path))) == ["packets"]
    assert rings_of(_site(write_site, tmp_path, clip=None)) == {}
    assert rings_of(_site(write_site, tmp_path, kinds=[])) == {}


class _MaskOptions(StageOptions):
    """A stage that does not exist, and hides something."""

    covers: ClassVar[bool] = True

    kind: Literal["mask"] = "mask"


def test_whatever_stage_says_that_it_hides_something_keeps_packets_from_being_stored(
    write_site: WriteSite, tmp_path: Path
) -> None:
    """Wherever in the pipeline it is; no list of kinds has to know it."""
    site = _site(write_site, tmp_path)
    first, *others = site.cameras
    for stages in ((*first.stages, _MaskOptions()), (_MaskOptions(), *first.stages)):
        assert rings_of(replace(site, cameras=(replace(first, stages=stages), *others))) == {}
    assert list(rings_of(site)) == ["packets"]


def test_the_ring_of_a_recording_that_is_read_as_fast_as_it_can_be_is_longer(
    write_site: WriteSite, tmp_path: Path
) -> None:
    """While the evidence thread looks away for half a second, a minute of it may go by."""
    (tmp_path / "a.mp4").write_bytes(b"")
    recording: dict[str, Any] = {"kind": "av", "path": str(tmp_path / "a.mp4")}
    cameras = [_camera("fast", **recording), _camera("real", **recording, realtime=True)]
    site = check_site(write_site(cameras=cameras, evidence={"kinds": ["count"], "clip": {}})).site
    rings = rings_of(site)
    for ring in rings.values():
        ring.begin(EncodedTrack("h264", b"", (64, 48), Fraction(1, 90_000)))
        for second in range(200):
            ring.add(Packet(b"", second, second, 1, is_key=True, media_ns=second * 1_000_000_000))
    assert {name: len(ring.between(0, 1 << 62)) for name, ring in rings.items()} == {"fast": 126, "real": 11}


def test_evidence_lies_in_the_state_folder(
    write_site: WriteSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or where the site says; without OpenCV the site does not start."""
    clock = FakeClock()
    wire = Wire("test", "boot", clock)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for given, expected in ((None, tmp_path / "state/edge-vision/test/evidence"), ("here", tmp_path / "here")):
        site = _site(write_site, tmp_path, **({} if given is None else {"folder": given}))
        keeper = keeper_of(site, {}, wire, lambda _: None, clock)
        assert keeper is not None
        assert keeper._store.folder == expected
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(MissingLibraryError, match=r"edge-vision\[cpu\]"):
        keeper_of(site, {}, wire, lambda _: None, clock)
