"""Engines are really built here, by TensorRT-RTX, which needs no GPU for it; running them does."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import Start
from onnx import TensorProto, helper

from edge_vision.core.errors import BackendUnavailableError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.inference.tensorrt import builder as tensorrt_builder
from edge_vision.inference.tensorrt import engine_cache
from edge_vision.inference.tensorrt.builder import Profile, Steps, build, key_of
from edge_vision.inference.tensorrt.cuda import Gpu
from edge_vision.inference.tensorrt.library import Errors, Library, find_library

SHAPE = (1, 3, 16, 16)


@pytest.fixture(name="library")
def _library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    """The real TensorRT-RTX, with an empty cache folder."""
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "cache"))
    return find_library()


def _network(
    path: Path, operator: str = "Conv", shape: tuple[int | str, ...] = SHAPE, type_: int = TensorProto.FLOAT
) -> ModelFile:
    """A network of one node, called first."""
    weights = helper.make_tensor("w", type_, [4, 3, 3, 3], np.full(108, 0.1, np.float32))
    inputs = ["images", "w"] if operator == "Conv" else ["images"]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["out"], name="first")],
        "graph",
        [helper.make_tensor_value_info("images", type_, shape)],
        [helper.make_tensor_value_info("out", type_, None)],
        initializer=[weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return ModelFile(path, "onnx", SHAPE, precision="f16" if type_ == TensorProto.FLOAT16 else "f32")


def _plan(library: Library, file: ModelFile, precision: str = "f32", profile: Profile | None = None) -> bytes:
    return build(library, None, file, precision, profile or Profile.up_to(1, file.input_shape), lambda *_: None)


def test_yolox_nano_becomes_an_engine(library: Library, data: Path) -> None:
    """The real network: 3.7 MB of ONNX; progress rises and never passes the end."""
    file = ModelFile(data / "models/yolox_nano/yolox_nano.onnx", "onnx", (1, 3, 416, 416))
    told: list[int] = []
    plan = build(library, None, file, "f32", Profile.up_to(1, file.input_shape), lambda done, _: told.append(done))
    print(f"{library.runtime}: {len(plan)} bytes")
    assert 3_000_000 < len(plan) < 10_000_000
    assert told == sorted(set(told))
    assert len(told) >= 5
    assert 0 < told[0] <= told[-1] <= 99


def test_the_key_changes_with_model_precision_and_shape(library: Library, tmp_path: Path) -> None:
    """And with nothing else: TensorRT-RTX's engines are for many GPUs, whether or not there is one here."""
    file, other = _network(tmp_path / "a.onnx"), _network(tmp_path / "b.onnx", "Relu")
    profile = Profile.up_to(1, SHAPE)
    keys = [
        key_of(library, None, file, "f32", profile),
        key_of(library, None, file, "f16", profile),
        key_of(library, None, file, "f32", Profile((1, 3, 8, 8), SHAPE, SHAPE)),
        key_of(library, None, file, "f32", Profile.up_to(2, SHAPE)),
        key_of(library, None, other, "f32", profile),
        key_of(library, Gpu("Turing", (7, 5), "1"), file, "f32", profile),
    ]
    assert len({key.digest for key in keys}) == len(keys)
    ada = key_of(library, Gpu("Ada", (8, 9), "1"), file, "f32", profile)
    assert ada == key_of(library, Gpu("Blackwell", (12, 0), "2"), file, "f32", profile) == keys[0]
    assert library.version in ada.runtime


def test_an_engine_for_one_gpu_is_not_that_for_another(library: Library, tmp_path: Path) -> None:
    """TensorRT, unlike TensorRT-RTX, builds for the very GPU and driver, and not without them."""
    bound = Library(library.module, "tensorrt", library.logger, library.errors)
    file, profile = _network(tmp_path / "a.onnx"), Profile.up_to(1, SHAPE)
    gpus = [Gpu("Orin", (8, 7), "1"), Gpu("Orin", (8, 7), "2"), Gpu("A2", (8, 6), "1")]
    assert len({key_of(bound, gpu, file, "f32", profile).digest for gpu in gpus}) == 3
    with pytest.raises(BackendUnavailableError, match="builds engines on the GPU that runs them"):
        build(bound, None, file, "f32", profile, lambda *_: None)


