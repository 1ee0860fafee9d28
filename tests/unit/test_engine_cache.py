"""Engines are kept under everything they depend on, whole or not at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_vision.core.errors import BackendUnavailableError
from edge_vision.inference.tensorrt import engine_cache
from edge_vision.inference.tensorrt.engine_cache import EngineKey

KEY = EngineKey("abc", "tensorrt 10.3.0", "Orin", "CUDA 12.6", "f16", ((1, 3, 8, 8),) * 3)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "other",
    [
        {"model": "abd"},
        {"runtime": "tensorrt 10.3.1"},
        {"device": "Xavier"},
        {"driver": "CUDA 12.7"},
        {"precision": "f32"},
        {"shapes": ((1, 3, 8, 8), (1, 3, 8, 8), (2, 3, 8, 8))},
    ],
)
def test_every_part_of_the_key_counts(other: dict[str, object]) -> None:
    """An engine is found by its own key, and by no other."""
    engine_cache.keep(KEY, b"plan", "m.onnx", 2.0)
    assert engine_cache.find(replace(KEY)) is not None
    assert engine_cache.find(replace(KEY, **other)) is None  # type: ignore[arg-type]  # a row of a table


def test_what_is_kept_can_be_listed_with_size_and_time() -> None:
    """By the name of the model's file; nothing is there at first."""
    assert engine_cache.entries() == []
    second = engine_cache.keep(KEY, b"plan", "m.onnx", 2.0)
    first = engine_cache.keep(replace(KEY, model="x"), b"another plan", "a.onnx", 0.5)
    assert engine_cache.entries() == [first, second]
    assert (first.size, first.build_s, first.path.read_bytes()) == (12, 0.5, b"another plan")
    assert sorted(path.suffix for path in engine_cache.engines_folder().iterdir()) == [
        ".engine",
        ".engine",
        ".json",
        ".json",
    ]


@pytest.mark.parametrize(
    "harm", ["plan is cut", "plan is gone", "facts are garbage", "facts are gone", "facts lack size"]
)
def test_an_engine_that_is_not_whole_is_not_there(harm: str) -> None:
    """It is built again, rather than given to a library that may crash on it."""
    entry = engine_cache.keep(KEY, b"plan", "m.onnx", 2.0)
    facts = entry.path.with_suffix(".json")
    harms: dict[str, Callable[[], object]] = {
        "plan is cut": lambda: entry.path.write_bytes(b"pla"),
        "plan is gone": entry.path.unlink,
        "facts are garbage": lambda: facts.write_bytes(b"\xff{"),
        "facts are gone": facts.unlink,
        "facts lack size": lambda: facts.write_text("{}"),
    }
    harms[harm]()
    assert engine_cache.find(KEY) is None
    assert engine_cache.entries() == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """Here a file stands where the folder should be."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(BackendUnavailableError, match=r"cache/engines/.*: the engine of m.onnx cannot be kept: "):
        engine_cache.keep(KEY, b"plan", "m.onnx", 2.0)


def test_weights_beside_the_model_are_part_of_it(tmp_path: Path) -> None:
    """Large ONNX models keep theirs in a file of their own; files of other names do not count."""
    model = tmp_path / "m[1].onnx"
    model.write_bytes(b"graph")
    alone = engine_cache.model_digest(model)
    (tmp_path / "m1.onnx").write_bytes(b"other model")
    assert engine_cache.model_digest(model) == alone
    (tmp_path / "m[1].onnx.data").write_bytes(b"weights")
    weighty = engine_cache.model_digest(model)
    (tmp_path / "m[1].onnx.data").write_bytes(b"weightz")
    assert len({alone, weighty, engine_cache.model_digest(model)}) == 3
    with pytest.raises(BackendUnavailableError, match=r"absent.onnx: no such file"):
        engine_cache.model_digest(tmp_path / "absent.onnx")
