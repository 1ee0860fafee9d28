"""Makes a bundle of a model file: what the graph tells, what real outputs show, and what had to be assumed."""

import platform
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from edge_vision import __version__
from edge_vision.core.document import Document
from edge_vision.core.errors import BackendError, ConfigError, MissingLibraryError, ModelError
from edge_vision.core.files import sha256_of, why_not_file
from edge_vision.core.geometry import Letterbox
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import LoadOptions
from edge_vision.core.schema_errors import validate
from edge_vision.core.tensor import Tensors
from edge_vision.inference.table import backend
from edge_vision.inference.trial import Tried, try_out
from edge_vision.models.bundle import Bundle
from edge_vision.models.intake.axes import try_axes
from edge_vision.models.intake.check import input_dtype, input_shape, kept, model_file, readers, recognized, sound
from edge_vision.models.intake.proposal import Told, assumed, conventional, guesses, input_section, told_by
from edge_vision.models.intake.whole import Guess
from edge_vision.models.options import BundleFile
from edge_vision.models.proof.record import REFERENCES
from edge_vision.models.reading.graph import Graph
from edge_vision.models.writing import write_bundle
from edge_vision.postprocess.table import build_postprocessor
from edge_vision.preprocess.options import InputOptions

_FRAMEWORKS: Final = frozenset({"caffe", "darknet", "jax", "keras", "mxnet", "paddle", "pytorch", "tensorflow"})
_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of an import."""

    file: Path
    target: Path
    name: str | None = None
    labels: Path | None = None
    output: str | None = None
    settings: tuple[str, ...] = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A bundle made of a file, and how each thing in it came about."""

    bundle: Bundle
    graph: Graph
    told: dict[str, str]
    assumed: dict[str, Any]
    runs: dict[str, str] = field(default_factory=dict)
    tried: tuple[str, ...] = ()


def import_model(wishes: Wishes) -> Imported:
    """Read a file, propose what it does not say, and write the bundle.

    Raises ModelError for a file that cannot be used, ConfigError for settings that do not hold together. Nothing is
    written then.
    """
    path, format_ = wishes.file, recognized(wishes.file)
    settings = _settings(wishes.settings)
    graph = sound(path, format_)
    facts = told_by(graph)
    section = _input(wishes, graph, facts, settings)
    options = _checked_input(section)
    file = model_file(path, graph, options.shape)
    ran, runs, outputs = _run(file, format_)
    labels = _labels(wishes.labels) or facts.labels
    guess = _guess(wishes, settings, outputs, options, labels)
    section |= conventional(section, guess.format)
    guessed = _guessed(wishes, settings, facts, guess, section)
    claimed = graph.inputs[0].shape if graph.inputs else ()
    tried = tuple(str(attempt) for attempt in try_axes(file, claimed, ran))
    content: dict[str, Any] = {
        "version": 1,
        "name": wishes.name or _NAME.sub("_", path.stem).strip("._-")[:64] or "model",
        "task": "detection",
        "files": [_file(file)],
        "input": section,
        "output": guess.options,
        **({} if guess.format == "embedding" else {"labels": list(labels or _numbered(path, guess))}),
        "source": _source(path, graph, facts, tuple(guessed), tried),
    }
    for key, value in settings.items():
        _put(content, key, value)
    whole = _checked(content)
    if "task" not in settings and whole.tasks:
        content["task"] = whole.tasks[0]
    _decode(whole, outputs, path)
    files: dict[str, Path | bytes] = {path.name: path, **{name: path.parent / name for name in graph.beside}}
    if file.weights is not None:
        files[file.weights.name] = file.weights
    bundle = write_bundle(wishes.target, content, files)
    told = {"labels": f"{len(whole.labels or ())}", "input.size": str(list(whole.input.size)), "output": guess.why}
    return Imported(bundle, graph, told, guessed, runs, tried)


def _numbered(path: Path, guess: Guess) -> list[str]:
    """Names for classes that nobody has named. Raises ConfigError when nobody has counted them either."""
    if not guess.classes:
        msg = f"{path}: its outputs do not tell the number of classes: name them with --labels FILE"
        raise ConfigError(msg)
    return [f"class_{number}" for number in range(guess.classes)]


