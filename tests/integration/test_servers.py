"""The servers of a model: when they are asked, tried again and proven again, and what a frame gets meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from oip_server import Arrays, OipServer, serving

from edge_vision.app.servers import Proven, Server, Servers
from edge_vision.app.standby import Standby
from edge_vision.core.errors import InferenceError
from edge_vision.core.scene import Scene, ServedModel, Timings
from edge_vision.inference.options import BatchingOptions, DetectOptions
from edge_vision.inference.remote.options import RemoteOptions
from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.testing.fakes import FakeClock, make_frame


@pytest.fixture(name="bundle", scope="module")
def _bundle(golden_yolox: Path) -> Bundle:
    bundle, problems = read_bundle(golden_yolox)
    assert bundle is not None, problems
    return bundle


@pytest.fixture(name="server")
def _server(golden_yolox: Path) -> Iterator[OipServer]:
    """YOLOX-nano behind the protocol."""
    session = onnxruntime.InferenceSession(str(golden_yolox / "yolox_nano.onnx"))

    def answer(arrays: Arrays) -> Arrays:
        return {"output": session.run(["output"], {"images": arrays["images"]})[0]}

    server = OipServer(answer, [("images", "FP32", [-1, 3, 416, 416])], [("output", "FP32", [-1, 3549, 85])])
    server.model = "yolox_nano"
    with serving(server):
        yield server


@pytest.fixture(name="clock")
def _clock() -> FakeClock:
    return FakeClock()


def _servers(bundle: Bundle, clock: FakeClock, *urls: str, **more: Any) -> Servers:
    settings = {"urls": urls, "timeout_s": 2.0, "retry_s": 5.0, "prove_every_s": 100, **more}
    remote = RemoteOptions.model_validate(settings)
    options = DetectOptions(kind="detect", model=bundle.folder, remote=remote)
    return Servers(bundle, options, remote, clock)


def _mind(servers: Servers) -> None:
    servers.mind()
    assert servers.join(60)


def test_a_server_is_asked_only_after_it_was_shown_every_golden_picture(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """One blank picture and the golden ones; then it is online, and the figures are those of the gate."""
    servers = _servers(bundle, clock, server.url)
    assert next(servers.online(), None) is None
    servers.start()
    assert bundle.golden is not None
    assert server.requests == 1 + len(bundle.golden.file.images)
    ((one, proven),) = servers.online()
    assert (one.state, proven.model.backend) == ("online", "remote")
    assert proven.agreement is not None
    assert proven.agreement.found == bundle.golden.objects


def test_a_lost_server_is_counted_once_tried_after_a_while_and_proven_again(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """Two cameras that meet the failure are one loss; a check comes after `retry_s`, one at a time."""
    servers = _servers(bundle, clock, server.url)
    servers.start()
    ((one, proven),) = servers.online()
    before = server.requests
    one.lose(proven, InferenceError("broke"))
    one.lose(proven, InferenceError("broke"))
    assert (one.state, one.error, one.tally["lost"]) == ("lost", "broke", 1)
    servers.account()
    clock.advance(3.0)
    _mind(servers)
    assert server.requests == before, "tried too early"
    clock.advance(4.0)
    _mind(servers)
    assert one.state == "online"
    assert server.requests > before + 1
    ((_, again),) = servers.online()
    assert again is not proven
    servers.account()
    assert servers.facts()["fallback"] == {"frames": 0, "seconds": 7.0}


def test_a_server_that_is_lost_again_and_again_is_tried_less_often(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """5 s after the first time, 10 s after the second, give or take a fifth."""
    servers = _servers(bundle, clock, server.url)
    servers.start()
    for wait_s in (5.0, 10.0):
        ((one, proven),) = servers.online()
        one.lose(proven, InferenceError("broke"))
        clock.advance(wait_s * 0.79)
        _mind(servers)
        assert one.state == "lost"
        clock.advance(wait_s * 0.42)
        _mind(servers)
        assert one.state == "online"


def test_a_model_that_changes_behind_an_open_connection_is_found_out(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """Every `prove_every_s` the pictures are shown again: a hot swap breaks no connection."""
    servers = _servers(bundle, clock, server.url)
    servers.start()
    right = server.answer
    server.answer = lambda arrays: {"output": np.roll(right(arrays)["output"], 1, axis=2)}
    clock.advance(99)
    _mind(servers)
    (one,) = servers
    assert one.state == "online"
    clock.advance(2)
    _mind(servers)
    assert one.state == "refused"
    assert next(servers.online(), None) is None
    assert "runtime: sees something else at f32" in one.error
    server.answer = right
    clock.advance(20)
    _mind(servers)
    assert one.state == "online"


def test_a_check_that_ends_in_a_mistake_of_ours_takes_the_server_out(
    bundle: Bundle, server: OipServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then what it sees; the next check may do better."""
    servers = _servers(bundle, clock, server.url)
    servers.start()

    def mistake(*_arguments: object) -> None:
        msg = "a mistake"
        raise RuntimeError(msg)

    with monkeypatch.context() as patched:
        patched.setattr("edge_vision.app.servers.prove", mistake)
        clock.advance(101)
        _mind(servers)
    (one,) = servers
    assert (one.state, one.error) == ("lost", "a mistake")
    assert next(servers.online(), None) is None
    clock.advance(20)
    _mind(servers)
    assert one.state == "online"


