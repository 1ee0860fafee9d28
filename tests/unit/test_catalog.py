"""The catalogue: what ships with the package is right, and a wrong one is refused with the place."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge_vision.core.errors import ConfigError
from edge_vision.core.files import sha256_of
from edge_vision.models.catalog import SHIPPED, Entry, read_catalog

ENTRIES = read_catalog().entries
FOLDERS = {"yolox_nano": "yolox_nano", "vehicle_lpd_0106": "vehicle_lpd_0106_ir_int8"}
"""Where each model lies in the shared data."""


def test_every_model_is_in_the_data() -> None:
    """A model that no test sees does not enter the catalogue."""
    assert {entry.name for entry in ENTRIES} == set(FOLDERS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_files_are_those_of_the_data(entry: Entry, data: Path) -> None:
    """Size and checksum are those of the real files."""
    for file in entry.files:
        path = data / "models" / FOLDERS[entry.name] / file.path
        assert (path.stat().st_size, sha256_of(path)) == (file.size, file.sha256), path


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_addresses_and_licenses_are_those_of_the_record(entry: Entry, data: Path) -> None:
    """The address is the raw file at the commit it was taken from, and the license the one recorded."""
    with (data / "ATTRIBUTION.csv").open(encoding="utf-8") as stream:
        rows = {row[2]: row for row in csv.reader(stream)}
    for file in entry.files:
        _, size, _, source, license_, *_ = rows[file.sha256]
        repository, commit, path = re.fullmatch(r"(.+)@(\w+):(.+)", source).groups()  # type: ignore[union-attr]
        assert file.url == f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"
        assert file.size == int(size)
        assert license_.split()[0] == entry.license


def test_weights_of_an_ir_come_with_it() -> None:
    """Whoever lists an .xml lists the .bin."""
    for entry in ENTRIES:
        paths = {file.path for file in entry.files}
        for file in entry.model.files:
            if file.format == "openvino":
                assert str(Path(file.path).with_suffix(".bin")) in paths


def test_checksums_go_into_the_bundle() -> None:
    """The model.yaml that is written names the checksum of each file of weights, and where it came from."""
    entry = read_catalog().entry("yolox_nano")
    content = entry.content()
    assert content["files"] == [{"path": "yolox_nano.onnx", "format": "onnx", "sha256": entry.files[0].sha256}]
    assert content["source"]["license"] == "Apache-2.0"


@pytest.mark.parametrize("name, hint", [("yolox_nona", "did you mean yolox_nano?"), ("xyz", "known: vehicle_lpd_0106")])
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


def test_an_absent_catalogue_is_named(tmp_path: Path) -> None:
    """A sentence, not a traceback."""
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.yaml"))):
        read_catalog(tmp_path / "none.yaml")
