"""A site with the demo's clip and detector, for tests of everything around the network."""

import json
from pathlib import Path
from typing import Any, Final

from conftest import ROOT

PARTS: Final = str(ROOT / "configs/demo/parts")
CLIP: Final = str(ROOT / "configs/demo/conveyor.mp4")
TOPIC: Final = "edge-vision/v1/test/line/detections"
STATUS: Final = "edge-vision/v1/test/status"


def camera(**source: Any) -> dict[str, Any]:
    """A camera with the demo's detector; by default a rendered line at 25 frames per second."""
    source = source or {"kind": "synthetic"}
    settings = {"model": PARTS, "backends": ["onnxruntime"]}
    return {"id": "line", "source": source, "pipeline": "object_detection", "with": settings}


def read_lines(file: Path) -> list[Any]:
    """The messages in a JSON lines file, as far as whole lines are written."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
