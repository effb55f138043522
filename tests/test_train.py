"""Whole training runs of a tiny size: what they leave behind, how they stop, and that they go on exactly."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from shared_steps import epoch_losses

import train
from engine import loop, saving
from engine.log import RunLog
from models.checkpoint import load_checkpoint
from utils.device import bfloat16_pays
from utils.files import held

ROOT = Path(__file__).parent.parent
TINY = ["--recipe", "smoke", "--dataset", "synthetic", "--batch-size", "32", "--device", "cpu", "--limit", "96"]
# Everything that keeps state or draws random numbers, so that a resumed run has to restore it.
EVERYTHING = [
    "--dropout",
    "0.3",
    "--mixup",
    "0.2",
    "--cutmix",
    "1",
    "--erase",
    "0.5",
    "--schedule",
    "plateau",
    "--patience",
    "0",
]


def run(faces_file, output, *flags):
    return train.main([*TINY, "--data", str(faces_file), "--output", str(output), *flags])


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def same(a, b) -> bool:
    """Whether two nested structures are equal, tensors to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture(scope="module")
def finished(faces_file, tmp_path_factory):
    """A finished run's folder and what main returned."""
    output = tmp_path_factory.mktemp("runs")
    return output / "first", run(faces_file, output, "--name", "first", *EVERYTHING, "--epochs", "3")


def test_a_run_leaves_its_folder(finished, capsys):
    folder, summary = finished
    names = {path.name for path in folder.iterdir()}
    assert names - {"tensorboard"} == {
        *("args.json", "env.json", "log.txt", "metrics.csv", "curves.png", "last.pt", "best.pt"),
        *("summary.json", "predictions.csv", "confusion_matrix.png"),
    }
    assert [row["epoch"] for row in rows(folder)] == ["1", "2", "3"]
    assert json.loads((folder / "summary.json").read_text())["accuracy"] == summary["accuracy"]
    assert (
        summary["views"] == "ten" and summary["split"] == summary["selected_on"] == "PublicTest" and summary["n"] == 40
    )
    arguments = json.loads((folder / "args.json").read_text())
    assert arguments["options"]["mixup"] == 0.2 and arguments["seed"] == 0
    environment = json.loads((folder / "env.json").read_text())
    assert environment["torch"] == torch.__version__ and "git_commit" in environment


def test_the_log_is_a_fixed_width_line_an_epoch(finished):
    lines = (finished[0] / "log.txt").read_text().splitlines()
    epochs = [line for line in lines if line.startswith("epoch   ")]
    assert len(epochs) == 3 and len({len(line) for line in epochs}) == 1
    assert "PublicTest" in epochs[0] and "faces/s" in epochs[0]
    assert any("selected on this split" in line for line in lines)
    assert "evaluate.py --checkpoint" in lines[-1]


def test_the_best_epoch_is_the_one_with_the_highest_validation_accuracy(finished):
    folder, summary = finished
    accuracies = [float(row["val_accuracy"]) for row in rows(folder)]
    assert summary["epoch"] == load_checkpoint(folder / "best.pt")["epoch"] == 1 + int(np.argmax(accuracies))


def test_a_checkpoint_says_how_it_was_made(finished):
    state = load_checkpoint(finished[0] / "best.pt")
    assert state["select_on"] == "PublicTest" and state["recipe"] == "smoke" and state["options"]["cutmix"] == 1
    assert state["inputs"] == {"size": 48, "crop": 44, "channels": 1, "mean": 0.508, "std": 0.255}
    assert len(state["class_names"]) == 7 and "optimizer" not in state


def test_a_resumed_run_ends_in_the_same_bits(finished, faces_file, tmp_path, monkeypatch, capsys):
    straight = finished[0]
    monkeypatch.setattr(saving, "SAVE_SHARE", 1e9)  # after every epoch
    validate, calls = loop.validate, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(*args)

    monkeypatch.setattr(loop, "validate", interrupted)
    with pytest.raises(SystemExit) as stop:
        run(faces_file, tmp_path, "--name", "stopped", *EVERYTHING, "--epochs", "3")
    folder = tmp_path / "stopped"
    assert stop.value.code == 130
    assert f"--resume {folder}" in capsys.readouterr().err
    assert load_checkpoint(folder / "last.pt")["epoch"] == 2

    monkeypatch.setattr(loop, "validate", validate)
    train.main(["--resume", str(folder)])
    for name in ("last.pt", "best.pt"):
        a, b = load_checkpoint(straight / name), load_checkpoint(folder / name)
        for state in (a, b):
            for row in state.pop("history", []):
                row.pop("seconds")
        assert same(a, b), name
    assert (straight / "predictions.csv").read_bytes() == (folder / "predictions.csv").read_bytes()


