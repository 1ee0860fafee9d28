"""The servers of a model: proven before they serve, lost with their first failure, and proven again on return."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edge_vision.core.errors import BackendError, ModelError, ParityError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine
from edge_vision.core.scene import ServedModel
from edge_vision.inference.options import DetectOptions
from edge_vision.inference.remote.options import RemoteOptions
from edge_vision.inference.remote.server import RemoteModel
from edge_vision.inference.slots import Slots
from edge_vision.models.bundle import Bundle, Ends
from edge_vision.models.proof.agreement import Agreement
from edge_vision.models.proof.gate import precision_of, prove
from edge_vision.runtime.backoff import Backoff
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.tally import Tally
from edge_vision.runtime.trouble import Trouble, traceback_of
from edge_vision.runtime.worker import Worker

_log = logging.getLogger(__name__)

BACKEND: Final = "remote"
_MOST_WAIT_S: Final = 10.0
_STEADY_NS: Final = 30_000_000_000
"""A server that is lost sooner than this after its return, or refused, is tried less and less often."""
_FRESH_NS: Final = 10_000_000_000
"""A connection is opened only so soon after a proof: later, who answers may be another than was proven."""
_CHECK_S: Final = 600.0
_MANY: Final = 1024
"""The server has a queue of its own: here nobody waits for a turn."""


@dataclass(frozen=True, slots=True)
class Proven:
    """A server's model that has shown that it sees, and how it is asked: the remote counterpart of `Served`."""

    bundle: Bundle
    engine: Engine
    model: ServedModel
    slots: Slots
    ends: Ends
    file: ModelFile
    agreement: Agreement | None


class Server:
    """One server: online, lost (no answer, or no whole one) or refused (it answers, but not what it should)."""

    def __init__(self, url: str, bundle: Bundle, options: DetectOptions, remote: RemoteOptions, clock: Clock) -> None:
        self.url = url
        self.state = "starting"
        self.proven: Proven | None = None
        self.tally = Tally()
        self._bundle = bundle
        self._precision = options.precision
        self._prove_every_ns = int(remote.prove_every_s * 1e9)
        self._model = RemoteModel(url, bundle.spec.name, remote)
        self._backoff = Backoff(first_s=remote.retry_s, most_s=max(remote.retry_s, _MOST_WAIT_S))
        self._clock = clock
        self._trouble = Trouble()
        self._lock = threading.Lock()
        self._failures = 0
        self._online_ns = 0
        self._proven_ns = 0
        self._next_ns = 0
        self._check: Worker | None = None

    def check(self) -> None:
        """Show the golden pictures to the server: afterwards it is online, lost or refused. Raises ConfigError."""
        before = self.proven
        try:
            if before is None:
                proven = self._load()
            else:
                proven = before
                self._prove(proven.file, proven.engine)
        except (ParityError, ModelError) as error:
            self._failures += 1
            self._fail(error, "refused")
        except BackendError as error:
            self._fail(error, "lost")
        else:
            self._accept(proven, before)

    def lose(self, proven: Proven, error: BackendError) -> None:
        """What was proven has failed: nobody asks this server again before it is proven anew."""
        with self._lock:
            if self.proven is not proven:
                return  # another camera met the failure first
            self.proven = None
        self.tally.add("lost")
        steady = self._clock.monotonic_ns() - self._online_ns >= _STEADY_NS
        self._failures = 1 if steady else self._failures + 1
        self._fail(error, "lost")

    @property
    def fresh(self) -> bool:
        """Whether the last proof is so young that a new connection leads to whom it was made with."""
        return self._clock.monotonic_ns() - self._proven_ns <= _FRESH_NS

    def mind(self, *, now: bool = False) -> None:
        """Start a check on a thread of its own when it is time for one, or now; there is one at most."""
        with self._lock:
            busy = self._check is not None and self._check.alive
            if busy or not (now or self._clock.monotonic_ns() >= self._next_ns):
                return
            self._check = Worker(f"check {self.url}", self._check_again, _CHECK_S, self._clock)
            self._check.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of a check; False when it did not come in time."""
        return self._check is None or self._check.join(timeout_s)

    def facts(self) -> dict[str, Any]:
        """What the status says of this server."""
        proven = self.proven
        return {
            "url": self.url,
            "state": self.state,
            **({"device": proven.model.device} if proven else {}),
            "frames": self.tally["frames"],
            "lost": self.tally["lost"],
            **({"agreement": proven.agreement.facts()} if proven and proven.agreement else {}),
            **({"error": self._trouble.text} if self._trouble.text else {}),
        }

    @property
    def error(self) -> str:
        """What is wrong with it, or nothing."""
        return self._trouble.text

    def _load(self) -> Proven:
        """Raises BackendError: the last reason, when none of the bundle's files is what the server runs."""
        tried: list[Ends] = []
        reasons: list[BackendError] = []
        for file in self._bundle.spec.files:
            ends = self._bundle.ends_of(file)
            if ends in tried or (file.precision == "int8") != (self._precision == "int8"):
                continue
            tried.append(ends)
            try:
                engine = self._model.load(file)
                agreement = self._prove(file, engine)
            except (ModelError, ParityError) as error:  # the server may run another of the bundle's files
                reasons.append(error)
                continue
            precision = precision_of(file, self._precision)
            model = ServedModel(self._bundle.spec.name, BACKEND, engine.device, precision, self._bundle.spec.labels)
            return Proven(self._bundle, engine, model, Slots(self.url, _MANY), ends, file, agreement)
        if reasons:
            raise reasons[-1]
        msg = f"{self.url}: the bundle has no file of precision {self._precision} to ask it for"
        raise ModelError(msg)

    def _prove(self, file: ModelFile, engine: Engine) -> Agreement | None:
        """The golden check; its verdict is never remembered, for the server may come back as another."""
        if self._bundle.golden is None:
            return None
        verdict = prove(self._bundle, self._bundle.golden, file, engine, self._precision)
        if not verdict.passed:
            msg = f"{self.url}: {verdict.reason}"
            raise ParityError(msg)
        return verdict.agreement

    def _accept(self, proven: Proven, before: Proven | None) -> None:
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            if self.proven is not before:
                return  # lost while it was shown the pictures: who was proven is gone
            self.proven = proven
            self.state = "online"
            self._proven_ns = now_ns
            self._next_ns = now_ns + self._prove_every_ns
        if before is None:
            self._online_ns = now_ns
            word = "serves again" if self._trouble.clear() else "serves"
            seen = proven.agreement or "without golden data nothing shows what it sees"
            _log.info("model %s: %s %s; %s", proven.model.name, proven.model.device, word, seen)

    def _fail(self, error: Exception, state: str) -> None:
        delay_s = self._backoff.delay_s(max(1, self._failures))
        with self._lock:
            self.proven = None
            self._next_ns = self._clock.monotonic_ns() + int(delay_s * 1e9)
            self.state = state
        if self._trouble.is_news(error):
            name = self._bundle.spec.name
            text = "model %s: %s: %s; trying again, next in %.1f s"
            _log.warning(text, name, state, error, delay_s, exc_info=traceback_of(error))

    def _check_again(self, worker: Worker) -> None:
        del worker  # every wait inside has a limit of its own
        try:
            self.check()
        except Exception as error:  # noqa: BLE001 - told and counted; the next check may do better
            self._fail(error, "lost")


