"""TensorRT engines that are built before a site starts, and tried, on a fake GPU (tests/fake_gpu.py)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_gpu import OUT_OF_MEMORY, FakeCuda, fake_plan
from tensorrt_engines import SHAPE, built, fake_driver, install_tensorrt, loaded_for, write_model

from edge_vision.app.ahead import build_ahead, complete
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.inference.options import BatchingOptions, DetectOptions


@pytest.fixture(name="cuda")
def _cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCuda]:
    with fake_driver(monkeypatch, tmp_path) as cuda:
        yield cuda


@pytest.fixture(name="trt")
def _trt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Any:
    return install_tensorrt(cuda, monkeypatch)


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> ModelFile:
    return write_model(tmp_path)


def _site(model: ModelFile, cameras: int = 1, **settings: Any) -> Any:
    """A checked site whose cameras use one model, twice each, as far as building ahead looks at it."""
    bundle = SimpleNamespace(spec=ModelSpec("m", (model,), ("thing",)), path_of=lambda file: file.path.name)
    detect = DetectOptions(kind="detect", model=Path("m"), backends=("tensorrt",), **settings)
    site = SimpleNamespace(cameras=[SimpleNamespace(stages=(detect, detect))] * cameras)
    return SimpleNamespace(site=site, bundles={Path("m"): bundle})


@pytest.mark.usefixtures("trt")
def test_an_engine_that_is_there_is_loaded_and_run_where_there_is_a_gpu(model: ModelFile) -> None:
    """So that what `models build` calls ready is ready; a model used twice is looked at once."""
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    (row,) = build_ahead(_site(model), None, lambda _: lambda *_: None)
    assert (row.state, row.file, row.backend, row.precision) == ("there already", "model.onnx", "tensorrt 8.6.2", "f32")
    assert "for Fake GPU (compute capability 8.7); loaded and run in " in row.text
    assert complete([row])


@pytest.mark.usefixtures("trt")
def test_an_engine_is_built_for_as_many_pictures_as_the_site_gathers(model: ModelFile) -> None:
    """As many as there are cameras, `most` at most: the daemon looks for the same."""
    loaded_for(2, model, images=("FLOAT", (-1, 3, 4, 5)), out=("FLOAT", (-1, 3, 4, 5)))
    (row,) = build_ahead(_site(model, 2, batching=BatchingOptions()), None, lambda _: lambda *_: None)
    assert row.state == "there already"
    (row,) = build_ahead(_site(model, 3, batching=BatchingOptions()), None, lambda _: lambda *_: None)
    assert row.state == "failed"  # it was not there, and a fake builds nothing


@pytest.mark.usefixtures("trt")
def test_an_engine_that_does_not_run_is_a_failure(cuda: FakeCuda, model: ModelFile) -> None:
    """Even when another runtime can serve the model: somebody asked for this one."""
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    cuda.fail = {"cuMemAlloc_v2": OUT_OF_MEMORY}
    (row,) = build_ahead(_site(model), None, lambda _: lambda *_: None)
    assert row.state == "failed"
    assert "CUDA_ERROR_OUT_OF_MEMORY" in row.text
    assert not complete([row, replace(row, backend="onnxruntime", state="loaded")])
    assert complete([replace(row, state="not here"), replace(row, backend="onnxruntime", state="loaded")])
