"""A run's folder: what was asked for, on what, and what came out, epoch by epoch."""

import csv
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
import torchvision
from tqdm import tqdm

from utils.device import describe_device
from utils.files import replacing

COLUMNS = ("epoch", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds")


def create_run_folder(output: Path, name: str | None, automatic: str) -> Path:
    """Make and return `output/name`; ValueError if it has a run already.

    Without a name it is `automatic`, with -2, -3, ... behind it where that is taken.
    """
    if name is not None and (not name.strip() or Path(name).name != name):
        raise ValueError(f"--name {name!r}: a plain folder name is wanted")
    folder = output / (name or automatic)
    number = 1
    while folder.exists() and any(folder.iterdir()):
        if name is not None:
            raise ValueError(f"{folder} exists already; continue it with --resume {folder}, or choose another --name")
        number += 1
        folder = output / f"{automatic}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class RunLog:
    """Prints, and keeps what was printed in log.txt; writes metrics.csv, and TensorBoard events where installed.

    A silent one does nothing: of several processes, one speaks.
    """

    def __init__(self, folder: Path, tensorboard: bool = False, silent: bool = False) -> None:
        self.folder, self.silent = folder, silent
        self.writer, self.sent = None, 0  # TensorBoard's, and the epochs it has been told
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                pass
            else:
                self.writer = SummaryWriter(str(folder / "tensorboard"))

    def line(self, text: str = "") -> None:
        """One line, to the terminal (above a progress bar, if one is drawn) and to log.txt."""
        if self.silent:
            return
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
        with open(self.folder / "log.txt", "a", encoding="utf-8") as file:
            file.write(text + "\n")

    def metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write metrics.csv anew from all epochs so far, and send TensorBoard those that it has not got yet."""
        if self.silent:
            return
        write_text(self.folder / "metrics.csv", _csv(history))
        if self.writer:
            for row in history[self.sent :]:
                for name in COLUMNS[1:]:
                    self.writer.add_scalar(name, row[name], row["epoch"])
        self.continues(history)

    def continues(self, history: Sequence[Mapping[str, float]]) -> None:
        """TensorBoard has these epochs already."""
        self.sent = len(history)

    def close(self) -> None:
        """End TensorBoard's file."""
        if self.writer:
            self.writer.close()


def _csv(history: Sequence[Mapping[str, float]]) -> str:
    rows = [",".join(COLUMNS)]
    rows += [",".join(str(row["epoch"]) if c == "epoch" else f"{row[c]:.6g}" for c in COLUMNS) for row in history]
    return "\n".join(rows) + "\n"


def read_metrics(path: Path) -> dict[str, list[float]]:
    """metrics.csv as columns."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in COLUMNS}


def epoch_line(row: Mapping[str, float], epochs: int, split: str, best: Mapping[str, float] | None, rate: float) -> str:
    """The fixed-width line of one epoch; `best`: the one selected so far, if any; `rate` of training in faces/s."""
    chosen = f"  best {best['accuracy']:6.2%} ({best['epoch']:3d})" if best else ""
    return (
        f"epoch {row['epoch']:3d}/{epochs}  lr {row['lr']:.5f}"
        f"  train {row['train_loss']:.4f} {row['train_accuracy']:6.2%}"
        f"  {split} {row['val_loss']:.4f} {row['val_accuracy']:6.2%}"
        f"{chosen}  {row['seconds']:6.1f} s  {rate:6.0f} faces/s"
    )


def environment(device: torch.device) -> dict[str, Any]:
    """What a run depends on besides its arguments: commit, versions, machine."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the project's folder; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_json(path: Path, value: Any) -> None:
    """JSON, indented, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
