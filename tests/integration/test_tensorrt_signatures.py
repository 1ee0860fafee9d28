"""Releases of TensorRT from JetPack 6.0 on have everything our code uses, with the arguments it gives."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tensorrt_uses import OWNERS, Use, missing, uses

from edge_vision.inference.tensorrt import cuda

FILES = [ROOT / "edge_vision/inference/tensorrt" / name for name in ("backend.py", "builder.py", "library.py")]
GUARDED = {
    "IProgressMonitor",
    "IProgressMonitor.phase_start",
    "IProgressMonitor.phase_finish",
    "IProgressMonitor.step_complete",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
    "ComputeCapability.SM75",
}
"""What 8.6 has not: only used where it is there (progress), or on TensorRT-RTX (compute capability)."""
JETPACK_6 = ("tensorrt==8.6.0", "nvidia-cuda-runtime-cu12", "nvidia-cublas-cu12", "nvidia-cudnn-cu12<9", "numpy<2")


def test_the_uses_are_found() -> None:
    """Reading the code finds what is known to be there, so that an empty list never passes for a good one."""
    found = uses(FILES)
    assert {
        Use("Builder", 1),
        Use("Builder.create_network", 1),
        Use("OnnxParser", 2),
        Use("OnnxParser.parse_from_file", 1),
        Use("ParserError.node", 0),
        Use("IBuilderConfig.set_memory_pool_limit", 2),
        Use("MemoryPoolType.WORKSPACE"),
        Use("BuilderFlag.TF32"),
        Use("IOptimizationProfile.set_shape", 4),
        Use("ITimingCache.serialize", 0),
        Use("ILogger.log", 2),
        Use("ILogger.Severity.ERROR"),
        Use("Runtime", 1),
        Use("Runtime.deserialize_cuda_engine", 1),
        Use("ICudaEngine.num_io_tensors"),
        Use("IExecutionContext.execute_async_v3", 1),
        Use("TensorIOMode.INPUT"),
    } <= found
    assert set(OWNERS.values()) <= {use.path.rpartition(".")[0] for use in found}
    assert {use.path for use in found} >= GUARDED


def test_the_installed_release_has_them_all() -> None:
    """TensorRT-RTX; and what it has not, or takes otherwise, would be found."""
    trt = pytest.importorskip("tensorrt_rtx")
    assert missing(trt, sorted(uses(FILES))) == []
    wrong = [Use("Builder.create_networks", 1), Use("Builder.create_network", 3), Use("Nothing.at_all")]
    assert missing(trt, wrong) == [
        "Builder.create_networks: absent",
        "Builder.create_network: takes [0, 1] arguments, is given 3",
        "Nothing.at_all: absent",
    ]


@pytest.fixture(scope="module", name="jetpack_6")
def _jetpack_6(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python with TensorRT 8.6, the release of JetPack 6.0: EDGE_VISION_TENSORRT86, or 2.1 GB are downloaded."""
    given = os.environ.get("EDGE_VISION_TENSORRT86")
    if given:
        yield Path(given)
        return
    interpreter = _python_3_10()
    if interpreter is None:
        pytest.skip("TensorRT 8.6.0 has wheels for Python 3.10 only, which is not here")
    folder = tmp_path_factory.mktemp("tensorrt86")
    subprocess.run([interpreter, "-m", "venv", folder], check=True, timeout=120)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *JETPACK_6], check=True, timeout=1500)
    yield python
    shutil.rmtree(folder)  # several gigabytes


def _python_3_10() -> str | None:
    candidates = [
        sys.executable,
        shutil.which("python3.10"),
        *map(str, Path.home().glob(".pyenv/versions/3.10*/bin/python")),
    ]
    code = "import sys; sys.exit(sys.version_info[:2] != (3, 10))"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", code], check=False, capture_output=True, timeout=60).returncode == 0:
            return candidate
    return None


