"""Evidence of real runs: what is stored is what happened, nobody's face is in it, and no disk or crash spoils it."""

import hashlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from commanding import ZeromqAsker
from conftest import Start, find_free_port, wait_until
from demo_site import camera, read_lines
from face_bundles import write_ultraface
from numpy.typing import NDArray
from servers import RtspServer, absent

from edge_vision.app.check import check_site
from edge_vision.app.engines import load_engines
from edge_vision.app.pipeline import open_road
from edge_vision.publish.evidence.ages import LEDGER
from edge_vision.runtime.clock import SystemClock
from edge_vision.testing.fakes import make_frame

av = pytest.importorskip("av")

Picture = NDArray[np.uint8]
WriteSite = Callable[..., Path]


@pytest.fixture(name="line")
def _line(data: Path, tmp_path: Path) -> Iterator[RtspServer]:
    """A camera over RTSP that shows people who come and go, the first after three seconds, anew for each client."""
    with (
        av.open(str(data / "video/one-by-one-person-detection.mp4")) as source,
        av.open(str(tmp_path / "line.mp4"), "w") as clip,
    ):
        track, start = clip.add_stream_from_template(source.streams.video[0]), 0
        for packet in source.demux(source.streams.video[0]):
            if packet.is_keyframe and not start and packet.pts * packet.time_base >= 4:
                start = packet.dts
            if packet.size and start:
                packet.stream, packet.pts, packet.dts = track, packet.pts - start, packet.dts - start
                clip.mux(packet)
    server = RtspServer(find_free_port(), tmp_path / "line.mp4")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _evidence(file: Path) -> dict[str, dict[str, Any]]:
    """The last that was told of each event."""
    return {one["evidence"]["of"]: one["evidence"] for one in read_lines(file) if one["kind"] == "evidence"}


def _whole(file: Path) -> list[dict[str, Any]]:
    """Evidence of which nothing is pending."""
    return [kept for kept in _evidence(file).values() if not kept["pending"]]


def _pictures(file: Path) -> list[tuple[float, Picture]]:
    """The pictures of a clip, with their times in seconds."""
    with av.open(str(file)) as opened:
        return [(float(frame.time), frame.to_ndarray(format="bgr24")) for frame in opened.decode(video=0)]


def _read(file: Path) -> Picture:
    picture = cv2.imread(str(file))
    assert picture is not None
    return np.asarray(picture, np.uint8)


def _probe(file: Path) -> dict[str, Any]:
    """What ffprobe says of the video in a clip; fails the test when it complains of anything."""
    program = shutil.which("ffprobe")
    if program is None:
        absent("ffprobe is not installed: apt-get install ffmpeg")
    command = [program, "-v", "warning", "-show_streams", "-show_frames", "-of", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _is_true(file: dict[str, Any], folder: Path) -> bool:
    content = (folder / file["path"]).read_bytes()
    return (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])


