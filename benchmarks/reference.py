"""The usual way, as older FER2013 repositories have it: per-image PIL transforms in a DataLoader, a plain loop.

Every face becomes a PIL image, goes through `torchvision.transforms` one step after another, is stacked to batches
by worker processes and copied to the device. The network runs in float32 and channels_first, and the loop asks for the
loss after every step. One thing is kinder than there: images stay gray instead of being tripled to RGB.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from engine.muon import Muon

if TYPE_CHECKING:
    from engine.recipes import Recipe


class PlainFaces(Dataset):
    """Faces one by one: uint8 (h, w) -> PIL image -> transform; with the label."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, transform: transforms.Compose) -> None:
        self.pixels, self.labels, self.transform = pixels, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[index])), int(self.labels[index])


class CropsToTensor:
    """PIL crops of one face -> normalised float32 (views, 1, crop, crop), one after another."""

    def __init__(self, mean: float, std: float) -> None:
        self.one = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])

    def __call__(self, crops: Iterable[Image.Image]) -> torch.Tensor:
        return torch.stack([self.one(crop) for crop in crops])


def train_transform(recipe: "Recipe") -> transforms.Compose:
    """The recipe's augmentation of one PIL image, as nearly as torchvision's classes have it.

    What differs: the affine map is a resampling of its own and leaves corners gray that ours fills by reflection;
    brightness multiplies where ours adds (at a mid gray by as much). Raises ValueError for five crops a face;
    mixup and cutmix, which mix batches, are left out.
    """
    if recipe.five:
        raise ValueError(f"the reference pipeline has one crop a face, and this recipe of {recipe.model} has five")
    gray = round(255 * recipe.mean)
    steps = [
        transforms.RandomAffine(
            recipe.rotate,
            translate=(recipe.translate, recipe.translate),
            scale=(1 - recipe.scale, 1 + recipe.scale),
            shear=recipe.shear or None,
            interpolation=transforms.InterpolationMode.BILINEAR,
            fill=gray,
        ),
        transforms.RandomCrop(recipe.crop, padding=recipe.pad, padding_mode="reflect"),
        transforms.RandomHorizontalFlip(recipe.flip),
        transforms.ColorJitter(brightness=2 * recipe.brightness, contrast=recipe.contrast),
        transforms.ToTensor(),
        transforms.Normalize(recipe.mean, recipe.std),
    ]
    if recipe.erase:
        aspect = (math.exp(-1.2), math.exp(1.2))
        value = (0.5 - recipe.mean) / recipe.std
        steps.append(transforms.RandomErasing(recipe.erase, (0.02, recipe.erase_area), aspect, value=value))
    return transforms.Compose(steps)


def view_transform(views: str, crop: int, mean: float, std: float) -> transforms.Compose:
    """PIL image -> (10 or 2, 1, crop, crop): views "ten", or "flip", the center crop and its mirror image."""
    if views not in ("ten", "flip"):
        raise ValueError(f"the reference pipeline tests with the views ten or flip, not {views!r}")
    crops = [transforms.TenCrop(crop)] if views == "ten" else [transforms.CenterCrop(crop), _with_mirror_image]
    return transforms.Compose([*crops, CropsToTensor(mean, std)])


def plain_loader(
    pixels: np.ndarray, labels: np.ndarray, transform: transforms.Compose, batch_size: int, workers: int, train: bool
) -> DataLoader:
    """Batches from worker processes; `train`: in random order, without the last, incomplete one."""
    faces = PlainFaces(pixels, labels, transform)
    pin = torch.cuda.is_available()
    return DataLoader(faces, batch_size, shuffle=train, drop_last=train, num_workers=workers, pin_memory=pin)


def endless(loader: DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from loader


def plain_optimizer(model: nn.Module, recipe: "Recipe") -> torch.optim.Optimizer:
    """The recipe's optimizer with its weight decay on everything."""
    if recipe.optimizer == "muon":
        return Muon(model.parameters(), recipe.lr, recipe.momentum, recipe.weight_decay, decay_all=True)
    if recipe.optimizer == "adamw":
        betas = (recipe.momentum, 0.999)
        return torch.optim.AdamW(model.parameters(), recipe.lr, betas, weight_decay=recipe.weight_decay)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(
        model.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=nesterov
    )


def train_plain(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
    device: torch.device,
    label_smoothing: float = 0.0,
) -> tuple[float, float]:
    """One pass over the batches; returns mean loss and accuracy, which it keeps account of at every step."""
    criterion = nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    total, correct, seen = 0.0, 0, 0
    model.train()
    for x, y in batches:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        outputs = model(x)
        loss = criterion(outputs, y)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(y)
        correct += outputs.argmax(1).eq(y).sum().item()
        seen += len(y)
    return total / seen, correct / seen


@torch.no_grad()
def predict_plain(model: nn.Module, loader: DataLoader, device: torch.device) -> torch.Tensor:
    """Logits (N, classes) on the CPU, averaged over the views; a forward pass takes a batch's faces x views."""
    model.eval()
    logits = []
    for x, _ in loader:
        n, v, c, h, w = x.shape
        outputs = model(x.view(-1, c, h, w).to(device))
        logits.append(outputs.view(n, v, -1).mean(1).cpu())
    return torch.cat(logits)


@contextmanager
def usual_settings() -> Iterator[None]:
    """`cudnn.benchmark`, which older scripts set; everything else as PyTorch comes (on GPUs: TF32 convolutions)."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _with_mirror_image(image: Image.Image) -> list[Image.Image]:
    return [image, transforms.functional.hflip(image)]
