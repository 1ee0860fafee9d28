"""A live view in the terminal, drawn from the same messages that everybody else receives."""

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

import msgspec

from edge_vision.core.errors import SinkError
from edge_vision.core.message import Message
from edge_vision.publish.options import TerminalOptions
from edge_vision.publish.table import SinkOpening
from edge_vision.publish.words import message_in_words
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.tally import Window

_REDRAW_NS: Final = 200_000_000
_LINE_NS: Final = 1_000_000_000
_MOST_OBJECTS: Final = 6
_MOST_EVENTS: Final = 5
_MOST_LETTERS: Final = 110
_SPOKEN: Final = {"ok": "OK", "ng": "NG", "not_inspected": "not inspected"}
_CLEAR_TO_END: Final = "\x1b[J"
_UP: Final = "\x1b[{}A"


class _SourceView:
    """What is shown of one source."""

    def __init__(self) -> None:
        self.frames = 0
        self.times_s = Window(128)
        self.latency_ms = Window(512)
        self.last: dict[str, Any] = {}
        self.verdicts: dict[str, int] = {}

    def judge(self, event: dict[str, Any]) -> str:
        """Take in a verdict; a line about the part when it is not OK, else nothing."""
        self.verdicts = event["counts"]
        if event["verdict"] == "OK":
            return ""
        part = event["part"]["track_id"]
        name = "picture" if part is None else f"{event['part']['class']} {part}"
        return f"{name} is {event['verdict']}: {'; '.join(event['reasons'])}"

    def add(self, body: dict[str, Any], arrived_ns: int) -> None:
        """Take in one detections message."""
        self.frames += 1
        self.times_s.add(arrived_ns / 1e9)
        self.latency_ms.add(body["latency_ms"]["total"])
        self.last = body

    def lines(self, name: str) -> list[str]:
        """Two lines of at most 110 characters or so, and one more where parts are judged."""
        judged = [f"  judged: {spoken(self.verdicts)}"] if self.verdicts else []
        if not self.last:
            return judged
        model = self.last["model"] or {}
        counts = Counter(seen["class"] for seen in self.last["objects"])
        shown = "  ".join(
            f"{seen['class']} {seen['confidence']:.2f} at {seen['xyxy'][0]:.0f},{seen['xyxy'][1]:.0f}"
            for seen in self.last["objects"][:_MOST_OBJECTS]
        )
        more = len(self.last["objects"]) - _MOST_OBJECTS
        frame, model_name = self.last["frame"]["index"], model.get("name", "no model")
        speed = f"latency p50 {self.latency_ms.percentile(50):.1f} ms, p95 {self.latency_ms.percentile(95):.1f} ms"
        engine = f"{model_name} on {model.get('backend', '-')} {model.get('precision', '')}"
        totals = ", ".join(f"{count} {label}" for label, count in sorted(counts.items())) or "nothing"
        rest = f"  and {more} more" if more > 0 else ""
        return [
            f"{name}: {self.times_s.rate():.1f} fps   {speed}   frame {frame}   {engine}",
            f"  sees {totals}   {shown}{rest}",
            *judged,
        ]


def spoken(verdicts: Mapping[str, int]) -> str:
    """How many parts were OK, NG and not inspected."""
    return ", ".join(f"{count} {_SPOKEN.get(name, name)}" for name, count in verdicts.items())


class TerminalSink:
    """Redraws a few lines in place on a terminal; prints a line per source and second, and per event, elsewhere."""

    def __init__(self, out: TextIO, site: str, clock: Clock) -> None:
        self._out = out
        self._site = site
        self._clock = clock
        self._in_place = out.isatty()
        self._decode = msgspec.json.Decoder().decode
        self._sources: dict[str, _SourceView] = {}
        self._events: deque[str] = deque(maxlen=_MOST_EVENTS)
        self._told = 0
        self._drawn_ns = 0
        self._height = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Take in the messages and redraw when it is time."""
        now_ns = self._clock.monotonic_ns()
        for message in messages:
            if message.kind == "detections":
                self._view(message.source).add(self._decode(message.body), now_ns)
            elif message.kind != "status":
                self._tell(self._words(message))
        known = bool(self._sources or self._events)
        if known and now_ns - self._drawn_ns >= (_REDRAW_NS if self._in_place else _LINE_NS):
            self._drawn_ns = now_ns
            self.draw()

    def _view(self, source: str) -> _SourceView:
        return self._sources.setdefault(source, _SourceView())

    def _words(self, message: Message) -> str:
        """A line about an event; of parts that are OK there are only the sums."""
        body = self._decode(message.body)
        if message.kind != "verdict":
            return message_in_words(body) or message.kind
        told = self._view(message.source).judge(body["event"])
        return told and f"{message.source}: {told}"

    def _tell(self, event: str) -> None:
        """Keep an event for the next drawing, or print it at once."""
        self._told += 1
        if event and self._in_place:
            self._events.append(event[:_MOST_LETTERS])
        elif event:
            self._write(f"{event}\n")

    def draw(self) -> None:
        """Show what is known now."""
        shown = [view.lines(name) for name, view in sorted(self._sources.items())]
        lines = [line for source in shown for line in (source if self._in_place else ["  |".join(source)]) if line]
        lines += self._events
        back = _UP.format(self._height) + "\r" + _CLEAR_TO_END if self._height else ""
        self._write(back + "".join(f"{line}\n" for line in lines))
        self._height = len(lines) if self._in_place else 0

    def finish(self) -> None:
        """Draw once more, and a line about the whole run."""
        self.draw()
        frames = sum(view.frames for view in self._sources.values())
        events = f", {self._told} events" if self._told else ""
        verdicts: Counter[str] = Counter()
        for view in self._sources.values():
            verdicts.update(view.verdicts)
        judged = f", parts judged: {spoken(verdicts)}" if verdicts else ""
        self._write(f"{self._site}: {frames} frames of {len(self._sources)} sources seen{events}{judged}\n")

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError as error:
            msg = f"terminal: {error.strerror}"
            raise SinkError(msg) from error


@contextmanager
def open_terminal(options: TerminalOptions, opening: SinkOpening) -> Iterator[TerminalSink]:
    """Draw on standard output."""
    del options
    sink = TerminalSink(sys.stdout, opening.site, opening.clock)
    yield sink
    sink.finish()
