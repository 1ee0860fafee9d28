"""Loading engines and running sessions, on a fake GPU: what we hand to CUDA and TensorRT, when, and who gives it back.

The driver and the library are fakes (tests/fake_gpu.py); tests/contract/test_tensorrt_contract.py runs on a real GPU.
"""

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_gpu import ILLEGAL_ADDRESS, OUT_OF_MEMORY, FakeCuda, fake_plan, fake_tensorrt

from edge_vision.app.ahead import build_ahead, complete
from edge_vision.core.errors import BackendUnavailableError, InferenceError, ModelError
from edge_vision.core.model import ModelFile, ModelSpec
from edge_vision.core.protocols import LoadOptions
from edge_vision.inference.batching import why_not_batch
from edge_vision.inference.options import BatchingOptions, DetectOptions
from edge_vision.inference.tensorrt import cuda as cuda_module
from edge_vision.inference.tensorrt import engine_cache
from edge_vision.inference.tensorrt.backend import TensorRt, TensorRtEngine
from edge_vision.inference.tensorrt.builder import Profile, key_of
from edge_vision.inference.tensorrt.library import find_library
from edge_vision.models.bundle import read_bundle
from edge_vision.models.proof import verdicts
from edge_vision.testing.contracts import check_engine, check_probe

SHAPE = (1, 3, 4, 5)
F32 = LoadOptions("f32")