def test_the_same_seed_gives_the_same_run_and_another_seed_another(faces_file, tmp_path):
    first, again, other = (
        run(faces_file, tmp_path, "--epochs", "1", "--seed", seed)["nll"] for seed in ("5", "5", "6")
    )
    assert first == again != other
    assert {path.name for path in tmp_path.iterdir()} == {
        *("synthetic-small-smoke-seed5", "synthetic-small-smoke-seed5-2", "synthetic-small-smoke-seed6"),
    }


def test_a_finished_run_can_be_extended(faces_file, tmp_path):
    run(faces_file, tmp_path, "--name", "a", "--epochs", "1")
    train.main(["--resume", str(tmp_path / "a"), "--epochs", "2"])
    assert [row["epoch"] for row in rows(tmp_path / "a")] == ["1", "2"]


def test_several_seeds_give_mean_and_deviation(faces_file, tmp_path):
    summary = run(faces_file, tmp_path, "--name", "three", "--seeds", "3", "--epochs", "1")
    assert summary["n"] == 3 == len(summary["accuracies"])
    assert summary["mean"] == pytest.approx(np.mean(summary["accuracies"]))
    assert summary["deviation"] == pytest.approx(np.std(summary["accuracies"], ddof=1))
    assert (tmp_path / "three" / "seed-2" / "best.pt").exists()


def test_a_begun_run_goes_on_without_the_checkpoint_it_started_from(finished, faces_file, tmp_path):
    start = tmp_path / "start.pt"
    start.write_bytes((finished[0] / "best.pt").read_bytes())
    run(faces_file, tmp_path, "--name", "c", "--init", str(start), "--epochs", "1")
    start.unlink()
    train.main(["--resume", str(tmp_path / "c"), "--epochs", "2"])
    assert [row["epoch"] for row in rows(tmp_path / "c")] == ["1", "2"]


def test_training_starts_from_a_checkpoint(finished, faces_file, tmp_path):
    best = finished[0] / "best.pt"
    run(faces_file, tmp_path, "--name", "b", "--init", str(best), "--epochs", "1", "--lr", "1e-30", "--warmup", "0")
    old, new = load_checkpoint(best)["model"], load_checkpoint(tmp_path / "b" / "last.pt")["model"]
    assert all(torch.equal(new[name], old[name]) for name in old if name.endswith("weight"))
    with pytest.raises(SystemExit):
        run(faces_file, tmp_path, "--init", str(best), "--model", "vgg11")


@pytest.mark.parametrize(
    "flags",
    [
        ["--optimizer", "adamw", "--lr", "1e-3", "--clip-norm", "1"],
        ["--optimizer", "muon", "--lr", "0.01", "--early-size", "32"],
        ["--clip-value", "0.1", "--schedule", "step", "--ema", "0", "--decay-all"],
        # bfloat16 takes minutes on a CPU that does not have it
        [*(["--amp"] if bfloat16_pays(torch.device("cpu")) else []), "--label-smoothing", "0", "--val-views", "ten"],
    ],
)
def test_other_options_train(faces_file, tmp_path, flags):
    summary = run(faces_file, tmp_path, "--name", "x", "--epochs", "1", *flags)
    assert np.isfinite(summary["nll"])


def test_a_network_learns(faces_file, tmp_path):
    run(faces_file, tmp_path, "--name", "x", "--limit", "320", "--epochs", "6", "--no-amp")
    losses = [float(row["train_loss"]) for row in rows(tmp_path / "x")]
    assert losses[-1] < losses[0] - 0.1


def test_without_publictest_a_tenth_of_training_chooses(faces_file, tmp_path):
    data = tmp_path / "training-only.h5"
    with h5py.File(faces_file) as source, h5py.File(data, "w") as target:
        for name in ("Training_pixel", "Training_label"):
            source.copy(name, target)
    flags = ["--dataset", "fer2013", "--data", str(data), "--output", str(tmp_path), "--name", "x", "--epochs", "1"]
    summary = train.main([*TINY, *flags])
    assert summary["split"] == "a tenth of Training" and summary["n"] == 32
    assert "a tenth of Training" in (tmp_path / "x" / "log.txt").read_text()
    with h5py.File(data) as file, open(tmp_path / "x" / "predictions.csv", newline="") as predictions:
        labels = file["Training_label"][:]
        for row in csv.DictReader(predictions):
            assert int(row["label"]) == labels[int(row["index"])]


