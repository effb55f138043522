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

    empty = np.broadcast_to(rows == 0, shade.shape)
    texts = [[(f"{n}", "") for n in row] for row in counts]
    if normalize:
        texts = [
            [(f"{100 * share:.0f}%", f"{n}") for share, n in zip(*row, strict=True)]
            for row in zip(shares, counts, strict=True)
        ]
    return _grid(np.ma.masked_array(shade, empty), texts, class_names, "Blues", (0, 1), title, width)


def difference_figure(
    first: Any, second: Any, class_names: Sequence[str], normalize: bool = True, title: str = "", width: float = 4.2
) -> Figure:
    """Draw how two confusion matrices differ, second minus first: blue where the second has more, red where less.

    Args:
        first, second: whole numbers (c, c).
        normalize: colour and print the difference of the rows' shares in percentage points, with that of the counts
            below; else that of the counts alone.
        width: inches, of the whole figure.

    Colours are centred on 0. A row without faces in either matrix is left gray.
    """
    a, b = np.asarray(first), np.asarray(second)
    c = len(class_names)
    if a.shape != (c, c) or b.shape != (c, c):
        raise ValueError(f"confusion matrices of {c} classes are ({c}, {c}), not {a.shape} and {b.shape}")
    rows_a, rows_b = a.sum(1, keepdims=True), b.sum(1, keepdims=True)
    points = 100 * (b / np.maximum(rows_b, 1) - a / np.maximum(rows_a, 1))
    counts = b - a
    texts = [[(_signed(n), "") for n in row] for row in counts.tolist()]
    if normalize:
        texts = [
            [(_signed(round(x)), _signed(n) if n or round(x) else "") for x, n in zip(*row, strict=True)]
            for row in zip(points.tolist(), counts.tolist(), strict=True)
        ]
    shade = points if normalize else counts
    empty = np.broadcast_to((rows_a == 0) | (rows_b == 0), shade.shape)
    shade = np.ma.masked_array(shade, empty)
    most = max(1.0, float(np.abs(shade).max())) if shade.count() else 1.0
    figure = _grid(shade, texts, class_names, "RdBu", (-most, most), title, width)
    cells = "percentage points; below, faces" if normalize else "faces"
    figure.axes[0].set_xlabel(f"prediction ({cells})", size=figure.axes[0].xaxis.label.get_size())
    return figure


def _signed(number: int) -> str:
    """With its sign, as typeset; 0 has none."""
    return f"{number:+d}".replace("-", "\u2212") if number else "0"


def _grid(
    shade: np.ma.MaskedArray,
    texts: Sequence[Sequence[tuple[str, str]]],
    class_names: Sequence[str],
    colours: str,
    limits: tuple[float, float],
    title: str,
    width: float,
) -> Figure:
    """Coloured cells (c, c) with a text each and, where there is one, a smaller one below; masked ones are gray."""
    c = len(class_names)
    cell = (width - 0.9) / c * 72  # points, about
    size = float(np.clip(0.27 * cell, SMALLEST + 0.5, 11))
    figure = Figure((width, width + 0.1), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    # pcolormesh and not imshow: cells stay vectors in PDF and SVG
    cells = axes.pcolormesh(shade, cmap=colours, vmin=limits[0], vmax=limits[1], edgecolor="white", linewidth=1)
    axes.set_facecolor("#e4e4e4")
    axes.invert_yaxis()
    for i, j in np.ndindex(c, c):
        if np.ma.getmaskarray(shade)[i, j]:
            continue
        ink, (large, small) = _ink(cells.to_rgba(shade[i, j])), texts[i][j]
        middle = {"xy": (j + 0.5, i + 0.5), "textcoords": "offset points", "ha": "center", "va": "center"}
        axes.annotate(large, xytext=(0, 0.48 * size if small else 0), size=size, color=ink, **middle)
        if small:
            style = {"size": max(SMALLEST, 0.75 * size), "alpha": 0.85}
            axes.annotate(small, xytext=(0, -0.72 * size), color=ink, **style, **middle)
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
