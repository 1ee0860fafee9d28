"""Every runtime, on a real file of every format that it reads: the contract, and the answers of the reference."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_vision.core.errors import BackendUnavailableError, InferenceError, ModelError
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.select import load, usable_files
from edge_vision.inference.table import BACKENDS, backend
from edge_vision.testing.contracts import check_engine, check_probe

YOLOX = (1, 3, 416, 416)
FACES = (1, 3, 240, 320)
FACES_LAST = (1, 240, 320, 3)


@dataclass(frozen=True)
class Case:
    """A file on a runtime: the picture it gets (`input`), and how far its outputs may be from the reference's."""

    backend: str
    path: str
    format: str
    shape: tuple[int, ...]
    atol: float
    precision: str = "f32"
    weights: str | None = None

    @property
    def input(self) -> str:
        """Which of the pictures it gets."""
        return "yolox" if self.path.startswith("yolox") else "faces"

    def file(self, models: Path) -> ModelFile:
        """The file, as a bundle would name it; skips the test where this OpenCV has no reader for it."""
        skip_what_is_lacking(self.backend, self.format)
        weights = None if self.weights is None else models / self.weights
        return ModelFile(models / self.path, self.format, self.shape, "float32", self.precision, weights)


def skip_what_is_lacking(name: str, format_: str) -> None:
    """Skip the test where this build of the runtime cannot read the format."""
    lacks = dict(backend(name).probe().lacks)
    if format_ in lacks:
        pytest.skip(lacks[format_])


_FACE = "ultraface_rfb320/version-RFB-320_without_postprocessing"
REFERENCES = {
    "yolox": Case("onnxruntime", "yolox_nano/yolox_nano.onnx", "onnx", YOLOX, 0.0),
    "faces": Case("onnxruntime", f"{_FACE}.onnx", "onnx", FACES, 0.0),
}
CASES = [
    Case("openvino", "yolox_nano/yolox_nano.onnx", "onnx", YOLOX, 1e-3),
    Case("opencv_dnn", "yolox_nano/yolox_nano.onnx", "onnx", YOLOX, 1e-3),
    Case(
        "openvino", "yolox_nano/yolox_nano_fp32.xml", "openvino", YOLOX, 1e-3, weights="yolox_nano/yolox_nano_fp32.bin"
    ),
    Case("litert", "yolox_nano/yolox_nano_float16.tflite", "tflite", YOLOX, 0.2, "f16"),
    Case("openvino", "yolox_nano/yolox_nano_float16.tflite", "tflite", YOLOX, 0.2, "f16"),
    Case("litert", "yolox_nano/yolox_nano_dynrange.tflite", "tflite", YOLOX, 1.5, "int8"),
    Case("opencv_dnn", f"{_FACE}.onnx", "onnx", FACES, 1e-3),
    Case(
        "opencv_dnn",
        "ultraface_rfb320/RFB-320.prototxt",
        "caffe",
        FACES,
        1e-3,
        weights="ultraface_rfb320/RFB-320.caffemodel",
    ),
    Case("litert", f"{_FACE}.tflite", "tflite", FACES_LAST, 1e-3),
    Case("openvino", f"{_FACE}.tflite", "tflite", FACES_LAST, 1e-3),
]
EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.backend}-{Path(case.path).name}")


@pytest.fixture(scope="module", autouse=True)
def _runtimes_are_imported() -> None:
    """Import every runtime before a test counts threads: openvino's import leaves one."""
    for name in BACKENDS:
        backend(name).probe()


@pytest.fixture(autouse=True)
def _no_cache_but_its_own(own_cache: Path) -> None:
    """What OpenVINO compiles is kept where no other test looks."""
    del own_cache


@pytest.fixture(name="models")
def _models(data: Path) -> Path:
    return data / "models"


@pytest.fixture(scope="module", name="dog")
def _dog(data: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(data / "images/misc/dog.jpg"))
    assert image is not None
    return np.asarray(image, np.uint8)