def test_selection_on_the_test_set_is_said(faces_file, tmp_path):
    summary = run(faces_file, tmp_path, "--name", "x", "--epochs", "1", "--select-on", "PrivateTest")
    assert summary["selected_on"] == "PrivateTest"
    assert "selected on the test set" in (tmp_path / "x" / "log.txt").read_text()
    run(faces_file, tmp_path, "--name", "y", "--epochs", "1", "--select-on", "PrivateTest", "--seeds", "2")
    assert "n = 2 seeds) (selected on the test set)" in (tmp_path / "y" / "log.txt").read_text()


def test_a_loss_that_is_not_finite_stops_the_run(faces_file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(faces_file, tmp_path, "--name", "x", "--lr", "2e9", "--weight-decay", "1000", "--warmup", "0", "--no-amp")
    assert stop.value.code == 2 and "train_loss is" in capsys.readouterr().err
    assert not (tmp_path / "x" / "last.pt").exists()


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--data", "missing.h5"], "missing.h5"),
        (["--name", "first"], "--resume"),
        (["--name", "a/b"], "plain folder name"),
        (["--model", "lenet"], "resnet18"),
        (["--select-on", "Validation"], "PublicTest"),
        (["--select-on", "Training"], "Training"),
        (["--crop", "60", "--pad", "0"], "--crop 60"),
        (["--crop", "50", "--pad", "4"], "a crop of 50 pixels does not fit"),  # the test has no margin
        (["--model", "vgg11", "--crop", "28"], "--model vgg11 cannot take crops of 28"),
        (["--dataset", "ckplus"], "holds synthetic, not ckplus"),
        (["--device", "cuda:9"], "--device cuda:9: not available here; this PyTorch sees cpu"),
        (["--device", "abacus"], "abacus"),
        (["--init", "nothing.pt"], "nothing.pt"),
        (["--lr", "-1"], "--lr"),
    ],
)
def test_bad_input_is_one_line(finished, faces_file, capsys, flags, message):
    output = finished[0].parent
    before = sorted(output.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        run(faces_file, output, *flags)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("train.py: error: ")
    assert message in error and error.count("\n") == 1
    assert sorted(output.rglob("*")) == before, "nothing half-written"


@pytest.mark.parametrize(
    "flags,message",
    [
        (["--lr", "1"], "--lr"),
        (["--seed", "0"], "--seed"),  # also what is a flag's default
        (["--limit", "9"], "--limit"),
        (["--epochs", "0"], "--epochs 0: must be above 0"),
    ],
)
def test_resume_keeps_the_runs_options(finished, capsys, flags, message):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(finished[0]), *flags])
    assert message in capsys.readouterr().err


def test_resume_remembers_the_epochs(faces_file, tmp_path):
    run(faces_file, tmp_path, "--name", "x", "--epochs", "1", "--limit", "64")
    train.main(["--resume", str(tmp_path / "x"), "--epochs", "2"])
    assert json.loads((tmp_path / "x" / "args.json").read_text())["options"]["epochs"] == 2
    assert len(rows(tmp_path / "x")) == 2


def test_resume_with_other_faces_is_refused(faces_file, tmp_path, capsys):
    run(faces_file, tmp_path, "--name", "x", "--epochs", "1", "--limit", "64")
    other = tmp_path / "other.h5"
    other.write_bytes(faces_file.read_bytes())
    with h5py.File(other, "r+") as file:
        file["Training_pixel"][:] = file["Training_pixel"][:][::-1]
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path / "x"), "--data", str(other), "--epochs", "2"])
    assert "holds other faces" in capsys.readouterr().err


def test_tensorboard_hears_of_every_epoch_once(tmp_path):
    log, told = RunLog(tmp_path), []
    log.writer = SimpleNamespace(
        add_scalar=lambda name, value, epoch: told.append((name, epoch)), flush=lambda: told.append(("flush", 0))
    )
    history = [
        dict.fromkeys(("epoch", "lr", "train_loss", "val_loss"), 0.5) | {"epoch": epoch} for epoch in range(1, 6)
    ]
    log.metrics(history[:3])
    log.metrics(history)
    assert [epoch for name, epoch in told if name == "lr"] == [1, 2, 3, 4, 5] and told[-1] == ("flush", 0)


def test_resume_of_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path)])
    assert "no run there" in capsys.readouterr().err


def torchrun_command(processes, script, *flags):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*command, script, *map(str, flags)]


