"""Trains the demo's detector on drawn conveyors, exports it to ONNX and examines the exported file.

`python training/demo_detector.py` does all three; `--evaluate` only examines the file in the repository and
fails when it is not good enough. See training/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from demo_clip import CLIP, frames
from exam import Marks, clip_scenes, examine
from numpy.typing import NDArray
from scenes import INPUT_WH, Scene, held_out_scenes, training_scenes, vary

from edge_vision.capture.conveyor import LABELS

if TYPE_CHECKING:
    from torch import Tensor

BUNDLE = Path(__file__).parents[1] / "configs" / "demo" / "parts"
MODEL = BUNDLE / "parts.onnx"
OPSET = 17
HELD_OUT = 300
LEAST_MAP50 = 0.9
SEED = 1
BATCH = 32
PEAK_RATE = 4e-3
MOST_PARTS = 24


def train(minutes: float, lines: int) -> None:
    """Train for so many minutes and export the averaged weights."""
    import torch
    from network import Exported, PartsNet, cells, loss
    from torch.optim.swa_utils import AveragedModel

    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    start = time.monotonic()
    scenes = training_scenes(lines, 16, SEED)
    print(f"{len(scenes)} training scenes in {time.monotonic() - start:.0f} s")
    network = PartsNet(len(LABELS)).to(memory_format=torch.channels_last)
    print(f"{sum(weight.numel() for weight in network.parameters())} weights")
    average = AveragedModel(network, avg_fn=blend, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=0.02)
    place, stride = cells(INPUT_WH)
    rng = np.random.default_rng(SEED)
    start, step, shown = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = PEAK_RATE * min(1.0, (step + 1) / 60) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        images, boxes, labels = _batch(scenes, rng)
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        answer = network(inputs.contiguous(memory_format=torch.channels_last))
        wrong = loss(answer, torch.from_numpy(boxes), torch.from_numpy(labels), place, stride)
        optimizer.zero_grad()
        wrong.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        average.update_parameters(network)
        step += 1
        shown += wrong.item()
        if step % 50 == 0:
            print(f"step {step:5d}  {100 * done:5.1f} %  loss {shown / 50:.3f}", flush=True)
            shown = 0.0
    BUNDLE.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Exported(average.module.to(memory_format=torch.contiguous_format)).eval(),
        (torch.zeros(1, 3, INPUT_WH[1], INPUT_WH[0]),),
        str(MODEL),
        input_names=["images"],
        output_names=["output"],
        opset_version=OPSET,
        dynamo=False,
    )
    fold(MODEL)
    print(f"{step} steps of {BATCH} in {(time.monotonic() - start) / 60:.1f} minutes; {MODEL}")


def blend(old: Tensor, new: Tensor, count: Tensor | int) -> Tensor:
    """Average the weights of about the last 200 steps; fewer at the start, where they change fast."""
    return old + (new - old) * max(0.005, 9 / (10 + int(count)))


def fold(path: Path) -> None:
    """Replace what the exporter left to compute from the fixed input shape by constants, in place."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    model = onnx.load(path)
    used = [entry for entry in model.opset_import if not entry.domain]
    del model.opset_import[:]
    model.opset_import.extend(used)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


_Arrays = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]


def _batch(scenes: list[Scene], rng: np.random.Generator) -> _Arrays:
    """Pick and vary scenes: uint8 (b, 192, 320, 3), float32 (b, parts, 4), int64 (b, parts)."""
    images = np.empty((BATCH, INPUT_WH[1], INPUT_WH[0], 3), np.uint8)
    boxes = np.zeros((BATCH, MOST_PARTS, 4), np.float32)
    labels = np.zeros((BATCH, MOST_PARTS), np.int64)
    for row, pick in enumerate(rng.integers(0, len(scenes), BATCH)):
        scene = vary(scenes[pick], rng)
        count = min(len(scene.xyxy), MOST_PARTS)
        images[row], boxes[row, :count] = scene.image, scene.xyxy[:count]
        labels[row, :count] = scene.class_id[:count]
    return images, boxes, labels


def describe(marks: Marks) -> str:
    """Return the text of model.yaml for the exported file."""
    import torch

    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    return f"""\
# The demo's detector: bolts, washers and brackets on the make-believe conveyor.
# Written by training/demo_detector.py.
version: 1
name: parts
task: detection
files: [{{path: {MODEL.name}, format: onnx, sha256: {digest}}}]
input:
  size: [{INPUT_WH[0]}, {INPUT_WH[1]}]
  color: bgr
  resize: letterbox
  anchor: top_left
  pad_value: 114
  scale: 1.0
  mean: [0, 0, 0]
  std: [1, 1, 1]
  layout: nchw
  dtype: float32
output: {{format: yolox, strides: [8, 16, 32]}}
labels: [{", ".join(LABELS)}]
thresholds: {{confidence: 0.4, iou: 0.45}}
source:
  framework: torch
  framework_version: "{torch.__version__.partition("+")[0]}"
  opset: {OPSET}
  license: Apache-2.0
  script: training/demo_detector.py
evaluation:
  data: "drawn conveyors with seeds never trained on (training/scenes.py, held_out_scenes)"
  images: {marks.images}
  map50: {marks.map50:.3f}
  map50_95: {marks.map50_95:.3f}
  command: "python training/demo_detector.py --evaluate"
"""


def main() -> int:
    """Train, export and examine, or only examine; return 1 when the detector is not good enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluate", action="store_true", help="only examine the exported file")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to train (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=400, help="conveyors to learn from (default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.evaluate:
        train(arguments.minutes, arguments.lines)
    marks = examine(MODEL, held_out_scenes(HELD_OUT))
    print(f"held out: {marks}")
    if CLIP.exists():
        print(f"demo clip: {examine(MODEL, clip_scenes(CLIP, frames()))}")
    if not arguments.evaluate:
        (BUNDLE / "model.yaml").write_text(describe(marks), encoding="utf-8")
    return 0 if marks.map50 >= LEAST_MAP50 else 1


if __name__ == "__main__":
    sys.exit(main())
