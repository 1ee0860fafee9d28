"""Wrong model files, each in its own way: a clear error, the exit code 78, no traceback, no crash, in time."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from malformed import CASES, Kitchen

from edge_vision.core.protocols import LoadOptions

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
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=100)


def tidy(errors: str) -> Iterator[str]:
    """The lines of standard error; fails on what no user should see."""
    assert "Traceback" not in errors, errors
    assert "most recent call" not in errors, errors
    for line in errors.splitlines():
        assert len(line) < 2000, line
        yield line
