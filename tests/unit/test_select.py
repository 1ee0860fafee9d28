"""Checks the choice of a runtime: in order, with every reason kept."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from edge_vision.core.errors import (
    BackendUnavailableError,
    InferenceError,
    ModelError,
    NoBackendError,
    NoBackendYetError,
    ParityError,
    UnfinishedTrialError,
)
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.protocols import Availability, Engine, LoadOptions
from edge_vision.core.tensor import Tensors, TensorSpec
from edge_vision.inference.select import select
from edge_vision.inference.shapes import check_input, short
from edge_vision.inference.table import BACKENDS
from edge_vision.testing.fakes import FakeBackend, FakeEngine, echo

FILE = ModelFile(Path("m.onnx"), "onnx", (1, 3, 8, 8))
MODEL = ModelSpec("m", (FILE,), ("a",))
CALLS: list[str] = []


class Good(FakeBackend):
    """Works; notes what it was asked, and for what."""

    def load(self, file: ModelFile, options: LoadOptions) -> FakeEngine:
        """The engine of the fake."""
        CALLS.append(f"load {options.precision} {options.threads} {options.parallel}")
        return FakeEngine((TensorSpec("images", file.input_shape, file.input_dtype),), _note)


def _note(tensors: Tensors) -> Tensors:
    CALLS.extend(f"infer {name} {value.shape} {value.dtype}" for name, value in tensors.items())
    return echo(tensors)


class Absent(FakeBackend):
    """Not installed."""

    availability = Availability(available=False, reason="absent is not installed")

    def load(self, file: ModelFile, options: LoadOptions) -> FakeEngine:
        """Never to be called."""
        raise AssertionError(file, options)


class OtherFormat(Absent):
    """Reads what the bundle does not hold."""

    availability = FakeBackend.availability
    formats = ("tflite", "engine")


class Unavailable(FakeBackend):
    """Cannot load it."""

    load_error = BackendUnavailableError("cannot read m.onnx")


class WrongModel(FakeBackend):
    """Finds the model wrong."""

    load_error = ModelError("its input is another")


class Parity(FakeBackend):
    """Answers differently."""

    load_error = ParityError("differs by 0.5")


class FailsLater(FakeBackend):
    """Loads, and fails at its first inference."""

    infer_error = InferenceError("no such layer")


class Broken(FakeBackend):
    """Raises what it must not."""

    load_error = ZeroDivisionError("a bug")


FAKES = (Good, Absent, OtherFormat, Unavailable, WrongModel, Parity, FailsLater, Broken)
REASONS = {
    "Absent": "absent is not installed",
    "OtherFormat": "reads tflite, engine; the bundle holds onnx",
    "Unavailable": "cannot read m.onnx",
    "WrongModel": "its input is another",
    "Parity": "differs by 0.5",
    "FailsLater": "no such layer",
}


@pytest.fixture(autouse=True)
def _fakes_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    for fake in FAKES:
        monkeypatch.setitem(BACKENDS, fake.__name__, f"{__name__}:{fake.__name__}")


def _believe(name: str, file: ModelFile, engine: Engine) -> str:
    del engine
    CALLS.append(f"prove {name} {file.path.name}")
    return "believed"


def test_the_first_candidate_that_works_is_taken() -> None:
    """No other is even asked."""
    chosen = select(MODEL, ["Good", "Broken"], LoadOptions("f16", 3, 2), _believe)
    assert (chosen.backend, chosen.passed_over) == ("Good", ())
    assert CALLS[0] == "load f16 3 2"


def test_the_first_inference_happens_at_the_choice() -> None:
    """One blank input of the bundle's shape and type, under the network's own name for it; the session is closed."""
    chosen = select(MODEL, ["Good"], LoadOptions(), _believe)
    assert CALLS[1:] == ["infer images (1, 3, 8, 8) float32", "prove Good m.onnx"]
    assert (chosen.proof, chosen.file) == ("believed", FILE)
    assert isinstance(chosen.engine, FakeEngine)
    assert chosen.engine.open_sessions == 0


def test_candidates_are_tried_in_order_and_every_reason_is_kept() -> None:
    """In the order of the list, each with what it said of itself."""
    order = ["FailsLater", "Absent", "Parity", "OtherFormat", "WrongModel", "Unavailable"]
    chosen = select(MODEL, [*order, "Good"], LoadOptions(), _believe)
    assert chosen.backend == "Good"
    assert chosen.passed_over == tuple((name, REASONS[name]) for name in order)


def test_a_runtime_that_failed_is_a_warning_and_one_that_is_absent_is_not(caplog: pytest.LogCaptureFixture) -> None:
    """A box without a GPU is not warned of that at every start."""
    with caplog.at_level(logging.INFO):
        select(MODEL, ["Absent", "OtherFormat", "Unavailable", "Good"], LoadOptions(), _believe)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("INFO", f"model m: Absent passed over: {REASONS['Absent']}"),
        ("INFO", f"model m: OtherFormat passed over: {REASONS['OtherFormat']}"),
        ("WARNING", f"model m: Unavailable passed over: {REASONS['Unavailable']}"),
    ]


def _refuse_onnx(name: str, file: ModelFile, engine: Engine) -> str:
    if file.path.name == "m.onnx":
        msg = f"{name} sees something else"
        raise ParityError(msg)
    return _believe(name, file, engine)


def test_a_candidate_that_is_not_proven_gives_way_to_the_next_file() -> None:
    """A runtime is tried with every file it reads before it is passed over; the reason is kept all the same."""
    model = ModelSpec("m", (FILE, replace(FILE, path=Path("other.onnx"))), ("a",))
    chosen = select(model, ["Good"], LoadOptions(), _refuse_onnx)
    assert chosen.file.path.name == "other.onnx"
    assert chosen.passed_over == (("Good", "Good sees something else"),)
    with pytest.raises(NoBackendError, match="Good sees something else"):
        select(MODEL, ["Good"], LoadOptions(), _refuse_onnx)


@pytest.mark.parametrize(
    "precisions, asked, chosen",
    [
        (("f32", "int8"), "f32", "f32"),
        (("f32", "int8"), "int8", "int8"),
        (("f16", "int8"), "bf16", "f16"),
        (("int8",), "f32", None),
        (("f32", "f16"), "int8", None),
    ],
)
def test_quantized_weights_serve_int8_and_nothing_else(
    precisions: tuple[str, ...], asked: str, chosen: str | None
) -> None:
    """Asked for f32, nobody gets int8; the reason names the files there are."""
    files = tuple(replace(FILE, path=Path(f"{name}.onnx"), precision=name) for name in precisions)
    model = ModelSpec("m", files, ("a",))
    if chosen is None:
        with pytest.raises(NoBackendError, match=rf"no file it reads has precision {asked}: {precisions[0]}\.onnx"):
            select(model, ["Good"], LoadOptions(asked), _believe)
    else:
        assert select(model, ["Good"], LoadOptions(asked), _believe).file.precision == chosen


def test_none_that_works_is_an_error_with_every_reason() -> None:
    """The message has the model, the precision asked for, and a line per candidate in order."""
    with pytest.raises(NoBackendError) as caught:
        select(MODEL, list(REASONS), LoadOptions("bf16"), _believe)
    first, *lines = str(caught.value).splitlines()
    assert "model m" in first
    assert "bf16" in first
    assert [line.strip() for line in lines] == [f"{name}: {reason}" for name, reason in REASONS.items()]


@pytest.mark.parametrize("error, lasting", [(UnfinishedTrialError, False), (BackendUnavailableError, True)])
def test_a_trial_that_was_not_finished_may_go_well_at_the_next_start(
    error: type[BackendUnavailableError], *, lasting: bool
) -> None:
    """On a loaded box, say: the error is then one after which systemd starts again."""

    def admit(*_: object) -> None:
        raise error

    with pytest.raises(NoBackendError) as caught:
        select(MODEL, ["Good", "Absent"], LoadOptions(), _believe, admit)
    assert isinstance(caught.value, NoBackendYetError) is not lasting


def test_no_candidates_is_an_error() -> None:
    """Nothing to try is nothing that works."""
    with pytest.raises(NoBackendError, match="model m"):
        select(MODEL, [], LoadOptions(), _believe)


def test_a_bug_is_not_passed_over() -> None:
    """Only what the package raises on purpose is a reason; anything else stops the start."""
    with pytest.raises(ZeroDivisionError, match="a bug"):
        select(MODEL, ["Broken", "Good"], LoadOptions(), _believe)


@pytest.mark.parametrize(
    "inputs, words",
    [
        ((TensorSpec("in", (1, 3, 8, 8), "float32"),), None),
        ((TensorSpec("in", (-1, 3, -1, -1), "float32"),), None),
        (
            (TensorSpec("in", (1, 3, 9, 8), "float32"),),
            r"its input is in \[1, 3, 9, 8\] float32, model.yaml says \[1, 3, 8, 8\]",
        ),
        ((TensorSpec("in", (3, 8, 8), "float32"),), r"in \[3, 8, 8\] float32"),
        ((TensorSpec("in", (1, 3, 8, 8), "uint8"),), r"\[1, 3, 8, 8\] uint8, model.yaml says \[1, 3, 8, 8\] float32"),
        ((), "has 0 inputs"),
        ((TensorSpec("a", (1,), "f"), TensorSpec("b", (2,), "f")), r"has 2 inputs \(a \[1\] f; b \[2\] f\)"),
    ],
)
def test_the_input_must_be_the_bundle_s(inputs: tuple[TensorSpec, ...], words: str | None) -> None:
    """Shape and type agree, where an open dimension takes any size; else both are named."""
    if words is None:
        check_input(inputs, FILE)
        return
    with pytest.raises(ModelError, match=words):
        check_input(inputs, FILE)


@pytest.mark.parametrize(
    "text, shown",
    [("\n\n one \n\n two\n", "one two"), ("", "RuntimeError"), ("x" * 301, "x" * 297 + "..."), ("y" * 300, "y" * 300)],
)
def test_a_library_s_error_becomes_one_short_line(text: str, shown: str) -> None:
    """Blank lines gone, cut at 300 characters, and never nothing."""
    assert short(RuntimeError(text)) == shown
