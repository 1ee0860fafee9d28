"""docs/places.md is true: it names every option of its stages with the default it has, and its example can run."""

import re

import pytest
import yaml
from conftest import ROOT
from pydantic import TypeAdapter

from edge_vision.config.options import StageOptions

PAGE = (ROOT / "docs/places.md").read_text(encoding="utf-8")
STAGES: TypeAdapter[StageOptions] = TypeAdapter(StageOptions)
KINDS = ["filter", "zones", "dwell", "speed", "distance", "proximity", "crowd", "smooth", "heatmap"]


def test_the_example_has_every_stage_with_options_that_hold() -> None:
    """Each validates as it is written."""
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    stages = yaml.safe_load(block)["stages"]
    assert {stage["kind"] for stage in stages} == {"detect", "tracker", *KINDS}
    for stage in stages:
        STAGES.validate_python(stage)


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_named_with_its_default(kind: str) -> None:
    """In the section of its stage, as `option` or `option` (default) where that is a number."""
    (section,) = [part for part in PAGE.split("\n## ") if f"`{kind}`" in part.partition("\n")[0]]
    options = STAGES.validate_python({"kind": kind})
    for name, field in type(options).model_fields.items():
        if name in {"kind", "name"}:
            continue
        found = re.findall(rf"`{name}`(?:, `\w+`)*(?: \(([\d.]+)\))?", section)
        assert found or name in {"calibration", "classes", "anchor"}, f"{kind}.{name}"
        if isinstance(field.default, float):
            assert f"{field.default:g}" in found, f"{kind}.{name} is {field.default:g}, not {found}"
