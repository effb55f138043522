"""A run's folder and the fits in it: one, or one a seed and fold; and several fits as one result."""

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.parts import Part
from engine.config import RunConfig
from engine.evaluation.metrics import accuracy_interval, compute_metrics, mean_by_group, sequence_names
from engine.evaluation.predictions import read_predictions
from engine.evaluation.report import write_summary
from models.selection import selection_note
from utils.distributed import from_first, rank
from utils.files import held
from utils.runlog import RunLog, create_run_folder, write_json


class Job(NamedTuple):
    """One fit of a run: where it is written, with which seed, on which part of the data."""

    folder: Path
    config: RunConfig
    part: Part


def new_folder(config: RunConfig) -> Path:
    """Make the run's folder; of several processes the first one does. ValueError where it has a run already."""
    folder = create_run_folder(config.output, config.name, config.automatic_name) if rank() == 0 else None
    return Path(from_first(str(folder)))


@contextmanager
def in_use(folder: Path, config: RunConfig) -> Iterator[None]:
    """Hold the folder for the duration, so that no second run trains in it, and write args.json."""
    if rank() > 0:
        yield
        return
    with held(folder):
        write_json(folder / "args.json", config.as_json())
        yield


def list_jobs(folder: Path, config: RunConfig, parts: Sequence[Part]) -> list[Job]:
    """Every seed with every part; a single one has the folder to itself."""
    return [
        Job(_seed_folder(folder, config, seed) / _fold_folder(part.fold), replace(config, seed=seed), part)
        for seed in range(config.seed, config.seed + config.seeds)
        for part in parts
    ]


def sum_up(folder: Path, jobs: Sequence[Job], config: RunConfig) -> dict[str, Any]:
    """The finished jobs as one result: folds are pooled, and over seeds mean and deviation are given."""
    parts = [job.part for job in jobs if job.config.seed == config.seed]
    if parts[0].fold is None:
        return _over_seeds(folder, [json.loads((job.folder / "summary.json").read_text("utf-8")) for job in jobs])
    seeds = range(config.seed, config.seed + config.seeds)
    pooled = [_pool_folds(_seed_folder(folder, config, seed), config, parts) for seed in seeds]
    return pooled[0] if len(pooled) == 1 else _over_seeds(folder, pooled)


def _seed_folder(folder: Path, config: RunConfig, seed: int) -> Path:
    """The run's folder, or "seed-3" in it."""
    return folder / f"seed-{seed}" if config.seeds > 1 else folder


def _fold_folder(fold: int | None) -> str:
    """Where in a seed's folder a fold has its place: "", or "fold-03"."""
    return f"fold-{fold:02d}" if fold else ""


def _pool_folds(folder: Path, config: RunConfig, parts: Sequence[Part]) -> dict[str, Any]:
    """All folds as one: mean and deviation, every face's prediction, pooled accuracy of frames and of sequences.

    folder: has a folder a fold, with its predictions.csv; gets summary.json, predictions.csv, confusion_matrix.png.
    """
    folds = [read_predictions(folder / _fold_folder(part.fold) / "predictions.csv") for part in parts]
    labels, probabilities, index = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("labels", "probabilities", "index")
    )
    extra = {name: np.concatenate([fold.extra[name] for fold in folds]) for name in folds[0].extra}
    extra["fold"] = np.repeat([part.fold for part in parts], [len(fold.labels) for fold in folds])
    protocol = f"by {config.protocol}" if "ckplus" in parts[0].dataset else "stratified"
    summary = {"split": f"{len(parts)} folds {protocol}", "views": "ten", "selected_on": parts[0].select_on}
    if parts[0].selects:
        summary["selected_on"] = summary["split"]  # each fold by itself
    summary["folds"] = _mean_and_deviation([(fold.predictions == fold.labels).mean() for fold in folds])
    summary |= compute_metrics(labels, probabilities, parts[0].class_names)
    line = f"{summary['split']}, ten-crop, {parts[0].how_selected}: {_plus_minus(summary['folds'])} folds)"
    line += f"; pooled {summary['accuracy']:.2%} of {summary['n']} faces"
    if "sequence" in extra:
        sequence_labels, means = mean_by_group(labels, probabilities, sequence_names(extra))
        summary["sequences"] = accuracy_interval(means.argmax(1) == sequence_labels)
        line += f", {summary['sequences']['accuracy']:.2%} of {summary['sequences']['n']} sequences"
    write_summary(folder, summary, index, labels, probabilities, extra)
    RunLog(folder).line(line)
    return summary


def _over_seeds(folder: Path, summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds."""
    summary = _mean_and_deviation([summary["accuracy"] for summary in summaries])
    summary |= {name: summaries[0][name] for name in ("split", "views", "selected_on")}
    write_json(folder / "summary.json", summary)
    note = selection_note(summary["split"], summary["selected_on"])
    line = f"{summary['split']}, ten-crop: {_plus_minus(summary)} seeds)"
    RunLog(folder).line(line + (f" ({note})" if note else ""))
    return summary


def _mean_and_deviation(accuracies: Sequence[float]) -> dict[str, Any]:
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
    values = [float(accuracy) for accuracy in accuracies]
    return {"n": len(values), "mean": statistics.mean(values), "deviation": float(deviation), "accuracies": values}


def _plus_minus(summary: dict[str, Any]) -> str:
    return f"{summary['mean']:.2%} +- {summary['deviation']:.2%} (n = {summary['n']}"
