"""Input pipeline: augmented, normalised batches on the device, faces per second.

Ours: `FaceLoader`, the whole set on the device and batched augmentation. The usual: PIL transforms, face by face, in a
DataLoader with worker processes, and a copy to the device. Both do a whole epoch of the recipe sgd, with whatever
it needs: drawing the random numbers, starting the workers. No network runs beside it, so the workers have the
cores to themselves, which they have not in training.
"""

from pathlib import Path

import torch

from benchmarks.measure import Row, recipe_for, say, seconds
from benchmarks.reference import plain_loader, train_transform
from datasets.train_val import TrainVal
from engine.build import build_loader
from engine.config import RunConfig


def measure(data: TrainVal, device: torch.device, repeats: int, workers: int, batch_size: int = 128) -> list[Row]:
    """Faces per second of both pipelines over the training set of `data`."""
    recipe = recipe_for("resnet18", min(batch_size, len(data.train_pixels)))
    ours = build_loader(RunConfig(Path("-"), recipe=recipe), data, device)
    usual = plain_loader(
        data.train_pixels, data.train_targets, train_transform(recipe), recipe.batch_size, workers, train=True
    )

    def our_epoch() -> None:
        for _ in ours.epoch(1):
            pass

    def usual_epoch() -> None:
        for x, y in usual:
            x.to(device), y.to(device)

    say(f"input: {len(ours)} batches of {recipe.batch_size} faces, {workers} workers")
    our_epoch()  # warm-up
    next(iter(usual))
    rates: dict[str, list[float]] = {"ours": [], "usual": []}
    for _ in range(repeats):
        for side, epoch in (("ours", our_epoch), ("usual", usual_epoch)):
            rates[side].append(len(ours) * recipe.batch_size / seconds(device, epoch))
    what = f"recipe sgd, batches of {recipe.batch_size}"
    return [Row("input", what, "faces/s", tuple(rates["ours"]), tuple(rates["usual"]), more_is_better=True)]
