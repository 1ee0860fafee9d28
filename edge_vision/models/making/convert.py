"""Makes a file of a model in another format, and lets it into a bundle only when it sees the same."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_vision.core.errors import BackendUnavailableError, ConfigError, ModelError
from edge_vision.core.model import ModelFile
from edge_vision.core.plugin import require
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.shapes import short
from edge_vision.inference.table import backend
from edge_vision.inference.tensorrt.backend import check_precision
from edge_vision.inference.tensorrt.builder import Profile, build
from edge_vision.inference.tensorrt.cuda import gpu
from edge_vision.inference.tensorrt.library import find_library
from edge_vision.inference.trial import admit, load_after_trial
from edge_vision.models.bundle import Bundle
from edge_vision.models.making.derive import (
    Made,
    golden_of,
    prove_new,
    readers_of,
    refuse_double,
    source_of,
    stage,
    workshop,
)
from edge_vision.models.proof.record import REFERENCES
from edge_vision.models.proof.verify import Row

_LIMIT_S: Final = 1800.0
"""How long a converter that is a program of its own may take."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is asked for: the format, the precision of the weights, the program (where one is used), the new folder."""

    to: str
    precision: str
    tool: str | None
    target: Path


@dataclass(frozen=True, slots=True)
class Converted:
    """The new file, what made it, and the gate's verdicts: none when no runtime of this machine reads it.

    The first verdict decides; nothing is written when it is a refusal.
    """

    source: str
    name: str
    maker: str
    size: int
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether a bundle was written."""
        return not self.rows or self.rows[0].passed


def convert(bundle: Bundle, wanted: Conversion) -> Converted:
    """Convert the first file that can be, prove it, and write a new bundle with it beside the old files.

    Raises ConfigError for what cannot be done, with the remedy, MissingLibraryError without the converter, and
    ModelError with the converter's own sentence.
    """
    golden_of(bundle)
    make, reads, suffix = _MAKERS[wanted.to]
    source = source_of(bundle, reads(), f"--to {wanted.to}")
    ending = "" if wanted.precision == "f32" else f"_{wanted.precision}"
    name = Path(bundle.path_of(source)).with_name(f"{source.path.stem}{ending}{suffix}").as_posix()
    refuse_double(bundle, name)
    with workshop(wanted.target, bundle) as folder:
        path = folder / Path(name).name
        maker = make(source, path, wanted)
        parts = tuple(one for one in (path, path.with_suffix(".bin")) if one.exists())
        made = Made(source, name, wanted.to, wanted.precision, maker, parts)
        staged = stage(bundle, made, folder)
        # The format's own reference runtime decides, where it is here.
        readers = sorted(readers_of(staged, "f32"), key=lambda name: name != REFERENCES.get(wanted.to))
        rows = prove_new(staged, readers, "f32")
        converted = Converted(bundle.path_of(source), name, maker, sum(one.stat().st_size for one in parts), rows)
        if converted.passed:
            staged.put(wanted.target)
    return converted


def _to_openvino(source: ModelFile, path: Path, wanted: Conversion) -> str:
    openvino = require("openvino", "openvino")
    admit("openvino", source, LoadOptions())
    try:
        network = openvino.Core().read_model(str(source.path))
        openvino.save_model(network, str(path), compress_to_fp16=wanted.precision == "f16")
    except Exception as error:
        msg = f"{source.path}: openvino cannot convert it: {short(error)}"
        raise ModelError(msg) from error
    return f"openvino {openvino.__version__.partition('-')[0]}"


def _to_tflite(source: ModelFile, path: Path, wanted: Conversion) -> str:
    """By the program onnx2tf: it needs TensorFlow, which is too heavy to stand beside what serves."""
    program = shutil.which(wanted.tool or "onnx2tf")
    if program is None:
        msg = (
            f"{wanted.tool or 'onnx2tf'}: no such program: TFLite is written by onnx2tf, in an environment of its own: "
            "python3 -m venv tf && tf/bin/pip install onnx2tf tensorflow tf_keras onnxsim sng4onnx onnx_graphsurgeon "
            "psutil ai-edge-litert, then --tool tf/bin/onnx2tf"
        )
        raise ConfigError(msg)
    name = load_after_trial("onnxruntime", source, LoadOptions()).inputs[0].name
    folder = path.parent / "onnx2tf"
    folder.mkdir()
    command = [program, "-i", str(source.path.resolve()), "-o", str(folder / "out"), "-kat", name, "-n"]
    # It starts programs that lie beside it.
    path_list = f"{Path(program).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path_list, "TF_CPP_MIN_LOG_LEVEL": "3"}
    try:
        done = subprocess.run(  # noqa: S603 - the program is the operator's choice
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"{source.path}: {program} cannot convert it: {short(error)}"
        raise ModelError(msg) from error
    kind = {"f32": "float32", "f16": "float16"}[wanted.precision]
    written = sorted((folder / "out").glob(f"*_{kind}.tflite"))
    if done.returncode or len(written) != 1:
        last = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()][-3:]
        msg = f"{source.path}: {program} cannot convert it (exit code {done.returncode}): {' '.join(last)[:300]}"
        raise ModelError(msg)
    written[0].rename(path)
    return _version_of(program)


def _to_tensorrt(source: ModelFile, path: Path, wanted: Conversion) -> str:
    """For this GPU and release; TensorRT-RTX builds for many GPUs, and without one.

    `models build` is what keeps engines of a site in step with its machine; this is for whoever hands out engines.
    """
    try:
        library = find_library()
        check_precision(library, source, wanted.precision)
        card = None if library.portable and not _has_gpu() else gpu()
        profile = Profile.up_to(1, source.input_shape)
        plan = build(library, card, source, wanted.precision, profile, lambda _done, _all: None)
    except BackendUnavailableError as error:
        raise ModelError(str(error)) from error
    path.write_bytes(plan)
    return library.runtime


def _has_gpu() -> bool:
    try:
        gpu()
    except BackendUnavailableError:
        return False
    return True


def _version_of(program: str) -> str:
    """The program and its version, in its own words."""
    try:
        said = subprocess.run(  # noqa: S603 - the same program
            [program, "--version"], capture_output=True, text=True, timeout=120.0, check=False
        ).stdout.split()
    except (OSError, subprocess.TimeoutExpired):
        said = []
    return f"onnx2tf {said[-1] if said else '(unknown version)'}"


def _openvino_reads() -> tuple[str, ...]:
    return tuple(name for name in backend("openvino").formats if name != "openvino")


_Maker = Callable[[ModelFile, Path, Conversion], str]
_MAKERS: Final[dict[str, tuple[_Maker, Callable[[], tuple[str, ...]], str]]] = {
    "openvino": (_to_openvino, _openvino_reads, ".xml"),
    "tflite": (_to_tflite, lambda: ("onnx",), ".tflite"),
    "tensorrt": (_to_tensorrt, lambda: ("onnx",), ".engine"),
}
"""Per target: what writes it, the formats that can be converted, the suffix."""

TARGETS: Final = tuple(_MAKERS)
"""What `--to` takes."""
