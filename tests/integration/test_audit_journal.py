"""An audit's journal is on the disk before the broker hears that a message arrived."""

import os
import stat
from io import FileIO
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from audited import message
from conftest import wait_until
from paho.mqtt.enums import CallbackAPIVersion
from servers import Broker

from edge_vision.publish.audit import keeping
from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.keeping import keep
from edge_vision.publish.audit.ledger import Ledger
from edge_vision.publish.audit.over_mqtt import Broker as Origin
from edge_vision.publish.audit.over_mqtt import MqttListener
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker

COUNT = 40


class _Audit:
    """An audit of a broker's messages with a state file, on a thread of its own."""

    def __init__(self, broker: Broker, state: Path) -> None:
        self.said: list[str] = []
        self.received = 0

        def work(worker: Worker) -> None:
            with keep(state) as kept:
                auditor = Auditor(Ledger(kept.book, live=True), SystemClock(), Limits(), kept)
                origin = Origin("127.0.0.1", broker.port, client_id="auditor")
                MqttListener(origin, auditor, self.said.append).listen(worker)
                self.received = sum(one.received.size for one in kept.book.streams)

        self.worker = Worker("audit", work, 60.0, SystemClock())
        self.worker.start()
        wait_until(lambda: any("listening" in text for text in self.said), 60, "it listens")

    def end(self) -> None:
        self.worker.stop()
        assert self.worker.join(60)
        assert self.worker.error is None


def _publish(broker: Broker) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    sent = [client.publish("edge-vision/v1/test/line/count", message(seq), qos=1) for seq in range(1, COUNT + 1)]
    for one in sent:
        one.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def test_nothing_is_acknowledged_that_a_power_cut_would_take(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk does not take the journal the broker keeps the messages; where it does, batches share a flush."""
    flushes: list[int] = []
    broken = [True]

    def flush(_journal: int) -> None:
        flushes.append(broker.acknowledged)
        if broken:
            raise OSError(5, os.strerror(5))

    monkeypatch.setattr(os, "fdatasync", flush)
    audit = _Audit(broker, tmp_path / "audit.json")
    _publish(broker)
    wait_until(lambda: any("Input/output error" in text for text in audit.said), 60, "the disk's error")
    assert set(flushes) == {0}
    broken.clear()
    wait_until(lambda: broker.acknowledged >= COUNT, 60, "all are acknowledged")
    audit.end()
    assert audit.received == COUNT


def test_a_book_is_on_the_disk_before_its_journal_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, name, then journal: a power cut between any two loses nothing."""
    done: list[str] = []
    fsync, truncate = os.fsync, FileIO.truncate

    class _Journal(FileIO):
        def truncate(self, size: int | None = None, /) -> int:
            done.append("truncate")
            return truncate(self, size)

    def sync(number: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "file")
        fsync(number)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(keeping, "FileIO", _Journal)
    with keep(tmp_path / "audit.json") as kept:
        done.clear()
        kept.save()
        assert done == ["file", "folder", "truncate"]
