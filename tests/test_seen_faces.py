"""Whoever is tested has not seen the face, and a run goes on with the faces and targets that it began with."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import evaluate
import train
from datasets.storage import Split, read_faces
from datasets.train_val import soften, train_val_split
from engine.evaluation.predictions import write_predictions
from engine.evaluation.testing import _selected_on
from models import build
from models.checkpoint import load_checkpoint, selected_on
from tests.faults.toy import Toy

TINY = ["--recipe", "smoke", "--batch-size", "32", "--device", "cpu", "--epochs", "1", "--limit", "64"]


@pytest.fixture(scope="module", autouse=True)
def toy():
    with pytest.MonkeyPatch.context() as patches:
        patches.setitem(build.BUILDERS, "small", Toy)
        yield


@pytest.fixture
def ended(capsys):
    """Run a script and return the one line with which it ends."""

    def run(script, *flags) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            script([str(flag) for flag in flags])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("error: ") == 1 and "Traceback" not in error
        return error

    return run


def copy_of(file: Path, to: Path) -> Path:
    to.write_bytes(file.read_bytes())
    return to


# ---- folds that start from a checkpoint ----


def test_a_fold_does_not_start_from_weights_that_have_seen_it(ckplus_file, faces_file, tmp_path, ended):
    flags = [*TINY, "--data", str(ckplus_file), "--output", str(tmp_path)]
    train.main([*flags, "--name", "first", "--folds", "3", "--fold", "1"])
    first = tmp_path / "first" / "fold-01" / "best.pt"
    others = [*flags, "--folds", "3", "--init", first]
    assert "may have seen faces that fold 2 tests" in ended(train.main, *others, "--name", "second", "--fold", "2")
    assert "may have seen faces that fold 1 tests" in ended(
        train.main, *flags, "--folds", "4", "--fold", "1", "--init", first, "--name", "another"
    )
    train.main([*map(str, others), "--name", "again", "--fold", "1"])
    assert "may have seen faces that fold 2 tests" in ended(
        train.main, *others, "--name", "all"
    )  # before any is trained
    assert not (tmp_path / "all").exists()
    renamed = copy_of(ckplus_file, tmp_path / "renamed.h5")
    with h5py.File(renamed, "r+") as file:
        file["data_subject"][:] = np.roll(file["data_subject"][:], 9)
    train.main([*map(str, others[:-2]), "--name", "half", "--fold", "1"])
    args = tmp_path / "half" / "args.json"
    args.write_text(args.read_text().replace('"fold": 1', '"fold": null').replace('"init": null', f'"init": "{first}"'))
    assert "may have seen faces that fold 2 tests" in ended(train.main, "--resume", tmp_path / "half")
    other_people = [*TINY, "--data", renamed, "--output", tmp_path, "--folds", "3", "--fold", "1", "--init", first]
    assert "may have seen faces that fold 1 tests" in ended(train.main, *other_people, "--name", "renamed")

    of_fer = [*TINY, "--data", str(faces_file), "--output", str(tmp_path)]
    train.main([*of_fer, "--name", "whole"])
    whole = tmp_path / "whole"
    train.main([*flags, "--name", "from-whole", "--fold", "1", "--init", str(whole)])  # another data set
    (ancestor,) = load_checkpoint(tmp_path / "from-whole" / "fold-01" / "best.pt")["ancestors"]
    assert ancestor["dataset"] == "synthetic" and ancestor["fold"] is None and len(ancestor["val_sha256"]) == 64
    assert "was trained on synthetic and may have seen" in ended(
        train.main, *of_fer, "--folds", "2", "--init", whole, "--name", "folds"
    )
    grandchild = tmp_path / "from-whole" / "fold-01" / "best.pt"
    assert f"{whole} was trained on synthetic and may have seen" in ended(
        train.main, *of_fer, "--folds", "2", "--init", grandchild, "--name", "folds"
    )
    assert not (tmp_path / "folds").exists()


def test_runs_with_other_folds_are_not_averaged(faces_file, tmp_path, ended):
    flags = [*TINY, "--data", str(faces_file), "--output", str(tmp_path)]
    for folds in ("2", "3"):
        train.main([*flags, "--name", folds, "--folds", folds])
    tested = ["--data", faces_file, "--device", "cpu", "--views", "center", "--split", "Training"]
    error = ended(evaluate.main, "--checkpoint", tmp_path / "2", tmp_path / "3", *tested)
    assert "these folds are not the same faces" in error and "test each k-fold run on its own" in error


# ---- what a run began with ----


def test_a_fold_is_not_tested_where_people_have_other_names(ckplus_file, tmp_path, ended):
    train.main([*TINY, "--data", str(ckplus_file), "--output", str(tmp_path), "--name", "x", "--folds", "3"])
    other = copy_of(ckplus_file, tmp_path / "other.h5")
    with h5py.File(other, "r+") as file:
        file["data_subject"][:] = np.roll(file["data_subject"][:], 9)
    error = ended(evaluate.main, "--checkpoint", tmp_path / "x", "--data", other, "--device", "cpu")
    assert "was trained on other faces than those of data here" in error


def test_a_run_does_not_go_on_with_other_targets_or_validation_faces(faces_file, tmp_path, ended):
    data = copy_of(faces_file, tmp_path / "faces.h5")
    faces = read_faces(data)
    labels, names = faces.splits["Training"].labels, faces.class_names
    soft = tmp_path / "soft.csv"
    rng = np.random.default_rng(0)
    write_predictions(soft, np.arange(len(labels)), labels, rng.dirichlet(np.ones(7), len(labels)), names)
    flags = [*TINY, "--data", str(data), "--output", str(tmp_path)]
    train.main([*flags, "--name", "taught", "--soft-targets", str(soft)])
    train.main([*flags, "--name", "plain"])
    more = ["--epochs", "2", "--resume"]

    write_predictions(soft, np.arange(len(labels)), labels, rng.dirichlet(np.ones(7), len(labels)), names)
    assert "with other targets; has the file of its --soft-targets been written anew?" in ended(
        train.main, *more, tmp_path / "taught"
    )
    with h5py.File(data, "r+") as file:
        file["PublicTest_pixel"][0] = 255 - file["PublicTest_pixel"][0]
    assert "holds other faces to validate on" in ended(train.main, *more, tmp_path / "plain")
    copy_of(faces_file, data)
    train.main([*more, str(tmp_path / "plain")])
    assert load_checkpoint(tmp_path / "plain" / "last.pt")["epoch"] == 2


@pytest.mark.parametrize("flags", [["--patience", "1000000"], ["--step-every", "2000000000"], ["--clip-norm", "1e9"]])
def test_large_options_are_read_back(faces_file, tmp_path, flags):
    train.main([*TINY, "--data", str(faces_file), "--output", str(tmp_path), "--name", "x", *flags])
    assert evaluate.main(
        ["--checkpoint", str(tmp_path / "x"), "--data", str(faces_file), "--device", "cpu", "--split", "PublicTest"]
    )


@pytest.mark.parametrize("value", [10**400, float("inf"), float("nan"), [1], "\n"])
def test_options_that_are_none_are_refused_in_a_line(faces_file, tmp_path, value):
    train.main([*TINY, "--data", str(faces_file), "--output", str(tmp_path), "--name", "x"])
    state = torch.load(tmp_path / "x" / "best.pt", weights_only=True)
    torch.save(state | {"options": state["options"] | {"lr": value}}, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="its options is"):
        load_checkpoint(tmp_path / "odd.pt")


def test_a_run_has_no_fewer_epochs_than_it_has_done(faces_file, tmp_path, ended):
    flags = [*TINY, "--data", str(faces_file), "--output", str(tmp_path), "--name", "x", "--epochs", "3"]
    train.main(flags)
    before = (tmp_path / "x" / "args.json").read_bytes()
    assert "--epochs 2: the run in" in ended(train.main, "--resume", tmp_path / "x", "--epochs", "2")
    assert (tmp_path / "x" / "args.json").read_bytes() == before


# ---- soft targets ----


def test_soft_targets_are_compared_with_labels_and_not_with_shares(faces_file):
    """Of two classes with the same share of the votes, the first is the larger one; the label may be the second."""
    faces = read_faces(faces_file)
    training = faces.splits["Training"]
    tied = np.zeros((len(training), 7), np.float32)
    tied[:, 0] = tied[np.arange(len(training)), training.labels] = 0.5
    tied[training.labels == 0, 0] = 1
    splits = faces.splits | {"Training": Split(training.pixels, training.labels, soft=tied)}
    part = train_val_split(replace(faces, splits=splits))
    index, flat = np.arange(len(training)), np.full((len(training), 7), 1 / 7)
    assert np.allclose(
        soften(part, index, training.labels, flat, part.class_names, 0.5).train_targets, (tied + flat) / 2
    )


def test_a_row_far_beyond_the_faces_takes_no_memory(faces_file):
    part = train_val_split(read_faces(faces_file))
    index = np.append(np.arange(len(part.train_labels)), 2**31)
    labels, flat = np.append(part.train_labels, 0), np.full((len(index), 7), 1 / 7)
    plain = soften(part, index[:-1], labels[:-1], flat[:-1], part.class_names, 0.5)
    assert np.array_equal(soften(part, index, labels, flat, part.class_names, 0.5).train_targets, plain.train_targets)


# ---- what selected ----


def test_a_split_that_steers_the_learning_rate_has_selected_the_last_epoch_too():
    last = {"best": {"epoch": 3}, "epoch": 9, "select_on": "PrivateTest", "options": {"schedule": "plateau"}}
    assert selected_on(last) == "PrivateTest"
    assert (
        selected_on(last | {"options": {"schedule": "cosine"}}) == selected_on(last | {"options": None}) == "last epoch"
    )


def test_sets_of_the_same_faces_are_one_where_a_split_has_selected():
    ancestor = {"path": "old.pt", "dataset": "fer2013", "selected_on": "PrivateTest"}
    checkpoints = [{"selected_on": "PublicTest", "ancestors": [ancestor]}]
    assert _selected_on(checkpoints, "ferplus") == _selected_on(checkpoints, "fer2013") == "PublicTest, PrivateTest"
    assert _selected_on(checkpoints, "ckplus") == "PublicTest"
