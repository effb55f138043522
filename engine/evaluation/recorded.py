"""An evaluation that was made earlier: its predictions.csv, and what the files beside that say of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.metrics import confusion_matrix

from engine.evaluation.metrics import compute_metrics
from engine.evaluation.predictions import read_predictions
from utils.files import read_json


def find_predictions(run: Path, wanted: Mapping[str, str]) -> Path | None:
    """Return the run's predictions.csv, else its newest evaluation's; only one that is as `wanted` says."""
    if not run.is_dir():
        raise FileNotFoundError(f"--run {run}: no such folder; train one with: python train.py --name {run.name}")
    evaluations = sorted(run.glob("evaluation*/predictions.csv"), key=lambda path: -path.stat().st_mtime)
    for path in [run / "predictions.csv", *evaluations]:
        if path.is_file() and wanted.items() <= about(path).items():
            return path
    return None


def about(predictions: Path) -> dict[str, Any]:
    """Return what the files beside a predictions.csv tell of it: split, views, selected_on, where known."""
    known: dict[str, Any] = {}
    for name in ("args.json", "summary.json", "metrics.json"):  # a later file knows better
        path = predictions.parent / name
        if path.is_file():
            content = read_json(path)
            if name == "args.json":
                content = {"selected_on": content.get("select_on")}
            told = {key: content[key] for key in ("split", "views", "selected_on") if content.get(key)}
            wrong = [key for key, value in told.items() if not isinstance(value, str)]
            if wrong:
                raise ValueError(f"{path}: {wrong[0]} is {str(told[wrong[0]])[:40]}, not a name")
            known |= told
    return known


def recorded_metrics(predictions: Path) -> dict[str, Any]:
    """Return the metrics of a predictions.csv, with `about` what is known of it."""
    table = read_predictions(predictions)
    metrics = compute_metrics(table.labels, table.probabilities, table.class_names)
    # The prediction column counts: another tool may have decided otherwise than by the largest probability
    everything = list(range(len(table.class_names)))
    metrics["confusion_matrix"] = confusion_matrix(table.labels, table.predictions, labels=everything).tolist()
    metrics["accuracy"] = float((table.labels == table.predictions).mean())
    return metrics | about(predictions)
