"""What a fit says: log.txt and the terminal, metrics.csv, TensorBoard; its first line and its last words."""

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from datasets.train_val import TrainVal
from engine.build import Setup
from engine.config import RunConfig
from engine.recipes import Recipe
from utils.cli import QUIET
from utils.device import describe_device
from utils.distributed import world
from utils.files import write_text


class RunLog:
    """Prints, and keeps what was printed in log.txt; writes metrics.csv, and TensorBoard events where installed.

    A silent one does nothing: of several processes that share a fit, one speaks. A resumed one tells TensorBoard
    everything again, which then forgets what it was told before: a killed run may have told too much or too little.
    """

    def __init__(self, folder: Path, tensorboard: bool = False, silent: bool = False, resumed: bool = False) -> None:
        self.folder, self.silent = folder, silent
        self.writer, self.sent = None, 0  # TensorBoard's, and the epochs it has been told
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "log.txt"
        if kept.exists() and kept.read_bytes()[-1:] not in (b"", b"\n"):  # a full disk has cut its last line
            with open(kept, "a") as file:
                file.write("\n")
        if tensorboard:
            with suppress(ImportError, UnicodeEncodeError):  # not installed; or it cannot write a name that is no text
                from torch.utils.tensorboard import SummaryWriter

                self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0 if resumed else None)

    def line(self, text: str = "", result: bool = False) -> None:
        """One line, to the terminal (above a progress bar, if one is drawn) and to log.txt.

        A result goes to stdout; what is none goes to stderr, or with --quiet to log.txt alone.
        """
        if self.silent:
            return
        stream = sys.stdout if result else sys.stderr
        if stream is not None and (result or not QUIET.get()):
            tqdm.write(text, file=stream)
            stream.flush()
        with open(self.folder / "log.txt", "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")

    def metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write metrics.csv anew from all epochs so far, and send TensorBoard those that it has not got yet."""
        if self.silent:
            return
        write_text(self.folder / "metrics.csv", _csv(history))
        if self.writer:
            for row in history[self.sent :]:
                for name in row.keys() - {"epoch"}:
                    self.writer.add_scalar(name, row[name], row["epoch"])
            self.writer.flush()
        self.sent = len(history)

    def close(self) -> None:
        """End TensorBoard's file."""
        if self.writer:
            self.writer.close()


def _csv(history: Sequence[Mapping[str, float]]) -> str:
    columns = list(history[0])
    rows = [",".join(columns)]
    rows += [",".join(str(row["epoch"]) if c == "epoch" else f"{row[c]:.6g}" for c in columns) for row in history]
    return "\n".join(rows) + "\n"


def epoch_line(row: Mapping[str, float], epochs: int, split: str, best: Mapping[str, float] | None, rate: float) -> str:
    """The fixed-width line of one epoch; `best`: the one selected so far, if any; `rate` of training in faces/s."""
    chosen = f"  best {best['accuracy']:6.2%} ({best['epoch']:3d})" if best else ""
    return (
        f"epoch {row['epoch']:3d}/{epochs}  lr {row['lr']:.5f}"
        f"  train {row['train_loss']:.4f} {row['train_accuracy']:6.2%}"
        f"  {split} {row['val_loss']:.4f} {row['val_accuracy']:6.2%}"
        f"{chosen}  {row['seconds']:6.1f} s  {rate:6.0f} faces/s"
    )


def log_head(log: RunLog, config: RunConfig, data: TrainVal, setup: Setup, shared: bool) -> None:
    """Write what a fit begins with: network, device, train set and validation set, what selects the epoch."""
    recipe = config.recipe
    parameters = sum(p.numel() for p in setup.state.model.parameters())
    log.line(
        f"{recipe.model} ({parameters / 1e6:.2f} M parameters), recipe {config.recipe_name}, seed {config.seed}, on"
        f" {describe_device(setup.device)}, {setup.how}{', deterministic' if config.deterministic else ''}"
    )
    if shared:
        batch = setup.loader.batch_size
        log.line(
            f"{world()} processes: each takes {batch // world()} of a batch's {batch} faces; --batch-size and --lr"
            f" {recipe.lr:g} are of the whole batch, nothing is scaled by their number"
        )
    log.line(
        f"train set: {len(data.train_targets)} faces of {config.data}"
        f"{' with soft targets' if data.train_targets.ndim > 1 else ''}; validation set: {len(data.val)} of"
        f" {data.val_name} ({recipe.val_views}), {data.how_selected}"
    )
    if config.soft_targets:
        log.line(f"targets: {config.soft_weight:g} x {config.soft_targets}, {1 - config.soft_weight:g} x the label")


def diverged(row: Mapping[str, float], recipe: Recipe, saved: Path | None) -> ValueError:
    """The error for an epoch whose numbers are not finite. saved: checkpoint of an earlier one, if there is one."""
    name = next(name for name in row if not math.isfinite(row[name]))
    start = f", or from --init {saved}, which is from before" if saved else ""
    lower = min(recipe.lr / 10, 0.01)
    return ValueError(
        f"{name} is {row[name]} in epoch {row['epoch']}. Train anew with a lower --lr, such as {lower:g}, with"
        f" --clip-norm 1 or with --no-amp; from the start{start}"
    )
