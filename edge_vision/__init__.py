"""Real-time video analytics at the edge. This is the road a frame travels.

1. `capture`      camera → Frame                  one thread per camera, always the freshest frame
2. `preprocess`   Frame → ModelInput              letterbox, colors and scale, into one reused buffer
3. `inference`    ModelInput → Tensors            on the best runtime this machine has
4. `postprocess`  Tensors → Detections            boxes in source pixels, one module per output format
5. `analytics`    Scene → richer Scene            filters, and whatever else a site judges by
6. `publish`      Message → the world             JSON lines, ZeroMQ, MQTT, HTTP

`app/pipeline.py` walks it in one function; `runtime` gives it threads and queues; `config` and `models` say what
to run; `core` holds the values that pass from step to step.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("edge-vision")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0.0.0+unknown"

__all__ = ["__version__"]
