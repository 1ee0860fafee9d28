"""Decoders of networks that look at the whole picture: classes and embeddings."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((200, 90), (64, 48))
WHOLE = [0.0, 0.0, 200.0, 90.0]


def _decode(raw: NDArray[Any], classes: int = 0, confidence: float = 0.0, **output: Any) -> Detections:
    thresholds = Thresholds(confidence=confidence, max_detections=output.pop("max_detections", 300))
    decode = build_postprocessor(OPTIONS.validate_python(output), thresholds, ("x",) * classes, (64, 48))
    return decode({"out": raw}, LETTERBOX)


def _classes(raw: Any, confidence: float = 0.0, classes: int = 3, **output: Any) -> list[tuple[int, Any]]:
    found = _decode(np.array(raw), classes, confidence, format="classification", top_k=3, **output)
    assert found.xyxy.tolist() == [WHOLE] * len(found)
    return list(zip(found.class_id.tolist(), found.confidence.tolist(), strict=True))


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 3, 1, 1), (1, 1, 1, 3)])
def test_the_best_classes_come_first(shape: tuple[int, ...]) -> None:
    """A row per class, its box the whole picture, whatever axes of 1 there are."""
    raw = np.array([0.2, 0.7, 0.1], np.float32).reshape(shape)
    assert _classes(raw) == [(1, pytest.approx(0.7)), (0, pytest.approx(0.2)), (2, pytest.approx(0.1))]
    assert _decode(raw, 3, format="classification", top_k=1).class_id.tolist() == [1]
    assert _decode(raw, 3, format="classification", top_k=3, max_detections=2).class_id.tolist() == [1, 0]


def test_only_classes_above_the_threshold_come_out() -> None:
    """The threshold itself still counts, as in every format."""
    assert [class_id for class_id, _ in _classes([[0.5, 0.3, 0.25]], confidence=0.25)] == [0, 1, 2]
    assert [class_id for class_id, _ in _classes([[0.5, 0.3, 0.25]], confidence=0.3)] == [0, 1]
    assert _classes([[0.5, 0.3, 0.25]], confidence=0.6) == []


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    """So that two runtimes that agree say the same."""
    assert [class_id for class_id, _ in _classes([[0.4, 0.4, 0.4]])] == [0, 1, 2]


def test_what_the_network_leaves_to_be_done_is_done() -> None:
    """Softmax sums up to 1, also of large numbers; sigmoid treats every class by itself."""
    soft = dict(_classes([[1.0, 2.0, 3.0]], activation="softmax"))
    assert soft == pytest.approx({0: 0.09003057, 1: 0.24472848, 2: 0.66524094}, abs=1e-6)
    assert dict(_classes([[1001.0, 1002.0, 1003.0]], activation="softmax")) == pytest.approx(soft, abs=1e-6)
    loose = dict(_classes([[0.0, 2.0, -200.0]], activation="sigmoid"))
    assert loose == pytest.approx({0: 0.5, 1: 0.8807971, 2: 0.0}, abs=1e-6)


def test_background_takes_part_in_the_softmax_and_is_no_class() -> None:
    """A column before the first label takes its share of the certainty."""
    found = _classes([[3.0, 2.0, 1.0]], classes=2, activation="softmax", first_class=1)
    assert found == [(0, pytest.approx(0.24472848)), (1, pytest.approx(0.09003057))]


def test_integers_become_scores_by_a_factor() -> None:
    """What a runtime gives that does not undo the quantization."""
    assert _classes(np.array([[255, 51, 0]], np.uint8), scale=1 / 255, confidence=0.1) == [
        (0, pytest.approx(1.0)),
        (1, pytest.approx(0.2)),
    ]


def test_a_score_that_is_none_is_no_class() -> None:
    """NaN and infinity say nothing; the others still count where each stands for itself."""
    assert _classes([[np.nan, 0.5, np.inf]], confidence=0.3) == [(1, 0.5)]
    assert _classes([[np.nan, 0.5, 0.4]], confidence=0.3, activation="softmax") == []


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (3, 1, 3), (1, 2)])
def test_a_classifier_of_other_classes_is_a_model_error(shape: tuple[int, ...]) -> None:
    """The message says how many were expected and why."""
    with pytest.raises(ModelError, match=r"expects an output of \[1, 3\] \(0 of background \+ 3 labels\)"):
        _classes(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 4, 1, 1)])
def test_an_embedding_has_unit_length(shape: tuple[int, ...]) -> None:
    """One row; the direction is what counts."""
    found = _decode(np.array([3.0, 0.0, 4.0, 0.0], np.float32).reshape(shape), format="embedding")
    assert found.embedding is not None
    assert found.embedding.dtype == np.float32
    assert found.embedding.tolist() == [[pytest.approx(0.6), 0.0, pytest.approx(0.8), 0.0]]
    assert (found.xyxy.tolist(), found.confidence.tolist()) == ([WHOLE], [1.0])


def test_half_precision_does_not_overflow() -> None:
    """Squares of numbers beyond 256 have no room in float16."""
    found = _decode(np.array([[300.0, 400.0]], np.float16), format="embedding")
    assert found.embedding is not None
    assert found.embedding.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


@pytest.mark.parametrize("raw", [[[0.0, 0.0]], [[np.nan, 1.0]], [[np.inf, 1.0]]])
def test_a_vector_without_a_direction_is_nothing(raw: list[list[float]]) -> None:
    """Zeros, NaN and infinity point nowhere."""
    assert len(_decode(np.array(raw, np.float32), format="embedding")) == 0


@pytest.mark.parametrize("shape", [(), (1, 1), (2, 2), (2, 64, 1)])
def test_an_embedding_of_another_shape_is_a_model_error(shape: tuple[int, ...]) -> None:
    """Two vectors are not one."""
    with pytest.raises(ModelError, match=r"format embedding expects an output of \[1, N\]"):
        _decode(np.zeros(shape, np.float32), format="embedding")
