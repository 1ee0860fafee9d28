"""Sessions of TensorRT engines on a fake GPU: what we hand to CUDA and TensorRT, when, and who gives it back.

The driver and the library are fakes (tests/fake_gpu.py); tests/contract/test_tensorrt_contract.py runs on a real GPU.
"""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import ILLEGAL_ADDRESS, OUT_OF_MEMORY, FakeCuda
from tensorrt_engines import SHAPE, fake_driver, install_tensorrt, loaded, loaded_for, random_picture, write_model

from edge_vision.core.errors import InferenceError
from edge_vision.core.model import ModelFile
from edge_vision.inference.batching import why_not_batch
from edge_vision.testing.contracts import check_engine


@pytest.fixture(name="cuda")
def _cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCuda]:
    with fake_driver(monkeypatch, tmp_path) as cuda:
        yield cuda


@pytest.fixture(name="trt")
def _trt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Any:
    return install_tensorrt(cuda, monkeypatch)


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> ModelFile:
    return write_model(tmp_path)


@pytest.mark.usefixtures("trt")
def test_sessions_keep_the_contract(model: ModelFile) -> None:
    """One by one and side by side, each with buffers of its own."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE), half=("HALF", (1, 7)))
    picture = random_picture()
    outputs = check_engine(engine, {"images": picture}, threads=3)
    assert np.array_equal(outputs["out"], picture * 2)
    assert outputs["half"].shape == (1, 7)
    assert np.array_equal(outputs["half"], (picture.ravel()[:7] * 3).astype(np.float16)[None])


@pytest.mark.usefixtures("trt")
def test_an_input_written_anew_is_read_anew(model: ModelFile) -> None:
    """The preprocessor reuses its buffer."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    picture = random_picture()
    with engine.open_session() as session:
        first = np.array(session.infer({"images": picture})["out"])
        picture += 1
        assert np.array_equal(session.infer({"images": picture})["out"], picture * 2)
        assert not np.array_equal(first, picture * 2)


@pytest.mark.usefixtures("trt")
def test_copies_and_kernels_are_queued_in_order_and_waited_for_once(cuda: FakeCuda, model: ModelFile) -> None:
    """In, run, every output out, one wait that sleeps."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE), more=("FLOAT", (2,)))
    with engine.open_session() as session:
        cuda.log.clear()
        session.infer({"images": random_picture()})
        assert cuda.log == [
            "cuMemcpyHtoDAsync_v2", "execute", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoHAsync_v2",
            "cuEventRecord", "cuEventSynchronize",
        ]  # fmt: skip


@pytest.mark.usefixtures("trt")
def test_a_session_has_memory_of_the_right_size(cuda: FakeCuda, model: ModelFile) -> None:
    """On the device and pinned: one block per tensor."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("HALF", (1, 7)), count=("INT32", ()))
    with engine.open_session():
        for memory in (cuda.device, cuda.host):
            assert sorted(len(block) for block in memory.values()) == [4, 14, 4 * 60]


@pytest.mark.usefixtures("trt")
def test_a_tensor_without_a_place_is_an_error(model: ModelFile) -> None:
    """TensorRT does not take the address; the message names the tensor."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session, pytest.raises(InferenceError, match="out has no place on the device"):
        session.bind("out", np.zeros(60, np.float32), 0)


@pytest.mark.usefixtures("trt")
def test_a_session_gives_everything_back_in_reverse_order(cuda: FakeCuda, model: ModelFile) -> None:
    """Memory, then the context, then event and stream; nothing is freed while the stream still works."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session:
        session.infer({"images": random_picture()})
        opened = list(cuda.streams)
        cuda.log.clear()
    del session
    gc.collect()
    freed = [name for name in cuda.log if name not in {"cuMemFreeHost", "cuCtxSetCurrent"}]
    assert freed == [
        "cuStreamSynchronize", "cuMemFree_v2", "cuStreamSynchronize", "cuMemFree_v2",
        "destroy context", "cuEventDestroy_v2", "cuStreamDestroy_v2",
    ]  # fmt: skip
    assert cuda.log.count("cuMemFreeHost") == 2
    assert len(opened) == 1


