"""What an audit counts: missing, told, double, late."""

from typing import Any

import msgspec
import pytest
from audited import (
    ALL_IS_LATE,
    BOOT,
    LATER,
    T0_MS,
    audit,
    gap,
    heartbeat,
    ledger_of,
    message,
    row,
    stamp,
)

from edge_vision.publish.audit import ledger as books
from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.heads import read_head
from edge_vision.publish.audit.latency import Latencies
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.report import UNOWED_BY_A_BROKER, Scope, facts, make_report
from edge_vision.publish.audit.wording import in_words
from edge_vision.testing.fakes import FakeClock


def events(*numbers: int, **more: Any) -> list[bytes]:
    """Events with these numbers."""
    return [message(number, **more) for number in numbers]


def test_all_that_came_is_no_loss() -> None:
    """In order, once each: 0, from whatever number it began."""
    report = audit(*events(7, 8, 9))
    assert (report.verdict, report.exit_code) == ("no loss", 0)
    assert (report.received, row(report).first, row(report).last, row(report).owed_from) == (3, 7, 9, 7)


def test_what_is_missing_is_counted_and_named() -> None:
    """Ranges up to a number, the count in full."""
    report = audit(*events(1, 4, 5, 9))
    assert (report.verdict, report.exit_code, report.missing) == ("loss", 1, 5)
    assert row(report).missing.ranges == [(2, 3), (6, 8)]
    many = audit(*events(*range(1, 202, 2)))
    assert many.missing == 100
    assert row(many).missing.ranges == [(number, number) for number in range(2, 42, 2)]
    assert "2, 4, 6" in in_words(many)
    assert "and 80 more" in in_words(many)


def test_from_the_start_on_a_late_beginning_is_a_loss() -> None:
    """Who says that every number is owed, gets the beginning counted."""
    assert audit(*events(3, 4)).exit_code == 0
    report = audit(*events(3, 4), from_start=True)
    assert (report.exit_code, row(report).missing.ranges) == (1, [(1, 2)])


def test_what_comes_late_or_again_is_no_loss() -> None:
    """Out of order and double are counted apart; a body that differs under the same id is a loss."""
    report = audit(*events(1, 3, 2, 3, 1, 4))
    assert (report.exit_code, report.out_of_order, report.duplicates.same) == (0, 1, 2)
    report = audit(*events(1, 2), message(2, frame=None))
    assert (report.exit_code, report.duplicates.different) == (1, 1)
    assert "two bodies under one id" in in_words(report)


