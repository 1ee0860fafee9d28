"""What the sinks of a site may not lose, and where that waits."""

from collections.abc import Callable
from pathlib import Path

from edge_vision.config.site import Site
from edge_vision.core.state import state_folder
from edge_vision.publish.kinds import MESSAGE_KINDS
from edge_vision.publish.options import SinkOptions


def owed_kinds(options: SinkOptions) -> tuple[str, ...]:
    """The kinds of messages that a sink may not lose."""
    owes: Callable[[str], bool] | None = getattr(options, "owes", None)
    return () if owes is None else tuple(kind for kind in MESSAGE_KINDS if owes(kind))


def kept_kinds(options: SinkOptions) -> tuple[str, ...]:
    """The kinds of messages that a sink wants kept, to hand them out once more when it is asked to."""
    keeps: Callable[[str], bool] | None = getattr(options, "keeps", None)
    return () if keeps is None else tuple(kind for kind in MESSAGE_KINDS if keeps(kind))


def outbox_folder(site: Site) -> Path | None:
    """Where the outbox of a site is, if it has one."""
    wanted = any(owed_kinds(options) or kept_kinds(options) for options in site.publish)
    return state_folder(site.id, site.state_dir) if wanted else None
