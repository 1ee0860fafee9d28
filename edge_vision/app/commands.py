"""Takes commands: checks them, knows copies again, has them carried out in turn, and sees to one answer each."""

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from edge_vision.core.commands import COMMANDS, MOST_BYTES, Answer, CommandId, Letter, Payload, Reply
from edge_vision.core.errors import CommandError
from edge_vision.core.schema_errors import did_you_mean, shown
from edge_vision.publish.wire import SCHEMA, utc
from edge_vision.runtime.channel import Channel, Overflow
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import every
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

_WAITING: Final = 256
"""Commands that may wait for their turn; who comes then is told to come again."""
_KNOWN: Final = 1024
"""Ids that are remembered, and copies that carry none."""
_KNOWN_NS: Final = 600_000_000_000
"""How long they are."""
_MOST_KEPT: Final = 2048
"""An answer up to this size is kept, to be given to a copy."""
_MOST_REASON: Final = 300
_TURN_S: Final = 0.1
_LIMIT_S: Final = 60.0


class Order(NamedTuple):
    """A command that was read and may be carried out."""

    source: str
    what: str
    payload: Payload


Outcome = dict[str, Any] | CommandError
"""What came of a command: fields of its answer, or why it was not carried out."""
Later = Callable[[Outcome], None]
"""Hears the outcome, once."""


@dataclass(slots=True)
class _Job:
    """A command under way, or carried out: what its copies are answered with."""

    order: Order
    digest: bytes
    since_ns: int
    waiting: list[Reply] = field(default_factory=list)
    answer: bytes | None = None
    ok: bool = False


