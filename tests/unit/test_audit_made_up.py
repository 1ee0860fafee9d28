"""What an audit counts where a replay socket makes up for what was missed: no loss, and told apart."""

import msgspec
from audited import ALL_IS_LATE, BOOT, LATER, T0_MS, heartbeat, message, row

from edge_vision.publish.audit.heads import Head, read_head
from edge_vision.publish.audit.ledger import Book, Ledger
from edge_vision.publish.audit.report import Report, Scope, make_report
from edge_vision.publish.audit.wording import in_words


def _hear(ledger: Ledger, *bodies: bytes, served: bool = False) -> None:
    for body in bodies:
        ledger.take(read_head(body), body, T0_MS, served=served)


def _report(ledger: Ledger) -> Report:
    return make_report(ledger, Scope(), ALL_IS_LATE)


def _lost(first: int, boot: str = BOOT, source: str = "line") -> Head:
    return Head("edge-vision/1", "count", boot, "test", seq=first, source=source)


def test_what_is_made_up_is_no_loss_and_is_told() -> None:
    """In the row, in the sum and in words; it is not late, although it came late."""
    ledger = Ledger(Book())
    _hear(ledger, message(1), message(5))
    _hear(ledger, message(2), message(3), message(4), served=True)
    report = _report(ledger)
    assert (report.verdict, report.made_up, report.missing, report.out_of_order) == ("no loss", 3, 0, 0)
    assert row(report).made_up.ranges == [(2, 4)]
    assert "made up by the replay socket: 019a00000000aaaaaa line/count: 2-4\n" in in_words(report)
    assert in_words(report).endswith(", 3 made up by the replay socket\n")


def test_what_was_published_and_served_is_neither_double_nor_made_up() -> None:
    """Whichever came first: it was under way while it was asked for."""
    ledger = Ledger(Book())
    _hear(ledger, message(1), message(2))
    _hear(ledger, message(2), message(3), served=True)
    _hear(ledger, message(3))
    report = _report(ledger)
    assert (report.made_up, report.received, report.duplicates.same, report.out_of_order) == (0, 3, 0, 0)
    _hear(ledger, message(3))
    assert _report(ledger).duplicates.same == 1


def test_what_cannot_be_made_up_is_a_loss() -> None:
    """In the middle, at the end, and of a stream or a run of which nothing came at all."""
    for first, last, boot, source in ((2, 3, BOOT, "line"), (5, 6, BOOT, "line"), (1, 2, BOOT, "x"), (1, 2, LATER, "")):
        ledger = Ledger(Book())
        _hear(ledger, message(1), message(4))
        _hear(ledger, *[message(seq) for seq in (2, 3) if first != 2], served=True)
        ledger.miss(_lost(first, boot, source), last)
        report = _report(ledger)
        assert (report.verdict, report.missing) == ("loss", 2)
        assert row(report, boot=boot, source=source).missing.ranges == [(first, last)]


def test_what_cannot_be_made_up_counts_at_once() -> None:
    """Whoever waits for a heartbeat's grace to end knows that it is under way no more."""
    ledger = Ledger(Book())
    _hear(ledger, message(1), heartbeat(("line", "count", 9)))
    ledger.miss(_lost(2), 4)
    assert make_report(ledger, Scope(), T0_MS).missing == 3
    assert make_report(ledger, Scope(), T0_MS + 2000).missing == 8


def test_what_was_made_up_survives_being_written() -> None:
    """An audit that goes on knows it, and what it weighs."""
    ledger = Ledger(Book())
    _hear(ledger, message(1), message(9))
    _hear(ledger, message(3), message(5), served=True)
    again = Ledger(msgspec.json.decode(msgspec.json.encode(ledger.book), type=Book))
    assert again._ranges == ledger._ranges == 6
    _hear(again, message(3), message(4))
    assert row(_report(again)).made_up.ranges == [(5, 5)]
    assert again._ranges == 2 + 1 + 1  # 1, 3 to 5, 9; and 5
