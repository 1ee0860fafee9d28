"""An audit beside a naive count of random streams, and its memory, which is bounded whatever comes."""

import random
from typing import Any

import pytest
from audited import (
    ALL_IS_LATE,
    BOOT,
    LATER,
    audit,
    gap,
    ledger_of,
    message,
    row,
)

from edge_vision.publish.audit import ledger as books
from edge_vision.publish.audit.report import Scope, make_report
from edge_vision.publish.audit.wording import in_words


def events(*numbers: int, **more: Any) -> list[bytes]:
    """Events with these numbers."""
    return [message(number, **more) for number in numbers]


def test_memory_is_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many streams or holes, messages are refused and counted, and the audit vouches for nothing."""
    monkeypatch.setattr(books, "MOST_STREAMS", 10)
    monkeypatch.setattr(books, "MOST_RANGES", 20)
    report = audit(*[message(1, source=f"line-{number}") for number in range(15)])
    assert (len(report.streams), report.refused, report.exit_code) == (10, 5, 1)
    ledger = ledger_of(*events(*range(1, 101, 2)), *events(2, 4), gap(1, "count", 500, 501), gap(2, "count", 900, 901))
    assert ledger.book.streams[0].received.ranges <= 20
    assert ledger.book.refused > 0
    assert ledger.book.streams[0].received.size == 22, "what makes no further hole is still entered"
    report = make_report(ledger, Scope(), ALL_IS_LATE)
    assert "could not be followed" in in_words(report)
    told = ledger_of(*[gap(number, "count", 10 * number, 10 * number) for number in range(1, 31)])
    assert told.book.streams[-1].told.ranges + told.book.streams[0].told.ranges <= 20
    assert sum(told.book.unnamed_gaps.values()) >= 10, "a loss that cannot be entered by its numbers is still told"
    names: dict[str, int] = {}
    for number in range(1000):
        books.count_name(names, f"name {number}")
    assert len(names) == books.MOST_NAMES + 1
    assert names["others"] == 1000 - books.MOST_NAMES


@pytest.mark.parametrize("seed", range(12))
def test_random_streams_are_counted_as_a_naive_count_does(seed: int) -> None:
    """Lost, doubled, shuffled and told at random, over several boots, sources and kinds."""
    dice = random.Random(seed)
    keys = [(boot, source, kind) for boot in (BOOT, LATER) for source in ("a", "b") for kind in ("count", "reading")]
    sent: list[tuple[tuple[str, str, str], int, bytes]] = []
    told: dict[tuple[str, str, str], set[int]] = {key: set() for key in keys}
    records: list[bytes] = []
    for key in keys:
        boot, source, kind = key
        sent += [(key, seq, message(seq, kind, source, boot)) for seq in range(1, dice.randint(2, 120))]
        for _ in range(dice.randint(0, 3)):
            first = dice.randint(1, 100)
            last = first + dice.randint(0, 6)
            told[key] |= set(range(first, last + 1))
            lost = {"sink": "s", "reason": "r", "boot": boot, "lost_kind": kind, "first": first, "last": last}
            records.append(message(len(records) + 1, "gap", source, "000000000001cccccc", frame=None, gap=lost))
    came = [one for one in sent if dice.random() > 0.1]
    came += [dice.choice(came) for _ in range(dice.randint(0, 40))]
    for _ in range(200):
        first = dice.randrange(len(came))
        second = min(len(came) - 1, first + dice.randint(0, 5))
        came[first], came[second] = came[second], came[first]
    report = audit(*[body for _, _, body in came], *records)

    for key in keys:
        numbers = [seq for name, seq, _ in came if name == key]
        if not numbers and not told[key]:
            continue
        received, highest, late, double = set[int](), 0, 0, 0
        for number in numbers:
            if number in received:
                double += 1
            elif number < highest:
                late += 1
            received.add(number)
            highest = max(highest, number)
        end = max(received | told[key])
        missing = set(range(numbers[0], end + 1)) - received - told[key] if numbers else set()
        one = row(report, key[2], key[0], key[1])
        assert (one.received, one.out_of_order, one.duplicates.same) == (len(received), late, double)
        assert one.missing.count == len(missing)
        assert {n for first, last in one.missing.ranges for n in range(first, last + 1)} <= missing
        assert one.told.count == len(told[key] - received)
    assert report.missing == sum(one.missing.count for one in report.streams)