class Desk:
    """Takes commands from any thread; one worker carries them out, in the order in which they came.

    `carry_out` does it, at once or later, and calls back with the outcome; `mind` is called some ten times a second.
    """

    def __init__(self, site: str, boot: str, cameras: frozenset[str], clock: Clock) -> None:
        self.worker = Worker("commands", self._work, _LIMIT_S, clock)
        self.carry_out: Callable[[Order, Later], None] = _nobody
        self.mind: Callable[[], None] = _nothing
        self._site = site
        self._boot = boot
        self._cameras = cameras
        self._clock = clock
        self._queue: Channel[Callable[[], None]] = Channel(_WAITING, Overflow.BLOCK)
        self._known: OrderedDict[tuple[str, ...], _Job] = OrderedDict()
        self._lock = threading.Lock()
        self._decoders = {name: msgspec.json.Decoder(row.payload) for name, row in COMMANDS.items()}
        self._encode = msgspec.json.Encoder().encode

    def take(self, letter: Letter, allowed: frozenset[str], reply: Reply) -> None:
        """See to it that `reply` is called once. Never blocks, never raises."""
        try:
            order = self._read(letter, allowed)
        except CommandError as error:
            self._refuse(letter, error, reply)
            return
        digest = hashlib.blake2b(
            b"\0".join((letter.source.encode(), letter.what.encode(), letter.body)), digest_size=16
        ).digest()
        job = _Job(order, digest, self._clock.monotonic_ns(), [reply])
        name = (order.payload.id,) if order.payload.id is not None else ("", digest.hex())
        with self._lock:
            known = self._recent(name) if order.payload.id is not None or letter.repeated else None
            if known is None:
                self._remember(name, job)
            elif known.digest == digest and known.answer is None and known.waiting:
                known.waiting.append(reply)  # still under way: both hear of it
                return
        if known is not None:
            self._answer_copy(known, job, reply)
        elif not self.soon(partial(self._do, job)):
            self._forget(name)
            why = "the site is stopping" if self._queue.ended else f"busy: {_WAITING} commands wait; send it again"
            self._finish(job, CommandError(why))

    def soon(self, step: Callable[[], None]) -> bool:
        """Have the worker do something in its turn; False when too much waits already, or it is closed.

        For any thread; never blocks.
        """
        return self._queue.put(step, 0.0)

    def close(self) -> None:
        """Take no more; what waits is still carried out."""
        self._queue.end()

    def refusal(self, source: str, what: str, reason: str) -> bytes:
        """An answer that says no."""
        return self._answer(Order(source, what, Payload()), CommandError(reason))[0]

    def _read(self, letter: Letter, allowed: frozenset[str]) -> Order:
        if letter.fault:
            raise CommandError(letter.fault)
        row = COMMANDS.get(letter.what)
        if row is None:
            msg = f"unknown command {shown(letter.what[:64])}{did_you_mean(letter.what[:64], COMMANDS)}"
            raise CommandError(msg)
        if letter.what not in allowed:
            msg = f"{letter.what} is not allowed here: {', '.join(name for name in COMMANDS if name in allowed)} are"
            raise CommandError(msg)
        if row.of_camera and not letter.source:
            msg = f"{letter.what} is about a camera: its name stands before set"
            raise CommandError(msg)
        if letter.source and not row.of_camera:
            msg = f"{letter.what} is about the site: no camera stands before set"
            raise CommandError(msg)
        if letter.source and letter.source not in self._cameras:
            msg = f"unknown camera {shown(letter.source[:64])}{did_you_mean(letter.source[:64], self._cameras)}"
            raise CommandError(msg)
        if len(letter.body) > MOST_BYTES:
            msg = f"{len(letter.body)} bytes are more than the {MOST_BYTES} that a command may have"
            raise CommandError(msg)
        return Order(letter.source, letter.what, self._decode(letter.what, letter.body or b"{}"))

    def _decode(self, what: str, body: bytes) -> Payload:
        try:
            payload: Payload = self._decoders[what].decode(body)
        except UnicodeDecodeError:
            msg = "the body is not UTF-8 text"
            raise CommandError(msg) from None
        except (msgspec.MsgspecError, RecursionError) as error:
            raise CommandError(str(error)) from None
        if twice := _given_twice(body):
            msg = f"{shown(twice)} is given twice: which is meant?"
            raise CommandError(msg)
        return payload

    def _recent(self, name: tuple[str, ...]) -> _Job | None:
        job = self._known.get(name)
        return None if job is None or self._clock.monotonic_ns() - job.since_ns > _KNOWN_NS else job

    def _remember(self, name: tuple[str, ...], job: _Job) -> None:
        self._known.pop(name, None)
        self._known[name] = job
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _forget(self, name: tuple[str, ...]) -> None:
        """A command that was not carried out may come again under its id."""
        with self._lock:
            self._known.pop(name, None)

    def _answer_copy(self, known: _Job, job: _Job, reply: Reply) -> None:
        """Not carried out again: who lost the answer gets it once more."""
        if known.digest != job.digest:
            answer, ok = self._answer(job.order, CommandError("the id was that of another command: take a new one"))
        elif known.answer is None:
            text = "carried out already; its answer was too large to keep: ask anew under another id"
            answer, ok = self._answer(job.order, CommandError(text))
        else:
            answer, ok = known.answer, known.ok
        reply(answer, ok)

    def _work(self, worker: Worker) -> None:
        def turn() -> bool:
            step = self._queue.get(_TURN_S)
            worker.beat()
            if step is not None:
                step()
                worker.beat()
            self.mind()
            return worker.stopping.is_set() or self._queue.exhausted

        every(0.0, turn, self._clock)

    def _do(self, job: _Job) -> None:
        try:
            self.carry_out(job.order, partial(self._finish, job))
        except CommandError as error:
            self._finish(job, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the site goes on, and whoever asked hears so
            _log.exception("the command %s of %s failed", job.order.what, job.order.source or self._site)
            self._finish(job, CommandError(f"it failed inside ({type(error).__name__}); the log says more"))

    def _finish(self, job: _Job, outcome: Outcome) -> None:
        answer, ok = self._answer(job.order, outcome)
        with self._lock:
            waiting, job.waiting = job.waiting, []
            job.answer, job.ok = answer if len(answer) <= _MOST_KEPT else None, ok
        for reply in waiting:
            reply(answer, ok)

    def _refuse(self, letter: Letter, error: CommandError, reply: Reply) -> None:
        known = letter.source if letter.source in self._cameras else ""
        what = letter.what if letter.what in COMMANDS else "unknown"
        order = Order(known, what, Payload(id=_id_in(letter.body)))
        reply(self._answer(order, error)[0], False)

    def _answer(self, order: Order, outcome: Outcome) -> tuple[bytes, bool]:
        failed = isinstance(outcome, CommandError)
        fields: dict[str, Any] = _reason(outcome) if isinstance(outcome, CommandError) else outcome
        answer = Answer(
            schema=SCHEMA,
            kind="answer",
            site=self._site,
            boot=self._boot,
            timestamp=utc(self._clock.now()),
            command=order.what,
            ok=not failed,
            source=order.source or None,
            id=order.payload.id,
            **fields,
        )
        return self._encode(answer), not failed


def _reason(error: CommandError) -> dict[str, Any]:
    text = str(error)
    problems = getattr(error, "problems", None)
    short = text if len(text) <= _MOST_REASON else f"{text[: _MOST_REASON - 1]}…"
    return {"reason": short, **({"problems": list(problems)} if problems else {})}


def _given_twice(body: bytes) -> str:
    """A key that an object, read already, has more than once; readers differ in which they take. Empty where none."""
    names: list[str] = []
    json.loads(body, object_pairs_hook=lambda pairs: names.extend(name for name, _ in pairs))
    return next((name for name in names if names.count(name) > 1), "")


class _WithId(msgspec.Struct):
    id: CommandId


_ID: Final = msgspec.json.Decoder(_WithId)


def _id_in(body: bytes) -> str | None:
    """The id of a command that is wrong otherwise, so that whoever sent it knows which; None where there is none."""
    if len(body) > MOST_BYTES:
        return None
    try:
        return _ID.decode(body).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _nothing() -> None:
    return None


def _nobody(order: Order, later: Later) -> None:
    del order
    later(CommandError("the site is starting: send it again"))
