"""Chooses the runtime for a model: tries the candidates in order and remembers why one was passed over."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_vision.core.errors import BackendError, BackendUnavailableError, NoBackendError
from edge_vision.core.model import ModelSpec
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.table import backend

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Selected:
    """A loaded engine, its backend's name, and the candidates passed over with their reasons."""

    engine: Engine
    backend: str
    passed_over: tuple[tuple[str, str], ...]


def select(model: ModelSpec, candidates: Sequence[str], options: LoadOptions) -> Selected:
    """Load the model on the first candidate that can serve it as asked.

    Raises NoBackendError with every reason when none can.
    """
    passed_over: list[tuple[str, str]] = []
    for name in candidates:
        try:
            engine = _load(name, model, options)
        except BackendError as error:
            _log.warning("model %s: %s passed over: %s", model.name, name, error)
            passed_over.append((name, str(error)))
        else:
            return Selected(engine, name, tuple(passed_over))
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in passed_over)
    msg = f"model {model.name}: no runtime can serve it with precision {options.precision}:{reasons}"
    raise NoBackendError(msg)


def _load(name: str, model: ModelSpec, options: LoadOptions) -> Engine:
    candidate = backend(name)
    availability = candidate.probe()
    if not availability.available:
        raise BackendUnavailableError(availability.reason)
    if not model.files_in(candidate.formats):
        have = ", ".join(sorted({file.format for file in model.files}))
        msg = f"reads {', '.join(candidate.formats)}; the bundle holds {have}"
        raise BackendUnavailableError(msg)
    engine = candidate.load(model, options)
    # The first inference, on this thread: some runtimes find out only now, others must not make theirs at once.
    blank = np.zeros(model.input_shape, model.input_dtype)
    with engine.open_session() as session:
        session.infer({engine.inputs[0].name: blank})
    return engine
