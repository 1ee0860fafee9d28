"""The outbox of a site, where one of its sinks owes anything, and the sinks that deliver from it."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from edge_vision.app.outlet import Outlet
from edge_vision.app.owed import kept_kinds, outbox_folder, owed_kinds
from edge_vision.config.site import Site
from edge_vision.core.errors import ConfigError, OutboxError, OutboxInUseError
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.outbox.history import Keeper, OutboxHistory
from edge_vision.publish.outbox.outbox import Outbox
from edge_vision.publish.table import SinkOpening, name_of
from edge_vision.publish.wire import Gap
from edge_vision.runtime.clock import Clock
from edge_vision.runtime.loops import until

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 5.0
"""How long the end may take to write what is in memory."""
_TELL_S: Final = 2.0
"""How long the end may take to make the last gap records."""
_LOOK_S: Final = 0.05
"""How often it looks whether a sink need not be waited for."""


def open_outbox(site: Site, clock: Clock, tell: Callable[[str, Gap], None]) -> Outbox | None:
    """The outbox of a site, or nothing where no sink owes anything or wants anything kept.

    On a disk that is full or does not work for now, it serves from memory. Raises ConfigError when its folder can never
    be used, OutboxInUseError when another process runs the site.
    """
    folder = outbox_folder(site)
    if folder is None:
        return None
    try:
        return Outbox(folder, site.outbox, clock, tell)
    except OutboxInUseError:
        raise
    except OutboxError as error:
        msg = f"outbox: {error}; state_dir names the folder"
        raise ConfigError(msg) from error


def open_outlets(publish: Sequence[SinkOptions], opening: SinkOpening, outbox: Outbox | None) -> list[Outlet]:
    """A thread for each sink; not started yet. Sinks of one name owe nothing, and are told apart by their number."""
    outlets = []
    if outbox is not None:
        opening = replace(opening, history=OutboxHistory(outbox))
    known: Counter[str] = Counter()
    for options in publish:
        address = name_of(options)
        known[address] += 1
        name = address if known[address] == 1 else f"{address} #{known[address]}"
        kinds = owed_kinds(options)
        feed = outbox.feed(name, kinds, getattr(options, "resend_s", 0.0)) if outbox is not None and kinds else None
        if outbox is not None and (kept := kept_kinds(options)):
            outbox.keep(Keeper(name, kept, getattr(options, "keep_s", 0.0)))
        outlets.append(Outlet(name, options, opening, feed))
    return outlets


def tell_losses(outbox: Outbox, clock: Clock) -> None:
    """Have everything that was lost told now, while sinks still take messages; on a bad disk what can be."""
    outbox.say_last_words()
    until(lambda: not outbox.untold or outbox.state != "online", lambda: clock.sleep(_LOOK_S), _TELL_S, clock)


def drain(outlets: Sequence[Outlet], outbox: Outbox | None, clock: Clock, end_ns: int, *, asked: bool) -> None:
    """Let sinks deliver what they have, until a moment of the monotonic clock; then they are asked to stop.

    An end that was `asked` for does not wait for who is away, once everything for it is on disk. A run that ends by
    itself is done when everything is delivered: it waits.
    """

    def done(outlet: Outlet) -> bool:
        if outlet.worker.join(_LOOK_S):
            return True
        return asked and outlet.away and outbox is not None and outbox.unsaved == 0

    for outlet in outlets:
        left_s = max(0.0, (end_ns - clock.monotonic_ns()) / 1e9)
        until(partial(done, outlet), lambda: None, left_s, clock)  # `done` does the waiting
        outlet.worker.stop()  # whoever is done does not hear it


def close_outbox(outbox: Outbox) -> int:
    """Write what is in memory, for five seconds at most; how many messages are neither written nor delivered."""
    outbox.end()
    if not outbox.worker.join(_CLOSE_S):
        outbox.worker.stop()
        return outbox.give_up_unsaved()
    unsaved = outbox.give_up_unsaved()
    outbox.close()
    return unsaved
