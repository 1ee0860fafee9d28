"""Reads a line of text from a network that names a character, or none, at every step (CTC, Graves et al. 2006)."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from edge_vision.core.detections import Detections
from edge_vision.core.errors import ModelError
from edge_vision.core.geometry import Letterbox
from edge_vision.core.options import Integer
from edge_vision.core.stages import Fact
from edge_vision.core.tensor import Tensors
from edge_vision.postprocess.format import SingleOutput, Thresholds
from edge_vision.postprocess.outputs import check_shape, pick

_HOPELESS: Final = 1e-4
"""A character less likely than this at a step is not followed by the beam."""
_Ids: TypeAlias = tuple[int, ...]


def compiles(pattern: str) -> str:
    """A regular expression as written. Raises ValueError for one that is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        msg = f"is not a regular expression: {error}"
        raise ValueError(msg) from None
    return pattern


Pattern: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(compiles)]


class CtcOutput(SingleOutput):
    """A step per position of the picture, a score per character and one for "none": a line of text (CTC).

    The labels are the characters, in order. A network with one class more than labels has its blank at `blank` and the
    labels around it; one with as many classes has the blank among the labels.
    """

    format: Literal["ctc"]
    layout: Literal["ntc", "nct"] = Field("ntc", description="Order of the axes: picture, time (step), class.")
    blank: Integer = Field(0, ge=0, description="Class that stands for no character.")
    space: bool = Field(False, description="One more class behind the labels is a space (PaddleOCR's use_space_char).")
    activation: Literal["softmax", "none"] = Field("softmax", description="What the network leaves to be done.")
    beam: Integer = Field(1, ge=1, le=200, description="Readings followed side by side; 1 takes the best at each step.")
    score: Literal["mean", "product"] = Field(
        "mean", description="Confidence of a text: the mean of its characters' probabilities, or their product."
    )
    allow: str | None = Field(None, min_length=1, description="The only characters that can be read; all if not given.")
    pattern: Pattern | None = Field(None, description="Regular expression that the whole text must match.")

    @property
    def gives(self) -> frozenset[Fact]:
        """Text, without a box of its own."""
        return frozenset({"text"})


class Ctc:
    """[1, steps, classes] or [1, classes, steps]: one row with `text`, whose box is the whole picture, or none.

    The best class of each step, doubles in a row as one, blanks left out. With a beam, the text whose alignments are
    likely together; the confidence is then its probability, for `mean` the root of it by its length.
    """

    def __init__(
        self, options: CtcOutput, thresholds: Thresholds, labels: tuple[str, ...], model_wh: tuple[int, int]
    ) -> None:
        del model_wh  # text has no place in the picture
        self._options = options
        self._threshold = thresholds.confidence
        characters = [*labels, " "] if options.space else list(labels)
        if options.blank > len(characters):
            msg = f"format ctc: blank is class {options.blank}, behind the {len(characters)} characters"
            raise ModelError(msg)
        self._inside = characters
        self._around = [*characters[: options.blank], "", *characters[options.blank :]]
        self._pattern = None if options.pattern is None else re.compile(options.pattern)

    def __call__(self, tensors: Tensors, letterbox: Letterbox) -> Detections:
        """One row, or none when nothing was read, too unsurely, or something that must not be."""
        raw = pick(tensors, self._options.output)
        axis = 2 if self._options.layout == "ntc" else 1
        characters = self._around
        if raw.ndim == 3 and raw.shape[axis] == len(self._inside):  # noqa: PLR2004 - picture, step, class
            characters = self._inside
            if self._options.blank >= len(characters):
                msg = (
                    f"format ctc: blank is class {self._options.blank}, and the model gives {len(characters)} classes, "
                    "the blank among them: its number is less"
                )
                raise ModelError(msg)
        sizes = (1, None, len(characters)) if axis == 2 else (1, len(characters), None)  # noqa: PLR2004
        check_shape("ctc", raw, sizes, f"{len(self._inside)} characters and the blank, or it among them")
        steps = np.asarray(raw[0] if axis == 2 else raw[0].T, np.float32)  # noqa: PLR2004
        text, confidence = self._read(self._probabilities(steps, characters), characters)
        if not text or not confidence >= self._threshold:
            return Detections.empty()
        return Detections(
            np.array([[0.0, 0.0, *letterbox.source_wh]], np.float32),
            np.array([min(confidence, 1.0)], np.float32),
            np.zeros(1, np.int32),
            text=np.array([text]),
        )

    def _probabilities(self, steps: NDArray[np.float32], characters: list[str]) -> NDArray[np.float32]:
        """(steps, classes); a step that is not finite is a blank, characters that are not allowed are impossible."""
        options = self._options
        broken = np.asarray(~np.isfinite(steps).all(axis=1))
        steps = np.where(broken[:, None], np.float32(0.0), steps)
        if options.activation == "softmax":
            steps = np.exp(steps - steps.max(axis=1, keepdims=True))
            steps /= steps.sum(axis=1, keepdims=True)
        if options.allow is not None:
            allowed = [one in options.allow or place == options.blank for place, one in enumerate(characters)]
            steps *= np.array(allowed, np.float32)
        steps[broken] = 0.0
        steps[broken, options.blank] = 1.0
        return steps

    def _read(self, steps: NDArray[np.float32], characters: list[str]) -> tuple[str, float]:
        """The best text that matches the pattern, and its confidence."""
        options = self._options
        search = partial(greedy, mean=options.score == "mean") if options.beam == 1 else self._follow
        for ids, confidence in search(steps, options.blank):
            text = "".join(characters[one] for one in ids).strip()  # a margin reads as a space
            if self._pattern is None or self._pattern.fullmatch(text):
                return text, confidence
        return "", 0.0

    def _follow(self, steps: NDArray[np.float32], blank: int) -> Iterator[tuple[_Ids, float]]:
        for ids, log in beam_search(steps, blank, self._options.beam):
            yield ids, math.exp(log / max(len(ids), 1) if self._options.score == "mean" else log)


