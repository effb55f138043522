"""Training: optimizer steps on augmented batches, faces per second.

Ours: `build_setup` and `train_epoch` as train.py calls them, with the recipe, bfloat16 where it pays,
channels_last and, on a GPU, torch.compile; the moving average of the weights is part of it. The usual: the same
network in float32 and channels_first, fed by the DataLoader of PIL transforms, and `loss.item()` at every step; no
average. The start of its worker processes and the compilation are not counted, an epoch's random numbers are.
"""

from contextlib import closing
from itertools import islice
from pathlib import Path

import torch

from benchmarks.measure import Row, recipe_for, say, seconds
from benchmarks.reference import (
    endless,
    plain_loader,
    plain_optimizer,
    train_plain,
    train_transform,
    usual_settings,
)
from datasets.train_val import TrainVal, limited
from engine.build import Setup, build_setup
from engine.config import RunConfig
from engine.loop import train_epoch
from models.build import build_model

WARM_UP = {"cuda": 10}  # steps, elsewhere 2: a GPU also compiles, tries kernels and may record graphs


def measure(
    data: TrainVal,
    models: list[str],
    device: torch.device,
    repeats: int,
    workers: int,
    batch_size: int | None = None,
    steps: int | None = None,
) -> list[Row]:
    """Faces per second of both loops, for every model; `steps` of them a repeat."""
    rows = []
    for model in models:
        size = min(batch_size or 128, len(data.train_pixels))
        few = 100 if device.type == "cuda" else 10 if model == "small" else 3
        count = min(steps or few, len(data.train_pixels) // size)
        rows.append(_one(data, model, device, repeats, workers, size, count))
    return rows


def _one(data: TrainVal, model: str, device: torch.device, repeats: int, workers: int, size: int, steps: int) -> Row:
    recipe = recipe_for(model, size)
    config = RunConfig(Path("-"), recipe=recipe, device=str(device))
    setup = build_setup(config, limited(data, steps * size))
    warm_up = min(WARM_UP.get(device.type, 2), steps)
    warm = build_setup(config, limited(data, warm_up * size), setup)

    network = build_model(model, len(data.class_names)).to(device)
    optimizer = plain_optimizer(network, recipe)
    loader = plain_loader(data.train_pixels, data.train_targets, train_transform(recipe), size, workers, train=True)

    def our_steps(ready: Setup) -> float:
        return seconds(device, lambda: train_epoch(setup.state, ready.loss_of, ready.loader, recipe))

    def usual_steps() -> float:
        # closed at the end, so that the workers do not fill their queue beside our turn
        with usual_settings(), closing(endless(loader)) as batches:
            train_plain(network, optimizer, islice(batches, warm_up), device)
            return seconds(device, lambda: train_plain(network, optimizer, islice(batches, steps), device))

    say(f"train: {model}, {steps} steps of {size} faces, {'bfloat16' if setup.amp else 'float32'} and float32")
    our_steps(warm)
    rates: dict[str, list[float]] = {"ours": [], "usual": []}
    for _ in range(repeats):
        rates["ours"].append(steps * size / our_steps(setup))
        rates["usual"].append(steps * size / usual_steps())
    what = f"{model}, batches of {size}"
    return Row("train", what, "faces/s", tuple(rates["ours"]), tuple(rates["usual"]), more_is_better=True)
