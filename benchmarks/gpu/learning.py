"""How soon training is where it should be, and how far the default recipe gets in the time that is left."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.measure import FACES, run_process
from engine.evaluation.recorded import read_metrics
from engine.recipes import make_recipe

BEFORE_AND_AFTER = 60  # seconds of train.py besides its epochs: imports, compilation, the ten-crop test
BETWEEN = 2  # seconds an epoch besides training: validation and checkpoints
UNKNOWN_RATE = 2_000  # faces/s, where it was not measured


def seconds_to_marks(options: dict[str, Any]) -> dict[str, Any]:
    """Train until the highest mark, the recipe's end or `limit` seconds, testing ten-crop after every epoch.

    options: what benchmarks.accuracy wants (data, device, model, recipe, epochs, batch_size, seed), marks
    (accuracies), started (time.time() of the process), limit. Returns seconds: mark -> seconds since then, or None
    where it was not reached; and best, epochs, curve: [seconds, accuracy] of every epoch.
    """
    end = accuracy.one_side(options | {"side": "ours", "views": "ten", "target": max(options["marks"])})
    first = {
        f"{mark:.1%}": next((seconds for seconds, reached in end["curve"] if reached >= mark), None)
        for mark in options["marks"]
    }
    known = {name: options[name] for name in ("model", "recipe", "seed")}
    return known | {"seconds": first, "best": end["accuracy"], "epochs": end["epochs"], "curve": end["curve"]}


def default_recipe(options: dict[str, Any], budget: float, folder: Path) -> dict[str, Any]:
    """train.py with the default recipe, in as many epochs as fit into `budget` seconds.

    options: model, data, device, rate (faces/s, or None), and epochs, batch_size, which may be None. The run stays in
    `folder`/runs, so that one that was stopped can be resumed. Returns what its summary.json says in short, or where it
    was stopped, the best epoch so far ("views": "flip").
    """
    model, recipe = options["model"], make_recipe("default")
    an_epoch = FACES / (options["rate"] or UNKNOWN_RATE) + BETWEEN
    fitting = int((budget - BEFORE_AND_AFTER) / an_epoch)
    epochs = options["epochs"] or max(1, min(recipe.epochs, fitting))
    flags = f"--model {model} --epochs {epochs}".split()
    flags += ["--batch-size", str(options["batch_size"])] if options["batch_size"] else []
    where = ["--data", options["data"], "--device", options["device"], "--output", str(folder.resolve() / "runs")]
    run = folder.resolve() / "runs" / f"default-{model}"
    result = {"model": model, "epochs": epochs, "recipe_epochs": recipe.epochs, "flags": flags, "stopped": None}
    try:
        run_process(["train.py", *flags, *where, "--name", run.name], "train.py", budget)
    except ValueError as error:
        if not (run / "metrics.csv").exists():
            raise
        result["stopped"] = str(error)
    columns = read_metrics(run / "metrics.csv")
    result |= {"epochs_done": len(columns["epoch"]), "epoch_seconds": statistics.median(columns["seconds"])}
    if result["stopped"]:
        best = max(columns["val_accuracy"])
        return result | {"accuracy": best, "epoch": columns["val_accuracy"].index(best) + 1, "views": "flip"}
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return result | {name: summary[name] for name in ("accuracy", "ci95", "n", "epoch", "views", "split")}