@pytest.fixture(name="cuda")
def _cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeCuda]:
    """A fake driver, with an empty cache folder; what is left in it at the end fails the test."""
    fake = FakeCuda()
    cuda_module.driver.cache_clear()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: fake if name == "libcuda.so.1" else pytest.fail(name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    yield fake
    cuda_module.driver.cache_clear()
    gc.collect()
    assert fake.left() == {}


@pytest.fixture(name="trt")
def _trt(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fake TensorRT, installed."""
    trt = fake_tensorrt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    return trt


@pytest.fixture(name="model")
def _model(tmp_path: Path) -> ModelFile:
    """A model's file; only its checksum matters here."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    return ModelFile(path, "onnx", SHAPE)


def _built(model: ModelFile, plan: bytes, precision: str = "f32") -> engine_cache.Entry:
    key = key_of(find_library(), cuda_module.gpu(), model, precision, Profile.up_to(1, model.input_shape))
    return engine_cache.keep(key, plan, model.path.name, 1.0)


def _loaded_for(batch: int, model: ModelFile, **tensors: tuple[str, tuple[int, ...]]) -> TensorRtEngine:
    """An engine for so many pictures at once."""
    key = key_of(find_library(), cuda_module.gpu(), model, "f32", Profile.up_to(batch, model.input_shape))
    engine_cache.keep(key, fake_plan(**tensors), model.path.name, 1.0)
    return TensorRt().load(model, LoadOptions("f32", batch=batch))


def _loaded(model: ModelFile, **tensors: tuple[str, tuple[int, ...]]) -> TensorRtEngine:
    _built(model, fake_plan(**tensors))
    return TensorRt().load(model, F32)


def _picture(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.usefixtures("trt")
def test_a_probe_names_library_gpu_and_driver() -> None:
    """It works: version and device."""
    availability = check_probe(TensorRt())
    assert availability.available
    assert (availability.version, availability.devices) == ("8.6.2", ("Fake GPU (compute capability 8.7)",))
    assert cuda_module.gpu().driver.startswith("CUDA 12.4, driver ")


@pytest.mark.parametrize(
    "fail, gpus, reason",
    [
        ({"cuInit": 100}, 1, "does not work: cuda: cuInit: unknown error (100)"),
        ({}, 0, "sees no GPU"),
        ({"cuDeviceGetName": OUT_OF_MEMORY}, 1, "GPU 0 cannot be used: cuda: cuDeviceGetName: CUDA_ERROR_OUT_OF"),
    ],
)
@pytest.mark.usefixtures("trt")
def test_a_driver_that_does_not_work_is_a_reason(
    fail: dict[str, int], gpus: int, reason: str, cuda: FakeCuda, model: ModelFile
) -> None:
    """The probe says it, loading raises it."""
    cuda.fail, cuda.gpus = fail, gpus
    availability = check_probe(TensorRt())
    assert not availability.available
    assert reason in availability.reason
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    assert reason in str(caught.value)


@pytest.mark.usefixtures("cuda")
def test_a_library_that_is_absent_is_a_reason(monkeypatch: pytest.MonkeyPatch, model: ModelFile) -> None:
    """With a GPU it is worth installing: the reason says how."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    expected = "tensorrt is not installed: pip install 'edge-vision[tensorrt]'"
    assert check_probe(TensorRt()).reason == expected
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    assert str(caught.value) == expected


@pytest.mark.usefixtures("trt")
def test_an_engine_that_was_not_built_is_never_built_silently(model: ModelFile) -> None:
    """The message names the file, what it was looked for under, where, and the command."""
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    for part in (model.path, "f32", "tensorrt 8.6.2", "Fake GPU", "engines", "edge-vision models build SITE.yaml"):
        assert str(part) in str(caught.value)


@pytest.mark.parametrize("precision", ["bf16", "f8"])
@pytest.mark.usefixtures("trt")
def test_a_precision_without_a_flag_is_not_to_be_had(precision: str, model: ModelFile) -> None:
    """What is asked for or nothing; this fake has the flags of TensorRT 8.6."""
    with pytest.raises(BackendUnavailableError, match=f"for {precision} put a file"):
        TensorRt().load(model, LoadOptions(precision))


@pytest.mark.usefixtures("trt")
def test_an_engine_of_another_precision_is_another_engine(model: ModelFile) -> None:
    """An f32 engine is not handed out for f16."""
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    with pytest.raises(BackendUnavailableError, match="no engine built"):
        TensorRt().load(model, LoadOptions("f16"))
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)), "f16")
    assert TensorRt().load(model, LoadOptions("f16")).inputs[0].shape == SHAPE


@pytest.mark.usefixtures("trt")
def test_sessions_keep_the_contract(model: ModelFile) -> None:
    """One by one and side by side, each with buffers of its own."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE), half=("HALF", (1, 7)))
    picture = _picture()
    outputs = check_engine(engine, {"images": picture}, threads=3)
    assert np.array_equal(outputs["out"], picture * 2)
    assert outputs["half"].shape == (1, 7)
    assert np.array_equal(outputs["half"], (picture.ravel()[:7] * 3).astype(np.float16)[None])


@pytest.mark.usefixtures("trt")
def test_an_input_written_anew_is_read_anew(model: ModelFile) -> None:
    """The preprocessor reuses its buffer."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    picture = _picture()
    with engine.open_session() as session:
        first = np.array(session.infer({"images": picture})["out"])
        picture += 1
        assert np.array_equal(session.infer({"images": picture})["out"], picture * 2)
        assert not np.array_equal(first, picture * 2)


@pytest.mark.usefixtures("trt")
def test_copies_and_kernels_are_queued_in_order_and_waited_for_once(cuda: FakeCuda, model: ModelFile) -> None:
    """In, run, every output out, one wait that sleeps."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE), more=("FLOAT", (2,)))
    with engine.open_session() as session:
        cuda.log.clear()
        session.infer({"images": _picture()})
        assert cuda.log == [
            "cuMemcpyHtoDAsync_v2", "execute", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoHAsync_v2",
            "cuEventRecord", "cuEventSynchronize",
        ]  # fmt: skip


@pytest.mark.usefixtures("trt")
def test_a_session_has_memory_of_the_right_size(cuda: FakeCuda, model: ModelFile) -> None:
    """On the device and pinned: one block per tensor."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("HALF", (1, 7)), count=("INT32", ()))
    with engine.open_session():
        for memory in (cuda.device, cuda.host):
            assert sorted(len(block) for block in memory.values()) == [4, 14, 4 * 60]


@pytest.mark.usefixtures("trt")
def test_a_tensor_without_a_place_is_an_error(model: ModelFile) -> None:
    """TensorRT does not take the address; the message names the tensor."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session, pytest.raises(InferenceError, match="out has no place on the device"):
        session.bind("out", np.zeros(60, np.float32), 0)


@pytest.mark.usefixtures("trt")
def test_a_session_gives_everything_back_in_reverse_order(cuda: FakeCuda, model: ModelFile) -> None:
    """Memory, then the context, then event and stream; nothing is freed while the stream still works."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session:
        session.infer({"images": _picture()})
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
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    picture = _picture()
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
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    kept = []
    with engine.open_session() as session:
        kept.append(session.infer({"images": _picture()})["out"])
    del session
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join(60)
    gc.collect()
    assert not cuda.host


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 2024\nGCC version: 12\n",
            "driver 550.54.15",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build\n", "driver 540.4.0"),
        ("something else", "driver of the board"),
    ],
)
@pytest.mark.usefixtures("cuda")
def test_the_driver_is_known_by_its_kernel_module(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An engine is built anew for another driver."""
    monkeypatch.setattr(cuda_module, "_KERNEL_MODULE", tmp_path / "version")
    (tmp_path / "version").write_text(text)
    assert cuda_module.gpu().driver == f"CUDA 12.4, {expected}"


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"pictures": _picture()},
        {"images": _picture(shape=(1, 3, 4, 4))},
        {"images": _picture().astype(np.float64)},
    ],
    ids=["nothing", "name", "shape", "type"],
)
@pytest.mark.usefixtures("trt")
def test_a_wrong_input_never_reaches_the_device(tensors: dict[str, Any], cuda: FakeCuda, model: ModelFile) -> None:
    """The error says what the input is."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
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
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    cuda.fail = {name: OUT_OF_MEMORY}
    with pytest.raises(InferenceError, match=f"{name}: CUDA_ERROR_OUT_OF_MEMORY"), engine.open_session():
        pass


@pytest.mark.parametrize(
    "name", ["cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuEventRecord", "cuEventSynchronize"]
)
@pytest.mark.usefixtures("trt")
def test_an_inference_that_fails_is_an_inference_error(name: str, cuda: FakeCuda, model: ModelFile) -> None:
    """Wherever it fails; the session can be closed all the same."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    with engine.open_session() as session:
        cuda.fail = {name: ILLEGAL_ADDRESS}
        with pytest.raises(InferenceError, match=f"{name}: CUDA_ERROR_ILLEGAL_ADDRESS"):
            session.infer({"images": _picture()})
        cuda.fail = {}


