"""An audit in words: a table of every run, source and kind, and the verdict."""

from collections.abc import Iterator

from edge_vision.publish.audit.report import Missing, Report, StreamReport

_HEADER = ("source", "kind", "received", "first", "last", "missing", "told", "double", "late", "p50", "p95", "p99")


def in_words(report: Report) -> str:
    """The lines of a report, for people."""
    return "\n".join([*_table(report), *_losses(report), *_remarks(report), _verdict(report)]) + "\n"


def _table(report: Report) -> Iterator[str]:
    if not report.streams:
        return
    rows = [_HEADER, *(_cells(one) for one in report.streams)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    run = ("", "")
    for row, stream in zip(rows[1:], report.streams, strict=True):
        if (stream.site, stream.boot) != run:
            run = stream.site, stream.boot
            yield plain(f"site {stream.site}, boot {stream.boot}")
            yield _line(rows[0], widths)
        yield _line(row, widths)
    if not all(stream.counts for stream in report.streams):
        yield "(kinds in brackets do not decide)"


def _cells(stream: StreamReport) -> tuple[str, ...]:
    double = stream.duplicates
    wall = stream.wall_ms
    return (
        plain(stream.source) or "-",
        plain(stream.kind) if stream.counts else f"({plain(stream.kind)})",
        str(stream.received),
        str(stream.first or "-"),
        str(stream.last or "-"),
        str(stream.missing.count),
        str(stream.told.count),
        str(double.same + double.different + double.uncompared),
        str(stream.out_of_order),
        *(f"{wall[name]:.1f}" if name in wall else "-" for name in ("p50", "p95", "p99")),
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    padded[:2] = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    return "  " + "  ".join(padded).rstrip()


def _losses(report: Report) -> Iterator[str]:
    for one in report.streams:
        name = plain(f"{one.boot} {one.source or one.site}/{one.kind}")
        if one.missing.count:
            yield f"missing: {name}: {_ranges(one.missing)}"
        if one.made_up.count:
            yield f"made up by the replay socket: {name}: {_ranges(one.made_up)}"
        if one.told.count:
            why = "; ".join(f"{plain(reason)} ({count})" for reason, count in one.told_by.items())
            yield f"told lost: {name}: {_ranges(one.told)}: {why}"
        if one.duplicates.different:
            yield f"two bodies under one id: {name}: {one.duplicates.different}"
    for reason, count in report.unnamed_gaps.items():
        yield f"told lost, without saying which: {plain(reason)}: {count}"
    for lack in report.expected or ():
        yield plain(
            f"expected: {lack.boot} {lack.source or lack.site}/{lack.kind}: not received {_ranges(lack.missing)}"
        )


def _ranges(missing: Missing) -> str:
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in missing.ranges)
    more = missing.count - sum(last - first + 1 for first, last in missing.ranges)
    return f"{shown} and {more} more" if more else shown


def _remarks(report: Report) -> Iterator[str]:
    for reason, count in report.malformed.items():
        yield f"no message of ours: {plain(reason)}: {count}"
    for schema, count in report.unknown_schemas.items():
        yield f"unknown schema: {plain(schema)}: {count}"
    if report.refused:
        yield f"could not be followed, too many sources, kinds or holes: {report.refused}"
    if report.sessions_lost:
        yield f"the broker forgot our session {report.sessions_lost} times: what came meanwhile may be its loss"
    for count, what in (
        (report.retained, "retained messages from before"),
        (report.redelivered, "delivered again by the broker"),
        (report.wills, "last wills"),
        (report.heartbeats, "heartbeats"),
        (report.commands, "commands and answers"),
    ):
        if count:
            yield f"{what}: {count}"
    for name, latency in (("captured to received", report.wall_ms), ("inside the daemon", report.own_ms)):
        if latency:
            figures = ", ".join(f"{percent} {latency[percent]:.1f}" for percent in ("p50", "p95", "p99"))
            early = (
                f"; {latency['negative']:.0f} before their capture: the clocks disagree"
                if "negative" in latency
                else ""
            )
            yield f"{name}, ms: {figures}{early}"
    yield from map(plain, report.notes)


def _verdict(report: Report) -> str:
    double = report.duplicates
    lost = report.missing + report.told
    facts = (
        f"{lost} lost ({report.missing} missing, {report.told} told), "
        f"{double.same + double.different + double.uncompared} duplicates, {report.out_of_order} out of order"
    )
    lacking = sum(one.missing.count for one in report.expected or ())
    if report.expected is not None:
        facts += f", {lacking} of the expected not received"
    if report.made_up:
        facts += f", {report.made_up} made up by the replay socket"
    nothing = report.verdict == "nothing received"
    return f"{'nothing received that counts' if nothing else report.verdict}: {facts}"


def plain(text: str) -> str:
    """Without the characters that move a terminal's cursor or hide text."""
    return "".join(character if character.isprintable() else "?" for character in text)
