"""What the TensorRT backend says of driver, library and GPU, on a fake GPU (tests/fake_gpu.py)."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_gpu import OUT_OF_MEMORY, FakeCuda
from tensorrt_engines import F32, fake_driver, install_tensorrt, write_model

from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.model import ModelFile
from edge_vision.inference.tensorrt import cuda as cuda_module
from edge_vision.inference.tensorrt.backend import TensorRt
from edge_vision.testing.contracts import check_probe


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


@pytest.mark.usefixtures("trt")
def test_a_probe_names_library_gpu_and_driver() -> None:
    """It works: version and device."""
    availability = check_probe(TensorRt())
    assert availability.available
    assert (availability.version, availability.devices) == ("8.6.2", ("Fake GPU (compute capability 8.7)",))
    assert cuda_module.gpu().driver.startswith("CUDA 12.4, driver ")


@pytest.mark.parametrize(
    "fail, gpus, reason",
    [
        ({"cuInit": 100}, 1, "does not work: cuda: cuInit: unknown error (100)"),
        ({}, 0, "sees no GPU"),
        ({"cuDeviceGetName": OUT_OF_MEMORY}, 1, "GPU 0 cannot be used: cuda: cuDeviceGetName: CUDA_ERROR_OUT_OF"),
    ],
)
@pytest.mark.usefixtures("trt")
def test_a_driver_that_does_not_work_is_a_reason(
    fail: dict[str, int], gpus: int, reason: str, cuda: FakeCuda, model: ModelFile
) -> None:
    """The probe says it, loading raises it."""
    cuda.fail, cuda.gpus = fail, gpus
    availability = check_probe(TensorRt())
    assert not availability.available
    assert reason in availability.reason
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    assert reason in str(caught.value)


@pytest.mark.usefixtures("cuda")
def test_a_library_that_is_absent_is_a_reason(monkeypatch: pytest.MonkeyPatch, model: ModelFile) -> None:
    """With a GPU it is worth installing: the reason says how."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    expected = "tensorrt is not installed: pip install 'edge-vision[tensorrt]'"
    assert check_probe(TensorRt()).reason == expected
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024\nGCC version: 12\n",
            "driver 550.54.15",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "driver 540.4.0"),
        ("something else", "driver of the board"),
    ],
)
@pytest.mark.usefixtures("cuda")
def test_the_driver_is_known_by_its_kernel_module(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An engine is built anew for another driver."""
    monkeypatch.setattr(cuda_module, "_KERNEL_MODULE", tmp_path / "version")
    (tmp_path / "version").write_text(text)
    assert cuda_module.gpu().driver == f"CUDA 12.4, {expected}"
