"""`edge-vision audit`: what a consumer runs to see that nothing was lost on the way."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_vision.cli.run import positive
from edge_vision.core.errors import ConfigError

if TYPE_CHECKING:
    from edge_vision.publish.audit.auditor import Auditor
    from edge_vision.publish.audit.ledger import Ledger
    from edge_vision.publish.audit.report import Report
    from edge_vision.runtime.worker import Worker

PASSWORD: Final = "EDGE_VISION_AUDIT_PASSWORD"  # noqa: S105 - the variable's name
"""Where a broker's password may be."""
_PORT: Final = 1883
_TLS_PORT: Final = 8883
_HIGHEST_PORT: Final = 65_535


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "audit",
        help="count what arrives, and say whether anything is missing",
        epilog="Exit codes: 0 no loss, 1 loss, 2 wrong command line, 3 nothing received that counts, "
        "70 the state file cannot be written, 78 wrong file or key.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--mqtt", type=_address, metavar="HOST[:PORT]", help="listen at a broker")
    where.add_argument("--zeromq", metavar="tcp://HOST:PORT", help="listen at a site's ZeroMQ sink")
    where.add_argument("--file", type=Path, nargs="+", metavar="FILE", help='read JSON lines; "-" is standard input')
    parser.add_argument("--topic", help="only these topics (edge-vision/v1/#; ZeroMQ: what they start with)")

    what = parser.add_argument_group("what decides")
    what.add_argument("--kinds", type=_kinds, metavar="KIND,KIND", help="only these kinds decide")
    what.add_argument("--strict", action="store_true", help="every kind decides, also detections")
    what.add_argument("--from-start", action="store_true", help="numbers before the first received are missing, too")
    what.add_argument("--expect", type=Path, metavar="FILE.jsonl", help="every message in it must have been received")

    end = parser.add_argument_group("when it ends (or at Ctrl-C)")
    end.add_argument("--seconds", type=positive, metavar="N", help="after so long")
    end.add_argument("--idle", type=positive, metavar="N", help="after so long without a message, heartbeats aside")
    end.add_argument("--wait", type=positive, metavar="N", help="after so long in which no message came at all")
    end.add_argument("--until-offline", action="store_true", help="two seconds after every site said goodbye")

    broker = parser.add_argument_group("MQTT")
    broker.add_argument("--client-id", metavar="NAME", help="a session that the broker keeps between two runs")
    broker.add_argument("--session", type=positive, metavar="S", default=604_800, help="how long (a week)")
    broker.add_argument("--protocol", choices=("5", "3.1.1"), default="5")
    broker.add_argument("--tls", action="store_true", help="TLS with the system's authorities")
    for name, text in (("ca", "TLS with this authority"), ("cert", "our certificate"), ("key", "its key")):
        broker.add_argument(f"--{name}", type=Path, metavar="FILE.pem", help=text)
    broker.add_argument("--user", metavar="NAME")
    broker.add_argument("--password-file", type=Path, metavar="FILE", help=f"else from the environment: {PASSWORD}")

    curve = parser.add_argument_group("ZeroMQ")
    curve.add_argument("--replay", metavar="tcp://HOST:PORT", help="the replay socket: what it makes up for is no loss")
    curve.add_argument("--server-key", metavar="KEY", help="the site's public key: CURVE")
    curve.add_argument("--secret-key", type=Path, metavar="FILE", help="file with our secret key")

    parser.add_argument("--state", type=Path, metavar="FILE", help="go on with what an earlier run left here")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    parser.set_defaults(run=lambda options: _audit(parser, options))


def _address(text: str) -> tuple[str, int | None]:
    """A host and, perhaps, a port: broker, broker:1884, [::1]:1884."""
    host, colon, port = text.rpartition(":") if not text.endswith("]") and ":" in text else (text, "", "")
    if not host or "@" in text or "/" in text or (colon and not (port.isdecimal() and 1 <= int(port) <= _HIGHEST_PORT)):
        msg = "must be HOST or HOST:PORT, without user or scheme"
        raise argparse.ArgumentTypeError(msg)
    return host.strip("[]"), int(port) if colon else None


