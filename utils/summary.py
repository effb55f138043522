"""Several runs as one result: the folds of a k-fold run, and runs that differ in their seed."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from utils.metrics import accuracy_interval, compute_metrics, mean_by_group
from utils.predictions import read_predictions
from utils.report import write_summary
from utils.runlog import RunLog, write_json
from utils.selection import selection_note


def fold_folder(fold: int | None) -> str:
    """Where in a seed's folder a fold has its place: "", or "fold-03"."""
    return f"fold-{fold:02d}" if fold else ""


def how_selected(part: Any) -> str:
    """For the log: which epoch counts."""
    if part.select_on != part.test_name:
        return "the last epoch counts"
    warning = ": selected on the test set, for comparison with older figures only"
    return f"they choose the epoch{warning if part.fold or part.test_name == 'PrivateTest' else ''}"


def pool_folds(folder: Path, options: dict[str, Any], parts: list[Any]) -> dict[str, Any]:
    """All folds as one: mean and deviation, every face's prediction, pooled accuracy of frames and of sequences.

    folder: has a folder a fold, with its predictions.csv; gets summary.json, predictions.csv, confusion_matrix.png.
    parts: `datasets.parts.Part`, one a fold.
    """
    folds = [read_predictions(folder / fold_folder(part.fold) / "predictions.csv") for part in parts]
    labels, probabilities, index = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("labels", "probabilities", "index")
    )
    extra = {name: np.concatenate([fold.extra[name] for fold in folds]) for name in folds[0].extra}
    extra["fold"] = np.concatenate(
        [np.full(len(fold.labels), part.fold) for part, fold in zip(parts, folds, strict=True)]
    )
    protocol = f"by {options['protocol']}" if "ckplus" in parts[0].dataset else "stratified"
    summary = {"split": f"{len(parts)} folds {protocol}", "views": "ten", "selected_on": parts[0].select_on}
    if parts[0].select_on == parts[0].test_name:
        summary["selected_on"] = summary["split"]  # each fold by itself
    summary["folds"] = _mean_and_deviation([(fold.predictions == fold.labels).mean() for fold in folds])
    summary |= compute_metrics(labels, probabilities, parts[0].class_names)
    line = f"{summary['split']}, ten-crop, {how_selected(parts[0])}: {_plus_minus(summary['folds'])} folds)"
    line += f"; pooled {summary['accuracy']:.2%} of {summary['n']} faces"
    if "sequence" in extra:
        names = [
            "/".join(map(str, key)) for key in zip(extra["fold"], extra["subject"], extra["sequence"], strict=True)
        ]
        sequence_labels, means = mean_by_group(labels, probabilities, names)
        correct = means.argmax(1) == sequence_labels
        summary["sequences"] = accuracy_interval(correct)
        line += f", {summary['sequences']['accuracy']:.2%} of {summary['sequences']['n']} sequences"
    write_summary(folder, summary, index, labels, probabilities, extra)
    RunLog(folder).line(line)
    return summary


def summarise(folder: Path, summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    summary = _mean_and_deviation([summary["accuracy"] for summary in summaries])
    summary |= {name: summaries[0][name] for name in ("split", "views", "selected_on")}
    write_json(folder / "summary.json", summary)
    note = selection_note(summary["split"], summary["selected_on"])
    line = f"{summary['split']}, ten-crop: {_plus_minus(summary)} seeds)"
    RunLog(folder).line(line + (f" ({note})" if note else ""))
    return summary


def _mean_and_deviation(accuracies: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    values = [float(accuracy) for accuracy in accuracies]
    return {"n": len(values), "mean": statistics.mean(values), "deviation": float(deviation), "accuracies": values}


def _plus_minus(summary: dict[str, Any]) -> str:
    return f"{summary['mean']:.2%} +- {summary['deviation']:.2%} (n = {summary['n']}"
