"""VGG with batch normalisation for small faces (Simonyan & Zisserman, arXiv:1409.1556, configurations A, B, D, E).

One linear layer follows the convolutions, which is the usual form for 32x32 to 48x48 inputs. Parameters are
named `features.N.*` and `classifier.*`.
"""

import torch
from torch import nn

# Channels of the 3x3 convolutions; "M" halves the resolution.
LAYERS = {
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", *[256] * 3, "M", *[512] * 3, "M", *[512] * 3, "M"),
    19: (64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"),
}


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
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
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
