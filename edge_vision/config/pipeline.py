"""Finds a pipeline file and fills it with what a site says: the stages in full, or the problems."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import TypeAdapter, ValidationError

from edge_vision.config.options import PipelineFile, StageOptions
from edge_vision.core.document import Document, DocumentError, Place, Problem, read_document
from edge_vision.core.files import why_not_file
from edge_vision.core.schema_errors import did_you_mean, explain, shown, validate
from edge_vision.core.shipped import shipped

SYSTEM_FOLDER: Final = Path("/etc/edge-vision/pipelines")
_FIXED: Final = frozenset({"kind", "name"})
"""What a stage is known by: a site cannot set it."""
_STAGE: Final[TypeAdapter[Any]] = TypeAdapter(StageOptions)
_OPTIONS: Final[dict[Any, set[str]]] = {
    kind: set(member.model_fields)
    for member in get_args(get_args(StageOptions)[0])
    for kind in get_args(member.model_fields["kind"].annotation)
}
"""The options of each kind of stage."""
_PATHS: Final[dict[Any, frozenset[str]]] = {
    kind: frozenset(name for name, field in member.model_fields.items() if field.annotation is Path)
    for member in get_args(get_args(StageOptions)[0])
    for kind in get_args(member.model_fields["kind"].annotation)
}
"""The options of each kind of stage that are paths."""
_GROUPS: Final = ("remote", "operations", "measures")
"""Options that hold paths of their own, such as that of a certificate, a lens or a template."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a value was written: a document and the place in it."""

    document: Document
    place: Place

    @property
    def folder(self) -> Path:
        """The folder that relative paths written here start from."""
        return self.document.folder

    def problem(self, text: str, *, at_key: bool = False) -> Problem:
        """A problem with the value written here."""
        return self.document.problem(self.place, text, at_key=at_key)


@dataclass(frozen=True, slots=True)
class StageDraft:
    """One stage as written, merged with the site's settings, and where each of its options came from."""

    raw: dict[str, Any]
    spot: Spot
    origins: dict[str, Spot]
    options: Any = None
    """The stage's options, validated; None when something is wrong with them."""
    keys: dict[str, str] = field(default_factory=dict)
    """For each of its options that a site may set, the key of `with:` that sets it."""

    def origin(self, option: str) -> Spot:
        """Where an option was written, or the stage where it was not."""
        return self.origins.get(option, self.spot)


def find_pipeline(name: str, site_folder: Path, site_file: Path | None = None) -> Path | None:
    """The first NAME.yaml: beside the site file, in its pipelines/, in /etc, then the copy that was shipped.

    A site file that has the name itself is not taken for the pipeline.
    """
    own = None if site_file is None else site_file.absolute()
    files = (folder / f"{name}.yaml" for folder in _folders(site_folder))
    return next((file for file in files if not why_not_file(file) and file.absolute() != own), None)


def known_pipelines(site_folder: Path) -> list[str]:
    """The names of all pipelines in the folders of pipelines."""
    return sorted({file.stem for folder in _folders(site_folder)[1:] for file in folder.glob("*.yaml")})


def _folders(site_folder: Path) -> tuple[Path, ...]:
    return site_folder, site_folder / "pipelines", SYSTEM_FOLDER, shipped("pipelines")


def read_pipeline(
    file: Path, settings: dict[str, Spot], owner: Spot | None = None
) -> tuple[list[StageDraft], list[Problem]]:
    """Read a pipeline file and set what a site's `with:` says.

    `settings` tells where each key was written, `owner` where a key that is missing would be.
    """
    try:
        document, problems = read_document(file)
    except DocumentError as error:
        return [], [error.problem]
    pipeline, found = validate(document, PipelineFile)
    problems += found
    if pipeline is None:
        return [], problems
    drafts = [
        StageDraft(dict(stage), Spot(document, ("stages", number)), _origins(document, number, stage))
        for number, stage in enumerate(pipeline.stages)
    ]
    names, found = _names(drafts)
    problems += found
    targets, found = _targets(pipeline, names, document)
    problems += found
    for key, spot in settings.items():
        if key not in pipeline.expose:
            text = f"pipeline {file.stem} exposes no {shown(key)}{did_you_mean(key, pipeline.expose)}"
            problems.append(spot.problem(text, at_key=True))
        for draft, option in targets.get(key, ()):
            draft.raw[option] = _at(spot)
            draft.origins[option] = spot
    kept = [draft for draft in drafts if draft.raw.get("optional") is not True or "model" in draft.raw]
    for key, spot in settings.items():
        reached = [draft for draft, _ in targets.get(key, ())]
        if reached and not any(draft is one for draft in reached for one in kept):
            text = f"stage {reached[0].raw.get('name')} is left out as no model is given for it: this sets nothing"
            problems.append(spot.problem(text, at_key=True))
    for key, (draft, option) in ((key, target) for key, reached in targets.items() for target in reached):
        if owner is not None and option not in draft.raw:
            draft.origins[option] = Spot(owner.document, (*owner.place, key))
    return [_validated(draft, problems) for draft in kept], problems


