"""`edge-vision tail tcp://…`: prints what a site publishes on ZeroMQ."""

import argparse
import json
import sys
from typing import Any

import zmq

from edge_vision.cli.run import positive
from edge_vision.core.errors import EXIT_CONFIG, EXIT_DONE, EXIT_GAVE_UP


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("tail", help="print the messages of a running site, one JSON body per line")
    parser.add_argument("address", metavar="tcp://HOST:PORT")
    parser.add_argument("--words", action="store_true", help="a line per event and status, for people; no detections")
    parser.add_argument("--topic", default="edge-vision/v1/", help="only topics that start with this")
    parser.add_argument("--count", type=int, metavar="N", help="end after N lines")
    parser.add_argument("--timeout", type=positive, metavar="S", help="end with 70 after S seconds of silence")
    parser.set_defaults(run=_tail)


def _tail(options: argparse.Namespace) -> int:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.SUB) as socket:
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.RCVHWM, 100_000)
        socket.set(zmq.SUBSCRIBE, options.topic.encode())
        if options.timeout is not None:
            socket.set(zmq.RCVTIMEO, int(options.timeout * 1000))
        try:
            socket.connect(options.address)
        except zmq.ZMQError as error:
            print(f"{options.address}: {error.strerror}", file=sys.stderr)
            return EXIT_CONFIG
        try:
            lines = map(_in_words if options.words else _as_it_is, iter(socket.recv_multipart, None))
            for number, line in enumerate(filter(None, lines), 1):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
                if number == options.count:
                    break
        except zmq.Again:
            print(f"{options.address}: nothing for {options.timeout:g} s", file=sys.stderr)
            return EXIT_GAVE_UP
    return EXIT_DONE


def _as_it_is(parts: list[bytes]) -> str:
    """The body of a message."""
    return parts[-1].decode(errors="replace")


def _in_words(parts: list[bytes]) -> str | None:
    from edge_vision.publish.words import message_in_words

    text = _as_it_is(parts)
    try:
        return message_in_words(json.loads(text))
    except ValueError:
        return text