def test_a_proof_that_ends_after_the_server_was_lost_counts_for_nothing(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """Who was shown the pictures is gone: whoever listens there now must see them from the beginning."""
    servers = _servers(bundle, clock, server.url)
    servers.start()
    ((one, proven),) = servers.online()
    right = server.answer

    def lose_meanwhile(arrays: Arrays) -> Arrays:
        one.lose(proven, InferenceError("broke"))
        return right(arrays)

    server.answer = lose_meanwhile
    one.check()
    assert (one.state, one.proven) == ("lost", None)


def test_a_server_whose_model_does_not_fit_any_file_is_refused(
    bundle: Bundle, server: OipServer, clock: FakeClock
) -> None:
    """The reason names both shapes."""
    server.inputs = [("images", "FP32", [1, 3, 640, 640])]
    servers = _servers(bundle, clock, server.url)
    servers.start()
    (one,) = servers
    assert one.state == "refused"
    assert "[1, 3, 640, 640]" in one.error


class _Stage:
    """A stage that takes time, and then answers or fails."""

    def __init__(self, clock: FakeClock, takes_s: float, error: Exception | None = None) -> None:
        self.calls = 0
        self.open = False
        self._clock = clock
        self._takes_s = takes_s
        self.error = error

    def __call__(self, scene: Scene) -> Scene:
        self.calls += 1
        self._clock.advance(self._takes_s)
        if self.error is not None:
            raise self.error
        timings = Timings(inference_ns=int(self._takes_s * 1e9))
        return Scene(scene.frame, timings=timings)

    @contextmanager
    def opened(self) -> Iterator["_Stage"]:
        """Itself, remembering whether it is open."""
        self.open = True
        yield self
        self.open = False


class _Nobody:
    """As much of a proof as the log wants to know."""

    model = ServedModel("m", "remote", "nobody", "f32", ())
    agreement = None


def _proven(server: Server) -> Proven:
    """A stand-in for what a proof leaves behind."""
    proven: Any = object.__new__(Proven)
    server._accept(_Nobody(), None)  # type: ignore[arg-type]
    server.proven = proven
    return server.proven


def test_a_frame_that_one_server_fails_goes_on_to_the_next_and_then_to_this_machine(
    bundle: Bundle, clock: FakeClock
) -> None:
    """The frame is answered each time; the time lost counts as inference, and the connections are closed."""
    servers = _servers(bundle, clock, "http://127.0.0.1:1", "http://127.0.0.1:2")
    first, second = servers
    stages = {id(_proven(first)): _Stage(clock, 1.0), id(_proven(second)): _Stage(clock, 0.2)}
    one, two = stages.values()
    local = _Stage(clock, 0.3)
    standby = Standby(servers, lambda proven: stages[id(proven)].opened(), local, clock)
    scene = Scene(make_frame(clock=clock))
    assert standby(scene).timings == Timings(inference_ns=1_000_000_000)
    one.error = InferenceError("broke")
    scene = Scene(make_frame(clock=clock))
    assert standby(scene).timings == Timings(inference_ns=1_200_000_000)
    assert (first.state, second.state, one.open, two.open) == ("lost", "online", False, True)
    two.error = InferenceError("broke")
    scene = Scene(make_frame(clock=clock))
    assert standby(scene).timings == Timings(inference_ns=500_000_000)
    assert (one.calls, two.calls, local.calls) == (2, 2, 1)
    clock.advance(1.5)
    assert servers.facts()["fallback"] == {"frames": 1, "seconds": 1.5}
    assert not two.open


def test_no_connection_is_opened_long_after_the_proof(bundle: Bundle, server: OipServer, clock: FakeClock) -> None:
    """The camera came an hour late: the frame is answered here, and the pictures are shown again at once."""
    servers = _servers(bundle, clock, server.url, prove_every_s=86400)
    servers.start()
    remote, local = _Stage(clock, 0.0), _Stage(clock, 0.0)
    standby = Standby(servers, lambda _: remote.opened(), local, clock)
    clock.advance(3600)
    before = server.requests
    standby(Scene(make_frame(clock=clock)))
    assert (remote.calls, local.calls) == (0, 1)
    assert servers.join(60)
    assert server.requests > before
    standby(Scene(make_frame(clock=clock)))
    clock.advance(3600)
    standby(Scene(make_frame(clock=clock)))
    assert (remote.calls, local.calls) == (2, 1), "an open connection serves on"
    standby.close()


def test_what_fails_on_this_machine_fails_as_ever(bundle: Bundle, clock: FakeClock) -> None:
    """Without a server online the error is the stage's own."""
    servers = _servers(bundle, clock, "http://127.0.0.1:1")
    standby = Standby(servers, lambda _: nullcontext(_Stage(clock, 0)), _Stage(clock, 0, InferenceError("mine")), clock)
    with pytest.raises(InferenceError, match="mine"):
        standby(Scene(make_frame(clock=clock)))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"urls": []}, "at least 1"),
    ({"urls": ["ftp://host:1"]}, "must be http"),
    ({"urls": ["http://user:secret@host:1"]}, "without user name"),
    ({"urls": ["http://host:1?token=x"]}, "or query"),
    ({"urls": ["grpc://host"]}, "with a port"),
    ({"urls": ["grpc://host:1/path"]}, "without a path"),
    ({"urls": ["http://host:99999"]}, "[Pp]ort"),
    ({"urls": ["http://host:1", "http://host:1/"]}, "listed twice"),
    ({"urls": ["http://host:1"], "timeout_s": 0}, "greater than 0"),
]


