"""k-fold runs: what they train and test on, what they leave behind, resuming, several processes, soft targets."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import evaluate
import plot_confusion_matrix
import train
from datasets.storage import read_faces
from datasets.train_val import limited, soften, train_val_folds, train_val_split
from engine import loop, saving
from engine.evaluation.predictions import write_predictions
from models import build
from models.checkpoint import load_checkpoint
from tests.faults.toy import Toy

ROOT = Path(__file__).parent.parent
TINY = ["--recipe", "smoke", "--batch-size", "32", "--device", "cpu", "--epochs", "1", "--limit", "64"]


@pytest.fixture(scope="module", autouse=True)
def toy():
    """Folds are many trainings, and no test here depends on the network."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setitem(build.BUILDERS, "small", Toy)
        yield


@pytest.fixture(scope="module")
def ten_folds(ckplus_file, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs")
    flags = [*TINY, "--dataset", "synthetic-ckplus", "--data", str(ckplus_file), "--output", str(output)]
    return output / "ten", train.main([*flags, "--name", "ten", "--folds", "all"]), flags


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_subject_folds_leave_ten_folders_and_one_number(ten_folds, ckplus_file):
    folder, summary, _ = ten_folds
    assert summary["folds"]["n"] == 10 and summary["split"] == "10 folds by subject"
    assert summary["selected_on"] == "last epoch"
    data = read_faces(ckplus_file).splits["data"]
    assert summary["n"] == len(data) and summary["sequences"]["n"] == len(data) // 3
    assert summary["folds"]["mean"] == pytest.approx(np.mean(summary["folds"]["accuracies"]))
    for number in range(1, 11):
        inside = {path.name for path in (folder / f"fold-{number:02d}").iterdir()}
        assert {"best.pt", "metrics.csv", "summary.json", "predictions.csv"} <= inside and "last.pt" not in inside
    assert (folder / "confusion_matrix.png").exists()
    assert json.loads((folder / "summary.json").read_text())["accuracy"] == summary["accuracy"]


def test_predictions_of_all_folds_cover_every_face_once(ten_folds, ckplus_file):
    data = read_faces(ckplus_file).splits["data"]
    table = rows(ten_folds[0] / "predictions.csv")
    assert sorted(int(row["index"]) for row in table) == list(range(len(data)))
    for row in table:
        index = int(row["index"])
        assert row["subject"] == data.extra["subject"][index] and int(row["label"]) == data.labels[index]
    folds_of = {}
    for row in table:
        folds_of.setdefault(row["subject"], set()).add(row["fold"])
    assert all(len(folds) == 1 for folds in folds_of.values()), "a person is in one fold only"


def test_a_fold_alone_and_the_same_fold_among_all_are_equal(ten_folds, tmp_path):
    """The network is built once and given fresh weights for every fold: no trace of the folds before may be left."""
    folder, _, flags = ten_folds
    train.main([*flags, "--output", str(tmp_path), "--name", "one", "--fold", "7"])
    alone, among = (load_checkpoint(run / "fold-07" / "best.pt")["model"] for run in (tmp_path / "one", folder))
    assert all(torch.equal(alone[name], among[name]) for name in among)


def test_folds_resume_between_and_inside(ten_folds, tmp_path, monkeypatch, capsys):
    flags = ten_folds[2]
    monkeypatch.setattr(saving, "SAVE_SHARE", 1e9)  # after every epoch
    flags = [*flags, "--epochs", "2", "--output", str(tmp_path), "--folds", "3"]
    validate, calls = loop.validate, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return validate(*args)

    monkeypatch.setattr(loop, "validate", interrupted)
    with pytest.raises(SystemExit):
        train.main([*flags, "--name", "x"])
    monkeypatch.setattr(loop, "validate", validate)
    assert load_checkpoint(tmp_path / "x" / "fold-02" / "last.pt")["epoch"] == 1
    assert f"--resume {tmp_path / 'x'}\n" in capsys.readouterr().err
    done = tmp_path / "x" / "fold-01" / "best.pt"
    before = done.stat().st_mtime_ns
    resumed = train.main(["--resume", str(tmp_path / "x")])
    straight = train.main([*flags, "--name", "y"])
    assert done.stat().st_mtime_ns == before
    assert resumed == straight and resumed["folds"]["n"] == 3


def test_processes_share_the_folds_with_the_same_result(ten_folds, tmp_path):
    _, _, flags = ten_folds
    once = train.main([*flags, "--output", str(tmp_path), "--name", "once", "--folds", "3"])
    script = tmp_path / "toy.py"
    script.write_text(
        "import sys\n"
        "import train\n"
        "from models import build\n"
        "from tests.faults.toy import Toy\n"
        "build.BUILDERS['small'] = Toy\n"
        "train.main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *flags, "--output", str(tmp_path), "--name", "shared", "--folds", "3"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    shared = json.loads((tmp_path / "shared" / "summary.json").read_text())
    assert shared == json.loads(json.dumps(once))


def test_selection_on_the_tested_faces_is_said(ten_folds, tmp_path):
    summary = train.main(
        [*ten_folds[2], "--output", str(tmp_path), "--name", "x", "--folds", "2", "--select-on", "test"]
    )
    assert summary["selected_on"] == summary["split"]
    assert "selected on the test set" in (tmp_path / "x" / "log.txt").read_text()


def test_figures_and_evaluation_work_on_fold_runs(ten_folds, ckplus_file, tmp_path):
    folder, summary, _ = ten_folds
    drawn = plot_confusion_matrix.main(["--run", str(folder), "--output", str(tmp_path / "m.png")])
    assert np.array_equal(drawn["confusion_matrix"], summary["confusion_matrix"])
    fold = json.loads((folder / "fold-02" / "summary.json").read_text())
    checkpoint = folder / "fold-02" / "best.pt"
    metrics = evaluate.main(
        [
            *("--checkpoint", str(checkpoint), "--data", str(ckplus_file), "--output", str(tmp_path / "e")),
            "--device",
            "cpu",
        ]
    )
    assert metrics["n"] == fold["n"] and metrics["confusion_matrix"] == fold["confusion_matrix"]
    metrics = evaluate.main(
        ["--checkpoint", str(folder), "--data", str(ckplus_file), "--device", "cpu", "--output", str(tmp_path / "f")]
    )
    assert metrics["confusion_matrix"] == summary["confusion_matrix"]


def test_out_of_fold_predictions_become_soft_targets(faces_file, tmp_path):
    flags = [*TINY, "--dataset", "synthetic", "--data", str(faces_file), "--output", str(tmp_path)]
    summary = train.main([*flags, "--name", "folds", "--folds", "5", "--limit", "300"])
    training = read_faces(faces_file).splits["Training"]
    assert summary["n"] == len(training) and summary["split"] == "5 folds stratified"
    soft = tmp_path / "folds" / "predictions.csv"
    assert sorted(int(row["index"]) for row in rows(soft)) == list(range(len(training)))
    train.main([*flags, "--name", "soft", "--soft-targets", str(soft), "--soft-weight", "0.3"])
    assert f"targets: 0.3 x {soft}, 0.7 x the label" in (tmp_path / "soft" / "log.txt").read_text()


def test_a_network_is_trained_on_what_another_says_of_the_train_set(faces_file, tmp_path, capsys):
    flags = [*TINY, "--data", str(faces_file), "--output", str(tmp_path), "--limit", "300"]
    train.main([*flags, "--name", "teacher"])
    evaluated = ["--checkpoint", str(tmp_path / "teacher"), "--data", str(faces_file), "--device", "cpu"]
    evaluate.main([*evaluated, "--split", "Training", "--output", str(tmp_path / "said")])
    assert "was trained on faces of Training" in capsys.readouterr().out
    train.main([*flags, "--name", "student", "--soft-targets", str(tmp_path / "said" / "predictions.csv")])
    evaluate.main([*evaluated, "--split", "PublicTest", "--output", str(tmp_path / "other")])
    with pytest.raises(SystemExit):
        train.main([*flags, "--name", "none", "--soft-targets", str(tmp_path / "other" / "predictions.csv")])
    assert "training faces have no soft target" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--folds", "2"], "may have seen the faces that are tested here"),
        (["--folds", "2", "--protocol", "frame"], "--protocol frame is for CK+"),
    ],
)
def test_soft_targets_that_would_leak_are_refused(faces_file, tmp_path, capsys, flags, message):
    data = read_faces(faces_file)
    labels = data.splits["Training"].labels
    sure = np.eye(len(data.class_names))[labels]
    soft = tmp_path / "soft.csv"
    write_predictions(soft, np.arange(len(labels)), labels, sure, data.class_names)
    with pytest.raises(SystemExit):
        train.main([*TINY, "--data", str(faces_file), "--output", str(tmp_path), *flags, "--soft-targets", str(soft)])
    assert message in capsys.readouterr().err


