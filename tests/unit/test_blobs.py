"""Compiled models are kept per model, and only while they are as they were written."""

from pathlib import Path

import pytest

from edge_vision.core.model import ModelFile
from edge_vision.inference.blobs import open_blobs, seal_blobs


@pytest.fixture(name="file")
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "m.onnx").write_bytes(b"weights")
    return ModelFile(tmp_path / "m.onnx", "onnx", (1, 3, 8, 8))


def _opened(file: ModelFile) -> Path:
    folder = open_blobs("openvino", file)
    assert folder is not None
    return folder


def test_what_was_sealed_is_there_again(file: ModelFile) -> None:
    """The second start finds what the first one left."""
    folder = _opened(file)
    (folder / "1.blob").write_bytes(b"compiled")
    seal_blobs(folder)
    (folder / "2.blob").write_bytes(b"for other threads")
    seal_blobs(folder)
    assert sorted(part.name for part in _opened(file).glob("*.blob")) == ["1.blob", "2.blob"]


def test_another_model_has_another_folder(file: ModelFile) -> None:
    """By content: a renamed copy shares, changed weights do not."""
    folder = _opened(file)
    copy = ModelFile(file.path.with_name("other.onnx"), "onnx", (1, 3, 8, 8))
    copy.path.write_bytes(b"weights")
    assert _opened(copy) == folder
    copy.path.write_bytes(b"changed")
    assert _opened(copy) != folder


@pytest.mark.parametrize("seal", ["", "{", "[]", '{"1.blob": 7}'])
def test_without_its_seal_nothing_is_believed(seal: str, file: ModelFile) -> None:
    """A process that died before it sealed, or a damaged seal: compiled again, without an error."""
    folder = _opened(file)
    (folder / "1.blob").write_bytes(b"compiled")
    if seal:
        (folder / "sums.json").write_text(seal)
    assert not list(_opened(file).glob("*.blob"))


def test_only_what_is_damaged_goes(file: ModelFile) -> None:
    """One of two blobs has changed."""
    folder = _opened(file)
    for name in ("1.blob", "2.blob"):
        (folder / name).write_bytes(b"compiled")
    seal_blobs(folder)
    (folder / "1.blob").write_bytes(b"compiles")
    assert [part.name for part in _opened(file).glob("*.blob")] == ["2.blob"]


def test_a_cache_that_cannot_be_made_is_none(file: ModelFile, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "cache").touch()
    assert open_blobs("openvino", file) is None
