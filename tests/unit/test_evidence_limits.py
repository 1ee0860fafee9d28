"""Evidence within its limits of disk and memory, and on a disk that cannot be written to."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import wait_until
from evidence_site import MOVED, Site, names_in, running, size_of


def test_the_quota_holds_under_a_thousand_events(tmp_path: Path) -> None:
    """At every moment, across a restart too; what is removed is counted, and whole sets go."""
    largest = 0
    watching = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not watching.wait(0.02):
            largest = max(largest, size_of(tmp_path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    noise = np.random.default_rng(3).integers(0, 255, (72, 96, 3), np.uint8)
    try:
        for _ in range(2):
            with running(tmp_path, max_mb=1, snapshot=["clean"], clip={"before_s": 1, "after_s": 1}) as site:
                for _ in range(500):
                    site.see(MOVED, image=noise)
                wait_until(lambda: site.keeper.facts()["waiting"] == 0, 100, "all is written")
                facts = site.keeper
            assert facts.facts()["removed"] > 0
            assert facts.facts()["bytes"] == size_of(tmp_path) <= 1_000_000
            assert len(site.last) == 500
    finally:
        watching.set()
        watcher.join()
    assert 500_000 < largest <= 1_000_000
    sets: dict[str, list[str]] = {}
    for name in names_in(tmp_path):
        sets.setdefault(name.partition(".cam")[0], []).append(name)
    complete = [names for names in sets.values() if any(name.endswith(".mp4") for name in names)]
    assert len(complete) == len(sets)


def test_memory_is_given_back(tmp_path: Path) -> None:
    """What was written makes room for what comes."""
    with running(tmp_path, queue_mb=0.02) as site:
        for _ in range(6):
            site.see(MOVED)
            wait_until(lambda: site.keeper.facts()["waiting"] == 0, 60, "it is written")
    assert [one["evidence"]["missing"] for one in site.told] == [[]] * 6
    assert site.keeper._held == 0


def test_what_a_full_queue_forgets_is_counted_and_answered(tmp_path: Path) -> None:
    """Who waits for a picture hears of it at once."""
    site = Site(tmp_path, {})
    asked = site.keeper.ask_snapshot("cam")
    site.see(MOVED)
    site.keeper._queue.cancel()
    assert asked.done.wait(60)
    assert asked.outcome == "too many pictures wait to be written (queue_mb)"
    assert (site.keeper.facts()["dropped"], site.keeper.facts()["missing"], site.keeper._held) == (1, 1, 0)


def test_a_disk_that_cannot_be_written_to_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log, with every event in the messages; when it works again so does evidence."""
    place = tmp_path / "e"
    place.write_text("in the way")
    with caplog.at_level(logging.INFO, "edge_vision"), running(place, clip={"before_s": 1, "after_s": 0.2}) as site:
        for number in range(8):
            site.see(*([MOVED] if number % 2 else []))
        wait_until(lambda: len(site.told) >= 8, 60, "all four are told of, twice")
        assert "cannot be written" in site.keeper.facts()["error"]
        place.unlink()
        site.see(MOVED)
        site.see()
        site.see()
        wait_until(lambda: "error" not in site.keeper.facts(), 60, "all is well")
    for kept in list(site.last.values())[:4]:
        assert [one["type"] for one in kept["missing"]] == ["snapshot", "clean", "clip"]
        assert all("cannot be written: File exists" in one["reason"] for one in kept["missing"])
    assert [one["type"] for one in site.told[-1]["evidence"]["files"]] == ["snapshot", "clean", "clip"]
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert logged == [f"evidence in {place}: cannot be written: File exists; analysis goes on"]
