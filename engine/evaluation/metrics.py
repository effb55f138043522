"""Classification metrics from labels and class probabilities.

scikit-learn computes what it has. Classes without a face in the split neither warn nor count: balanced
accuracy is the mean recall of the classes that have faces, macro-F1 the mean over the classes that occur as a
label or as a prediction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    recall_score,
)

CALIBRATION_BINS = 15


def compute_metrics(labels: Any, probabilities: Any, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of one split as plain Python types, ready for JSON.

    Args:
        labels: whole numbers (n,) in 0..c-1; array, tensor or list.
        probabilities: (n, c), every row in [0, 1] and of sum 1 (softmax of the logits, not the logits).
        class_names: c names.

    Returns:
        n; accuracy and ci95 [low, high], its 95% Wilson interval; balanced_accuracy; macro_f1;
        top2_accuracy; nll in nats; ece over 15 bins; per_class {name: precision, recall, f1, support};
        confusion_matrix, rows are labels and columns predictions. Shares are fractions in [0, 1]. Precision,
        recall and F1 are 0 where they are not defined (support tells). The prediction is the first of the
        largest probabilities.

    Raises:
        ValueError: no faces, or labels, probabilities and class names that do not fit together.
    """
    y, p = check_inputs(labels, probabilities, class_names)
    n, c = p.shape
    predictions = p.argmax(1)
    everything = list(range(c))
    precision, recall, f1, support = precision_recall_fscore_support(y, predictions, labels=everything, zero_division=0)
    # Ties go to the lower index, as in argmax; scikit-learn's top_k_accuracy_score gives them to the higher
    # one, so that its top-2 accuracy can be below the accuracy.
    best_two = np.argsort(-p, axis=1, kind="stable")[:, :2]
    return {
        **accuracy_interval(predictions == y),
        "balanced_accuracy": float(recall_score(y, predictions, labels=np.unique(y), average="macro")),
        "macro_f1": float(
            f1_score(y, predictions, labels=np.union1d(y, predictions), average="macro", zero_division=0)
        ),
        "top2_accuracy": float((best_two == y[:, None]).any(1).mean()),
        "nll": float(log_loss(y, p, labels=everything)) if c > 1 else 0.0,
        "ece": calibration_error(y, p),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(class_names)
        },
        "confusion_matrix": confusion_matrix(y, predictions, labels=everything).tolist(),
    }


def accuracy_interval(correct: Any) -> dict[str, Any]:
    """Return n, accuracy and ci95 [low, high] of a boolean vector.

    The interval is Wilson's (1927), which stays inside [0, 1] and is sound near 0 and 1 and for few faces.
    Without faces accuracy and ci95 are None.
    """
    correct = np.asarray(correct, bool)
    if not len(correct):
        return {"n": 0, "accuracy": None, "ci95": None}
    ci95 = share_interval(int(correct.sum()), len(correct))
    return {"n": len(correct), "accuracy": float(correct.mean()), "ci95": ci95}


def share_interval(hits: int, n: int) -> list[float]:
    """Wilson's 95% interval [low, high] of `hits` among `n` > 0."""
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def headline_intervals(metrics: Mapping[str, Any], draws: int = 2000) -> dict[str, list[float]]:
    """95% intervals [low, high] of the shares that `compute_metrics` returns for a whole split.

    Accuracy and top-2 accuracy have Wilson's. Balanced accuracy and macro-F1, means over classes, have the percentile
    bootstrap (Efron, The jackknife, the bootstrap and other resampling plans, 1982): `draws` times as many faces are
    drawn with replacement, which is a multinomial draw of the confusion matrix. The draws are always the same.
    """
    n, matrix = metrics["n"], np.asarray(metrics["confusion_matrix"])
    drawn = np.random.default_rng(0).multinomial(n, matrix.ravel() / n, draws).reshape(draws, *matrix.shape)
    hits, faces, predicted = np.diagonal(drawn, axis1=1, axis2=2), drawn.sum(2), drawn.sum(1)
    means = {
        "balanced_accuracy": np.ma.masked_array(hits / np.maximum(faces, 1), faces == 0).mean(1),
        "macro_f1": np.ma.masked_array(2 * hits / np.maximum(faces + predicted, 1), faces + predicted == 0).mean(1),
    }
    bootstrap = {name: np.quantile(np.asarray(values), (0.025, 0.975)).tolist() for name, values in means.items()}
    top2 = share_interval(round(metrics["top2_accuracy"] * n), n)
    return {"accuracy": metrics["ci95"], **bootstrap, "top2_accuracy": top2}