def greedy(steps: NDArray[np.float32], blank: int, *, mean: bool) -> Iterator[tuple[_Ids, float]]:
    """The best class of each step (steps, classes), doubles and blanks left out; mean or product of their scores."""
    best = steps.argmax(axis=1)
    kept = best != blank
    kept[1:] &= best[1:] != best[:-1]
    places = np.flatnonzero(kept)
    scores = steps[places, best[places]].astype(np.float64)
    yield tuple(best[places].tolist()), 0.0 if not len(places) else float(scores.mean() if mean else scores.prod())


def beam_search(steps: NDArray[np.float32], blank: int, width: int) -> list[tuple[_Ids, float]]:
    """The `width` likeliest texts of steps (steps, classes), best first, with the logarithm of their probability.

    Prefix beam search (Hannun et al., arXiv:1408.2873) without a language model: of each text so far, the probability
    of all alignments that end in a blank, and of those that end in its last character.
    """
    beams: dict[_Ids, tuple[float, float]] = {(): (1.0, 0.0)}
    shift = 0.0  # probabilities are kept as parts of the best, so that long lines do not vanish
    for step in steps.astype(np.float64):
        following: defaultdict[_Ids, list[float]] = defaultdict(lambda: [0.0, 0.0])
        likely = [(one, float(step[one])) for one in np.flatnonzero(step > _HOPELESS).tolist()]
        for prefix, (in_blank, in_character) in beams.items():
            for one, chance in likely:
                longer = (*prefix, one)
                if one == blank:
                    following[prefix][0] += chance * (in_blank + in_character)
                elif prefix and one == prefix[-1]:
                    following[prefix][1] += chance * in_character
                    following[longer][1] += chance * in_blank
                else:
                    following[longer][1] += chance * (in_blank + in_character)
        best = sorted(following.items(), key=_sum, reverse=True)[:width]
        total = max((_sum(entry) for entry in best), default=0.0)
        if total <= 0.0:
            return []
        shift += math.log(total)
        beams = {prefix: (parts[0] / total, parts[1] / total) for prefix, parts in best}
    return [(ids, math.log(sum(parts)) + shift) for ids, parts in beams.items() if sum(parts) > 0]


def _sum(entry: tuple[_Ids, list[float]]) -> float:
    return entry[1][0] + entry[1][1]
