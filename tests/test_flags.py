"""Every flag of every script with values that cannot be: one line, status 2, nothing made.

The scripts' own parsers say which flags there are, so a new one is under these tests, or says here why not.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import pytest

import benchmarks.__main__ as benchmarks
import evaluate
import plot_confusion_matrix
import preprocess_fer2013
import train
import visualize
from engine.recipes import ABOVE_0, AT_MOST, BELOW, Recipe
from models import WEIGHTS
from utils.cli import non_negative_int, positive_int

GIANT = "9" * 30
NO_NUMBER = ("x", "", "nan", "inf", "-inf", "1e400", "0x10", "1,5")
NO_WHOLE_NUMBER = (*NO_NUMBER, "-1", "1.5", "\u00b2", GIANT)  # the last but one is a digit to Python, and no number
WRONG = {  # by the type that argparse is told
    positive_int: (*NO_WHOLE_NUMBER, "0"),
    non_negative_int: NO_WHOLE_NUMBER,
    int: NO_WHOLE_NUMBER,
    float: (*NO_NUMBER, "-1"),
    visualize.margin: (*NO_NUMBER, "-1", "1.01"),
}
# In the folder of a test: "text" is a text file, "empty" an empty folder, "full.png" and others folders of such a name.
NO_FILE = ("", " ", "missing", "empty", "text/x")
NO_FOLDER = ("", "text", "text/below")
NO_CHECKPOINT = (*NO_FILE, "text")
NO_FIGURE = (*NO_FOLDER, "m.jpeg", "m", "full.png", "text/m.png")
NO_DEVICE = ("", "abacus", "cuda:99", "cuda:-1", "meta", "cpu cpu", "cpu:x")
NO_DATASET = ("", " ", "a/b", "nonsense")  # of the file that --data names
NO_SPLIT = ("", "Training ", "nonsense")

# What is impossible for the paths and texts of each script; a value may need other flags than the usual ones.
TABLE = {
    train: {
        "dataset": NO_DATASET,
        "data": (*NO_FILE, "text"),
        "output": NO_FOLDER,
        "name": ("", " ", ".", "..", "a/b", "/a", "x" * 300),
        "resume": (*NO_FILE, "text"),
        "init": NO_CHECKPOINT,
        "device": NO_DEVICE,
        "select_on": (*NO_SPLIT, "Training"),
        "folds": (*NO_NUMBER, "0", "1", "-1", "\u00b2", "100000", GIANT),
        "soft_targets": (*NO_FILE, "text"),
        "soft_weight": (*NO_NUMBER, "-1", "1.01", "0.3"),  # the last one: of which predictions?
        "model": ("", "lenet", "timm:", "timm:lenet"),
        "fold": ("11",),
        "pad": ("48", "1000"),
        "translate": ("0.99",),
        "crop": ("49", "1000", "2000000000"),
        "early_size": ("45", "1000"),
        "std": ("0.0001",),
    },
    evaluate: {
        "checkpoint": NO_CHECKPOINT,
        "dataset": NO_DATASET,
        "report": ("", "page", "page.pdf", "text/page.html", "full.html"),
        "export": ("", "x.pb", "x", "missing/x.onnx", "full.onnx"),
        "data": (*NO_FILE, "text"),
        "split": NO_SPLIT,
        "device": NO_DEVICE,
        "output": NO_FOLDER,
        "convert": ("", "empty", "missing/x.pt", "text/x.pt"),
    },
    plot_confusion_matrix: {
        "dataset": NO_DATASET,
        "run": (*NO_FILE, "text"),
        "predictions": (*NO_FILE, "text"),
        "compare": (*NO_FILE, "text"),
        "curves": (*NO_FILE, "text"),
        "reach": (*NO_NUMBER, "-1", "0", "101"),
        "checkpoint": NO_CHECKPOINT,
        "output": NO_FIGURE,
        "width": (*NO_NUMBER, "-1", "0", "2", "21"),
        "data": (*NO_FILE, "text"),
        "split": NO_SPLIT,
        "device": NO_DEVICE,
    },
    visualize: {
        "image": (*NO_FILE, "text"),
        "checkpoint": NO_CHECKPOINT,
        "device": NO_DEVICE,
        "output": NO_FIGURE,
        "json": ("", "empty", "text/x.json"),
        "video": (*NO_FILE, "text", "-1", "0.5"),
        "csv": ("", "empty", "text/x.csv", "x.csv"),  # the last one: of which film?
    },
    preprocess_fer2013: {
        "source": (*NO_FILE, "text"),
        "labels": (*NO_FILE, "text"),
        "output": ("", "empty", "text", "text/x.h5"),
        "faces": ("7", "1000001"),
    },
    benchmarks: {
        "data": ("", "empty", "text"),
        "source": ("",),  # without one it is left out
        "json": NO_FOLDER[:1],
        "output": NO_FOLDER[:1],
        "models": ("", "lenet"),
        "device": NO_DEVICE,
        "accuracy": (*NO_NUMBER, "-1", "0", "1.01"),
    },
}
ANYTHING = {(plot_confusion_matrix, "title")}  # any text will do
# Without the flags that others would be refused beside
ALONE = {
    (train, "resume"),
    (evaluate, "convert"),
    (evaluate, "export"),
    (plot_confusion_matrix, "run"),
    (plot_confusion_matrix, "predictions"),
    (plot_confusion_matrix, "compare"),
    (plot_confusion_matrix, "curves"),
    (visualize, "video"),
}


def usual(script, faces_file: Path) -> list[str]:
    """Flags with which the script would do something, in the test's folder."""
    data = ["--data", str(faces_file), "--device", "cpu"]
    return {
        train: [*data, "--recipe", "smoke", "--output", "out"],
        evaluate: [*data, "--views", "center", "--output", "out"],
        plot_confusion_matrix: [*data, "--checkpoint", str(WEIGHTS), "--output", "out/m.png"],
        visualize: ["--device", "cpu", "--output", "out/v.png"],
        preprocess_fer2013: ["--dataset", "synthetic", "--faces", "8", "--output", "out/x.h5"],
        benchmarks: [*data, "--only", "input", "--faces", "8"],
    }[script]


