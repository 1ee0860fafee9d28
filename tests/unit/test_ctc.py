"""The reader of text: steps to characters, greedy and with a beam, against sums over every alignment."""

from itertools import groupby, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.postprocess.ctc import beam_search
from edge_vision.postprocess.format import Thresholds
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import build_postprocessor

OPTIONS: TypeAdapter[OutputOptions] = TypeAdapter(OutputOptions)
LETTERBOX = Letterbox.fit((120, 30), (94, 24), "stretch")
LABELS = ("a", "b", "c")


def _read(
    steps: Any, labels: tuple[str, ...] = LABELS, confidence: float = 0.0, **options: Any
) -> tuple[str, float] | None:
    """What is read from probabilities (steps, classes), blank first."""
    found = _detect(np.array(steps, np.float32)[None], labels, confidence, **{"activation": "none", **options})
    if len(found) == 0:
        return None
    assert found.text is not None
    assert found.xyxy.tolist() == [[0, 0, 120, 30]]
    return str(found.text[0]), float(found.confidence[0])


def _detect(raw: NDArray[Any], labels: tuple[str, ...], confidence: float, **options: Any) -> Detections:
    decode = build_postprocessor(
        OPTIONS.validate_python({"format": "ctc", **options}), Thresholds(confidence=confidence), labels, (94, 24)
    )
    return decode({"out": raw}, LETTERBOX)


def _path(*best: int, classes: int = 4, sure: float = 0.7) -> NDArray[np.float32]:
    """Steps whose best classes are these, each with the same probability."""
    steps = np.full((len(best), classes), (1 - sure) / (classes - 1), np.float32)
    steps[np.arange(len(best)), best] = sure
    return steps


@pytest.mark.parametrize(
    "path, text",
    [
        ((1, 2, 3), "abc"),
        ((1, 1, 2, 2, 2), "ab"),
        ((1, 0, 1), "aa"),
        ((0, 0, 3, 0), "c"),
        ((1, 0, 0, 1, 1, 2), "aab"),
        ((2,), "b"),
    ],
)
@pytest.mark.parametrize("beam", [1, 10])
def test_doubles_in_a_row_are_one_and_blanks_none(path: tuple[int, ...], text: str, beam: int) -> None:
    """A character twice needs a blank between."""
    reading = _read(_path(*path, sure=0.97), beam=beam)
    assert reading is not None
    assert reading[0] == text


@pytest.mark.parametrize("path", [(0, 0, 0), (0,)])
@pytest.mark.parametrize("beam", [1, 10])
def test_nothing_read_is_no_row(path: tuple[int, ...], beam: int) -> None:
    """Blanks alone are no text."""
    assert _read(_path(*path), beam=beam) is None


def test_axes_in_the_other_order_read_alike() -> None:
    """`layout: nct`, as LPRNet has it."""
    steps = _path(1, 2, 0, 2)
    assert _read(steps.T, layout="nct") == _read(steps)


def test_the_blank_may_be_anywhere_and_among_the_labels() -> None:
    """As one class more than labels, at its place; or as one of the labels."""
    path = _path(0, 3, 1, 1)
    assert _read(path, blank=3) == pytest.approx(("ab", 0.7))
    assert _read(path, ("a", "b", "c", "-"), blank=3) == pytest.approx(("ab", 0.7))
    assert _read(_path(0, 2, 3), ("x", "y", "-", "z"), blank=2) == pytest.approx(("xz", 0.7))


def test_a_blank_behind_the_classes_is_a_model_error() -> None:
    """As many classes as labels, the blank among them, and none has its number: it would never be left out."""
    with pytest.raises(ModelError, match="blank is class 3, and the model gives 3 classes"):
        _read(_path(0, 1, 2, classes=3), blank=3)
    read = _read(_path(0, 1, 3), blank=3)
    assert read is not None
    assert read[0] == "ab"


def test_a_space_behind_the_labels() -> None:
    """One more class, as PaddleOCR's readers have it; around a text it means the margin."""
    assert _read(_path(1, 4, 2, classes=5), space=True) == pytest.approx(("a b", 0.7))
    assert _read(_path(4, 1, 4, classes=5), space=True) == pytest.approx(("a", 0.7))
    assert _read(_path(4, 0, 4, classes=5), space=True) is None


