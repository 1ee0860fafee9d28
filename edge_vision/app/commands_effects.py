"""What each command does to the running site."""

import base64
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from edge_vision import __version__
from edge_vision.app.commands import Desk, Later, Order
from edge_vision.app.unit import Unit
from edge_vision.core.commands import (
    MOST_PICTURE_BYTES,
    AnswerFrame,
    AskedPicture,
    Confidence,
    Enabled,
    Evidence,
    Fetch,
    Snapshot,
)
from edge_vision.core.errors import CommandError, ConfigError, EdgeVisionError
from edge_vision.core.frame import Frame
from edge_vision.core.plugin import require
from edge_vision.publish.wire import utc
from edge_vision.runtime.clock import Clock

_log = logging.getLogger(__name__)

SNAPSHOT_S: Final = 5.0
"""How long a snapshot waits for a frame."""
_MOST_SNAPSHOTS: Final = 8
"""Snapshots that may wait at once."""
_OVER: Final = frozenset({"ended", "failed"})
_MOST_PROBLEMS: Final = 20
_MOST_PROBLEM: Final = 400


class _ProblemsError(CommandError):
    """The site file is wrong: with every problem, as `edge-vision check` prints them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        more = f"; the first {_MOST_PROBLEMS} are told" if len(problems) > _MOST_PROBLEMS else ""
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        super().__init__(f"the site file has {count}{more}: nothing has changed")
        self.problems = [problem[:_MOST_PROBLEM] for problem in problems[:_MOST_PROBLEMS]]


@dataclass(frozen=True, slots=True)
class House:
    """What the commands of the whole site need: how it is, and how it is told to begin anew.

    `reload` checks the site file, and has the site started anew when it is valid; otherwise it raises ConfigError.
    `since_ns` is when the site began, by the monotonic clock.
    """

    state: Callable[[], str]
    reload: Callable[[], None]
    since_ns: int


class Effects:
    """Carries out commands, on the worker of the desk."""

    def __init__(
        self, units: Mapping[str, Unit], house: House, desk: Desk, clock: Clock, evidence: Evidence | None = None
    ) -> None:
        self._units = units
        self._house = house
        self._desk = desk
        self._clock = clock
        self._evidence = evidence
        self._snapshots: list[_Shown | _Kept] = []
        self._reloading = False
        self._do: dict[str, Callable[[Order, Later], None]] = {
            "enabled": self._enabled,
            "confidence": self._confidence,
            "snapshot": self._snapshot,
            "fetch": self._fetch,
            "reload": self._reload,
            "ping": self._ping,
        }

    def carry_out(self, order: Order, later: Later) -> None:
        """Do it, and tell `later` what came of it. Raises CommandError; then nothing has changed."""
        self._do[order.what](order, later)

    def mind(self) -> None:
        """Tell those whose picture is kept, and those whose frame does not come."""
        now_ns = self._clock.monotonic_ns()
        for wanted in list(self._snapshots):
            if wanted.told():
                self._snapshots.remove(wanted)
            elif now_ns >= wanted.until_ns:
                self._snapshots.remove(wanted)
                about = f"{wanted.unit.camera.id} ({wanted.unit.state})"
                wanted.tell(CommandError(f"{about}: {wanted.give_up()} within {SNAPSHOT_S:g} s"))

    def end(self) -> None:
        """No more frames: tell those who wait for one."""
        for wanted in self._snapshots:
            if not wanted.told():
                wanted.give_up()
                wanted.tell(CommandError("the site is stopping"))
        self._snapshots.clear()

    def _enabled(self, order: Order, later: Later) -> None:
        assert isinstance(order.payload, Enabled)
        unit, value = self._living(order), order.payload.value
        if unit.enabled != value:
            _log.info("%s: %s by a command", order.source, "enabled" if value else "disabled")
        unit.enabled = value
        later({"value": value})

    def _confidence(self, order: Order, later: Later) -> None:
        assert isinstance(order.payload, Confidence)
        tuning, value = self._living(order).tuning, order.payload.value
        before = tuning.confidence
        tuning.set_confidence(value)
        if before != value:
            _log.info("%s: confidence %s by a command", order.source, "as configured" if value is None else value)
        now = tuning.configured if value is None else value
        later({"value": now, "configured": tuning.configured})

    def _living(self, order: Order) -> Unit:
        unit = self._units[order.source]
        if unit.state in _OVER:
            msg = f"{order.source} has {unit.state}: a reload opens it anew"
            raise CommandError(msg)
        return unit

    def _snapshot(self, order: Order, later: Later) -> None:
        assert isinstance(order.payload, Snapshot)
        unit = self._living(order)
        if not unit.enabled:  # the pipeline may blur what nobody should see
            msg = f"{order.source} is disabled: its frames are not analyzed, and only those are shown"
            raise CommandError(msg)
        if len(self._snapshots) >= _MOST_SNAPSHOTS:
            msg = f"busy: {_MOST_SNAPSHOTS} snapshots wait for their frames; send it again"
            raise CommandError(msg)
        until_ns = self._clock.monotonic_ns() + int(SNAPSHOT_S * 1e9)
        if order.payload.keep:
            with _as_refusal():
                self._snapshots.append(_Kept(unit, self._files().ask_snapshot(order.source), until_ns, later))
            return
        wanted = _Shown(unit, order.payload, until_ns, self._desk, later)
        self._snapshots.append(wanted)
        unit.show_next(wanted)

    def _fetch(self, order: Order, later: Later) -> None:
        wanted = order.payload
        assert isinstance(wanted, Fetch)
        evidence = self._files()
        if wanted.path.split(".")[2:3] != [order.source]:  # 20261122T120000.000000Z.gate.0001.clean.jpg
            msg = f"path is not that of a file of {order.source}"
            raise CommandError(msg)
        with _as_refusal():
            part, size = evidence.fetch(wanted.path, wanted.offset, wanted.length)
        later({"path": wanted.path, "offset": wanted.offset, "size": size, "data": _text(part)})

    def _files(self) -> Evidence:
        if self._evidence is None:
            msg = "the site keeps no evidence: evidence: is not in its file"
            raise CommandError(msg)
        return self._evidence

    def _reload(self, order: Order, later: Later) -> None:
        del order
        if self._reloading:
            msg = "a reload is under way"
            raise CommandError(msg)
        try:
            self._house.reload()
        except ConfigError as error:
            _log.warning("reload refused, the site goes on as it is: %s", "; ".join(error.problems[:_MOST_PROBLEMS]))
            raise _ProblemsError(error.problems) from None
        self._reloading = True
        later({})

    def _ping(self, order: Order, later: Later) -> None:
        del order
        uptime_s = round((self._clock.monotonic_ns() - self._house.since_ns) / 1e9, 3)
        later({"state": self._house.state(), "uptime_s": uptime_s, "version": __version__})


@dataclass(frozen=True, slots=True)
class _Kept:
    """One who waits for a picture to be kept as evidence."""

    unit: Unit
    asked: AskedPicture
    until_ns: int
    tell: Later

    def told(self) -> bool:
        """Tell what became of the picture, if that is known; whether it was."""
        outcome = self.asked.outcome
        if isinstance(outcome, str):
            self.tell(CommandError(f"{self.unit.camera.id}: {outcome}"))
        elif outcome is not None:
            self.tell({"path": outcome.path})
        return outcome is not None

    def give_up(self) -> str:
        """Wait no more; what did not happen."""
        return self.asked.give_up()


class _Shown:
    """One who waits for the next frame of a camera; called with it, by the camera's thread."""

    def __init__(self, unit: Unit, wanted: Snapshot, until_ns: int, desk: Desk, tell: Later) -> None:
        self.unit = unit
        self.until_ns = until_ns
        self.tell = tell
        self._taken = False
        self._wanted = wanted
        self._desk = desk

    def __call__(self, frame: Frame) -> None:
        self._taken = True
        if not self._desk.soon(partial(self._show, frame)):
            self.tell(CommandError("busy: too many commands wait; send it again"))

    def told(self) -> bool:
        """Whether the frame came, and the worker shows it in its turn."""
        return self._taken

    def give_up(self) -> str:
        """Wait no more; what did not happen."""
        self.unit.show_no_more(self)
        return "no frame came"

    def _show(self, frame: Frame) -> None:
        try:
            self.tell(_picture(frame, self._wanted))
        except CommandError as error:
            self.tell(error)


def _picture(frame: Frame, wanted: Snapshot) -> dict[str, Any]:
    """The frame as a JPEG, no wider than asked for. Raises CommandError when it is too large for an answer."""
    with _as_refusal():
        cv2: Any = require("cv2", "cpu")
    image, (width, height) = frame.image, frame.wh
    if width > wanted.width_px:
        size = (wanted.width_px, max(1, round(height * wanted.width_px / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, wanted.quality))
    data = packed.tobytes()
    if len(data) > MOST_PICTURE_BYTES:
        msg = f"the picture has {len(data)} bytes, {MOST_PICTURE_BYTES} fit: ask for a smaller width_px or quality"
        raise CommandError(msg)
    height, width = image.shape[:2]
    shown = AnswerFrame(frame.index, utc(frame.timestamp), width, height)
    return {"frame": shown, "size": len(data), "data": _text(data)}


@contextmanager
def _as_refusal() -> Iterator[None]:
    """What goes wrong on purpose is told to whoever asked."""
    try:
        yield
    except EdgeVisionError as error:
        raise CommandError(str(error)) from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
