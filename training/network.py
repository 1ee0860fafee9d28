"""The demo's detector: a small convolutional network, what it should answer for a picture, and its loss.

The network sees 320x192 pixels, BGR 0..255, and answers for every cell of three grids (8, 16 and 32 pixels
wide) with a box, an objectness and one score per class: the raw head of the YOLOX paper (arXiv 2107.08430).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
LARGEST_PX = (46.0, 110.0, 1e9)
"""A part belongs to the first grid whose limit its longer side does not exceed, network pixels."""
_REACH = 1.3  # cells whose center lies this many cells from the part's center are taught that part
_PRIOR = -4.0  # initial score logit: almost every cell is empty
_BOX_WEIGHT = 5.0


class ConvUnit(nn.Sequential):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> None:
        """Build the three layers; `size` is the side of the kernel."""
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        """Build the two layers for `width` channels."""
        super().__init__()
        self.first = ConvUnit(width, width)
        self.second = ConvUnit(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus what the two layers make of it, same shape."""
        return x + self.second(self.first(x))


class PartsNet(nn.Module):
    """Backbone, a small feature pyramid, and one head per stride; about 0.2 million weights."""

    def __init__(self, classes: int) -> None:
        """Build the layers for so many classes."""
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 16, stride=2), ConvUnit(16, 24, stride=2), ConvUnit(24, 32, stride=2))
        self.body8 = Residual(32)
        self.down16 = nn.Sequential(ConvUnit(32, 48, stride=2), Residual(48))
        self.down32 = nn.Sequential(ConvUnit(48, 56, stride=2), Residual(56))
        self.side16 = ConvUnit(56, 48, size=1)
        self.side8 = ConvUnit(48, 32, size=1)
        self.heads = nn.ModuleList(
            nn.Sequential(ConvUnit(width, 32), nn.Conv2d(32, 5 + classes, 1)) for width in (32, 48, 56)
        )
        for head in self.heads:
            nn.init.constant_(head[1].bias[4:], _PRIOR)
            nn.init.normal_(head[1].weight, std=0.01)

    def forward(self, images: Tensor) -> Tensor:
        """Turn float32 (b, 3, h, w) 0..255 into (b, cells, 5 + classes): tx, ty, tw, th and **logits**."""
        at8 = self.body8(self.stem(images / 64.0 - 1.5))
        at16 = self.down16(at8)
        at32 = self.down32(at16)
        at16 = at16 + functional.interpolate(self.side16(at32), scale_factor=2.0, mode="nearest")
        at8 = at8 + functional.interpolate(self.side8(at16), scale_factor=2.0, mode="nearest")
        answers = [head(grid) for head, grid in zip(self.heads, (at8, at16, at32), strict=True)]
        return torch.cat([answer.flatten(2) for answer in answers], dim=2).transpose(1, 2)


class Exported(nn.Module):
    """The network as it is shipped: objectness and class scores between 0 and 1."""

    def __init__(self, network: PartsNet) -> None:
        """Wrap a trained network."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (b, cells, 5 + classes) in the YOLOX raw-head convention."""
        answer = self.network(images)
        return torch.cat((answer[..., :4], answer[..., 4:].sigmoid()), dim=2)


def cells(wh: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the column and row, float32 (cells, 2), and the stride, float32 (cells,), of every cell."""
    places, strides = [], []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(torch.arange(wh[1] // stride), torch.arange(wh[0] // stride), indexing="ij")
        places.append(torch.stack((columns, rows), dim=2).reshape(-1, 2).float())
        strides.append(torch.full((places[-1].shape[0],), float(stride)))
    return torch.cat(places), torch.cat(strides)


def assign(boxes: Tensor, place: Tensor, stride: Tensor) -> Tensor:
    """Say which part each cell is taught.

    Args:
        boxes: float32 (b, parts, 4) xyxy, network pixels; rows without area are padding.
        place: float32 (cells, 2) from `cells`.
        stride: float32 (cells,) from `cells`.

    Returns:
        int64 (b, cells): index of the part, or -1 for "nothing here".

    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    side = (boxes[..., 2:] - boxes[..., :2]).amax(dim=2)
    grid = torch.bucketize(side, torch.tensor(LARGEST_PX[:-1]))
    wanted = torch.tensor(STRIDES, dtype=torch.float32)[grid]
    offset = (place + 0.5)[None, :, None] - middle[:, None] / stride[None, :, None, None]
    near = offset.abs().amax(dim=3)
    eligible = (near < _REACH) & (stride[None, :, None] == wanted[:, None]) & (side > 0)[:, None]
    distance = torch.where(eligible, near, torch.full_like(near, 1e9))
    best = distance.min(dim=2)
    return torch.where(best.values < _REACH, best.indices, torch.full_like(best.indices, -1))


def loss(answer: Tensor, boxes: Tensor, labels: Tensor, place: Tensor, stride: Tensor) -> Tensor:
    """Return how wrong the network is: boxes by generalized IoU, scores by cross-entropy.

    Args:
        answer: float32 (b, cells, 5 + classes) from `PartsNet`.
        boxes: float32 (b, parts, 4) xyxy, network pixels.
        labels: int64 (b, parts).
        place: float32 (cells, 2) from `cells`.
        stride: float32 (cells,) from `cells`.

    """
    chosen = assign(boxes, place, stride)
    positive = chosen >= 0
    count = positive.sum().clamp(min=1)
    picture, cell = positive.nonzero(as_tuple=True)
    part = chosen[picture, cell]
    taught = answer[picture, cell]
    size = stride[cell, None]
    center = (taught[:, :2] + place[cell]) * size
    half = taught[:, 2:4].clamp(max=6).exp() * size / 2
    overlap, penalty = generalized_iou(torch.cat((center - half, center + half), dim=1), boxes[picture, part])
    objectness = torch.zeros_like(answer[..., 4])
    objectness[picture, cell] = overlap.detach().clamp(0.05, 1)
    classes = functional.one_hot(labels[picture, part], answer.shape[2] - 5).float()
    cross_entropy = functional.binary_cross_entropy_with_logits
    return (
        _BOX_WEIGHT * penalty.sum()
        + cross_entropy(answer[..., 4], objectness, reduction="sum")
        + cross_entropy(taught[:, 5:], classes, reduction="sum")
    ) / count


def generalized_iou(ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the IoU and the loss 1 - GIoU (arXiv 1902.09630) of each pair of boxes, float32 (n,) both."""
    inner = (torch.minimum(ours[:, 2:], theirs[:, 2:]) - torch.maximum(ours[:, :2], theirs[:, :2])).clamp(min=0)
    outer = torch.maximum(ours[:, 2:], theirs[:, 2:]) - torch.minimum(ours[:, :2], theirs[:, :2])
    common = inner.prod(dim=1)
    union = (ours[:, 2:] - ours[:, :2]).prod(dim=1) + (theirs[:, 2:] - theirs[:, :2]).prod(dim=1) - common
    hull = outer.prod(dim=1)
    iou = common / union.clamp(min=1e-6)
    return iou, 1 - iou + (hull - union) / hull.clamp(min=1e-6)
