"""Every kind of source keeps the contract of `Source`; a new row of the table without a line here fails."""

import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.capture.opening import Opening
from edge_vision.capture.options import SourceOptions
from edge_vision.capture.table import SOURCES, open_source, reopens, silence_limit_s
from edge_vision.core.errors import SourceError
from edge_vision.core.frame import Frame
from edge_vision.runtime.clock import Clock, SystemClock
from edge_vision.testing.contracts import check_source
from edge_vision.testing.fakes import FakeClock

OPTIONS: TypeAdapter[SourceOptions] = TypeAdapter(SourceOptions)
FRAMES = 12


def _options(**given: Any) -> SourceOptions:
    return OPTIONS.validate_python(given)


def _opening(first_index: int = 0, clock: Clock | None = None) -> Opening:
    return Opening("cam", clock or SystemClock(), first_index)


def _picture(number: int, wh: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture of one gray level, which codecs keep within a few levels."""
    return np.full((wh[1], wh[0], 3), 20 * number, np.uint8)


@pytest.fixture(scope="module", name="clip")
def _clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of twelve frames at 10 fps; frame n has the gray level 20 n."""
    file = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))  # type: ignore[attr-defined]
    assert writer.isOpened()
    for number in range(FRAMES):
        writer.write(_picture(number))
    writer.release()
    return file


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two sizes, and a file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:03}.png"), _picture(number, (64, 48) if number % 2 else (50, 30)))
    (folder / "notes.txt").write_text("not a picture")
    (folder / "sub.png").mkdir()
    return folder


RECORDINGS = ("file", "images", "synthetic")
CAMERAS = ("rtsp", "http", "v4l2", "av")
"""`av` is a recording, too, with `path` in place of `url`."""


@pytest.fixture(name="recording", params=[*RECORDINGS, "av"])
def _recording(request: pytest.FixtureRequest, clip: Path, folder: Path) -> SourceOptions:
    """A source of twelve frames, of each kind that ends."""
    given: dict[str, dict[str, Any]] = {
        "file": {"path": clip},
        "images": {"path": folder},
        "synthetic": {"size": (64, 64), "frames": FRAMES, "realtime": False},
        "av": {"path": clip},
    }
    return _options(kind=request.param, **given[request.param])


def test_every_kind_of_source_is_tested_here() -> None:
    """A new row of SOURCES comes with a line in this file."""
    assert set(SOURCES) == {*RECORDINGS, *CAMERAS}


def test_a_recording_keeps_the_contract(recording: SourceOptions) -> None:
    """Twelve frames that stay what they were while they are held, indices 0 to 11, and then the end."""
    with open_source(recording, _opening()) as source:
        assert not source.live
        frames = check_source(source, FRAMES, ends=True)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert {frame.source_id for frame in frames} == {"cam"}
    assert frames[0].media_ns == 0


@pytest.mark.parametrize("kind", ["file", "images", "av"])
def test_the_frames_are_those_recorded_in_their_order(kind: str, clip: Path, folder: Path) -> None:
    """Frame n has the gray level it was recorded with."""
    with open_source(_options(kind=kind, path=folder if kind == "images" else clip), _opening()) as source:
        levels = [frame.image.mean() for frame in check_source(source, FRAMES, ends=True)]
    assert levels == pytest.approx([20 * number for number in range(FRAMES)], abs=4)


@pytest.mark.parametrize("kind", ["file", "av"])
def test_media_time_is_that_of_the_recording(kind: str, clip: Path) -> None:
    """100 ms per frame at 10 fps, however fast the file is read."""
    with open_source(_options(kind=kind, path=clip), _opening()) as source:
        frames = check_source(source, FRAMES, ends=True)
    assert [frame.media_ns for frame in frames] == pytest.approx([n * 100_000_000 for n in range(FRAMES)], abs=1e6)


@pytest.mark.parametrize("kind", ["file", "av"])
def test_memory_is_used_again_when_nobody_holds_frames(kind: str, clip: Path) -> None:
    """A recording read frame by frame lives in a few buffers."""
    addresses = set()
    with open_source(_options(kind=kind, path=clip), _opening()) as source:
        for _ in range(FRAMES):
            frame = source.read()
            assert frame is not None
            addresses.add(frame.image.__array_interface__["data"][0])
            del frame
    assert len(addresses) <= 3


@pytest.mark.parametrize("kind", ["file", "av"])
def test_numbering_goes_on_after_a_reopen(kind: str, clip: Path) -> None:
    """`first_index` is the index of the first frame."""
    with open_source(_options(kind=kind, path=clip), _opening(first_index=100)) as source:
        frames = check_source(source, FRAMES, ends=True)
    assert [frame.index for frame in frames] == list(range(100, 100 + FRAMES))


