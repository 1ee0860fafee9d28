"""Which cameras of a site evidence is kept of, and of what: their packets, or the frames behind what covers faces."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from edge_vision.app.preview import places_of
from edge_vision.capture.options import AvOptions
from edge_vision.capture.ring import Ring
from edge_vision.config.site import Camera, Site
from edge_vision.core.message import Message
from edge_vision.core.plugin import require
from edge_vision.core.state import state_folder
from edge_vision.publish.evidence.keeper import EvidenceKeeper
from edge_vision.publish.evidence.options import EvidenceOptions
from edge_vision.publish.evidence.store import Store
from edge_vision.publish.evidence.writing import Watched
from edge_vision.publish.wire import Evidence, Wire
from edge_vision.runtime.clock import Clock

_LATE_S: Final = 5.0
"""How long after its packet a picture may be analyzed, and its event heard of, without loss of what was before."""
_AHEAD_S: Final = 120.0
"""The same, for a recording that is analyzed as fast as it can be: its time goes by a hundred times faster."""


def rings_of(site: Site) -> dict[str, Ring]:
    """A ring for the packets of each camera whose clips are made of them, by its name."""
    options = site.evidence
    if options is None or options.clip is None or not options.kinds:
        return {}
    most_bytes, before_s = int(options.clip.ring_mb * 1_000_000), options.clip.before_s
    watched = [camera for camera in _watched(site, options) if _may_store_packets(camera)]
    return {camera.id: Ring(most_bytes, before_s + _late_s(camera)) for camera in watched}


def keeper_of(
    site: Site, rings: Mapping[str, Ring], wire: Wire, put: Callable[[Message], None], clock: Clock
) -> EvidenceKeeper | None:
    """What keeps the evidence of a site; None where none is asked for. Raises MissingLibraryError."""
    options = site.evidence
    if options is None:
        return None
    require("cv2", "cpu")  # pictures are written by it
    folder = options.folder or state_folder(site.id, site.state_dir) / "evidence"
    store = Store(folder, int(options.max_mb * 1_000_000), options.max_age_h * 3600, clock)
    watched = {camera.id: Watched(places_of(camera.stages), rings.get(camera.id)) for camera in _watched(site, options)}
    return EvidenceKeeper(options, store, watched, partial(_publish, wire, put), clock)


def _watched(site: Site, options: EvidenceOptions) -> list[Camera]:
    return [camera for camera in site.cameras if options.cameras is None or camera.id in options.cameras]


def _may_store_packets(camera: Camera) -> bool:
    """Whether the source has packets, and they show nothing that its pipeline covers."""
    return camera.source.kind == "av" and not any(stage.covers for stage in camera.stages)


def _late_s(camera: Camera) -> float:
    source = camera.source
    return _AHEAD_S if isinstance(source, AvOptions) and source.path is not None and not source.realtime else _LATE_S


def _publish(wire: Wire, put: Callable[[Message], None], source: str, kept: Evidence) -> None:
    put(wire.evidence(source, kept))