@pytest.mark.parametrize("raised", ["", "out of luck"])
def test_an_engine_without_memory_for_a_context_says_so(raised: str, trt: Any, model: ModelFile) -> None:
    """TensorRT gives None or raises, and tells its logger why."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    trt.made[-1].no_context = raised
    with pytest.raises(InferenceError, match=f"{raised}.*no memory for a context"), engine.open_session():
        pass


@pytest.mark.usefixtures("trt")
def test_open_dimensions_are_fixed_for_every_context(model: ModelFile) -> None:
    """The second context of an engine has no profile by itself; outputs take the size the input gives them."""
    engine = _loaded(model, images=("FLOAT", (-1, 3, -1, -1)), out=("FLOAT", (-1, 3, -1, -1)))
    picture = _picture()
    outputs = check_engine(engine, {"images": picture}, threads=2)
    assert np.array_equal(outputs["out"], picture * 2)


@pytest.mark.usefixtures("trt")
def test_pictures_of_several_cameras_run_at_once(cuda: FakeCuda, model: ModelFile) -> None:
    """Any number up to the one loaded for, in any order; only as much is copied as there is."""
    engine = _loaded_for(3, model, images=("FLOAT", (-1, 3, 4, 5)), out=("FLOAT", (-1, 3, 4, 5)))
    with engine.open_session() as session:
        assert sorted(len(block) for block in cuda.device.values()) == [3 * 240, 3 * 240]
        for count in (1, 3, 2, 2, 1):
            pictures = _picture(count, (count, 3, 4, 5))
            assert np.array_equal(session.infer({"images": pictures})["out"], pictures * 2)
        with pytest.raises(
            InferenceError, match=r"images \[-1, 3, 4, 5\] float32, up to \[3, 3, 4, 5\], not \[4, 3, 4, 5\]"
        ):
            session.infer({"images": _picture(0, (4, 3, 4, 5))})
    assert why_not_batch(engine, SHAPE, "float32", 3, measured=False) == ""


@pytest.mark.usefixtures("trt")
def test_an_engine_for_one_picture_is_not_that_for_several(model: ModelFile, tmp_path: Path) -> None:
    """It has to be built for them; a ready one takes as many as it was built for, which is 4 for this fake."""
    open_batch = {"images": ("FLOAT", (-1, 3, 4, 5)), "out": ("FLOAT", (-1, 3, 4, 5))}
    _loaded_for(2, model, **open_batch)
    with pytest.raises(BackendUnavailableError, match=r"no engine built for .*f32, \[3, 3, 4, 5\]"):
        TensorRt().load(model, LoadOptions("f32", batch=3))
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(**open_batch))
    engine = TensorRt().load(ModelFile(path, "tensorrt", SHAPE), LoadOptions("f32", batch=8))
    assert "up to [4, 3, 4, 5]" in why_not_batch(engine, SHAPE, "float32", 8)


@pytest.mark.usefixtures("trt")
def test_a_device_that_is_no_gpu_is_not_to_be_had(model: ModelFile) -> None:
    """A site that asks for the CPU gets the next runtime."""
    with pytest.raises(BackendUnavailableError, match="has no device CPU here; it has GPU, CUDA"):
        TensorRt().load(model, LoadOptions("f32", device="CPU"))
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    assert TensorRt().load(model, LoadOptions("f32", device="gpu")).device.startswith("Fake GPU")


@pytest.mark.usefixtures("trt")
def test_a_shape_outside_the_profile_is_refused(tmp_path: Path) -> None:
    """As it may be with a ready engine in a bundle."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", (1, 3, -1, -1)), out=("FLOAT", (1, 3, -1, -1))))
    engine = TensorRt().load(ModelFile(path, "tensorrt", (1, 3, 128, 128)), F32)
    with pytest.raises(InferenceError, match=r"does not take the shape \[1, 3, 128, 128\]: .* outside the profile"):
        engine.open_session().__enter__()


