"""TensorRT keeps the contract of every runtime, on a GPU: engines that were really built, run, and proven."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Start
from numpy.typing import NDArray

from edge_vision.core.errors import InferenceError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.table import backend
from edge_vision.inference.tensorrt import cuda, engine_cache
from edge_vision.inference.tensorrt.builder import Profile, build, key_of
from edge_vision.inference.tensorrt.library import find_library
from edge_vision.models.bundle import read_bundle
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.testing.contracts import check_engine, check_probe

pytestmark = pytest.mark.gpu
F32 = LoadOptions("f32", threads=1, parallel=2)


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    availability = backend("tensorrt").probe()
    if not availability.available:
        pytest.skip(availability.reason)


@pytest.fixture(scope="module", name="cache")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for all tests of this module: engines are built once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CACHE_DIRECTORY", str(folder))
        yield folder


@pytest.fixture(scope="module", name="file")
def _file(yolox: Path) -> ModelFile:
    return ModelFile(yolox / "yolox_nano.onnx", "onnx", (1, 3, 416, 416))


@pytest.fixture(scope="module", name="engine")
def _engine(file: ModelFile, cache: Path) -> Engine:
    """YOLOX-nano, built for the GPU of this machine."""
    library, gpu, profile = find_library(), cuda.gpu(), Profile.up_to(1, file.input_shape)
    started = time.monotonic()
    plan = build(library, gpu, file, "f32", profile, lambda *_: None)
    engine_cache.keep(key_of(library, gpu, file, "f32", profile), plan, file.path.name, time.monotonic() - started)
    print(f"{library.runtime} on {gpu}: built in {time.monotonic() - started:.1f} s, {len(plan)} bytes, in {cache}")
    return backend("tensorrt").load(file, F32)


@pytest.fixture(scope="module", name="dog")
def _dog(data: Path, yolox: Path) -> NDArray[Any]:
    """The picture with a dog, a bicycle and a car, as the network's input."""
    bundle, problems = read_bundle(yolox)
    assert bundle is not None, problems
    image = cv2.imread(str(data / "images/misc/dog.jpg"))
    assert image is not None
    model_input = LetterboxPreprocessor(bundle.ends[0].input, "images")(np.asarray(image, np.uint8))
    tensor: NDArray[Any] = model_input.tensors["images"].copy()
    return tensor


def test_the_probe_names_the_gpu() -> None:
    """With the version of the library."""
    assert check_probe(backend("tensorrt")).available


def test_sessions_give_what_onnx_runtime_gives(engine: Engine, file: ModelFile, dog: NDArray[Any]) -> None:
    """One by one and side by side, within a hundredth of the range of the outputs."""
    (found,) = check_engine(engine, {"images": dog}, threads=3).values()
    with backend("onnxruntime").load(file, F32).open_session() as session:
        (expected,) = session.infer({"images": dog}).values()
        assert found.shape == expected.shape
        assert float(np.abs(found - expected).max()) <= 1e-2 * float(np.abs(expected).max())


def test_outputs_of_a_call_are_those_of_its_input(engine: Engine, dog: NDArray[Any]) -> None:
    """An input buffer that is written anew between two calls is read anew."""
    with engine.open_session() as session:
        first = [np.array(value) for value in session.infer({"images": dog}).values()]
        blank = [np.array(value) for value in session.infer({"images": np.full_like(dog, 114.0)}).values()]
        again = [np.array(value) for value in session.infer({"images": dog}).values()]
    assert not np.allclose(first[0], blank[0], atol=0.01)
    assert np.allclose(first[0], again[0], rtol=1e-4, atol=1e-5)


def test_an_input_of_another_size_is_an_inference_error(engine: Engine) -> None:
    """It never reaches the device."""
    with engine.open_session() as session, pytest.raises(InferenceError, match="the input is"):
        session.infer({"images": np.zeros((1, 3, 320, 320), np.float32)})


def test_a_site_is_built_and_its_model_proven(
    edge_vision: Start, write_site: Callable[..., Path], yolox: Path, data: Path, cache: Path, tmp_path: Path
) -> None:
    """`models build`, then the gate: what the GPU sees in golden pictures is what ONNX Runtime saw."""
    del cache
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for name in ("model.yaml", "yolox_nano.onnx"):
        (bundle / name).write_bytes((yolox / name).read_bytes())
    images = data / "images/coco_det_ccby"
    _run(edge_vision("models", "golden", bundle, "--images", images, "--labels", images / "annotations.json"))
    camera = {"id": "gate", "source": {"kind": "synthetic"}, "pipeline": "object_detection"}
    settings = {"model": str(bundle), "backends": ["tensorrt"]}
    site = write_site(cameras=[{**camera, "with": settings}])
    assert "loaded and run in" in _run(edge_vision("models", "build", site))
    print(_run(edge_vision("models", "verify", bundle, "--backend", "tensorrt")))


def _run(process: Any) -> str:
    output, errors = process.communicate(timeout=110)
    assert process.returncode == 0, f"{output}{errors}"
    return str(output)
