"""Test views of a face: the crops and mirrored crops whose logits are averaged.

Ten-crop exists here once; training's evaluation, testing, plots and single images all use it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torchvision.transforms.v2 import functional as tv

from datasets.names import VIEWS

ZOOM = 1.1  # between neighbours of the three scales: 40, 44 and 48 pixels of a face of 48


def make_views(
    name: str, crop: int, channels: int = 1, mean: float = 0.0, std: float = 1.0
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function uint8 (n, h, w) -> float32 (n, v, channels, crop, crop) of the named views.

    Pixels become (pixel / 255 - mean) / std. The order is torchvision's: five crops are top left, top right,
    bottom left, bottom right, center; ten crops are those five and then the five of the mirrored face; flip is
    the center crop and its mirror image. Raises ValueError for an unknown name or a crop larger than the face.
    """
    if name not in VIEWS:
        raise ValueError(f"unknown views {name!r}; there are {', '.join(VIEWS)}")

    def views(pixels: torch.Tensor) -> torch.Tensor:
        if crop > min(pixels.shape[-2:]):
            h, w = pixels.shape[-2:]
            raise ValueError(
                f"a crop of {crop} pixels does not fit into faces of {w}x{h}, which are tested without margin"
            )
        x = (pixels[:, None].float() / 255 - mean) / std  # (n, 1, h, w)
        if name == "five":
            crops = tv.five_crop(x, [crop, crop])
        elif name == "ten":
            crops = tv.ten_crop(x, [crop, crop])
        elif name == "scales":
            sides = (round(crop / ZOOM), crop, min(round(crop * ZOOM), *pixels.shape[-2:]))
            crops = [_resized(tv.center_crop(x, [side, side]), crop) for side in sides]
            crops += [view.flip(-1) for view in crops]
        else:
            center = tv.center_crop(x, [crop, crop])
            crops = (center,) if name == "center" else (center, center.flip(-1))
        return torch.stack(tuple(crops), 1).expand(-1, -1, channels, -1, -1)

    return views


def _resized(x: torch.Tensor, side: int) -> torch.Tensor:
    return x if x.shape[-1] == side else F.interpolate(x, (side, side), mode="bilinear")