@pytest.mark.parametrize(
    "output, reason",
    [(("FLOAT", (1, -1, 6)), "its size depends on the picture"), (("BF16", (1, 6)), "NumPy has no such type")],
)
@pytest.mark.usefixtures("trt")
def test_an_output_that_cannot_be_read_is_refused(
    output: tuple[str, tuple[int, ...]], reason: str, model: ModelFile
) -> None:
    """By its name, before anything runs."""
    engine = _loaded(model, images=("FLOAT", SHAPE), out=output)
    with pytest.raises(InferenceError, match=f"out .* cannot be read: {reason}"), engine.open_session():
        pass


@pytest.mark.usefixtures("trt")
def test_an_engine_with_another_input_is_a_model_error(tmp_path: Path) -> None:
    """Both are in the message."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    with pytest.raises(ModelError, match=r"images \[1, 3, 4, 5\] float32, model.yaml says \[1, 3, 8, 8\] float32"):
        TensorRt().load(ModelFile(path, "tensorrt", (1, 3, 8, 8)), F32)


@pytest.mark.usefixtures("trt")
def test_an_engine_of_another_release_comes_with_its_remedy(model: ModelFile, tmp_path: Path) -> None:
    """Out of the cache or out of a bundle: file, release, GPU, the library's reason, and what to do."""
    entry = _built(model, b"made by another release")
    with pytest.raises(BackendUnavailableError) as caught:
        TensorRt().load(model, F32)
    for part in (entry.path, "tensorrt 8.6.2 on Fake GPU", "stdVersionRead", "delete it", "models build SITE.yaml"):
        assert str(part) in str(caught.value)
    path = tmp_path / "ready.engine"
    path.write_bytes(b"made by another release")
    with pytest.raises(BackendUnavailableError, match=r"ready.engine: .*stdVersionRead.* put its ONNX file"):
        TensorRt().load(ModelFile(path, "tensorrt", SHAPE), F32)
    with pytest.raises(BackendUnavailableError, match=r"absent.engine: No such file"):
        TensorRt().load(ModelFile(tmp_path / "absent.engine", "tensorrt", SHAPE), F32)


