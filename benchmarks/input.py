"""Input pipeline: augmented, normalised batches on the device, faces a second.

Ours: `FaceLoader`, the whole set on the device and batched augmentation. The usual: PIL transforms, face by face, in a
DataLoader with worker processes, and a copy to the device. Both do a whole epoch of the default recipe, with whatever
it needs: drawing the random numbers, starting the workers. No network runs beside it, so the workers have the
cores to themselves, which they have not in training.
"""

from typing import TYPE_CHECKING

from benchmarks.measure import Row, recipe_for, say, seconds

if TYPE_CHECKING:
    import torch

    from datasets.parts import Part


def measure(part: "Part", device: "torch.device", repeats: int, workers: int, batch_size: int = 128) -> list[Row]:
    """Faces a second of both pipelines over the fitted faces of `part`."""
    from dataclasses import fields

    from benchmarks.reference import plain_loader, train_transform
    from datasets.augment import Augment
    from datasets.loader import FaceLoader

    recipe = recipe_for("resnet18", min(batch_size, len(part.train_pixels)))
    augment = Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)})
    ours = FaceLoader(
        part.train_pixels,
        part.train_targets,
        len(part.class_names),
        augment,
        recipe.batch_size,
        device=device,
        mean=recipe.mean,
        std=recipe.std,
    )
    usual = plain_loader(
        part.train_pixels, part.train_targets, train_transform(recipe), recipe.batch_size, workers, train=True
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
    what = f"default recipe, batches of {recipe.batch_size}"
    return [Row("input", what, "faces/s", tuple(rates["ours"]), tuple(rates["usual"]), more_is_better=True)]
