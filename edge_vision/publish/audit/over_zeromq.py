"""Messages from a ZeroMQ PUB socket. What is sent while we are not connected comes only from a replay socket."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from edge_vision.core.errors import ConfigError, SinkError
from edge_vision.publish.audit.auditor import Auditor
from edge_vision.publish.audit.heads import Head
from edge_vision.publish.wire import SCHEMA
from edge_vision.publish.zeromq.order import Missed, Stream
from edge_vision.publish.zeromq.reader import TOPIC, ReaderKeys, is_under, open_reader
from edge_vision.runtime.loops import until
from edge_vision.runtime.worker import Worker

_TURN_S: Final = 0.1
_FOREVER_S: Final = 1e9
_SETTLE_S: Final = 10.0
"""How long the end waits for what is asked of the replay socket: it is asked four times within four seconds."""
_NOWHERE: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Publisher:
    """Where a site publishes and serves again, what of it is wanted, its public key for CURVE and our secret one."""

    address: str
    topic: str = TOPIC
    replay: str | None = None
    server_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)


class _Ear:
    """Hands what a reader hears to an auditor, and what the replay socket could not make up for."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor
        self.known = _known(auditor)
        heard = {one.boot for one in auditor.ledger.book.streams if one.claims.newest}
        self._half_known = {boot for boot, _, _ in self.known} - heard
        """Runs of which no heartbeat was heard: there may have been more before we came than we know of."""

    def overhear(self, topic: bytes, body: bytes, served: bool) -> None:
        self._auditor.hear(body, topic.decode(errors="replace"), served=served)

    def miss(self, lost: Missed) -> None:
        stream = lost.boot, lost.source, lost.kind
        if lost.boot in self._half_known and stream not in self.known:
            return
        streams = self._auditor.ledger.book.streams
        site = next((one.site for one in streams if one.boot == lost.boot), streams[-1].site if streams else _NOWHERE)
        head = Head(SCHEMA, lost.kind, lost.boot, site, seq=lost.first, source=lost.source)
        self._auditor.miss(head, lost.last)


def _known(auditor: Auditor) -> Mapping[Stream, int]:
    """How far an audit that is continued had come."""
    streams = auditor.ledger.book.streams
    return {
        (one.boot, one.source, one.kind): one.received.last or one.owed_from - 1 for one in streams if one.owed_from
    }


def listen(publisher: Publisher, auditor: Auditor, worker: Worker) -> None:
    """Listen until the auditor has heard enough, or is asked to stop; ZeroMQ connects again by itself.

    With a replay socket, what is missed is asked for, and what came since an audit that is continued, too. Raises
    ConfigError for an address or a key that is none, SinkError for a disk that is full.
    """
    keys = None if publisher.server_key is None else ReaderKeys(publisher.server_key, publisher.secret_key)
    asks = publisher.replay is not None
    auditor.wants = lambda source, kind: is_under(publisher.topic, source, kind)
    ear = _Ear(auditor)
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(
                open_reader(
                    publisher.address,
                    auditor.clock,
                    replay=publisher.replay,
                    keys=keys,
                    topic=publisher.topic,
                    known=ear.known if asks else None,
                    overhear=ear.overhear,
                )
            )
        except SinkError as error:
            raise ConfigError(str(error)) from None

        def turn() -> None:
            worker.beat()
            for found in reader.take(_TURN_S):
                if asks and isinstance(found, Missed):
                    ear.miss(found)

        until(lambda: worker.stopping.is_set() or auditor.enough(), turn, _FOREVER_S, auditor.clock)
        if asks:
            until(lambda: reader.settled, turn, _SETTLE_S, auditor.clock)
