"""Tries a file on a runtime in a process of its own before it is let into this one: a bad file may crash a runtime."""

import hashlib
import json
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_vision.core.errors import BackendError
from edge_vision.core.files import cache_folder, sha256_of, write_whole
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.core.tensor import TensorSpec
from edge_vision.inference.select import first_answer, load
from edge_vision.inference.table import backend
from edge_vision.runtime.quarantine import LIMIT_S, confined

_log = logging.getLogger(__name__)

_RANDOM_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Tried:
    """What a runtime made of a file: its inputs and outputs as they really are, the outputs for a blank picture."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def try_out(name: str, file: ModelFile, options: LoadOptions, keep: Path | None = None) -> Tried:
    """Load a file on a runtime and run it once, in a child process.

    With `keep` the outputs for a picture of noise are written there, as .npz. Raises BackendError with the runtime's
    own reason, or the signal or the time limit when it crashed or hung.
    """
    argument = {"name": name, "file": file, "options": options, "keep": keep}
    row = f"{__name__}:attempt"
    try:
        answer = confined(row, argument, LIMIT_S)
    except BackendError as error:
        if str(file.path) in str(error):
            raise
        msg = f"{file.path}: {error}"
        raise type(error)(msg) from error
    return Tried(*(tuple(map(_spec, answer[side])) for side in ("inputs", "outputs")))


def admit(name: str, file: ModelFile, options: LoadOptions) -> None:
    """Let a file into this process that this version of the runtime has loaded before, here or in a trial made now.

    A success is remembered, so that a warm start pays for a checksum. Raises what `try_out` raises; that is not
    remembered.
    """
    path = cache_folder() / "trials" / _key(name, file, options)
    if os.path.exists(path):  # noqa: PTH110 - Path.exists raises where the folder may not be entered
        return
    _log.info("%s: tried on %s first, in a process of its own", file.path, name)
    try_out(name, file, options)
    try:
        write_whole(path, b"")
    except OSError as error:
        _log.info("%s: the trial cannot be remembered: %s", path, error.strerror)


def load_after_trial(name: str, file: ModelFile, options: LoadOptions) -> Engine:
    """What `load` gives, for a file that is admitted. Raises what `admit` and `load` raise."""
    admit(name, file, options)
    return load(name, file, options)


def attempt(name: str, file: ModelFile, options: LoadOptions, keep: Path | None) -> Mapping[str, Any]:
    """The child's part: load, run once on a blank picture and, to keep the outputs, once on noise."""
    engine = backend(name).load(file, options)
    outputs = first_answer(engine, file)
    specs = [TensorSpec(key, value.shape, str(value.dtype)) for key, value in outputs.items()]
    if keep is not None:
        noise = np.random.default_rng(_RANDOM_SEED).integers(0, 256, file.input_shape).astype(file.input_dtype)
        with engine.open_session() as session:
            answer = session.infer({engine.inputs[0].name: noise})
        np.savez(keep, **{f"output:{key}": np.asarray(value) for key, value in answer.items()})  # type: ignore[arg-type]
    return {"inputs": list(map(asdict, engine.inputs)), "outputs": list(map(asdict, specs))}


def _spec(facts: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(facts["name"], tuple(facts["shape"]), facts["dtype"])


def _key(name: str, file: ModelFile, options: LoadOptions) -> str:
    facts = {
        "weights": [sha256_of(part) for part in file.parts()],
        "file": [file.format, file.input_shape, file.input_dtype, file.precision],
        "options": asdict(options),
        "backend": [name, backend(name).probe().version],
        "machine": platform.machine(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