def flags() -> list:
    found = []
    for script in TABLE:
        for action in script.build_parser()._actions:
            if action.dest != "help" and (script, action.dest) not in ANYTHING:
                found.append(pytest.param(script, action, id=f"{script.__name__.split('.')[0]}-{action.dest}"))
    return found


def impossible(script, action: argparse.Action) -> list[str]:
    values = list(TABLE[script].get(action.dest, ()))
    if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
        return ["yes"]
    if action.choices:
        return ["", "nonsense"]
    assert values or action.type in WRONG, f"which values are impossible for --{action.dest}? Say so in TABLE"
    values += WRONG.get(action.type, ())
    if script is train and action.dest in {f.name for f in fields(Recipe)} and action.type in (int, float):
        values += ["0"] * (action.dest in ABOVE_0)
        values += [str(AT_MOST[action.dest] + 1)] if action.dest in AT_MOST else []
        values += [str(BELOW[action.dest])] if action.dest in BELOW else []
    return values


@pytest.mark.parametrize("script, action", flags())
def test_impossible_values_end_in_one_line(script, action, faces_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("some notes, and no more\n")
    Path("empty").mkdir()
    for name in ("full.png", "full.html", "full.onnx"):
        Path(name).mkdir()
    there = sorted(tmp_path.rglob("*"))
    others = [] if (script, action.dest) in ALONE else usual(script, faces_file)
    if (script, action.dest) == (preprocess_fer2013, "source"):
        others = ["--dataset", "fer2013"]
    for value in impossible(script, action):
        with pytest.raises(SystemExit) as stop:
            script.main([*others, f"{action.option_strings[0]}={value}"])
            pytest.fail(f"{action.option_strings[0]} {value!r} was accepted")
        error = capsys.readouterr().err
        assert stop.value.code == 2, (value, error)
        assert ": error: " in error and error.count("\n") == 1 and len(error) < 600, (value, error)
        assert "Traceback" not in error and "NoneType" not in error
        assert sorted(tmp_path.rglob("*")) == there, f"{value!r} left something behind"
