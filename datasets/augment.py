"""Batched augmentation: random numbers are drawn for a whole epoch, then applied to batches by pure functions.

`draw` makes the random numbers (NumPy, on the host, the same on every device), `transform` and `mix` apply a
batch's share of them. Every face of a batch gets its own crop, angle, box and mixing weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

Params = Mapping[str, torch.Tensor]  # each (n, ...), one row per face


@dataclass(frozen=True)
class Augment:
    """What is varied, and how far. Zero turns a part off."""

    crop: int = 44  # pixels: side of the faces that the network sees
    pad: int = 0  # pixels the crop may reach beyond the face (mirrored there)
    five: bool = False  # the four corners and the center of every face, instead of one random place
    flip: float = 0.5  # probability of a mirror image
    translate: float = 0.0  # part of the face's side, uniform in +-, in whole pixels
    rotate: float = 0.0  # degrees, uniform in +-
    scale: float = 0.0  # size, uniform in 1 +-
    shear: float = 0.0  # degrees, uniform in +-
    stretch: float = 0.0  # height to width, log-uniform from 1 / (1 + stretch) to 1 + stretch
    brightness: float = 0.0  # added to pixels in [0, 1], uniform in +-
    contrast: float = 0.0  # factor about the face's mean, uniform in 1 +-
    erase: float = 0.0  # probability of a gray box (Zhong et al., arXiv:1708.04896)
    erase_area: float = 0.2  # largest box, as a part of the face
    mixup: float = 0.0  # alpha of the Beta distribution (Zhang et al., arXiv:1710.09412)
    cutmix: float = 0.0  # alpha of the Beta distribution (Yun et al., arXiv:1905.04899)
    mix_probability: float = 1.0  # part of the faces that are mixed at all
    probability: float = 1.0  # of translate, rotate, scale, shear, and brightness with contrast, each for itself

    @property
    def affine(self) -> bool:
        """Whether geometry is more than shifts and mirror images."""
        return bool(self.rotate or self.scale or self.shear or self.stretch)

    @property
    def views(self) -> int:
        """Crops per face."""
        return 5 if self.five else 1


def draw(augment: Augment, n: int, size: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    """Random numbers for n faces of size x size pixels: one row per crop, so n rows, or 5 n (those of a face in a row).

    shift (n, 2) int64: y and x of the crop's upper left corner in the face; flip (n,) bool; matrix (n, 2, 2):
    offset (y, x) from the face's center -> offset where its value comes from; light (n, 2): gain and offset; erase,
    cut (n, 4) int64: top, left, bottom, right; lam (n,): a crop's own weight in mixup. Parts that are off are left out.
    """
    margin = check_margin(augment, size)

    def some(limit: float) -> np.ndarray:
        """Uniform in +-limit for those whom `probability` chooses, 0 for the others."""
        return limit * rng.uniform(-1, 1, n) * (rng.random(n) < augment.probability)

    params = {"shift": rng.integers(0, margin, (n, 2), endpoint=True), "flip": rng.random(n) < augment.flip}
    if augment.five:
        corners = np.array([(0, 0), (0, margin), (margin, 0), (margin, margin), (margin // 2, margin // 2)])
        params["shift"] = np.broadcast_to(corners, (n, 5, 2))
    if augment.translate:
        moved = np.stack([some(augment.translate * size), some(augment.translate * size)], 1).round().astype(np.int64)
        params["shift"] = params["shift"] + (moved[:, None] if augment.five else moved)
    params["shift"] = params["shift"].reshape(-1, 2) - augment.pad
    if augment.affine:
        angle, scale = np.deg2rad(some(augment.rotate)), 1 + some(augment.scale)
        shear = np.tan(np.deg2rad(some(augment.shear)))
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        params["matrix"] = np.stack([cos, sin - shear * cos, -sin, cos + shear * sin], 1).reshape(n, 2, 2)
        if augment.stretch:
            high = np.exp(some(np.log1p(augment.stretch)) / 2)[:, None]
            params["matrix"] *= np.stack([1 / high, high], 2)  # columns: offsets in y are divided, in x multiplied
    if augment.brightness or augment.contrast:
        chosen = rng.random(n) < augment.probability
        gain = 1 + augment.contrast * rng.uniform(-1, 1, n) * chosen
        params["light"] = np.stack([gain, augment.brightness * rng.uniform(-1, 1, n) * chosen], 1)
    if augment.five:
        params = {name: value if name == "shift" else value.repeat(5, 0) for name, value in params.items()}
        n = 5 * n
    if augment.erase:
        area = rng.uniform(min(0.02, augment.erase_area), augment.erase_area, n) * (rng.random(n) < augment.erase)
        params["erase"] = random_boxes(area, np.exp(rng.uniform(-1.2, 1.2, n)), augment.crop, rng)
    if augment.mixup or augment.cutmix:
        mixed = rng.random(n) < augment.mix_probability
        cut = rng.random(n) < (0.5 if augment.mixup and augment.cutmix else float(augment.cutmix > 0))
        lam = rng.beta(augment.mixup, augment.mixup, n) if augment.mixup else np.ones(n)
        area = 1 - rng.beta(augment.cutmix, augment.cutmix, n) if augment.cutmix else np.zeros(n)
        params["lam"] = np.where(mixed & ~cut, lam, 1.0)
        params["cut"] = random_boxes(area * (mixed & cut), np.ones(n), augment.crop, rng)
    return {
        name: torch.from_numpy(value if value.dtype.kind in "ib" else value.astype(np.float32))
        for name, value in params.items()
    }


def check_margin(augment: Augment, size: int) -> int:
    """How many pixels a crop can be moved; ValueError for one that does not fit, or reaches too far beyond the face."""
    margin = size + 2 * augment.pad - augment.crop
    if margin < 0:
        raise ValueError(
            f"--crop {augment.crop} does not fit into the face and its margins ({size} + 2 x {augment.pad} pixels);"
            " give a smaller one, or a larger --pad"
        )
    beyond = augment.pad + round(augment.translate * size)
    if beyond >= size:
        raise ValueError(
            f"--pad {augment.pad} and --translate {augment.translate} reach {beyond} pixels beyond the face;"
            f" {size - 1} is the most, as its margins are its mirror image"
        )
    return margin


def random_boxes(area: np.ndarray, aspect: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Boxes (n, 4) int64 inside size x size: top, left, bottom, right (exclusive); empty where the area is 0."""
    height = np.minimum(np.sqrt(area * aspect) * size, size)
    width = np.minimum(np.sqrt(area / aspect) * size, size)
    top = rng.random(len(area)) * (size - height)
    left = rng.random(len(area)) * (size - width)
    return np.stack([top, left, top + height, left + width], 1).round().astype(np.int64)


