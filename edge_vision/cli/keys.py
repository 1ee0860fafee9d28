"""`edge-vision keys FILE`: makes a pair of keys for ZeroMQ's CURVE."""

import argparse
import os
from pathlib import Path
from typing import Any

from edge_vision.core.errors import EXIT_DONE, ConfigError

_ONLY_OWNER = 0o600


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("keys", help="make keys for encrypted ZeroMQ: a secret file, and the public key")
    parser.add_argument("file", type=Path, metavar="FILE", help="where the secret key goes; never overwritten")
    parser.add_argument("--show", action="store_true", help="print the public key of a FILE that is there")
    parser.set_defaults(run=_keys)


def _keys(options: argparse.Namespace) -> int:
    print(public_key(read_secret(options.file)) if options.show else make_keys(options.file))
    return EXIT_DONE


def make_keys(file: Path) -> str:
    """Write a new secret key to a file that only its owner reads; the public key. Raises ConfigError."""
    import zmq

    pairs = iter(
        zmq.curve_keypair, None
    )  # one in three begins with a sign that shells, YAML or options take for theirs
    public, secret = next((public, secret) for public, secret in pairs if public[:1].isalnum() and secret[:1].isalnum())
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_OWNER)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(secret + b"\n")
    except FileExistsError:
        raise ConfigError(f"{file} is there already: a secret key is never overwritten") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}") from None
    return public.decode()


def read_secret(file: Path) -> str:
    """The secret key in a file. Raises ConfigError that does not repeat it."""
    from edge_vision.core.options import Secret
    from edge_vision.publish.zeromq.addresses import why_no_key

    secret = Secret(file=file).reveal()
    if why := why_no_key(secret):
        raise ConfigError(f"{file}: {why}")
    return secret


def public_key(secret: str) -> str:
    """The public key that belongs to a secret one."""
    import zmq

    return zmq.curve_public(secret.encode()).decode()