def test_logits_become_probabilities() -> None:
    """Softmax over the classes of a step, also of large numbers."""
    logits = np.log(_path(1, 0, 2)) + 300
    assert _read(logits, activation="softmax") == pytest.approx(("ab", 0.7), abs=1e-4)


def test_confidence_is_the_mean_or_the_product_of_the_characters() -> None:
    """Of the step at which each begins; blanks do not count."""
    steps = np.array([[0.1, 0.9, 0, 0], [1, 0, 0, 0], [0.2, 0.2, 0.6, 0]], np.float32)
    assert _read(steps) == pytest.approx(("ab", 0.75))
    assert _read(steps, score="product") == pytest.approx(("ab", 0.54))
    assert _read(steps, confidence=0.76) is None


def test_a_step_that_is_no_number_is_a_blank() -> None:
    """The characters around it are read, and none is invented."""
    steps = _path(1, 1, 1)
    steps[1, 2] = np.nan
    assert _read(steps) == pytest.approx(("aa", 0.7))
    steps[:] = np.inf
    assert _read(steps, activation="softmax") is None
    assert _read(steps, activation="softmax", beam=5, pattern=".") is None


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_has_the_probability_of_every_text(seed: int) -> None:
    """Against the sum over all alignments, text by text."""
    steps = np.random.default_rng(seed).dirichlet(np.ones(3), 5).astype(np.float32)
    expected: dict[tuple[int, ...], float] = {}
    for path in product(range(3), repeat=5):
        ids = tuple(one for one, _ in groupby(path) if one != 0)
        expected[ids] = expected.get(ids, 0.0) + float(np.prod([steps[at, one] for at, one in enumerate(path)]))
    found = beam_search(steps, 0, 1000)
    assert {ids: np.exp(log) for ids, log in found} == pytest.approx(expected, rel=1e-4)
    assert [log for _, log in found] == sorted((log for _, log in found), reverse=True)


def test_the_beam_finds_a_text_whose_alignments_are_likely_together() -> None:
    """The best path is blank, blank with 0.36; "a" has 0.64 in three paths."""
    steps = [[0.6, 0.4, 0, 0], [0.6, 0.4, 0, 0]]
    assert _read(steps) is None
    assert _read(steps, beam=5) == pytest.approx(("a", 0.64))
    assert _read([[0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0]], beam=5) == pytest.approx(("ab", 0.8))
    assert _read([[0.2, 0.8, 0, 0], [0.2, 0, 0.8, 0]], beam=5, score="product") == pytest.approx(("ab", 0.64))


def test_a_long_line_does_not_vanish() -> None:
    """Of 400 steps, whose probability is less than the smallest number."""
    reading = _read(_path(*[1, 2] * 200, sure=0.3), beam=3)
    assert reading is not None
    assert 0.2 < reading[1] < 0.5


@pytest.mark.parametrize("beam", [1, 5])
def test_only_characters_that_are_allowed_are_read(beam: int) -> None:
    """The next best takes the place of one that is not."""
    steps = [[0.0, 0.5, 0.1, 0.4], [1, 0, 0, 0], [0, 0.9, 0.1, 0]]
    reading = _read(steps, allow="bc", beam=beam)
    assert reading is not None
    assert reading[0] == "cb"


def test_a_text_must_match_the_pattern() -> None:
    """All of it; with a beam the likeliest that does."""
    steps = [[0, 0.6, 0.4, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert _read(steps, pattern="ab?") == pytest.approx(("ab", 0.8))
    assert _read(steps, pattern="a") is None
    assert _read(steps, pattern="b+") is None
    assert _read(steps, pattern="b+", beam=5) == pytest.approx(("bb", 0.4**0.5))


def test_settings_that_cannot_be_are_refused() -> None:
    """A pattern that is none; a blank behind all characters; another number of classes."""
    with pytest.raises(ValidationError, match="is not a regular expression"):
        _read(_path(1), pattern="(")
    with pytest.raises(ModelError, match="blank is class 4, behind the 3 characters"):
        _read(_path(1), blank=4)
    with pytest.raises(ModelError, match=r"expects an output of \[1, N, 4\] \(3 characters and the blank"):
        _read(_path(1, classes=7))
