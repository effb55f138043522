"""What was made earlier: the predictions.csv of an evaluation, what the files beside it say of it, a run's epochs."""

import csv
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from engine.evaluation.comparison import paired_difference
from engine.evaluation.metrics import compute_metrics
from engine.evaluation.predictions import read_predictions
from utils.cli import quoted
from utils.files import read_json


def find_predictions(run: Path, wanted: Mapping[str, str]) -> Path | None:
    """Return the run's predictions.csv, else its newest evaluation's; only one that is as `wanted` says."""
    if not run.is_dir():
        raise FileNotFoundError(
            f"--run {run}: no such folder; train one with: python train.py --name {quoted(run.name)}"
        )
    evaluations = sorted(run.glob("evaluation*/predictions.csv"), key=lambda path: -path.stat().st_mtime)
    for path in [run / "predictions.csv", *evaluations]:
        if path.is_file() and wanted.items() <= about(path).items():
            return path
    return None


def predictions_of(path: Path, wanted: Mapping[str, str]) -> Path:
    """The file itself, or the predictions.csv of a run or evaluation folder; FileNotFoundError where it has none."""
    if path.is_file():
        return path
    found = find_predictions(path, wanted)
    if found is None:
        asked = "".join(f" of {name} {value}" for name, value in wanted.items())
        raise FileNotFoundError(
            f"{path} has no predictions.csv{asked}; make one: python evaluate.py --checkpoint {quoted(path)}"
        )
    return found


def paired(first: Path, second: Path) -> dict[str, Any] | None:
    """`comparison.paired_difference` of two predictions.csv; None where they are not of the same faces, row by row."""
    a, b = read_predictions(first), read_predictions(second)
    same = np.array_equal(a.index, b.index) and np.array_equal(a.labels, b.labels)
    splits = {about(path).get("split") for path in (first, second)} - {None}
    datasets = {_dataset_of(path) for path in (first, second)} - {None}
    if not same or len(splits) > 1 or len(datasets) > 1:
        return None
    return paired_difference(a.predictions == a.labels, b.predictions == b.labels)


def run_curves(paths: Sequence[Path]) -> dict[str, dict[str, list[float | None]]]:
    """The columns of metrics.csv of each run by its path; of a run of folds or seeds, those of each.

    Empty cells are None. Raises FileNotFoundError where a folder has none, ValueError for one that is damaged.
    """
    files = []
    for path in paths:
        inside = [path / "metrics.csv"] if (path / "metrics.csv").is_file() else sorted(path.rglob("metrics.csv"))
        if not inside:
            raise FileNotFoundError(f"{path} has no metrics.csv; give run folders of train.py, such as runs/demo")
        files += inside
    return {str(file.parent): read_metrics(file) for file in dict.fromkeys(files)}


def read_metrics(path: Path) -> dict[str, list[float | None]]:
    """metrics.csv as columns; empty cells are None. ValueError where it is no table of numbers."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file)
        if not rows or "epoch" not in names or len(set(names)) < len(names):
            raise ValueError("it needs a column epoch, others of other names, and rows")
        columns = zip(names, *rows, strict=True)
        return {name: [float(cell) if cell else None for cell in column] for name, *column in columns}
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a metrics.csv of train.py ({str(error)[:100]})") from None


def minutes(columns: Mapping[str, Sequence[float | None]], name: str) -> list[float]:
    """Minutes of training and validation up to the end of each epoch, of the columns of the run `name`'s metrics.csv.

    What a run does besides, above all its start, is not in them. ValueError where an epoch's seconds are missing.
    """
    seconds = columns.get("seconds") or [None]
    if None in seconds:
        raise ValueError(f"{name}: its metrics.csv does not say how many seconds each epoch took")
    return [total / 60 for total in accumulate(seconds)]


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


def _dataset_of(predictions: Path) -> str | None:
    """The data set that the files beside a predictions.csv, or its run's args.json, name; None where nobody knows."""
    for path in (predictions.with_name("metrics.json"), *(f / "args.json" for f in predictions.absolute().parents[:3])):
        if path.is_file():
            name = read_json(path).get("dataset")
            return name if isinstance(name, str) else None
    return None


def recorded_metrics(predictions: Path) -> dict[str, Any]:
    """Return the metrics of a predictions.csv, with `about` what is known of it."""
    table = read_predictions(predictions)
    metrics = compute_metrics(table.labels, table.probabilities, table.class_names)
    # The prediction column counts: another tool may have decided otherwise than by the largest probability
    everything = list(range(len(table.class_names)))
    metrics["confusion_matrix"] = confusion_matrix(table.labels, table.predictions, labels=everything).tolist()
    metrics["accuracy"] = float((table.labels == table.predictions).mean())
    return metrics | about(predictions)