def _picture(which: str, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The input of the reference: stretched, which is good enough to compare outputs."""
    if which == "yolox":
        return np.asarray(cv2.dnn.blobFromImage(image, 1.0, (416, 416)))
    return np.asarray(cv2.dnn.blobFromImage(image, 1 / 128, (320, 240), (127, 127, 127), swapRB=True))


def _as_wanted(picture: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    return picture if picture.shape == shape else np.ascontiguousarray(picture.transpose(0, 2, 3, 1))


def _infer(name: str, file: ModelFile, value: NDArray[Any]) -> dict[tuple[int, ...], NDArray[Any]]:
    """The outputs by their shape: their names differ between formats."""
    engine = load(name, file, LoadOptions("int8" if file.precision == "int8" else "f32"))
    with engine.open_session() as session:
        outputs = session.infer({engine.inputs[0].name: value})
        return {np.shape(output): np.array(output) for output in outputs.values()}


@EVERY
def test_a_file_keeps_the_contract(case: Case, models: Path, dog: NDArray[np.uint8]) -> None:
    """Loaded as a site would, twice in one session and in two threads at once: the same, the input untouched."""
    file = case.file(models)
    engine = load(case.backend, file, LoadOptions("int8" if case.precision == "int8" else "f32", 1, 2))
    value = _as_wanted(_picture(case.input, dog), case.shape)
    check_engine(engine, {engine.inputs[0].name: value}, threads=2)
    assert engine.inputs[0].dtype == "float32"


@EVERY
def test_a_file_answers_like_the_reference(case: Case, models: Path, dog: NDArray[np.uint8]) -> None:
    """Each output, found by its shape, is that of ONNX Runtime on the ONNX file."""
    picture = _picture(case.input, dog)
    reference = REFERENCES[case.input]
    expected = _infer(reference.backend, reference.file(models), picture)
    found = _infer(case.backend, case.file(models), _as_wanted(picture, case.shape))
    assert found.keys() == expected.keys()
    for shape, values in expected.items():
        worst = float(np.abs(found[shape] - values).max())
        print(f"{case.backend} {Path(case.path).name} {shape}: off by {worst:.2g}")
        assert worst <= case.atol


def _broken(case: Case, folder: Path, content: bytes) -> ModelFile:
    skip_what_is_lacking(case.backend, case.format)
    path = folder / f"broken{Path(case.path).suffix}"
    path.write_bytes(content)
    companion = folder / "broken.weights"
    companion.write_bytes(content)
    return ModelFile(path, case.format, case.shape, weights=companion if case.weights else None)


@EVERY
@pytest.mark.parametrize("content", [b"", b"this is not a network"], ids=["empty", "garbage"])
def test_a_broken_file_is_unavailable_and_named(case: Case, content: bytes, tmp_path: Path) -> None:
    """The message has the path, and no traceback is needed to understand it."""
    file = _broken(case, tmp_path, content)
    with pytest.raises((BackendUnavailableError, ModelError), match=str(file.path)):
        load(case.backend, file, LoadOptions())


def test_darknet_sees_the_dog_the_bicycle_and_the_car(models: Path, dog: NDArray[np.uint8]) -> None:
    """Yolo-Fastest from its .cfg and .weights, on OpenCV; two outputs of rows cx cy w h objectness and classes."""
    skip_what_is_lacking("opencv_dnn", "darknet")
    folder = models / "yolo_fastest_darknet"
    file = ModelFile(
        folder / "yolo-fastest-1.1.cfg", "darknet", (1, 3, 320, 320), weights=folder / "yolo-fastest-1.1.weights"
    )
    engine = load("opencv_dnn", file, LoadOptions())
    picture = np.asarray(cv2.dnn.blobFromImage(dog, 1 / 255, (320, 320), swapRB=True))
    outputs = check_engine(engine, {engine.inputs[0].name: picture})
    rows = np.concatenate(list(outputs.values()))
    seen = set((rows[:, 5:].argmax(1))[rows[:, 5:].max(1) > 0.4].tolist())
    assert {16, 1, 2} <= seen  # dog, bicycle, car


def test_uint8_tflite_takes_pixels_and_gives_numbers(models: Path, dog: NDArray[np.uint8]) -> None:
    """MobileNet, quantized throughout: pixels as they are, or numbers that the session quantizes, give the same."""
    path = models / "mobilenet_v1_025_128/mobilenet_v1_0.25_128_quant.tflite"
    pixels = np.ascontiguousarray(cv2.resize(dog, (128, 128))[None, ..., ::-1])
    shape = (1, 128, 128, 3)
    (direct,) = _infer("litert", ModelFile(path, "tflite", shape, "uint8", "int8"), pixels).values()
    numbers = (pixels.astype(np.float32) - 128.0) * np.float32(0.0078125)
    (quantized,) = _infer("litert", ModelFile(path, "tflite", shape, "float32", "int8"), numbers).values()
    assert direct.dtype == quantized.dtype == np.float32
    assert np.array_equal(direct, quantized)
    assert 0.8 < float(direct.sum()) <= 1.01  # a distribution over 1001 classes, rounded to steps of 1/256
    labels = (path.parent / "imagenet_labels.txt").read_text().splitlines()
    best = {labels[int(number)] for number in direct[0].argsort()[-5:]}
    print(best)
    assert any("bicycle" in label or "malamute" in label or "husky" in label for label in best)


def test_openvino_refuses_quantized_outputs_it_cannot_explain(models: Path) -> None:
    """It hands out the integers without their scale: scores of 0..255 would pass for certainty."""
    path = models / "mobilenet_v1_025_128/mobilenet_v1_0.25_128_quant.tflite"
    with pytest.raises(BackendUnavailableError, match="litert keeps it"):
        load("openvino", ModelFile(path, "tflite", (1, 128, 128, 3), "uint8", "int8"), LoadOptions("int8"))


def test_float_and_int8_of_one_net_agree(data: Path) -> None:
    """Visual wake words, on real pictures of persons: the int8 net, fed numbers, is near the float one."""
    folder = data / "models/vww_person_96"
    shape = (1, 96, 96, 3)
    plain = load("litert", ModelFile(folder / "vww_96_float.tflite", "tflite", shape), LoadOptions())
    quantized = load(
        "litert", ModelFile(folder / "vww_96_int8.tflite", "tflite", shape, "float32", "int8"), LoadOptions("int8")
    )
    opencv = load("opencv_dnn", ModelFile(folder / "vww_96_float.tflite", "tflite", shape), LoadOptions())
    files = sorted((data / "images/coco_person_kpt_ccby").glob("*.jpg"))
    assert files
    scores: list[list[float]] = []
    with plain.open_session() as one, quantized.open_session() as other, opencv.open_session() as third:
        for file in files:
            image = cv2.imread(str(file))
            assert image is not None
            value = np.ascontiguousarray(cv2.resize(image, (96, 96))[None, ..., ::-1].astype(np.float32) / 255)
            scores.append(
                [
                    float(next(iter(session.infer({engine.inputs[0].name: value}).values()))[0, 1])
                    for session, engine in ((one, plain), (other, quantized), (third, opencv))
                ]
            )
    table = np.array(scores)
    away = np.abs(table[:, :1] - table[:, 1:]).max(axis=0)
    print(f"{len(files)} pictures; person .5 or more in {(table >= 0.5).sum(axis=0)}; farthest from float {away}")
    assert away[0] < 0.15
    assert away[1] < 0.1  # OpenCV's own reading of the file is near, not equal: whether that will do, a gate says
    yes = (table >= 0.5).sum(axis=0)
    assert 0 < yes[0] < len(files)
    assert (yes == yes[0]).all()


def test_an_integer_input_of_another_type_is_a_model_error(models: Path) -> None:
    """A bundle that says uint8 of an int8 network is wrong; the message has both."""
    file = ModelFile(models / "vww_person_96/vww_96_int8.tflite", "tflite", (1, 96, 96, 3), "uint8", "int8")
    with pytest.raises(ModelError, match=r"int8, model\.yaml says .* uint8"):
        load("litert", file, LoadOptions("int8"))


def test_litert_refuses_a_precision_that_is_not_in_the_file(models: Path) -> None:
    """What is asked for or nothing."""
    file = ModelFile(models / "yolox_nano/yolox_nano_float16.tflite", "tflite", YOLOX, precision="f16")
    with pytest.raises(BackendUnavailableError, match="bf16 is not to be had"):
        load("litert", file, LoadOptions("bf16"))


def test_litert_says_that_an_input_of_another_size_is_wrong(models: Path) -> None:
    """An InferenceError that names the runtime, not an answer."""
    file = ModelFile(models / "yolox_nano/yolox_nano_float16.tflite", "tflite", YOLOX)
    engine = load("litert", file, LoadOptions())
    wrong = {engine.inputs[0].name: np.zeros((1, 3, 320, 320), np.float32)}
    with engine.open_session() as session, pytest.raises(InferenceError, match="litert"):
        session.infer(wrong)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime", "opencv_dnn"])
@pytest.mark.parametrize("device", ["GPU.7", "TPU"])
def test_a_device_that_is_not_there_is_named_beside_those_that_are(name: str, device: str, models: Path) -> None:
    """The site asked for it: serving from another one is not an answer."""
    file = REFERENCES["yolox"].file(models)
    with pytest.raises(BackendUnavailableError, match=rf"no device {device} here; it has .*CPU"):
        load(name, file, LoadOptions(device=device))


def test_litert_has_one_device(models: Path) -> None:
    """It is named without regard to case."""
    file = ModelFile(models / "yolox_nano/yolox_nano_float16.tflite", "tflite", YOLOX)
    assert load("litert", file, LoadOptions(device="cpu")).device == "CPU"
    with pytest.raises(BackendUnavailableError, match="no device GPU here; it has CPU"):
        load("litert", file, LoadOptions(device="GPU"))


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "auto:GPU,CPU", "MULTI:CPU", "HETERO:CPU"])
def test_a_device_that_shares_out_says_who_serves(device: str, models: Path, dog: NDArray[np.uint8]) -> None:
    """Status and messages name the device that really computes, and it does so in f32, as asked for."""
    file = REFERENCES["yolox"].file(models)
    engine = load("openvino", file, LoadOptions(device=device))
    assert engine.device == "CPU"
    plain = load("openvino", file, LoadOptions())
    value = {engine.inputs[0].name: _picture("yolox", dog)}
    with engine.open_session() as one, plain.open_session() as other:
        (found,), (expected,) = one.infer(value).values(), other.infer(value).values()
        assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_opencv_that_goes_on_with_the_cpu_is_unavailable(
    precision: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: a target for OpenCL is listed where there is none. What OpenCV makes of it is its own doing."""
    if int(cv2.__version__.partition(".")[0]) != 4:
        pytest.skip("OpenCV 5 takes no targets")
    targets = np.array([cv2.dnn.DNN_TARGET_CPU, cv2.dnn.DNN_TARGET_OPENCL])
    monkeypatch.setattr(cv2.dnn, "getAvailableTargets", lambda _backend: targets)
    assert "OPENCL" in backend("opencv_dnn").probe().devices
    with pytest.raises(BackendUnavailableError, match="asked for OPENCL, OpenCV went on with the CPU"):
        load("opencv_dnn", REFERENCES["yolox"].file(models), LoadOptions(precision, device="OPENCL"))


def test_auto_without_one_of_its_devices_is_unavailable(models: Path) -> None:
    """None of the list is there."""
    with pytest.raises(BackendUnavailableError, match="no device GPU,NPU here; it has CPU"):
        load("openvino", REFERENCES["yolox"].file(models), LoadOptions(device="AUTO:GPU,NPU"))


@pytest.fixture(name="opencv_5")
def _opencv_5(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV 4 without the readers that 5 dropped; under the real 5 nothing is left to hide."""
    for reader in ("readNetFromCaffe", "readNetFromDarknet", "readNetFromTorch"):
        monkeypatch.delattr(cv2.dnn, reader, raising=False)
    monkeypatch.setattr(cv2, "__version__", "5.0.0")


@pytest.mark.usefixtures("opencv_5")
@pytest.mark.parametrize("name", ["caffe", "darknet", "torch7"])
def test_a_format_that_this_opencv_lacks_is_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    """Simulated where cv2 is 4: attributes of it are hidden. Before a file is touched, and with the remedy."""
    availability = check_probe(backend("opencv_dnn"))
    assert availability.available
    assert name in dict(availability.lacks)
    file = ModelFile(tmp_path / "net", name, FACES, weights=tmp_path / "net.weights")
    with pytest.raises(BackendUnavailableError, match=f"net: OpenCV 5.0.0 has no {name} reader; OpenCV 4 has one"):
        usable_files("opencv_dnn", ModelSpec("m", (file,), ("a",)), "f32")
    with pytest.raises(BackendUnavailableError, match=f"OpenCV 5.0.0 has no {name} reader"):
        load("opencv_dnn", file, LoadOptions())


@pytest.mark.usefixtures("opencv_5")
def test_what_this_opencv_reads_is_still_offered(tmp_path: Path) -> None:
    """One file it can read beside one that it cannot."""
    files = (ModelFile(tmp_path / "a", "caffe", FACES), ModelFile(tmp_path / "b.onnx", "onnx", FACES))
    assert usable_files("opencv_dnn", ModelSpec("m", files, ("a",)), "f32") == files[1:]


def test_this_opencv_lacks_nothing() -> None:
    """4.14 has every reader: where this fails, the page of formats is wrong."""
    if int(cv2.__version__.partition(".")[0]) != 4:
        pytest.skip(f"OpenCV {cv2.__version__}")
    assert backend("opencv_dnn").probe().lacks == ()


def _blobs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache/edge-vision/openvino").rglob("*.blob"))


def test_openvino_keeps_what_it_compiled(models: Path, dog: NDArray[np.uint8], tmp_path: Path) -> None:
    """One blob per model, used again; one with flipped bits is made anew, or its answers would be wrong."""
    file = REFERENCES["yolox"].file(models)
    picture = _picture("yolox", dog)
    (expected,) = _infer("openvino", file, picture).values()
    (blob,) = _blobs(tmp_path)
    content = blob.read_bytes()
    (warm,) = _infer("openvino", file, picture).values()
    assert np.array_equal(warm, expected)
    assert _blobs(tmp_path) == [blob]
    middle = len(content) // 2
    damaged = content[:middle] + bytes(5000) + content[middle + 5000 :]
    blob.write_bytes(damaged)
    (again,) = _infer("openvino", file, picture).values()
    assert np.array_equal(again, expected)
    (mended,) = _blobs(tmp_path)
    assert mended.read_bytes() != damaged


def test_openvino_serves_without_a_place_to_keep_things(
    models: Path, dog: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only box: a file is in the way of the folder."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert _infer("openvino", REFERENCES["yolox"].file(models), _picture("yolox", dog))
    assert not _blobs(tmp_path)
