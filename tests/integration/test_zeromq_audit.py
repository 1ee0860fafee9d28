"""An audit over ZeroMQ with the replay socket: what it makes up for, what it cannot, and an audit that goes on."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from zeromq_site import BOOT, Site, make_message

from edge_vision.core.errors import ConfigError
from edge_vision.core.protocols import Sink
from edge_vision.publish.audit.auditor import Auditor, Limits
from edge_vision.publish.audit.keeping import keep
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.over_zeromq import Publisher, listen
from edge_vision.publish.audit.report import Report, Scope, StreamReport, make_report
from edge_vision.runtime.clock import SystemClock
from edge_vision.runtime.worker import Worker


@pytest.fixture(name="site")
def _site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class _Audit:
    """An audit on a thread of its own; `end` asks it to stop, as Ctrl-C does."""

    def __init__(self, site: Site, state: Path | None = None, **more: Any) -> None:
        given = {"replay": site.replay, "server_key": site.public, "secret_key": site.client[1], **more}
        self.book = Book()
        publisher = Publisher(site.address, **given)

        def work(worker: Worker) -> None:
            with keep(state) if state else nullcontext() as kept:
                self.book = kept.book if kept else self.book
                listen(publisher, Auditor(Ledger(self.book, live=True), SystemClock(), Limits(), kept), worker)

        self._worker = Worker("audit", work, 60.0, SystemClock())
        self._worker.start()

    def stream(self, kind: str = "count", boot: str = BOOT) -> Any:
        """What the book has of a kind."""
        return next((one for one in self.book.streams if (one.kind, one.boot) == (kind, boot)), None)

    def wait_for(self, sink: Sink, done: Callable[[], Any], what: str) -> None:
        """Call an idle sink, as the daemon does, until something is true."""

        def turn() -> bool:
            sink.send([])
            return bool(done())

        wait_until(turn, 60, what)

    def join(self, site: Site, sink: Sink) -> None:
        """Wait until it hears the site, and has heard how far that is."""
        numbers = iter(range(1, 10_000))

        def turn() -> bool:
            site.publish(sink, make_message(next(numbers), kind="status", source=""))
            return bool(self.stream("status") and self.book.heartbeats)

        wait_until(turn, 60, "the audit hears the site")

    def end(self) -> Report:
        """Its report."""
        self._worker.stop()
        assert self._worker.join(60)
        assert self._worker.error is None
        return make_report(Ledger(self.book), Scope(told_before=False), float("inf"))


def _row(report: Report, kind: str = "count", boot: str = BOOT) -> StreamReport:
    (found,) = (one for one in report.streams if (one.kind, one.boot) == (kind, boot))
    return found


def test_what_was_missed_is_made_up_and_is_no_loss(site: Site) -> None:
    """In the middle, and the very last, of which only a heartbeat tells."""
    with site.open() as sink:
        audit = _Audit(site)
        audit.join(site, sink)
        for number in range(1, 31):
            site.publish(sink, make_message(number), lost=number in {4, 5, 17, 29, 30})
        site.dropped = {("cam", "count"): 30}  # as an outlet says of a full queue
        audit.wait_for(sink, lambda: audit.stream() and audit.stream().received.size == 30, "all of them")
        report = audit.end()
    assert (report.verdict, report.missing, report.out_of_order) == ("no loss", 0, 0)
    assert _row(report).made_up.ranges == [(4, 5), (17, 17), (29, 30)]
    assert _row(report).duplicates.same == 0


def test_what_the_replay_socket_does_not_have_is_a_loss(site: Site) -> None:
    """Although the rest of the gap was served; with its numbers."""
    with site.open() as sink:
        audit = _Audit(site)
        audit.join(site, sink)
        site.publish(sink, make_message(1))
        sink.send([make_message(9)])
        site.history.messages += [make_message(number) for number in (3, 4, 6, 9)]
        audit.wait_for(sink, lambda: audit.stream() and audit.stream().claims.counts >= 8, "the loss")
        report = audit.end()
    assert (report.verdict, report.exit_code) == ("loss", 1)
    assert _row(report).missing.ranges == [(2, 2), (5, 5), (7, 8)]
    assert _row(report).made_up.ranges == [(3, 4), (6, 6)]


def test_the_end_waits_for_what_is_asked_for(site: Site) -> None:
    """Told to stop while a gap is open: first what can be had comes."""
    with site.open() as sink:
        audit = _Audit(site)
        audit.join(site, sink)
        site.publish(sink, make_message(1), make_message(2))
        audit.wait_for(sink, lambda: audit.stream() and audit.stream().received.size == 2, "the first ones")
        site.history.broken = True
        site.publish(sink, make_message(3), lost=True)
        site.publish(sink, make_message(4))
        audit.wait_for(sink, lambda: audit.stream().received.last == 4, "the one behind the gap")
        audit._worker.stop()
        site.history.broken = False
        report = audit.end()
    assert (report.verdict, _row(report).made_up.ranges) == ("no loss", [(3, 3)])


def test_an_audit_goes_on_with_what_came_meanwhile(site: Site, tmp_path: Path) -> None:
    """With a state file: what was published between two audits, and of a run that none of them heard."""
    state = tmp_path / "audit.json"
    with site.open() as sink:
        audit = _Audit(site, state)
        audit.join(site, sink)
        site.publish(sink, make_message(1), make_message(2))
        audit.wait_for(sink, lambda: audit.stream() and audit.stream().received.size == 2, "the first ones")
        assert audit.end().verdict == "no loss"
        site.publish(sink, make_message(3), make_message(4))
        site.history.messages += [make_message(number, boot="00000c") for number in (1, 2, 3)]
        again = _Audit(site, state)
        again.wait_for(sink, lambda: again.stream(boot="00000c") and again.stream().received.size == 4, "the rest")
        report = again.end()
    assert (report.verdict, _row(report).made_up.ranges) == ("no loss", [(3, 4)])
    assert _row(report, boot="00000c").made_up.ranges == [(1, 3)]


@pytest.mark.parametrize("boot", ["00000a", "00000c"])
def test_a_site_that_starts_again_is_owed_from_its_first_message(boot: str, site: Site) -> None:
    """Also where its clock was set back meanwhile, so that its run seems to be an older one."""
    site.history.messages += [make_message(number, boot="000009") for number in (1, 2)]  # before our time
    with site.open() as sink:
        audit = _Audit(site)
        audit.join(site, sink)
        site.publish(sink, make_message(1), make_message(2))
        audit.wait_for(sink, lambda: audit.stream() and audit.stream().received.size == 2, "the first run")
    site.opening = replace(site.opening, will=replace(site.opening.will, boot=boot))
    with site.open() as sink:
        site.publish(sink, *[make_message(number, boot=boot) for number in (1, 2, 3)], lost=True)
        numbers = iter(range(4, 10_000))

        def turn() -> bool:
            site.publish(sink, make_message(next(numbers), boot=boot))
            heard = audit.stream(boot=boot)
            return bool(heard and heard.received.first == 1 and heard.received.ranges == 1)

        wait_until(turn, 60, "the second run from its first message on")
        report = audit.end()
    assert (report.verdict, _row(report, boot=boot).missing.count) == ("no loss", 0)
    assert _row(report, boot=boot).made_up.ranges[0][0] == 1
    assert {one.boot for one in report.streams} == {BOOT, boot}


def test_a_topic_limits_what_is_owed(site: Site) -> None:
    """A heartbeat names every source and kind of the site; others are none of this audit's business."""
    with site.open() as sink:
        audit = _Audit(site, topic="edge-vision/v1/test/cam/")
        numbers = iter(range(1, 10_000))

        def turn() -> bool:
            number = next(numbers)
            site.publish(sink, make_message(number), make_message(number, source="other"))
            return bool(audit.stream() and audit.book.heartbeats)

        wait_until(turn, 60, "a heartbeat")
        report = audit.end()
    assert [(one.source, one.kind) for one in report.streams] == [("cam", "count")]
    assert report.verdict == "no loss"


@pytest.mark.parametrize("more", [{"server_key": "x"}, {"secret_key": "ä" * 40}, {"replay": "tcp://nobody:x"}])
def test_what_can_never_be_connected_to_is_said(more: dict[str, str], site: Site) -> None:
    """An address or a key that is none: at once, and without the secret."""
    given = {"replay": site.replay, "server_key": site.public, "secret_key": site.client[1], **more}
    auditor = Auditor(Ledger(Book()), SystemClock(), Limits())
    with pytest.raises(ConfigError) as caught:
        listen(Publisher(site.address, **given), auditor, Worker("audit", lambda _: None, 60.0, SystemClock()))
    assert "ä" not in str(caught.value)
    assert threading.active_count() < 10
