"""An evaluation as people read it: text for the terminal, and the folder with its files."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from datasets.names import VIEWS
from engine.evaluation.predictions import write_predictions
from engine.evaluation.recorded import minutes
from engine.evaluation.selection import in_words, selection_note
from engine.figures.confusion import confusion_matrix_figure, mistakes_figure
from engine.figures.curves import reliability_figure
from engine.figures.style import save_figure
from utils.files import write_json


def headline(metrics: Mapping[str, Any]) -> str:
    """One line for a title: split, views, accuracy, number of faces, and the selection where it matters."""
    where = ", ".join(filter(None, [metrics.get("split"), VIEWS.get(metrics.get("views"))]))
    note = selection_note(metrics.get("split"), metrics.get("selected_on"))
    text = f"accuracy {100 * metrics['accuracy']:.2f}%, n = {metrics['n']:,}"
    return (f"{where}: " if where else "") + text + (f" ({note})" if note else "")


def text_report(metrics: Mapping[str, Any]) -> str:
    """Return the report for the terminal of what `compute_metrics` returns.

    Besides those, these keys are used where they are there: split, views, dataset, without_twins, sequences,
    selected_on, checkpoints, notes. Shares are percentages; classes without faces show a dash.
    """
    where = [metrics.get("dataset"), metrics.get("split"), VIEWS.get(metrics.get("views"))]
    lines = [", ".join([*filter(None, where), f"n = {metrics['n']:,}"]), ""]
    lines.append(_share("accuracy", metrics))
    twins = metrics.get("without_twins")
    if twins and twins["n"] < metrics["n"]:
        left_out = f"without {metrics['n'] - twins['n']:,} twins of training faces, n = {twins['n']:,}"
        lines.append(_share("  without twins", twins, left_out) if twins["n"] else f"  {left_out}")
    if metrics.get("sequences"):
        lines.append(_share("  sequences", metrics["sequences"], f"n = {metrics['sequences']['n']:,}"))
    for name, key in {"balanced accuracy": "balanced_accuracy", "macro-F1": "macro_f1"}.items():
        lines.append(_share(name, {"accuracy": metrics[key]}))
    lines.append(_share("top-2", {"accuracy": metrics["top2_accuracy"]}))
    lines += [f"{'NLL':<18} {metrics['nll']:6.3f}", f"{'ECE':<18} {100 * metrics['ece']:6.2f}%", ""]

    width = max(len(name) for name in ["class", *metrics["per_class"]])
    lines.append(f"{'class':<{width}}  precision  recall      F1   faces")
    for name, row in metrics["per_class"].items():
        shares = [f"{100 * row[key]:.1f}" if row["support"] else "-" for key in ("precision", "recall", "f1")]
        lines.append(f"{name:<{width}}  {shares[0]:>9}  {shares[1]:>6}  {shares[2]:>6}  {row['support']:>6,}")

    lines += members_table(metrics.get("members", []))
    checkpoints = metrics.get("checkpoints", [])
    lines += [""] if checkpoints else []
    for about, same in groupby(checkpoints, about_checkpoint):  # folds mostly say the same
        first, *others = (checkpoint["path"] for checkpoint in same)
        which = f"{len(others) + 1} checkpoints, {first} to {others[-1]}" if others else f"checkpoint {first}"
        lines.append(f"{which}: {', '.join(about)}")
    note = selection_note(metrics.get("split"), metrics.get("selected_on"))
    notes = [f"{note}: accuracy on unseen faces will be lower"] if note else []
    lines += [f"note: {text}" for text in notes + list(metrics.get("notes", []))]
    return "\n".join(lines)


def about_checkpoint(checkpoint: Mapping[str, Any]) -> list[str]:
    """What is known of a checkpoint, of `testing.describe`: network, recipe, epoch, selection, what it started from."""
    known = [checkpoint.get("model_name"), checkpoint.get("recipe") and f"recipe {checkpoint['recipe']}"]
    known += [f"epoch {checkpoint['epoch']}"] if checkpoint.get("epoch") is not None else []
    known.append(in_words(checkpoint.get("selected_on")))
    for ancestor in checkpoint.get("ancestors", []):
        how = f"{ancestor['dataset']}, {in_words(ancestor['selected_on'])}"
        known.append(f"started from {ancestor['path']} ({how})")
    return [part for part in known if part]


def members_table(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table of what `comparison.side_by_side` returns; none without members."""
    if not members:
        return []
    width = max(len(row["name"]) for row in members)
    lines = ["", f"{'each on its own':<{width}}  accuracy  macro-F1  points more than the first (95% interval), p"]
    for row in members:
        line = f"{row['name']:<{width}}  {100 * row['accuracy']:7.2f}%  {100 * row['macro_f1']:7.2f}%"
        pair = row.get("versus_first")
        if pair:
            low, high = (100 * end for end in pair["ci95"])
            line += f"  {100 * pair['difference']:+.2f} ({low:+.2f} to {high:+.2f}), {p_value(pair['p'])}"
        lines.append(line)
    return lines


