"""`edge-vision tail tcp://…`: prints what a site publishes on ZeroMQ."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_vision.cli.keys import read_secret
from edge_vision.cli.run import positive
from edge_vision.core.errors import EXIT_CONFIG, EXIT_DONE, EXIT_GAVE_UP, SinkError
from edge_vision.core.message import Message
from edge_vision.runtime.clock import Clock, SystemClock

if TYPE_CHECKING:
    from edge_vision.publish.zeromq.order import Missed
    from edge_vision.publish.zeromq.reader import ReaderKeys, ZeromqReader

_WAIT_S: Final = 0.2


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("tail", help="print the messages of a running site, one JSON body per line")
    parser.add_argument("address", metavar="tcp://HOST:PORT")
    parser.add_argument("--words", action="store_true", help="a line per event and status, for people; no detections")
    parser.add_argument("--topic", default="edge-vision/v1/", help="only topics that start with this")
    parser.add_argument("--count", type=int, metavar="N", help="end after N lines")
    parser.add_argument("--timeout", type=positive, metavar="S", help="end with 70 after S seconds of silence")
    parser.add_argument(
        "--replay", metavar="tcp://HOST:PORT", help="the site's replay socket: asks for what was missed"
    )
    parser.add_argument("--kept", action="store_true", help="begin with everything that the replay socket still has")
    parser.add_argument("--server-key", metavar="KEY", help="the site's public key, where it encrypts")
    parser.add_argument("--key", type=Path, metavar="FILE", help="our own secret key, as `edge-vision keys` made it")
    parser.set_defaults(run=_tail)


def _tail(options: argparse.Namespace) -> int:
    from edge_vision.publish.zeromq.reader import open_reader

    if options.kept and options.replay is None:
        print("edge-vision tail: --kept needs --replay", file=sys.stderr)
        return 2
    clock = SystemClock()
    try:
        settings = {"replay": options.replay, "keys": _keys(options), "topic": options.topic, "kept": options.kept}
        with open_reader(options.address, clock, **settings) as reader:
            lines = _lines(reader, clock, options.timeout, in_words=options.words)
            for number, line in enumerate(lines, 1):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
                if number == options.count:
                    return EXIT_DONE
    except SinkError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    print(f"{options.address}: nothing for {options.timeout:g} s", file=sys.stderr)
    return EXIT_GAVE_UP


def _keys(options: argparse.Namespace) -> "ReaderKeys | None":
    """Both keys or none. Raises ConfigError for a file that cannot be read."""
    from edge_vision.publish.zeromq.reader import ReaderKeys

    if options.server_key is None and options.key is None:
        return None
    if options.server_key is None or options.key is None:
        msg = "an encrypted site needs --server-key, its public key, and --key, the file of our own"
        raise SinkError(msg)
    return ReaderKeys(options.server_key, read_secret(options.key))


def _lines(reader: "ZeromqReader", clock: Clock, timeout_s: float | None, *, in_words: bool) -> Iterator[str]:
    """A line per message, for ever, or until nothing came for so long; losses are told on standard error."""
    from edge_vision.publish.zeromq.order import Missed

    heard_ns = clock.monotonic_ns()
    for found in iter(lambda: reader.take(_WAIT_S), None):
        heard_ns = clock.monotonic_ns() if found else heard_ns
        for one in found:
            if isinstance(one, Missed):
                print(_missed(one), file=sys.stderr)
            elif line := _in_words(one) if in_words else one.body.decode(errors="replace"):
                yield line
        if timeout_s is not None and clock.monotonic_ns() - heard_ns >= timeout_s * 1e9:
            return


def _missed(lost: "Missed") -> str:
    which = f"{lost.first}" if lost.first == lost.last else f"{lost.first} to {lost.last}"
    return f"missed: {lost.kind} {which} of {lost.source or 'the site'} (boot {lost.boot})"


def _in_words(message: Message) -> str | None:
    from edge_vision.publish.words import message_in_words

    text = message.body.decode(errors="replace")
    try:
        return message_in_words(json.loads(text))
    except ValueError:
        return text
