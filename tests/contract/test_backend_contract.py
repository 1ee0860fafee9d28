"""Every runtime keeps the contract of `Backend`, `Engine` and `Session`, on a real network and a real picture."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError, ModelError, NoBackendError
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.core.tensor import ModelInput
from edge_vision.inference.select import select
from edge_vision.inference.table import BACKENDS, backend
from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.models.proof.gate import decoder_of
from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.testing.contracts import check_engine, check_postprocessor, check_probe
from edge_vision.testing.fakes import make_frame

REFERENCE = "onnxruntime"
ONNX = ("openvino", "onnxruntime", "opencv_dnn")
"""The runtimes that read ONNX, and that every machine for development has; others: test_format_contract.py."""
EVERY = pytest.mark.parametrize("name", ONNX)
F32 = LoadOptions("f32", threads=1, parallel=2)


@pytest.fixture(scope="module", autouse=True)
def _runtimes_are_imported() -> None:
    """Import every runtime before a test counts threads: openvino's import leaves one (see the last test)."""
    for name in BACKENDS:
        backend(name).probe()


@pytest.fixture(scope="module", name="bundle")
def _bundle(yolox: Path) -> Bundle:
    bundle, problems = read_bundle(yolox)
    assert bundle is not None, problems
    return bundle


@pytest.fixture(scope="module", name="engines")
def _engines(bundle: Bundle) -> dict[str, Engine]:
    """YOLOX-nano, loaded on every runtime."""
    return {name: backend(name).load(bundle.spec.files[0], F32) for name in ONNX}


@pytest.fixture(scope="module", name="dog")
def _dog(data: Path, bundle: Bundle) -> ModelInput:
    """The picture with a dog, a bicycle and a car, as the network's input."""
    image = cv2.imread(str(data / "images/misc/dog.jpg"))
    assert image is not None
    return LetterboxPreprocessor(bundle.ends[0].input, "images")(np.asarray(image, np.uint8))


def _input(engine: Engine, dog: ModelInput) -> dict[str, NDArray[Any]]:
    return {engine.inputs[0].name: dog.tensors["images"].copy()}


