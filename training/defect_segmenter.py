"""Trains the defect model on drawn parts, exports it to ONNX and examines the exported file.

`python training/defect_segmenter.py` does all three; `--evaluate` only examines the file in the repository and fails
when it is not good enough. See training/README.md.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from defect_exam import OUTPUT, RULES, THRESHOLDS, Marks, examine
from defect_scenes import INPUT_WH, held_out_scenes, piece, training_scenes
from demo_detector import blend, fold
from numpy.typing import NDArray

from edge_vision.capture.conveyor import SURFACES
from edge_vision.capture.conveyor_defects import DEFECTS

BUNDLE = Path(__file__).parents[1] / "configs" / "demo" / "defects"
MODEL = BUNDLE / "defects.onnx"
PICTURE = Path(__file__).parents[1] / "docs" / "pipelines" / "defect_model.jpg"
OPSET = 17
LINES, FRAMES_PER_LINE = 120, 4
LEAST_ACCURACY = 0.98
MOST_SHOWN = 24
BATCH = 16
SIDE = 160
PEAK_RATE = 4e-3
RESUMED = 0.4
"""A further round begins with this share of it, so as not to forget what was learned."""
WEIGHTS = (2.0, 6.0, 6.0, 4.0)
"""How much the cells of each class count: part, scratch, hole, stain; defects are few."""


def train(arguments: argparse.Namespace) -> None:
    """Train for so many minutes, from weights of an earlier round if given, and export the averaged weights."""
    import torch
    from defect_network import DefectNet, loss
    from torch.optim.swa_utils import AveragedModel

    seed, minutes = arguments.seed, arguments.minutes
    torch.manual_seed(seed)
    torch.set_num_threads(arguments.threads)
    start = time.monotonic()
    scenes = training_scenes(arguments.lines, 5, seed)
    print(f"{len(scenes)} training scenes in {time.monotonic() - start:.0f} s", flush=True)
    network, peak = DefectNet(len(SURFACES)), PEAK_RATE
    if arguments.resume:
        network.load_state_dict(torch.load(arguments.resume))
        peak *= RESUMED
    network = network.to(memory_format=torch.channels_last)
    print(f"{sum(weight.numel() for weight in network.parameters())} weights", flush=True)
    average = AveragedModel(network, avg_fn=blend, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), peak, weight_decay=0.01)
    rng = np.random.default_rng(seed)
    weights = torch.tensor(WEIGHTS)
    start, step, shown = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = peak * min(1.0, (step + 1) / 60) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pieces = [piece(scenes[pick], SIDE, rng) for pick in rng.integers(0, len(scenes), BATCH)]
        images = torch.from_numpy(np.stack([image for image, _ in pieces])).permute(0, 3, 1, 2).float()
        surfaces = torch.from_numpy(np.stack([cells for _, cells in pieces]))
        truth = torch.stack([surfaces > 0, *(surfaces == 2 + defect for defect in range(len(DEFECTS)))], dim=1).float()
        answer = network(((images - 96) / 64).contiguous(memory_format=torch.channels_last))
        wrong = loss(answer, truth, weights)
        optimizer.zero_grad()
        wrong.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update_parameters(network)
        step += 1
        shown += wrong.item()
        if step % 50 == 0:
            print(f"step {step:5d}  {100 * done:5.1f} %  loss {shown / 50:.4f}", flush=True)
            shown = 0.0
    if arguments.weights:
        torch.save(average.module.state_dict(), arguments.weights)
    BUNDLE.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        average.module.to(memory_format=torch.contiguous_format).eval(),
        (torch.zeros(1, 3, INPUT_WH[1], INPUT_WH[0]),),
        str(MODEL),
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamo=False,
    )
    fold(MODEL)
    print(f"{step} steps of {BATCH} in {(time.monotonic() - start) / 60:.1f} minutes; {MODEL}")


def describe(marks: Marks) -> str:
    """Return the text of model.yaml for the exported file."""
    import torch

    digest = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    overlaps = ", ".join(f"{name}: {value:.3f}" for name, value in marks.iou.items())
    rows = "\n".join(
        f"    {kind}: {{{', '.join(f'{said}: {count}' for said, count in row.items())}}}"
        for kind, row in marks.confusion.items()
    )
    return f"""\
