"""docs/3-pipelines.md is true: every shipped pipeline has a row, a page, a picture and the script that made it."""

import ast
import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import cv2
import pytest
import yaml
from conftest import ROOT

from edge_vision.app.check import check_site
from edge_vision.config.options import PipelineFile
from edge_vision.config.pipeline import read_pipeline
from edge_vision.core.document import read_document
from edge_vision.core.errors import ConfigError
from edge_vision.core.events import KINDS
from edge_vision.core.schema_errors import validate

NAMES = sorted(file.stem for file in (ROOT / "pipelines").glob("*.yaml"))
PAGES = ROOT / "docs/pipelines"
INDEX = (ROOT / "docs/3-pipelines.md").read_text(encoding="utf-8")
_LACKING = ("no such model folder", "holds no model.yaml", "no such file", "no such folder")
"""What a page cannot bring along: models, recordings."""


def _blocks(name: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (PAGES / f"{name}.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_index_has_a_row_for_every_pipeline_and_no_other() -> None:
    """Its link leads to the page."""
    assert sorted(re.findall(r"^\| \[(\w+)\]\(pipelines/\1\.md\) \|", INDEX, re.MULTILINE)) == NAMES


def test_no_page_picture_or_script_is_of_no_pipeline() -> None:
    """What is left of one that went, or is misspelt; a page may show more pictures than its own."""
    shown = {name for page in PAGES.glob("*.md") for name in re.findall(r"\]\((\w+)\.jpg\)", page.read_text("utf-8"))}
    assert sorted({file.stem for file in PAGES.iterdir() if file.is_file()} - set(NAMES) - shown) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_has_a_page_with_its_picture(name: str) -> None:
    """A picture that can be looked at, of at most 80 kB, which the page shows, and the script that made it."""
    page, picture, script = (PAGES / f"{name}.{suffix}" for suffix in ("md", "jpg", "py"))
    assert page.is_file()
    assert script.is_file()
    assert picture.stat().st_size <= 80_000
    image = cv2.imread(str(picture))
    assert image is not None
    assert min(image.shape[:2]) >= 200
    assert f"({name}.jpg)" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_explains_every_key(name: str) -> None:
    """Each key that the pipeline exposes stands in it, as `key` or in an example; the index has those of a model."""
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    content = yaml.safe_load((ROOT / f"pipelines/{name}.yaml").read_text())
    options = {stage.get("name", stage["kind"]): stage["kind"] for stage in content["stages"]}

    def of_every_model(key: str, targets: str | list[str]) -> bool:
        one, _, option = (targets if isinstance(targets, str) else targets[0]).partition(".")
        return option == key and options[one] in {"detect", "cascade"} and f"\n- `{key}`" in INDEX

    exposed = {key: target for key, target in content["expose"].items() if not of_every_model(key, target)}
    assert [key for key in exposed if not re.search(rf"\b{key}(`|:)", text)] == []


def test_the_index_says_which_pipelines_lack_a_key_of_models() -> None:
    """In the paragraph behind the keys; all others have them all."""
    part = INDEX.partition("## How a model is run")[2].partition("\n## ")[0]
    keys = re.findall(r"^- `(\w+)`", part, re.MULTILINE)
    told: dict[str, set[str]] = {}
    for sentence in " ".join(part.split()).split(". "):
        names, _, lacks = sentence.partition(" have no ")
        told |= {
            name: set(re.findall(r"`(\w+)`", lacks)) & set(keys) for name in NAMES if lacks and f"`{name}`" in names
        }
    exposed = {name: yaml.safe_load((ROOT / f"pipelines/{name}.yaml").read_text())["expose"] for name in NAMES}
    lacking = {name: set(keys) - set(expose) for name, expose in exposed.items() if "backends" in expose}
    assert told == {name: lacks for name, lacks in lacking.items() if lacks}


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_page_are_right(name: str, tmp_path: Path) -> None:
    """A site passes `check`, but for models and recordings that are not there; one of them uses the pipeline."""
    sites = 0
    for number, block in enumerate(_blocks(name)):
        file = tmp_path / f"block{number}.yaml"
        file.write_text(block)
        document, problems = read_document(file)
        assert not problems
        if "site" not in document.data:
            continue  # a pipeline or a model: tests/unit/test_docs.py holds it against its schema
        sites += any(camera["pipeline"] == name for camera in document.data["cameras"])
        assert [text for text in _told(file) if not text.endswith(_LACKING)] == []
    assert sites


def _told(site: Path) -> tuple[str, ...]:
    """What `check` says of a site."""
    try:
        check_site(site)
    except ConfigError as error:
        return error.problems
    return ()


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_says_what_it_does(name: str) -> None:
    """A whole sentence, and the version of the format."""
    document, problems = read_document(ROOT / f"pipelines/{name}.yaml")
    parsed, found = validate(document, PipelineFile)
    assert not problems + found
    assert parsed is not None
    assert re.fullmatch(r"[A-Z].*\.", parsed.description)
    assert document.data["version"] == 1


def test_the_pipeline_in_the_index_is_right(tmp_path: Path) -> None:
    """But for the model, which a site gives."""
    own = [block for block in re.findall(r"```yaml\n(.*?)```", INDEX, re.DOTALL) if "site:" not in block]
    assert own
    for block in own:
        (tmp_path / "mine.yaml").write_text(block)
        drafts, problems = read_pipeline(tmp_path / "mine.yaml", {})
        assert [problem.text for problem in problems] == ["this key is required"]
        assert [draft.raw["kind"] for draft in drafts if draft.options is None] == ["detect"]


def test_the_index_names_events_that_there_are() -> None:
    """In its last column, besides detections."""
    told = [name for row in re.findall(r"^\| \[.*\|([^|]*)\|$", INDEX, re.MULTILINE) for name in row.split("`")[1::2]]
    assert told
    assert [name for name in told if name not in KINDS] == []


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("stages_page", ROOT / "docs/stages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_stages_is_that_of_the_classes() -> None:
    """`python docs/stages.py` writes it anew."""
    assert (ROOT / "docs/stages.md").read_text(encoding="utf-8") == _script().page()


def test_the_table_of_the_readme_has_every_pipeline() -> None:
    """And links to its page."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(docs/pipelines/\1\.md\) \|", readme, re.MULTILINE)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_script_of_a_picture_finds_what_it_imports(name: str) -> None:
    """What it takes from the product is still there, by the names it has."""
    tree = ast.parse((PAGES / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("edge_vision"):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
