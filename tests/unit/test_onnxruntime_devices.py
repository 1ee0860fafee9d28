"""Which provider of ONNX Runtime serves: the one that is really active.

Only the CPU provider exists on the machines of the tests. The library is a fake here: what these tests show is the
choice and the reasons, not that a GPU works.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.onnxruntime import OnnxRuntime

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider"
FILE = ModelFile(Path("m.onnx"), "onnx", (1, 3, 8, 8))


class FakeRuntime(SimpleNamespace):
    """Lists `listed`; a session gets the providers of `working`, in the order asked for, as the real library does."""

    def __init__(self, listed: list[str], working: list[str]) -> None:
        super().__init__(__version__="1.31", asked=[])
        self._listed, self._working = listed, working

    def get_available_providers(self) -> list[str]:
        """What the build lists."""
        return self._listed

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802 - the library's name
        """Settings that take anything."""
        return SimpleNamespace(add_session_config_entry=lambda _key, _value: None)

    def set_default_logger_severity(self, level: int) -> None:
        """Called when there is something to be silent about."""

    def InferenceSession(  # noqa: N802 - the library's name
        self, _path: str, _settings: Any, providers: list[Any], *, enable_fallback: int
    ) -> SimpleNamespace:
        """A session on those of `providers` that work."""
        assert not enable_fallback, "the library would go on with the CPU, and print so"
        names = [name for name, _ in providers]
        self.asked.append(providers)
        active = [name for name in names if name in self._working]
        node = SimpleNamespace(name="images", shape=[1, 3, 8, 8], type="tensor(float)")
        return SimpleNamespace(get_providers=lambda: active, get_inputs=lambda: [node], get_outputs=list)


def _with(monkeypatch: pytest.MonkeyPatch, listed: list[str], working: list[str]) -> FakeRuntime:
    fake = FakeRuntime(listed, working)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    return fake


@pytest.mark.parametrize(
    "listed, working, device, serves",
    [
        ([CPU], [CPU], None, "CPU"),
        ([CUDA, CPU], [CUDA, CPU], None, "CUDA"),
        ([CUDA, CPU], [CPU], None, "CPU"),  # a build for CUDA on a box without a GPU
        ([CUDA, CPU], [CUDA, CPU], "CPU", "CPU"),
        ([CUDA, CPU], [CUDA, CPU], "cuda", "CUDA"),
        ([OPENVINO, CPU], [OPENVINO, CPU], None, "CPU"),  # only when it is asked for
        ([OPENVINO, CPU], [OPENVINO, CPU], "OPENVINO", "OPENVINO"),
    ],
)
def test_the_engine_names_the_device_that_serves(
    listed: list[str], working: list[str], device: str | None, serves: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a fake library: without a device CUDA if it is active, else the CPU; with one, that one."""
    _with(monkeypatch, listed, working)
    assert OnnxRuntime().load(FILE, LoadOptions(device=device)).device == serves


def test_a_provider_that_is_listed_but_not_active_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake library: the real one for CUDA, without a GPU, goes on with the CPU and only writes a line."""
    _with(monkeypatch, [CUDA, CPU], [CPU])
    with pytest.raises(BackendUnavailableError, match=f"asked for {CUDA}, got {CPU}: this build lists it"):
        OnnxRuntime().load(FILE, LoadOptions(device="CUDA"))


def test_a_provider_that_is_not_listed_is_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake library: what there is stands beside it."""
    _with(monkeypatch, [OPENVINO, CPU], [OPENVINO, CPU])
    with pytest.raises(BackendUnavailableError, match="no device CUDA here; it has OPENVINO, CPU"):
        OnnxRuntime().load(FILE, LoadOptions(device="CUDA"))


def test_cuda_computes_in_f32_when_f32_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake library: its provider rounds to TF32 unless told not to."""
    fake = _with(monkeypatch, [CUDA, CPU], [CUDA, CPU])
    OnnxRuntime().load(FILE, LoadOptions())
    assert fake.asked == [[(CUDA, {"use_tf32": "0"}), (CPU, {})]]


def test_the_probe_lists_the_devices_of_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake library: best first; without the CPU provider nothing works."""
    _with(monkeypatch, [OPENVINO, CUDA, CPU], [CPU])
    assert OnnxRuntime().probe().devices == ("CUDA", "OPENVINO", "CPU")
    _with(monkeypatch, [CUDA], [CUDA])
    assert not OnnxRuntime().probe().available
