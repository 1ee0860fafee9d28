"""Makes golden data: runs the reference over pictures and writes down what it saw."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import BackendError, ConfigError, NoBackendError
from edge_vision.core.files import sha256_of, why_not_folder
from edge_vision.core.frame import read_only
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.select import usable_files
from edge_vision.inference.table import backend
from edge_vision.inference.trial import load_after_trial
from edge_vision.models.bundle import Bundle
from edge_vision.models.golden import FOLDER, Answer, GoldenFile, Reference, Verified, write_golden
from edge_vision.models.options import Tolerance
from edge_vision.models.proof.agreement import compare
from edge_vision.models.proof.gate import decoder_of
from edge_vision.models.proof.truth import Labeled, Precision, read_expected
from edge_vision.postprocess.format import Thresholds
from edge_vision.preprocess.options import InputOptions
from edge_vision.preprocess.window import preprocessor_of

_log = logging.getLogger(__name__)

REFERENCES: Final = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "tflite": "litert",
    "torchscript": "torchscript",
    "tensorflow": "openvino",
    "savedmodel": "openvino",
    "paddle": "openvino",
    "caffe": "opencv_dnn",
    "darknet": "opencv_dnn",
    "torch7": "opencv_dnn",
}
"""The runtime whose answers count for a format: the one that training frameworks compare with, or the format's own."""
PICTURES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
EVALUATION: Final = 0.01
"""The confidence from which detections count for average precision, as COCO's own evaluations have it."""
_LIKE_TRAINING: Final = Tolerance(
    score_diff=0.05, mean_iou=0.95, point_error=0.03, missed=0.0, extra=0.0, quality=0.9, embedding_distance=0.02
)
"""How near the training framework must be: other picture decoders and resizers move boxes a little."""
_BETTER: Final = 0.01
"""By how much AP another reading of the input must beat the declared one to be suspected; less may be chance."""
_BETTER_PLACED: Final = 0.15
"""And, as part of the AP, another place or shape: on 12 pictures of people stretching gained a tenth for no fault."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What to make golden data from."""

    images: Path
    labels: Path | None = None
    expected: Path | None = None
    most: int = 8


def record(bundle: Bundle, recording: Recording, progress: Callable[[int, int], None]) -> GoldenFile:
    """Write `golden/` into the bundle's folder, in place of what was there; what it says.

    Raises ConfigError when the pictures show nothing or the answers are not those of the ground truth, and
    NoBackendError when no reference runtime is there. Nothing is written then.
    """
    pictures = find_pictures(recording.images)
    file, name, engine = _reference(bundle)
    thresholds = bundle.thresholds
    seen = dict(look(bundle, file, engine, pictures, thresholds, progress=progress))
    if not any(map(len, seen.values())):
        msg = f"{recording.images}: the model sees nothing in {len(pictures)} pictures: this would prove nothing"
        raise ConfigError(msg)
    verified = _verify(bundle, recording, file, engine, pictures, seen)
    # The pictures that show most, by name where they are equal; in the order of their names.
    best = sorted(pictures, key=lambda one: (-len(seen[one.name]), one))[: recording.most]
    answers = {one.name: _answer(bundle, file, engine, read_picture(one), thresholds) for one in sorted(best)}
    reference = Reference(
        backend=name, version=backend(name).probe().version, file=bundle.path_of(file), precision=file.precision
    )
    try:
        return write_golden(bundle.folder, answers, reference, thresholds, bundle.spec.labels, verified)
    except OSError as error:
        msg = f"{bundle.folder / FOLDER}: cannot be written: {error.strerror}"
        raise ConfigError(msg) from error


def find_pictures(folder: Path) -> list[Path]:
    """Every picture of a folder, by name. Raises ConfigError when there is none."""
    if why := why_not_folder(folder):
        msg = f"{folder}: {why}"
        raise ConfigError(msg)
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    if not files:
        msg = f"{folder}: holds no picture ({', '.join(sorted(PICTURES))})"
        raise ConfigError(msg)
    return files


