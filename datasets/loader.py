"""The training set as one tensor on the device: an epoch is a permutation, slices of it, and batched augmentation.

No worker processes, no per-image work. What an epoch does is a function of (seed, epoch) alone, so a resumed
run sees the faces and the augmentations that the uninterrupted one would have seen.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F

from datasets.augment import Augment, draw, mix, transform


class FaceLoader:
    """Batches of augmented faces: x float32 (n, channels, crop, crop) and targets float32 (n, classes).

    n is the batch size, or five times that where the augmentation makes five crops of a face.

    pixels: uint8 (N, h, w). labels: integers (N,), or probabilities (N, classes).
    The last, incomplete batch of an epoch is left out (other faces every time), so that all have one shape.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        num_classes: int,
        augment: Augment,
        batch_size: int,
        seed: int = 0,
        device: str | torch.device = "cpu",
        channels: int = 1,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if not len(pixels):
            raise ValueError("there are no faces to train on")
        draw(augment, 1, pixels.shape[-1], np.random.default_rng(0))  # an augmentation that cannot be is said here
        self.pixels = torch.as_tensor(pixels).to(device)
        targets = torch.as_tensor(labels)
        if targets.ndim == 1:
            targets = F.one_hot(targets.long(), num_classes)
        self.targets = targets.float().to(device)
        self.augment, self.seed, self.device = augment, seed, torch.device(device)
        self.batch_size = min(batch_size, len(pixels))
        self.channels, self.mean, self.std = channels, mean, std

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self.pixels) // self.batch_size

    def epoch(self, epoch: int, mixing: bool = True) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of one epoch; `mixing=False` leaves MixUp and CutMix out."""
        augment = self.augment if mixing else replace(self.augment, mixup=0.0, cutmix=0.0)
        rng = np.random.default_rng([self.seed, epoch])
        used = len(self) * self.batch_size
        order = torch.from_numpy(rng.permutation(len(self.pixels))[:used]).to(self.device)
        params = draw(augment, used, self.pixels.shape[-1], rng)
        params = {name: value.to(self.device, non_blocking=True) for name, value in params.items()}
        order = order.repeat_interleave(augment.views)
        rows = augment.views * self.batch_size
        for start in range(0, len(order), rows):
            batch = slice(start, start + rows)
            share = {name: value[batch] for name, value in params.items()}
            x = transform(augment, self.pixels[order[batch]], share, self.mean, self.std)
            x, targets = mix(x, self.targets[order[batch]], share, before=augment.views)
            yield x.expand(-1, self.channels, -1, -1), targets