def _targets(
    pipeline: PipelineFile, names: dict[str, StageDraft], document: Document
) -> tuple[dict[str, list[tuple[StageDraft, str]]], list[Problem]]:
    """For each exposed key, the stages and options it sets."""
    problems: list[Problem] = []
    targets: dict[str, list[tuple[StageDraft, str]]] = {}
    for key, written in pipeline.expose.items():
        one = isinstance(written, str)
        for number, target in enumerate((written,) if isinstance(written, str) else written):
            place = ("expose", key) if one else ("expose", key, number)
            stage_name, _, option = target.partition(".")
            if stage_name not in names or not option:
                hint = did_you_mean(stage_name, names)
                problems.append(document.problem(place, f"{target!r} is not STAGE.OPTION{hint}"))
                continue
            kind = names[stage_name].raw.get("kind")
            # An unknown kind has its own problem.
            known = _OPTIONS[kind] - _FIXED if isinstance(kind, str) and kind in _OPTIONS else {option}
            if option not in known:
                text = f"stage {stage_name} has no option {option!r}{did_you_mean(option, known)}"
                problems.append(document.problem(place, text))
                continue
            targets.setdefault(key, []).append((names[stage_name], option))
            names[stage_name].keys[option] = key
    return targets, problems


def _at(spot: Spot) -> Any:
    value = spot.document.data
    for step in spot.place:
        value = value[step]
    return value


def _origins(document: Document, number: int, stage: Iterable[str]) -> dict[str, Spot]:
    return {option: Spot(document, ("stages", number, option)) for option in stage}


def _names(drafts: list[StageDraft]) -> tuple[dict[str, StageDraft], list[Problem]]:
    names: dict[str, StageDraft] = {}
    problems = []
    for draft in drafts:
        name = draft.raw.get("name", draft.raw.get("kind"))
        if not isinstance(name, str):
            continue  # the schema says so
        if name in names:
            problems.append(draft.spot.problem(f"two stages are called {name!r}: give one a name"))
        names.setdefault(name, draft)
    return names, problems


def _validated(draft: StageDraft, problems: list[Problem]) -> StageDraft:
    """The draft with its options, or with its problems added to the list, each where it was written."""
    raw = {option: _resolved(value, draft, option) for option, value in draft.raw.items()}
    written = next((draft.origin(option).folder for option in _GROUPS if option in raw), None)
    try:
        options = _STAGE.validate_python(raw, context={"folder": written})
    except ValidationError as error:
        for place, text, at_key in explain(error, StageOptions, draft.raw):
            if not place:  # options that do not fit each other
                problems.append(_misfit(draft, text))
                continue
            option = str(place[0])
            spot = draft.origin(option)
            if option in draft.origins:
                problems.append(Spot(spot.document, (*spot.place, *place[1:])).problem(text, at_key=at_key))
            else:  # an option that is missing: named in full, placed at the stage
                problems.append(spot.document.problem((*spot.place, *place), text, at_key=at_key))
        return draft
    return replace(draft, options=options)


def _misfit(draft: StageDraft, text: str) -> Problem:
    """What is wrong between options of a stage, said where the site set one of those it names, or did not set it.

    The pipeline is at fault only where everything named was written there.
    """
    named = [option for option in re.findall(r"\w+", text) if option in draft.origins]
    ours = [option for option in named if draft.origin(option).document is not draft.spot.document]
    for option in sorted(ours, key=lambda one: one not in draft.raw):  # what was set before what was not
        name = draft.raw.get("name", draft.raw.get("kind"))
        return draft.origin(option).problem(f"stage {name}: {text}")
    return draft.spot.problem(text)


def _resolved(value: Any, draft: StageDraft, option: str) -> Any:
    """A path as written, taken from the folder of the file it was written in."""
    if isinstance(value, str) and option in _PATHS.get(str(draft.raw.get("kind")), ()):
        return str(draft.origin(option).folder / value)
    return value
