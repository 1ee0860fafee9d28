"""TorchScript on the real PyTorch, where it is installed; elsewhere only what the probe says of its absence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load
from edge_vision.testing.contracts import check_engine

SHAPE = (1, 3, 32, 48)


def _traced(folder: Path, answer: str) -> tuple[ModelFile, Any]:
    """A convolution, its file, and the module itself; `answer` says in what the outputs come."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed beside the tests")

    class Net(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, images: Any) -> Any:
            grid = self.conv(images).relu()
            rows = grid.flatten(2).transpose(1, 2)
            return {"tensor": rows, "tuple": (rows, grid), "dictionary": {"rows": rows, "grid": grid}}[answer]

    torch.manual_seed(0)
    net = Net().eval()
    path = folder / "net.pt"
    torch.jit.trace(net, torch.zeros(SHAPE), strict=False).save(str(path))
    return ModelFile(path, "torchscript", SHAPE), net


def _input() -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(
    "answer, names",
    [("tensor", ["output"]), ("tuple", ["output0", "output1"]), ("dictionary", ["rows", "grid"])],
)
def test_a_module_keeps_the_contract(answer: str, names: list[str], tmp_path: Path) -> None:
    """Sessions side by side give what PyTorch itself gives, whatever the outputs come in."""
    file, net = _traced(tmp_path, answer)
    engine = load("torchscript", file, LoadOptions(threads=1, parallel=2))
    assert engine.device == "CPU"
    value = _input()
    outputs = check_engine(engine, {engine.inputs[0].name: value})
    assert list(outputs) == names
    import torch

    with torch.inference_mode():
        expected = net(torch.from_numpy(value))
    first = expected if answer == "tensor" else expected["rows" if answer == "dictionary" else 0]
    assert np.allclose(outputs[names[0]], first.numpy(), atol=1e-5)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_what_cannot_be_served_is_said(tmp_path: Path) -> None:
    """A precision, a device and a file that are not to be had; an input that does not fit."""
    file, _ = _traced(tmp_path, "tensor")
    with pytest.raises(BackendUnavailableError, match="bf16 is not to be had"):
        load("torchscript", file, LoadOptions("bf16"))
    with pytest.raises(BackendUnavailableError, match="no device GPU here; it has CPU"):
        load("torchscript", file, LoadOptions(device="GPU"))
    broken = tmp_path / "broken.pt"
    for content in (b"", b"this is not a network", file.path.read_bytes()[:1000]):
        broken.write_bytes(content)
        with pytest.raises(BackendUnavailableError, match=str(broken)):
            load("torchscript", ModelFile(broken, "torchscript", SHAPE), LoadOptions())
    engine = load("torchscript", file, LoadOptions())
    with engine.open_session() as session, pytest.raises(InferenceError, match="torchscript"):
        session.infer({"input": np.zeros((1, 1, 32, 48), np.float32)})