@pytest.mark.usefixtures("trt")
def test_a_ready_engine_keeps_the_precision_it_was_built_with(tmp_path: Path) -> None:
    """Nothing can change it any more."""
    path = tmp_path / "ready.engine"
    path.write_bytes(fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    assert TensorRt().load(ModelFile(path, "tensorrt", SHAPE, precision="f16"), LoadOptions("f16")).inputs
    with pytest.raises(BackendUnavailableError, match=r"\(f32\) was chosen when it was built; f16"):
        TensorRt().load(ModelFile(path, "tensorrt", SHAPE), LoadOptions("f16"))


@pytest.mark.usefixtures("trt")
def test_an_engine_built_again_is_proven_again(model: ModelFile, yolox: Path) -> None:
    """Its digest is that of its plan, and part of what a verdict is remembered under."""
    first = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    again = _loaded(model, images=("FLOAT", SHAPE), out=("FLOAT", SHAPE))
    other = _loaded(model, images=("FLOAT", SHAPE), out=("HALF", SHAPE))
    bundle, problems = read_bundle(yolox)
    assert bundle is not None, problems
    golden: Any = SimpleNamespace(digest="golden")
    keys = [
        verdicts._key(bundle, golden, "tensorrt", bundle.spec.files[0], engine, F32) for engine in (first, again, other)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_library_that_raises_comes_with_the_file_and_its_remedy(trt: Any, model: ModelFile) -> None:
    """Whatever it raises."""
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    trt.Runtime.deserialize_cuda_engine = lambda *_: (_ for _ in ()).throw(RuntimeError("out of luck"))
    with pytest.raises(
        BackendUnavailableError, match=r".engine: tensorrt .* cannot load it: out of luck; build it again"
    ):
        TensorRt().load(model, F32)


def _site(model: ModelFile, cameras: int = 1, **settings: Any) -> Any:
    """A checked site whose cameras use one model, twice each, as far as building ahead looks at it."""
    bundle = SimpleNamespace(spec=ModelSpec("m", (model,), ("thing",)), path_of=lambda file: file.path.name)
    detect = DetectOptions(kind="detect", model=Path("m"), backends=("tensorrt",), **settings)
    site = SimpleNamespace(cameras=[SimpleNamespace(stages=(detect, detect))] * cameras)
    return SimpleNamespace(site=site, bundles={Path("m"): bundle})


@pytest.mark.usefixtures("trt")
def test_an_engine_that_is_there_is_loaded_and_run_where_there_is_a_gpu(model: ModelFile) -> None:
    """So that what `models build` calls ready is ready; a model used twice is looked at once."""
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    (row,) = build_ahead(_site(model), None, lambda _: lambda *_: None)
    assert (row.state, row.file, row.backend, row.precision) == ("there already", "model.onnx", "tensorrt 8.6.2", "f32")
    assert "for Fake GPU (compute capability 8.7); loaded and run in " in row.text
    assert complete([row])


@pytest.mark.usefixtures("trt")
def test_an_engine_is_built_for_as_many_pictures_as_the_site_gathers(model: ModelFile) -> None:
    """As many as there are cameras, `most` at most: the daemon looks for the same."""
    _loaded_for(2, model, images=("FLOAT", (-1, 3, 4, 5)), out=("FLOAT", (-1, 3, 4, 5)))
    (row,) = build_ahead(_site(model, 2, batching=BatchingOptions()), None, lambda _: lambda *_: None)
    assert row.state == "there already"
    (row,) = build_ahead(_site(model, 3, batching=BatchingOptions()), None, lambda _: lambda *_: None)
    assert row.state == "failed"  # it was not there, and a fake builds nothing


@pytest.mark.usefixtures("trt")
def test_an_engine_that_does_not_run_is_a_failure(cuda: FakeCuda, model: ModelFile) -> None:
    """Even when another runtime can serve the model: somebody asked for this one."""
    _built(model, fake_plan(images=("FLOAT", SHAPE), out=("FLOAT", SHAPE)))
    cuda.fail = {"cuMemAlloc_v2": OUT_OF_MEMORY}
    (row,) = build_ahead(_site(model), None, lambda _: lambda *_: None)
    assert row.state == "failed"
    assert "CUDA_ERROR_OUT_OF_MEMORY" in row.text
    assert not complete([row, replace(row, backend="onnxruntime", state="loaded")])
    assert complete([replace(row, state="not here"), replace(row, backend="onnxruntime", state="loaded")])
