"""The network that finds defects: a small U-Net that says of every second pixel what it belongs to.

It sees BGR (x - 96) / 64 of any size whose sides are multiples of 16, and answers with one logit per class on a grid
of half the width and height. The classes may overlap: a scratch belongs to the part that it is on. Skips are added,
not concatenated, as in LinkNet (arXiv 1707.03718); else it is the U-Net of arXiv 1505.04597.
"""

from __future__ import annotations

from network import ConvUnit, Residual
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2
"""Pixels of the picture per cell of the answer."""


class DefectNet(nn.Module):
    """Four scales down, four up; about 0.2 million weights."""

    def __init__(self, classes: int, widths: tuple[int, int, int, int] = (16, 16, 32, 64)) -> None:
        """Build the layers; `widths` are the channels per scale."""
        super().__init__()
        one, two, three, four = widths
        self.at2 = ConvUnit(3, one, stride=2)
        self.at4 = nn.Sequential(ConvUnit(one, two, stride=2), ConvUnit(two, two))
        self.at8 = nn.Sequential(ConvUnit(two, three, stride=2), Residual(three))
        self.at16 = nn.Sequential(ConvUnit(three, four, stride=2), Residual(four), Residual(four))
        self.side8, self.up8 = ConvUnit(four, three, size=1), ConvUnit(three, three)
        self.side4, self.up4 = ConvUnit(three, two, size=1), ConvUnit(two, two)
        self.side2, self.up2 = ConvUnit(two, one, size=1), ConvUnit(one, one)
        self.head = nn.Conv2d(one, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Turn float32 (b, 3, h, w) of mean about 0 into logits (b, classes, h / 2, w / 2)."""
        at2 = self.at2(images)
        at4 = self.at4(at2)
        at8 = self.at8(at4)
        at16 = self.at16(at8)
        at8 = self.up8(at8 + _twice(self.side8(at16)))
        at4 = self.up4(at4 + _twice(self.side4(at8)))
        at2 = self.up2(at2 + _twice(self.side2(at4)))
        answer: Tensor = self.head(at2)
        return answer


def _twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def loss(answer: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return how wrong the network is: cross-entropy plus one minus the Dice overlap (arXiv 1606.04797), per class.

    Args:
        answer: float32 (b, classes, h, w) from `DefectNet`.
        truth: float32, the same shape, 0 or 1; a defect is also part of the part that it is on.
        weights: float32 (classes,), how much the cross-entropy of each class counts.

    """
    entropy = functional.binary_cross_entropy_with_logits(answer, truth, reduction="none").mean(dim=(0, 2, 3))
    share = answer.sigmoid()
    common = (share * truth).sum(dim=(0, 2, 3))
    dice = (2 * common + 1) / (share.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3)) + 1)
    return (weights * entropy).sum() + (1 - dice).mean()
