"""A network for tests of everything but networks."""

import torch
from torch import nn


class Toy(nn.Module):
    """A network that learns a little in a millisecond, with everything that has to be restored."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, pool: str) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(4 * 16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 4)
        return self.linear(self.dropout(x.flatten(1)))
