"""The scripts' commands that faults are tried on, with a network and a data set that take a second."""

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

import evaluate
import plot_confusion_matrix
import preprocess_fer2013
import train
from engine import saving
from engine.figures import style
from models import build
from tests.faults.children import tell

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


class Toy(nn.Module):
    """A network that learns a little in a millisecond, with everything that has to be restored."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float, pool: str) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(in_channels, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(4 * 16, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 4)
        return self.linear(self.dropout(x.flatten(1)))


def prepare(folder: Path) -> None:
    """Make what the scenes read, and import what they need, before anything is forked."""
    torch.set_num_threads(1)
    build.BUILDERS["small"] = Toy
    style.save_figure.__defaults__ = (20,)  # dpi
    _tell_saves()
    preprocess_fer2013.main(["--dataset", "synthetic", "--faces", "64", "--output", str(folder / "faces.h5")])
    (folder / "trained").mkdir()
    os.chdir(folder / "trained")  # once here: what is imported late is there in every child
    for name in ("train", "evaluate", "plot"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            SCENES[name].script.main(SCENES[name].argv)


def _tell_saves() -> None:
    """Whoever waits for a child hears of every epoch that last.pt holds."""
    save: Callable = saving.CheckpointWriter.save

    def told(self: saving.CheckpointWriter) -> None:
        epoch = self.unsaved["epoch"]
        save(self)
        tell(epoch)

    saving.CheckpointWriter.save = told
