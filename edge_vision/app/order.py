"""Whether the stages of a pipeline fit each other and their models: each must be given what it needs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

from edge_vision.analytics.filter import FilterOptions
from edge_vision.config.options import StageOptions as AnyStageOptions
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
_FOUND_LATER: Final = frozenset[Fact]({"track_id", "text", "embedding"})
"""What another detector would not help to know."""
_WITHOUT_LABELS: Final = tuple(
    kind
    for member in get_args(get_args(AnyStageOptions)[0])
    for kind in get_args(member.model_fields["kind"].annotation)
    if member.labels is StageOptions.labels
)
"""Kinds of stages that find no classes of their own."""


def check_order(stages: Sequence[StageDraft], bundles: Mapping[Path, Bundle]) -> Iterator[Problem]:
    """What is wrong with the order of the stages and with the classes they name.

    What stages need is looked at up to the first that cannot be read: what it gives is not known.
    """
    so_far = _SoFar(bundles)
    labels: tuple[str, ...] | None = ()
    for stage in stages:
        if stage.raw.get("kind") == "detect":
            bundle = _bundle(stage, bundles)
            labels = None if bundle is None else bundle.spec.labels
        if not isinstance(stage.options, StageOptions):  # its own problem is known
            labels = labels if stage.raw.get("kind") in _WITHOUT_LABELS else None
            so_far.lost = True
            continue
        yield from _unknown_classes(stage, labels)
        labels = None if labels is None else labels + stage.options.labels
        if not so_far.lost:
            yield from so_far.add(stage, stage.options)


class _SoFar:
    """What is known of the objects behind the stages that were added; `lost` when that cannot be told any more."""

    def __init__(self, bundles: Mapping[Path, Bundle]) -> None:
        self.lost = False
        self._bundles = bundles
        self._known: frozenset[Fact] = frozenset()
        self._finder: StageDraft | None = None
        self._detector: StageDraft | None = None
        self._tracker: StageDraft | None = None
        self._untracked: StageDraft | None = None
        """What finds further objects behind the tracker."""

    def add(self, stage: StageDraft, options: StageOptions) -> Iterator[Problem]:
        """What is wrong with one more stage behind the others."""
        bundle = _bundle(stage, self._bundles)
        if isinstance(options, DetectOptions):
            yield from self._too_late(stage)
            self._detector = stage
        missing = options.needs - self._known
        if not missing and not self._known and isinstance(options, FilterOptions):
            missing = frozenset[Fact]({"class"})  # it needs nothing in particular, but something
        yield from self._lacking(stage, missing)
        if self._untracked is not None and "track_id" in options.needs:
            late = f"stage {_name(stage)} needs track_id, and what {_name(self._untracked)} finds has none"
            yield stage.spot.problem(f"{late}: put it before {_name(self._untracked)}")
        if self._tracker is not None and options.labels:
            self._untracked = stage
        if "track_id" in options.gives(frozenset()):
            if self._tracker is not None:
                text = f"a second tracker would throw away the numbers that {_name(self._tracker)} gave: leave it out"
                yield stage.spot.problem(text)
            self._tracker = stage
        why = ""
        if isinstance(options, ModelStageOptions):
            why = "" if bundle is None else _why_not(bundle, options)
            self.lost = bundle is None or bool(why)
        if why:
            yield stage.origin("model").problem(why)
        found = options.gives(frozenset() if bundle is None else bundle.gives)
        if self._finder is None and "class" in found:
            self._finder = stage
        self._known |= found

    def _too_late(self, stage: StageDraft) -> Iterator[Problem]:
        """A detect stage begins anew, whatever was found before it."""
        if self._detector is not None:
            text = f"a second detect stage would throw away what {_name(self._detector)} found: use a cascade"
            yield stage.spot.problem(text)
        elif self._finder is not None:
            text = f"stage {_name(stage)} would throw away what {_name(self._finder)} found: put it first"
            yield stage.spot.problem(text)

    def _lacking(self, stage: StageDraft, missing: frozenset[Fact]) -> Iterator[Problem]:
        """Said of the model where another would help, else of the stage; once for all that one stage would give."""
        seen = missing - _FOUND_LATER
        bundle = None if self._detector is None else _bundle(self._detector, self._bundles)
        if self._detector is not None and bundle is not None:
            for fact in sorted(seen):
                text = f"stage {_name(stage)} needs {fact}, and model {bundle.spec.name} gives {_listed(bundle.gives)}"
                better = "a model that finds boxes" if fact == "box" else _GIVERS[fact]
                yield self._detector.origin("model").problem(f"{text}: use {better}")
            seen = frozenset()
        one_for_all = [seen] if "box" in seen else [frozenset({fact}) for fact in sorted(seen)]
        for facts in (*one_for_all, *(frozenset({fact}) for fact in sorted(missing & _FOUND_LATER))):
            giver = _GIVERS["box" if "box" in facts else next(iter(facts))]
            text = f"stage {_name(stage)} needs {_listed(facts)}, which no stage before it gives: put {giver} before it"
            yield stage.spot.problem(text)


def _why_not(bundle: Bundle, options: ModelStageOptions) -> str:
    """Why a model has no place in a stage; empty where it has."""
    if isinstance(options, DetectOptions) and "class" not in bundle.gives:
        given = _listed(bundle.gives)
        return f"model {bundle.spec.name} gives {given} and finds no objects: it belongs into a cascade"
    if bundle.frames > 1 and not isinstance(options, DetectOptions):
        return (
            f"model {bundle.spec.name} looks at clips of {bundle.frames} frames, and stage "
            f"{options.name or getattr(options, 'kind', '')} shows it single pictures: it belongs into a detect stage"
        )
    why = options.why_not(bundle.gives, bundle.spec.labels)
    return why and f"model {bundle.spec.name} {why}"


def _bundle(stage: StageDraft, bundles: Mapping[Path, Bundle]) -> Bundle | None:
    model = stage.raw.get("model")
    return bundles.get(stage.origin("model").folder / model) if isinstance(model, str) else None


def _name(stage: StageDraft) -> str:
    return str(stage.raw.get("name", stage.raw.get("kind")))


def _listed(facts: Iterable[Fact]) -> str:
    return " and ".join(sorted(facts))


def _unknown_classes(stage: StageDraft, labels: tuple[str, ...] | None) -> Iterator[Problem]:
    for option in stage.options.names_labels:
        named, spot = stage.raw.get(option), stage.origin(option)
        keys = isinstance(named, dict)
        for step, name in ((name, name) for name in named) if isinstance(named, dict) else enumerate(named or ()):
            if labels is not None and isinstance(name, str) and name not in labels:
                text = f"the model has no label {name!r}{did_you_mean(name, labels)}"
                yield Spot(spot.document, (*spot.place, step)).problem(text, at_key=keys)
