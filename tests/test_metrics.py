"""Metrics against slow definitions, their edge cases, and predictions.csv there and back."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.evaluation.metrics import accuracy_interval, calibration_bins, compute_metrics, mean_by_group
from engine.evaluation.predictions import read_predictions, write_predictions
from engine.evaluation.report import headline, text_report
from engine.evaluation.selection import selection_note

NAMES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
FIELDS = "n accuracy ci95 balanced_accuracy macro_f1 top2_accuracy nll ece per_class confusion_matrix"


def fake(n=200, classes=7, seed=0, temperature=1.0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[y]
    p = np.exp(logits / temperature)
    return y, p / p.sum(1, keepdims=True)


def slow_metrics(y, p, names):
    """The definitions, face by face, class by class, without numpy."""
    n, c = len(y), len(names)
    guess = [max(range(c), key=lambda k: row[k]) for row in p]
    matrix = [[sum(a == i and b == j for a, b in zip(y, guess, strict=True)) for j in range(c)] for i in range(c)]
    per_class, recalls, f1s = {}, [], []
    for k, name in enumerate(names):
        hit, faces, guessed = matrix[k][k], sum(matrix[k]), sum(row[k] for row in matrix)
        precision, recall = hit / guessed if guessed else 0.0, hit / faces if faces else 0.0
        f1 = 2 * hit / (faces + guessed) if hit else 0.0
        per_class[name] = {"precision": precision, "recall": recall, "f1": f1, "support": faces}
        recalls += [recall] if faces else []
        f1s += [f1] if faces or guessed else []
    bins = [[] for _ in range(15)]
    for label, g, row in zip(y, guess, p, strict=True):
        bins[max(0, math.ceil(row[g] * 15) - 1)].append((row[g], g == label))
    gaps = [abs(sum(conf for conf, _ in b) - sum(right for _, right in b)) for b in bins]
    hits = sum(a == b for a, b in zip(y, guess, strict=True))
    z = 1.959963984540054  # of the normal distribution, at 97.5%
    middle, spread = (
        (hits + z * z / 2) / (n + z * z),
        z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4),
    )
    ranks = [sorted(range(c), key=lambda k: -row[k]).index(label) for label, row in zip(y, p, strict=True)]
    return {
        "n": n,
        "accuracy": hits / n,
        "ci95": [middle - spread, middle + spread],
        "balanced_accuracy": sum(recalls) / len(recalls),
        "macro_f1": sum(f1s) / len(f1s),
        "top2_accuracy": sum(rank < 2 for rank in ranks) / n,
        "nll": -sum(math.log(row[label]) for label, row in zip(y, p, strict=True)) / n,
        "ece": sum(gaps) / n,
        "per_class": per_class,
        "confusion_matrix": matrix,
    }


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for key, value in wanted.items():
        if key == "per_class":
            for name in value:
                assert found[key][name] == pytest.approx(value[name], abs=1e-12), name
        else:
            assert np.asarray(found[key]) == pytest.approx(np.asarray(value), abs=1e-12), key


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definitions(seed):
    y, p = fake(150, seed=seed, temperature=0.5 + 0.3 * seed)
    assert_same(compute_metrics(y, p, NAMES), slow_metrics(y.tolist(), p.tolist(), NAMES))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(2, 5), st.integers(0, 10**6))
def test_small_and_lopsided_splits(n, classes, seed):
    y, p = fake(n, classes, seed)
    names = NAMES[:classes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = compute_metrics(y, p, names)
    assert_same(metrics, slow_metrics(y.tolist(), p.tolist(), names))


def test_result_is_plain_and_json_without_nan():
    y, p = fake()
    metrics = compute_metrics(torch.as_tensor(y), torch.as_tensor(p).float(), NAMES)
    assert list(metrics) == FIELDS.split()
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_absent_classes_do_not_count():
    p = np.eye(4)[[0, 0, 1, 1]] * 0.97 + 0.0075
    metrics = compute_metrics([0, 0, 1, 1], p, "abcd")
    assert metrics["balanced_accuracy"] == metrics["macro_f1"] == metrics["accuracy"] == 1
    assert metrics["per_class"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    # predicted but never a label: lowers macro-F1 and accuracy, has no recall of its own
    metrics = compute_metrics([0, 0, 1, 1], p[[0, 0, 2, 2]][:, [0, 2, 1, 3]], "abcd")
    assert metrics["balanced_accuracy"] == 0.5 and metrics["macro_f1"] == pytest.approx(1 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compute_metrics([2], [[0.1, 0.2, 0.7]], "abc")["accuracy"] == 1
        assert compute_metrics([0, 1], [[0.6, 0.4], [0.6, 0.4]], "ab")["top2_accuracy"] == 1


def test_certain_and_wrong_is_finite():
    metrics = compute_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]], "ab")
    assert 10 < metrics["nll"] < 100 and metrics["ece"] == 0.5


def test_ties_never_put_top2_below_accuracy():
    y = np.array([0, 1, 2, 3])
    metrics = compute_metrics(y, np.full((4, 4), 0.25), "abcd")
    assert metrics["accuracy"] == 0.25 and metrics["top2_accuracy"] == 0.5


def test_interval_of_few_and_of_no_faces():
    assert accuracy_interval([]) == {"n": 0, "accuracy": None, "ci95": None}
    low, high = accuracy_interval([True] * 10)["ci95"]
    assert 0.7 < low < 0.73 and high == 1
    low, high = accuracy_interval([True] * 2656 + [False] * 933)["ci95"]
    assert (high - low) / 2 == pytest.approx(0.0143, abs=1e-4)  # 1.4 points at 74% of 3,589


def test_bins_include_their_upper_end():
    count, confidence, accuracy = calibration_bins(np.array([0, 1]), np.array([[1.0, 0.0], [0.5, 0.5]]), bins=2)
    assert count.tolist() == [1, 1] and confidence.tolist() == [0.5, 1] and accuracy.tolist() == [0, 1]


def test_mean_by_group():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.0, 1.0]])
    labels, means = mean_by_group([0, 1, 0, 0], p, ["S2", "S1", "S2", "S2"])
    assert labels.tolist() == [1, 0]
    assert means == pytest.approx(np.array([[0.2, 0.8], [0.4, 0.6]]))
    with pytest.raises(ValueError, match="'S2' has the labels 0 and 1"):
        mean_by_group([0, 1], p[:2], ["S2", "S2"])


@pytest.mark.parametrize(
    ("labels", "probabilities", "names", "message"),
    [
        ([], np.empty((0, 2)), "ab", "no faces"),
        ([0, 1], [[0.5, 0.5]], "ab", r"\(2,\), probabilities of \(1, 2\)"),
        ([0], [[0.5, 0.5]], "abc", "2 columns of probabilities for 3 classes"),
        ([0, 2], [[0.5, 0.5]] * 2, "ab", "label 2 in row 1; allowed: 0 to 1"),
        ([-1], [[0.5, 0.5]], "ab", "label -1 in row 0"),
        ([0.5], [[0.5, 0.5]], "ab", "whole numbers"),
        ([0, 0], [[0.5, 0.5], [2.0, -1.0]], "ab", "row 1 is no probability distribution.*softmax"),
        ([0], [[np.nan, 0.5]], "ab", "row 0 is no probability distribution"),
        ([0], [[3.0, 4.0]], "ab", "row 0 is no probability distribution"),
        ([0], [[0.5, 0.5]], "aa", "differ"),
    ],
)
def test_refuses(labels, probabilities, names, message):
    with pytest.raises(ValueError, match=message) as error:
        compute_metrics(labels, probabilities, names)
    assert "\n" not in str(error.value)


# predictions.csv


def test_predictions_there_and_back(tmp_path):
    y, p = fake(60)
    p = p.astype(np.float32)
    extra = {
        "fold": np.arange(60) % 10 + 1,
        "subject": np.array(["S005", "010"] * 30),
        "sequence": ["001"] * 60,
    }
    path = tmp_path / "new" / "predictions.csv"
    write_predictions(path, np.arange(60)[::-1], y, p, NAMES, extra)
    first, second = path.read_text().splitlines()[:2]
    assert first == "index,label,prediction,Angry,Disgust,Fear,Happy,Sad,Surprise,Neutral,subject,sequence,fold"
    assert second.startswith(f"59,{y[0]},{p[0].argmax()},") and second.endswith(",S005,001,1")
    back = read_predictions(path)
    assert back.class_names == NAMES and back.index.tolist() == list(range(59, -1, -1))
    assert (back.labels == y).all() and (back.predictions == p.argmax(1)).all()
    assert np.abs(back.probabilities - p.astype(float) / p.sum(1, keepdims=True, dtype=float)).max() < 1e-9
    assert back.extra["subject"].tolist() == ["S005", "010"] * 30 and set(back.extra["sequence"]) == {"001"}
    assert back.extra["fold"].tolist() == extra["fold"].tolist()
    before, after = compute_metrics(y, p, NAMES), compute_metrics(back.labels, back.probabilities, NAMES)
    assert after["confusion_matrix"] == before["confusion_matrix"] and after["ece"] == pytest.approx(before["ece"])
    assert [file.name for file in path.parent.iterdir()] == ["predictions.csv"]


def test_somebody_may_be_called_what_pandas_takes_for_nothing(tmp_path):
    y, p = fake(6)
    people = np.array(["NA", "None", "null", "nan", "n/a", "NULL"])
    write_predictions(tmp_path / "p.csv", np.arange(6), y, p, NAMES, {"subject": people})
    assert read_predictions(tmp_path / "p.csv").extra["subject"].tolist() == people.tolist()
    rows = "index;label;prediction;a;b\n0;0;0;0,75;0,25\n1;0;0;0,75;0,25\n2;0;0;NA;0,25\n"
    (tmp_path / "q.csv").write_text(rows)
    with pytest.raises(ValueError, match="line 4, column a: an empty cell"):
        read_predictions(tmp_path / "q.csv")


def test_predictions_refuse_to_be_written(tmp_path):
    y, p = fake(4)
    for kwargs, message in (
        ({"extra": {"colour": "abcd"}}, "extra column 'colour'.*subject, sequence, fold"),
        ({"extra": {"fold": [1, 2]}}, r"4 labels.*fold \(2\)"),
        ({"class_names": [*NAMES[:6], "label"]}, "class 'label'"),
        ({"index": [0]}, r"index \(1\)"),
    ):
        arguments = {"index": np.arange(4), "labels": y, "probabilities": p, "class_names": NAMES} | kwargs
        with pytest.raises(ValueError, match=message):
            write_predictions(tmp_path / "p.csv", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("emotion,pixels\n0,1 2 3\n", "needs the columns index, label, prediction and one per class"),
        ("index,label,prediction\n0,0,0\n", "needs the columns"),
        ("index,label,prediction,a,b\n", "has no rows"),
        (
            "index,label,prediction,a,b\n0,0,0,0.5,0.5\n1,x,0,0.5,0.5\n",
            "line 3, column label: 'x' is not 0 to 1",
        ),
        ("index,label,prediction,a,b\n0,0,2,0.5,0.5\n", "line 2, column prediction: '2' is not 0 to 1"),
        ("index,label,prediction,a,b\n0.5,0,1,0.5,0.5\n", "column index: '0.5' is not a whole number from 0"),
        ("index,label,prediction,a,b\n0,0,1,,0.5\n", "line 2, column a: an empty cell is not a number"),
        ("index,label,prediction,a,b\n0,0,1,3.5,0.5\n", "row 0 is no probability distribution"),
    ],
)
def test_predictions_refuse_to_be_read(tmp_path, text, message):
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_predictions(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="python evaluate.py"):
        read_predictions(tmp_path / "none.csv")
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a predictions.csv"):
        read_predictions(path)


# The report


def test_report_says_what_matters():
    y, p = fake(300)
    y[y == 1] = 0  # nobody is disgusted
    metrics = compute_metrics(y, p, NAMES)
    metrics |= {"split": "PrivateTest", "views": "ten", "dataset": "fer2013", "selected_on": "PublicTest"}
    metrics["checkpoints"] = [{"path": "best.pt", "model_name": "vgg19", "epoch": 7, "selected_on": "PublicTest"}]
    metrics["without_twins"] = accuracy_interval((p.argmax(1) == y)[:280])
    text = text_report(metrics)
    assert text.startswith("fer2013, PrivateTest, ten-crop, n = 300\n")
    low, high = metrics["ci95"]
    assert f"{100 * metrics['accuracy']:.2f}%   95% interval {100 * low:.2f} to {100 * high:.2f}" in text
    assert "without 20 twins of training faces, n = 280" in text
    assert [line.split() for line in text.splitlines() if line.startswith("Disgust")] == [["Disgust", *"---0"]]
    assert "checkpoint best.pt: vgg19, epoch 7, selected on PublicTest" in text and "note" not in text
    assert headline(metrics) == f"PrivateTest, ten-crop: accuracy {100 * metrics['accuracy']:.2f}%, n = 300"

    folds = [
        {"path": f"fold-{i}.pt", "model_name": "small", "epoch": 6 + i // 3, "selected_on": "last epoch"}
        for i in range(1, 5)
    ]
    assert text_report(metrics | {"checkpoints": folds}).splitlines()[-3:] == [
        "",
        "2 checkpoints, fold-1.pt to fold-2.pt: small, epoch 6, the last one, not selected",
        "2 checkpoints, fold-3.pt to fold-4.pt: small, epoch 7, the last one, not selected",
    ]
    metrics |= {"selected_on": "PrivateTest", "without_twins": accuracy_interval([])}
    assert "note: selected on the test set" in text_report(metrics)
    assert headline(metrics).endswith("(selected on the test set)")
    assert "note: selected on this split" in text_report(metrics | {"split": "PublicTest", "selected_on": "PublicTest"})


def test_selection_note():
    assert selection_note("10 folds by subject", "10 folds by subject") == "selected on the test set"
    assert selection_note("data", "fold 1, fold 10") == "selected on the test set"
    assert selection_note("PrivateTest", "fold 1") == ""  # a fold of Training
    assert selection_note("PrivateTest", "PrivateTest") == "selected on the test set"
    assert selection_note("PrivateTest", "PublicTest, PrivateTest") == "selected on the test set"
    assert selection_note("PublicTest", "PublicTest") == "selected on this split"
    assert selection_note("PrivateTest", "PublicTest") == selection_note("PrivateTest", None) == ""
    assert selection_note("PrivateTest", "last epoch") == selection_note(None, None) == ""
    assert selection_note(None, "PrivateTest") == "selected on the test set"