# The demo's defect model: parts on the make-believe conveyor, and scratches, holes and stains on them.
# Written by training/defect_segmenter.py.
version: 1
name: defects
task: segmentation
files: [{{path: {MODEL.name}, format: onnx, sha256: {digest}}}]
input:
  size: [{INPUT_WH[0]}, {INPUT_WH[1]}]
  color: bgr
  resize: letterbox
  anchor: top_left
  pad_value: 114
  scale: 1.0
  mean: [96, 96, 96]
  std: [64, 64, 64]
  layout: nchw
  dtype: float32
output:
  format: segmentation
  activation: sigmoid
  overlapping: true
  pixel_threshold: {OUTPUT.pixel_threshold}
  min_cells: {OUTPUT.min_cells}
labels: [{", ".join(SURFACES)}]
thresholds: {{confidence: {THRESHOLDS.confidence}}}
source:
  framework: torch
  framework_version: "{torch.__version__.partition("+")[0]}"
  opset: {OPSET}
  license: Apache-2.0
  script: training/defect_segmenter.py
evaluation:
  data: "drawn parts with seeds never trained on (training/defect_scenes.py), each judged from one view: NG when
    its defects cover more than {RULES.max_coverage:.1%} of it"
  images: {marks.images}
  iou: {{{overlaps}}}
  accuracy: {marks.accuracy:.4f}
  confusion:
{rows}
  command: "python training/defect_segmenter.py --evaluate"
"""


def show(marks: Marks) -> NDArray[np.uint8]:
    """Draw the confusion matrix, and the parts that were judged wrong."""
    wide, tile = 960, 112
    rows = 1 + max(0, min(len(marks.mistakes), MOST_SHOWN) - 1) // (wide // tile)
    picture = np.full((320 + rows * (tile + 30) + 16, wide, 3), 250, np.uint8)

    def write(text: str, x: int, y: int, size: float = 0.6, color: tuple[int, int, int] = (40, 40, 40)) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)

    write(f"{marks.parts} held-out parts, each judged from one view: accuracy {marks.accuracy:.4f}", 24, 34, 0.7)
    said = ("OK", "NG", "missed")
    for column, name in enumerate(said):
        write(f"said {name}", 210 + 150 * column, 72)
    most = max(max(row.values()) for row in marks.confusion.values())
    for number, (kind, counts) in enumerate(marks.confusion.items()):
        top = 86 + 44 * number
        write(f"is {kind}", 24, top + 28)
        for column, name in enumerate(said):
            right = name == ("OK" if kind == "OK" else "NG")
            depth = 0.25 + 0.75 * counts[name] / most if counts[name] else 0.0
            ink = np.array((120, 190, 110) if right else (110, 110, 235), np.float64)
            left = 200 + 150 * column
            cv2.rectangle(
                picture, (left, top), (left + 140, top + 38), (250 + depth * (ink - 250)).tolist(), cv2.FILLED
            )
            write(str(counts[name]), left + 50, top + 27)
    overlaps = "   ".join(f"{name} {value:.3f}" for name, value in marks.iou.items())
    write(f"IoU of pixels: {overlaps}     found that are no parts: {marks.extra}", 24, 286, 0.55)
    for number, mistake in enumerate(marks.mistakes[:MOST_SHOWN]):
        line, column = divmod(number, wide // tile)
        left, top = 16 + column * tile, 306 + line * (tile + 30)
        scale = (tile - 8) / max(mistake.image.shape[:2])
        small = cv2.resize(mistake.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        picture[top : top + small.shape[0], left : left + small.shape[1]] = small
        write(f"is {mistake.truth}", left, top + tile + 4, 0.38)
        write(f"said {mistake.said}", left, top + tile + 18, 0.38, (40, 40, 190))
    return picture


def main() -> int:
    """Train, export and examine, or only examine; return 1 when the model is not good enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluate", action="store_true", help="only examine the exported file")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long to train (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=480, help="lines to learn from (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=2, help="which lines, below 100 (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="where to leave the weights for a further round")
    parser.add_argument("--resume", type=Path, help="weights of an earlier round, to go on from")
    arguments = parser.parse_args()
    if not arguments.evaluate:
        train(arguments)
    marks = examine(MODEL, held_out_scenes(LINES, FRAMES_PER_LINE))
    print(f"held out: {marks}")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(PICTURE), show(marks), [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not arguments.evaluate:
        (BUNDLE / "model.yaml").write_text(describe(marks), encoding="utf-8")
    return 0 if marks.accuracy >= LEAST_ACCURACY else 1


if __name__ == "__main__":
    sys.exit(main())
