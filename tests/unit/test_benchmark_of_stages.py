"""Checks that benchmarks/stages.py measures every stage, at work."""

import importlib.util
import sys
from types import ModuleType

import pytest
from conftest import ROOT

from edge_vision.analytics.table import STAGES


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stages_benchmark", ROOT / "benchmarks/stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for what their annotations name
    spec.loader.exec_module(module)
    return module


BENCHMARK = _module()


def test_every_stage_is_measured() -> None:
    """A new row of STAGES comes with a line in CASES, and a row in the baseline."""
    assert [kind for kind in STAGES if kind not in BENCHMARK.CASES] == []
    baseline = (ROOT / "benchmarks/baseline/2026-11-22-stages.md").read_text()
    assert [kind for kind in STAGES if f"| `{kind}` |" not in baseline] == []
    assert "benchmarks/stages.py" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("kind", STAGES)
def test_the_stage_is_at_work(kind: str) -> None:
    """Over two seconds of objects it does something: other rows or columns, events, labels, measures or a picture."""
    stage, over = BENCHMARK.build(kind), BENCHMARK.scenes(20, 50)
    after = [stage(scene) for scene in over]
    assert any(
        len(one.detections) != len(scene.detections)
        or one.detections.attributes
        or one.events
        or one.measures
        or one.labels != scene.labels
        or one.frame is not scene.frame
        or any(column is not one.detections.columns().get(name) for name, column in scene.detections.columns().items())
        for one, scene in zip(after, over, strict=True)
    )


def test_a_figure_is_more_than_nothing() -> None:
    """The measurement counts whole frames."""
    assert 0 < BENCHMARK.microseconds("filter", BENCHMARK.scenes(20, 20)) < 1e6
