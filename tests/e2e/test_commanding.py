"""What commands over MQTT and ZeroMQ do to the cameras of a running site."""

import base64
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from commanding import wait_for_site
from commanding_site import Running, camera_of, running_site
from conftest import Start, wait_until
from demo_site import TOPIC, camera
from servers import Broker


@pytest.fixture(name="site")
def _site(edge_vision: Start, write_site: Callable[..., Path], broker: Broker, tmp_path: Path) -> Iterator[Running]:
    with running_site(edge_vision, write_site, broker, tmp_path) as site:
        yield site


def test_a_camera_is_disabled_and_enabled(site: Running) -> None:
    """No detections while it is disabled, the status at once, and tracks of frames that go on where they are."""
    assert site.mqtt.ask("line/set/enabled", {"value": False})["ok"] is True
    disabled = _now()
    status = site.wait_for(lambda one: camera_of(one).get("state") == "disabled", "the status says disabled")
    assert status["state"] == "online"
    assert camera_of(status)["overrides"] == {"enabled": False}
    assert site.zeromq.ask("line/set/snapshot")["reason"].startswith("line is disabled")
    values = iter(range(1, 1000))

    def skipped() -> int:
        """Each change is told at once, with the counts of that moment."""
        site.mqtt.ask("line/set/confidence", {"value": next(values) / 1000})
        return int(camera_of(site.status)["frames"].get("skipped", 0))

    wait_until(lambda: skipped() > 25, 60, "its frames come and are skipped")
    assert _captured_after(disabled, site) == []
    site.mqtt.ask("line/set/confidence", {"value": None})
    assert site.zeromq.ask("line/set/enabled", {"value": True})["ok"] is True
    status = site.wait_for(lambda one: camera_of(one).get("state") == "online", "the status says online")
    assert "overrides" not in camera_of(status)
    wait_until(lambda: len(_captured_after(disabled, site)) >= 5, 60, "frames come again")
    frames = site.heard.on(TOPIC)
    assert [one["seq"] for one in frames] == list(range(frames[0]["seq"], frames[-1]["seq"] + 1))


def _now() -> str:
    """The time as messages have it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _captured_after(moment: str, site: Running) -> list[dict[str, Any]]:
    """What was heard of frames that were captured later than this; of earlier ones some may be on their way."""
    return [one for one in site.heard.on(TOPIC) if one["frame"]["timestamp"] > moment]


def _scores(site: Running, frames: int = 30) -> list[float]:
    now = _now()
    wait_until(lambda: len(_captured_after(now, site)) >= frames, 60, "enough frames come")
    messages = _captured_after(now, site)
    return [thing["confidence"] for message in messages for thing in message["objects"]]


def test_a_confidence_holds_from_the_next_frame_on(site: Running) -> None:
    """Higher than what is seen: nothing; back to the site file's: all of it again."""
    usual = _scores(site)
    assert usual
    middle = float(np.median(usual))
    answer = site.mqtt.ask("line/set/confidence", {"value": middle})
    assert (answer["ok"], answer["value"]) == (True, middle)
    assert min(_scores(site)) >= middle - 0.001
    low = site.zeromq.ask("line/set/confidence", {"value": 0.01})
    assert low["ok"] is True
    assert min(_scores(site)) < min(usual)  # lower than the model's own threshold lets through
    status = site.wait_for(lambda one: camera_of(one).get("overrides") == {"confidence": 0.01}, "the status says so")
    assert status["state"] == "online"
    assert site.mqtt.ask("line/set/confidence", {"value": None})["ok"] is True
    assert min(_scores(site)) >= 0.3
    site.wait_for(lambda one: "overrides" not in camera_of(one), "nothing is changed any more")


def test_a_snapshot_shows_the_line(site: Running) -> None:
    """Over both ways: a JPEG of the frame that is named."""
    for ask in (site.mqtt.ask, site.zeromq.ask):
        answer = ask("line/set/snapshot", {"width_px": 320})
        assert answer["ok"] is True, answer
        image = cv2.imdecode(np.frombuffer(base64.b64decode(answer["data"]), np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape == (180, 320, 3)
        assert answer["frame"]["width"] == 320
        assert image.std() > 5


def test_evidence_is_kept_and_fetched_on_command(site: Running) -> None:
    """A snapshot that is kept, and then the file itself, in parts; not that of another camera, not any other file."""
    site.write(cameras=[camera(), {**camera(), "id": "other"}], evidence={"kinds": [], "max_mb": 10})
    first = site.mqtt.ask("set/reload")
    assert first["ok"] is True, first
    site.wait_for(lambda one: one["boot"] != first["boot"] and one["state"] == "online", "the site keeps evidence")
    wait_for_site(site.mqtt, site.process)
    kept = site.mqtt.ask("line/set/snapshot", {"keep": True})
    assert kept["ok"] is True, kept
    whole, size = b"", 1
    while len(whole) < size:
        part = site.zeromq.ask("line/set/fetch", {"path": kept["path"], "offset": len(whole), "length": 20_000})
        assert part["ok"] is True, part
        whole, size = whole + base64.b64decode(part["data"]), part["size"]
    image = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (360, 640, 3)
    assert "not that of a file of other" in site.mqtt.ask("other/set/fetch", {"path": kept["path"]})["reason"]
    for path in ("x.line.jpg", kept["path"].replace(".line.", ".line.x."), kept["path"][:-1] + "x"):
        assert site.mqtt.ask("line/set/fetch", {"path": path})["ok"] is False
