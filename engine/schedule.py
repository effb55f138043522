"""Learning rates as pure functions: a factor on the recipe's learning rate from where the run stands."""

import math
from collections.abc import Sequence
from typing import Any

SCHEDULES = ("cosine", "step", "plateau", "constant")


def cosine(progress: float, warmup: float = 0.0, floor: float = 0.0, step: float = 0.0) -> float:
    """Linear rise over the first `warmup` part of the run, then half a cosine down to `floor`.

    progress: 0..1, before the step; step: how much of the run it is. The rise begins at its first fraction, not at 0,
    where a step would train nothing.
    """
    if progress < warmup:
        return min(1.0, (progress + step) / warmup)
    progress = (progress - warmup) / max(1e-12, 1 - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def step(epochs_done: int, start: int, every: int, gamma: float) -> float:
    """Times `gamma` for every full period of `every` epochs after the first `start` epochs. epochs_done: 0, 1, ..."""
    return gamma ** (max(0, epochs_done - start) // every)


def plateau(history: Sequence[float], patience: int, gamma: float) -> float:
    """Times `gamma` whenever the validation accuracy has not risen for more than `patience` epochs in a row."""
    factor, best, waited = 1.0, -math.inf, 0
    for value in history:
        best, waited = (value, 0) if value > best else (best, waited + 1)
        if waited > patience:
            factor, waited = factor * gamma, 0
    return factor


def factor(recipe: Any, epochs_done: float, accuracies: Sequence[float], step_size: float = 0.0) -> float:
    """What to multiply a recipe's learning rate by.

    epochs_done: with the running epoch's fraction. accuracies: validation accuracy of every finished epoch.
    step_size: of a step, in epochs.
    """
    if recipe.schedule == "cosine":
        return cosine(epochs_done / recipe.epochs, recipe.warmup, step=step_size / recipe.epochs)
    if recipe.schedule == "step":
        return step(int(epochs_done), recipe.step_start, recipe.step_every, recipe.gamma)
    if recipe.schedule == "plateau":
        return plateau(accuracies, recipe.patience, recipe.gamma)
    return 1.0