@pytest.mark.parametrize("kind", ["file", "av"])
def test_a_looped_file_goes_on_with_rising_times(kind: str, clip: Path) -> None:
    """The second lap follows the first: index and media time go on, the pictures begin again."""
    with open_source(_options(kind=kind, path=clip, loop=True), _opening()) as source:
        frames = check_source(source, 2 * FRAMES + 3, ends=False)
    assert [frame.index for frame in frames] == list(range(2 * FRAMES + 3))
    steps = np.diff([frame.media_ns for frame in frames])
    assert steps == pytest.approx(np.full(len(steps), 100_000_000), abs=1e6)
    assert np.array_equal(frames[0].image, frames[FRAMES].image)


@pytest.mark.parametrize("kind", ["file", "av", "synthetic"])
def test_realtime_waits_for_the_media_time(kind: str, clip: Path) -> None:
    """Played like a camera: live, and each frame comes when its time has come."""
    clock = FakeClock()
    given = {"size": (64, 64), "fps": 10.0, "frames": FRAMES} if kind == "synthetic" else {"path": clip}
    with open_source(_options(kind=kind, realtime=True, **given), _opening(clock=clock)) as source:
        assert source.live
        frames = check_source(source, FRAMES, ends=True)
    passed = [(frame.captured_ns - frames[0].captured_ns) / 1e9 for frame in frames]
    assert passed == pytest.approx([0.1 * number for number in range(FRAMES)], abs=0.01)
    assert sum(clock.slept) == pytest.approx(0.1 * (FRAMES - 1), abs=0.01)


@pytest.mark.parametrize("realtime", [True, False])
def test_the_synthetic_line_is_the_same_every_time(realtime: bool) -> None:
    """The same seed draws the same pictures; they differ from each other."""
    options = _options(kind="synthetic", size=(96, 64), seed=3, frames=5, realtime=realtime)
    runs: list[list[Frame]] = []
    for _ in range(2):
        with open_source(options, _opening(clock=FakeClock())) as source:
            runs.append(check_source(source, 5, ends=True))
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.image, other.image)
    assert not np.array_equal(runs[0][0].image, runs[0][4].image)


@pytest.mark.parametrize("size", [(64, 64), (64, 1000), (1000, 64), (65, 67)])
def test_every_size_the_schema_allows_can_be_drawn(size: tuple[int, int]) -> None:
    """What `check` accepts runs."""
    with open_source(_options(kind="synthetic", size=size, frames=1, realtime=False), _opening()) as source:
        (frame,) = check_source(source, 1, ends=True)
    assert frame.wh == size


@pytest.mark.parametrize("size", [(63, 64), (64, 63), (16, 16), (8193, 64)])
def test_a_size_the_line_cannot_draw_is_refused(size: tuple[int, int]) -> None:
    """By the schema, not by the thread that captures."""
    with pytest.raises(ValidationError, match="size"):
        _options(kind="synthetic", size=size)


def test_pictures_of_any_size_are_frames_of_that_size(folder: Path) -> None:
    """A folder may mix sizes."""
    with open_source(_options(kind="images", path=folder), _opening()) as source:
        sizes = [frame.wh for frame in check_source(source, FRAMES, ends=True)]
    assert sizes == [(64, 48) if number % 2 else (50, 30) for number in range(FRAMES)]


def test_a_picture_that_cannot_be_decoded_leaves_a_gap(tmp_path: Path) -> None:
    """The index is the position in the folder, so that the loss is visible."""
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), _picture(number))
    (tmp_path / "1.png").write_bytes(b"not a picture")
    with open_source(_options(kind="images", path=tmp_path), _opening()) as source:
        assert [frame.index for frame in check_source(source, 2, ends=True)] == [0, 2]


def _no_file(folder: Path) -> dict[str, Any]:
    return {"kind": "file", "path": folder / "absent.mp4"}


def _not_a_video(folder: Path) -> dict[str, Any]:
    (folder / "text.mp4").write_text("this is not a video" * 100)
    return {"kind": "file", "path": folder / "text.mp4"}


def _empty_file(folder: Path) -> dict[str, Any]:
    (folder / "empty.mp4").touch()
    return {"kind": "file", "path": folder / "empty.mp4"}


def _no_folder(folder: Path) -> dict[str, Any]:
    return {"kind": "images", "path": folder / "absent"}


def _no_pictures(folder: Path) -> dict[str, Any]:
    (folder / "notes.txt").touch()
    return {"kind": "images", "path": folder}


def _only_broken_pictures(folder: Path) -> dict[str, Any]:
    (folder / "0.png").write_bytes(b"not a picture")
    return {"kind": "images", "path": folder}


