"""Which TensorRT engine is loaded, and which is refused with its remedy, on a fake GPU (tests/fake_gpu.py)."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_gpu import FakeCuda, fake_plan
from tensorrt_engines import F32, SHAPE, built, fake_driver, install_tensorrt, loaded, loaded_for, write_model

from edge_vision.core.errors import BackendUnavailableError, InferenceError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.batching import why_not_batch
from edge_vision.inference.tensorrt.backend import TensorRt
from edge_vision.models.bundle import read_bundle
from edge_vision.models.proof import verdicts


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
def test_an_engine_that_was_not_built_is_never_built_silently(model: ModelFile) -> None:
    """The message names the file, what it was looked for under, where, and the command."""
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    for part in (model.path, "f32", "tensorrt 8.6.2", "Fake GPU", "engines", "edge-vision models build SITE.yaml"):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("precision", ["bf16", "f8"])
@pytest.mark.usefixtures("trt")
def test_a_precision_without_a_flag_is_not_to_be_had(precision: str, model: ModelFile) -> None:
    """What is asked for or nothing; this fake has the flags of TensorRT 8.6."""
    with pytest.raises(BackendUnavailableError, match=f"for {precision} put a file"):
        TensorRt().load(model, LoadOptions(precision))


@pytest.mark.usefixtures("trt")
def test_an_engine_of_another_precision_is_another_engine(model: ModelFile) -> None:
    """An f32 engine is not handed out for f16."""
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    with pytest.raises(BackendUnavailableError, match="no engine built"):
        TensorRt().load(model, LoadOptions("f16"))
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)), "f16")
    assert TensorRt().load(model, LoadOptions("f16")).inputs[0].shape == SHAPE


@pytest.mark.usefixtures("trt")
def test_an_engine_for_one_picture_is_not_that_for_several(model: ModelFile, tmp_path: Path) -> None:
    """It has to be built for them; a ready one takes as many as it was built for, which is 4 for this fake."""
    open_batch = {"images": ("FLOAT", (-1, 3, 4, 5)), "out": ("FLOAT", (-1, 3, 4, 5))}
    loaded_for(2, model, **open_batch)
    with pytest.raises(BackendUnavailableError, match=r"no engine built for .*f32, \[3, 3, 4, 5\]"):
        TensorRt().load(model, LoadOptions("f32", batch=3))
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(**open_batch))
    engine = TensorRt().load(ModelFile(path, "tensorrt", SHAPE), LoadOptions("f32", batch=8))
    assert "up to [4, 3, 4, 5]" in why_not_batch(engine, SHAPE, "float32", 8)


@pytest.mark.usefixtures("trt")
def test_a_device_that_is_no_gpu_is_not_to_be_had(model: ModelFile) -> None:
    """A site that asks for the CPU gets the next runtime."""
    with pytest.raises(BackendUnavailableError, match="has no device CPU here; it has GPU, CUDA"):
        TensorRt().load(model, LoadOptions("f32", device="CPU"))
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    assert TensorRt().load(model, LoadOptions("f32", device="gpu")).device.startswith("Fake GPU")


@pytest.mark.usefixtures("trt")
def test_a_shape_outside_the_profile_is_refused(tmp_path: Path) -> None:
    """As it may be with a ready engine in a bundle."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", (1, 3, -1, -1)), out=("FLOAT", (1, 3, -1, -1))))
    engine = TensorRt().load(ModelFile(path, "tensorrt", (1, 3, 128, 128)), F32)
    with pytest.raises(InferenceError, match=r"does not take the shape \[1, 3, 128, 128\]: .* outside the profile"):
        engine.open_session().__enter__()


@pytest.mark.parametrize(
    "output, reason",
    [(("FLOAT", (1, -1, 6)), "its size depends on the picture"), (("BF16", (1, 6)), "NumPy has no such type")],
)
@pytest.mark.usefixtures("trt")
def test_an_output_that_cannot_be_read_is_refused(
    output: tuple[str, tuple[int, ...]], reason: str, model: ModelFile
) -> None:
    """By its name, before anything runs."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=output)
    with pytest.raises(InferenceError, match=f"out .* cannot be read: {reason}"), engine.open_session():
        pass


@pytest.mark.usefixtures("trt")
def test_an_engine_with_another_input_is_a_model_error(tmp_path: Path) -> None:
    """Both are in the message."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    with pytest.raises(ModelError, match=r"images \[1, 3, 4, 5\] float32, model.yaml says \[1, 3, 8, 8\] float32"):
        TensorRt().load(ModelFile(path, "tensorrt", (1, 3, 8, 8)), F32)


@pytest.mark.usefixtures("trt")
def test_an_engine_of_another_release_comes_with_its_remedy(model: ModelFile, tmp_path: Path) -> None:
    """Out of the cache or out of a bundle: file, release, GPU, the library's reason, and what to do."""
    entry = built(model, b"made by another release")
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    for part in (entry.path, "tensorrt 8.6.2 on Fake GPU", "stdVersionRead", "delete it", "models build SITE.yaml"):
        assert str(part) in str(caught.value)
    path = tmp_path / "ready.engine"
    path.write_bytes(b"made by another release")
    with pytest.raises(BackendUnavailableError, match=r"ready.engine: .*stdVersionRead.* put its ONNX file"):
        TensorRt().load(ModelFile(path, "tensorrt", SHAPE), F32)
    with pytest.raises(BackendUnavailableError, match=r"absent.engine: No such file"):
        TensorRt().load(ModelFile(tmp_path / "absent.engine", "tensorrt", SHAPE), F32)


@pytest.mark.usefixtures("trt")
def test_a_ready_engine_keeps_the_precision_it_was_built_with(tmp_path: Path) -> None:
    """Nothing can change it any more."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    assert TensorRt().load(ModelFile(path, "tensorrt", SHAPE, precision="f16"), LoadOptions("f16")).inputs
    with pytest.raises(BackendUnavailableError, match=r"\(f32\) was chosen when it was built; f16"):
        TensorRt().load(ModelFile(path, "tensorrt", SHAPE), LoadOptions("f16"))


@pytest.mark.usefixtures("trt")
def test_an_engine_built_again_is_proven_again(model: ModelFile, yolox: Path) -> None:
    """Its digest is that of its plan, and part of what a verdict is remembered under."""
    first = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    again = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    other = loaded(model, images=("FLOAT", SHAPE), out=("HALF", SHAPE))
    bundle, problems = read_bundle(yolox)
    assert bundle is not None, problems
    golden: Any = SimpleNamespace(digest="golden")
    keys = [
        verdicts._key(bundle, golden, "tensorrt", bundle.spec.files[0], engine, F32) for engine in (first, again, other)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_library_that_raises_comes_with_the_file_and_its_remedy(trt: Any, model: ModelFile) -> None:
    """Whatever it raises."""
    built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    trt.Runtime.deserialize_cuda_engine = lambda *_: (_ for _ in ()).throw(RuntimeError("out of luck"))
    with pytest.raises(
        BackendUnavailableError, match=r".engine: tensorrt .* cannot load it: out of luck; build it again"
    ):
        TensorRt().load(model, F32)
