"""Shows a site in full: every default filled in, every path resolved, every secret still a reference."""

from typing import Any

import yaml

from edge_vision.config.site import Site


def resolved_yaml(site: Site) -> str:
    """The site as YAML, as it would run."""
    cameras = [
        {
            "id": camera.id,
            "source": camera.source.model_dump(mode="json"),
            "pipeline": camera.pipeline,
            "priority": camera.priority,
            "stages": [stage.model_dump(mode="json") for stage in camera.stages],
        }
        for camera in site.cameras
    ]
    publish = [sink.model_dump(mode="json") for sink in site.publish]
    body: dict[str, Any] = {"version": 1, "site": site.id, "cameras": cameras, "publish": publish}
    return yaml.safe_dump(body, sort_keys=False, width=110)
