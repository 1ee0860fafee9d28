"""The documentation is true: its files validate, its commands parse, its links lead somewhere."""

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
    assert list(example) == list(wire._Detections.__struct_fields__)
    assert list(example["frame"]) == list(wire._Frame.__struct_fields__)
    assert list(example["latency_ms"]) == list(wire._Latency.__struct_fields__)
    assert list(example["model"]) == list(wire._Model.__struct_fields__)
    assert list(example["objects"][0]) == list(wire._Object.__struct_encode_fields__)


def test_the_example_site_has_every_key_and_is_valid() -> None:
    """configs/example.yaml names every key of the schema, each described there or by its default."""
    from edge_vision.app.check import check_site

    file = ROOT / "configs/example.yaml"
    check_site(file)
    text = file.read_text()
    schema = SiteFile.model_json_schema(by_alias=True)
    pages = [schema, *schema["$defs"].values()]
    keys = {key for page in pages for key in page.get("properties", {})}
    missing = sorted(key for key in keys if not re.search(rf"\b{re.escape(key)}:", text))
    assert missing == []


def test_the_example_site_sets_everything_the_pipeline_exposes() -> None:
    """Its `with:` has every key that pipelines/object_detection.yaml exposes."""
    pipeline = yaml.safe_load((ROOT / "pipelines/object_detection.yaml").read_text())
    example = yaml.safe_load((ROOT / "configs/example.yaml").read_text())
    assert set(example["cameras"][0]["with"]) == set(pipeline["expose"])


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
