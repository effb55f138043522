"""A residual network small enough for a CPU: 1.34 M parameters, 0.12 GMAC at 44x44.

Only the first convolution, on few channels, runs at full resolution; everything else at 22, 11 and 6 pixels.
"""

import torch
import torch.nn.functional as F
from torch import nn

from models.resnet import BasicBlock

STEM = 24
WIDTHS = (64, 128, 192)  # of the three stages; each halves the resolution and has one residual block


class Small(nn.Module):
    """(n, in_channels, h, w) float -> (n, num_classes) logits."""

    def __init__(self, num_classes: int = 7, in_channels: int = 1, dropout: float = 0.0, pool: str = "global") -> None:
        super().__init__()
        if pool != "global":
            raise ValueError(f"--pool {pool} is for the ResNets and VGGs; small has global pooling only")
        self.conv1 = nn.Conv2d(in_channels, STEM, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        channels = STEM
        stages: list[nn.Module] = []
        for width in WIDTHS:
            stages.append(nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False))
            stages += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), BasicBlock(width, width, stride=1)]
            channels = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)  # (n, 24, h, w)
        x = self.stages(x)  # (n, 192, h / 8, w / 8)
        return self.linear(self.dropout(x.mean((2, 3))))
