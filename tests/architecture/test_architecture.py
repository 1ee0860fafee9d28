"""Checks that the house is built as docs and docstrings say: layers, tables, loops, names, sizes."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic.fields import FieldInfo

import edge_vision
from edge_vision.analytics.options import AnalyticsOptions
from edge_vision.analytics.table import STAGES
from edge_vision.capture.options import SourceOptions
from edge_vision.capture.table import SOURCES
from edge_vision.config.options import PipelineFile, SiteFile, StageOptions
from edge_vision.core import errors
from edge_vision.core.options import Options
from edge_vision.core.plugin import resolve
from edge_vision.core.stages import BackendName
from edge_vision.inference.options import DetectOptions
from edge_vision.inference.table import BACKENDS
from edge_vision.models.options import FORMATS as FILE_FORMATS
from edge_vision.models.options import BundleFile, WeightsFile
from edge_vision.postprocess.options import OutputOptions
from edge_vision.postprocess.table import FORMATS
from edge_vision.publish.options import SinkOptions
from edge_vision.publish.table import SINKS

PACKAGE = Path(edge_vision.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc"}
MOST_LINES = 400
STEPS = ["capture", "preprocess", "inference", "postprocess", "analytics", "publish"]


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _name(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def test_imports_point_down() -> None:
    """The contract in pyproject.toml: cli, app, config, steps, runtime, core; steps do not know each other."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_testing_imports_core_and_runtime_only() -> None:
    """Fakes and checks for extensions need nothing of the steps."""
    for file in (PACKAGE / "testing").glob("*.py"):
        for name in _imported(_tree(file)):
            if name.startswith("edge_vision"):
                assert name.startswith(("edge_vision.core", "edge_vision.runtime", "edge_vision.testing")), name


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which layer they reach into"
            yield node.module or ""


def test_every_while_stands_in_one_module() -> None:
    """What runs for as long as the daemon does is in runtime/loops.py, where stopping and progress are minded."""
    found = {
        _name(file)
        for file in MODULES
        if any(isinstance(node, ast.While) for node in ast.walk(_tree(file)))
    }  # fmt: skip
    assert found == {"runtime/loops.py"}


def test_nobody_else_sleeps() -> None:
    """`time.sleep` is the clock's: a pause elsewhere could not be stopped, or faked."""
    found = {
        _name(file)
        for file in MODULES
        for node in ast.walk(_tree(file))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    }
    assert found == {"runtime/clock.py"}


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_a_module_is_short_and_named_for_what_it_does(file: Path) -> None:
    """At most 400 lines, a first sentence, and no drawer for things without a name."""
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    assert not FORBIDDEN & set(file.with_suffix("").parts[len(PACKAGE.parts) :])
    docstring = ast.get_docstring(_tree(file))
    assert docstring is not None
    assert docstring.splitlines()[0].endswith((".", "?", ":"))


def _kinds(union: Any, tag: str) -> list[str]:
    """The tags of a discriminated union, or of the one model that stands for it."""
    inner = get_args(union)[0] if hasattr(union, "__metadata__") else union
    members = get_args(inner) or (inner,)
    return [kind for member in members for kind in get_args(member.model_fields[tag].annotation)]


@pytest.mark.parametrize(
    "kinds, table",
    [
        (_kinds(SourceOptions, "kind"), SOURCES),
        (_kinds(SinkOptions, "kind"), SINKS),
        (_kinds(OutputOptions, "format"), FORMATS),
        (_kinds(AnalyticsOptions, "kind"), STAGES),
        (list(get_args(BackendName)), BACKENDS),
    ],
    ids=["sources", "sinks", "formats", "stages", "backends"],
)
def test_a_union_of_options_equals_its_table(kinds: list[str], table: dict[str, Any]) -> None:
    """What a file may say is what there is code for, and every row leads to code."""
    assert kinds == list(table)
    for entry in table.values():
        row = getattr(entry, "opener", entry)
        assert callable(resolve(row) if isinstance(row, str) else row)


def test_the_stages_of_a_pipeline_are_detect_enhance_and_analytics() -> None:
    """The union in config is the sum of the steps' own."""
    assert _kinds(StageOptions, "kind") == ["detect", "enhance", *_kinds(AnalyticsOptions, "kind")]


def test_backends_are_tried_in_the_order_of_the_table() -> None:
    """The default of `backends` is the whole list."""
    assert DetectOptions.model_fields["backends"].default == tuple(BACKENDS)


def test_the_formats_of_weights_are_those_a_runtime_reads() -> None:
    """A format no runtime reads cannot be written; one that a runtime reads can."""
    read = {name for row in BACKENDS.values() for name in resolve(row).formats}
    assert set(FILE_FORMATS) == set(get_args(WeightsFile.model_fields["format"].annotation)) == read


