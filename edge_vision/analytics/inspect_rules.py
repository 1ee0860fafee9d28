"""What makes a part bad, and what makes a view of it useless: figures with limits, and how they are said."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationInfo, field_validator, model_validator

from edge_vision.analytics.measures import brightness, gray_crops, sharpness
from edge_vision.core.detections import Detections
from edge_vision.core.options import Fraction, Number, Options
from edge_vision.core.scene import Scene

SIDES: Final = ("width", "height", "long", "short")
"""Sides of a part's box that `measures` knows with _px or _mm: across, down, the longer one, the shorter one."""
_ON: Final = 0.5
"""A defect belongs to a part when so much of its box lies in that of the part, and to that which holds most of it."""

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]


class Limits(Options):
    """The least and the greatest value that are good; one of them will do."""

    min: Number | None = Field(None, description="Least value that is good.")
    max: Number | None = Field(None, description="Greatest value that is good.")

    @model_validator(mode="after")
    def _limit_something(self) -> "Limits":
        if self.min is None and self.max is None:
            msg = "needs min, max or both"
            raise ValueError(msg)
        if self.min is not None and self.max is not None and self.min > self.max:
            msg = f"min {self.min:g} is more than max {self.max:g}"
            raise ValueError(msg)
        return self


class TextRule(Options):
    """What a text has to be: exactly one of `equals` and `pattern`."""

    equals: str | None = Field(None, min_length=1, description="The text itself.")
    pattern: str | None = Field(
        None, min_length=1, max_length=1000, description="Regular expression that the whole text must match."
    )

    @model_validator(mode="after")
    def _is_one_rule(self) -> "TextRule":
        if (self.equals is None) == (self.pattern is None):
            msg = "needs exactly one of equals and pattern"
            raise ValueError(msg)
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            msg = f"pattern is not a regular expression: {error}"
            raise ValueError(msg) from None
        return self

    def fits(self, text: str) -> bool:
        """Whether a text is as wanted."""
        return text == self.equals if self.pattern is None else re.fullmatch(self.pattern, text) is not None

    def __str__(self) -> str:
        return f"not {self.equals!r}" if self.pattern is None else f"which {self.pattern!r} does not match"


def _is_side(name: str, unit: str) -> bool:
    return name.endswith(f"_{unit}") and name.removesuffix(f"_{unit}") in SIDES


class RuleOptions(Options):
    """What is good and what is not; every stage or station that judges has these."""

    parts: tuple[Name, ...] | None = Field(
        None,
        min_length=1,
        description="Labels of the parts, each judged by itself; the whole picture if not given.",
    )
    defects: tuple[Name, ...] | None = Field(
        None, description="Labels of the defects; if not given, all that are neither parts nor counted."
    )
    forbidden: tuple[Name, ...] = Field((), description="Labels that are bad whatever their size.")
    mm_per_px: Number | None = Field(None, gt=0, le=1000, description="Millimeters per pixel where the parts lie.")
    min_area_px: Number = Field(0.0, ge=0, description="Defects smaller than this do not count, in square pixels.")
    max_area_px: Number | None = Field(None, ge=0, description="Greatest area of a part's defects, in square pixels.")
    max_area_mm2: Number | None = Field(
        None, ge=0, description="Greatest area of a part's defects, in square millimeters; needs mm_per_px."
    )
    max_coverage: Fraction | None = Field(
        None, description="Greatest share of a part that its defects may cover. Without any limit none may be there."
    )
    counts: dict[Name, Limits] = Field(
        default_factory=dict, max_length=64, description="For labels how many of them a part must have: {min, max}."
    )
    measures: dict[Name, Limits] = Field(
        default_factory=dict,
        max_length=64,
        description="Limits {min, max} of figures: attributes of the part, measures of the picture, or sides of the "
        "part's box: width, height, long or short, with _px or _mm.",
    )
    texts: dict[Name, TextRule] = Field(
        default_factory=dict,
        max_length=16,
        description="What must be read, {equals} or {pattern}: `text`, or an attribute by name.",
    )
    min_sharpness: Number | None = Field(
        None, ge=0, description="Views below this variance of the Laplacian do not count."
    )
    min_brightness: Number | None = Field(None, ge=0, le=255, description="Views darker than this do not count.")
    max_brightness: Number | None = Field(None, ge=0, le=255, description="Views brighter than this do not count.")

    @field_validator("max_area_mm2", "measures")
    @classmethod
    def _millimeters_are_known(cls, value: Any, info: ValidationInfo) -> Any:
        names = value if isinstance(value, dict) else {str(info.field_name): value} if value is not None else {}
        wants = [name for name in names if name == "max_area_mm2" or _is_side(name, "mm")]
        if wants and info.data.get("mm_per_px") is None:
            msg = f"{wants[0]} needs mm_per_px: how many millimeters a pixel shows"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _labels_have_one_part(self) -> "RuleOptions":
        for label in self.parts or ():
            if label in (*(self.defects or ()), *self.forbidden, *self.counts):
                msg = f"{label} is a part and cannot be a defect or be counted"
                raise ValueError(msg)
        return self


