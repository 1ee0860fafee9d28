"""Which cameras of a site evidence is kept of, and of what: their packets, or the frames behind what covers faces."""

from collections.abc import Callable
from functools import partial

from edge_vision.app.preview import places_of
from edge_vision.config.site import Camera, Site
from edge_vision.core.message import Message
from edge_vision.core.state import state_folder
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import Watched
from edge_vision.publish.wire import Evidence, Wire
from edge_vision.runtime.clock import Clock


def keeper_of(site: Site, wire: Wire, put: Callable[[Message], None], clock: Clock) -> EvidenceKeeper | None:
    """What keeps the evidence of a site; None where none is asked for."""
    options = site.evidence
    if options is None:
        return None
    folder = options.folder or state_folder(site.id, site.state_dir) / "evidence"
    store = Store(folder, int(options.max_mb * 1_000_000), options.max_age_h * 3600, clock)
    watched = {camera.id: _watched(camera) for camera in site.cameras if _wanted(camera, options)}
    return EvidenceKeeper(options, store, watched, partial(_publish, wire, put), clock)


def _wanted(camera: Camera, options: EvidenceOptions) -> bool:
    return options.cameras is None or camera.id in options.cameras


def _watched(camera: Camera) -> Watched:
    return Watched(places_of(camera.stages))


def _publish(wire: Wire, put: Callable[[Message], None], source: str, kept: Evidence) -> None:
    put(wire.evidence(source, kept))