@pytest.mark.parametrize("kind", ["av", pytest.param("rtsp", marks=pytest.mark.full)])
def test_the_clip_of_an_event_shows_it(
    kind: str, line: RtspServer, write_site: WriteSite, edge_vision: Start, tmp_path: Path
) -> None:
    """On a real stream: the clip begins before the event, with a key frame, and its frame is the clean picture's.

    It is found by its pixels, at the time that the messages give. Packets of `av` are stored as they came.
    """
    out, folder = tmp_path / "out.jsonl", tmp_path / "evidence"
    site = write_site(
        cameras=[{"id": "hall", "source": {"kind": kind, "url": line.url}, "pipeline": "motion_only"}],
        evidence={
            "kinds": ["motion_changed"],
            "clip": {"before_s": 2, "after_s": 2},
            "folder": str(folder),
            "jpeg_quality": 100,
        },
        publish=[{"kind": "jsonl", "path": str(out), "kinds": ["motion_changed", "evidence"]}],
    )
    run = edge_vision("run", site)

    def full_clips() -> list[dict[str, Any]]:
        return [one for one in _whole(out) if "shorter" not in one["files"][-1]]

    wait_until(lambda: bool(full_clips()), 60, "the clip of an event is told")
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 0
    kept = full_clips()[0]
    (event,) = (one for one in read_lines(out) if one["id"] == kept["of"])
    drawn, clean, clip = kept["files"]
    assert [one["type"] for one in kept["files"]] == ["snapshot", "clean", "clip"]
    assert all(_is_true(one, folder) for one in kept["files"])
    assert kept["missing"] == []
    probed = _probe(folder / clip["path"])
    (stream,) = probed["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", clip["width"], clip["height"])
    assert probed["frames"][0]["key_frame"] == 1
    at_ms = event["frame"]["media_ms"]
    assert clip["first_ms"] <= at_ms - (2000 if kind == "av" else 1500)
    assert at_ms + 1500 <= clip["last_ms"] <= at_ms + 6000
    pictures, snapshot = _pictures(folder / clip["path"]), _read(folder / clean["path"])
    assert len(pictures) >= (35 if kind == "av" else 10)
    distances = [float(np.abs(picture.astype(int) - snapshot).mean()) for _, picture in pictures]
    best = int(np.argmin(distances))
    assert distances[best] < (1.5 if kind == "av" else 5), distances
    assert abs(clip["first_ms"] + 1000 * (pictures[best][0] - pictures[0][0]) - at_ms) < 60
    assert (_read(folder / drawn["path"]) != snapshot).any()
    print(f"{kind}: mean difference {distances[best]:.2f} at the event, {sorted(distances)[1]:.2f} next to it")


@pytest.mark.full
def test_a_camera_that_is_lost_leaves_a_shorter_clip(
    line: RtspServer, write_site: WriteSite, edge_vision: Start, tmp_path: Path
) -> None:
    """The message says so, in time, while the camera stays away."""
    out, folder = tmp_path / "out.jsonl", tmp_path / "evidence"
    source = {"kind": "av", "url": line.url, "read_timeout_s": 1, "open_timeout_s": 1}
    site = write_site(
        cameras=[{"id": "hall", "source": source, "pipeline": "motion_only"}],
        evidence={"kinds": ["motion_changed"], "clip": {"before_s": 1, "after_s": 3}, "folder": str(folder)},
        publish=[{"kind": "jsonl", "path": str(out), "kinds": ["motion_changed", "evidence"]}],
    )
    run = edge_vision("run", site)
    wait_until(lambda: bool(_evidence(out)), 60, "an event is told")
    line.kill()
    wait_until(lambda: bool(_whole(out)), 60, "the clip is told, though the camera is lost")
    assert run.poll() is None
    clip = _whole(out)[0]["files"][-1]
    assert "s after the event, not 3: no more frames came" in clip["shorter"]
    assert _is_true(clip, folder)
    assert len(_pictures(folder / clip["path"])) >= 10
    run.send_signal(signal.SIGTERM)
    run.wait(60)


@pytest.mark.full
def test_no_clip_shows_what_a_disabled_camera_saw(
    line: RtspServer, write_site: WriteSite, edge_vision: Start, tmp_path: Path
) -> None:
    """Disabled by a command while a clip is written, and enabled again: nothing of between is in any file."""
    out, folder, address = tmp_path / "out.jsonl", tmp_path / "evidence", f"ipc://{tmp_path}/commands"
    commands = {"allow": ["enabled"], "bind": address}
    site = write_site(
        cameras=[{"id": "hall", "source": {"kind": "av", "url": line.url}, "pipeline": "motion_only"}],
        evidence={"kinds": ["motion_changed"], "clip": {"before_s": 5, "after_s": 20}, "folder": str(folder)},
        publish=[
            {"kind": "jsonl", "path": str(out)},
            {"kind": "zeromq", "bind": f"ipc://{tmp_path}/out", "commands": commands},
        ],
    )

    def seen_ms() -> list[float]:
        return [one["frame"]["media_ms"] for one in read_lines(out) if one["kind"] == "detections"]

    run, asker = edge_vision("run", site), ZeromqAsker(address)
    wait_until(lambda: bool(_evidence(out)), 60, "an event is told")
    assert asker.ask("hall/set/enabled", {"value": False})["ok"]
    wait_until(lambda: bool(_whole(out)), 60, "the clip ends when the camera is disabled, long before its time")
    count = len(seen_ms())
    time.sleep(3)  # of what nobody may see
    assert asker.ask("hall/set/enabled", {"value": True})["ok"]
    wait_until(lambda: len(seen_ms()) > count + 5, 60, "frames are analyzed again")
    wait_until(lambda: len(_evidence(out)) > 1, 60, "another event is told")
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 0
    times = seen_ms()
    begin, end = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
    assert end - begin > 2900
    clips = {one["path"]: one for kept in _whole(out) for one in kept["files"] if one["type"] == "clip"}
    assert len(clips) >= 2
    assert any("the camera was disabled" in one["shorter"] for one in clips.values())
    shown = [
        one["first_ms"] + 1000 * (time_s - pictures[0][0])
        for one in clips.values()
        for pictures in (_pictures(folder / one["path"]),)
        for time_s, _ in pictures
    ]
    assert min(shown) < begin < end < max(shown)
    late_ms = 300  # frames that were under way when the command came are not analyzed any more
    assert [one for one in shown if begin + late_ms < one < end - late_ms] == []


