"""Engines in the cache of a fake GPU (tests/fake_gpu.py), as a build leaves them."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import FakeCuda, fake_plan, fake_tensorrt

from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.tensorrt import cuda as cuda_module
from edge_vision.inference.tensorrt import engine_cache
from edge_vision.inference.tensorrt.backend import TensorRt, TensorRtEngine
from edge_vision.inference.tensorrt.builder import Profile, key_of
from edge_vision.inference.tensorrt.library import find_library

SHAPE = (1, 3, 4, 5)


F32 = LoadOptions("f32")


def built(model: ModelFile, plan: bytes, precision: str = "f32") -> engine_cache.Entry:
    """Keep a plan as a build for one picture at a time leaves it."""
    key = key_of(find_library(), cuda_module.gpu(), model, precision, Profile.up_to(1, model.input_shape))
    return engine_cache.keep(key, plan, model.path.name, 1.0)


def loaded_for(batch: int, model: ModelFile, **tensors: tuple[str, tuple[int, ...]]) -> TensorRtEngine:
    """An engine for so many pictures at once."""
    key = key_of(find_library(), cuda_module.gpu(), model, "f32", Profile.up_to(batch, model.input_shape))
    engine_cache.keep(key, fake_plan(**tensors), model.path.name, 1.0)
    return TensorRt().load(model, LoadOptions("f32", batch=batch))


def loaded(model: ModelFile, **tensors: tuple[str, tuple[int, ...]]) -> TensorRtEngine:
    """An engine for one picture at a time."""
    built(model, fake_plan(**tensors))
    return TensorRt().load(model, F32)


def random_picture(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    """Float32 between 0 and 1, of this shape."""
    return np.random.default_rng(seed).random(shape, np.float32)


@contextmanager
def fake_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCuda]:
    """A fake driver, with an empty cache folder; what is left in it at the end fails the test."""
    fake = FakeCuda()
    cuda_module.driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake if name == "libcuda.so.1" else pytest.fail(name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    yield fake
    cuda_module.driver.cache_clear()
    gc.collect()
    assert fake.left() == {}


def install_tensorrt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Install a fake TensorRT."""
    trt = fake_tensorrt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    return trt


def write_model(folder: Path) -> ModelFile:
    """A model's file; only its checksum matters here."""
    path = folder / "model.onnx"
    path.write_bytes(b"weights")
    return ModelFile(path, "onnx", SHAPE)
