"""Manners at the terminal: --quiet, streams, exit status, and names that no code page has."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import plot_confusion_matrix
import train
from engine.config import read_config
from engine.evaluation import recorded
from engine.figures.curves import runs_figure
from engine.log import RunLog
from utils.cli import EXIT_STATUS, Parser, note, progress, remark
from utils.files import write_json

ROOT = Path(__file__).parent.parent
SCRIPTS = ("preprocess_fer2013", "train", "evaluate", "plot_confusion_matrix", "visualize")
# A Greek letter is in neither ASCII nor cp1252; the byte before it is what an old Latin-1 name has on Linux
ODD = os.fsdecode(b"caf\xe9-\xce\xb1")
EVERYTHING = """
import sys, preprocess_fer2013, train, evaluate, plot_confusion_matrix, visualize
data, name = sys.argv[1:]
preprocess_fer2013.main(["--dataset", "synthetic", "--faces", "64", "--output", data])
train.main(["--recipe", "smoke", "--epochs", "1", "--device", "cpu", "--no-compile", "--no-amp", "--limit", "32",
            "--data", data, "--output", ".", "--name", name])
evaluate.main(["--checkpoint", name, "--views", "center", "--device", "cpu", "--output", name + "/out",
               "--report", name + "/" + name + ".html"])
plot_confusion_matrix.main(["--compare", name, name + "/out", "--output", name + "/" + name + ".png"])
visualize.main(["--image", name + "/" + name + ".png", "--checkpoint", name, "--no-explain", "--detect", "off",
                "--views", "center", "--device", "cpu", "--output", name + "/v.png", "--json", name + "/v.json"])