def _run(python: Path, *arguments: str, given: str = "") -> Any:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, *arguments], input=given, capture_output=True, text=True, check=False, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_jetpack_6_has_them_all(jetpack_6: Path) -> None:
    """Every name and number of arguments in the bindings of TensorRT 8.6; what is guarded is really absent there."""
    found = uses(FILES)
    answer = _run(
        jetpack_6,
        str(ROOT / "tests/tensorrt_uses.py"),
        "tensorrt",
        given=json.dumps([asdict(use) for use in sorted(found)]),
    )
    assert answer["version"] == "8.6.0"
    assert set(answer["missing"]) == {f"{path}: absent" for path in GUARDED}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_jetpack_6_is_found_and_speaks_through_our_logger(jetpack_6: Path, tmp_path: Path) -> None:
    """Without a GPU: the probe gives its version, building is refused in its own words, and the process lives."""
    code = f"""
import json
from pathlib import Path
from edge_vision.core.errors import BackendUnavailableError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.tensorrt.cuda import Gpu
from edge_vision.inference.tensorrt.backend import TensorRt
from edge_vision.inference.tensorrt.builder import Profile, _network_flags, build
from edge_vision.inference.tensorrt.library import find_library
file, said = ModelFile(Path({str(tmp_path / "m.onnx")!r}), "onnx", (1, 3, 4, 4)), []
library = find_library()
for call in (
    lambda: TensorRt().load(file, LoadOptions()),
    lambda: build(library, Gpu("pretended", (8, 7), ""), file, "f16", Profile.up_to(1, file.input_shape), print),
):
    try:
        call()
    except BackendUnavailableError as error:
        said.append(str(error))
print(json.dumps([library.runtime, TensorRt().probe().version, _network_flags(library.module), *said]))
"""
    runtime, version, flags, load, build = _run(jetpack_6, "-c", code)
    assert (runtime, version, flags) == ("tensorrt 8.6.0", "8.6.0", 1)
    if not Path("/proc/driver/nvidia/version").exists():
        assert load == "no NVIDIA driver (libcuda.so.1)"
        assert build.startswith("tensorrt 8.6.0 cannot build engines here: ")
        assert "CUDA" in build


_C_TYPES = {
    "int": ctypes.c_int, "CUdevice": ctypes.c_int, "CUdevice_attribute": ctypes.c_int, "CUresult": ctypes.c_int,
    "unsigned int": ctypes.c_uint, "size_t": ctypes.c_size_t, "CUdeviceptr": ctypes.c_uint64, "char *": ctypes.c_char_p,
    "void *": ctypes.c_void_p, "CUcontext": ctypes.c_void_p, "CUstream": ctypes.c_void_p, "CUevent": ctypes.c_void_p,
}  # fmt: skip


def _ctype(declared: str) -> Any:
    """The type of a parameter, such as "const char **pStr"."""
    kind = re.sub(r"\w+$", "", declared.replace("const ", "")).strip()
    if kind in _C_TYPES:
        return _C_TYPES[kind]
    assert kind.endswith("*"), declared
    return ctypes.POINTER(_C_TYPES[kind[:-1].strip() if kind[:-1].strip() in _C_TYPES else f"{kind[:-2].strip()} *"])


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_cuda_is_called_as_its_header_says(jetpack_6: Path) -> None:
    """Every function we bind, with its types, in the cuda.h that comes with the runtime; and the numbers we give it."""
    (header,) = jetpack_6.parent.parent.glob("lib/python*/site-packages/nvidia/cuda_runtime/include/cuda.h")
    text = header.read_text(encoding="utf-8")
    for name, types in cuda._PROTOTYPES.items():
        plain = name.removesuffix("_v2")
        match = re.search(rf"CUDAAPI {plain}\(([^)]*)\);", text)
        assert match is not None, name
        assert tuple(_ctype(one) for one in match[1].split(", ")) == types, name
        renamed = re.search(rf"#define {plain} +(?:__CUDA_API_PTSZ\()?(\w+)", text)
        assert name == (renamed[1] if renamed else plain)
    numbers = {
        key: int(value, 0) for key, value in re.findall(r"^ +(CU_\w+) *= (0x[0-9a-f]+|\d+)\b", text, re.MULTILINE)
    }
    assert numbers["CU_EVENT_BLOCKING_SYNC"] | numbers["CU_EVENT_DISABLE_TIMING"] == cuda._EVENT_FLAGS
    assert numbers["CU_STREAM_NON_BLOCKING"] == cuda._NON_BLOCKING
    assert numbers["CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR"] == cuda._CAPABILITY_MAJOR
    assert numbers["CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR"] == cuda._CAPABILITY_MINOR
