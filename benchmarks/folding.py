"""What it gains to let OpenVINO's graph normalize: uint8 NHWC pixels in, scale, mean and layout inside the graph.

Both ways run in turn, frame by frame, on one 1080p picture, so that a busy machine slows both; the figures are medians
of processor time per frame. The daemon does not fold: run this before that is changed.

usage: python benchmarks/folding.py [--data ../shared/data] [--frames 600]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_vision.preprocess.letterbox import LetterboxPreprocessor
from edge_vision.preprocess.options import InputOptions

ROOT = Path(__file__).resolve().parent.parent
MODELS = {
    "yolox_nano/yolox_nano.onnx": InputOptions(size=(416, 416), color="bgr", anchor="top_left"),
    "nanodet_m_320/nanodet_m_320.onnx": InputOptions(
        size=(320, 320), color="bgr", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), pad_value=0
    ),
    "ultraface_rfb320/version-RFB-320.onnx": InputOptions(
        size=(320, 240), color="rgb", mean=(127.0,) * 3, std=(128.0,) * 3, resize="stretch"
    ),
}
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


def request(model: Path, options: InputOptions, *, folded: bool) -> Any:
    """An inference request; folded, its network takes uint8 BGR pixels, channels last."""
    import openvino
    from openvino.preprocess import ColorFormat, PrePostProcessor

    core = openvino.Core()
    network = core.read_model(str(model))
    if folded:
        steps = PrePostProcessor(network)
        pixels = steps.input()
        pixels.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        pixels.tensor().set_color_format(ColorFormat.BGR)
        pixels.model().set_layout(openvino.Layout("NCHW"))
        rule = pixels.preprocess().convert_element_type(openvino.Type.f32)
        if options.color == "rgb":
            rule.convert_color(ColorFormat.RGB)
        if not options.is_identity:
            rule.mean(list(options.mean)).scale(list(options.std))
        network = steps.build()
    return core.compile_model(network, "CPU", SETTINGS).create_infer_request()


def way(model: Path, options: InputOptions, *, folded: bool) -> tuple[Callable[[], None], Callable[[], None], Any]:
    """What one frame takes, in two steps, and the request that has the answers."""
    import openvino

    made = options
    if folded:
        plain = {"dtype": "uint8", "layout": "nhwc", "color": "bgr", "mean": (0.0,) * 3, "std": (1.0,) * 3}
        made = options.model_copy(update=plain)
    import cv2

    frame = np.asarray(cv2.resize(picture(), (1920, 1080)), np.uint8)
    preprocess = LetterboxPreprocessor(made, "input")
    runner = request(model, options, folded=folded)
    (tensor,) = preprocess(frame).tensors.values()
    runner.set_input_tensor(openvino.Tensor(tensor, shared_memory=True))

    def prepare() -> None:
        preprocess(frame)

    return prepare, runner.infer, runner


def picture() -> Any:
    """A picture with something in it."""
    import cv2

    return cv2.imread(str(OPTIONS.data / "images/misc/dog.jpg"))


def measure(model: Path, options: InputOptions, frames: int) -> None:
    """Print milliseconds of processor time for both ways, and the ratio."""
    ways = [way(model, options, folded=folded) for folded in (False, True)]
    spent: list[list[tuple[float, float]]] = [[], []]
    for number in range(frames + 50):
        for place, (prepare, infer, _) in enumerate(ways):
            started = time.process_time()
            prepare()
            prepared = time.process_time()
            infer()
            if number >= 50:  # noqa: PLR2004 - the first ones warm the caches
                spent[place].append((prepared - started, time.process_time() - prepared))
    answers = [[np.array(one.data) for one in runner.output_tensors] for _, _, runner in ways]
    worst = max(float(np.abs(one - other).max()) for one, other in zip(*answers, strict=True))
    figures = [[statistics.median(step) * 1e3 for step in zip(*rows, strict=True)] for rows in spent]
    total = [statistics.median(sum(row) for row in rows) * 1e3 for rows in spent]
    print(
        f"{model.name}: preprocess {figures[0][0]:.3f} -> {figures[1][0]:.3f} ms, inference {figures[0][1]:.3f} -> "
        f"{figures[1][1]:.3f} ms, both {total[0]:.3f} -> {total[1]:.3f} ms, ratio {total[1] / total[0]:.3f}; "
        f"outputs differ by {worst:.1g}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--frames", type=int, default=600)
    OPTIONS = parser.parse_args()
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import cv2

    cv2.setNumThreads(1)
    for name, wanted in MODELS.items():
        measure(OPTIONS.data / "models" / name, wanted, OPTIONS.frames)
