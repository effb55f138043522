"""How runs stop and what they advise then: every advice is a command that is run here, and works."""

import itertools
import os
import re
import shlex
import shutil
import signal

import pytest

import evaluate
import train
from engine import loop, saving
from models import build
from models.checkpoint import load_checkpoint
from tests.faults.toy import Toy
from utils.files import held, replacing, write_text

pytest.importorskip("fcntl", reason="no file locks on this system")
SCRIPTS = {"train.py": train.main, "evaluate.py": evaluate.main}


@pytest.fixture
def start(faces_file, tmp_path, monkeypatch, capsys):
    """Starts a run with the flags; returns its exit status and all that was said."""
    monkeypatch.setitem(build.BUILDERS, "small", Toy)
    monkeypatch.chdir(tmp_path)
    common = ["--recipe", "smoke", "--data", str(faces_file), "--device", "cpu", "--no-amp", "--epochs", "3"]

    def call(*flags, main=train.main):
        try:
            main([*([] if "--resume" in flags or main != train.main else common), *flags])
            status = 0
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out + said.err

    return call


def follow(start, said: str) -> tuple[int, str]:
    """Run the command that was advised."""
    script, rest = re.search(r"python (\w+\.py) (.*)", said).groups()
    return start(*shlex.split(rest), main=SCRIPTS[script])


def at_validation(monkeypatch, number: int, happens):
    """Something happens after the training of epoch `number`, and once only."""
    validate, calls = loop.validate, []

    def instead(*args):
        calls.append(1)
        if len(calls) == number:
            happens()
        return validate(*args)

    monkeypatch.setattr(loop, "validate", instead)


@pytest.mark.parametrize(
    "number,status,word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("flags", [[], ["--folds", "2"], ["--seeds", "2"]], ids=["fit", "folds", "seeds"])
def test_a_signal_loses_no_finished_epoch(start, tmp_path, monkeypatch, number, status, word, flags):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # not there in a shell's background processes
    monkeypatch.setattr(saving, "SAVE_SHARE", 0)  # of its own, a fit saves after its first and its last epoch
    at_validation(monkeypatch, 3, lambda: os.kill(os.getpid(), number))
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    got, said = start("--name", "x", *flags)
    signal.signal(signal.SIGINT, before)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "handlers are put back"
    assert got == status and said.endswith(
        f"{word}; continue with: python train.py --resume runs/x\ntrain.py: {word}\n"
    )
    (last,) = (tmp_path / "runs" / "x").rglob("last.pt")
    assert load_checkpoint(last)["epoch"] == 2
    got, said = follow(start, said)
    assert got == 0 and "continues after epoch 2 of 3" in said


def test_after_the_end_evaluation_is_next(start):
    assert follow(start, start("--name", "x")[1])[0] == 0


def test_a_run_that_diverged_at_once_is_told_what_to_do(start, tmp_path):
    status, said = start("--name", "x", "--lr", "2e9", "--warmup", "0", "--weight-decay", "100", "--batch-size", "32")
    assert status == 2 and "in epoch 1" in said and "--init" not in said
    lower = re.search(r"lower --lr, such as (\S+),", said)[1]
    assert start("--name", "y", "--lr", lower)[0] == 0
    status, said = start("--resume", "runs/x", "--lr", lower)
    assert status == 2 and "start a new run under another --name\n" in said
    status, said = start("--name", "x", "--lr", lower)
    assert status == 2 and "remove it, or choose another --name" in said and "--resume" not in said
    shutil.rmtree(tmp_path / "runs" / "x")
    assert start("--name", "x", "--lr", lower)[0] == 0


def test_a_run_that_diverged_later_keeps_what_was_good(start, monkeypatch):
    monkeypatch.setattr(saving, "SAVE_SHARE", 0)
    at_validation(monkeypatch, 3, lambda: None)
    trained = loop.train_epoch
    monkeypatch.setattr(
        loop,
        "train_epoch",
        lambda state, *args: trained(state, *args) | {"train_loss": [1, 2, float("nan")][state.epoch]},
    )
    status, said = start("--name", "x")
    monkeypatch.setattr(loop, "train_epoch", trained)
    assert status == 2 and "train_loss is nan in epoch 3" in said
    assert load_checkpoint("runs/x/last.pt")["epoch"] == 2
    init = re.search(r"--init (\S+),", said)[1]
    assert start("--name", "y", "--init", init, "--lr", "0.001")[0] == 0
    status, said = start("--resume", "runs/x", "--lr", "0.01")
    assert status == 2 and said.rstrip().endswith("under another --name with --init runs/x/best.pt")
    assert start("--name", "z", "--init", "runs/x/best.pt", "--lr", "0.01")[0] == 0
    status, said = start("--name", "x")
    assert status == 2 and start(*re.search(r"(--resume) (\S+),", said).groups())[0] == 0


def test_two_runs_of_one_name(start, tmp_path):
    (tmp_path / "runs" / "x").mkdir(parents=True)
    with held("runs/x"):
        status, said = start("--name", "x")
        assert status == 2 and "is in use by a process that is still running" in said
    assert start("--name", "x")[0] == 0
    status, said = start("--name", "x")
    assert status == 2 and start(*re.search(r"(--resume) (\S+),", said).groups())[0] == 0


def test_a_folder_that_cannot_be_written_to(start, tmp_path, monkeypatch):
    """A run's disk goes away, or fills up, and comes back."""
    made = tmp_path / "runs" / "x"
    at_validation(monkeypatch, 2, lambda: (made.rename(tmp_path / "away"), made.write_text("a file in its place")))
    status, said = start("--name", "x")
    assert status == 2 and said.count("error: ") == 1 and "Not a directory" in said or "File exists" in said
    made.unlink()
    (tmp_path / "away").rename(made)
    status, said = follow(start, said)
    assert status == 0 and load_checkpoint("runs/x/last.pt")["epoch"] == 3


def test_a_clock_that_jumps_changes_nothing(start, monkeypatch):
    assert start("--name", "x")[0] == 0
    times = itertools.cycle([2e9, 1e9])
    monkeypatch.setattr("time.time", lambda: next(times))
    assert start("--name", "y")[0] == 0
    a, b = (load_checkpoint(f"runs/{name}/last.pt")["history"] for name in "xy")
    assert all(0 < row["seconds"] < 60 for row in b)
    assert [row["train_loss"] for row in a] == [row["train_loss"] for row in b]


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_stays(tmp_path):
    target = tmp_path / "x.json"
    (tmp_path / ".x.json.1-abc.tmp").write_text("half")
    with replacing(target) as own:
        own.write_text("first")
        write_text(target, "second")
        assert own.exists() and [path.name for path in tmp_path.glob("*.tmp")] == [own.name]
    assert target.read_text() == "first" and [path.name for path in tmp_path.iterdir()] == ["x.json"]