"""


def process(folder, encoding, *command):
    """Python in a process of its own, in `folder`, whose streams have that encoding."""
    environment = os.environ | {"PYTHONIOENCODING": encoding, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True)
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.fixture
def odd(tmp_path):
    """A folder with a name that is no text."""
    try:
        (tmp_path / ODD).mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    return tmp_path / ODD


def test_every_script_takes_names_that_the_terminal_cannot_print(odd):
    """From raw data to figures, everything in such a folder; whatever is written can be read again."""
    data = str(odd / f"{ODD}.h5")
    status, out, err = process(odd, "cp1252", "-c", EVERYTHING, data, ODD)
    assert status == 0, err
    shown = "caf\\udce9-\\u03b1"
    assert f"{shown}.h5: 80 faces" in out and "epoch   1/1" in err and "epoch   1/1" not in out
    assert f"{shown}.html\n" in out and f"{shown}.png\n" in out and "split: PrivateTest" in out
    run = odd / ODD
    assert str(read_config(run / "args.json").data) == data  # as it was, though no text
    assert "next: python evaluate.py" in (run / "log.txt").read_text(encoding="utf-8")
    assert json.loads((run / "out" / "metrics.json").read_text(encoding="utf-8"))["data"] == data
    assert (run / f"{ODD}.html").read_text(encoding="utf-8").endswith("</html>\n")
    assert json.loads((run / "v.json").read_text(encoding="utf-8"))[0]["image"] == f"{ODD}/{ODD}.png"


def test_errors_and_results_in_ascii(odd):
    script = str(ROOT / "preprocess_fer2013.py")
    flags = ["--dataset", "synthetic", "--faces", "16", "--output"]
    status, out, err = process(odd, "ascii", script, *flags, f"{ODD}.h5")
    assert status == 0 and "wrote caf\\udce9-\\u03b1.h5: 20 faces" in out and err == ""
    status, out, err = process(odd, "ascii", script, *flags, str(odd))
    assert (status, out, err.count("\n")) == (2, "", 1) and "caf\\udce9-\\u03b1 is a folder" in err


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
    for flags, said in (([], ("there\n", "hello\n")), (["--quiet"], ("", "")), ([], ("there\n", "hello\n"))):
        assert not vars(parser.parse_args(flags))
        note("hello")
        remark("there")
        assert list(progress([1, 2])) == [1, 2]
        assert tuple(capsys.readouterr()) == said


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
    csv = write_csv(tmp_path / "p.csv", [(0, 1)])
    script = [sys.executable, "-u", ROOT / "plot_confusion_matrix.py", "--predictions", csv]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*script, "--output", tmp_path / "m.png"], cwd=ROOT, **pipes) as started:
        started.stdout.close()  # the reader goes before there is anything to read
        said = started.stderr.read()
    assert (started.returncode, said) == (141, b"")


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


def test_when_runs_reach_an_accuracy(tmp_path, capsys):
    head = "epoch,train_loss,train_accuracy,val_loss,val_accuracy,seconds\n"
    for name, rows in {
        "quick": ("0.3,30", "0.62,30", "0.61,60"),
        "slow": ("0.2,60", ",60", "0.6,75"),
        "no": ("0.1,6",),
    }.items():
        (tmp_path / name).mkdir()
        lines = [f"{epoch},2,0.1,2,{row}" for epoch, row in enumerate(rows, 1)]
        (tmp_path / name / "metrics.csv").write_text(head + "\n".join(lines))
    quick, slow, no = (str(tmp_path / name) for name in ("quick", "slow", "no"))
    output = ["--output", str(tmp_path / "c.svg")]
    plot_confusion_matrix.main(["--curves", quick, slow, no, "--over", "minutes", "--reach", "60", "61.5", *output])
    assert capsys.readouterr().out.splitlines()[1:-1] == [
        "60%:",
        f"  {quick}: after 1.0 min, epoch 2",
        f"  {slow}: after 3.2 min, epoch 3, 3.25 times the first run's",
        f"  {no}: not in 1 epoch, 0.1 min",
        "61.5%:",
        f"  {quick}: after 1.0 min, epoch 2",
        f"  {slow}: not in 3 epochs, 3.2 min",
        f"  {no}: not in 1 epoch, 0.1 min",
    ]
    plot_confusion_matrix.main(["--curves", no, slow, "--reach", "60", *output])  # nothing to be a multiple of
    assert f"  {slow}: after 3.2 min, epoch 3\n" in capsys.readouterr().out
    figure = runs_figure(recorded.run_curves([tmp_path / "slow"]), over="minutes")
    assert list(figure.axes[1].lines[0].get_xdata()) == [1, 2, 3.25] and figure.axes[1].get_xlabel() == "minutes"


def test_errors_of_compare_and_curves(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a, b = write_csv(tmp_path / "a.csv", [(0, 0)]), write_csv(tmp_path / "b.csv", [(0, 0)], "yes,maybe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.csv").write_text("epoch,val_loss\n1,x\n")
    (tmp_path / "untimed").mkdir()
    (tmp_path / "untimed" / "metrics.csv").write_text("epoch,val_accuracy\n1,0.5\n")
    for flags, said in (
        (["--compare", a, b], "a.csv has the classes yes, no, but"),
        (["--compare", a, "empty"], "empty has no predictions.csv; make one: python evaluate.py --checkpoint empty"),
        (["--compare", a, "none"], "no such folder"),
        (["--compare", a, a, "--amp"], "--amp is for checkpoints"),
        (["--compare", a], "expected 2 arguments"),
        (["--curves", "empty"], "empty has no metrics.csv"),
        (["--curves", "bad"], "not a metrics.csv of train.py"),
        (["--curves", "bad", "--compare", a, a], "not allowed with"),
        (["--curves", "untimed", "--over", "minutes"], "untimed: its metrics.csv does not say how many seconds each"),
        (["--curves", "untimed", "--reach", "60"], "untimed: its metrics.csv does not say how many seconds each"),
        (["--curves", "untimed", "--reach", "0"], "--reach 0: must lie above 0 and not above 100"),
        (["--compare", a, a, "--reach", "60"], "--reach is for --curves; leave it out"),
    ):
        with pytest.raises(SystemExit) as stop:
            plot_confusion_matrix.main(flags)
        err = capsys.readouterr().err
        assert stop.value.code == 2 and said in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("*.png"))


def test_without_tensorboard_where_it_cannot_write_the_name(odd, monkeypatch):
    """Its own writer encodes the path as UTF-8."""
    writer = SimpleNamespace(SummaryWriter=lambda path, purge_step: path.encode())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", writer)
    log = RunLog(odd, tensorboard=True)
    log.line("a line")
    assert log.writer is None and (odd / "log.txt").read_text() == "a line\n"