@dataclass(frozen=True, eq=False)
class View:
    """A picture with the parts in it, and what else was seen: `owner` (m,) says on which part, -1 on none."""

    scene: Scene
    parts: Detections
    others: Detections
    owner: NDArray[np.intp]

    @cached_property
    def gray(self) -> list[NDArray[np.uint8]]:
        """The gray picture of each part."""
        return list(gray_crops(self.scene.frame.image, self.parts.xyxy))

    def sums(self, weights: NDArray[Any], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        """The sum of weights (m,) on each part (n,), over those of the other objects that `rows` (m,) chooses."""
        rows = rows & (self.owner >= 0)
        return np.bincount(self.owner[rows], weights[rows], len(self.parts)).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Rule:
    """A figure of each part, its limits, and how the figure is told; NaN is a figure that is not known."""

    name: str
    figure: Callable[[View], NDArray[np.float64]]
    least: float
    most: float
    tell: Callable[[float], str]
    missing: str
    lists_defects: bool = False
    """Whether the kinds of defects that were seen belong to the reason."""

    def broken(self, figures: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which figures (n,) are outside the limits; one that is not known is not."""
        return np.asarray((figures < self.least) | (figures > self.most))

    def excess(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far outside figures (n,) are: of several views the worst is told."""
        return np.asarray(np.maximum(self.least - figures, figures - self.most))


def view_of(scene: Scene, rows: NDArray[np.bool_] | None) -> View:
    """Tell the parts, which `rows` (n,) chooses, from what is on them; without it the whole picture is one."""
    seen, (width, height) = scene.detections, scene.frame.wh
    if rows is None:
        whole = Detections(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))
        return View(scene, whole, seen, np.zeros(len(seen), np.intp))
    parts, others = seen.where(rows), seen.where(~rows)
    return View(scene, parts, others, owners(parts.xyxy, others.xyxy))


def owners(parts: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.intp]:
    """The part (n, 4) that holds most of each other box (m, 4), (m,), -1 where none holds half of it."""
    if len(parts) == 0 or len(others) == 0:
        return np.full(len(others), -1, np.intp)
    corner = np.maximum(others[:, None, :2], parts[None, :, :2])
    size = np.clip(np.minimum(others[:, None, 2:], parts[None, :, 2:]) - corner, 0, None)
    share = size.prod(axis=2) / np.maximum((others[:, 2:] - others[:, :2]).prod(axis=1), 1e-6)[:, None]
    best = share.argmax(axis=1)
    return np.where(share[np.arange(len(others)), best] >= _ON, best, -1)


def areas_px(seen: Detections) -> NDArray[np.float64]:
    """The area of each object (n,): as the model says, else of its mask, else of its box."""
    areas = (seen.xyxy[:, 2:] - seen.xyxy[:, :2]).astype(np.float64).prod(axis=1)
    told = seen.attributes.get("area_px")
    if told is not None and told.dtype.kind == "f":
        return np.where(np.isnan(told), areas, told)
    if seen.mask is not None:
        areas = areas * np.array([grid.mean() if grid.size else 0.0 for grid in seen.mask]).reshape(len(seen))
    return np.asarray(areas)


def rules_of(options: RuleOptions, labels: Sequence[str]) -> tuple[Rule, ...]:
    """Everything that makes a part bad."""
    return (*_defect_rules(options, labels), *_count_rules(options, labels), *_figure_rules(options, labels))


def conditions_of(options: RuleOptions) -> tuple[Rule, ...]:
    """Everything that makes a view useless."""
    found: list[Rule] = []
    limits = ("brightness", options.min_brightness, options.max_brightness, _brightness)
    for name, least, most, figure in (limits, ("sharpness", options.min_sharpness, None, _sharpness)):
        low, high = -np.inf if least is None else least, np.inf if most is None else most
        if least is not None or most is not None:
            found.append(Rule(name, figure, low, high, _against(name, low, high), f"{name} is not known"))
    return tuple(found)


def defect_labels(options: RuleOptions, labels: Sequence[str]) -> NDArray[np.bool_]:
    """Which labels are defects, (k,)."""
    if options.defects is not None:
        return np.array([label in (*options.defects, *options.forbidden) for label in labels], bool)
    known = (*(options.parts or ()), *options.counts)
    return np.array([label not in known for label in labels], bool)


def _defect_rules(options: RuleOptions, labels: Sequence[str]) -> Iterator[Rule]:
    is_defect = defect_labels(options, labels)

    def total(view: View) -> NDArray[np.float64]:
        area = areas_px(view.others)
        return view.sums(area, is_defect[view.others.class_id] & (area >= options.min_area_px))

    def coverage(view: View) -> NDArray[np.float64]:
        return np.asarray(total(view) / np.maximum(areas_px(view.parts), 1e-6))

    def square_mm(view: View) -> NDArray[np.float64]:
        return np.asarray(total(view) * (options.mm_per_px or 0.0) ** 2)

    limits = (
        ("max_area_px", options.max_area_px, total, "defects of {:.4g} px2, at most {:.4g}"),
        (
            "max_area_mm2",
            options.max_area_mm2,
            square_mm,
            "defects of {:.3g} mm2, at most {:.3g}",
        ),
        ("max_coverage", options.max_coverage, coverage, "defects cover {:.2%} of it, at most {:.2%}"),
    )
    for name, most, figure, text in limits:
        if most is not None:
            tell = lambda value, text=text, most=most: text.format(value, most)  # noqa: E731 - bound to its row
            yield Rule(name, figure, -np.inf, most, tell, "", lists_defects=True)
    strict = all(most is None for _, most, _, _ in limits)
    for class_id, label in enumerate(labels):
        if label in options.forbidden or (strict and is_defect[class_id]):
            yield _number_rule(label, class_id, -np.inf, 0, options.min_area_px)


def _count_rules(options: RuleOptions, labels: Sequence[str]) -> Iterator[Rule]:
    for label, limits in options.counts.items():
        if label in labels:
            yield _number_rule(label, list(labels).index(label), *_range(limits), 0.0)


def _number_rule(label: str, class_id: int, least: float, most: float, min_area_px: float) -> Rule:
    def number(view: View) -> NDArray[np.float64]:
        rows = view.others.class_id == class_id
        if min_area_px > 0:
            rows = rows & (areas_px(view.others) >= min_area_px)
        return view.sums(np.ones(len(rows)), rows)

    return Rule(label, number, least, most, _against(label, least, most), "")


def _figure_rules(options: RuleOptions, labels: Sequence[str]) -> Iterator[Rule]:
    del labels
    for name, limits in options.measures.items():
        least, most = _range(limits)
        yield Rule(
            name, _measure(name, options.mm_per_px), least, most, _against(name, least, most), f"{name} is not known"
        )
    for name, rule in options.texts.items():
        yield Rule(name, _mismatch(name, rule), -np.inf, 0, lambda _: "", f"no {name} is read")


def _range(limits: Limits) -> tuple[float, float]:
    return -np.inf if limits.min is None else limits.min, np.inf if limits.max is None else limits.max


def _against(name: str, least: float, most: float) -> Callable[[float], str]:
    """How a figure is told that is not within limits."""

    def tell(value: float) -> str:
        limit = f"at least {least:.4g}" if value < least else f"at most {most:.4g}"
        return f"{name} {value:.4g}, {'none may be there' if most == 0 and value > 0 else limit}"

    return tell


def _measure(name: str, mm_per_px: float | None) -> Callable[[View], NDArray[np.float64]]:
    """The attribute of that name where a part has it, else the picture's measure, else a side of the box."""
    side, _, unit = name.rpartition("_")

    def figure(view: View) -> NDArray[np.float64]:
        column = view.parts.attributes.get(name)
        if column is not None and column.dtype.kind == "f":
            return np.asarray(column, np.float64)
        if name in view.scene.measures:
            return np.full(len(view.parts), view.scene.measures[name])
        if side not in SIDES or unit not in ("px", "mm"):
            return np.full(len(view.parts), np.nan)
        width, height = (view.parts.xyxy[:, 2:] - view.parts.xyxy[:, :2]).astype(np.float64).T
        sides = {
            "width": width,
            "height": height,
            "long": np.maximum(width, height),
            "short": np.minimum(width, height),
        }
        return np.asarray(sides[side] * ((mm_per_px or np.nan) if unit == "mm" else 1.0))

    return figure


def texts_of(name: str, view: View) -> list[str]:
    """What was read of each part, empty where nothing was: its own, else of the surest object on it that has one."""
    own, on_it = _texts(name, view.parts), _texts(name, view.others)
    for row in np.argsort(-view.others.confidence, kind="stable").tolist():
        owner = view.owner[row]
        if owner >= 0 and not own[owner]:
            own[owner] = on_it[row]
    return own


def _texts(name: str, seen: Detections) -> list[str]:
    column = seen.text if name == "text" else seen.attributes.get(name)
    known = column is not None and column.dtype.kind == "U"
    return list(column.tolist()) if known and column is not None else [""] * len(seen)


def _mismatch(name: str, rule: TextRule) -> Callable[[View], NDArray[np.float64]]:
    """0 where a text is as wanted, 1 where it is another, NaN where there is none."""

    def figure(view: View) -> NDArray[np.float64]:
        return np.array([np.nan if not text else float(not rule.fits(text)) for text in texts_of(name, view)], float)

    return figure


def _brightness(view: View) -> NDArray[np.float64]:
    return np.array([brightness(crop) for crop in view.gray], np.float64)


def _sharpness(view: View) -> NDArray[np.float64]:
    return np.array([sharpness(crop) for crop in view.gray], np.float64)
