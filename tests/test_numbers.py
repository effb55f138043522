"""Data at the edge of sense: trained on and tested with the numbers that are defined, and JSON that others can read."""

import json

import numpy as np
import pytest
import torch

import evaluate
import train
from datasets.storage import FaceSet, Split, write_faces
from models import build
from models.checkpoint import load_checkpoint, save_checkpoint
from tests.faults.toy import Toy

TINY = ["--recipe", "smoke", "--epochs", "1", "--batch-size", "16", "--device", "cpu", "--no-amp"]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Not the network is tested here."""
    monkeypatch.setitem(build.BUILDERS, "small", Toy)


def write(path, labels, val_labels, constant=False):
    """An HDF5 file with faces of noise, or all of one gray; three classes."""
    rng = np.random.default_rng(0)
    splits = {}
    for name, y in (("Training", labels), ("PublicTest", val_labels)):
        pixels = np.full((len(y), 48, 48), 77) if constant else rng.integers(0, 256, (len(y), 48, 48))
        splits[name] = Split(pixels.astype(np.uint8), np.array(y, dtype=np.int64))
    write_faces(path, FaceSet("mine", ("a", "b", "c"), splits, "noise", ""))
    return path


def strictly(path):
    """JSON as the standard has it, without NaN."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in {path.name}"))


@pytest.mark.parametrize(
    "labels,val_labels,constant",
    [
        ([0, 1] * 8, [0, 1], False),  # nobody of class c
        ([1] * 16, [1], False),  # one class, and one face to test
        ([0, 1, 2] * 2, [0, 0, 0], True),  # constant faces, fewer than a batch, one class to test
        ([0, 2], [1], False),  # a class that is tested only
    ],
    ids=["empty class", "labels alike", "constant faces", "untrained class"],
)
def test_edges_of_sense_have_numbers(tmp_path, labels, val_labels, constant):
    data = write(tmp_path / "mine.h5", labels, val_labels, constant)
    summary = train.main([*TINY, "--data", str(data), "--output", str(tmp_path), "--name", "x"])
    strictly(tmp_path / "x" / "summary.json")
    metrics = evaluate.main(
        ["--checkpoint", str(tmp_path / "x"), "--split", "PublicTest", "--device", "cpu", "--views", "flip"]
    )
    written = strictly(tmp_path / "x" / "evaluation-PublicTest-flip" / "metrics.json")
    for found in (summary, metrics, written):
        assert found["n"] == len(val_labels) and 0 <= found["balanced_accuracy"] <= 1 and 0 <= found["macro_f1"] <= 1
        assert sum(row["support"] for row in found["per_class"].values()) == len(val_labels)


def test_one_face_is_too_few_to_train_on(tmp_path, capsys):
    data = write(tmp_path / "mine.h5", [0], [0])
    with pytest.raises(SystemExit) as stop:
        train.main([*TINY, "--data", str(data), "--output", str(tmp_path), "--name", "x"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "two faces" in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_a_checkpoint_that_diverged_is_refused(tmp_path, capsys):
    data = write(tmp_path / "mine.h5", [0, 1] * 8, [0, 1])
    train.main([*TINY, "--data", str(data), "--output", str(tmp_path), "--name", "x"])
    best = tmp_path / "x" / "best.pt"
    state = load_checkpoint(best)
    next(iter(state["model"].values())).fill_(torch.nan)
    save_checkpoint(best, state)
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--checkpoint", str(best), "--split", "PublicTest", "--device", "cpu"])
    assert stop.value.code == 2 and "its training diverged" in capsys.readouterr().err
    assert not list(tmp_path.glob("x/evaluation*"))
