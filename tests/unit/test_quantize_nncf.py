"""Checks that nncf quantizes in silence: to the terminal, and to the network."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Start

_WATCHED = """
import socket, sys, threading
from pathlib import Path

def refuse(what):
    def call(*arguments, **options):
        print("NETWORK", what, arguments[-1:], file=sys.stderr)
        raise OSError("no network here")
    return call

socket.socket.connect = socket.socket.connect_ex = refuse("connect")
socket.getaddrinfo = refuse("look up")
from small_network import OPTIONS, write_network
from edge_vision.models.making.calibration import Calibration, pick_pictures
from edge_vision.models.making.quantize_nncf import NncfQuantizer
from edge_vision.models.making.scope import SCOPES

folder = Path(sys.argv[1])
file = write_network(folder / "small.onnx")
NncfQuantizer().quantize(file, SCOPES[0], Calibration(OPTIONS, pick_pictures((folder,), 1)), folder / "new.xml")
assert "FakeQuantize" in (folder / "new.xml").read_text()
assert "nncf" in sys.modules and sys.modules["openvino_telemetry"] is None
print("THREADS", [thread.name for thread in threading.enumerate()])
"""


def test_nncf_calls_nobody(start: Start, tmp_path: Path) -> None:
    """No host is looked up, none connected to, nothing printed, no thread left that might (docs/adr/007)."""
    for name in ("nncf", "onnx"):
        if importlib.util.find_spec(name) is None:  # importing nncf here would leave its threads here
            pytest.skip(f"{name} is not installed")
    cv2.imwrite(str(tmp_path / "one.png"), np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8))
    root = Path(__file__).resolve().parents[2]
    code = f"import sys; sys.path[:0] = [{str(root)!r}, {str(root / 'tests')!r}]\n{_WATCHED}"
    process = start(sys.executable, "-c", code, tmp_path)
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert (output, errors) == ("THREADS ['MainThread']\n", "")
