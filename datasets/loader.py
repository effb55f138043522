"""The training set as one tensor on the device: an epoch is a permutation, slices of it, and batched augmentation.

No worker processes, no per-image work. What an epoch does is a function of (seed, epoch) alone, so a resumed
run sees the faces and the augmentations that the uninterrupted one would have seen.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from datasets.augment import Augment, draw, mix, transform


class Batch(NamedTuple):
    """Faces as they are stored, and all that augmentation needs: tensors on the device, of one shape in every batch."""

    pixels: torch.Tensor  # uint8 (rows, h, w)
    targets: torch.Tensor  # float32 (rows, classes)
    params: dict[str, torch.Tensor]  # random numbers as `datasets.augment.draw` makes them, for these rows


class FaceLoader:
    """Batches of augmented faces: x float32 (n, channels, crop, crop) and targets float32 (n, classes).

    n is the batch size, or five times that where the augmentation makes five crops of a face.
    pixels: uint8 (N, h, w). labels: integers (N,), or probabilities (N, classes).
    The last, incomplete batch of an epoch is left out (other faces every time), so that all have one shape.
    Faces that take more than `memory` bytes (default: half of what is free on a GPU) stay with the host, and
    batches of them are copied.
    share: (which, of how many) equal parts of every batch this loader gives; for several processes. Together they
    give what one loader alone would.
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
        memory: float | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if len(pixels) < 2:
            raise ValueError(f"a train set of {len(pixels)}: batch normalisation needs two faces and more")
        self.batch_size = min(batch_size, len(pixels))
        if self.batch_size % share[1]:
            raise ValueError(f"--batch-size {self.batch_size} cannot be shared equally by {share[1]} processes")
        draw(augment, 1, pixels.shape[-1], np.random.default_rng(0))  # an augmentation that cannot be is said here
        self.augment, self.seed, self.device, self.share = augment, seed, torch.device(device), share
        self.channels, self.mean, self.std = channels, mean, std
        self.pixels = torch.as_tensor(pixels)
        if memory is None:
            memory = torch.cuda.mem_get_info(device)[0] / 2 if self.device.type == "cuda" else float("inf")
        self.on_device = self.pixels.nbytes <= memory
        if self.on_device:
            self.pixels = self.pixels.to(self.device)
        targets = torch.as_tensor(labels)
        if targets.ndim == 1:
            targets = F.one_hot(targets.long(), num_classes)
        self.targets = targets.float().to(self.device)

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.pixels) // self.batch_size

    def epoch(self, epoch: int, mixing: bool = True) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The augmented batches of one epoch; `mixing=False` leaves MixUp and CutMix out."""
        return map(self.augmented, self.batches(epoch, mixing))

    def batches(self, epoch: int, mixing: bool = True) -> Iterator[Batch]:
        """The batches of one epoch before augmentation, which training does as a part of its step."""
        rng = np.random.default_rng([self.seed, epoch])
        views, used = self.augment.views, len(self) * self.batch_size
        order = torch.from_numpy(rng.permutation(len(self.pixels))[:used]).repeat_interleave(views)
        params = draw(self.augment, used, self.pixels.shape[-1], rng)
        if not mixing and "lam" in params:  # they stay, so that the step is the one that was compiled
            params["lam"].fill_(1)
            params["cut"].zero_()
        rows = views * self.batch_size
        if self.share[1] > 1:
            own = self._own_rows(views)
            order, params = order[own], {name: value[own] for name, value in params.items()}
            rows = len(own) // len(self)
        params = {name: value.to(self.device, non_blocking=True) for name, value in params.items()}
        faces = order.to(self.device, non_blocking=True)
        for batch in (slice(start, start + rows) for start in range(0, len(order), rows)):
            if self.on_device:
                pixels = self.pixels[faces[batch]]
            else:
                pixels = self.pixels[order[batch]]
                pixels = pixels.pin_memory() if self.device.type == "cuda" else pixels
                pixels = pixels.to(self.device, non_blocking=True)
            yield Batch(pixels, self.targets[faces[batch]], {name: value[batch] for name, value in params.items()})

    def augmented(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network gets of a batch: x and targets. A pure function of tensors, which a compiler can take in."""
        views = self.augment.views
        x = transform(self.augment, batch.pixels, batch.params, self.mean, self.std)
        x, targets = mix(x, batch.targets, batch.params, before=views)
        extra = views if self.share[1] > 1 else 0  # rows that are only there to be mixed in
        return x[extra:].expand(-1, self.channels, -1, -1), targets[extra:]

    def _own_rows(self, views: int) -> torch.Tensor:
        """This loader's rows of an epoch, batch after batch.

        A crop is mixed with the one `views` places before it (the first with the last of the batch), so that every
        share has as many more rows in front.
        """
        which, of = self.share
        rows = views * self.batch_size
        one = torch.arange(which * rows // of - views, (which + 1) * rows // of) % rows
        return (torch.arange(len(self))[:, None] * rows + one).flatten()
