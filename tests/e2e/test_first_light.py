"""The road on real input: a real clip, a real network, and every message at every subscriber."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Start
from listeners import mqtt_listener, zeromq_listener
from servers import Broker

FRAMES = 1394
CLIP = "one-by-one-person-detection.mp4"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_frame_of_a_clip_reaches_every_subscriber(
    data: Path,
    yolox: Path,
    tmp_path: Path,
    free_port: int,
    broker: Broker,
    edge_vision: Start,
    write_site: Callable[..., Path],
) -> None:
    """1394 messages with indices 0-1393 on JSON lines, ZeroMQ and MQTT; a person in the six known windows."""
    lines = tmp_path / "out.jsonl"
    site = write_site(
        cameras=[
            {
                "id": "gate",
                "source": {"kind": "file", "path": str(data / "video" / CLIP)},
                "pipeline": "object_detection",
                "with": {"model": str(yolox), "confidence": 0.3, "classes": ["person"], "backends": ["onnxruntime"]},
            }
        ],
        publish=[
            {"kind": "jsonl", "path": str(lines)},
            {"kind": "zeromq", "bind": f"tcp://127.0.0.1:{free_port}"},
            {"kind": "mqtt", "host": "127.0.0.1", "port": broker.port},
        ],
    )
    topic = "edge-vision/v1/test/gate/detections"
    with zeromq_listener(f"tcp://127.0.0.1:{free_port}") as heard, mqtt_listener(broker.port) as told:
        process = edge_vision("run", site)
        _, errors = process.communicate(timeout=150)
        assert process.returncode == 0, errors
        heard.wait_for(topic, FRAMES)
        told.wait_for(topic, FRAMES)

    written = [json.loads(line) for line in lines.read_text().splitlines()]
    for messages in (written, heard.on(topic), told.on(topic)):
        assert [message["frame"]["index"] for message in messages] == list(range(FRAMES))
        assert [message["seq"] for message in messages] == list(range(1, FRAMES + 1))
    assert heard.on(topic) == written
    assert told.on(topic) == written
    check_contract(written[41])
    check_visits(written, json.loads((data / "video/ground_truth.json").read_text())[CLIP])
    offline = told.on("edge-vision/v1/test/status")[-1]
    assert (offline["state"], offline["reason"]) == ("offline", "done")


def check_contract(message: dict[str, Any]) -> None:
    """The message has the fields of "edge-vision/1", no more and no fewer."""
    assert list(message) == [
        "schema", "kind", "id", "boot", "seq", "site", "source", "frame", "objects", "latency_ms", "model",
    ]  # fmt: skip
    assert message["schema"] == "edge-vision/1"
    assert message["kind"] == "detections"
    assert message["id"] == f"{message['boot']}-gate-detections-42"
    assert (message["site"], message["source"]) == ("test", "gate")
    frame = message["frame"]
    assert list(frame) == ["index", "timestamp", "media_ms", "width", "height"]
    assert (frame["media_ms"], frame["width"], frame["height"]) == (4100.0, 768, 432)
    assert frame["timestamp"].endswith("Z")
    latency = message["latency_ms"]
    assert list(latency) == ["capture", "preprocess", "inference", "postprocess", "analytics", "total"]
    assert sum(latency.values()) - latency["total"] <= latency["total"]
    assert message["model"] == {
        "name": "yolox_nano", "backend": "onnxruntime", "device": "CPU", "precision": "f32",
    }  # fmt: skip


def check_visits(messages: list[dict[str, Any]], truth: dict[str, Any]) -> None:
    """A person is seen in the middle of each visit, and hardly ever between them."""
    seen = [len(message["objects"]) > 0 for message in messages]
    for first, last in truth["visit_frames"]:
        window = seen[first + 10 : last - 9]
        assert sum(window) >= 0.9 * len(window), f"visit {first}-{last}: seen in {sum(window)} of {len(window)}"
    inside = {index for first, last in truth["visit_frames"] for index in range(first - 15, last + 16)}
    outside = [seen[index] for index in range(len(seen)) if index not in inside]
    assert sum(outside) <= 0.05 * len(outside)
    assert all(
        {"class", "class_id", "confidence", "xyxy"} == set(item) and item["class"] == "person"
        for message in messages
        for item in message["objects"]
    )


def test_lines_on_standard_output(data: Path, yolox: Path, edge_vision: Start, write_site: Callable[..., Path]) -> None:
    """`path: "-"` gives one JSON line per frame and nothing else on standard output."""
    site = write_site(
        cameras=[
            {
                "id": "pictures",
                "source": {"kind": "images", "path": str(data / "images/coco_det_ccby")},
                "pipeline": "object_detection",
                "with": {"model": str(yolox)},
            }
        ],
        publish=[{"kind": "jsonl", "path": "-"}],
    )
    process = edge_vision("run", site, stderr=subprocess.DEVNULL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [json.loads(line)["frame"]["index"] for line in output.splitlines()] == list(range(13))
