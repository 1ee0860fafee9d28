"""docs/4-extend.md works: its blocks are written into a copy of the package, and the tests of that copy pass."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs/4-extend.md").read_text()
BLOCKS = re.findall(r"(?s)```python\n(# (\S+\.py)(, beside what is there)?\n.*?)```", PAGE)
NEW = [path for _, path, beside in BLOCKS if not beside]
CONTRACTS = ["tests/contract/test_postprocessor_contract.py", "tests/contract/test_stage_contract.py"]


def _copy(folder: Path) -> Path:
    for name in ("edge_vision", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def _apply(folder: Path, without: str = "") -> None:
    """Write every block into its file; `without` is a path whose block is left out."""
    for text, path, beside in BLOCKS:
        if path == without:
            continue
        file = folder / path
        if beside:
            file.write_text(_merged(file.read_text(), text))
        else:
            assert not file.exists(), f"{path} is there already: the page needs another example"
            file.write_text(text.partition("\n")[2])


def _merged(content: str, block: str) -> str:
    """A file with the imports of a block, its rows behind those of a table, and its classes behind those of a union."""
    for node in ast.parse(block).body:
        if isinstance(node, ast.ImportFrom):
            content = re.sub(r"(?m)^from edge_vision", f"{ast.unparse(node)}\nfrom edge_vision", content, count=1)
            continue
        assert isinstance(node, ast.Assign)
        (target,) = node.targets
        there = _assigned(ast.parse(content), ast.unparse(target))
        lines = content.splitlines(keepends=True)
        if isinstance(node.value, ast.Dict):
            assert isinstance(there, ast.Dict)
            assert there.end_lineno is not None
            rows = [f"    {ast.unparse(key)}: {ast.unparse(value)},\n" for key, value in _rows(node.value)]
            content = "".join([*lines[: there.end_lineno - 1], *rows, *lines[there.end_lineno - 1 :]])
        else:
            assert isinstance(node.value, ast.BinOp)
            union = (
                there.slice.elts[0]
                if isinstance(there, ast.Subscript) and isinstance(there.slice, ast.Tuple)
                else there
            )
            assert union.end_lineno is not None
            last = lines[union.end_lineno - 1]
            end = union.end_col_offset
            lines[union.end_lineno - 1] = f"{last[:end]} | {ast.unparse(node.value.right)}{last[end:]}"
            content = "".join(lines)
    return content


def _rows(table: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
    for key, value in zip(table.keys, table.values, strict=True):
        assert key is not None
        yield key, value


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    """What a module says a name is."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and target.id == name and value is not None:
            assert isinstance(value, ast.expr)
            return value
    msg = f"{name} is not there"
    raise AssertionError(msg)


def _pytest(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(folder), "EDGE_VISION_SHARED": str(folder / "absent")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(name="walked", scope="module")
def _walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which the page was followed."""
    folder = _copy(tmp_path_factory.mktemp("walk"))
    _apply(folder)
    return folder


def test_the_page_adds_a_format_and_a_stage() -> None:
    """Each with its module, its two rows, its line in the contract, and a test of its own."""
    assert [path.partition("/")[2].partition("/")[0] for path in NEW] == ["postprocess", "unit", "analytics", "unit"]
    assert len(BLOCKS) == len(NEW) + 6


def test_what_the_page_adds_keeps_every_contract(walked: Path) -> None:
    """The contract tests, its own tests, and those of the tables and the layers pass in the copy."""
    own = [path for path in NEW if path.startswith("tests/")]
    code, output = _pytest(walked, *CONTRACTS, *own, "-k", "centernet or age or tested_here or hill or tracks or it_is")
    assert code == 0, output
    counted = re.search(r"(\d+) passed", output)
    assert counted is not None
    assert int(counted[1]) > 30, output
    code, output = _pytest(
        walked, "tests/architecture", "-k", "union or short or while or sleeps or described or point_down"
    )
    assert code == 0, output


def test_what_the_page_adds_is_written_in_the_style_of_the_house(walked: Path) -> None:
    """As the linter and the formatter have it."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--check"]):
        words = [str(ruff), *command, "--no-cache", *NEW]
        done = subprocess.run(words, cwd=walked, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "without, contract",
    [
        ("edge_vision/postprocess/table.py", "tests/contract/test_postprocessor_contract.py"),
        ("tests/contract/test_postprocessor_contract.py", "tests/contract/test_postprocessor_contract.py"),
        ("edge_vision/analytics/options.py", "tests/contract/test_stage_contract.py"),
    ],
)
def test_a_step_that_is_forgotten_is_noticed(without: str, contract: str, tmp_path: Path) -> None:
    """Every row is needed, and a test says so."""
    _apply(_copy(tmp_path), without)
    code, output = _pytest(tmp_path, contract, "-k", "centernet or age or tested_here")
    assert code in {1, 2}, output  # a test that failed, or that could not be collected
    assert "centernet" in output or "age" in output, output