def test_bodies_are_compared_as_far_back_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A duplicate of long ago is known as one, but not compared."""
    monkeypatch.setattr(books, "RECENT", 3)
    report = audit(*events(1, 2, 3, 4, 1, 3))
    assert (report.duplicates.uncompared, report.duplicates.same, report.exit_code) == (1, 1, 0)


def test_what_a_gap_message_tells_is_a_loss_of_its_own() -> None:
    """Told and missing are listed apart; what was told and came all the same is not lost."""
    report = audit(*events(1, 2, 6, 9), gap(1, "count", 3, 5), gap(2, "count", 3, 4))
    assert row(report).missing.ranges == [(7, 8)]
    assert row(report).told.ranges == [(3, 5)]
    assert row(report).told_by == {"mqtt broker:1883: older than 168 h": 3}
    assert (report.missing, report.told, report.exit_code) == (2, 3, 1)
    assert audit(*events(1, 2, 3), gap(1, "count", 2, 2)).exit_code == 0


def test_a_gap_tells_of_an_earlier_boot_of_which_nothing_came() -> None:
    """And of numbers before those that came, and after."""
    report = audit(gap(1, "count", 4, 8, boot="0199"), *events(5))
    assert row(report, boot="0199").told.count == 5
    assert (report.told, report.missing, report.exit_code) == (5, 0, 1)
    report = audit(*events(5), gap(1, "count", 8, 9))
    assert (row(report).missing.ranges, row(report).told.ranges) == ([(6, 7)], [(8, 9)])


def test_a_gap_that_does_not_say_which_is_a_loss() -> None:
    """The file in which they waited was unreadable: nobody knows what was in it."""
    report = audit(*events(1, 2), gap(1, None, None, None, count=12))
    assert (report.exit_code, report.unnamed_gaps) == (1, {"mqtt broker:1883: older than 168 h": 12})


def test_what_another_sink_lost_before_we_came_is_no_loss_of_ours() -> None:
    """Over ZeroMQ every gap message is about a broker: of a run before, of what was before, of what we have."""
    bodies = [*events(5, 6, 7, 8, 9), gap(1, "count", 1, 6), gap(2, "count", 1, 40, boot="0199")]
    assert audit(*bodies).told == 44
    report = audit(*bodies, told_before=False)
    assert (report.exit_code, report.told, report.missing) == (0, 0, 0)
    assert audit(*bodies, gap(3, "count", 8, 11), told_before=False).told == 2
    assert audit(*bodies, told_before=False, from_start=True).told == 44


def test_detections_and_statuses_do_not_decide_unless_asked_to() -> None:
    """Of those the freshest count, not all; `kinds` and `strict` (all) choose."""
    bodies = [*events(1, 2), *events(1, 5, kind="detections"), *events(1, 5, kind="status", source="", state="online")]
    report = audit(*bodies)
    assert (report.exit_code, row(report, "detections").missing.count, row(report, "detections").counts) == (
        0,
        3,
        False,
    )
    assert audit(*bodies, kinds=frozenset()).missing == 6
    assert audit(*bodies, kinds={"detections"}).missing == 3
    assert audit(*bodies, kinds={"presence_changed"}).exit_code == 3


def test_over_mqtt_a_lost_status_is_a_loss_but_statuses_alone_prove_nothing() -> None:
    """A site that is up tells them whether or not its events arrive."""
    status = {"kind": "status", "source": "", "state": "online"}
    whole, holed = events(1, 2, **status), events(1, 5, **status)
    assert audit(*events(1, 2), *holed, unowed=UNOWED_BY_A_BROKER).exit_code == 1
    assert audit(*events(1, 2), *whole, unowed=UNOWED_BY_A_BROKER).exit_code == 0
    assert audit(*whole, unowed=UNOWED_BY_A_BROKER).exit_code == 3
    assert audit(*whole, kinds={"status"}).exit_code == 0


def test_a_heartbeat_tells_what_is_missing_at_the_end() -> None:
    """Also of kinds of which nothing came; not what may still be under way, and not what was before we came."""
    report = audit(*events(1, 2), heartbeat(("line", "count", 4), ("", "gap", 1)), heartbeat(("", "gap", 2)))
    assert row(report).missing.ranges == [(3, 4)]
    assert row(report, "gap", source="").missing.ranges == [(2, 2)], "the first heartbeat says what was before"
    told_ms = T0_MS
    bodies = [*events(1, 2), heartbeat(("line", "count", 4))]
    assert audit(*bodies, now_ms=told_ms + books.GRACE_MS - 1).exit_code == 0
    assert audit(*bodies, now_ms=told_ms + books.GRACE_MS).exit_code == 1


def test_heartbeats_that_go_on_do_not_put_off_what_they_say() -> None:
    """One per second for longer than the grace: what the first one named counts."""
    beats = [heartbeat(("line", "count", 3 + number)) for number in range(9)]
    ledger = ledger_of(*events(1, 2), *beats, step_ms=1000)
    report = make_report(ledger, Scope(), T0_MS + 10_000)
    assert row(report).missing.count >= 1
    assert row(report).missing.ranges[0][0] == 3
    assert row(make_report(ledger, Scope(), ALL_IS_LATE)).missing.ranges == [(3, 11)]


def test_a_boot_that_begins_while_we_listen_is_owed_from_its_first_number() -> None:
    """Not one that is older, or began before the audit by its own clock, or in a recording."""
    fresh = f"{int(T0_MS) + 1000:012x}abcdef"
    before = f"{int(T0_MS) - 1000:012x}abcdef"
    for boot, live, missing in ((fresh, True, 2), (fresh, False, 0), (before, True, 0)):
        ledger = ledger_of(*events(5, boot="000000000001aaaaaa"), *events(3, boot=boot), live=live)
        assert make_report(ledger, Scope(), ALL_IS_LATE).missing == missing
    assert make_report(ledger_of(*events(3, boot=fresh), live=True), Scope(), ALL_IS_LATE).missing == 0


def test_a_last_will_is_no_message_of_the_site() -> None:
    """It has the number 0, and comes from the broker."""
    report = audit(*events(1), message(0, "status", "", state="offline", frame=None))
    assert (report.wills, report.received, report.exit_code) == (1, 1, 0)


def test_everybody_is_offline_when_the_newest_boot_of_each_site_is() -> None:
    """A goodbye of a boot that was followed by another one is no end; neither is a last will."""
    goodbye = {"source": "", "kind": "status", "state": "offline", "frame": None}
    assert not ledger_of().all_offline
    assert not ledger_of(*events(1), *events(0, **goodbye)).all_offline
    assert ledger_of(*events(1), *events(3, **goodbye)).all_offline
    assert not ledger_of(*events(3, **{**goodbye, "kind": "count"})).all_offline
    assert not ledger_of(*events(3, **goodbye), *events(1, boot=LATER)).all_offline
    assert ledger_of(*events(1, boot=LATER), *events(3, boot=LATER, **goodbye), *events(9)).all_offline


def test_what_was_expected_must_have_come() -> None:
    """Every id, and every number between them, of the kinds that decide."""
    expected = ledger_of(*events(2, 6), *events(1, 9, kind="detections"), *events(1, boot=LATER))
    report = audit(*events(2, 3, 4, 5, 6), *events(1, boot=LATER), expected=expected)
    assert (report.exit_code, report.expected) == (0, [])
    report = audit(*events(3, 4, 6), expected=expected)
    assert report.exit_code == 1
    assert report.expected is not None
    assert [(one.boot, one.expected, one.missing.ranges) for one in report.expected] == [
        (BOOT, 5, [(2, 2), (5, 5)]),
        (LATER, 1, [(1, 1)]),
    ]
    assert "4 of the expected" not in in_words(report)
    assert "3 of the expected not received" in in_words(report)


def test_latencies_are_those_of_the_clocks_and_of_the_daemon() -> None:
    """Within two percent; what came before it was captured is counted apart."""
    bodies = [
        message(
            number,
            "detections",
            frame={"timestamp": stamp(-number)},
            latency_ms={"total": number / 10},
        )
        for number in range(1, 1001)
    ]
    report = make_report(ledger_of(*bodies, live=True), Scope(), ALL_IS_LATE)
    for name, true in (("p50", 500), ("p95", 950), ("p99", 990)):
        assert report.wall_ms[name] == pytest.approx(true, rel=0.021)
        assert report.own_ms[name] == pytest.approx(true / 10, rel=0.021)
    assert "negative" not in report.wall_ms
    assert make_report(ledger_of(*bodies), Scope(), ALL_IS_LATE).wall_ms == {}, "a recording has no time of arrival"
    early = ledger_of(message(1, frame={"timestamp": stamp(60_000)}), live=True)
    assert make_report(early, Scope(), ALL_IS_LATE).wall_ms["negative"] == 1
    counted = Latencies({})
    for value in (0.0, -5.0, 1e300, float("inf"), float("-inf")):
        counted.add(value)
    assert counted.facts()["negative"] == 2


def test_a_book_survives_being_written() -> None:
    """What is saved and read again reports the same, and goes on the same."""
    bodies = [*events(1, 2, 5, 4), gap(1, "count", 3, 3), heartbeat(("line", "count", 9))]
    whole = audit(*bodies, *events(6, 8))
    book = msgspec.json.decode(msgspec.json.encode(ledger_of(*bodies).book), type=Book)
    ledger = Ledger(book)
    for body in events(6, 8):
        ledger.take(read_head(body), body, T0_MS)
    assert facts(make_report(ledger, Scope(), ALL_IS_LATE)) == facts(whole)


def test_when_an_auditor_has_heard_enough() -> None:
    """Each limit by itself; heartbeats and retained messages are not what one waits for."""
    clock = FakeClock()

    def heard(limits: Limits, *steps: bytes | float) -> bool:
        auditor = Auditor(Ledger(Book()), clock, limits)
        for step in steps:
            if isinstance(step, bytes):
                auditor.hear(step)
            else:
                clock.sleep(step)
        auditor.hear(message(1), retained=True)
        return auditor.enough()

    goodbye = message(1, "status", "", state="offline", frame=None)
    assert not heard(Limits(), 1e6)
    assert not heard(Limits(seconds=10), 9.0)
    assert heard(Limits(seconds=10), 10.0)
    assert heard(Limits(wait_s=5), heartbeat(), 5.0)
    assert not heard(Limits(wait_s=5), message(1), 50.0)
    assert not heard(Limits(idle_s=5), 50.0)
    assert not heard(Limits(idle_s=5), message(1), 4.0)
    assert heard(Limits(idle_s=5), message(1), 4.0, heartbeat(), 1.0)
    assert not heard(Limits(until_offline=True), goodbye, 1.0)
    assert heard(Limits(until_offline=True), goodbye, 2.0)
    assert not heard(Limits(until_offline=True), goodbye, 1.0, message(1), 1.0)
