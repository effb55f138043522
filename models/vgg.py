"""VGG with batch normalisation for small faces (Simonyan & Zisserman, arXiv:1409.1556, configurations A, B, D, E).

One linear layer follows the convolutions, which is the usual form for 32x32 to 48x48 inputs. Parameters are
named `features.N.*` and `classifier.*`.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Channels of the 3x3 convolutions; "M" halves the resolution.
LAYERS = {
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"),
    19: (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"),
}


class Conv3x3(nn.Conv2d):
    """3x3 convolution of stride 1 that keeps the resolution: (n, c, h, w) -> (n, width, h, w).

    On a CPU, maps of up to 3x3 are one matrix product with the nine shifted maps side by side, which trains several
    times faster there than the convolution does.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[2:]
        if x.device.type != "cpu" or h * w > 9:
            return super().forward(x)
        padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (n, h + 2, w + 2, c)
        shifted = torch.cat([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], dim=3)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # (width, 9 c)
        return F.linear(shifted, weight, self.bias).permute(0, 3, 1, 2)


class VGG(nn.Module):
    """(n, in_channels, h, w) float -> (n, num_classes) logits, h and w from 32 to any size.

    pool: "global" averages whatever map is left; "avg4" is the older repositories' form, which leaves the last
    map as it is and so wants one of 1x1 (h and w from 32 to 63).
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
        layers: list[nn.Module] = []
        channels = in_channels
        for width in LAYERS[depth]:
            if width == "M":
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [Conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "global" else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.features(x)  # (n, 512, h / 32, w / 32)
        x = self.pool(x).flatten(1)  # (n, 512)
        return self.classifier(self.dropout(x))
