"""Seconds from process start to an accuracy on PublicTest.

Ours: `build_setup`, `train_epoch` and `validate` as train.py calls them, without writing a run's folder. The
usual: the plain loop in float32 with the same learning rates (but set once an epoch), momentum, weight decay, label
smoothing and augmentation, without the average of the weights. Both are tested after every epoch with the same
views and stop when they are there; the learning rate's schedule spans `epochs`, reached or not. So the seconds say
what the epochs of one recipe cost; a recipe with fewer epochs may get there sooner.

Every repeat is a process with a seed of its own.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import Row, child, recipe_for, say
from benchmarks.reference import (
    plain_loader,
    plain_optimizer,
    predict_plain,
    train_plain,
    train_transform,
    usual_settings,
    view_transform,
)
from datasets.storage import read_faces
from datasets.train_val import TrainVal, train_val_split
from engine.build import build_setup
from engine.config import RunConfig
from engine.loop import train_epoch, validate
from engine.recipes import Recipe
from engine.schedule import factor
from models.build import build_model
from utils.device import pick_device
from utils.seed import seed_torch


def measure(
    data: Path, models: list[str], target: float, repeats: int, both: bool, options: dict[str, Any]
) -> list[Row]:
    """Wall-clock seconds of the processes that reached `target` (0..1), and the epochs that they took.

    options: device, workers, and batch_size, recipe, epochs, views, each of which may be None.
    """

    read_faces(data, ["PublicTest"])  # a missing file is said here
    rows = []
    for model in models:
        ends: dict[str, list[dict[str, Any]]] = {"ours": [], "usual": []}
        for seed in range(repeats):
            for side in ("ours", "usual") if both else ("ours",):
                say(f"accuracy: {model}, seed {seed}, {side}")
                given = options | {"data": str(data.resolve()), "model": model, "target": target}
                end = child("benchmarks.accuracy", given | {"side": side, "seed": seed})
                say(f"  {end['accuracy']:.2%} after {end['epochs']} epochs and {end['wall']:.1f} s")
                ends[side].append(end)
        reached = {side: [end for end in ended if end["accuracy"] >= target] for side, ended in ends.items()}
        for what, key, unit in (("", "wall", "s"), (", epochs", "epochs", "epochs")):
            values = (tuple(end[key] for end in reached[side]) for side in ("ours", "usual"))
            rows.append(Row("accuracy", f"{model} to {target:.1%}{_missed(ends, reached)}{what}", unit, *values))
    return rows


def _missed(ends: dict[str, list], reached: dict[str, list]) -> str:
    """Which runs did not get there, and so are not in the row."""
    missed = [f"{side} {len(ends[side]) - len(reached[side])}" for side in ends if len(ends[side]) > len(reached[side])]
    return f" (not reached: {', '.join(missed)})" if missed else ""


def one_side(options: dict[str, Any]) -> dict[str, Any]:
    """Train one side in this process until it is there, the recipe's epochs are over, or options["limit"] seconds.

    Returns epochs, accuracy (the best) and curve: [seconds since options["started"], accuracy] after every epoch.
    """

    started = options.get("started", time.time())
    data = train_val_split(read_faces(options["data"], ["Training", "PublicTest"]))
    given = {"epochs": options["epochs"], "val_views": options["views"]}
    recipe = recipe_for(options["model"], options["batch_size"], options["recipe"], **given)
    device = pick_device(options["device"])
    epochs = {"ours": our_epochs, "usual": usual_epochs}[options["side"]]
    curve = []
    for accuracy in epochs(data, recipe, device, options):
        curve.append([time.time() - started, accuracy])
        if accuracy >= options["target"] or curve[-1][0] >= options.get("limit", float("inf")):
            break
    return {"epochs": len(curve), "accuracy": max(accuracy for _, accuracy in curve), "curve": curve}


def our_epochs(data: TrainVal, recipe: Recipe, device: torch.device, options: dict[str, Any]) -> Iterator[float]:
    """Yield the accuracy on the tested faces after every epoch."""
    config = RunConfig(Path(options["data"]), recipe=recipe, device=str(device), seed=options["seed"])
    setup = build_setup(config, data)
    state = setup.state
    pixels, labels = (torch.as_tensor(part).to(device) for part in (data.val.pixels, data.val.labels))
    for epoch in range(recipe.epochs):
        seed_torch(options["seed"], epoch + 1)
        train_epoch(state, setup.loss_of, setup.loader, recipe)
        accuracy = validate(state.tested, pixels, labels, setup.views, setup.amp)["val_accuracy"]
        state.epoch += 1
        state.history.append({"val_accuracy": accuracy})
        yield accuracy


def usual_epochs(data: TrainVal, recipe: Recipe, device: torch.device, options: dict[str, Any]) -> Iterator[float]:
    """Yield the accuracy on the tested faces after every epoch."""
    seed_torch(options["seed"])
    model = build_model(recipe.model, len(data.class_names), dropout=recipe.dropout, pool=recipe.pool).to(device)
    optimizer = plain_optimizer(model, recipe)
    views = view_transform(recipe.val_views, recipe.crop, recipe.mean, recipe.std)
    workers, size = options["workers"], recipe.batch_size
    train = plain_loader(data.train_pixels, data.train_targets, train_transform(recipe), size, workers, train=True)
    test = plain_loader(data.val.pixels, data.val.labels, views, size, workers, train=False)
    labels = torch.as_tensor(data.val.labels)
    accuracies: list[float] = []
    with usual_settings():
        for epoch in range(recipe.epochs):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * factor(recipe, epoch + 0.5, accuracies)
            train_plain(model, optimizer, train, device, recipe.label_smoothing)
            accuracies.append((predict_plain(model, test, device).argmax(1) == labels).float().mean().item())
            yield accuracies[-1]


if __name__ == "__main__":
    print(json.dumps(one_side(json.loads(sys.argv[1]))))
