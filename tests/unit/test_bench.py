"""Checks who wins when runtimes are timed beside each other."""

import pytest

from edge_vision.models.proof.bench import Pace, Result, rank


def result(name: str, state: str, road_ms: float) -> Result:
    """One that was timed."""
    half = road_ms / 2
    pace = Pace(10, half, half, half, road_ms, road_ms, road_ms, road_ms)
    return Result(name, "m.onnx", "f32", state, "" if state != "failed" else "sees something else", pace=pace)


def test_a_fast_runtime_that_sees_something_else_does_not_win() -> None:
    """It comes last, with its ratio to the fastest that may serve."""
    ranked = rank([result("wrong", "failed", 1.0), result("slow", "proven", 8.0), result("right", "proven", 4.0)])
    assert [one.backend for one in ranked] == ["right", "slow", "wrong"]
    assert [one.ratio for one in ranked] == pytest.approx([1.0, 2.0, 0.25])


def test_without_golden_data_the_fastest_wins_unproven() -> None:
    """Nothing speaks against it, and its state says that nothing speaks for it."""
    ranked = rank([result("slow", "unproven", 8.0), result("fast", "unproven", 2.0)])
    assert [(one.backend, one.ratio) for one in ranked] == [("fast", 1.0), ("slow", 4.0)]


def test_when_all_fail_there_is_no_ratio() -> None:
    """There is nothing to compare with."""
    assert [one.ratio for one in rank([result("wrong", "failed", 1.0)])] == [None]
