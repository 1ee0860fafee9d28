"""The end of a run, in order and within one deadline: no more frames, those at hand, evidence, the last word."""

import logging
from collections.abc import Sequence
from typing import Any, Final

from edge_vision.app.outbox import close_outbox, drain, tell_losses
from edge_vision.app.unit import Unit
from edge_vision.app.voice import Voice
from edge_vision.core.errors import EXIT_DONE, EXIT_GAVE_UP
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.runtime.clock import Clock

_log = logging.getLogger(__name__)

DRAIN_S: Final = 10.0
"""How long the end may take to deliver what is left."""
_FAREWELL_S: Final = 1.0


class Ending:
    """Ends what a run has begun. A run that never began to analyze ends without the first step.

    The first step begins the time to drain, of ten seconds (`DRAIN_S`); without it the second one does.
    """

    def __init__(self, voice: Voice, clock: Clock) -> None:
        self._voice = voice
        self._clock = clock
        self._drained_ns = 0
        self._undelivered = 0

    def finish_analysis(self, units: Sequence[Unit], evidence: EvidenceKeeper | None) -> None:
        """Readers before writers: no more frames, then the frames at hand, all within the time to drain."""
        for unit in units:
            unit.stop_capture()
        self._drained_ns = self._clock.monotonic_ns() + int(DRAIN_S * 1e9)
        deadline_ns = self._drained_ns - int(DRAIN_S / 2 * 1e9)
        for unit in units:
            if not unit.analysis.join(self._left_s(deadline_ns)):
                unit.stop_analysis()
        if evidence is not None:
            evidence.finish(max(0.0, self._left_s(self._drained_ns - int(DRAIN_S / 4 * 1e9))))

    def close_sinks(self, units: Sequence[Unit], facts: dict[str, Any], *, by_itself: bool) -> None:
        """Say offline, and deliver what is queued within the time to drain. `by_itself`: nobody asked for the end."""
        voice = self._voice
        if voice.outbox is not None:
            tell_losses(voice.outbox, self._clock)  # before the sinks end with `offline`
        voice.say_last(facts)
        deadline_ns = self._drained_ns or self._clock.monotonic_ns() + int(DRAIN_S * 1e9)
        drain(voice.outlets, voice.outbox, self._clock, deadline_ns, asked=not by_itself)
        self._undelivered = sum(outlet.undelivered for outlet in voice.outlets)
        workers = [unit.capture for unit in units] + [outlet.worker for outlet in voice.outlets]
        deadline_ns = self._clock.monotonic_ns() + int(_FAREWELL_S * 1e9)
        for worker in workers:  # healthy ones are through within a frame; the others are left behind
            worker.join(self._left_s(deadline_ns))
        if voice.outbox is not None:
            self._undelivered += close_outbox(voice.outbox)

    def exit_code(self, units: Sequence[Unit], gave_up: str, *, by_itself: bool) -> int:
        """0 where all went well, else 70, and in the log what did not. `by_itself`: nobody asked the run to end."""
        outlets = self._voice.outlets
        lost = sum(outlet.lost for outlet in outlets)
        if self._undelivered:
            _log.error("gave up after %.0f s: %d messages undelivered", DRAIN_S, self._undelivered)
        if lost:
            _log.warning("%d messages were dropped on the way out; the last status says where", lost)
        if gave_up:
            _log.error("gave up: %s", gave_up)
        kept = sum(outlet.kept for outlet in outlets)
        if kept:
            _log.warning("%d messages wait in the outbox for the next run", kept)
        if (lost or kept) and by_itself:  # it is done when everything is delivered
            return EXIT_GAVE_UP
        gone = any(outlet.gone for outlet in outlets)
        flawless = all(unit.flawless for unit in units)
        return EXIT_DONE if flawless and not (self._undelivered or gave_up or gone) else EXIT_GAVE_UP

    def _left_s(self, deadline_ns: int) -> float:
        return (deadline_ns - self._clock.monotonic_ns()) / 1e9