def difference(first: Mapping[str, Any], second: Mapping[str, Any], pair: Mapping[str, Any] | None) -> str:
    """How the second accuracy differs from the first, and, for the same faces, the interval and test of `pair`."""
    points = f"accuracy {100 * (second['accuracy'] - first['accuracy']):+.2f} points"
    if not pair:
        return points + " (not of the same faces, so without a paired test)"
    low, high = (100 * end for end in pair["ci95"])
    return f"{points} (95% interval {low:+.2f} to {high:+.2f}), McNemar's {p_value(pair['p'])}"


def first_at(runs: Mapping[str, Mapping[str, Sequence[float | None]]], accuracy: float) -> list[str]:
    """Lines that say when each run of `recorded.run_curves` first had that accuracy (0 to 1) on its validation set."""
    lines = [f"{100 * accuracy:g}%:"]
    first = None  # the first run's minutes
    for index, (name, columns) in enumerate(runs.items()):
        spent, reached = minutes(columns, name), columns.get("val_accuracy") or []
        row = next((i for i, value in enumerate(reached) if value is not None and value >= accuracy), None)
        if row is None:
            lines.append(f"  {name}: not in {len(spent)} epoch{'s' if len(spent) > 1 else ''}, {spent[-1]:.1f} min")
            continue
        first = spent[row] if index == 0 else first
        ratio = f", {spent[row] / first:.2f} times the first run's" if index and first else ""
        lines.append(f"  {name}: after {spent[row]:.1f} min, epoch {columns['epoch'][row]:.0f}{ratio}")
    return lines


def p_value(p: float) -> str:
    """A p as papers print it."""
    return f"p = {p:.3f}" if p >= 0.001 else f"p = {p:.1e}" if p >= 1e-99 else "p below 1e-99"


def _share(name: str, metrics: Mapping[str, Any], rest: str = "") -> str:
    line = f"{name:<18} {100 * metrics['accuracy']:6.2f}%"
    if metrics.get("ci95"):
        line += f"   95% interval {100 * metrics['ci95'][0]:.2f} to {100 * metrics['ci95'][1]:.2f}"
    return line + (f", {rest}" if rest else "")


def write_report(
    folder: str | Path,
    metrics: Mapping[str, Any],
    pixels: np.ndarray,
    index: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    extra: Mapping[str, Sequence] | None = None,
) -> list[Path]:
    """Write metrics.json, predictions.csv and three figures into `folder`; return their paths.

    metrics: of `compute_metrics` over these labels and probabilities, with the keys `text_report` knows.
    pixels: uint8 (n, h, w). index: their rows in the split. extra: columns for predictions.csv.
    """
    names, title = list(metrics["per_class"]), headline(metrics)
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f for f in _FILES]
    write_json(paths[0], metrics)
    write_predictions(paths[1], index, labels, probabilities, names, extra=extra)
    save_figure(confusion_matrix_figure(metrics["confusion_matrix"], names, title=title), paths[2])
    save_figure(reliability_figure(labels, probabilities, title=title), paths[3])
    save_figure(mistakes_figure(pixels, labels, probabilities, names, title=title), paths[4])
    return paths


_FILES = ("metrics.json", "predictions.csv", "confusion_matrix.png", "reliability.png", "mistakes.png")