def average_precision(labels: Any, probabilities: Any, class_names: Sequence[str]) -> dict[str, float | None]:
    """Average precision of each class against all others, by its probability; None for a class without faces.

    Args are as in `compute_metrics`. The sum over the ranked faces of precision times the step in recall
    (scikit-learn's `average_precision_score`), which does not interpolate.
    """
    y, p = check_inputs(labels, probabilities, class_names)
    return {
        name: float(average_precision_score(y == i, p[:, i])) if (y == i).any() else None
        for i, name in enumerate(class_names)
    }


def calibration_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return count, mean confidence and accuracy of the faces in each of `bins` equal intervals (low, high].

    The confidence is the largest probability. Empty bins have confidence and accuracy 0.
    """
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    which = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    count = np.bincount(which, minlength=bins)
    share = 1 / np.maximum(count, 1)
    return (
        count,
        np.bincount(which, weights=confidence, minlength=bins) * share,
        np.bincount(which, weights=correct, minlength=bins) * share,
    )


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error of the top class: |accuracy - confidence|, averaged over the faces' bins.

    Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3.
    """
    count, confidence, accuracy = calibration_bins(labels, probabilities, bins)
    return float((count * np.abs(accuracy - confidence)).sum() / max(1, count.sum()))


def mean_by_group(labels: Any, probabilities: Any, groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return one label (g,) and one mean probability row (g, c) per group, in the order of the groups' names.

    For CK+: the groups are the sequences, and a sequence's score is the mean of its frames' scores. Raises
    ValueError where a group has two labels.
    """
    y, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    names, first, which = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    mixed = np.flatnonzero(y != y[first][which])
    if len(mixed):
        row = mixed[0]
        raise ValueError(f"group {groups[row]!r} has the labels {y[first][which][row]} and {y[row]}")
    sums = np.zeros((len(names), p.shape[1]))
    np.add.at(sums, which, p)
    return y[first], sums / np.bincount(which)[:, None]


def sequence_accuracy(labels: Any, probabilities: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    """`accuracy_interval` over sequences, whose score is the mean of their frames' scores.

    columns: subject, sequence (counted from 1 for every subject) and, for a k-fold run, fold, each of length n.
    """
    there = [columns[name] for name in ("fold", "subject", "sequence") if name in columns]
    names = ["/".join(map(str, key)) for key in zip(*there, strict=True)]
    sequence_labels, means = mean_by_group(labels, probabilities, names)
    return accuracy_interval(means.argmax(1) == sequence_labels)


def check_inputs(labels: Any, probabilities: Any, class_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels as int64 (n,) and probabilities as float64 (n, c), rows of sum 1, or raise ValueError."""
    y, p = np.asarray(labels), np.asarray(probabilities, np.float64)
    if y.ndim != 1 or p.ndim != 2 or len(y) != len(p):
        raise ValueError(f"labels of shape {y.shape}, probabilities of {p.shape}; wanted: (n,) and (n, classes)")
    if not len(y):
        raise ValueError("no faces to compute metrics of")
    if p.shape[1] != len(class_names):
        raise ValueError(f"{p.shape[1]} columns of probabilities for {len(class_names)} classes")
    if len(set(class_names)) != len(class_names):
        raise ValueError(f"class names must differ from one another: {', '.join(class_names)}")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {y.dtype}")
    wrong = np.flatnonzero((y < 0) | (y >= len(class_names)))
    if len(wrong):
        raise ValueError(f"label {y[wrong[0]]} in row {wrong[0]}; allowed: 0 to {len(class_names) - 1}")
    sums = p.sum(1)
    # 1e-3: a row of bfloat16 or of printed, rounded probabilities passes, a row of logits does not
    wrong = np.flatnonzero(~(np.isfinite(p) & (p >= 0)).all(1) | ~(np.abs(sums - 1) <= 1e-3))
    if len(wrong):
        row = wrong[0]
        raise ValueError(
            f"row {row} is no probability distribution: {np.array2string(p[row], precision=3)}; for logits,"
            " apply softmax first"
        )
    return y.astype(np.int64), p / sums[:, None]