@pytest.mark.parametrize("options, words", REFUSED)
def test_addresses_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    """With a sentence, and before anything is started."""
    with pytest.raises(ValueError, match=words):
        RemoteOptions.model_validate(options)


def test_a_certificate_named_in_a_site_lies_beside_it(write_site: Callable[..., Path], golden_yolox: Path) -> None:
    """Like every other path of a site."""
    from edge_vision.app.check import check_site

    remote = {"urls": ["https://[::1]:8443/prefix"], "ca_file": "ca.pem", "token": {"file": "token"}}
    site = write_site(
        cameras=[
            {
                "id": "gate",
                "source": {"kind": "synthetic", "frames": 1},
                "pipeline": "object_detection",
                "with": {"model": str(golden_yolox), "remote": remote},
            }
        ],
        publish=[{"kind": "jsonl", "path": "-"}],
    )
    options = check_site(site).site.cameras[0].stages[0]
    assert options.remote.ca_file == site.parent / "ca.pem"
    assert options.remote.token.file == site.parent / "token"
    assert options.longest_wait_s == 2 * 2.0 + 10.0
    gathered = options.model_copy(update={"batching": BatchingOptions()})
    assert gathered.longest_wait_s == 2 * 2.0 + 2 * 10.0  # a follower waits for its leader, who waits for the device
