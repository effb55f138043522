"""A residual network small enough for a CPU: 1.4 M parameters, 0.12 GMAC at 44x44.

The first convolution runs at full resolution on few channels, everything else at 22, 11 and 6 pixels.
"""

import torch
import torch.nn.functional as F
from torch import nn

from models.resnet import BasicBlock


class Small(nn.Module):
    """(n, in_channels, h, w) float -> (n, num_classes) logits."""

    def __init__(
        self,
        num_classes: int = 7,
        in_channels: int = 1,
        dropout: float = 0.0,
        widths=(32, 64, 128, 192),
        depths=(1, 1, 1),
    ) -> None:
        super().__init__()
        stem = widths[0]
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        stages = []
        for channels, width, depth in zip(widths, widths[1:], depths):
            stages += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            stages += [BasicBlock(width, width, 1) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.stages(x)
        return self.linear(self.dropout(x.mean((2, 3))))
