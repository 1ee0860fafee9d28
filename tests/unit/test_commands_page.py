"""docs/commands.md is true: every command has a row, and its examples are commands and answers."""

import json
import re

import jsonschema
import msgspec
import pytest
from conftest import ROOT

from edge_vision.cli.command import run_command
from edge_vision.core.commands import COMMANDS, MOST_BYTES, MOST_PICTURE_BYTES, Answer
from edge_vision.publish.commands.options import CommandOptions
from edge_vision.publish.commands.schema import command_schema

PAGE = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
ROWS = {
    row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (camera|site) \| .+ \| `(\{.*\})` \|$", PAGE, re.MULTILINE)
}
ANSWERS = dict(re.findall(r"^\| `(\w+)` \| `(\{.*\})` \|$", PAGE, re.MULTILINE))


def _check(name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**command_schema(), "anyOf": [{"$ref": f"#/$defs/{name}"}]})


def test_every_command_has_its_rows() -> None:
    """In the order of the list, each with what it is about."""
    assert list(ROWS) == list(ANSWERS) == list(COMMANDS)
    assert [about == "camera" for about, _ in ROWS.values()] == [row.of_camera for row in COMMANDS.values()]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_are_what_is_sent(name: str) -> None:
    """A command that is taken, an answer that is given, both as the printed schema says."""
    _, body = ROWS[name]
    assert msgspec.json.decode(body, type=COMMANDS[name].payload)
    _check(name).validate(json.loads(body))
    answer = json.loads(ANSWERS[name])
    _check("answer").validate(answer)
    decoded = msgspec.json.decode(ANSWERS[name], type=Answer, strict=True)
    assert (decoded.kind, decoded.command) == ("answer", name)
    assert json.loads(msgspec.json.encode(decoded)) == answer
    assert set(answer) <= set(Answer.__struct_fields__)
    assert list(answer) == [key for key in Answer.__struct_fields__ if key in answer]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_schema_is_closed(name: str) -> None:
    """What the site refuses, the schema does."""
    check = _check(name)
    assert not check.is_valid({**json.loads(ROWS[name][1]), "nonsense": 1})
    assert not check.is_valid({**json.loads(ROWS[name][1]), "id": "a b"})
    assert not check.is_valid([])


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`edge-vision schema --commands`; not together with others."""
    assert run_command(["schema", "--commands"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(command_schema()))
    for others in (["site", "--commands"], ["--messages", "--commands"]):
        assert run_command(["schema", *others]) == 2
        assert f"either {others[0]} or --commands" in capsys.readouterr().err


def test_the_figures_are_those_of_the_code() -> None:
    """Sizes, and the list of what may be allowed."""
    assert f"No command has more than {MOST_BYTES} bytes" in PAGE
    assert PAGE.count(f"{MOST_PICTURE_BYTES // 1024} KiB") == 2
    assert "When 256 wait" in PAGE
    assert "one of the last 1024, within ten minutes" in PAGE
    assert CommandOptions(allow=tuple(COMMANDS)).allow == tuple(COMMANDS)
