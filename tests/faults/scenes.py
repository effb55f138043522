"""The scripts' commands that faults are tried on, with a network and a data set that take a second."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure

import evaluate
import plot_confusion_matrix
import preprocess_fer2013
import train
from engine import saving, summary
from engine.evaluation import report
from engine.figures import confusion
from models import build
from tests.faults.children import tell
from tests.faults.toy import Toy
from utils import run_folder

TINY = ["--recipe", "smoke", "--data", "../faces.h5", "--output", ".", "--name", "run", "--device", "cpu", "--no-amp"]
TINY += ["--batch-size", "16", "--limit", "48"]
# Everything that keeps state or draws random numbers
TINY += ["--dropout", "0.3", "--mixup", "0.2", "--erase", "0.5", "--schedule", "plateau", "--patience", "0"]
FOLDS = ["--folds", "2", "--seeds", "2", "--epochs", "2", "--schedule", "cosine"]
TRAINED = "../trained/run/best.pt"


class Scene(NamedTuple):
    """A script and its command line, which is given again after a fault; of `train`, --resume where a run is there."""

    script: Any
    argv: list[str]
    trains: bool = False

    def again(self, folder: Path) -> list[str]:
        begun = self.trains and (folder / "run" / "args.json").exists()
        return ["--resume", "run"] if begun else self.argv


SCENES = {
    "train": Scene(train, [*TINY, "--epochs", "4"], trains=True),
    "folds": Scene(train, [*TINY, *FOLDS], trains=True),
    "preprocess": Scene(preprocess_fer2013, ["--dataset", "synthetic", "--faces", "8", "--output", "made/faces.h5"]),
    "evaluate": Scene(
        evaluate, ["--checkpoint", TRAINED, "--data", "../faces.h5", "--device", "cpu", "--output", "evaluation"]
    ),
    "convert": Scene(evaluate, ["--checkpoint", TRAINED, "--convert", "released.pt"]),
    "plot": Scene(plot_confusion_matrix, ["--run", "../trained/run", "--output", "matrix.png"]),
}


def prepare(folder: Path) -> None:
    """Make what the scenes read, and import what they need, before anything is forked."""
    torch.set_num_threads(1)
    make_quick()
    (folder / "trained").mkdir()
    os.chdir(folder / "trained")  # once here: what is imported late is there in every child
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        preprocess_fer2013.main(["--dataset", "synthetic", "--faces", "64", "--output", "../faces.h5"])
        for name in ("train", "evaluate", "plot"):
            SCENES[name].script.main(SCENES[name].argv)
    _tell_saves()


def make_quick() -> None:
    """The toy for a network, empty figures, no git, no TensorBoard, whose files are named after time and process."""
    sys.modules["torch.utils.tensorboard"] = None  # as where it is not installed
    build.BUILDERS["small"] = Toy
    for module in (summary, report, confusion):  # drawing takes ten times as long as everything else
        for name in [name for name in vars(module) if name.endswith("_figure") and name != "save_figure"]:
            setattr(module, name, lambda *_, **__: Figure((1, 1), dpi=20))
    run_folder._git = lambda *_: ""


def _tell_saves() -> None:
    """Whoever waits for a child hears of every epoch that last.pt holds."""
    save: Callable = saving.CheckpointWriter.save

    def told(self: saving.CheckpointWriter) -> None:
        epoch = self.unsaved["epoch"]
        save(self)
        tell(epoch)

    saving.CheckpointWriter.save = told