def test_limited_faces_are_of_all_classes_where_the_file_is_sorted(ckplus_file):
    part = train_val_folds(read_faces(ckplus_file), None)[0]
    few = limited(part, 60)
    assert len(few.train_pixels) == len(few.train_targets) == len(few.train_index) == 60
    assert set(few.train_targets) == set(part.train_targets) and limited(part, 10**6) is limited(part, None) is part


def test_folds_are_tested_on_the_file_they_were_made_of(ten_folds, ckplus_file, tmp_path, capsys):
    other = tmp_path / "other.h5"
    other.write_bytes(ckplus_file.read_bytes())
    with h5py.File(other, "r+") as file:
        file["data_pixel"][0] = 255 - file["data_pixel"][0]
    with pytest.raises(SystemExit):
        evaluate.main(["--checkpoint", str(ten_folds[0]), "--data", str(other), "--device", "cpu"])
    assert "was trained on other faces" in capsys.readouterr().err


def test_epochs_of_a_run_with_finished_folds_stay(ten_folds, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(ten_folds[0]), "--epochs", "3"])
    assert "fold-01 has been finished with 1" in capsys.readouterr().err


def test_soft_targets_are_mixed_by_row(faces_file):
    part = train_val_split(read_faces(faces_file))
    index = np.arange(len(part.train_index))[::-1]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(7), len(index))
    labels = part.train_targets[index]
    got = soften(part, index, labels, probabilities, part.class_names, 0.25).train_targets
    for row in (0, 5, len(index) - 1):
        want = 0.75 * np.eye(7)[part.train_targets[row]] + 0.25 * probabilities[len(index) - 1 - row]
        assert got[row] == pytest.approx(want, abs=1e-6)
    with pytest.raises(ValueError, match="have no soft target"):
        soften(part, index[:-3], labels[:-3], probabilities[:-3], part.class_names, 0.5)
    with pytest.raises(ValueError, match="have another label"):
        soften(part, index, np.roll(labels, 1), probabilities, part.class_names, 0.5)
    with pytest.raises(ValueError, match="Contempt"):
        soften(part, index, labels, probabilities, (*part.class_names[:6], "Contempt"), 0.5)


