"""The page of a pipeline says what the pipeline can do: every key, and a picture that loads quickly."""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT

PAGES = sorted((ROOT / "docs/pipelines").glob("*.md"))
OF_THE_DETECTOR = {"model", "iou", "backends", "device", "precision", "threads", "remote", "batching"}
"""Keys that every pipeline with a detector has."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_every_key_is_on_its_page(page: Path) -> None:
    """In code, as a site writes it."""
    text = page.read_text(encoding="utf-8")
    pipeline = yaml.safe_load((ROOT / "pipelines" / f"{page.stem}.yaml").read_text(encoding="utf-8"))
    assert [key for key in pipeline["expose"] if f"`{key}`" not in text and key not in OF_THE_DETECTOR] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_page_has_a_picture_and_the_script_that_made_it(page: Path) -> None:
    """Of at most 80 kB."""
    picture = page.with_suffix(".jpg")
    assert f"]({picture.name})" in page.read_text(encoding="utf-8")
    assert picture.stat().st_size <= 80_000
    assert page.with_suffix(".py").is_file()
