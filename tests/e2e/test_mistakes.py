"""Wrong pipelines and settings: `check` says each mistake once, in a sentence, at its line and column."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from bundles import write_bundle
from commands import run
from demo_site import PARTS

DETECT = "  - {kind: detect}\n"
PLACES = f"{DETECT}  - {{kind: tracker}}\n  - {{kind: lines}}\n  - {{kind: zones}}\n  - {{kind: count}}\n"
EXPOSE = "expose: {model: detect.model, lines: lines.lines, zones: [zones.zones, count.zones], only: zones.classes}\n"
BEFORE = "which no stage before it gives: put"
CORNERS = "box and class: use a model that finds corners"
TELLER = "a detect stage whose model tells classes"
MODEL = f"model: {json.dumps(PARTS)}"
START = len(f"    with: {{{MODEL}, ") + 1
"""The column of the first setting behind the model."""
OF_MODEL = len("    with: {model: ") + 1 - START
TRACKED = "appearance, high, low, max_lost_s, min_hits, min_iou, reach"

OF_SETTINGS = len("    ") + 1 - START


class Row(NamedTuple):
    """A pipeline from its second line on, settings behind the model, and what is said of them.

    An expected line is "pipeline:LINE:COLUMN: ..." or "with:COLUMN: ...", the column counted from the first setting.
    """

    name: str
    pipeline: str
    settings: str
    expected: tuple[str, ...]


def _stages(*lines: str, expose: str = "expose: {model: detect.model}\n") -> str:
    return "stages:\n" + "".join(f"  - {line}\n" for line in lines) + expose


def _placed(settings: str, *expected: str, name: str = "") -> Row:
    """A row with the places of a pipeline that has them all."""
    return Row(name or f"settings {settings}"[:60], f"stages:\n{PLACES}{EXPOSE}", settings, expected)


POINT = "cameras[].with.lines.gate"
UNREAD = "and none of these runtimes reads that"
NO_LINES = "there are no lines to tell the totals of every"
NAME = "does not match ^[a-z0-9][a-z0-9_-]{0,31}$"
TABLE = (
    # The order of stages.
    Row("right", f"stages:\n{PLACES}{EXPOSE}", "", ()),
    Row("lines before the tracker", _stages("{kind: detect}", "{kind: lines}", "{kind: tracker}"), "",
        (f"pipeline:3:5: stages[1]: stage lines needs track_id, {BEFORE} a tracker before it",)),
    Row("lines before everything", _stages("{kind: lines}", "{kind: detect}", "{kind: tracker}"), "",
        (f"pipeline:2:5: stages[0]: stage lines needs track_id, {BEFORE} a tracker before it",)),
    Row("a tracker without a detector", "stages:\n  - {kind: tracker}\n", "none",
        (f"pipeline:2:5: stages[0]: stage tracker needs box, {BEFORE} a detect stage before it",)),
    Row("nothing that finds", "stages:\n  - {kind: filter}\n", "none",
        (f"pipeline:2:5: stages[0]: stage filter needs class, {BEFORE} {TELLER} before it",)),
    Row("counting nothing", "stages:\n  - {kind: count}\n", "none",
        (f"pipeline:2:5: stages[0]: stage count needs box and class, {BEFORE} a detect stage before it",)),
    Row("two trackers", _stages("{kind: detect}", "{kind: tracker}", "{kind: tracker, name: again}"), "",
        ("pipeline:4:5: stages[2]: a second tracker would throw away the numbers that tracker gave: leave it out",)),
    Row("two detectors",
        _stages("{kind: detect}", "{kind: detect, name: twice}", expose="expose: {model: [detect.model, twice.model]}"),
        "", ("pipeline:3:5: stages[1]: a second detect stage would throw away what detect found: use a cascade",)),
    Row("a detector behind what finds by itself", _stages("{kind: motion}", "{kind: detect}"), "",
        ("pipeline:3:5: stages[1]: stage detect would throw away what motion found: put it first",)),
    Row("lines behind what finds more",
        _stages("{kind: detect}", "{kind: tracker}", "{kind: motion, name: stir}", "{kind: lines}"), "",
        ("pipeline:5:5: stages[3]: stage lines needs track_id, and what stir finds has none: put it before stir",)),
    Row("no stages", "stages: []\n", "none", ("pipeline:1:9: stages: has 0 items, must have at least 1",)),
    Row("no pipeline at all", "description: nothing\n", "none", ("pipeline:1:1: stages: this key is required",)),
    # A model where it does not belong.
    Row("a reader that detects", _stages("{kind: detect, model: ctc}", expose=""), "none",
        ("pipeline:2:27: stages[0].model: model reader gives text and finds no objects: it belongs into a cascade",)),
    Row("corners of a model without",
        _stages("{kind: detect}", "{kind: cascade, name: read, model: ctc, region: quad}"), "",
        (f"with:{OF_MODEL}: cameras[].with.model: stage read needs quad, and model parts gives {CORNERS}",)),
    # Names.
    Row("one name twice", _stages("{kind: detect}", "{kind: filter}", "{kind: filter}"), "",
        ("pipeline:4:5: stages[2]: two stages are called 'filter': give one a name",)),
    Row("an unknown kind", _stages("{kind: detect}", "{kind: trakker}"), "",
        ("pipeline:3:12: stages[1].kind: unknown kind 'trakker'; did you mean tracker?",)),
    Row("a kind that is a list", _stages("{kind: detect}", "{kind: [tracker], high: x}"), "",
        ("pipeline:3:12: stages[1].kind: unknown kind a list",)),
    Row("an unknown option", _stages("{kind: detect}", "{kind: tracker, hihg: 1}"), "",
        ("pipeline:3:21: stages[1].hihg: unknown key; did you mean high?",)),
    Row("two options at odds", _stages("{kind: detect}", "{kind: tracker, low: 0.9}"), "",
        ("pipeline:3:5: stages[1]: low 0.9 is more than high 0.5",)),
    Row("an option at odds with one that the site sets",
        _stages("{kind: detect}", "{kind: tracker}", expose="expose: {model: detect.model, sure: tracker.high}\n"),
        "sure: 0.01", ("with:6: cameras[].with.sure: stage tracker: low 0.1 is more than high 0.01",)),
    Row("an option that needs one that the site does not set",
        _stages("{kind: detect}", "{kind: tracker}", "{kind: lines, period_s: 9}",
                expose="expose: {model: detect.model, gates: lines.lines}\n"), "",
        (f"with:{OF_SETTINGS}: cameras[].with.gates: stage lines: {NO_LINES} 9 s: give lines",)),
    Row("a longest stay nowhere",
        _stages("{kind: detect}", "{kind: tracker}", "{kind: dwell}",
                expose="expose: {model: detect.model, stay_s: dwell.limit_s, zones: dwell.zones}\n"), "stay_s: 9",
        ("with:8: cameras[].with.stay_s: stage dwell: limit_s 9 says how long a stay in a zone may be: give zones",)),
    Row("presence nowhere", _stages("{kind: detect}", "{kind: tracker}", "{kind: zones, presence_s: 9}"), "",
        ("pipeline:4:5: stages[2]: presence_s 9 says when a zone is occupied or empty: give zones",)),
    # Files that no runtime asked for reads.
    Row("weights that are not quantized",
        _stages("{kind: detect}", expose="expose: {model: detect.model, bits: detect.precision}\n"), "bits: int8",
        ("with:6: cameras[].with.bits: model parts has no file for precision int8: parts.onnx (f32)",)),
    Row("runtimes that read other files",
        _stages("{kind: detect}", expose="expose: {model: detect.model, by: detect.backends}\n"),
        "by: [litert]",
        (f"with:4: cameras[].with.by: model parts is in onnx, {UNREAD}: litert reads tflite",)),
    # Classes.
    Row("classes of another model", _stages("{kind: detect}", "{kind: filter, classes: [bolt, person]}"), "",
        ("pipeline:3:36: stages[1].classes[1]: the model has no label 'person'; known: bolt, bracket, washer",)),
    Row("classes behind another mistake",
        _stages("{kind: detect}", "{kind: tracker, low: x}", "{kind: zones, classes: [bolts]}"), "",
        ("pipeline:3:26: stages[1].low: must be a number, not 'x'",
         "pipeline:4:29: stages[2].classes[0]: the model has no label 'bolts'; did you mean bolt?")),
    # What is exposed.
    Row("an option that is none", _stages("{kind: detect}", expose="expose: {model: detect.model, a: detect.iuo}\n"),
        "", ("pipeline:3:34: expose.a: stage detect has no option 'iuo'; did you mean iou?",)),
    Row("a kind exposed",
        _stages("{kind: detect}", "{kind: tracker}", expose="expose: {model: detect.model, k: tracker.kind}\n"), "",
        (f"pipeline:4:34: expose.k: stage tracker has no option 'kind'; known: {TRACKED}",)),
    Row("a stage that is none", _stages("{kind: detect}", expose="expose: {model: [detect.model, detekt.iou]}\n"), "",
        ("pipeline:3:32: expose.model[1]: 'detekt.iou' is not STAGE.OPTION; did you mean detect?",)),
    Row("exposed to nobody", _stages("{kind: detect}", expose="expose: {model: detect.model, a: [], b: 7}\n"), "",
        ("pipeline:3:34: expose.a: has 0 items, must have at least 1",
         "pipeline:3:41: expose.b: must be text or a list, not 7")),
    _placed("zoens: {}", "with:0: cameras[].with.zoens: pipeline PIPELINE exposes no 'zoens'; did you mean zones?"),
    # Settings of the wrong type, told at the very point, and once where they reach two stages.
    _placed("lines: {gate: [[0, 0.5], [1, 1.5]]}", f"with:29: {POINT}[1][1]: must be at most 1, not 1.5"),
    _placed("lines: {gate: [[0, 0.5], [1, y]]}", f"with:29: {POINT}[1][1]: must be a number, not 'y'"),
    _placed("lines: {gate: [[0, 0.5], [true, 0]]}", f"with:26: {POINT}[1][0]: must be a number, not true"),
    _placed("lines: {gate: [[0, 0.5]]}", f"with:14: {POINT}: has 1 items, must have at least 2"),
    _placed("lines: {gate: [[0, 0], [1, 1], [1, 0]]}", f"with:14: {POINT}: has 3 items, must have at most 2"),
    _placed("lines: {gate: [[0], [1, 1]]}", f"with:15: {POINT}[0]: has 1 items, must have at least 2"),
    _placed("lines: {gate: [[1, 1], [1, 1]]}",
            f"with:14: {POINT}: a line needs two different points, both are [1.0, 1.0]"),
    _placed("lines: {gate: 5}", f"with:14: {POINT}: must be a list, not 5"),
    _placed("lines: [[0, 0], [1, 1]]",
            "with:7: cameras[].with.lines: must be a mapping of keys to values, not a list"),
    _placed("lines: {}", "with:7: cameras[].with.lines: has 0 items, must have at least 1"),
    _placed("lines: {Gate 1: [[0, 0], [1, 1]]}", f"with:8: cameras[].with.lines.Gate 1: 'Gate 1' {NAME}"),
    _placed("zones: {bay: [[0, 0], [1, 0], [2, 1]]}",
            "with:31: cameras[].with.zones.bay[2][0]: must be at most 1, not 2"),
    _placed("zones: {bay: [[0, 0], [1, 0]]}", "with:13: cameras[].with.zones.bay: has 2 items, must have at least 3"),
    _placed("zones: {bay: [[0, 0], [1, 1], [0.5, 0.5]]}",
            "with:13: cameras[].with.zones.bay: a zone needs an area; these 3 points enclose none"),
    _placed("only: bolt", "with:6: cameras[].with.only: must be a list, not 'bolt'"),
    _placed("only: [bolt, nut]",
            "with:13: cameras[].with.only[1]: the model has no label 'nut'; known: bolt, bracket, washer"),
    _placed("zones: {bay: [[0, 0], [1, 0], [2, 1]]}, only: [nut]",
            "with:31: cameras[].with.zones.bay[2][0]: must be at most 1, not 2",
            name="an option hides none of another stage"),
)  # fmt: skip


@pytest.fixture(scope="module", name="said")
def _said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What one `check` of a site with a camera for each row says, by row; places as the rows write them."""
    folder = tmp_path_factory.mktemp("mistakes")
    _write_reader(folder / "ctc")
    lines = ["version: 1", "site: s", "cameras:"]
    places: dict[str, int] = {}
    for number, row in enumerate(TABLE):
        (folder / f"p{number}.yaml").write_text(row.pipeline)
        settings = "{}" if row.settings == "none" else f"{{{MODEL}, {row.settings}}}"
        lines += [f"  - id: c{number}", "    source: {kind: synthetic}", f"    pipeline: p{number}"]
        lines.append(f"    with: {settings}")
        places[row.name] = len(lines)
    (folder / "site.yaml").write_text("\n".join(lines))
    done = run("check", folder / "site.yaml")
    assert done.code == 78
    assert "PARTS" not in done.errors
    found: dict[str, list[str]] = {row.name: [] for row in TABLE}
    for text in done.errors.splitlines():
        file, line, column, rest = text.removeprefix(f"{folder}/").split(":", 3)
        if file == "site.yaml":
            name = next(name for name, place in places.items() if place - 3 <= int(line) <= place)
            number = list(places).index(name)
            rest = rest.replace(f"cameras[{number}]", "cameras[]").replace(f"pipeline p{number} ", "pipeline PIPELINE ")
            found[name].append(f"with:{int(column) - START}:{rest}")
        else:
            name = list(places)[int(file.removeprefix("p").removesuffix(".yaml"))]
            found[name].append(f"pipeline:{line}:{column}:{rest}")
    return found


def _write_reader(folder: Path) -> None:
    """A bundle of a network that reads: `check` does not load its weights."""
    content = {
        "name": "reader",
        "task": "recognition",
        "files": [{"path": "reader.onnx", "format": "onnx"}],
        "input": {"size": [94, 24]},
        "output": {"format": "ctc"},
        "labels": ["a", "b"],
    }
    write_bundle(folder, Path("/nonexistent"), content)
    (folder / "reader.onnx").write_bytes(b"weights")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_mistake_is_told_once_in_its_place(row: Row, said: dict[str, list[str]]) -> None:
    """With the sentence that says what to do; and nothing else is told."""
    assert tuple(said[row.name]) == row.expected


def test_every_row_has_its_own_name() -> None:
    """Else one would stand for another."""
    assert len({row.name for row in TABLE}) == len(TABLE)