class Servers:
    """The servers of one model, first is best, and the account of the time when none of them served."""

    def __init__(self, bundle: Bundle, options: DetectOptions, remote: RemoteOptions, clock: Clock) -> None:
        self._name = bundle.spec.name
        self._all = [Server(url, bundle, options, remote, clock) for url in remote.urls]
        self._clock = clock
        self._lock = threading.Lock()
        self._stood_in = 0
        self._away_ns = 0
        self._since_ns: int | None = None

    def __iter__(self) -> Iterator[Server]:
        return iter(self._all)

    def start(self, go_on: Callable[[], None] = lambda: None) -> None:
        """Prove every server for the first time, on the calling thread; `go_on` is called before each.

        Raises ConfigError.
        """
        for server in self._all:
            go_on()
            server.check()
        self.account()

    def online(self) -> Iterator[tuple[Server, Proven]]:
        """The servers that may be asked now, best first."""
        for server in self._all:
            proven = server.proven
            if proven is not None:
                yield server, proven

    def mind(self) -> None:
        """Look after those that are lost; called a few times a second."""
        for server in self._all:
            server.mind()
        self.account()

    def answered(self, server: Server) -> None:
        """Note that a server answered a frame."""
        server.tally.add("frames")
        self.account()

    def stood_in(self) -> None:
        """Note that this machine answered a frame in place of a server."""
        with self._lock:
            self._stood_in += 1
        self.account()

    def account(self) -> None:
        """Note since when nobody serves, or that somebody does again."""
        with self._lock:
            now_ns, away = self._clock.monotonic_ns(), next(self.online(), None) is None
            if away and self._since_ns is None:
                self._since_ns = now_ns
            elif not away and self._since_ns is not None:
                spent_ns, self._since_ns = now_ns - self._since_ns, None
                self._away_ns += spent_ns
                text = "model %s: a server answers after %.1f s without one; frames answered here so far: %d"
                _log.info(text, self._name, spent_ns / 1e9, self._stood_in)

    def join(self, timeout_s: float) -> bool:
        """Wait for checks that are under way; False when one did not end in time."""
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        return all(server.join((end_ns - self._clock.monotonic_ns()) / 1e9) for server in self._all)

    def facts(self) -> dict[str, Any]:
        """What the status says: each server, and how many frames and seconds this machine stood in for them."""
        with self._lock:
            since_ns = self._since_ns
            away_ns = self._away_ns + (0 if since_ns is None else self._clock.monotonic_ns() - since_ns)
            frames = self._stood_in
        return {
            "servers": [server.facts() for server in self._all],
            "fallback": {"frames": frames, "seconds": round(away_ns / 1e9, 3)},
        }
