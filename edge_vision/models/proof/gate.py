"""The gate: golden pictures through the real preprocess, engine and postprocess; who sees something else stays out."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, Postprocessor
from edge_vision.models.bundle import Bundle
from edge_vision.models.golden import Answer, Golden
from edge_vision.models.options import Tolerance
from edge_vision.models.proof.agreement import Agreement, compare
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.preprocess.options import InputOptions
from edge_vision.preprocess.window import preprocessor_of

_GRAY_LEVELS: Final = 1.001
"""Resizing rounds differently on other processors: by one gray level, and the float it becomes by a little more."""
_SAME_DECODER: Final = Tolerance(
    score_diff=1e-4, mean_iou=0.999, point_error=1e-3, missed=0, extra=0, quality=0.999,
    text_diff=0, embedding_distance=1e-4, attribute_diff=1e-3,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a proof: `reason` is empty when it passed.

    `tensor_levels` is the greatest distance of an input tensor from the golden one, in gray levels; `decoder` how
    the golden raw outputs, decoded here, compare with the golden detections; `agreement` how this engine does.
    """

    reason: str
    tensor_levels: float
    decoder: Agreement | None = None
    agreement: Agreement | None = None

    @property
    def passed(self) -> bool:
        """Whether the engine may serve."""
        return not self.reason


def precision_of(file: ModelFile, arithmetic: str) -> str:
    """The precision that decides the tolerance: the coarser one of the weights and the arithmetic."""
    order = ("f32", "f16", "bf16", "int8")
    return max(file.precision, arithmetic, key=order.index)


def prove(bundle: Bundle, golden: Golden, file: ModelFile, engine: Engine, arithmetic: str) -> Verdict:
    """Show the golden pictures to an engine that has loaded `file`.

    Raises ModelError when the golden data are damaged or an output has a shape its format does not know, and
    InferenceError when the engine fails.
    """
    if moved := _moved_label(golden.file.labels or (), bundle.spec.labels):
        return Verdict(f"labels: {moved}", 0.0)
    preprocess = preprocessor_of(bundle.ends_of(file).input, engine.inputs[0].name)
    postprocess = decoder_of(bundle, golden.file.thresholds, file)
    reference = next((one for one in bundle.spec.files if bundle.path_of(one) == golden.file.reference.file), None)
    decode = None if reference is None else decoder_of(bundle, golden.file.thresholds, reference)
    levels, expected, decoded, found = 0.0, list[Detections](), list[Detections](), list[Detections]()
    with engine.open_session() as session:
        for image in golden.file.images:
            answer = golden.read(image)
            model_input = preprocess(answer.image)
            (tensor,) = model_input.tensors.values()
            levels = max(levels, _distance(tensor, answer, bundle.ends_of(file).key))
            if levels > _GRAY_LEVELS:
                text = f"preprocess: the input tensor of {image.name} is off by {levels:.1f} gray levels (limit 1)"
                return Verdict(text, levels)
            expected.append(answer.detections)
            if reference is not None and decode is not None:
                decoded.append(decode(answer.raw, _letterbox(bundle.ends_of(reference).input, answer.image)))
            found.append(postprocess(session.infer(model_input.tensors), model_input.letterbox))
    return _judge(bundle, golden, precision_of(file, arithmetic), levels, expected, decoded, found)


def _judge(
    bundle: Bundle,
    golden: Golden,
    precision: str,
    levels: float,
    expected: list[Detections],
    decoded: list[Detections],
    found: list[Detections],
) -> Verdict:
    threshold = golden.file.thresholds.confidence
    decoder = compare(expected, decoded, threshold, _SAME_DECODER.score_diff) if decoded else None
    if decoder is not None and (breaches := decoder.breaches(_SAME_DECODER)):
        text = f"postprocess: decodes the reference's outputs differently: {'; '.join(breaches)}"
        return Verdict(text, levels, decoder)
    limit: Tolerance = getattr(bundle.parity, precision)
    agreement = compare(expected, found, threshold, limit.score_diff)
    breaches = agreement.breaches(limit)
    text = f"runtime: sees something else at {precision}: {'; '.join(breaches)}" if breaches else ""
    return Verdict(text, levels, decoder, agreement)


def _moved_label(then: tuple[str, ...], now: tuple[str, ...]) -> str:
    """Which label is at another place than when the golden data were made; one may be renamed, but not moved."""
    for number, label in enumerate(now):
        if label in then and label not in then[number : number + 1]:
            return f"{label} is class {number}, and was class {then.index(label)} when the golden data were made"
    return ""


def decoder_of(bundle: Bundle, thresholds: Thresholds, file: ModelFile) -> Postprocessor:
    """The decoder of a file's outputs for a comparison, with thresholds other than the bundle's."""
    ends = bundle.ends_of(file)
    output = ends.output.model_copy(update=ends.output.uncut)
    return build_postprocessor(output, thresholds, bundle.spec.labels, ends.input.size)


def _letterbox(options: InputOptions, image: NDArray[np.uint8]) -> Letterbox:
    """How a file's own input lays a picture: the reference's need not be that of the file on trial."""
    return Letterbox.fit((image.shape[1], image.shape[0]), options.size, options.resize, options.anchor)


def _distance(tensor: NDArray[Any], answer: Answer, key: str) -> float:
    """Greatest distance from the golden tensor, in gray levels; infinite when the shapes differ or a value is none."""
    if key not in answer.inputs:
        msg = f"the golden data have no input tensor for {key or 'the input'}: run `edge-vision models golden` again"
        raise ModelError(msg)
    golden = answer.inputs[key]
    if golden.shape != tensor.shape:
        return float("inf")
    distance = (np.abs(tensor - golden.astype(np.float32)) / answer.levels[key]).max()
    return float("inf") if np.isnan(distance) else float(distance)  # NaN is no greater than any limit