def transform(augment: Augment, pixels: torch.Tensor, params: Params, mean: float, std: float) -> torch.Tensor:
    """uint8 (n, h, w) -> float32 (n, 1, crop, crop): geometry, light, gray boxes, then (pixel / 255 - mean) / std."""
    x = warp(pixels, params, augment.crop) if augment.affine else shift(pixels, params, augment.crop).float()
    if "light" in params:
        gain, offset = params["light"][:, :, None, None].unbind(1)
        average = x.mean((1, 2), keepdim=True) / 255
        x = torch.addcmul(average * (1 - gain) + offset, x, gain / 255).clamp_(0, 1)
    else:
        x = x / 255
    if "erase" in params:
        x.masked_fill_(inside(params["erase"], augment.crop), 0.5)
    return x.sub_(mean).mul_(1 / std)[:, None]


def shift(pixels: torch.Tensor, params: Params, crop: int) -> torch.Tensor:
    """Crops at whole-pixel offsets, mirrored where `flip`: (n, h, w) -> (n, crop, crop), of the same type."""
    n, h, w = pixels.shape
    steps = torch.arange(crop, device=pixels.device)
    columns = torch.where(params["flip"][:, None], crop - 1 - steps, steps)
    rows = reflect(params["shift"][:, :1] + steps, h)  # (n, crop)
    columns = reflect(params["shift"][:, 1:] + columns, w)
    faces = torch.arange(n, device=pixels.device)
    return pixels[faces[:, None, None], rows[:, :, None], columns[:, None, :]]


def reflect(index: torch.Tensor, size: int) -> torch.Tensor:
    """Indices beyond [0, size) mirrored at the first and the last pixel."""
    index = index.abs()
    return torch.where(index > size - 1, 2 * (size - 1) - index, index)


def warp(pixels: torch.Tensor, params: Params, crop: int) -> torch.Tensor:
    """Shift, mirror image and affine map in one bilinear resampling: uint8 (n, h, w) -> float32 (n, crop, crop)."""
    n, h, w = pixels.shape
    steps = torch.arange(crop, device=pixels.device)
    columns = torch.where(params["flip"][:, None], crop - 1 - steps, steps)
    y = (params["shift"][:, :1] + steps - (h - 1) / 2)[:, :, None, None]  # (n, crop, 1, 1), from the face's center
    x = (params["shift"][:, 1:] + columns - (w - 1) / 2)[:, None, :, None]  # (n, 1, crop, 1)
    to_y, to_x = params["matrix"].unbind(1)  # (n, 2) each: what a step in y and one in x add, in input pixels
    by_y, by_x = torch.stack([to_x * (2 / (w - 1)), to_y * (2 / (h - 1))], 2)[:, :, None, None].unbind(1)
    grid = y * by_y + x * by_x  # (n, crop, crop, 2): x before y, in units of half the face
    return F.grid_sample(pixels[:, None].float(), grid, padding_mode="reflection", align_corners=True)[:, 0]


def inside(boxes: torch.Tensor, size: int) -> torch.Tensor:
    """Mask (n, size, size): which pixels lie in a face's box (top, left, bottom, right)."""
    steps = torch.arange(size, device=boxes.device)
    top, left, bottom, right = boxes[:, :, None].unbind(1)  # each (n, 1)
    rows = (steps >= top) & (steps < bottom)
    columns = (steps >= left) & (steps < right)
    return rows[:, :, None] & columns[:, None, :]


def mix(x: torch.Tensor, targets: torch.Tensor, params: Params, before: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """MixUp or CutMix of every crop with the one that stands `before` places before it in the batch.

    x (n, 1, h, w); targets (n, classes) probabilities, mixed by the same weights (CutMix: by area).
    """
    if "lam" not in params:
        return x, targets
    lam, cut = params["lam"], inside(params["cut"], x.shape[-1])
    other = x.roll(before, 0)
    x = torch.where(cut[:, None], other, torch.lerp(other, x, lam[:, None, None, None]))
    own = (lam * (1 - cut.float().mean((1, 2))))[:, None]
    return x, own * targets + (1 - own) * targets.roll(before, 0)
