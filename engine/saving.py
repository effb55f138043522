"""What a fit writes as it goes: best.pt and last.pt, and the head of its log."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datasets.parts import Part
from engine.build import Setup
from engine.config import RunConfig
from engine.state import TrainState
from models.checkpoint import FORMAT_VERSION, load_checkpoint, save_checkpoint
from utils.device import describe_device
from utils.distributed import world
from utils.runlog import RunLog

SAVE_SHARE = 0.05  # last.pt is written after an epoch, unless that would cost more than this part of the time


class Saver:
    """Writes best.pt and last.pt of a fit; a silent one, of several processes that share a fit, writes nothing.

    about: what both hold besides tensors (`about_checkpoint`).
    """

    def __init__(self, folder: Path, about: dict[str, Any], silent: bool = False) -> None:
        self.last, self.best = folder / "last.pt", folder / "best.pt"
        self.about, self.silent = about, silent
        self.best_weights: dict[str, torch.Tensor] = {}  # those that best.pt does not hold yet
        self.saved, self.cost = time.monotonic(), 0.0  # when last.pt was written, and how long that took

    def resume(self, state: TrainState, data: Path) -> None:
        """Take the state over from last.pt; ValueError where that was trained on other faces than those in `data`."""
        checkpoint = load_checkpoint(self.last)
        if checkpoint.get("data_sha256", self.about["data_sha256"]) != self.about["data_sha256"]:
            raise ValueError(f"{data} holds other faces than those that {self.last} was trained on")
        state.load_state_dict(checkpoint, str(self.last))
        self.about["ancestors"] = checkpoint.get("ancestors", [])

    def keep(self, state: TrainState) -> None:
        """The weights that count so far: what best.pt gets when it is written next."""
        self.best_weights = {name: t.detach().clone() for name, t in state.tested.state_dict().items()}

    def due(self) -> bool:
        """Whether enough time has gone by since last.pt was written."""
        return not self.silent and (time.monotonic() - self.saved) * SAVE_SHARE >= self.cost

    def save(self, state: TrainState) -> None:
        """Write last.pt, and best.pt where its weights have changed."""
        if self.silent:
            return
        began = time.monotonic()
        if self.best_weights:
            of_best = {"model": self.best_weights, "epoch": state.best["epoch"], "best": state.best}
            save_checkpoint(self.best, self.about | of_best)
            self.best_weights = {}
        save_checkpoint(self.last, self.about | state.state_dict())
        self.saved = time.monotonic()
        self.cost = self.saved - began


def about_checkpoint(config: RunConfig, part: Part, ancestors: list[dict[str, Any]]) -> dict[str, Any]:
    """All of a checkpoint that stays the same from epoch to epoch. Plain types."""
    recipe = config.recipe
    return {
        "format_version": FORMAT_VERSION,
        "model_name": recipe.model,
        "model_kwargs": {"dropout": recipe.dropout, "pool": recipe.pool},
        "inputs": {"size": 48, "crop": recipe.crop, "channels": 1, "mean": recipe.mean, "std": recipe.std},
        "class_names": list(part.class_names),
        "dataset": part.dataset,
        "recipe": config.recipe_name,
        "options": asdict(recipe),
        "seed": config.seed,
        "select_on": part.select_on,
        "val_views": recipe.val_views,
        "fold": part.fold and {"number": part.fold, "folds": part.folds, "protocol": config.protocol},
        "data_sha256": part.data_sha256,
        "ancestors": ancestors,
    }


def log_head(log: RunLog, config: RunConfig, part: Part, setup: Setup, shared: bool) -> None:
    """The lines that a fit's log begins with: network, device, faces, what selects the epoch."""
    recipe = config.recipe
    parameters = sum(p.numel() for p in setup.state.model.parameters())
    how = ["bfloat16" if setup.amp else "float32"]
    how += (["compiled"] if setup.compiled else []) + ([f"{world()} processes"] if shared else [])
    log.line(
        f"{recipe.model} ({parameters / 1e6:.2f} M parameters), recipe {config.recipe_name}, seed {config.seed}, on"
        f" {describe_device(setup.device)}, {', '.join(how)}"
    )
    log.line(
        f"trains on {len(part.train_targets)} faces of {config.data}; tests on {len(part.test)} of {part.test_name}"
        f" ({recipe.val_views}); {part.how_selected}"
    )


def diverged(loss: float, epoch: int, last: Path) -> ValueError:
    """The error for a loss that is not finite."""
    return ValueError(
        f"the loss is {loss} in epoch {epoch}; {last if last.exists() else 'nothing'} keeps"
        " the last good one. Try a lower --lr, --clip-norm 1, or --no-amp"
    )


def interrupted(folder: Path, epoch: int) -> str:
    """For the log: how an interrupted run goes on."""
    run_folder = next(path for path in (folder, *folder.parents) if (path / "args.json").exists())
    begun = (folder / "last.pt").exists()
    kept = f"continue with: python train.py --resume {run_folder}" if begun else "nothing was saved yet"
    return f"interrupted in epoch {epoch}; {kept}"
