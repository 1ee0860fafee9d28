"""Everything that can be known to be wrong with a site before anything is started."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_vision.app.order import check_order
from edge_vision.config.pipeline import Spot, StageDraft, find_pipeline, known_pipelines, read_pipeline
from edge_vision.config.site import Site, read_site
from edge_vision.core.document import Document, Problem, read_value
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import why_not_file, why_not_folder
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.core.stages import ModelStageOptions
from edge_vision.inference.options import DetectOptions
from edge_vision.inference.select import why_no_file
from edge_vision.models.bundle import Bundle, read_bundle

_LINE: Final = Path("command line")
"""Stands for a file where settings are given with a command."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A site without a known mistake, and the model bundles it uses, by folder."""

    site: Site
    bundles: dict[Path, Bundle]


def check_site(file: Path) -> Checked:
    """Read a site, its pipelines and its models. Raises ConfigError with every problem, in the order of the files."""
    draft = read_site(file)
    bundles, found = _models_of(draft.cameras)
    problems = [*draft.problems, *found]
    if problems:
        raise ConfigError([str(problem) for problem in sorted(set(problems))])
    assert draft.site is not None  # without problems there is a site
    return Checked(draft.site, bundles)


def _models_of(cameras: Iterable[tuple[StageDraft, ...]]) -> tuple[dict[Path, Bundle], list[Problem]]:
    """Every bundle that can be read, by folder, and what is wrong with the models and with what refers to them."""
    bundles: dict[Path, Bundle] = {}
    problems: list[Problem] = []
    unreadable: dict[Path, list[Problem]] = {}
    for stages in cameras:
        for stage in stages:
            folder = _model_folder(stage)
            if folder is not None:
                problems += _read_model(stage, folder, bundles, unreadable)
            problems += _no_file(stage, bundles)
        problems += check_order(stages, bundles)
    for found in unreadable.values():
        problems += found
    return bundles, problems


def _model_folder(stage: StageDraft) -> Path | None:
    if stage.options is not None:
        return getattr(stage.options, "model", None)
    model = stage.raw.get("model")  # look at the model even when another option of the stage is wrong
    return stage.origin("model").folder / model if isinstance(model, str) else None


def _read_model(
    stage: StageDraft, folder: Path, bundles: dict[Path, Bundle], unreadable: dict[Path, list[Problem]]
) -> list[Problem]:
    if folder in bundles or folder in unreadable:
        return []
    if why_not_file(folder / "model.yaml"):
        what = "no such model folder" if (why := why_not_folder(folder)).startswith("no such") else why
        return [stage.origin("model").problem(f"{folder}: {what or 'holds no model.yaml'}")]
    bundle, problems = read_bundle(folder)
    if bundle is None:
        unreadable[folder] = problems
    else:
        bundles[folder] = bundle
    return []


def _no_file(stage: StageDraft, bundles: dict[Path, Bundle]) -> list[Problem]:
    """That a model has no file that could be run as its stage asks; a server may have one for other runtimes."""
    options = stage.options
    if not isinstance(options, ModelStageOptions) or options.model not in bundles:
        return []
    option, why = why_no_file(bundles[options.model].spec, options.backends, options.precision)
    if not why or (option == "backends" and isinstance(options, DetectOptions) and options.remote is not None):
        return []
    written = option if option in stage.raw else "model"
    return [stage.origin(written).problem(why)]


def check_pipeline(
    pipeline: str, given: Iterable[tuple[str, str]], settings: Sequence[str]
) -> tuple[tuple[Any, ...], dict[Path, Bundle]]:
    """The stages of a pipeline, named or given as a file, set from the command line; and its bundles.

    `given` are settings as text, `settings` are "KEY=VALUE" with the value in YAML. Raises ConfigError with every
    problem.
    """
    values: dict[str, Any] = dict(given)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            msg = f"--with {setting}: write KEY=VALUE"
            raise ConfigError(msg)
        if key in values:
            msg = f"--with {setting}: {key} is given twice"
            raise ConfigError(msg)
        try:
            values[key] = read_value(value)
        except ValueError as error:
            msg = f"--with {setting}: the value is not valid YAML: {error}"
            raise ConfigError(msg) from None
    line = Document(_LINE, values, {}, {})
    as_file = Path(pipeline)
    file = as_file if as_file.suffix == ".yaml" else find_pipeline(pipeline, Path())
    if file is None:
        msg = f"unknown pipeline {pipeline!r}{did_you_mean(pipeline, known_pipelines(Path()))}"
        raise ConfigError(msg)
    stages, problems = read_pipeline(file, {key: Spot(line, (key,)) for key in values}, Spot(line, ()))
    bundles, found = _models_of((tuple(stages),))
    problems += found
    if problems:
        raise ConfigError([str(problem).replace(f"{_LINE}:1:1:", "--with", 1) for problem in sorted(set(problems))])
    return tuple(stage.options for stage in stages), bundles
