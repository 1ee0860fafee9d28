"""Evidence in a folder that does not answer."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from evidence_site import MOVED, Site, running

from edge_vision.app.supervisor import Supervisor
from edge_vision.core.errors import EvidenceError
from edge_vision.publish.evidence import keeper as keeper_module
from edge_vision.publish.evidence.store import Store, Stored
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.systemd import Notifier


class _Hanging:
    """A disk that does not answer until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.answers.set()
        save, fetch = Store.save, Store.fetch

        def slow_save(store: Store, name: str, content: bytes) -> Stored:
            self.answers.wait(60)
            return save(store, name, content)

        def slow_fetch(store: Store, path: str, offset: int, length: int) -> tuple[bytes, int]:
            self.answers.wait(60)
            return fetch(store, path, offset, length)

        monkeypatch.setattr(Store, "save", slow_save)
        monkeypatch.setattr(Store, "fetch", slow_fetch)
        monkeypatch.setattr(keeper_module, "_LIMIT_S", 3.0)
        monkeypatch.setattr(keeper_module, "_READ_S", 1.0)


def test_a_folder_that_hangs_is_told_and_holds_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the stack; the site is degraded and goes on, and so does evidence when the folder answers again."""
    caplog.set_level(logging.INFO, "edge_vision")
    disk, told = _Hanging(monkeypatch), list[dict[str, Any]]()
    with running(tmp_path, queue_mb=0.1, snapshot=["clean"]) as site:
        supervisor = Supervisor(
            [], [], lambda state, _: told.append({"state": state}), Notifier(), SystemClock(), evidence=site.keeper
        )
        logging.getLogger("edge_vision").addHandler(caplog.handler)
        try:
            site.see(MOVED)
            wait_until(lambda: len(site.told) == 1, 60, "the first picture is told")
            path = site.told[0]["evidence"]["files"][0]["path"]
            disk.answers.clear()
            site.see(MOVED)
            wait_until(lambda: bool(supervisor.tick()) and supervisor.state == "degraded", 60, "it is degraded")
            assert (supervisor.gave_up, supervisor.abandoned) == ("", [])
            assert told[-1]["state"] == "degraded"
            assert site.keeper.facts()["error"].startswith("writing hangs for ")
            started_ns = time.monotonic_ns()
            for _ in range(50):
                site.see(MOVED)
                supervisor.tick()
            assert time.monotonic_ns() - started_ns < 30_000_000_000, "the disk answers after a minute"
            for told_of in ("within", "for"):  # the thread that hangs is the only one
                with pytest.raises(EvidenceError, match=f"the folder does not answer {told_of} "):
                    site.keeper.fetch(path, 0, 1_000_000)
            assert site.keeper.left_behind
            with pytest.raises(EvidenceError, match="cam: writing hangs for "):
                site.keeper.ask_snapshot("cam")
            disk.answers.set()
            wait_until(lambda: supervisor.tick() and len(site.last) == 52, 60, "every event is told of")
            assert supervisor.state == "online"
            assert "error" not in site.keeper.facts()
        finally:
            logging.getLogger("edge_vision").removeHandler(caplog.handler)
            disk.answers.set()
        wait_until(lambda: not site.keeper._reader or not site.keeper._reader.alive, 60, "the file is read")
        assert site.keeper.fetch(path, 0, 1_000_000)
    assert not site.keeper.left_behind
    said = {id(record): record.getMessage() for record in caplog.records}.values()  # two handlers may hear of one
    (hangs,) = (one for one in said if "hangs for" in one)
    assert "slow_save" in hangs
    assert len([one for one in said if one.endswith(" goes on")]) == 1
    missing = [kept for kept in site.last.values() if kept["missing"]]
    assert missing, "what did not fit into queue_mb"


def test_the_end_does_not_wait_for_a_folder_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of the time belongs to the sinks."""
    disk = _Hanging(monkeypatch)
    site = Site(tmp_path, {"snapshot": ["clean"]})
    site.keeper.start()
    disk.answers.clear()
    site.see(MOVED)
    wait_until(lambda: site.keeper.state == "lost", 60, "it hangs")
    started_ns = time.monotonic_ns()
    assert not site.keeper.finish(20)
    assert time.monotonic_ns() - started_ns < 15_000_000_000
    assert site.keeper.left_behind
    disk.answers.set()
    assert site.keeper.worker.join(60)
