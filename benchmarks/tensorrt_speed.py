"""How fast TensorRT runs a model on this machine's GPU, beside ONNX Runtime on CUDA and on the processor.

usage: python benchmarks/tensorrt_speed.py MODEL.onnx --shape 1,3,416,416 [--precision f32] [--seconds 5]

Builds the engine anew, prints size and time, the greatest difference of the outputs from those of ONNX Runtime on the
processor, and inferences per second of one thread and of two, copies to and from the GPU included.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edge_vision.core.errors import EdgeVisionError
from edge_vision.core.model import ModelFile
from edge_vision.core.protocols import Engine, LoadOptions
from edge_vision.inference.table import backend
from edge_vision.inference.tensorrt import cuda, engine_cache
from edge_vision.inference.tensorrt.builder import Profile, build, key_of
from edge_vision.inference.tensorrt.library import find_library


def main() -> int:
    """Build, compare, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--shape", required=True, type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--precision", default="f32", choices=["f32", "f16", "bf16", "int8"])
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    file = ModelFile(options.model, "onnx", options.shape)
    picture = np.random.default_rng(0).random(options.shape, np.float32) * 255
    try:
        _report(file, options.precision, options.seconds, picture)
    except EdgeVisionError as error:
        print(error, file=sys.stderr)
        return 78
    return 0


def _report(file: ModelFile, precision: str, seconds: float, picture: Any) -> None:
    gpu, library, profile = cuda.gpu(), find_library(), Profile.up_to(1, file.input_shape)
    started = time.monotonic()
    plan = build(library, gpu, file, precision, profile, lambda *_: None)
    taken = time.monotonic() - started
    engine_cache.keep(key_of(library, gpu, file, precision, profile), plan, file.path.name, taken)
    print(f"{library.runtime} on {gpu}, {gpu.driver}: {len(plan) / 1e6:.1f} MB built in {taken:.1f} s")
    started = time.monotonic()
    engine = backend("tensorrt").load(file, LoadOptions(precision))
    reference = backend("onnxruntime").load(file, LoadOptions("f32", threads=4))
    print(f"loaded in {time.monotonic() - started:.2f} s")
    with engine.open_session() as ours, reference.open_session() as theirs:
        found, expected = (
            one.infer({name: picture})
            for one, name in ((ours, engine.inputs[0].name), (theirs, reference.inputs[0].name))
        )
        for name, value in expected.items():
            largest = float(np.abs(value).max())
            off = float(np.abs(found[name].astype(np.float32) - value).max())
            print(f"  output {name}: off by {off:.4g} at most, of {largest:.4g}")
    for threads in (1, 2):
        print(f"tensorrt, {threads} threads: {_rate(engine, picture, seconds, threads):.0f} per second")
    cuda_run = _onnxruntime_cuda(file, picture)
    if cuda_run is not None:
        print(f"onnxruntime on CUDA, 1 thread: {_count(cuda_run, seconds) / seconds:.0f} per second")
    print(f"onnxruntime on the processor, 4 threads: {_rate(reference, picture, seconds, 1):.0f} per second")


def _rate(engine: Engine, picture: Any, seconds: float, threads: int) -> float:
    counts = [0] * threads

    def run(place: int) -> None:
        with engine.open_session() as session:
            counts[place] = _count(lambda: session.infer({engine.inputs[0].name: picture}), seconds)

    with ExitStack() as running:
        for place in range(threads):
            thread = threading.Thread(target=run, args=(place,))
            thread.start()
            running.callback(thread.join)
    return sum(counts) / seconds


def _count(call: Callable[[], object], seconds: float) -> int:
    for _ in range(20):
        call()
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        call()
        count += 1
    return count


def _onnxruntime_cuda(file: ModelFile, picture: Any) -> Callable[[], object] | None:
    """One inference by ONNX Runtime's CUDA provider, if this build has one that really works."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        print("onnxruntime on CUDA: this build of onnxruntime has no CUDA provider")
        return None
    session = onnxruntime.InferenceSession(str(file.path), providers=["CUDAExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        print("onnxruntime on CUDA: the provider does not work here")
        return None
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: picture})


if __name__ == "__main__":
    sys.exit(main())