def torchrun(processes, *flags, script="train.py"):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        torchrun_command(processes, script, *flags),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes_share_batches_with_the_losses_of_one(faces_file):
    """Batch normalisation, whose statistics are each process's own, is kept from looking at the batch."""
    models = ["small", "vgg11", "resnet18"]
    done = torchrun(2, faces_file, *models, script="tests/shared_steps.py")
    assert done.returncode == 0, done.stderr
    shared = json.loads(done.stdout.splitlines()[-1])
    for name, losses in epoch_losses(faces_file, models).items():
        assert shared[name] == pytest.approx(losses, rel=1e-4), name


def test_two_processes_leave_one_runs_folder_and_say_what_each_takes(faces_file, tmp_path):
    done = torchrun(2, *TINY, "--data", faces_file, "--output", tmp_path, "--epochs", "1", "--name", "two")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "two" / "log.txt").read_text()
    assert "2 processes: each takes 16 of a batch's 32 faces" in log and "nothing is scaled" in log
    assert log.count("epoch   1/1") == 1


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are listed by Linux")
@pytest.mark.parametrize(
    "code",
    [
        "train.main(sys.argv[1:])\n",
        "with distributed.processes():\n"
        "    network = distributed.parallel(torch.nn.Linear(2, 2))\n"
        "    network(torch.ones(1, 2)).sum().backward()\n"
        "    distributed.meet()\n"
        "    del network\n",
    ],
    ids=["train.py", "alone"],
)
def test_the_groups_threads_have_ended_before_python_is_taken_down(code, faces_file, tmp_path):
    """One that is left asks for Python's lock too late, which ends a finished run with SIGABRT, once in many."""
    script = tmp_path / "counts.py"
    script.write_text(
        "import atexit, os, pathlib, sys\n"
        "import torch\n"
        "import train\n"
        "atexit.register(lambda: os.write(1, f'{seen} {threads()}\\n'.encode()))  # the last that is called\n"
        "from utils import distributed\n"
        "def threads():\n"
        "    names = [path.read_text().strip() for path in pathlib.Path('/proc/self/task').glob('*/comm')]\n"
        "    return len([name for name in names if 'gloo' in name])\n"
        "def meet(original=distributed.meet):\n"
        "    original()\n"
        "    global seen\n"
        "    seen = threads() > 0\n"
        "distributed.meet = meet\n" + code
    )
    flags = [*TINY, "--data", faces_file, "--output", tmp_path, "--epochs", "1", "--name", "x"]
    done = torchrun(2, *flags, script=str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True 0\n") == 2, done.stdout


def test_a_killed_process_ends_the_others_and_the_run_goes_on(faces_file, tmp_path):
    """The second process kills itself in the second epoch, as the system does where memory is short."""
    script = tmp_path / "dies.py"
    script.write_text(
        "import os, signal, sys\n"
        "import train\n"
        "from engine import loop, saving\n"
        "saving.SAVE_SHARE, original = 1e9, loop.train_epoch\n"
        "def train_epoch(state, *args):\n"
        "    if state.epoch == 1 and os.environ['RANK'] == '1':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return original(state, *args)\n"
        "loop.train_epoch = train_epoch\n"
        "train.main(sys.argv[1:])\n"
    )
    flags = [*TINY, "--data", faces_file, "--output", tmp_path, "--epochs", "2", "--name", "x"]
    done = torchrun(2, *flags, script=str(script))
    assert done.returncode != 0
    assert "--resume" in done.stderr and 'dies.py", line' not in done.stderr  # the traceback is torchrun's own
    assert load_checkpoint(tmp_path / "x" / "last.pt")["epoch"] == 1
    assert torchrun(2, "--resume", tmp_path / "x").returncode == 0
    assert [row["epoch"] for row in rows(tmp_path / "x")] == ["1", "2"]


def test_a_batch_that_cannot_be_shared_is_refused(faces_file, tmp_path):
    done = torchrun(2, *TINY, "--data", str(faces_file), "--output", str(tmp_path), "--batch-size", "33")
    assert done.returncode != 0 and "cannot be shared equally" in done.stderr


def test_resume_of_a_run_that_still_runs(finished, capsys):
    pytest.importorskip("fcntl", reason="no file locks on this system")
    with held(finished[0]), pytest.raises(SystemExit):
        train.main(["--resume", str(finished[0])])
    assert "is in use by a process that is still running" in capsys.readouterr().err
    train.main(["--resume", str(finished[0])])  # and not for ever