@pytest.mark.parametrize(
    "what, forbidden",
    [
        ("import edge_vision", ["numpy", "cv2", "yaml", "pydantic"]),
        (
            "import edge_vision.app.check, edge_vision.config.site",
            ["cv2", "onnxruntime", "openvino", "zmq", "paho", "torch"],
        ),
        (
            "from edge_vision.cli.command import run_command; run_command(['check', {site!r}])",
            ["cv2", "onnxruntime", "openvino", "paho"],
        ),
    ],
    ids=["package", "check", "command"],
)
def test_heavy_libraries_are_not_imported_to_check_a_site(what: str, forbidden: list[str], tmp_path: Path) -> None:
    """`edge-vision check` runs on a laptop that has none of them."""
    site = ROOT / "configs" / "demo.yaml"
    assert site.is_file()
    code = (
        f"{what.format(site=str(site))}\n"
        "import sys\n"
        "print('LOADED', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.rpartition("LOADED")[2].split()
    assert "edge_vision" in loaded
    assert set(loaded) & set(forbidden) == set()


def test_runtimes_are_imported_in_one_place() -> None:
    """`core.plugin.require` keeps them from reporting to their makers; an import past it would not."""
    loud = {"onnxruntime", "openvino", "nncf"}
    found = {
        f"{_name(file)}: {name}"
        for file in MODULES
        for name in _imported(_tree(file))
        if name.partition(".")[0] in loud
    }
    assert found == set()


def test_every_error_has_its_sentence_and_its_place_in_the_tree() -> None:
    """The docstring of core/errors.py draws the tree as it is, built-in parents included."""
    classes = [
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if item.__module__ == errors.__name__
    ]  # fmt: skip
    drawn = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)(\w+Error)(?: \((\w+)\))?$", line)
        if match is None:
            continue
        depth = len(match[1])
        stack = [entry for entry in stack if entry[0] < depth]
        drawn[match[2]] = {stack[-1][1] if stack else "Exception", *([match[3]] if match[3] else [])}
        stack.append((depth, match[2]))
    assert drawn == {item.__name__: {parent.__name__ for parent in item.__bases__} for item in classes}
    for item in classes:
        sentence = item.__dict__.get("__doc__") or ""
        assert sentence.strip(), item.__name__
        assert sentence.strip().splitlines()[0].endswith((".", ":")), item.__name__


def test_the_road_names_every_step() -> None:
    """The docstring of the package names the steps in order, and no folder is missing from it."""
    road = edge_vision.__doc__ or ""
    named = re.findall(r"^\d\. `(\w+)`", road, re.MULTILINE)
    assert named == STEPS
    folders = {file.parent.name for file in PACKAGE.glob("*/__init__.py")}
    assert set(STEPS) <= folders
    mentioned = set(re.findall(r"`(\w+)(?:/\w+\.py)?`", road))
    assert folders - mentioned <= {"cli", "testing", "web"}
    for number, step in enumerate(STEPS, 1):
        first = ast.get_docstring(_tree(PACKAGE / step / "__init__.py")) or ""
        assert first.startswith(f"Step {number}: "), step


def _every_options() -> list[type[Options]]:
    found: list[type[Options]] = []
    left: list[type[Options]] = [Options]
    for model in left:
        left += model.__subclasses__()
        if model is not Options and model.__module__.startswith("edge_vision."):
            found.append(model)
    return found


@pytest.mark.parametrize("model", _every_options(), ids=lambda model: model.__name__)
def test_every_field_of_options_is_described(model: type[Options]) -> None:
    """A schema gives editors the sentence; only the tag, which the class describes, goes without."""
    for name, field in model.model_fields.items():
        if name in {"kind", "format"} and get_args(field.annotation) and len(get_args(field.annotation)) == 1:
            continue
        assert _description(field).endswith("."), f"{model.__name__}.{name}"
    assert model.__doc__ or model.__name__.startswith("_")


def _description(field: FieldInfo) -> str:
    return field.description or ""


def test_options_are_closed_and_frozen() -> None:
    """No subclass loosens what the root promises."""
    for model in _every_options():
        assert model.model_config.get("extra") == "forbid", model
        assert model.model_config.get("frozen") is True, model


@pytest.mark.parametrize("model", [SiteFile, PipelineFile, BundleFile])
def test_a_schema_can_be_made_of_every_file(model: type[Options]) -> None:
    """What `edge-vision schema` prints is closed to unknown keys as well."""
    schema = model.model_json_schema(by_alias=True)
    assert schema["additionalProperties"] is False
    for definition in schema.get("$defs", {}).values():
        assert definition.get("additionalProperties", False) is False
