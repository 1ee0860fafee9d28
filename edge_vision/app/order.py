"""Whether the stages of a pipeline fit each other and their models: each must be given what it needs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from edge_vision.config.pipeline import Spot, StageDraft
from edge_vision.core.document import Problem
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.core.stages import Fact, ModelStageOptions, StageOptions
from edge_vision.inference.options import DetectOptions
from edge_vision.models.bundle import Bundle

_GIVERS: Final[dict[Fact, str]] = {
    "box": "a detect stage",
    "class": "a detect stage whose model tells classes",
    "keypoints": "a model with keypoints",
    "quad": "a model that finds corners",
    "mask": "a model that segments",
    "text": "a cascade whose model reads",
    "embedding": "a cascade whose model describes what things look like",
    "track_id": "a tracker",
}
"""Who gives what."""
_LABELS: Final = ("classes", "parts", "defects", "forbidden", "counts")
"""The options that name labels: lists of them, or mappings from them."""


def check_order(stages: Sequence[StageDraft], bundles: Mapping[Path, Bundle]) -> Iterator[Problem]:
    """What is wrong with the order of the stages and with the classes they name; nothing after what cannot be read."""
    known: frozenset[Fact] = frozenset()
    labels: tuple[str, ...] | None = ()
    detector: StageDraft | None = None
    for stage in stages:
        options = stage.options
        bundle = _bundle(stage, bundles)
        if isinstance(options, DetectOptions) or stage.raw.get("kind") == "detect":
            if detector is not None:
                text = f"a second detect stage would throw away what {_name(detector)} found: use a cascade"
                yield stage.spot.problem(text)
            detector, labels = stage, None if bundle is None else bundle.spec.labels
        if not isinstance(options, StageOptions):
            return  # its own problem is known, and what it gives is not
        yield from _unknown_classes(stage, labels)
        for missing in sorted(options.needs - known):
            yield _lacking(stage, missing, detector, bundles)
        if isinstance(options, ModelStageOptions) and bundle is None:
            return
        if bundle is not None and isinstance(options, DetectOptions) and "class" not in bundle.gives:
            given = " and ".join(sorted(bundle.gives))
            text = f"model {bundle.spec.name} gives {given} and finds no objects: it belongs into a cascade"
            yield stage.origin("model").problem(text)
            return
        known |= options.gives(frozenset() if bundle is None else bundle.gives)
        labels = None if labels is None else labels + options.labels


def _bundle(stage: StageDraft, bundles: Mapping[Path, Bundle]) -> Bundle | None:
    model = stage.raw.get("model")
    return bundles.get(stage.origin("model").folder / model) if isinstance(model, str) else None


def _name(stage: StageDraft) -> str:
    return str(stage.raw.get("name", stage.raw.get("kind")))


def _lacking(stage: StageDraft, missing: Fact, detector: StageDraft | None, bundles: Mapping[Path, Bundle]) -> Problem:
    """Said of the model where another model would help, else of the stage."""
    if detector is not None and missing not in {"box", "track_id", "text", "embedding"}:
        bundle = bundles[detector.options.model]
        given = " and ".join(sorted(bundle.gives))
        text = (
            f"stage {_name(stage)} needs {missing}, and model {bundle.spec.name} gives {given}: use {_GIVERS[missing]}"
        )
        return detector.origin("model").problem(text)
    text = f"stage {_name(stage)} needs {missing}, which no stage before it gives: put {_GIVERS[missing]} before it"
    return stage.spot.problem(text)


def _unknown_classes(stage: StageDraft, labels: tuple[str, ...] | None) -> Iterator[Problem]:
    for option in _LABELS:
        written, spot = stage.raw.get(option), stage.origin(option)
        steps = enumerate(written) if isinstance(written, list) else ((name, name) for name in written or ())
        for step, name in steps if isinstance(written, list | dict) else ():
            if labels is not None and isinstance(name, str) and name not in labels:
                text = f"the model has no label {name!r}{did_you_mean(name, labels)}"
                yield Spot(spot.document, (*spot.place, step)).problem(text, at_key=isinstance(written, dict))