def _guessed(
    wishes: Wishes, settings: dict[str, Any], facts: Told, guess: Guess, section: dict[str, Any]
) -> dict[str, Any]:
    """What is assumed, by key, with the value that was taken."""
    filled = _checked_input(section)
    known = [*settings, *(f"input.{key}" for key in facts.input)]
    guessed = {key: getattr(filled, key.partition(".")[2]) for key in assumed(filled.model_dump(), known)}
    if wishes.labels is None and facts.labels is None and "labels" not in settings and guess.format != "embedding":
        guessed["labels"] = f"class_0 to class_{(guess.classes or 1) - 1}"
    if "min_sizes" in guess.options and not any(key.startswith("output.") for key in settings):
        guessed["output.min_sizes"] = guess.options["min_sizes"]
    told = {f"output.{key}": value for key, value in guess.options.items() if key in {"activation", "blank", "space"}}
    return guessed | {key: value for key, value in told.items() if value != "none" and key not in settings}


def _settings(given: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE with dots in the key and YAML as the value. Raises ConfigError."""
    settings: dict[str, Any] = {}
    for setting in given:
        key, equals, value = setting.partition("=")
        try:
            settings[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            equals = ""
        if not equals or not key:
            msg = f"--set {setting}: write KEY=VALUE, such as input.color=bgr or output.strides=[8,16,32]"
            raise ConfigError(msg)
    return settings


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *way, last = key.split(".")
    place = content
    for step in way:
        inner = place.setdefault(step, {})
        if not isinstance(inner, dict):
            msg = f"--set {key}: {step} is not a section"
            raise ConfigError(msg)
        place = inner
    place[last] = value


def _lines(text: str) -> list[str]:
    """The labels of a file; in an alphabet, where no line is longer than a character, a blank is one, too."""
    characters = [line.rstrip("\r") for line in text.removeprefix("\ufeff").removesuffix("\n").split("\n")]
    if all(len(line) == 1 for line in characters):
        return characters
    return [line.strip() for line in text.removeprefix("\ufeff").rstrip().splitlines()]


def _labels(file: Path | None) -> tuple[str, ...] | None:
    """One per line. Raises ConfigError."""
    if file is None:
        return None
    if why := why_not_file(file):
        msg = f"{file}: {why}"
        raise ConfigError(msg)
    try:
        lines = _lines(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        msg = f"{file}: is not UTF-8 text"
        raise ConfigError(msg) from error
    if not lines or "" in lines:
        msg = f"{file}: {f'line {lines.index(str()) + 1} is empty' if lines else 'holds no labels'}"
        raise ConfigError(msg)
    return tuple(lines)


def _input(wishes: Wishes, graph: Graph, facts: Told, settings: dict[str, Any]) -> dict[str, Any]:
    """The input section as far as the graph, its metadata and the command line tell it."""
    size = wishes.size or facts.size
    shape = input_shape(wishes.file, graph, size)
    if len(shape) not in (4, 5) or not {shape[1], shape[-1]} & {1, 3}:  # batch, time, height, width, channels
        msg = (
            f"{wishes.file}: its input {list(shape)} is no picture: 4 axes, or 5 of a clip, with 1 or 3 channels, are "
            "supported"
        )
        raise ModelError(msg)
    section = {**facts.input, **input_section(shape, input_dtype(wishes.file, graph))}
    own = {key.removeprefix("input."): value for key, value in settings.items() if key.startswith("input.")}
    return section | own


def _checked_input(section: dict[str, Any]) -> InputOptions:
    """Hold an input section against its schema. Raises ConfigError that names the key."""
    made, problems = validate(Document(Path("input"), section, {}, {}), InputOptions)
    if made is None:
        raise ConfigError([f"input.{problem.path}: {problem.text} (set it with --set)" for problem in problems])
    return made


def _checked(content: dict[str, Any]) -> BundleFile:
    """Hold what would be written against the schema. Raises ConfigError that names the key."""
    made, problems = validate(Document(Path("model.yaml"), content, {}, {}), BundleFile)
    if made is None:
        raise ConfigError([f"{problem.path}: {problem.text} (set it with --set)" for problem in problems])
    return made


def _run(file: ModelFile, format_: str) -> tuple[dict[str, Tried], dict[str, str], Tensors]:
    """What each runtime made of the file, in words too, and the outputs of the best. Raises ModelError."""
    options = LoadOptions("int8" if file.precision == "int8" else "f32")
    ran: dict[str, Tried] = {}
    runs: dict[str, str] = {}
    outputs: Tensors | None = None
    names = readers(file.path, format_, ())
    names.sort(key=lambda name: name != REFERENCES.get(format_))
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            keep = Path(folder) / "outputs.npz"
            try:
                ran[name] = try_out(name, file, options, keep)
                outputs = outputs or kept(keep)
                runs[name] = "runs it"
            except BackendError as error:
                runs[name] = f"cannot run it: {error}"
    if outputs is None:
        reasons = "".join(f"\n  {name} {reason}" for name, reason in runs.items())
        msg = f"{file.path}: no runtime of this machine can run it with input {list(file.input_shape)}:{reasons}"
        raise ModelError(msg)
    return ran, runs, outputs


def _guess(
    wishes: Wishes, settings: dict[str, Any], outputs: Tensors, options: InputOptions, labels: tuple[str, ...] | None
) -> Guess:
    """The output format that fits best, or the one asked for. Raises ConfigError with what there is."""
    count = len(labels) if labels else None
    wanted = wishes.output or settings.get("output.format")
    found = guesses(outputs, options.size, count)
    for guess in found:
        if wanted == guess.format or (wanted is None and guess.sure):
            return guess
    if wanted is not None and count is not None:
        return Guess({"format": wanted}, count, "as asked for")
    shown = ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
    if wanted is not None:
        like = f" but like {found[0].format} with {found[0].classes} classes" if found else ""
        msg = f"{wishes.file}: {shown} does not look like {wanted}{like}: to insist name the classes with --labels FILE"
        raise ConfigError(msg)
    with_labels = f" with {count} labels" if count else ""
    if found:
        like = " or ".join(dict.fromkeys(guess.format for guess in found))
        msg = (
            f"{wishes.file}: {shown}{with_labels} may be {like}: say which with --output, or name the classes with "
            "--labels"
        )
        raise ConfigError(msg)
    msg = (
        f"{wishes.file}: no known output format fits {shown}{with_labels}: name it with --output, or correct --labels "
        "and --input-size"
    )
    raise ConfigError(msg)


def _file(file: ModelFile) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": file.path.name, "format": file.format, "sha256": sha256_of(file.path)}
    if file.weights is not None:
        entry["weights_sha256"] = sha256_of(file.weights)
    return entry | ({"precision": file.precision} if file.precision != "f32" else {})


def _source(path: Path, graph: Graph, facts: Told, guessed: tuple[str, ...], tried: tuple[str, ...]) -> dict[str, Any]:
    libraries = [f"edge-vision {__version__}", f"Python {platform.python_version()}"]
    if graph.format == "onnx":
        libraries.append(f"onnx {_version('onnx')}")
    name = REFERENCES.get(graph.format)
    if name is not None and (version := backend(name).probe().version):
        libraries.append(f"{name} {version}")
    source: dict[str, Any] = {
        **_maker(graph),
        "opset": graph.opset,
        "license": facts.license,
        "file": path.name,
        "imported_with": ", ".join(libraries),
        "assumed": list(guessed),
        "tried": list(tried),
    }
    return {key: value for key, value in source.items() if value}


def _maker(graph: Graph) -> dict[str, Any]:
    """The framework it was trained with, or the converter that wrote it."""
    if graph.producer.lower() in _FRAMEWORKS:
        return {"framework": graph.producer, "framework_version": graph.producer_version}
    return {"script": f"{graph.producer} {graph.producer_version}".strip()}


def _version(module: str) -> str:
    try:
        return str(require(module, "models").__version__)
    except MissingLibraryError:
        return "(absent)"


def _decode(whole: BundleFile, outputs: Tensors, path: Path) -> None:
    """Take the outputs through the decoder. Raises ConfigError when they do not fit."""
    try:
        decode = build_postprocessor(whole.output, whole.thresholds, whole.labels or (), whole.input.size)
        decode(outputs, Letterbox.fit(whole.input.size, whole.input.size))
    except ModelError as error:
        msg = f"{path}: output and labels do not fit what the model gives: {error}"
        raise ConfigError(msg) from error