@pytest.fixture(scope="module", name="faces")
def _faces(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds in which a face comes near, as a recording with packets."""
    file = tmp_path_factory.mktemp("faces") / "faces.mp4"
    reader = cv2.VideoCapture(str(data / "video/one-by-one-person-detection.mp4"))
    reader.set(cv2.CAP_PROP_POS_FRAMES, 290)
    with av.open(str(file), "w") as clip:
        track = clip.add_stream("libx264", rate=10, options={"crf": "12"})
        track.width, track.height, track.pix_fmt = 768, 432, "yuv420p"
        for _ in range(40):
            _, picture = reader.read()
            clip.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        clip.mux(track.encode(None))
    reader.release()
    return file


def _face_finder(model: Path, folder: Path) -> Callable[[Picture], int]:
    """How many faces a detector finds in a picture."""
    file = folder / "finder.yaml"
    one = {"id": "test", "source": {"kind": "synthetic"}, "pipeline": "object_detection", "with": {"model": str(model)}}
    file.write_text(yaml.safe_dump({"version": 1, "site": "test", "cameras": [one]}))
    checked = check_site(file)
    engines = load_engines(checked.site, checked.bundles)

    def find(picture: Picture) -> int:
        with open_road(checked.site.cameras[0], engines, SystemClock()) as road:
            return len(road(make_frame(picture)).detections)

    return find


def test_no_face_is_in_any_file_of_a_camera_that_covers_them(
    faces: Path, data: Path, write_site: WriteSite, edge_vision: Start, tmp_path: Path
) -> None:
    """Whatever is stored of it comes from behind the cover, though its source has packets; its neighbor shows faces."""
    model = write_ultraface(tmp_path / "ultraface", data, "onnx decoded")
    stages = [{"kind": "detect"}, {"kind": "blur"}, {"kind": "count"}]
    (tmp_path / "pipelines").mkdir()
    for name, listed in (("covered", stages), ("open", [stages[0], stages[2]])):
        content = {"stages": listed, "expose": {"model": "detect.model"}}
        (tmp_path / f"pipelines/{name}.yaml").write_text(yaml.safe_dump(content))
    out, folder = tmp_path / "out.jsonl", tmp_path / "evidence"
    site = write_site(
        cameras=[
            {"id": name, "source": {"kind": "av", "path": str(faces)}, "pipeline": name, "with": {"model": str(model)}}
            for name in ("covered", "open")
        ],
        evidence={"kinds": ["count"], "clip": {"before_s": 5, "after_s": 5, "sample_fps": 10}, "folder": str(folder)},
        publish=[{"kind": "jsonl", "path": str(out), "kinds": ["evidence"]}],
    )
    run = edge_vision("run", site)
    assert run.wait(100) == 0
    find = _face_finder(model, tmp_path)
    found: dict[str, list[int]] = {}
    for file in sorted(folder.glob("2*")):
        source, kind = file.name.split(".")[2], ".".join(file.name.split(".")[-2:])
        pictures = [one for _, one in _pictures(file)] if file.suffix == ".mp4" else [_read(file)]
        found.setdefault(f"{source} {kind}", []).extend(find(one) for one in pictures)
    assert {name: max(counts) for name, counts in found.items() if name.startswith("covered")} == {
        "covered annotated.jpg": 0, "covered clean.jpg": 0, "covered clip.mp4": 0,
    }  # fmt: skip
    assert len(found["covered clip.mp4"]) >= 30
    assert sum(found["open clip.mp4"]) >= 20
    assert min(found["open clean.jpg"]) >= 1


def _line_crossing(**source: Any) -> dict[str, Any]:
    """A camera over the demo's line, whose parts cross a line all the time."""
    one = camera(**source)
    gate = {"gate": [[0.5, 1.0], [0.5, 0.0]]}
    return {**one, "pipeline": "object_counting", "with": {**one["with"], "lines": gate}}


def test_a_crash_leaves_no_half_of_a_clip(write_site: WriteSite, edge_vision: Start, tmp_path: Path) -> None:
    """What was whole stays and counts; what was being written is removed by the next run; other files are nobody's."""
    out, folder = tmp_path / "out.jsonl", tmp_path / "evidence"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    site = write_site(
        cameras=[_line_crossing(kind="synthetic", frames=80)],
        evidence={"kinds": ["line_crossed"], "clip": {"before_s": 2, "after_s": 30}, "folder": str(folder)},
        publish=[{"kind": "jsonl", "path": str(out), "kinds": ["evidence"]}],
    )
    crashed = edge_vision("run", site)
    wait_until(lambda: bool(_evidence(out)), 60, "pictures are told")
    wait_until(lambda: bool(list(folder.glob(".part-*.mp4"))), 60, "a clip is being written")
    crashed.kill()
    crashed.wait(60)
    before = {one["path"] for kept in _evidence(out).values() for one in kept["files"]}
    assert all((folder / path).is_file() for path in before)
    again = edge_vision("run", site)
    assert again.wait(60) == 0
    assert list(folder.glob(".part-*")) == []
    assert (folder / "notes.txt").read_text() == "mine"
    named = {one["path"] for kept in _evidence(out).values() for one in kept["files"]}
    assert before < named
    there = {file.name for file in folder.iterdir()} - {"notes.txt", LEDGER}
    assert named <= there
    assert all(_read(folder / name).size for name in there - named), "whole, though the crash came before the message"
    assert all(_is_true(one, folder) for kept in _evidence(out).values() for one in kept["files"])
    clips = [one for kept in _whole(out) for one in kept["files"] if one["type"] == "clip"]
    assert clips
    assert all("the run ended" in one["shorter"] for one in clips)


def test_a_full_disk_spoils_nothing_but_the_evidence(write_site: WriteSite, edge_vision: Start, tmp_path: Path) -> None:
    """Every frame is analyzed and every event delivered; the messages say what is missing, and why."""
    folder = tmp_path / "evidence"
    site = write_site(
        cameras=[_line_crossing(kind="synthetic", frames=120, realtime=False)],
        evidence={"kinds": ["line_crossed"], "clip": {"before_s": 1, "after_s": 1}, "folder": str(folder)},
        publish=[{"kind": "jsonl", "path": "-"}],
    )

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    run = edge_vision("run", site, preexec_fn=small_files, env={**os.environ, "EDGE_VISION_SHARED": ""})
    output, errors = run.communicate(timeout=100)
    assert run.returncode == 0, errors
    messages = [json.loads(line) for line in output.splitlines()]
    kinds = [one["kind"] for one in messages]
    assert kinds.count("detections") == 120
    assert kinds.count("line_crossed") >= 3
    kept = {one["evidence"]["of"]: one["evidence"] for one in messages if one["kind"] == "evidence"}
    assert set(kept) == {one["id"] for one in messages if one["kind"] == "line_crossed"}
    for one in kept.values():
        assert one["files"] == []
        assert [gone["type"] for gone in one["missing"]] == ["snapshot", "clean", "clip"]
        assert all("File too large" in gone["reason"] for gone in one["missing"]), one["missing"]
    assert list(folder.iterdir()) == []
    assert errors.count("cannot be written") == 2, "once for pictures, once for clips"
    assert "Traceback" not in errors