@EVERY
def test_a_probe_gives_a_reason(name: str) -> None:
    """This machine has all of them; each says so, with version and devices."""
    assert check_probe(backend(name)).available


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "tensorrt"])  # test_tensorrt_session.py
def test_a_runtime_that_is_not_installed_says_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe does not raise: it names the extra to install."""
    modules = {"opencv_dnn": "cv2", "litert": "ai_edge_litert.interpreter", "torchscript": "torch"}
    module = modules.get(name, name)
    monkeypatch.setitem(sys.modules, module, None)
    availability = check_probe(backend(name))
    assert not availability.available
    assert module.partition(".")[0] in availability.reason


@EVERY
def test_sessions_give_the_same_one_by_one_and_side_by_side(
    name: str, engines: dict[str, Engine], dog: ModelInput
) -> None:
    """A session run twice, and two sessions in two threads: the same finite outputs, the input untouched."""
    engine = engines[name]
    check_engine(engine, _input(engine, dog), threads=2)
    (spec,) = engine.inputs
    assert (spec.shape, spec.dtype) == ((1, 3, 416, 416), "float32")


@EVERY
def test_all_runtimes_agree(name: str, engines: dict[str, Engine], dog: ModelInput) -> None:
    """The raw outputs are those of the reference within a thousandth of their range."""
    found, expected = (_run(engines[key], dog) for key in (name, REFERENCE))
    assert found.shape == expected.shape
    assert float(np.abs(found - expected).max()) <= 1e-3 * float(np.abs(expected).max())
    assert np.allclose(found[..., 4:], expected[..., 4:], atol=1e-3)


def _run(engine: Engine, dog: ModelInput) -> NDArray[Any]:
    with engine.open_session() as session:
        (output,) = session.infer(_input(engine, dog)).values()
        return np.array(output)


@EVERY
def test_the_dog_the_bicycle_and_the_car_are_seen(
    name: str, bundle: Bundle, engines: dict[str, Engine], dog: ModelInput
) -> None:
    """Preprocess, any runtime and postprocess together see what is in the picture."""
    decode = decoder_of(bundle, bundle.thresholds, bundle.spec.files[0])
    with engines[name].open_session() as session:
        tensors = session.infer(_input(engines[name], dog))
        seen = check_postprocessor(decode, tensors, dog.letterbox, len(bundle.spec.labels))
    assert {"dog", "bicycle"} <= {bundle.spec.labels[number] for number in seen.class_id}


@EVERY
def test_outputs_of_a_call_are_those_of_its_input(name: str, engines: dict[str, Engine], dog: ModelInput) -> None:
    """An input buffer that is written anew between two calls is read anew."""
    tensors = _input(engines[name], dog)
    (buffer,) = tensors.values()
    with engines[name].open_session() as session:
        first = [np.array(value) for value in session.infer(tensors).values()]
        buffer[:] = 114.0
        blank = [np.array(value) for value in session.infer(tensors).values()]
        buffer[:] = dog.tensors["images"]
        again = [np.array(value) for value in session.infer(tensors).values()]
    assert not np.allclose(first[0], blank[0], atol=0.01)
    assert np.allclose(first[0], again[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, precision",
    [
        ("onnxruntime", "bf16"),
        ("onnxruntime", "f16"),
        ("opencv_dnn", "f16"),
        ("opencv_dnn", "bf16"),
        ("openvino", "f8"),
    ],
)
def test_a_precision_that_is_not_to_be_had_is_unavailable(name: str, precision: str, bundle: Bundle) -> None:
    """What is asked for or nothing; the message names it."""
    with pytest.raises(BackendUnavailableError, match=precision):
        backend(name).load(bundle.spec.files[0], LoadOptions(precision))


@EVERY
@pytest.mark.parametrize("content", [b"", b"this is not a network", b"\x08\x07\x12\x04" + bytes(64)])
def test_a_broken_file_is_unavailable_and_named(name: str, content: bytes, bundle: Bundle, tmp_path: Path) -> None:
    """One runtime that cannot read a file says which, and the next is tried."""
    file = tmp_path / "broken.onnx"
    file.write_bytes(content)
    with pytest.raises(BackendUnavailableError, match=str(file)):
        backend(name).load(_file(bundle, file), F32)


@EVERY
def test_an_absent_file_is_unavailable_and_named(name: str, bundle: Bundle, tmp_path: Path) -> None:
    """It may have gone since the bundle was read."""
    with pytest.raises(BackendUnavailableError, match="absent"):
        backend(name).load(_file(bundle, tmp_path / "absent.onnx"), F32)


def _file(bundle: Bundle, file: Path, shape: tuple[int, ...] | None = None, dtype: str = "float32") -> ModelFile:
    return ModelFile(file, "onnx", shape or bundle.spec.files[0].input_shape, dtype)


def _spec(*files: ModelFile) -> ModelSpec:
    return ModelSpec("m", files, ("a",))


def _believe(name: str, file: ModelFile, engine: Engine) -> None:
    del name, file, engine


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "shape, dtype", [((1, 3, 320, 320), "float32"), ((1, 416, 416, 3), "float32"), ((1, 3, 416, 416), "uint8")]
)
def test_a_wrong_input_is_a_model_error_that_names_both(
    name: str, shape: tuple[int, ...], dtype: str, bundle: Bundle
) -> None:
    """Size, layout or type that model.yaml gets wrong: the message has what the network takes and what was said."""
    file = bundle.spec.files[0].path
    with pytest.raises(ModelError) as caught:
        backend(name).load(_file(bundle, file, shape, dtype), F32)
    assert str([1, 3, 416, 416]) in str(caught.value)
    assert f"{list(shape)} {dtype}" in str(caught.value)


def test_opencv_finds_a_wrong_layout_at_its_first_inference(bundle: Bundle) -> None:
    """It does not tell what a network takes: choosing it runs it once, so that it is passed over all the same."""
    with pytest.raises(NoBackendError, match="opencv_dnn"):
        select(_spec(_file(bundle, bundle.spec.files[0].path, (1, 416, 416, 3))), ["opencv_dnn"], F32, _believe)


@EVERY
def test_an_input_of_another_size_never_passes_for_an_answer(
    name: str, bundle: Bundle, engines: dict[str, Engine]
) -> None:
    """A tensor the network does not take is an InferenceError, or decoding its outputs a ModelError."""
    decode = decoder_of(bundle, bundle.thresholds, bundle.spec.files[0])
    wrong = LetterboxPreprocessor(bundle.ends[0].input.model_copy(update={"size": (320, 320)}), "images")
    model_input = wrong(make_frame().image)
    with engines[name].open_session() as session, pytest.raises((InferenceError, ModelError)):
        decode(session.infer({engines[name].inputs[0].name: model_input.tensors["images"]}), model_input.letterbox)


def test_openvino_reads_its_own_format_too(data: Path, bundle: Bundle, dog: ModelInput) -> None:
    """The .xml beside its .bin gives what the ONNX file gives."""
    file = data / "models/yolox_nano/yolox_nano_fp32.xml"
    spec = _spec(replace(bundle.spec.files[0], path=file, format="openvino"))
    selected = select(spec, ["opencv_dnn", "onnxruntime", "openvino"], F32, _believe)
    assert selected.backend == "openvino"
    assert [name for name, _ in selected.passed_over] == ["opencv_dnn", "onnxruntime"]
    reference = backend(REFERENCE).load(bundle.spec.files[0], F32)
    found, expected = _run(selected.engine, dog), _run(reference, dog)
    assert float(np.abs(found - expected).max()) <= 1e-3 * float(np.abs(expected).max())


@pytest.mark.parametrize("name", BACKENDS)
def test_importing_a_runtime_starts_no_thread_and_calls_nobody(name: str, tmp_path: Path) -> None:
    """A daemon in a plant sends its messages where its site file says, and nothing anywhere else.

    A runtime that reports to its maker also keeps an identifier of the machine in the user's folders.
    """
    code = (
        "import sys, threading\n"
        "from edge_vision.inference.table import backend\n"
        f"backend({name!r}).probe()\n"
        "left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]\n"
        "telemetry = sorted(name for name, module in sys.modules.items() if 'telemetry' in name and module)\n"
        "print(left, [name for name in telemetry if name.startswith('openvino_telemetry')])\n"
    )
    own = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    places = {name: str(tmp_path) for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env={**own, **places}, cwd=ROOT
    )
    assert done.stdout == "[] []\n"
    assert [str(left) for left in tmp_path.rglob("*") if left.is_file()] == []
