"""ResNet with the CIFAR stem (He et al., arXiv:1512.03385): a 3x3 convolution and no pooling in front.

48x48 faces keep their resolution through the first stage. Parameters are named `conv1`, `bn1`, `layer1` to
`layer4`, `linear`, and `shortcut` inside a block.
"""

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (n, c, h, w) -> (n, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = make_shortcut(channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(out)).add_(self.shortcut(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: (n, c, h, w) -> (n, 4 width, h / stride, w / stride)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.shortcut = make_shortcut(channels, 4 * width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)).add_(self.shortcut(x)), inplace=True)


def make_shortcut(channels: int, width: int, stride: int) -> nn.Sequential:
    """The identity, or a 1x1 convolution where the shape changes."""
    if stride == 1 and channels == width:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


LAYERS = {18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3))}


class ResNet(nn.Module):
    """(n, in_channels, h, w) float -> (n, num_classes) logits.

    pool: "global" averages the last map (6x6 at h = w = 44); "avg4" averages 4x4 windows with stride 4, as older
    FER2013 repositories do, so that at 40 to 56 pixels only the upper left 4x4 of the map reach the classifier.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 7,
        in_channels: int = 1,
        dropout: float = 0.0,
        pool: str = "global",
    ) -> None:
        super().__init__()
        block, repeats = LAYERS[depth]
        self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, repeat in enumerate(repeats):
            width = 64 * 2**stage
            blocks = []
            for index in range(repeat):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(block(channels, width, stride))
                channels = block.expansion * width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "global" else nn.AvgPool2d(4)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)  # (n, 64, h, w)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (n, 512 or 2048, h / 8, w / 8)
        x = self.pool(x).flatten(1)
        return self.linear(self.dropout(x))
