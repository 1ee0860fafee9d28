"""Checks that a verdict is remembered for exactly what it was passed on."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import edge_vision
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.select import load
from edge_vision.models.bundle import Bundle, read_bundle
from edge_vision.models.proof import verdicts
from edge_vision.models.proof.gate import Verdict

F32 = LoadOptions()


@pytest.fixture(name="bundle")
def _bundle(golden_yolox: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(golden_yolox, folder)
    return folder


@pytest.fixture(name="proofs")
def _proofs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Counts the proofs that are really made, with the cache in a folder of this test's own."""
    made: list[str] = []

    def prove(bundle: Bundle, *_rest: Any) -> Verdict:
        made.append(bundle.spec.name)
        return Verdict("", 0.25)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(verdicts, "prove", prove)
    return made


@pytest.fixture(scope="module", name="engine")
def _engine(golden_yolox: Path) -> Engine:
    bundle, _ = read_bundle(golden_yolox)
    assert bundle is not None
    return load("onnxruntime", bundle.spec.files[0], F32)


def ask(folder: Path, engine: Engine, options: LoadOptions = F32, name: str = "onnxruntime") -> Verdict:
    """The verdict on the bundle as it is now."""
    bundle, problems = read_bundle(folder)
    assert bundle is not None, problems
    assert bundle.golden is not None
    return verdicts.proven(bundle, bundle.golden, name, bundle.spec.files[0], engine, options)


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change model.yaml."""
    content = yaml.safe_load((folder / "model.yaml").read_text())
    change(content)
    (folder / "model.yaml").write_text(yaml.safe_dump(content, sort_keys=True))


def test_a_warm_start_proves_nothing_twice(bundle: Path, engine: Engine, proofs: list[str], tmp_path: Path) -> None:
    """The same bundle, also renamed, moved and with its keys in another order: one proof, one verdict."""
    first = ask(bundle, engine)
    edit(bundle, lambda content: content.update(name="renamed"))
    assert ask(bundle.rename(tmp_path / "moved"), engine) == first
    assert proofs == ["yolox_nano"]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["input"].update(color="rgb"),
        lambda content: content["output"].update(strides=[8, 16, 32, 64]),
        lambda content: content["labels"].append("one more"),
        lambda content: content.update(parity={"f32": {**_tolerance(), "missed": 0.5}}),
    ],
    ids=["input", "output", "labels", "tolerance"],
)
def test_another_model_yaml_is_proven_anew(
    change: Callable[[dict[str, Any]], None], bundle: Path, engine: Engine, proofs: list[str]
) -> None:
    """Whatever the answer depends on."""
    ask(bundle, engine)
    edit(bundle, change)
    ask(bundle, engine)
    assert len(proofs) == 2


def _tolerance() -> dict[str, float]:
    return {"score_diff": 0.02, "mean_iou": 0.99, "point_error": 0.01, "missed": 0.0, "extra": 0.0, "quality": 0.98}


def test_other_weights_golden_data_runtimes_and_precisions_are_proven_anew(
    bundle: Path, engine: Engine, proofs: list[str]
) -> None:
    """Five proofs for five different things; none for a sixth that was there before."""
    ask(bundle, engine)
    ask(bundle, engine, name="openvino")
    ask(bundle, engine, replace(F32, precision="bf16"))
    index = bundle / "golden/golden.yaml"
    index.write_text(index.read_text() + "# touched\n")
    ask(bundle, engine)
    weights = bundle / "yolox_nano.onnx"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content + b"\x00")
    ask(bundle, engine)
    assert len(proofs) == 5
    weights.write_bytes(content)
    ask(bundle, engine)
    assert len(proofs) == 5


@pytest.mark.parametrize("part", ["core/geometry.py", "preprocess", "inference/remote", "postprocess", "models/proof"])
def test_another_code_is_proven_anew(
    part: str, bundle: Path, engine: Engine, proofs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict speaks of the code of the steps, whatever folder of theirs it lies in."""
    ask(bundle, engine)
    copy = tmp_path / "edge_vision"
    shutil.copytree(Path(edge_vision.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(verdicts, "_PACKAGE", copy)
    ask(bundle, engine)
    assert len(proofs) == 1
    changed = copy / part if part.endswith(".py") else next((copy / part).glob("[a-z]*.py"))
    changed.write_text(changed.read_text() + "# touched\n")
    ask(bundle, engine)
    assert len(proofs) == 2


def test_a_damaged_or_unwritable_cache_costs_a_proof_and_nothing_else(
    bundle: Path, engine: Engine, proofs: list[str], tmp_path: Path
) -> None:
    """Half a file is no verdict, and a cache that cannot be written no error."""
    ask(bundle, engine)
    (kept,) = (tmp_path / "cache/edge-vision/verdicts").iterdir()
    kept.write_text(kept.read_text()[:20])
    assert ask(bundle, engine).passed
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("not a folder")
    assert ask(bundle, engine).passed
    assert len(proofs) == 3


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '{"reason": null, "tensor_levels": 0.0}',
        '{"reason": "", "tensor_levels": "near"}',
        '{"reason": "", "tensor_levels": 0.0, "agreement": {"objects": 1}}',
    ],
)
def test_what_is_no_verdict_proves_nothing(
    content: str, bundle: Path, engine: Engine, proofs: list[str], tmp_path: Path
) -> None:
    """Valid JSON of another kind is a damaged verdict too."""
    ask(bundle, engine)
    (kept,) = (tmp_path / "cache/edge-vision/verdicts").iterdir()
    kept.write_text(content)
    assert ask(bundle, engine).tensor_levels == 0.25
    assert len(proofs) == 2