def _huge_picture(folder: Path) -> dict[str, Any]:
    """A PNG whose header says 60000 x 60000."""
    cv2.imwrite(str(folder / "0.png"), _picture(1))
    raw = bytearray((folder / "0.png").read_bytes())
    raw[16:24] = (60_000).to_bytes(4, "big") * 2
    raw[29:33] = zlib.crc32(raw[12:29]).to_bytes(4, "big")
    (folder / "0.png").write_bytes(bytes(raw))
    return {"kind": "images", "path": folder}


def _no_device(folder: Path) -> dict[str, Any]:
    return {"kind": "v4l2", "device": folder / "video9"}


def _not_a_camera(_folder: Path) -> dict[str, Any]:
    return {"kind": "v4l2", "device": "/dev/null"}


@pytest.mark.parametrize("kind", ["as it is", "av"])
@pytest.mark.parametrize(
    "make",
    [
        _no_file,
        _not_a_video,
        _empty_file,
        _no_folder,
        _no_pictures,
        _only_broken_pictures,
        _huge_picture,
        _no_device,
        _not_a_camera,
    ],
)
def test_a_source_that_cannot_be_read_is_a_source_error_that_names_it(
    make: Callable[[Path], dict[str, Any]], kind: str, tmp_path: Path
) -> None:
    """Absent, not what it should be, or without a picture: SourceError, never an empty recording."""
    given = make(tmp_path)
    if kind == "av" and given["kind"] != "file":
        given = {"path": given.get("path", given.get("device"))}
    given = {**given, "kind": kind if kind == "av" else given["kind"]}
    with pytest.raises(SourceError) as caught, open_source(_options(**given), _opening()) as source:
        source.read()
    assert str(given.get("path", given.get("device"))) in str(caught.value)


@pytest.mark.parametrize("kind", ["file", "av"])
def test_a_damaged_recording_is_a_source_error(kind: str, clip: Path, tmp_path: Path) -> None:
    """A file cut in half is given up, not taken for a shorter one."""
    cut = tmp_path / "cut.mp4"
    raw = clip.read_bytes()
    start = raw.index(b"mdat") + 4
    end = raw.index(b"moov") - 4
    middle = (start + end) // 2
    cut.write_bytes(raw[:middle] + bytes(end - middle) + raw[end:])
    with pytest.raises(SourceError, match=r"cut\.mp4"):
        _read_to_the_end(_options(kind=kind, path=cut))


def _read_to_the_end(options: SourceOptions) -> None:
    with open_source(options, _opening()) as source:
        for _ in range(FRAMES + 1):
            if source.read() is None:
                return


@pytest.fixture(name="silent_port")
def _silent_port() -> Iterator[int]:
    """A port where somebody takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("kind", ["rtsp", "http", "av"])
@pytest.mark.parametrize("listening", [False, True], ids=["refused", "silent"])
def test_a_camera_that_is_not_there_is_a_source_error_in_time(
    kind: str, listening: bool, free_port: int, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused or silent: an error within the time to open, which shows the address and not the password."""
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter2")
    url = f"{'rtsp' if kind == 'av' else kind}://127.0.0.1:{silent_port if listening else free_port}/line"
    options = _options(
        kind=kind, url=url, username="bob", password={"env": "CAMERA_PASSWORD"}, open_timeout_s=1, read_timeout_s=1
    )
    started = time.monotonic()
    with pytest.raises(SourceError) as caught, open_source(options, _opening()) as source:
        source.read()
    assert time.monotonic() - started < silence_limit_s(options)
    assert url in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "bob" not in str(caught.value)


def _cameras_options(kind: str) -> dict[str, Any]:
    addresses = {"rtsp": "rtsp://c", "http": "http://c", "av": "rtsp://c"}
    return {"url": addresses[kind]} if kind in addresses else {}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_limit_of_silence_is_beyond_the_source_own(kind: str) -> None:
    """A source that keeps its time-outs is never taken for hung."""
    more: dict[str, Any] = _cameras_options(kind)
    if kind in CAMERAS:
        more = {**more, "open_timeout_s": 30, "read_timeout_s": 2}
    elif kind != "synthetic":
        more = {"path": "x"}
    assert silence_limit_s(_options(kind=kind, **more)) > (30 if kind in CAMERAS else 5)


@pytest.mark.parametrize("kind", SOURCES)
def test_cameras_are_opened_again_and_recordings_are_not(kind: str) -> None:
    """A recording that failed would fail again."""
    given = _cameras_options(kind) if kind in CAMERAS else {} if kind == "synthetic" else {"path": "x"}
    assert reopens(_options(kind=kind, **given)) == (kind in CAMERAS)
    if kind == "av":
        assert not reopens(_options(kind=kind, path="x"))