@pytest.mark.usefixtures("trt")
def test_an_output_outlives_its_session(cuda: FakeCuda, model: ModelFile) -> None:
    """Its memory is freed when the last view of it is gone, and not under the reader's hands."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    picture = random_picture()
    with engine.open_session() as session:
        row = session.infer({"images": picture})["out"][0, 1]
    del session
    gc.collect()
    assert len(cuda.host) == 1
    assert np.array_equal(row, picture[0, 1] * 2)
    del row
    gc.collect()
    assert not cuda.host


@pytest.mark.usefixtures("trt")
def test_an_output_may_be_let_go_by_any_thread(cuda: FakeCuda, model: ModelFile) -> None:
    """Also by one that never worked on the device: memory is freed in its context all the same."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    kept = []
    with engine.open_session() as session:
        kept.append(session.infer({"images": random_picture()})["out"])
    del session
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join(60)
    gc.collect()
    assert not cuda.host


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"pictures": random_picture()},
        {"images": random_picture(shape=(1, 3, 4, 4))},
        {"images": random_picture().astype(np.float64)},
    ],
    ids=["nothing", "name", "shape", "type"],
)
@pytest.mark.usefixtures("trt")
def test_a_wrong_input_never_reaches_the_device(tensors: dict[str, Any], cuda: FakeCuda, model: ModelFile) -> None:
    """The error says what the input is."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session:
        cuda.log.clear()
        with pytest.raises(
            InferenceError, match=r"the input is images \[1, 3, 4, 5\] float32, up to \[1, 3, 4, 5\], not"
        ):
            session.infer(tensors)
        assert cuda.log == []


@pytest.mark.parametrize(
    "name", ["cuStreamCreate", "cuEventCreate", "cuMemHostAlloc", "cuMemAlloc_v2", "cuDevicePrimaryCtxRetain"]
)
@pytest.mark.usefixtures("trt")
def test_a_session_that_cannot_be_opened_leaves_nothing_behind(name: str, cuda: FakeCuda, model: ModelFile) -> None:
    """The error names the function and CUDA's word for it; the fixture looks for what is left."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    cuda.fail = {name: OUT_OF_MEMORY}
    with pytest.raises(InferenceError, match=f"{name}: CUDA_ERROR_OUT_OF_MEMORY"), engine.open_session():
        pass


@pytest.mark.parametrize(
    "name", ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuEventSynchronize"]
)
@pytest.mark.usefixtures("trt")
def test_an_inference_that_fails_is_an_inference_error(name: str, cuda: FakeCuda, model: ModelFile) -> None:
    """Wherever it fails; the session can be closed all the same."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session:
        cuda.fail = {name: ILLEGAL_ADDRESS}
        with pytest.raises(InferenceError, match=f"{name}: CUDA_ERROR_ILLEGAL_ADDRESS"):
            session.infer({"images": random_picture()})
        cuda.fail = {}


@pytest.mark.parametrize("raised", ["", "out of luck"])
def test_an_engine_without_memory_for_a_context_says_so(raised: str, trt: Any, model: ModelFile) -> None:
    """TensorRT gives None or raises, and tells its logger why."""
    engine = loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    trt.made[-1].no_context = raised
    with pytest.raises(InferenceError, match=f"{raised}.*no memory for a context"), engine.open_session():
        pass


@pytest.mark.usefixtures("trt")
def test_open_dimensions_are_fixed_for_every_context(model: ModelFile) -> None:
    """The second context of an engine has no profile by itself; outputs take the size the input gives them."""
    engine = loaded(model, images=("FLOAT", (-1, 3, -1, -1)), out=("FLOAT", (-1, 3, -1, -1)))
    picture = random_picture()
    outputs = check_engine(engine, {"images": picture}, threads=2)
    assert np.array_equal(outputs["out"], picture * 2)


@pytest.mark.usefixtures("trt")
def test_pictures_of_several_cameras_run_at_once(cuda: FakeCuda, model: ModelFile) -> None:
    """Any number up to the one loaded for, in any order; only as much is copied as there is."""
    engine = loaded_for(3, model, images=("FLOAT", (-1, 3, 4, 5)), out=("FLOAT", (-1, 3, 4, 5)))
    with engine.open_session() as session:
        assert sorted(len(block) for block in cuda.device.values()) == [3 * 240, 3 * 240]
        for count in (1, 3, 2, 2, 1):
            pictures = random_picture(count, (count, 3, 4, 5))
            assert np.array_equal(session.infer({"images": pictures})["out"], pictures * 2)
        with pytest.raises(
            InferenceError, match=r"images \[-1, 3, 4, 5\] float32, up to \[3, 3, 4, 5\], not \[4, 3, 4, 5\]"
        ):
            session.infer({"images": random_picture(0, (4, 3, 4, 5))})
    assert why_not_batch(engine, SHAPE, "float32", 3, measured=False) == ""