def test_engines_for_turing_are_built_for_it_alone(library: Library, tmp_path: Path) -> None:
    """TensorRT-RTX leaves compute capability 7.5 out unless it is asked for."""
    file = _network(tmp_path / "a.onnx")
    turing = build(library, Gpu("Turing", (7, 5), "1"), file, "f32", Profile.up_to(1, SHAPE), lambda *_: None)
    assert turing != _plan(library, file)


def test_open_dimensions_get_a_profile(library: Library, tmp_path: Path) -> None:
    """One shape, several pictures of it, or a range; a range that no network can have is a ModelError."""
    file = _network(tmp_path / "open.onnx", shape=("n", 3, "h", "w"))
    assert _plan(library, file)
    assert _plan(library, file, profile=Profile.up_to(4, SHAPE))
    assert _plan(library, file, profile=Profile((1, 3, 8, 8), SHAPE, (4, 3, 64, 64)))
    with pytest.raises(
        ModelError, match=r"open.onnx: its input images \[-1, 3, -1, -1\] float32 cannot have the shapes"
    ):
        _plan(library, file, profile=Profile((4, 3, 8, 8), SHAPE, SHAPE))


def test_dimensions_that_are_not_open_stay_as_they_are(library: Library, tmp_path: Path) -> None:
    """An engine for several pictures is asked for, and the network takes one: batching finds that out."""
    closed, sized = _network(tmp_path / "a.onnx"), _network(tmp_path / "b.onnx", shape=(1, 3, "h", "w"))
    assert _plan(library, closed, profile=Profile.up_to(4, SHAPE))
    assert _plan(library, sized, profile=Profile.up_to(4, SHAPE))
    asked = Profile.up_to(4, SHAPE).where_open((1, 3, -1, -1))
    assert asked == Profile(SHAPE, SHAPE, SHAPE)


def test_the_types_of_the_file_decide_where_no_flag_can(library: Library, tmp_path: Path) -> None:
    """A file in f16 makes an engine in f16, and is kept as one."""
    file = _network(tmp_path / "half.onnx", type_=TensorProto.FLOAT16)
    half = ModelFile(file.path, "onnx", SHAPE, "float16", "f16")
    assert _plan(library, half, "f16")
    assert key_of(library, None, half, "f32", Profile.up_to(1, SHAPE)).precision == "f16"


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "holds no network"),
        (b"garbage garbage", "cannot read it: .*Failed to parse the ONNX model"),
        (b"\x08\x07\x12\x04" + bytes(64), "cannot read it|holds no network"),
    ],
    ids=["empty", "garbage", "zeros"],
)
def test_a_broken_file_is_named(library: Library, tmp_path: Path, content: bytes, reason: str) -> None:
    """With TensorRT's own sentence where it has one."""
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(BackendUnavailableError, match=f"broken.onnx: .*({reason})"):
        _plan(library, ModelFile(path, "onnx", SHAPE))


def test_a_file_cut_in_the_middle_is_named(library: Library, data: Path, tmp_path: Path) -> None:
    """As after a copy that was interrupted."""
    path = tmp_path / "cut.onnx"
    path.write_bytes((data / "models/yolox_nano/yolox_nano.onnx").read_bytes()[:1_000_000])
    with pytest.raises(BackendUnavailableError, match=r"cut.onnx: "):
        _plan(library, ModelFile(path, "onnx", (1, 3, 416, 416)))


def test_an_operator_tensorrt_does_not_know_is_named_with_its_node(library: Library, tmp_path: Path) -> None:
    """File, node and operator."""
    file = _network(tmp_path / "strange.onnx", "Strange")
    with pytest.raises(BackendUnavailableError, match=r"strange.onnx: .* cannot read it: node first \(Strange\): "):
        _plan(library, file)


def test_an_absent_file_is_named(library: Library, tmp_path: Path) -> None:
    """It may have gone since the bundle was read."""
    with pytest.raises(BackendUnavailableError, match=r"absent.onnx: no such file"):
        _plan(library, ModelFile(tmp_path / "absent.onnx", "onnx", SHAPE))


