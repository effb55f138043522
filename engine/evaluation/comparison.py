"""Two networks on the same faces: the difference of their accuracies, its interval, and an exact test of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest, norm

from engine.evaluation.metrics import compute_metrics


def paired_difference(first: Any, second: Any) -> dict[str, Any]:
    """Return how the accuracy of `second` differs from that of `first` on the same faces.

    Args:
        first, second: booleans (n,), whether each network's prediction of a face is its label.

    Returns:
        n; difference, second minus first, in [-1, 1]; ci95 [low, high] of it; only_first and only_second, the faces
        that one alone has right; p, of `mcnemar`. Faces count as independent of one another, which the frames of a
        sequence are not: for those the interval is too narrow and p too small.

    Raises:
        ValueError: no faces, or not the same number of them.
    """
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"answers of shape {a.shape} and {b.shape}; wanted: both (n,), of the same faces")
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "n": len(a),
        "difference": (only_second - only_first) / len(a),
        "ci95": difference_interval(only_first, only_second, len(a)),
        "only_first": only_first,
        "only_second": only_second,
        "p": mcnemar(only_first, only_second),
    }


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of McNemar's test: as likely to be right where one alone is, both would differ so much or more.

    McNemar, Psychometrika 12, 1947, as the binomial test of the faces on which they differ, not as chi-squared. 1.0
    where they differ on none.
    """
    differ = only_first + only_second
    return float(binomtest(only_second, differ, 0.5).pvalue) if differ else 1.0


def difference_interval(only_first: int, only_second: int, n: int) -> list[float]:
    """95% interval [low, high] of the difference of two paired shares, second minus first.

    Wald's with half a face added to each of the four cells, which holds its 95% also for few faces and for shares near
    0 and 1: Agresti and Min, Statistics in Medicine 24, 2005.
    """
    b, c, total = only_first + 0.5, only_second + 0.5, n + 2
    middle = (c - b) / total
    half = norm.ppf(0.975) * np.sqrt((b + c) - (c - b) ** 2 / total) / total
    return [float(max(-1, middle - half)), float(min(1, middle + half))]


def side_by_side(
    labels: np.ndarray, members: Sequence[tuple[str, np.ndarray]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Metrics of several predictions of the same faces, each on its own, and how each differs from the first.

    members: name and probabilities (n, classes) of each. Returns, for each, its name, what `compute_metrics` returns
    and, from the second on, versus_first: what `paired_difference` returns.
    """
    rows: list[dict[str, Any]] = []
    correct = [probabilities.argmax(1) == labels for _, probabilities in members]
    for i, (name, probabilities) in enumerate(members):
        row = {"name": name, **compute_metrics(labels, probabilities, class_names)}
        rows.append(row | ({"versus_first": paired_difference(correct[0], correct[i])} if i else {}))
    return rows
