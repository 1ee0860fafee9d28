"""Writes real model bundles for tests: one network in several formats, as a training team would hand it over."""

from typing import Any, Final

ULTRAFACE_INPUT: Final[dict[str, Any]] = {
    "size": [320, 240], "color": "rgb", "resize": "stretch", "mean": [127, 127, 127], "std": [128, 128, 128],
}  # fmt: skip
PRIORS_OF_ULTRAFACE: Final[dict[str, Any]] = {
    "format": "priors",
    "strides": [8, 16, 32, 64],
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "clip": True,
}
"""Of UltraFace without its decoder: sizes and steps of its `vision/ssd/config/fd_config.py`."""
YUNET_OUTPUT: Final[dict[str, Any]] = {
    "format": "priors",
    "scores": "conf",
    "boxes": "loc",
    "iou": "iou",
    "keypoints": 5,
    "strides": [8, 16, 32, 64],
    "min_sizes": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "cells": "floor",
    "centers": "stride",
    "variances": [0.1, 0.1, 0.1, 0.2],  # of 2021: opencv_zoo multiplies width and height by the pair (0.1, 0.2)
}