def _kinds(text: str) -> frozenset[str]:
    from edge_vision.core.schema_errors import did_you_mean
    from edge_vision.publish.kinds import MESSAGE_KINDS

    kinds = frozenset(filter(None, text.split(",")))
    for kind in kinds:
        if kind not in MESSAGE_KINDS:
            msg = f"unknown kind of message {kind!r}{did_you_mean(kind, MESSAGE_KINDS)}"
            raise argparse.ArgumentTypeError(msg)
    if not kinds:
        raise argparse.ArgumentTypeError("names no kind")
    return kinds


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what does not go together; ends with 2."""
    given = {name for name, value in vars(options).items() if value not in (None, False)}
    for needed, names in (
        ("mqtt", ("client_id", "tls", "ca", "cert", "key", "user", "password_file")),
        ("zeromq", ("replay", "server_key", "secret_key")),
        ("user", ("password_file",)),
        ("cert", ("key",)),
        ("key", ("cert",)),
        ("server_key", ("secret_key",)),
    ):
        for name in names:
            if name in given and needed not in given:
                parser.error(f"--{name.replace('_', '-')} needs --{needed.replace('_', '-')}")
    if {"strict", "kinds"} <= given:
        parser.error("--strict and --kinds exclude each other")
    if "file" in given and given & {"seconds", "idle", "wait", "until_offline", "topic"}:
        parser.error("--file ends with its last line, and has no topics")


def _audit(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    _check(parser, options)
    from edge_vision.publish.audit.auditor import Auditor, Limits
    from edge_vision.publish.audit.keeping import keep
    from edge_vision.publish.audit.ledger import Book, Ledger
    from edge_vision.publish.audit.report import facts
    from edge_vision.publish.audit.wording import in_words
    from edge_vision.runtime.clock import SystemClock
    from edge_vision.runtime.worker import Worker

    clock = SystemClock()
    worker = Worker("audit", lambda _: None, 60.0, clock)
    limits = Limits(options.seconds, options.idle, options.wait, options.until_offline)
    live = options.file is None
    with keep(options.state, live=live) if options.state else nullcontext() as kept, _stopped_by_signals(worker):
        book = kept.book if kept else Book()
        book.started_ms = book.started_ms or clock.now().timestamp() * 1000
        auditor = Auditor(Ledger(book, live=live), clock, limits, kept)
        _listen(options, auditor, worker)
        report = _report(options, auditor)
    if options.json:
        print(json.dumps(facts(report), indent=2))
    else:
        print(in_words(report), end="")
    return report.exit_code


def _listen(options: argparse.Namespace, auditor: "Auditor", worker: "Worker") -> None:
    """Hear everything until the end."""
    if options.file:
        from edge_vision.publish.audit.recorded import read_recorded

        read_recorded(options.file, auditor.hear, worker.stopping.is_set)
    elif options.zeromq:
        from edge_vision.publish.audit.over_zeromq import Publisher, listen

        secret = _secret(options.secret_key) if options.secret_key else None
        topic = options.topic if options.topic is not None else "edge-vision/v1/"
        listen(Publisher(options.zeromq, topic, options.replay, options.server_key, secret), auditor, worker)
    else:
        from edge_vision.publish.audit.over_mqtt import Broker, MqttListener

        host, port = options.mqtt
        tls = bool(options.tls or options.ca or options.cert)
        password = _secret(options.password_file) if options.password_file else os.environ.get(PASSWORD)
        broker = Broker(
            host=host,
            port=port or (_TLS_PORT if tls else _PORT),
            topic=options.topic or "edge-vision/v1/#",
            protocol=options.protocol,
            client_id=options.client_id,
            session_s=int(options.session),
            username=options.user,
            password=password if options.user else None,
            tls=tls,
            ca=options.ca,
            cert=options.cert,
            key=options.key,
        )
        MqttListener(broker, auditor, _say).listen(worker)


def _say(text: str) -> None:
    print(f"edge-vision audit: {text}", file=sys.stderr, flush=True)


def _secret(path: Path) -> str:
    from edge_vision.core.options import Secret

    return Secret(file=path).reveal()


def _report(options: argparse.Namespace, auditor: "Auditor") -> "Report":
    from edge_vision.publish.audit.report import UNOWED, UNOWED_BY_A_BROKER, Scope, make_report

    expected = _expected(options.expect) if options.expect else None
    kinds = frozenset[str]() if options.strict else options.kinds
    unowed = UNOWED_BY_A_BROKER if options.mqtt else UNOWED
    scope = Scope(kinds, options.from_start, unowed, told_before=not options.zeromq)
    report = make_report(auditor.ledger, scope, float("inf") if options.file else auditor.now_ms(), expected)
    for reason, count in expected.book.malformed.items() if expected else ():  # a process that was killed half-way
        report.notes.append(f"{options.expect}: a line {reason}: {count}")
    return report


def _expected(path: Path) -> "Ledger":
    from edge_vision.publish.audit.auditor import Auditor, Limits
    from edge_vision.publish.audit.ledger import Book, Ledger
    from edge_vision.publish.audit.recorded import read_recorded
    from edge_vision.runtime.clock import SystemClock

    wanted = Auditor(Ledger(Book()), SystemClock(), Limits())
    read_recorded([path], wanted.hear, lambda: False)
    book = wanted.ledger.book
    if book.refused or book.unknown_schemas or not book.received:
        why = "is more than can be followed" if book.refused else "has no message" if not book.received else ""
        raise ConfigError(f"{path}: {why or 'is of another schema'}")
    return wanted.ledger


@contextmanager
def _stopped_by_signals(worker: "Worker") -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the listening, and the report comes; a second one ends the process."""

    def stop(number: int, _frame: Any) -> None:
        worker.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
