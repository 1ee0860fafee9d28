"""Wrong model files, each in its own way: a clear error, the exit code 78, no traceback, no crash, in time."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from malformed import CASES, Kitchen, endless

from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference import trial

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
LEAST = 40
RUN_S = 60


@pytest.fixture(scope="module")
def bundles(data: Path, coco_labels: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every wrong bundle, by the name of its case."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, case in CASES.items():
        case.make(Kitchen(folder / name, data, coco_labels))
    return {name: folder / name for name in CASES}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment, with a cache of its own."""
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def command(*arguments: str | Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """The real command, within its limit."""
    words = [sys.executable, "-m", "edge_vision", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=250)


def tidy(errors: str) -> Iterator[str]:
    """The lines of standard error; fails on what no user should see."""
    assert "Traceback" not in errors, errors
    assert "most recent call" not in errors, errors
    for line in errors.splitlines():
        assert len(line) < 2000, line
        yield line


def test_there_are_enough_of_them() -> None:
    """At least as many as were promised."""
    assert len(CASES) >= LEAST


def test_check_names_file_and_reason_for_each(bundles: dict[str, Path], environment: dict[str, str]) -> None:
    """One call for all of them: 78, and for each at least one line that names the file and says what is wrong."""
    started = time.monotonic()
    done = command("models", "check", *bundles.values(), environment=environment)
    took = time.monotonic() - started
    assert done.returncode == 78, done.stderr
    lines = list(tidy(done.stderr))
    for name, folder in bundles.items():
        own = [line for line in lines if f"{folder}/" in line]
        assert own, name
        assert any(CASES[name].words in line for line in own), (name, own)
        assert all(str(folder) in line for line in own)
    print(f"\n{len(bundles)} wrong bundles: models check: {len(lines)} lines in {took:.1f} s")


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.full), 4])
def test_run_ends_with_78_and_names_the_file(
    every: int, bundles: dict[str, Path], environment: dict[str, str], data: Path, tmp_path: Path
) -> None:
    """Each in a daemon of its own: a reason, and no crash, be the runtime's crash ever so real."""
    clip = data / "video/one-by-one-person-detection.mp4"

    def run(name: str) -> tuple[str, "subprocess.CompletedProcess[str]", float]:
        options: dict[str, Any] = {"model": str(bundles[name])}
        if CASES[name].backends:
            options["backends"] = list(CASES[name].backends)
        camera = {"id": "c", "source": {"kind": "file", "path": str(clip)}, "pipeline": "object_detection"}
        content = {
            "version": 1,
            "site": "test",
            "cameras": [{**camera, "with": options}],
            "publish": [{"kind": "jsonl", "path": str(tmp_path / f"{name}.jsonl")}],
        }
        site = tmp_path / f"{name}.yaml"
        site.write_text(yaml.safe_dump(content))
        started = time.monotonic()
        done = command("run", site, "--max-seconds", "1", environment=environment)
        return name, done, time.monotonic() - started

    slowest = 0.0
    with ThreadPoolExecutor(2) as pool:
        for name, done, took in pool.map(run, list(bundles)[::every]):
            assert done.returncode == 78, (name, done.returncode, done.stderr)
            assert any(str(bundles[name]) in line for line in tidy(done.stderr)), (name, done.stderr)
            slowest = max(slowest, took)
    print(f"\n{len(bundles)} wrong bundles: edge-vision run: 78 each, slowest {slowest:.1f} s")
    assert slowest < RUN_S


def test_import_says_the_same(bundles: dict[str, Path], environment: dict[str, str], tmp_path: Path) -> None:
    """The file alone, without a bundle: refused with its name, and nothing is written."""
    for name in ("onnx_cut_at_half", "onnx_is_html", "unknown_operator", "ir_weights_cut", "tflite_garbage"):
        file = next(path for path in bundles[name].iterdir() if path.suffix in {".onnx", ".xml", ".tflite"})
        done = command("models", "import", file, "-o", tmp_path / name, environment=environment)
        assert done.returncode == 78, done.stderr
        assert any(str(file) in line for line in tidy(done.stderr)), done.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_model_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real loop of 2^62 rounds, on a real runtime: passed over when its time is up."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    file = ModelFile(tmp_path / "endless.onnx", "onnx", (1, 3, 64, 64))
    onnx.save(endless(), file.path)
    monkeypatch.setattr(trial, "LIMIT_S", 3.0)
    with pytest.raises(BackendUnavailableError, match="hangs: not done within 3 s"):
        trial.try_out("onnxruntime", file, LoadOptions())
