"""The documentation is true: its files validate, its commands parse, its links lead somewhere."""

import argparse
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from edge_vision.cli.command import build_parser
from edge_vision.config.options import PipelineFile, SiteFile
from edge_vision.core.document import read_document
from edge_vision.core.errors import ConfigError
from edge_vision.core.schema_errors import validate
from edge_vision.models.options import BundleFile

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> list[Any]:
    """Every code block of a language in every page."""
    return [
        pytest.param(body, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, body in enumerate(re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL))
    ]


@pytest.mark.parametrize("body", blocks("yaml"))
def test_yaml_blocks_are_valid(body: str, tmp_path: Path) -> None:
    """A block is a site, a model bundle or a pipeline, and holds against its schema."""
    file = tmp_path / "block.yaml"
    file.write_text(body)
    document, problems = read_document(file)
    schema = SiteFile if "site" in document.data else BundleFile if "task" in document.data else PipelineFile
    found = problems + validate(document, schema)[1]
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize("body", blocks("sh"))
def test_commands_parse(body: str) -> None:
    """Every edge-vision command in a page is one that the command line takes; every make target exists."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in body.splitlines():
        words = shlex.split(line.partition("#")[0])
        if words[:1] == ["make"]:
            assert words[1] in targets
        if words and words[0].endswith("edge-vision"):
            build_parser().parse_args(words[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that exists."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_message_in_the_docs_has_the_fields_of_the_wire() -> None:
    """The example message is what Wire makes, key by key."""
    from edge_vision.publish import wire

    (example,) = (json.loads(block.values[0]) for block in blocks("json"))
    assert list(example) == list(wire.DetectionsMessage.__struct_fields__)
    assert list(example["frame"]) == list(wire._Frame.__struct_fields__)
    assert list(example["latency_ms"]) == list(wire._Latency.__struct_fields__)
    assert list(example["model"]) == list(wire._Model.__struct_fields__)
    assert list(example["objects"][0]) == list(wire._Object.__struct_encode_fields__)


def test_the_example_site_has_every_key_and_is_valid() -> None:
    """configs/example.yaml names every key of the schema, each described there or by its default."""
    from edge_vision.app.check import check_site

    file = ROOT / "configs/example.yaml"
    with pytest.raises(ConfigError) as told:
        check_site(file)
    absent = {"plant-ca.pem", "hall-7.pem", "hall-7.key", "ca.pem", "client.pem", "client.key"}
    assert {problem.partition("configs/tls/")[2] for problem in told.value.problems} == {
        f"{name}: no such file" for name in absent
    }
    text = file.read_text()
    schema = SiteFile.model_json_schema(by_alias=True)
    pages = [schema, *schema["$defs"].values()]
    keys = {key for page in pages for key in page.get("properties", {})}
    missing = sorted(key for key in keys if not re.search(rf"\b{re.escape(key)}:", text))
    assert missing == []


@pytest.mark.parametrize("name", ["object_detection", "object_counting"])
def test_the_example_site_sets_everything_the_pipeline_exposes(name: str) -> None:
    """A camera's `with:` has every key that the pipeline exposes; of other pipelines their pages say it."""
    pipeline = yaml.safe_load((ROOT / f"pipelines/{name}.yaml").read_text())
    example = yaml.safe_load((ROOT / "configs/example.yaml").read_text())
    camera = next(one for one in example["cameras"] if one["pipeline"] == name)
    assert set(camera["with"]) == set(pipeline["expose"])


def test_the_table_of_tolerances_is_the_one_in_the_code() -> None:
    """docs/6-models.md has every default of `parity:`."""
    from edge_vision.models.options import Parity

    text = (ROOT / "docs/6-models.md").read_text()
    for precision, limits in Parity().model_dump().items():
        assert f"| {precision} | {' | '.join(str(limit) for limit in limits.values())} |" in text


def test_every_decision_is_numbered_and_has_a_reason() -> None:
    """docs/adr holds 001, 002, ... without a gap; each says what was decided and why."""
    files = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [file.name[:3] for file in files] == [f"{number:03}" for number in range(1, len(files) + 1)]
    for file in files:
        assert "**Decision.**" in file.read_text()
        assert "**Why.**" in file.read_text()


def test_every_kind_of_source_is_described() -> None:
    """docs/sources.md has a row for each."""
    from edge_vision.capture.table import SOURCES

    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/sources.md").read_text(), re.MULTILINE)
    assert rows == list(SOURCES)


def test_the_schema_command_gives_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """`edge-vision schema` prints a JSON schema that takes the demo's site and refuses a misspelt key."""
    import jsonschema

    from edge_vision.cli.command import run_command

    assert run_command(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    site = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    jsonschema.validate(site, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**site, "camras": []}, schema)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_named_in_the_docs_are_there(page: Path) -> None:
    """A path of a Python file is one from the root or from the package; a bare name is one of some module."""
    names = {file.name for file in (ROOT / "edge_vision").rglob("*.py")}
    for path in re.findall(r"`([\w/]+\.py)`", page.read_text()):
        there = (ROOT / path).is_file() or (ROOT / "edge_vision" / path).is_file()
        assert there or ("/" not in path and path in names), path


def test_the_table_of_extras_is_that_of_the_package() -> None:
    """Who installs it finds every extra in the README, and no other."""
    section = (
        (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    )
    table = (ROOT / "README.md").read_text().partition("| Extra | Brings |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if row else "")]
    assert set(named) == set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))


def test_every_variable_of_the_tests_is_explained() -> None:
    """CONTRIBUTING says what makes more of them run."""
    files = [*(ROOT / "tests").rglob("*.py"), ROOT / ".ci/run"]
    read = {name for file in files for name in re.findall(r"EDGE_VISION_[A-Z0-9]+(?:_[A-Z0-9]+)*", file.read_text())}
    made = {f"EDGE_VISION_{name}" for name in ("TORCH", "TENSORFLOW", "PADDLE")}  # put together by test_made_formats.py
    explained = set(re.findall(r"\| `(EDGE_VISION_\w+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert explained == read | made


def test_every_command_is_in_the_docs() -> None:
    """Those of `edge-vision` in the README, those of `edge-vision models` in docs/6-models.md."""
    readme, models = (ROOT / "README.md").read_text(), (ROOT / "docs/6-models.md").read_text()
    commands = _commands(build_parser())
    assert {"run", "models"} <= set(commands)
    assert [name for name in commands if f"| `edge-vision {name}" not in readme] == []
    assert [name for name in _commands(commands["models"]) if f"edge-vision models {name} " not in models] == ["list"]
    assert "edge-vision models list\n" in models


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return dict(action.choices)
