"""What is wrong with the evidence a site asks for, beyond the schema: cameras that are not there, or have no clips."""

from collections.abc import Iterator
from typing import Any

from edge_vision.core.document import Document, Problem
from edge_vision.core.schema_errors import did_you_mean, shown


def evidence_problems(document: Document) -> Iterator[Problem]:
    """Cameras that evidence names and the site has not, and clips of what is no video."""
    asked = document.data.get("evidence") if isinstance(document.data, dict) else None
    listed = document.data.get("cameras") if isinstance(document.data, dict) else None
    if not isinstance(asked, dict) or not isinstance(listed, list):
        return
    cameras = [camera for camera in listed if isinstance(camera, dict) and isinstance(camera.get("id"), str)]
    names = [camera["id"] for camera in cameras]
    given = asked.get("cameras")
    wanted = given if isinstance(given, list) else names
    for number, name in enumerate(wanted):
        if isinstance(name, str) and name not in names:
            text = f"the site has no camera {shown(name)}{did_you_mean(name, names)}"
            yield document.problem(("evidence", "cameras", number), text)
    still = [camera["id"] for camera in cameras if _is_still(camera) and camera["id"] in wanted]
    if isinstance(asked.get("clip"), dict) and still:
        text = f"{', '.join(still)}: pictures of a folder make no clip; name the other cameras under cameras"
        yield document.problem(("evidence", "clip"), text, at_key=True)


def _is_still(camera: dict[str, Any]) -> bool:
    source = camera.get("source")
    return isinstance(source, dict) and source.get("kind") == "images"