def test_an_input_the_bundle_gets_wrong_is_a_model_error(library: Library, tmp_path: Path) -> None:
    """Before time is spent on building."""
    file = _network(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"\[1, 3, 16, 16\] float32, model.yaml says \[1, 3, 32, 32\] float32"):
        _plan(library, ModelFile(file.path, "onnx", (1, 3, 32, 32)))


def test_ctrl_c_ends_a_build(library: Library, tmp_path: Path) -> None:
    """It reaches our code inside TensorRT's: TensorRT is asked to stop, and then it goes on as itself."""

    def press(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(library, None, _network(tmp_path / "a.onnx"), "f32", Profile.up_to(1, SHAPE), press)
    assert _plan(library, ModelFile(tmp_path / "a.onnx", "onnx", SHAPE))


def test_what_a_release_raises_is_ours_with_the_file(library: Library, tmp_path: Path) -> None:
    """Whatever it is; here a class that another release has no more."""
    kept = ("Builder", "BuilderFlag", "NetworkDefinitionCreationFlag", "OnnxParser")
    module = SimpleNamespace(__version__="99", **{name: getattr(library.module, name) for name in kept})
    other = Library(module, library.name, library.logger, library.errors)
    with pytest.raises(BackendUnavailableError, match=r"a.onnx: tensorrt_rtx 99 cannot build .*MemoryPoolType"):
        _plan(other, _network(tmp_path / "a.onnx"))


def test_nested_phases_make_one_percentage() -> None:
    """A step of the outer phase is as far as the phase inside it."""
    told: list[int] = []
    steps = Steps(lambda done, _: told.append(done))
    steps.start("build", None, 2)
    steps.start("optimize", "build", 4)
    assert all(steps.step("optimize", number) for number in range(4))
    steps.finish("optimize")
    assert steps.step("build", 0)
    assert steps.step("build", 1)
    steps.finish("build")
    assert told == [12, 25, 37, 50, 99]


class _Flags:
    FP16, INT8, TF32 = "FP16", "INT8", "TF32"


@pytest.mark.parametrize(
    "precision, weights, expected",
    [
        ("f32", "f32", []),
        ("f16", "f32", ["FP16"]),
        ("f32", "f16", ["FP16"]),
        ("int8", "int8", ["INT8"]),
        ("bf16", "f32", []),
    ],
)
def test_flags_are_set_where_a_release_has_them(precision: str, weights: str, expected: list[str]) -> None:
    """As TensorRT 8.6 has them; TF32, which is on by default, is not what f32 stands for."""
    flags = ["TF32"]
    config = SimpleNamespace(set_flag=flags.append, clear_flag=flags.remove)
    library = Library(SimpleNamespace(BuilderFlag=_Flags), "tensorrt", None, Errors())
    file = ModelFile(Path("m.onnx"), "onnx", SHAPE, precision=weights)
    tensorrt_builder._set_precision(library, config, tensorrt_builder.computed(file, precision))
    assert flags == expected


@pytest.mark.parametrize(
    "network_flags, builder_flags, expected",
    [
        ({"EXPLICIT_BATCH": 0}, {"FP16": 0}, 0b1),
        ({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, {"FP16": 0}, 0b1),
        ({"STRONGLY_TYPED": 0}, {}, 0b1),
        ({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, {}, 0b11),
        ({}, {}, 0),
    ],
    ids=["8.6", "10", "RTX 1.7", "strongly typed", "neither"],
)
def test_networks_are_made_as_a_release_wants_them(
    network_flags: dict[str, int], builder_flags: dict[str, int], expected: int
) -> None:
    """Batch sizes explicit where there is a choice, types from the file where flags cannot set them."""
    trt = SimpleNamespace(
        NetworkDefinitionCreationFlag=SimpleNamespace(**network_flags), BuilderFlag=SimpleNamespace(**builder_flags)
    )
    assert tensorrt_builder._network_flags(trt) == expected


def test_times_measured_once_are_used_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The timing cache of a release, device and driver; a damaged one is begun anew. The configuration is a fake."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    given: list[bytes] = []

    def create(known: bytes) -> Any:
        given.append(known)
        return None if known == b"damaged" else SimpleNamespace(serialize=lambda: b"times")

    used: list[Any] = []
    config = SimpleNamespace(
        create_timing_cache=create,
        set_timing_cache=lambda times, _: used.append(times),
        get_timing_cache=lambda: used[-1],
    )
    library = Library(SimpleNamespace(__version__="10.3.0"), "tensorrt", None, Errors())
    gpu = Gpu("Orin", (8, 7), "1")
    path = tensorrt_builder._set_timing_cache(library, config, gpu)
    assert path is not None
    tensorrt_builder._keep_times(path, config)
    assert tensorrt_builder._set_timing_cache(library, config, gpu) == path
    path.write_bytes(b"damaged")
    tensorrt_builder._set_timing_cache(library, config, gpu)
    assert given == [b"", b"times", b"damaged", b""]
    assert tensorrt_builder._set_timing_cache(library, config, Gpu("Orin", (8, 7), "2")) != path


def _no_driver() -> bool:
    return not Path("/proc/driver/nvidia/version").exists()


@pytest.mark.skipif(not _no_driver(), reason="this machine has an NVIDIA driver")
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_nothing_touches_the_runtime_without_a_driver(name: str, tmp_path: Path) -> None:
    """The real one ends the process there; this one, in a child, ends it with a code of its own."""
    path = tmp_path / "m.onnx"
    path.write_bytes(b"")
    code = f"""
import os, sys, types
from pathlib import Path
import tensorrt_rtx as trt
class Runtime:
    def __init__(self, logger):
        os._exit(99)
trt.Runtime = Runtime
sys.modules["tensorrt"] = trt if {name!r} == "tensorrt" else None
from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.tensorrt.backend import TensorRt
print(TensorRt().probe().reason)
for format in ("onnx", "tensorrt"):
    try:
        TensorRt().load(ModelFile(Path({str(path)!r}), format, (1, 3, 4, 4)), LoadOptions())
    except BackendUnavailableError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "no NVIDIA driver (libcuda.so.1)\n" * 3


def _camera(model: Path, **settings: Any) -> dict[str, Any]:
    return {
        "id": "gate",
        "source": {"kind": "synthetic"},
        "pipeline": "object_detection",
        "with": {"model": str(model), **settings},
    }


@pytest.mark.skipif(not _no_driver(), reason="this machine has an NVIDIA driver")
@pytest.mark.usefixtures("library")
def test_models_build_makes_the_engines_of_a_site_once(
    edge_vision: Start, write_site: Callable[..., Path], yolox: Path
) -> None:
    """What was built, how large, how long it took, that it was not run; the second time, that it is there already."""
    site = write_site(cameras=[_camera(yolox, backends=["tensorrt", "onnxruntime"])])
    for state in ("built", "there already"):
        output, errors = edge_vision("models", "build", site).communicate(timeout=60)
        rows = [line for line in output.splitlines() if "yolox_nano.onnx" in line]
        assert len(rows) == 2, errors
        assert f" {state}: 5.1 MB, built in " in rows[0]
        assert "for any GPU of compute capability 8.0 and later; not run: no NVIDIA driver" in rows[0]
        assert "loaded: " in rows[1]
        assert "engines: 1 engines, 5.1 MB" in output
    (entry,) = engine_cache.entries()
    assert entry.size == entry.path.stat().st_size
    assert entry.model == "yolox_nano.onnx"


@pytest.mark.skipif(not _no_driver(), reason="this machine has an NVIDIA driver")
@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    "content, precision, expected",
    [
        (b"this is no network", "f32", "failed: "),
        (None, "f16", "not here: .* computes in the precision of the file"),
    ],
    ids=["broken", "precision"],
)
def test_models_build_ends_in_78_with_the_reason(
    content: bytes | None, precision: str, expected: str, edge_vision: Start, write_site: Callable[..., Path],
    yolox: Path, tmp_path: Path,
) -> None:  # fmt: skip
    """A file that cannot be built, and a model that nothing here can serve as asked."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "model.yaml").write_bytes((yolox / "model.yaml").read_bytes())
    (bundle / "yolox_nano.onnx").write_bytes((yolox / "yolox_nano.onnx").read_bytes() if content is None else content)
    site = write_site(cameras=[_camera(bundle, backends=["tensorrt"])])
    process = edge_vision("models", "build", site, "--precision", precision)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 78
    assert "Traceback" not in errors
    assert re.search(f"yolox_nano.onnx .*{expected}", output), output
