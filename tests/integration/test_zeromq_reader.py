"""A reader of the ZeroMQ sink misses nothing: gaps, an absence, runs that came and went unheard."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Start, wait_until
from zeromq_site import BOOT, Cable, Site, join, make_message, numbers, read_until

from edge_vision.core.message import Message
from edge_vision.publish.zeromq.order import Missed


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_reader_fills_gaps_and_notices_the_loss_of_the_very_last(site: Site) -> None:
    """In the middle, at the end before silence, and of a kind it never heard of: in order, each once."""
    with site.open() as sink, site.read() as reader:
        join(site, sink, reader)
        read_until(reader, lambda _: bool(reader._order._settled), lambda: sink.send([]))  # it knows what is old
        found = []
        for number in range(1, 31):
            site.publish(sink, make_message(number), lost=number in {4, 5, 17, 29, 30})
            found += reader.take(0.0)
        site.publish(sink, make_message(1, kind="reading"), lost=True)
        site.dropped = {("cam", "count"): 30, ("cam", "reading"): 1}  # as an outlet says of a full queue
        found += read_until(reader, lambda more: bool(numbers(more, "reading")) and 30 in numbers(found + more),
                            lambda: sink.send([]))  # fmt: skip
        assert numbers(found) == list(range(1, 31))
        assert numbers(found, "reading") == [1]
        assert reader.missed == 0


def test_what_is_not_kept_is_missed_and_what_follows_goes_on(site: Site) -> None:
    """A gap that the replay socket cannot fill is told with its numbers; detections are not even asked for."""
    with site.open() as sink, site.read() as reader:
        join(site, sink, reader)
        for number in (1, 2, 5, 6):
            sink.send([make_message(number), make_message(number, kind="detections")])
        site.history.messages.append(make_message(4))
        found = read_until(reader, lambda found: 6 in numbers(found) and 6 in numbers(found, "detections"))
        losses = [one for one in found if isinstance(one, Missed)]
        assert Missed(BOOT, "cam", "detections", 3, 4) in losses
        assert Missed(BOOT, "cam", "count", 3, 3) in losses
        assert numbers(found)[-3:] == [4, 5, 6]
        assert reader.missed == 3


def test_without_a_replay_socket_a_gap_is_missed_at_once(tmp_path: Path) -> None:
    """In its place, before what follows."""
    site = Site(tmp_path, curve=False, replay=False)
    with site.open() as sink, site.read() as reader:
        join(site, sink, reader)
        sink.send([make_message(1), make_message(4)])
        found = read_until(reader, lambda found: 4 in numbers(found))
        places = {one.seq if isinstance(one, Message) else (one.first, one.last): place
                  for place, one in enumerate(found) if one.kind == "count"}  # fmt: skip
        assert list(places) == [1, (2, 3), 4]


@pytest.mark.parametrize("away_s", [3.0, pytest.param(60.0, marks=[pytest.mark.full, pytest.mark.timeout(200)])])
def test_a_subscriber_that_was_away_gets_everything(away_s: float, site: Site) -> None:
    """Its cable is cut while 100 messages a second go out; it is the same reader afterwards, and misses none."""
    cable, wires = Cable(site.address), Cable(site.replay)
    try:
        with site.open() as sink, _through(site, cable, wires) as reader:
            number = 0
            found = join(site, sink, reader)

            def send(seconds: float) -> None:
                nonlocal number
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    number += 1
                    site.publish(sink, make_message(number), make_message(number, source="other"))
                    found.extend(reader.take(0.008))

            send(1.0)
            assert numbers(found)
            cable.cut()
            wires.cut()
            send(away_s)
            before = len(numbers(found))
            cable.mend()
            wires.mend()
            send(1.0)
            sink.send([])
            found += read_until(
                reader, lambda more: numbers(found + more).count(number) == 2, lambda: sink.send([]), timeout_s=60
            )
        for source in ("cam", "other"):
            told = [one.seq for one in found if isinstance(one, Message) and one.source == source]
            assert told == list(range(told[0], number + 1)), source
            assert told[0] < 100
        assert reader.missed == 0
        print(f"away for {away_s:g} s: {2 * number} messages, {2 * number - before} after its return, 0 missed")
    finally:
        cable.close()
        wires.close()


def _through(site: Site, cable: Cable, wires: Cable) -> Any:
    from edge_vision.publish.zeromq.reader import open_reader
    from edge_vision.runtime.clock import SystemClock

    return open_reader(cable.address, SystemClock(), replay=wires.address, keys=site.keys)


def test_boots_that_came_and_went_unheard_are_served(tmp_path: Path) -> None:
    """A reader of one run gets the rest of it, all of a run it never heard, and the next run from its first message."""
    site = Site(tmp_path)
    with site.read() as reader:
        with site.open() as sink:
            found = join(site, sink, reader)
            site.publish(sink, make_message(1), make_message(2))
            found += read_until(reader, lambda found: 2 in numbers(found))
        # killed: what it had published last was not heard, nor anything of the run after it
        site.history.messages += [make_message(number) for number in (3, 4)]
        site.history.messages += [make_message(number, boot="00000c") for number in range(1, 6)]
        site.opening = replace(site.opening, will=replace(site.opening.will, boot="00000d"))
        with site.open() as sink:
            new = [make_message(number, boot="00000d") for number in (1, 2, 3)]
            site.publish(sink, *new, lost=True)
            count = iter(range(4, 100_000))
            found += read_until(
                reader,
                lambda more: 3 in numbers(more, boot="00000d") and 5 in numbers(more, boot="00000c"),
                lambda: site.publish(sink, make_message(next(count), boot="00000d")),
            )
    assert numbers(found) == [1, 2, 3, 4]
    assert numbers(found, boot="00000c") == [1, 2, 3, 4, 5]
    assert numbers(found, boot="00000d")[:3] == [1, 2, 3]
    assert not [one for one in found if isinstance(one, Missed)]


def test_a_new_reader_goes_on_where_another_was(site: Site) -> None:
    """With its positions: what came in between, nothing twice; without, it begins with now, or with what is kept."""
    with site.open() as sink:
        with site.read() as reader:
            join(site, sink, reader)
            site.publish(sink, make_message(1), make_message(2))
            read_until(reader, lambda found: 2 in numbers(found))
            known = reader.positions
        site.publish(sink, make_message(3), make_message(4), make_message(1, kind="reading"))
        for settings, counts, readings in (
            ({"known": known}, [3, 4, 5], [1]), ({"kept": True}, [1, 2, 3, 4, 5], [1]), ({}, [5], []),
        ):  # fmt: skip
            with site.read(**settings) as reader:
                if settings:
                    found = read_until(reader, lambda found: 4 in numbers(found))
                else:
                    found = read_until(reader, lambda _: bool(reader._order._settled), lambda: sink.send([]))
                site.publish(sink, make_message(5))
                wanted = len(counts) + len(readings)
                while len(numbers(found) + numbers(found, "reading")) < wanted:
                    found += read_until(reader, bool, lambda: sink.send([]))
            assert numbers(found) == counts, settings
            assert numbers(found, "reading") == readings, settings
            site.history.messages = [one for one in site.history.messages if one.seq != 5]  # for the next one


def test_tail_fills_gaps_and_says_what_is_missed(site: Site, edge_vision: Start, tmp_path: Path) -> None:
    """With keys, the replay socket, and all that is kept: a line per message, losses on standard error."""
    (tmp_path / "client").write_text(site.client[1])
    keys = [f"--server-key={site.public}", "--key", tmp_path / "client"]
    site.history.messages = [make_message(number, boot="00000a") for number in (1, 2, 4)]
    with site.open() as sink:
        tail = edge_vision("tail", site.address, *keys, "--replay", site.replay, "--kept", "--count", "5")
        count = iter(range(1, 100_000))

        def ended() -> bool:
            number = next(count)
            site.publish(sink, make_message(number), lost=number == 2)
            return tail.poll() is not None

        wait_until(ended, 60, "tail has its lines")
    output, errors = tail.communicate(timeout=60)
    assert tail.returncode == 0, errors
    told = [(one["boot"], one["seq"]) for one in map(json.loads, output.splitlines())]
    for boot, numbers_ in (("00000a", [1, 2, 4]), (BOOT, [1, 2, 3, 4, 5])):
        heard = [seq for name, seq in told if name == boot]
        assert heard == numbers_[: len(heard)]
    assert len(told) == 5
    assert site.client[1] not in errors
