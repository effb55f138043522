"""Curves: what training did epoch by epoch, and how far confidence can be trusted."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import precision_recall_curve

from engine.evaluation.metrics import calibration_bins, calibration_error, check_inputs
from engine.evaluation.recorded import minutes
from engine.figures.style import BLUE, COLOURS, GRAY, ORANGE, RED, clean_axes, drawable, set_title


def curves_figure(
    columns: Mapping[str, Sequence[Any]], title: str = "", val_name: str = "validation", counts: int | None = None
) -> Figure:
    """Draw loss and accuracy over the epochs and mark the one that counts.

    Args:
        columns: epoch, train_loss, train_accuracy, val_loss, val_accuracy (fractions), of one length; further
            columns are ignored. Empty, None or NaN values leave a gap; a column may be missing.
        val_name: what the validation split is called in the legend, "PublicTest" for one.
        counts: the epoch that counts; None: that of the best validation accuracy.
    """
    epochs = _numbers(columns["epoch"])
    series = {
        name: _numbers(columns.get(name, ())) if columns.get(name) is not None else np.empty(0)
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    }
    wrong = [name for name, values in series.items() if len(values) not in (0, len(epochs))]
    if wrong:
        raise ValueError(f"{len(epochs)} epochs, but another number of values in {', '.join(wrong)}")
    figure = Figure((7, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) < 4 else None  # a line of one point is invisible
    for axes, what, factor in ((left, "loss", 1), (right, "accuracy", 100)):
        for split, colour, label in (("train", ORANGE, "training"), ("val", BLUE, val_name)):
            values = series[f"{split}_{what}"]
            if np.isfinite(values).any():
                axes.plot(
                    epochs,
                    factor * values,
                    color=colour,
                    linewidth=1.6,
                    marker=marker,
                    markersize=4,
                    label=label,
                )
        axes.set(xlabel="epoch", ylabel=what + (" (%)" if factor > 1 else ""))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        clean_axes(axes)
        if len(epochs) == 1:
            axes.set_xticks(epochs)
    val = series["val_accuracy"]
    if np.isfinite(val).any():
        best = int(np.nanargmax(val)) if counts is None else int(np.flatnonzero(epochs == counts)[0])
        for axes in (left, right):
            axes.axvline(epochs[best], color=GRAY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        what = f"best {val_name}" if counts is None else val_name
        label = f"{what}: {100 * val[best]:.2f}%, epoch {epochs[best]:.0f}"
        right.plot(epochs[best], 100 * val[best], "o", color=BLUE, markersize=6, markeredgecolor="white", label=label)
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, loc="best", edgecolor="none", framealpha=0.9, handlelength=1.3, borderpad=0.2)
    set_title(figure, title, 9)
    return figure


def runs_figure(runs: Mapping[str, Mapping[str, Sequence[Any]]], title: str = "", over: str = "epochs") -> Figure:
    """Draw loss and accuracy on the validation set of several runs, and mark each one's best epoch.

    runs: name -> the columns of its metrics.csv, as `curves_figure` takes them. The training set's loss is drawn thin.
    over: "epochs", or "minutes" of training and validation.
    """
    figure = Figure((7, 3 + 0.17 * len(runs)), layout="constrained")
    left, right = figure.subplots(1, 2)
    if len(runs) <= len(COLOURS):
        colours: Sequence[Any] = COLOURS
    else:
        colours = matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, len(runs)))
    for (name, columns), colour in zip(runs.items(), colours, strict=False):
        epochs = _numbers(columns["epoch"])
        x = epochs if over == "epochs" else minutes(columns, name)
        marker = "o" if len(epochs) < 4 else None
        for axes, key, factor, width in (
            (left, "train_loss", 1, 0.8),
            (left, "val_loss", 1, 1.6),
            (right, "val_accuracy", 100, 1.6),
        ):
            values = _numbers(columns.get(key) or ())
            if len(values) == len(epochs):
                style = {"linestyle": (0, (4, 2)) if key == "train_loss" else "solid", "marker": marker}
                axes.plot(x, factor * values, color=colour, linewidth=width, markersize=4, **style)
        accuracy = _numbers(columns.get("val_accuracy") or ())
        label = drawable(name)
        if np.isfinite(accuracy).any():
            best = int(np.nanargmax(accuracy))
            label += f": best {100 * accuracy[best]:.2f}%, epoch {epochs[best]:.0f}"
            right.plot(x[best], 100 * accuracy[best], "o", color=colour, markersize=6, markeredgecolor="white")
        right.plot([], [], color=colour, linewidth=2, label=label)
    left.plot([], [], color=GRAY, linewidth=0.8, linestyle=(0, (4, 2)), label="training")
    left.plot([], [], color=GRAY, linewidth=1.6, label="validation")
    left.legend(fontsize=8, edgecolor="none", framealpha=0.9)
    for axes, what in ((left, "loss"), (right, "validation accuracy (%)")):
        axes.set(xlabel="epoch" if over == "epochs" else over, ylabel=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=over == "epochs", nbins=7))
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        clean_axes(axes)
    handles, labels = right.get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", fontsize=8, frameon=False, ncols=1)
    for text in legend.get_texts():
        text.set_parse_math(False)
    set_title(figure, title, 9)
    return figure


def reliability_figure(labels: Any, probabilities: Any, title: str = "") -> Figure:
    """Draw a reliability diagram with its ECE: accuracy against confidence in 15 bins, the bins' faces below.

    Args are as in `engine.evaluation.metrics.compute_metrics`.
    """
    y, p = check_inputs(labels, probabilities, [str(i) for i in range(np.shape(probabilities)[-1])])
    count, confidence, accuracy = calibration_bins(y, p)
    edges = np.linspace(0, 1, len(count) + 1)
    full = count > 0
    figure = Figure((3.6, 4.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    style = {"width": 1 / len(count), "align": "edge", "edgecolor": "white", "linewidth": 0.6}
    top.bar(edges[:-1][full], accuracy[full], color=BLUE, label="accuracy", **style)
    top.hlines(confidence[full], edges[:-1][full], edges[1:][full], color=RED, linewidth=2, label="mean confidence")
    top.plot([0, 1], [0, 1], color=GRAY, linewidth=1, linestyle=(0, (4, 3)))
    top.set(ylim=(0, 1), ylabel="accuracy")
    ece = f"ECE {100 * calibration_error(y, p):.1f}%"
    top.legend(loc="upper left", fontsize=8, title=ece, title_fontsize=9, alignment="left", edgecolor="none")
    bottom.bar(edges[:-1], 100 * count / len(y), color=GRAY, **style)
    bottom.set(xlim=(0, 1), xlabel="confidence (largest probability)", ylabel="% of faces")
    for axes in (top, bottom):
        clean_axes(axes)
    set_title(figure, title, 9)
    return figure


def precision_recall_figure(positive: Any, scores: Any) -> Figure:
    """Draw precision against recall of one class, for every threshold of its probability, and what chance gives.

    positive: booleans (n,), at least one of them true. scores: (n,), higher for what is more likely positive.
    """
    positive = np.asarray(positive, bool)
    # from the largest recall down: each precision is that of the recalls below it, as in the average precision
    precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
    figure = Figure((2.1, 1.7), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(recall, precision, step="post", color=BLUE, alpha=0.15, linewidth=0)
    axes.step(recall, precision, where="post", color=BLUE, linewidth=1.6)
    axes.axhline(positive.mean(), color=GRAY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
    axes.set_yticks((0, 0.5, 1), ("0", "0.5", "1"))
    clean_axes(axes)
    return figure


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if value in (None, "") else float(value) for value in values])
