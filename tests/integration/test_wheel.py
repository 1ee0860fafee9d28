"""The wheel alone is enough: pipelines, demo, systemd unit and the catalogue of models come with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_the_demo_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    """Built from the tree and put into an empty folder, the package runs its demo from there."""
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(ROOT)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert (site / "edge_vision/py.typed").is_file()  # else a type checker takes the package for untyped
    assert (site / "edge_vision/shipped/pipelines/object_detection.yaml").is_file()
    assert (site / "edge_vision/shipped/systemd/edge-vision@.service").is_file()
    assert (site / "edge_vision/shipped/configs/demo/parts/golden/golden.yaml").is_file()
    assert (site / "edge_vision/shipped/configs/demo/defects/golden/golden.yaml").is_file()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "edge_vision", "demo", "--max-seconds", "2"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(site) in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[1]) > 0
    command = [sys.executable, "-m", "edge_vision", "models", "list", "--urls"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "yolox_nano/yolox_nano.onnx" in done.stdout
    assert (site / "edge_vision/models/catalog/catalog.yaml").is_file()