def read_picture(file: Path) -> NDArray[np.uint8]:
    """A picture, (height, width, 3) BGR. Raises ConfigError when it cannot be decoded."""
    cv2: Any = require("cv2", "cpu")
    try:
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    except cv2.error as error:
        msg = f"{file}: has more pixels than OpenCV decodes (CV_IO_MAX_IMAGE_PIXELS)"
        raise ConfigError(msg) from error
    if image is None:
        msg = f"{file}: is not a picture that can be decoded"
        raise ConfigError(msg)
    return read_only(image)


def look(
    bundle: Bundle,
    file: ModelFile,
    engine: Engine,
    pictures: Sequence[Path],
    thresholds: Thresholds,
    options: InputOptions | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Iterator[tuple[str, Detections]]:
    """What an engine sees in pictures, by name; with another reading of the input when one is given."""
    preprocess = preprocessor_of(options or bundle.ends_of(file).input, engine.inputs[0].name)
    postprocess = decoder_of(bundle, thresholds, file)
    with engine.open_session() as session:
        for number, picture in enumerate(pictures, 1):
            model_input = preprocess(read_picture(picture))
            yield picture.name, postprocess(session.infer(model_input.tensors), model_input.letterbox)
            progress(number, len(pictures))


def _reference(bundle: Bundle) -> tuple[ModelFile, str, Engine]:
    """The first file whose reference runtime works here, that runtime's name, and the engine.

    Quantized weights are a reference only where a bundle has no others.
    """
    reasons: list[str] = []
    for file in sorted(bundle.spec.files, key=lambda one: one.precision == "int8"):
        name = REFERENCES.get(file.format)
        if name is None:
            reasons.append(f"{file.path.name}: {file.format} is no reference")
            continue
        precision = "int8" if file.precision == "int8" else "f32"
        try:
            if file in usable_files(name, bundle.spec, precision):
                return file, name, load_after_trial(name, file, LoadOptions(precision))
        except BackendError as error:
            reasons.append(f"{file.path.name}: {name}: {error}")
    msg = f"model {bundle.spec.name}: no reference runtime: {'; '.join(reasons)}"
    raise NoBackendError(msg)


def _answer(
    bundle: Bundle, file: ModelFile, engine: Engine, image: NDArray[np.uint8], thresholds: Thresholds
) -> Answer:
    """The input tensors of every file for a picture, and the reference's outputs."""
    inputs: dict[str, NDArray[Any]] = {}
    levels: dict[str, NDArray[np.float32]] = {}
    for ends in bundle.ends:
        if ends.key not in inputs:
            (tensor,) = preprocessor_of(ends.input, "input")(image).tensors.values()
            inputs[ends.key], levels[ends.key] = tensor.copy(), ends.input.gray_level
    model_input = preprocessor_of(bundle.ends_of(file).input, engine.inputs[0].name)(image)
    with engine.open_session() as session:
        raw = {name: np.array(value) for name, value in session.infer(model_input.tensors).items()}
    return Answer(image, inputs, levels, raw, decoder_of(bundle, thresholds, file)(raw, model_input.letterbox))


def _verify(
    bundle: Bundle,
    recording: Recording,
    file: ModelFile,
    engine: Engine,
    pictures: Sequence[Path],
    seen: dict[str, Detections],
) -> Verified | None:
    if recording.expected is not None:
        return _like_training(bundle, recording.expected, seen)
    if recording.labels is None:
        return None
    if not bundle.draws_boxes:
        what = f"a model of format {bundle.ends_of(file).output.format}"
        msg = (
            f"{recording.labels}: labeled boxes show nothing of {what}: say with --expected what the training "
            "framework sees"
        )
        raise ConfigError(msg)
    labeled = Labeled(recording.labels, bundle.spec.labels)
    known = [picture for picture in pictures if picture.name in labeled]
    if not known:
        msg = f"{recording.labels}: knows none of the pictures in {recording.images}"
        raise ConfigError(msg)
    thresholds = bundle.thresholds.model_copy(update={"confidence": EVALUATION})
    if mistaken := labeled.mistaken({picture.name: seen[picture.name] for picture in known}):
        msg = f"{recording.labels}: {mistaken}: correct the order of the labels in model.yaml first"
        raise ConfigError(msg)

    def precision(options: InputOptions | None) -> Precision:
        return labeled.average_precision(dict(look(bundle, file, engine, known, thresholds, options)))

    declared = precision(None)
    for what, options in other_readings(bundle.ends_of(file).input):
        other = precision(options)
        _log.debug("golden data: %s: %s", what, other)
        share = _BETTER_PLACED if what.startswith(("resize", "anchor")) else 0.0
        if other.ap > declared.ap + max(_BETTER, share * declared.ap):
            msg = (
                f"{recording.labels}: with {what} the model sees more (AP {other.ap:.3f}) than as model.yaml has "
                f"it (AP {declared.ap:.3f}): correct the input section first; if it is right, so few pictures "
                f"({len(known)}) mislead: label more, or give what the training framework sees (--expected)"
            )
            raise ConfigError(msg)
    if declared.ap50 == 0.0:
        msg = f"{recording.labels}: nothing the model sees is where the labels are (AP50 0): check input and output"
        raise ConfigError(msg)
    return Verified(
        by="labels",
        source=recording.labels.name,
        sha256=sha256_of(recording.labels),
        images=len(known),
        figure=str(declared),
        map50=min(1.0, declared.ap50),
    )


def other_readings(options: InputOptions) -> list[tuple[str, InputOptions]]:
    """The usual mistakes in an `input:` section, each with what the section would then be."""
    changes: list[tuple[str, dict[str, Any]]] = []
    if options.color != "gray":
        other = "bgr" if options.color == "rgb" else "rgb"
        changes.append((f"color: {other}", {"color": other}))
    other = "stretch" if options.resize == "letterbox" else "letterbox"
    changes.append((f"resize: {other}", {"resize": other}))
    if options.resize == "letterbox":
        other = "center" if options.anchor == "top_left" else "top_left"
        changes.append((f"anchor: {other}", {"anchor": other}))
    if options.dtype == "float32":
        plain = (1.0,) * options.channels
        none = (0.0,) * options.channels
        for scale in (1.0, 1.0 / 255.0):
            text = f"scale: {scale:.6g}, without mean and std"
            changes.append((text, {"scale": scale, "mean": none, "std": plain}))
    readings = [(what, options.model_copy(update=change)) for what, change in changes]
    return [(what, reading) for what, reading in readings if reading != options]


def _like_training(bundle: Bundle, file: Path, seen: dict[str, Detections]) -> Verified:
    expected = read_expected(file, bundle.spec.labels, bundle.gives)
    shared = sorted(expected.keys() & seen.keys())
    if not shared:
        msg = f"{file}: has none of the pictures; it has {', '.join(sorted(expected)[:5])}"
        raise ConfigError(msg)
    threshold = bundle.thresholds.confidence
    wanted = [one.where(one.confidence >= threshold) for one in (expected[name] for name in shared)]
    found = [replace(seen[name], keypoints=None, quad=None) for name in shared]  # nobody wrote these down
    if "box" not in bundle.gives:  # a model of whole pictures
        found = [replace(one, xyxy=np.tile(np.array([0, 0, 1, 1], np.float32), (len(one), 1))) for one in found]
    agreement = compare(wanted, found, threshold, _LIKE_TRAINING.score_diff)
    if not agreement.objects:
        msg = f"{file}: has no object with a confidence of {threshold} or more: this would verify nothing"
        raise ConfigError(msg)
    if breaches := agreement.breaches(_LIKE_TRAINING):
        msg = f"{file}: the model does not see what is written there: {'; '.join(breaches)}"
        raise ConfigError(msg)
    return Verified(by="expected", source=file.name, sha256=sha256_of(file), images=len(shared), figure=str(agreement))