def test_parts_of_folds_are_disjoint_and_complete(ckplus_file, faces_file):
    for file, protocol in ((ckplus_file, "subject"), (faces_file, "subject")):
        data = read_faces(file)
        split = data.splits["data" if "data" in data.splits else "Training"]
        parts = train_val_folds(data, 5, protocol)
        assert len(parts) == 5
        for part in parts:
            assert not set(part.train_index) & set(part.val_index)
            assert len(part.train_index) + len(part.val_index) == len(split)
            assert (split.pixels[part.val_index] == part.val.pixels).all()


def test_shared_classes_carry_over_by_name(ckplus_file, faces_file, tmp_path, capsys):
    flags = [*TINY, "--data", str(faces_file), "--dataset", "synthetic", "--output", str(tmp_path)]
    train.main([*flags, "--name", "fer"])
    capsys.readouterr()
    best = tmp_path / "fer" / "best.pt"
    train.main(
        [
            *(*TINY, "--data", str(ckplus_file), "--dataset", "synthetic-ckplus", "--output", str(tmp_path)),
            *("--name", "ck", "--fold", "1", "--init", str(best), "--lr", "1e-30", "--warmup", "0", "--ema", "0"),
        ]
    )
    assert "Angry, Disgust, Fear, Happy, Sad, Surprise; fresh: Contempt" in capsys.readouterr().err
    old, new = load_checkpoint(best)["model"], load_checkpoint(tmp_path / "ck" / "fold-01" / "best.pt")["model"]
    assert torch.equal(new["linear.weight"][:6], old["linear.weight"][:6])
    assert not torch.equal(new["linear.weight"][6], old["linear.weight"][6])
    assert torch.equal(new["conv.weight"], old["conv.weight"])


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--folds", "some"], "--folds 'some'"),
        (["--folds", "1"], "--folds '1'"),
        (["--folds", "0"], "--folds '0'"),
        (["--schedule", "plateau"], "which is a test set"),
        (["--fold", "11"], "10 folds"),
        (["--select-on", "PrivateTest"], "with folds give test"),
        (["--protocol", "frame", "--folds", "5"], "10 folds"),
        (["--soft-targets", "nothing.csv"], "nothing.csv"),
        (["--soft-weight", "2", "--soft-targets", "nothing.csv"], "--soft-weight"),
    ],
)
def test_bad_input_is_one_line(ten_folds, capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        train.main([*ten_folds[2], "--name", "bad", *flags])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1
    assert not (ten_folds[0].parent / "bad").exists()
