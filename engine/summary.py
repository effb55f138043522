"""summary.json: of one fit, of the folds of a k-fold run together, and over several seeds."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datasets.train_val import TrainVal
from engine.config import RunConfig
from engine.evaluation.metrics import compute_metrics, sequence_accuracy
from engine.evaluation.predictions import read_predictions, write_predictions
from engine.evaluation.recorded import read_metrics
from engine.evaluation.report import headline
from engine.evaluation.selection import selection_note
from engine.figures.confusion import confusion_matrix_figure
from engine.figures.curves import curves_figure
from engine.figures.style import save_figure
from engine.log import RunLog
from engine.predict import classifier_logits
from engine.runs import Job
from models.checkpoint import load_classifier
from utils.cli import quoted
from utils.files import read_json, write_json


def report_fit(folder: Path, config: RunConfig, data: TrainVal, device: torch.device) -> dict[str, Any]:
    """Ten-crop of a fit's best.pt on the validation set, in float32: summary.json, predictions.csv and the figures."""
    best = folder / "best.pt"
    classifier = load_classifier(best, device)
    p = classifier_logits(classifier, data.val.pixels, "ten").softmax(1).numpy()
    summary = {"split": data.val_name, "views": "ten", "selected_on": data.select_on}
    summary |= {"checkpoint": str(best), "epoch": classifier.info["epoch"]}
    summary |= compute_metrics(data.val.labels, p, data.class_names)
    counts = None if data.selects else classifier.info["epoch"]
    curves = curves_figure(read_metrics(folder / "metrics.csv"), folder.name, data.val_name, counts=counts)
    save_figure(curves, folder / "curves.png")
    write_summary(folder, summary, data.val_index, data.val.labels, p, data.val.extra)
    low, high = summary["ci95"]
    log = RunLog(folder)
    log.line(f"epoch {summary['epoch']}, {headline(summary)}; 95% interval {low:.2%} to {high:.2%}", result=True)
    if not data.fold:
        log.line(f"next: python evaluate.py --checkpoint {quoted(best)} --data {quoted(config.data)}")
    return summary


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary.json of a finished fit; ValueError where it is not whole."""
    path = folder / "summary.json"
    summary = read_json(path)
    wanted = {"accuracy": float, "split": str, "views": str, "selected_on": str | None}
    wrong = [name for name, kind in wanted.items() if not isinstance(summary.get(name, False), kind)]
    if wrong:
        raise ValueError(f"{path} has no {wrong[0]} as train.py writes it; delete the file, and train.py makes it anew")
    return summary


def sum_up(folder: Path, jobs: Sequence[Job]) -> dict[str, Any]:
    """The finished jobs as one result: folds are pooled, and over seeds mean and deviation are given."""
    if jobs[0].data.fold is None:
        return _over_seeds(folder, [read_summary(job.folder) for job in jobs])
    seeds = dict.fromkeys(job.config.seed for job in jobs)
    pooled = [_pool_folds([job for job in jobs if job.config.seed == seed]) for seed in seeds]
    return pooled[0] if len(pooled) == 1 else _over_seeds(folder, pooled)


def _pool_folds(jobs: Sequence[Job]) -> dict[str, Any]:
    """All folds as one: mean and deviation, every face's prediction, pooled accuracy of frames and of sequences.

    Reads predictions.csv of every fold; writes summary.json, predictions.csv and confusion_matrix.png beside them.
    """
    folder, first = jobs[0].folder.parent, jobs[0].data
    folds = [read_predictions(job.folder / "predictions.csv") for job in jobs]
    labels, probabilities, index = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("labels", "probabilities", "index")
    )
    extra = {name: np.concatenate([fold.extra[name] for fold in folds]) for name in folds[0].extra}
    extra["fold"] = np.repeat([job.data.fold for job in jobs], [len(fold.labels) for fold in folds])
    summary = {"split": f"{len(jobs)} folds {first.how_split}", "views": "ten", "selected_on": first.select_on}
    if first.selects:
        summary["selected_on"] = summary["split"]  # each fold by itself
    summary["folds"] = _mean_and_deviation([(fold.predictions == fold.labels).mean() for fold in folds])
    summary |= compute_metrics(labels, probabilities, first.class_names)
    line = f"{summary['split']}, ten-crop, {first.how_selected}: {_plus_minus(summary['folds'])} folds)"
    line += f"; pooled {summary['accuracy']:.2%} of {summary['n']} faces"
    if "sequence" in extra:
        summary["sequences"] = sequence_accuracy(labels, probabilities, extra)
        line += f", {summary['sequences']['accuracy']:.2%} of {summary['sequences']['n']} sequences"
    write_summary(folder, summary, index, labels, probabilities, extra)
    RunLog(folder).line(line, result=True)
    return summary


def _over_seeds(folder: Path, summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    summary = _mean_and_deviation([summary["accuracy"] for summary in summaries])
    summary |= {name: summaries[0][name] for name in ("split", "views", "selected_on")}
    write_json(folder / "summary.json", summary)
    note = selection_note(summary["split"], summary["selected_on"])
    line = f"{summary['split']}, ten-crop: {_plus_minus(summary)} seeds)"
    RunLog(folder).line(line + (f" ({note})" if note else ""), result=True)
    return summary


def _mean_and_deviation(accuracies: Sequence[float]) -> dict[str, Any]:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    values = [float(accuracy) for accuracy in accuracies]
    return {"n": len(values), "mean": statistics.mean(values), "deviation": float(deviation), "accuracies": values}


def _plus_minus(summary: dict[str, Any]) -> str:
    return f"{summary['mean']:.2%} +- {summary['deviation']:.2%} (n = {summary['n']}"


def write_summary(
    folder: str | Path,
    summary: Mapping[str, Any],
    index: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    extra: Mapping[str, Sequence] | None = None,
) -> None:
    """Write a run's summary.json, predictions.csv and confusion_matrix.png into `folder`.

    summary: of `compute_metrics` over these labels and probabilities, with the keys `text_report` knows.
    """
    names = list(summary["per_class"])
    matrix = confusion_matrix_figure(summary["confusion_matrix"], names, title=headline(summary))
    save_figure(matrix, Path(folder) / "confusion_matrix.png")
    write_predictions(Path(folder) / "predictions.csv", index, labels, probabilities, names, extra=extra)
    write_json(Path(folder) / "summary.json", summary)
