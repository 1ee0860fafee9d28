"""Everything that can be known to be wrong with a site before anything is started."""

from dataclasses import dataclass
from pathlib import Path

from edge_vision.config.pipeline import StageDraft
from edge_vision.config.site import Site, read_site
from edge_vision.core.document import Problem
from edge_vision.core.errors import ConfigError
from edge_vision.core.schema_errors import did_you_mean
from edge_vision.models.bundle import Bundle, read_bundle


@dataclass(frozen=True, slots=True)
class Checked:
    """A site without a known mistake, and the model bundles it uses, by folder."""

    site: Site
    bundles: dict[Path, Bundle]


def check_site(file: Path) -> Checked:
    """Read a site, its pipelines and its models. Raises ConfigError with every problem, in the order of the files."""
    draft = read_site(file)
    bundles: dict[Path, Bundle] = {}
    problems: list[Problem] = list(draft.problems)
    unreadable: dict[Path, list[Problem]] = {}
    for stages in draft.cameras:
        labels: tuple[str, ...] | None = None
        for stage in stages:
            folder = _model_folder(stage)
            if folder is not None:
                problems += _read_model(stage, folder, bundles, unreadable)
                labels = bundles[folder].spec.labels if folder in bundles else None
            elif labels is not None:
                problems += _unknown_classes(stage, labels)
    for found in unreadable.values():
        problems += found
    if problems:
        raise ConfigError([str(problem) for problem in sorted(set(problems))])
    assert draft.site is not None  # without problems there is a site
    return Checked(draft.site, bundles)


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
    if not (folder / "model.yaml").is_file():
        what = "holds no model.yaml" if folder.is_dir() else "no such model folder"
        return [stage.origin("model").problem(f"{folder}: {what}")]
    bundle, problems = read_bundle(folder)
    if bundle is None:
        unreadable[folder] = problems
    else:
        bundles[folder] = bundle
    return []


def _unknown_classes(stage: StageDraft, labels: tuple[str, ...]) -> list[Problem]:
    classes = stage.raw.get("classes")
    return [
        stage.origin("classes").problem(f"the model has no label {name!r}{did_you_mean(name, labels)}")
        for name in (classes if isinstance(classes, list) else ())
        if isinstance(name, str) and name not in labels
    ]
