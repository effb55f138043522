"""Manners at the terminal: --quiet, streams, exit status, and names that no code page has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import plot_confusion_matrix
import train
from engine.config import read_config
from utils.cli import EXIT_STATUS, Parser, note, progress
from utils.files import write_json

ROOT = Path(__file__).parent.parent
SCRIPTS = ("preprocess_fer2013", "train", "evaluate", "plot_confusion_matrix", "visualize")
# A Greek letter is in neither ASCII nor cp1252; the byte is what an old Latin-1 name has on Linux
ODD = {"ascii": "gesichter-\u03b1", "cp1252": "gesichter-\u03b1", "utf-8": os.fsdecode(b"caf\xe9-\xce\xb1")}


def command(folder, encoding, *args):
    """A script in a process of its own, in `folder`, whose streams have that encoding."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    script, *rest = args
    done = subprocess.run(
        [sys.executable, ROOT / f"{script}.py", *rest], cwd=folder, env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("encoding", ODD)
def test_every_script_takes_names_that_the_terminal_cannot_print(tmp_path, encoding):
    """From raw data to the figures, all in one folder with such a name; whatever is written can be read again."""
    name = ODD[encoding]
    folder = tmp_path / name
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    shown = name.encode(encoding, "backslashreplace").decode(encoding)
    data = f"{folder}/{name}.h5"
    out, _ = command(
        tmp_path, encoding, "preprocess_fer2013", "--dataset", "synthetic", "--faces", "64", "--output", data
    )
    assert f"{shown}.h5: 80 faces" in out
    run = folder / name
    flags = ["--recipe", "smoke", "--epochs", "1", "--device", "cpu", "--no-compile", "--no-amp", "--limit", "32"]
    out, err = command(tmp_path, encoding, "train", *flags, "--data", data, "--output", str(folder), "--name", name)
    assert "accuracy" in out and out.count("\n") == 1 and "epoch   1/1" in err and shown in err
    assert str(read_config(run / "args.json").data) == data  # as it was, though no text
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert "next: python evaluate.py" in log
    report = ["--output", str(folder / "out"), "--report", str(folder / f"{name}.html")]
    test = ["--checkpoint", str(run), "--views", "center", "--device", "cpu"]
    out, err = command(tmp_path, encoding, "evaluate", *test, *report)
    assert shown in out and "split: PrivateTest" in err
    assert json.loads((folder / "out" / "metrics.json").read_text(encoding="utf-8"))["data"] == data
    assert (folder / f"{name}.html").read_text(encoding="utf-8").endswith("</html>\n")
    figure = str(folder / f"{name}.png")
    out, _ = command(
        tmp_path, encoding, "plot_confusion_matrix", "--compare", str(run), str(folder / "out"), "--output", figure
    )
    assert f"wrote {tmp_path}/{shown}/{shown}.png" in out


def test_quiet_leaves_the_results(tmp_path, faces_file, capsys):
    flags = ["--recipe", "smoke", "--epochs", "1", "--device", "cpu", "--no-compile", "--no-amp", "--limit", "32"]
    train.main([*flags, "--data", str(faces_file), "--output", str(tmp_path), "--name", "q", "--quiet"])
    out, err = capsys.readouterr()
    assert err == "" and out.startswith("epoch 1, PublicTest, ten-crop: accuracy ") and out.count("\n") == 1
    assert "epoch   1/1" in (tmp_path / "q" / "log.txt").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        train.main(["--resume", str(tmp_path / "none"), "--quiet"])
    assert "no run there" in capsys.readouterr().err


def test_notes_and_bars_obey_the_flag(capsys):
    parser = Parser(prog="x")
    for flags, said in (([], "hello\n"), (["--quiet"], ""), ([], "hello\n")):
        assert not vars(parser.parse_args(flags))
        note("hello")
        assert list(progress([1, 2])) == [1, 2]
        assert tuple(capsys.readouterr()) == ("", said)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_ends_with_the_exit_status(script, capsys):
    with pytest.raises(SystemExit):
        __import__(script).main(["--help"])
    out = capsys.readouterr().out
    assert out.endswith(EXIT_STATUS + "\n") and "--quiet" in out and "\x1b" not in out


def test_json_reads_a_name_that_is_no_text_as_it_was(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xce\xb1")
    write_json(tmp_path / "x.json", {"path": name})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"path": name} and "\u03b1" in text


def test_a_closed_pipe_is_no_fault(tmp_path):
    csv = tmp_path / "p.csv"
    csv.write_text("index,label,prediction,yes,no\n0,0,1,0.9,0.1\n")
    code = f"""import sys, os, plot_confusion_matrix as p
os.close(1)
read, write = os.pipe()
os.close(read)
sys.stdout = open(write, "w", buffering=1)
p.main(["--predictions", {str(csv)!r}, "--output", {str(tmp_path / "m.png")!r}])"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (141, "")


# ---- plot_confusion_matrix.py --compare and --curves ----


def write_csv(path, rows, names="yes,no"):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{i},{label},{guess},{1 - guess},{guess}" for i, (label, guess) in enumerate(rows)]
    path.write_text(f"index,label,prediction,{names}\n" + "\n".join(lines) + "\n")
    return str(path)


def test_compare_two_predictions(tmp_path, capsys):
    a = write_csv(tmp_path / "a" / "predictions.csv", [(0, 0), (0, 1), (1, 0), (1, 0), (1, 1)])
    write_csv(tmp_path / "b" / "predictions.csv", [(0, 0), (0, 0), (1, 1), (1, 1), (1, 1)])
    output = str(tmp_path / "d.png")
    drawn = plot_confusion_matrix.main(["--compare", a, str(tmp_path / "b"), "--output", output])
    assert drawn["confusion_matrices"] == [[[1, 1], [2, 1]], [[2, 0], [0, 3]]]
    assert drawn["pair"]["only_second"] == 3 and drawn["pair"]["p"] == pytest.approx(0.25)
    out = capsys.readouterr().out
    assert "B minus A: accuracy +60.00 points (95% interval " in out and "McNemar's p = 0.250" in out
    other = write_csv(tmp_path / "c.csv", [(0, 0), (1, 1)])
    assert plot_confusion_matrix.main(["--compare", a, other, "--output", output, "--no-normalize"])["pair"] is None
    assert "without a paired test" in capsys.readouterr().out


def test_curves_of_several_runs(tmp_path, capsys):
    head = "epoch,train_loss,train_accuracy,val_loss,val_accuracy\n"
    for name in ("one", "folds/fold-01", "folds/fold-02"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "metrics.csv").write_text(head + "1,2,0.1,2,0.2\n2,1.5,,1.8,0.3\n")
    paths = [str(tmp_path / name) for name in ("one", "folds")]
    drawn = plot_confusion_matrix.main(["--curves", *paths, "--output", str(tmp_path / "c.svg")])
    assert [Path(run).name for run in drawn["runs"]] == ["one", "fold-01", "fold-02"]
    assert (tmp_path / "c.svg").stat().st_size > 5000 and "3 runs: " in capsys.readouterr().out


def test_errors_of_compare_and_curves(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = write_csv(tmp_path / "a.csv", [(0, 0)]), write_csv(tmp_path / "b.csv", [(0, 0)], "yes,maybe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.csv").write_text("epoch,val_loss\n1,x\n")
    for flags, said in (
        (["--compare", a, b], "a.csv has the classes yes, no, but"),
        (["--compare", a, "empty"], "empty has no predictions.csv; make one: python evaluate.py --checkpoint empty"),
        (["--compare", a, "none"], "no such folder"),
        (["--compare", a, a, "--amp"], "--amp is for checkpoints"),
        (["--compare", a], "expected 2 arguments"),
        (["--curves", "empty"], "empty has no metrics.csv"),
        (["--curves", "bad"], "not the metrics.csv of a run"),
        (["--curves", "bad", "--compare", a, a], "not allowed with"),
    ):
        with pytest.raises(SystemExit) as stop:
            plot_confusion_matrix.main(flags)
        err = capsys.readouterr().err
        assert stop.value.code == 2 and said in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*.png"))
