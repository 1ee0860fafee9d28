"""docs/formats.md is true: held against the formats, the runtimes, the refusals, and the tests it names."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT

from edge_vision.core.plugin import resolve
from edge_vision.inference.table import BACKENDS
from edge_vision.models.options import FORMATS
from edge_vision.models.reading.refused import REFUSED

PAGE = ROOT / "docs/formats.md"
ASKED_FOR = (
    "TorchScript", "ONNX", "OpenVINO IR", "TensorRT engine", "TFLite", "Edge TPU", "TensorFlow SavedModel",
    "TensorFlow GraphDef", "Paddle", "Caffe", "Darknet", "Torch7", "CoreML", "TensorFlow.js", "MXNet", ".pt", ".pth",
    "ncnn", "MNN", "Keras",
)  # fmt: skip
"""What training teams hand over: every one of them has a row."""
UNTESTED = "*untested*"


@dataclass(frozen=True)
class Row:
    """A line of the table: what the format is called, its key, how it is taken, and the tests that show it."""

    title: str
    key: str
    how: str
    shown: tuple[str, ...]

    @property
    def native(self) -> dict[str, bool]:
        """The runtimes said to read it, and whether each is said to be tested."""
        named = re.findall(r"`(\w+)`( \*untested\*)?", self.how.removeprefix("native: ").partition(";")[0])
        return {name: not untested for name, untested in named}


def _rows() -> list[Row]:
    rows: list[Row] = []
    table = PAGE.read_text().partition("| Format | How | Shown by |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        first, how, last = (cell.strip() for cell in line.strip("|").split("|"))
        found = re.fullmatch(r"(.+) `(\w+)`", first)
        assert found is not None, line
        shown = tuple(re.findall(r"`(tests/[^`]+)`", last))
        assert shown or last == UNTESTED, f"{first}: names a test, or says {UNTESTED}"
        rows.append(Row(found[1], found[2], how, shown))
    return rows


ROWS = _rows()
NATIVE = [row for row in ROWS if row.how.startswith("native: ")]
REFUSALS = [row for row in ROWS if row.how.startswith("refused: ")]


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """The ids of all tests in tests/e2e, parameters included."""
    command = [sys.executable, "-m", "pytest", "tests/e2e", "--collect-only", "-q", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "::" in line]


def _matching(pattern: str, collected: list[str]) -> list[str]:
    expression = re.escape(pattern).replace(r"\*", ".*")
    return [test for test in collected if re.fullmatch(expression + r"(\[.*\])?", test)]


def test_every_row_is_native_or_refused_and_stands_once() -> None:
    """A format is in the table of the code it belongs to, and in no other."""
    assert len(NATIVE) + len(REFUSALS) == len(ROWS)
    assert sorted(row.key for row in NATIVE) == sorted(FORMATS)
    assert sorted(row.key for row in REFUSALS) == sorted(REFUSED)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_what_teams_hand_over_has_a_row(name: str) -> None:
    """By the name that people use."""
    assert any(name in row.title for row in ROWS)


@pytest.mark.parametrize("row", NATIVE, ids=lambda row: row.key)
def test_a_native_row_names_the_runtimes_that_read_it(row: Row) -> None:
    """All of them, in the order in which they are tried."""
    assert list(row.native) == [name for name, where in BACKENDS.items() if row.key in resolve(where).formats]


@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row.key)
def test_a_refused_row_says_what_the_message_says(row: Row) -> None:
    """Reason and remedy, word for word."""
    refusal = REFUSED[row.key]
    assert (row.title, row.how) == (refusal.title, f"refused: {refusal.reason}; {refusal.remedy}")


@pytest.mark.parametrize("row", NATIVE, ids=lambda row: row.key)
def test_a_runtime_not_said_to_be_untested_has_its_test(row: Row, collected: list[str]) -> None:
    """Each named pattern finds tests; one of them has the format and the runtime in its id."""
    tests = [test for pattern in row.shown for test in _matching(pattern, collected)]
    for pattern in row.shown:
        assert _matching(pattern, collected), pattern
    for name, tested in row.native.items():
        shown = [test for test in tests if name in test.partition("::")[2] and row.key in test.partition("::")[2]]
        assert bool(shown) == tested, f"{row.key} on {name}: {'no test of it' if tested else shown}"
    assert bool(tests) == any(row.native.values())


@pytest.mark.parametrize("row", [row for row in ROWS if row.shown], ids=lambda row: row.key)
def test_a_test_that_shows_it_runs_the_daemon_on_such_a_file(row: Row, collected: list[str]) -> None:
    """It calls `edge-vision run`, itself or through a fixture or module of the tests, and names the format."""
    for pattern in row.shown:
        assert _matching(pattern, collected), pattern
        file = ROOT / pattern.partition("::")[0]
        sources = [file.read_text(), *(part.read_text() for part in _imported(file))]
        assert any(re.search(r"edge_vision\(\s*\"run\"", source) for source in sources), pattern
        assert any(re.search(rf"[\"']{row.key}[\"']", source) for source in sources), pattern


def _imported(file: Path) -> list[Path]:
    """The modules of tests/ that a test imports."""
    tree = ast.parse(file.read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return [path for name in sorted(names) if (path := ROOT / "tests" / f"{name}.py").is_file()]
