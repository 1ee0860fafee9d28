"""Trains the defect model on drawn parts, exports it to ONNX and examines the exported file.

`python training/defect_segmenter.py` does all three; `--evaluate` only examines the file in the repository and fails
when it is not good enough. See training/README.md.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

import numpy as np
from defect_scenes import INPUT_WH, piece, training_scenes
from demo_detector import _blend, fold

from edge_vision.capture.conveyor import SURFACES
from edge_vision.capture.conveyor_defects import DEFECTS

BUNDLE = Path(__file__).parents[1] / "configs" / "demo" / "defects"
MODEL = BUNDLE / "defects.onnx"
OPSET = 17
SEED = 2
BATCH = 16
SIDE = 192
PEAK_RATE = 4e-3
WEIGHTS = (2.0, 6.0, 6.0, 4.0)
"""How much the cells of each class count: part, scratch, hole, stain; defects are few."""


def train(minutes: float, lines: int, threads: int) -> None:
    """Train for so many minutes and export the averaged weights."""
    import torch
    from defect_network import DefectNet, loss
    from torch.optim.swa_utils import AveragedModel

    torch.manual_seed(SEED)
    torch.set_num_threads(threads)
    start = time.monotonic()
    scenes = training_scenes(lines, 4, SEED)
    print(f"{len(scenes)} training scenes in {time.monotonic() - start:.0f} s", flush=True)
    network = DefectNet(len(SURFACES)).to(memory_format=torch.channels_last)
    print(f"{sum(weight.numel() for weight in network.parameters())} weights", flush=True)
    average = AveragedModel(network, avg_fn=_blend, use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE, weight_decay=0.01)
    rng = np.random.default_rng(SEED)
    weights = torch.tensor(WEIGHTS)
    start, step, shown = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = PEAK_RATE * min(1.0, (step + 1) / 60) * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
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


def main() -> int:
    """Train, export and examine, or only examine; return 1 when the model is not good enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluate", action="store_true", help="only examine the exported file")
    parser.add_argument("--minutes", type=float, default=12.0, help="how long to train (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=300, help="lines to learn from (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    arguments = parser.parse_args()
    if not arguments.evaluate:
        train(arguments.minutes, arguments.lines, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
