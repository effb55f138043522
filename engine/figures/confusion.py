"""The confusion matrix and the mistakes of an evaluation, for papers and READMEs.

Fonts are at least 7 points at the figure's own size, so that a figure of a column's width (3.3 inches) is
printed as it is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from engine.evaluation.metrics import check_inputs
from engine.figures.style import RED, SMALLEST, drawable, fit_height, set_title


def confusion_matrix_figure(
    matrix: Any, class_names: Sequence[str], normalize: bool = True, title: str = "", width: float = 4.2
) -> Figure:
    """Draw a confusion matrix, rows are labels and columns predictions.

    Args:
        matrix: whole numbers (c, c).
        normalize: colour and print each row's shares in percent, with the counts below; else counts alone.
        width: inches, of the whole figure; 3.3 fits a paper's column.

    A row without faces is left gray.
    """
    counts = np.asarray(matrix)
    c = len(class_names)
    if counts.shape != (c, c):
        raise ValueError(f"a confusion matrix of {c} classes is ({c}, {c}), not {counts.shape}")
    rows = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(rows, 1)
    shade = shares if normalize else counts / max(1, counts.max())

    cell = (width - 0.9) / c * 72  # points, about
    size = float(np.clip(0.27 * cell, SMALLEST + 0.5, 11))
    figure = Figure((width, width + 0.1), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    # pcolormesh and not imshow: cells stay vectors in PDF and SVG
    cells = axes.pcolormesh(
        np.ma.masked_array(shade, np.broadcast_to(rows == 0, shade.shape)),
        cmap="Blues",
        vmin=0,
        vmax=1,
        edgecolor="white",
        linewidth=1,
    )
    axes.set_facecolor("#e4e4e4")
    axes.invert_yaxis()
    for i, j in np.ndindex(c, c):
        if not rows[i, 0]:
            continue
        ink = _ink(cells.to_rgba(shade[i, j]))
        middle = {"xy": (j + 0.5, i + 0.5), "textcoords": "offset points", "ha": "center", "va": "center"}
        if normalize:
            axes.annotate(f"{100 * shares[i, j]:.0f}%", xytext=(0, 0.48 * size), size=size, color=ink, **middle)
            small = {"size": max(SMALLEST, 0.75 * size), "alpha": 0.85}
            axes.annotate(f"{counts[i, j]}", xytext=(0, -0.72 * size), color=ink, **small, **middle)
        else:
            axes.annotate(f"{counts[i, j]}", xytext=(0, 0), size=size, color=ink, **middle)
    fits = max(len(name) for name in class_names) * 0.6 * size < cell
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    names = {"labels": [drawable(name) for name in class_names], "size": size, "parse_math": False}
    axes.set_xticks(np.arange(c) + 0.5, **names, **({} if fits else slanted))
    axes.set_yticks(np.arange(c) + 0.5, **names)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("prediction", size=size)
    axes.set_ylabel("label", size=size)
    set_title(figure, title, size + 0.5)
    fit_height(figure, [axes])
    return figure


def mistakes_figure(
    pixels: np.ndarray,
    labels: Any,
    probabilities: Any,
    class_names: Sequence[str],
    count: int = 24,
    title: str = "",
) -> Figure:
    """Draw the `count` most confident mistakes, most confident first: face, label, prediction and its score.

    pixels: uint8 (n, h, w). The others are as in `engine.evaluation.metrics.compute_metrics`.
    """
    y, p = check_inputs(labels, probabilities, class_names)
    if len(pixels) != len(y):
        raise ValueError(f"{len(pixels)} faces but {len(y)} labels")
    predictions, scores = p.argmax(1), p.max(1)
    names = [drawable(name) for name in class_names]
    wrong = np.flatnonzero(predictions != y)
    shown = wrong[np.argsort(-scores[wrong], kind="stable")][:count]
    columns = 8 if len(shown) > 7 else 8 - len(shown) % 2
    rows = max(1, -(-len(shown) // columns))
    figure = Figure((0.88 * columns, 1.2 * rows + 0.65), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.04)
    grid = figure.subplots(rows, columns, squeeze=False)
    skip = max(0, columns - len(shown)) // 2  # a few mistakes stand in the middle
    for place, axes in enumerate(grid.flat):
        axes.axis("off")
        if not skip <= place < skip + len(shown):
            continue
        i = shown[place - skip]
        axes.imshow(pixels[i], cmap="gray", vmin=0, vmax=255)
        below = {"transform": axes.transAxes, "ha": "center", "va": "top", "size": 7.5, "parse_math": False}
        axes.text(0.5, -0.04, names[y[i]], color="#222222", **below)
        axes.text(0.5, -0.21, f"{names[predictions[i]]} {_percent(scores[i])}", color=RED, **below)
    if len(shown):
        some = f"{len(shown)} most confident of {len(wrong):,} mistakes"
        all_ = f"{len(wrong)} mistake{'s' if len(wrong) > 1 else ''} among {len(y):,} faces"
        what = f"{some if len(shown) < len(wrong) else all_}: label (black), prediction and its score (red)"
    else:
        what = f"no mistakes among {len(y):,} faces"
    set_title(figure, f"{title}\n{what}" if title else what, 8.5)
    if len(shown):
        fit_height(figure, list(grid[:, skip]))
    else:
        figure.set_figheight(0.7)
    return figure


def _ink(colour: Sequence[float]) -> str:
    """Black or white for text on an RGB colour, by its relative luminance: a contrast of 3.4 : 1 and more."""
    rgb = np.asarray(colour[:3])
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
    return "white" if light < 0.26 else "black"


def _percent(score: float) -> str:
    """Rounded down, so that only a certain answer is shown as 100%."""
    return f"{int(100 * score)}%"
