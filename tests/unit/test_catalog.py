"""The catalogue: what ships with the package is right, and a wrong one is refused with the place."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from catalogued import FOLDERS, real_file

from edge_vision.cli.command import run_command
from edge_vision.core.errors import ConfigError
from edge_vision.core.files import sha256_of
from edge_vision.models.catalog.entries import SHIPPED, Entry, read_catalog

ENTRIES = read_catalog().entries
LICENSES = {"yunet_120x160": "MIT"}
"""Where the record names the license of the whole collection, and the model's own folder in it another."""


def test_every_model_is_in_the_data() -> None:
    """A model that no test sees does not enter the catalogue."""
    assert {entry.name for entry in ENTRIES} == set(FOLDERS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_files_are_those_of_the_data(entry: Entry, data: Path) -> None:
    """Size and checksum are those of the real files."""
    for file in entry.files:
        path = real_file(data, entry, file)
        assert (path.stat().st_size, sha256_of(path)) == (file.size, file.sha256), path


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_addresses_and_licenses_are_those_of_the_record(entry: Entry, data: Path) -> None:
    """The address is the raw file at the commit it was taken from, and the license the one recorded."""
    with (data / "ATTRIBUTION.csv").open(encoding="utf-8") as stream:
        rows = {row[2]: row for row in csv.reader(stream)}
    for file in entry.files:
        _, size, _, source, license_, *_ = rows[file.sha256]
        repository, commit, path = re.fullmatch(r"(.+)@(\w+):(.+)", source).groups()  # type: ignore[union-attr]
        there = rf"https://raw\.githubusercontent\.com/{re.escape(repository)}/{commit}[0-9a-f]*/{re.escape(path)}"
        assert re.fullmatch(there, file.url), file.url
        assert file.size == int(size)
        assert entry.license == LICENSES.get(entry.name, license_.split()[0])


def test_checksums_go_into_the_bundle() -> None:
    """The model.yaml that is written names the checksum of each file, the second of a pair too, and the origin."""
    catalog = read_catalog()
    for name in FOLDERS:
        entry = catalog.entry(name)
        content = entry.content()
        sums = [file.get(key) for file in content["files"] for key in ("sha256", "weights_sha256") if key in file]
        assert sums == [file.sha256 for file in entry.files]
        assert content["source"]["license"] == entry.license
    assert catalog.entry("vehicle_lpd_0106").content()["files"][0]["weights_sha256"].startswith("2cbd3cda25a48d86")


@pytest.mark.parametrize(
    "name, hint", [("yolox_nona", "did you mean yolox_nano?"), ("xyz", "known: ultraface_rfb320, vehicle_lpd_0106")]
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    """The nearest name, or all of them."""
    with pytest.raises(ConfigError, match=re.escape(hint)):
        read_catalog().entry(name)


def _commit(entry: dict[str, Any]) -> None:
    entry["files"][0]["url"] = "https://raw.githubusercontent.com/a/b/main/yolox_nano.onnx"


def _plain(entry: dict[str, Any]) -> None:
    entry["files"][0]["url"] = "http://example.org/yolox_nano.onnx"


def _password(entry: dict[str, Any]) -> None:
    entry["files"][0]["url"] = "https://me:secret@example.org/yolox_nano.onnx"


def _outside(entry: dict[str, Any]) -> None:
    entry["files"][0]["path"] = "../yolox_nano.onnx"


def _other_name(entry: dict[str, Any]) -> None:
    entry["files"][0]["path"] = "other.onnx"


def _half_a_pair(entry: dict[str, Any]) -> None:
    entry["model"]["files"][1] = {"path": "yolox_nano_float16.tflite", "format": "caffe"}


def _twice(entry: dict[str, Any]) -> None:
    entry["files"].append(entry["files"][0])


def _no_license(entry: dict[str, Any]) -> None:
    del entry["model"]["source"]["license"]


def _prose_license(entry: dict[str, Any]) -> None:
    entry["model"]["source"]["license"] = "free for all"


def _short_sum(entry: dict[str, Any]) -> None:
    entry["files"][0]["sha256"] = "0" * 63


def _no_format(entry: dict[str, Any]) -> None:
    entry["model"]["output"]["format"] = "yolo"


@pytest.mark.parametrize(
    "harm, place, text",
    [
        (_commit, "models[0].files[0].url", "main is a branch or tag, which moves"),
        (_plain, "models[0].files[0].url", "does not match ^https://"),
        (_password, "models[0].files[0].url", "credentials inside a URL end up in logs"),
        (_outside, "models[0].files[0].path", "does not match"),
        (_other_name, "models[0]", "model names yolox_nano.onnx, which is not among the files"),
        (_half_a_pair, "models[0]", "model names yolox_nano_float16.caffemodel, which is not among the files"),
        (_twice, "models[0]", "two of its files have the same path"),
        (_no_license, "models[0]", "model.source must say url and license"),
        (_prose_license, "models[0]", "as an SPDX identifier"),
        (_short_sum, "models[0].files[0].sha256", "does not match"),
        (_no_format, "models[0].model.output.format", "unknown format 'yolo'"),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_place(
    harm: Callable[[dict[str, Any]], None], place: str, text: str, tmp_path: Path
) -> None:
    """File, line, column and key of what is wrong, and never a password."""
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    harm(content["models"][0])
    file = tmp_path / "catalog.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(ConfigError) as caught:
        read_catalog(file)
    problem = str(caught.value)
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+: {re.escape(place)}: ", problem), problem
    assert text in problem
    assert "secret" not in problem


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    """`pull` could fetch only one of them."""
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    content["models"].append(content["models"][0])
    file = tmp_path / "catalog.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="two models are called yolox_nano"):
        read_catalog(file)


def test_editors_are_told_what_a_catalogue_may_say(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped one holds against the schema that is printed; one with another key does not."""
    assert run_command(["schema", "catalog"]) == 0
    schema = json.loads(capsys.readouterr().out)
    content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    jsonschema.validate(content, schema)
    content["models"][0]["mirror"] = "https://example.org"
    with pytest.raises(jsonschema.ValidationError, match="mirror"):
        jsonschema.validate(content, schema)


def test_an_absent_catalogue_is_named(tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.yaml"))):
        read_catalog(tmp_path / "none.yaml")
