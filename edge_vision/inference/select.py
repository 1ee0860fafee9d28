"""Chooses the runtime for a model: tries the candidates in order and remembers why one was passed over."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from edge_vision.core.errors import (
    BackendError,
    BackendUnavailableError,
    ModelError,
    NoBackendError,
    NoBackendYetError,
    UnfinishedTrialError,
)
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.core.tensor import Tensors
from edge_vision.inference.table import backend

_log = logging.getLogger(__name__)

ProofT = TypeVar("ProofT")


@dataclass(frozen=True, slots=True)
class Selected(Generic[ProofT]):
    """A loaded engine, its file and backend, the proof that it sees, and the candidates passed over with reasons."""

    engine: Engine
    file: ModelFile
    backend: str
    proof: ProofT
    passed_over: tuple[tuple[str, str], ...]


def select(
    model: ModelSpec,
    candidates: Sequence[str],
    options: LoadOptions,
    prove: Callable[[str, ModelFile, Engine], ProofT],
    admit: Callable[[str, ModelFile, LoadOptions], None] = lambda _name, _file, _options: None,
) -> Selected[ProofT]:
    """Load the model on the first candidate that can serve it as asked, and that `prove` accepts.

    A candidate is a runtime with each file it can read, in the order of the bundle. `prove` gets the runtime's name,
    the file and the engine, and raises ParityError when the engine sees something else than the reference. `admit` may
    keep a file out of this process: it raises BackendError before the file is loaded. Raises NoBackendError with every
    reason when none is left, NoBackendYetError when a trial was not finished, so that another start may have one.
    """
    passed_over: list[tuple[str, str]] = []
    verdict = NoBackendError
    for name in candidates:
        reasons: list[str] = []
        try:
            files = usable_files(name, model, options.precision)
        except BackendError as error:
            files, reasons = (), [str(error)]
        for file in files:
            try:
                admit(name, file, options)
                engine = load(name, file, options)
                proof = prove(name, file, engine)
            except BackendError as error:
                reasons.append(str(error))
                verdict = NoBackendYetError if isinstance(error, UnfinishedTrialError) else verdict
            else:
                if reasons:
                    passed_over.append((name, "; ".join(reasons)))
                return Selected(engine, file, name, proof, tuple(passed_over))
        passed_over.append((name, "; ".join(reasons)))
        # A runtime this machine has not is a fact of it; one that failed is news.
        level = logging.WARNING if files else logging.INFO
        _log.log(level, "model %s: %s passed over: %s", model.name, *passed_over[-1])
    reasons = [f"\n  {name}: {reason}" for name, reason in passed_over]
    msg = f"model {model.name}: no runtime can serve it with precision {options.precision}:{''.join(reasons)}"
    raise verdict(msg)


def why_no_file(model: ModelSpec, candidates: Sequence[str], precision: str) -> tuple[str, str]:
    """Why no candidate could ever serve a model, on whatever machine: the option at fault and a sentence, or nothing.

    Only files and formats are looked at: whether a runtime works here is another question.
    """
    files = [file for file in model.files if (file.precision == "int8") == (precision == "int8")]
    if not files:
        have = ", ".join(f"{file.path.name} ({file.precision})" for file in model.files)
        hint = "" if precision == "int8" else "; set precision: int8"
        return "precision", f"model {model.name} has no file for precision {precision}: {have}{hint}"
    held = {file.format for file in files}
    reads = {name: backend(name).formats for name in candidates}
    if any(held.intersection(formats) for formats in reads.values()):
        return "", ""
    others = "; ".join(f"{name} reads {', '.join(formats)}" for name, formats in reads.items())
    listed = " and ".join(sorted(held))
    return "backends", f"model {model.name} is in {listed}, and none of these runtimes reads that: {others}"


def usable_files(name: str, model: ModelSpec, precision: str) -> tuple[ModelFile, ...]:
    """The files of a model that a runtime can read and that have the precision asked for.

    Weights in f16 may serve f32 arithmetic; int8 weights serve nothing but int8. Raises BackendUnavailableError with
    the reason when the runtime does not work here or there is no such file.
    """
    candidate = backend(name)
    availability = candidate.probe()
    if not availability.available:
        raise BackendUnavailableError(availability.reason)
    lacks = dict(availability.lacks)
    readable = model.files_in(tuple(one for one in candidate.formats if one not in lacks))
    if not readable and (unread := model.files_in(tuple(lacks))):
        raise BackendUnavailableError("; ".join(f"{file.path.name}: {lacks[file.format]}" for file in unread))
    if not readable:
        have = ", ".join(sorted({file.format for file in model.files}))
        msg = f"reads {', '.join(candidate.formats)}; the bundle holds {have}"
        raise BackendUnavailableError(msg)
    files = tuple(file for file in readable if (file.precision == "int8") == (precision == "int8"))
    if not files:
        have = ", ".join(f"{file.path.name} ({file.precision})" for file in readable)
        msg = f"no file it reads has precision {precision}: {have}"
        raise BackendUnavailableError(msg)
    return files


def load(name: str, file: ModelFile, options: LoadOptions) -> Engine:
    """Load a file on a runtime and make its first inference. Raises BackendError."""
    engine = backend(name).load(file, options)
    first_answer(engine, file)
    return engine


def first_answer(engine: Engine, file: ModelFile) -> Tensors:
    """The outputs for a blank picture; raises ModelError when there are none or one holds a NaN.

    The first inference, on this thread: some runtimes find out only now, others must not make theirs at once.
    """
    blank = np.zeros(file.input_shape, file.input_dtype)
    with engine.open_session() as session:
        outputs = session.infer({engine.inputs[0].name: blank})
        if not outputs:
            msg = f"{file.path}: has no output"
            raise ModelError(msg)
        for name, value in outputs.items():
            share = np.isnan(value).mean() if value.size and value.dtype.kind == "f" else 0.0
            if share:
                what = f"{share:.0%} of its output {name} for a blank picture are not numbers (NaN)"
                msg = f"{file.path}: {what}: the weights are damaged, or overflow in this precision"
                raise ModelError(msg)
        return {name: np.array(value) for name, value in outputs.items()}
