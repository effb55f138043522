"""What reaches people at the edges: curves, pages, printed commands, pipes and full disks, odd names of files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

import visualize
from engine.evaluation import recorded
from engine.evaluation.page import _svg
from engine.evaluation.predictions import write_predictions
from engine.figures.curves import precision_recall_figure
from engine.figures.faces import MOST_FACES, AnnotatedImage, Face
from engine.log import RunLog
from models.checkpoint import load_checkpoint
from models.refusals import pickled
from models.safe_tensors import write
from utils import cli
from utils.files import check_file, source_digest, write_text
from utils.run_folder import create_run_folder
from utils.stop import Terminated

ROOT = Path(__file__).parents[1]
ODD = ["it's.pt", "m$(touch pwned).pt", "a`touch pwned`.pt", 'say "x".pt', "a b.pt"]


# ---- figures ----


@pytest.mark.parametrize("kind", ["equal", "one", "some"])
def test_the_area_below_a_precision_recall_curve_is_the_average_precision(kind):
    noise = np.random.default_rng(0).normal(0, 0.8, 50)
    positive = np.arange(50) == 1 if kind == "one" else np.arange(50) < 7
    scores = {"equal": np.ones(50), "one": -np.arange(50.0), "some": positive + noise}[kind]
    axes = precision_recall_figure(positive, scores).axes[0]
    (outline,) = axes.collections[0].get_paths()
    x, y = outline.vertices[:-1].T  # the filled steps, once around
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    assert area == pytest.approx(average_precision_score(positive, scores), abs=1e-6)
    line = axes.lines[0]
    assert line.get_drawstyle() == "steps-post" and np.all(np.diff(line.get_xdata()) <= 0)


def test_a_label_with_a_backslash_is_shown_as_it_is():
    figure = precision_recall_figure([True, False], [0.9, 0.1])
    assert r'aria-label="a\d \1 &lt;"' in _svg(figure, "k", r"a\d \1 &lt;")


def test_a_crowd_is_drawn_in_part(capsys):
    face = Face((0, 0, 9, 9), np.zeros((48, 48), np.uint8), np.array([0.2, 0.8]))
    crowd = AnnotatedImage("crowd.jpg", np.zeros((9, 9, 3), np.uint8), 9, 9, [face] * 400)
    (shown,) = visualize.what_fits([crowd])
    assert len(shown.faces) == MOST_FACES
    assert f"the largest {MOST_FACES} of 400 faces of crowd.jpg" in capsys.readouterr().err


def test_faces_of_two_data_sets_are_not_paired(tmp_path):
    y, p = np.arange(20) % 2, np.tile([0.4, 0.6], (20, 1))
    for name in "ab":
        (tmp_path / name).mkdir()
        write_predictions(tmp_path / name / "predictions.csv", np.arange(20), y, p, ("x", "y"))
        (tmp_path / name / "metrics.json").write_text(json.dumps({"dataset": "mine", "split": "test"}))
    both = [tmp_path / name / "predictions.csv" for name in "ab"]
    assert recorded.paired(*both)["difference"] == 0
    (tmp_path / "b" / "metrics.json").write_text(json.dumps({"dataset": "other", "split": "test"}))
    assert recorded.paired(*both) is None


# ---- printed commands ----


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell")
@pytest.mark.parametrize("name", ODD)
def test_a_printed_command_runs_nothing_else(tmp_path, name):
    """`python` is one that writes down its arguments."""
    message = pickled(tmp_path / name, "GLOBAL a.B")
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nprintf "%s" "$2" > "{tmp_path / "code"}"\n')
    stub.chmod(0o755)
    environment = os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}"}
    command = message[message.index("python -c") :]
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env=environment, check=True)
    code = (tmp_path / "code").read_text()
    compile(code, "command", "exec")
    assert repr(str(tmp_path / name)) in code and not (tmp_path / "pwned").exists()


def test_a_run_with_a_blank_in_its_name_is_continued_by_the_printed_command(tmp_path):
    folder = create_run_folder(tmp_path, "my run", "x")
    (folder / "args.json").write_text("{}")
    (folder / "last.pt").touch()
    with pytest.raises(ValueError, match=f"--resume '{folder}', or"):
        create_run_folder(tmp_path, "my run", "x")


# ---- files ----


@pytest.mark.parametrize("length", [376, 24184, 40056, 55928])
def test_a_safetensors_header_of_any_length_is_one(tmp_path, length):
    """The first bytes of these lengths begin other files too."""
    path = tmp_path / "x.safetensors"
    about, long = {"format": "pt", "x": ""}, 0
    while long < length:
        write(path, {"w": torch.zeros(2)}, about)
        long = int.from_bytes(path.read_bytes()[:8], "little")
        about["x"] += "x" * max(1, length - long)
    content = path.read_bytes()
    assert content[:8] == length.to_bytes(8, "little")
    with pytest.raises(ValueError, match="not a checkpoint of this project"):
        load_checkpoint(path)


def test_a_link_stays_and_a_pipe_is_no_file(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", "/dev/stdout", "/dev/null", "/proc/self/fd/1"):
        with pytest.raises(ValueError, match="is no file but a device or a pipe"):
            write_text(special, "new")
    assert (tmp_path / "pipe").is_fifo()
    check_file("/dev/shm/x.json")  # a folder like any other


def test_without_stdout_there_is_no_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", None)
    parser = cli.Parser(prog="x.py")
    assert cli.run(parser, parser.parse_args([]), lambda args: 7) == 7
    with pytest.raises(SystemExit) as stop:
        cli.run(parser, parser.parse_args([]), lambda args: int("x"))
    assert stop.value.code == 2
    for raised, status in ((KeyboardInterrupt, 130), (Terminated, 143), (OSError("x"), 2)):

        def fail(args, raised=raised):
            raise raised

        with pytest.raises(SystemExit) as stop:
            cli.run(parser, parser.parse_args([]), fail)
        assert stop.value.code == status
    monkeypatch.setattr(sys, "stderr", None)
    assert list(cli.progress([1, 2])) == [1, 2]
    cli.note("nobody hears it")
    RunLog(tmp_path).line("a result", result=True)
    assert (tmp_path / "log.txt").read_text() == "a result\n"


def test_a_folder_with_a_name_that_is_no_text_has_a_digest(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    assert len(source_digest(tmp_path)) == 64


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
@pytest.mark.parametrize("where", ["a closed pipe", "a full disk"])
def test_output_that_cannot_be_written_ends_in_its_status(tmp_path, where):
    """With Python's usual buffering, which writes a short output only at the end."""
    lines = ["from utils import cli", "p = cli.Parser()", "cli.run(p, p.parse_args([]), lambda args: print('said'))"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        out = subprocess.PIPE if where == "a closed pipe" else full
        with subprocess.Popen(
            [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.PIPE
        ) as started:
            if where == "a closed pipe":
                started.stdout.close()
            said = started.stderr.read().decode()
    if where == "a closed pipe":
        assert (started.returncode, said) == (141, "")
    else:
        assert started.returncode == 2 and said.count("\n") == 1 and "make room there" in said
