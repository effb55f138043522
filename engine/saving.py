"""What a fit writes as it goes: best.pt and last.pt."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datasets.train_val import TrainVal
from engine.config import RunConfig
from engine.state import TrainState
from models.checkpoint import FORMAT_VERSION, load_checkpoint, save_checkpoint

SAVE_SHARE = 0.05  # last.pt is written after an epoch, unless that would cost more than this part of the time


class CheckpointWriter:
    """Writes best.pt and last.pt of a fit.

    about: what both hold besides tensors (`about_checkpoint`).
    enabled: of several processes that share a fit, one writes.
    """

    def __init__(self, folder: Path, about: dict[str, Any], enabled: bool = True) -> None:
        self.last, self.best = folder / "last.pt", folder / "best.pt"
        self.about, self.enabled = about, enabled
        self.best_weights: dict[str, torch.Tensor] = {}  # those that best.pt does not hold yet
        self.saved, self.cost = time.monotonic(), 0.0  # when last.pt was written, and how long that took

    def load_last(self, state: TrainState, data: Path) -> None:
        """Take the state over from last.pt; ValueError where that was trained on other faces than those in `data`."""
        checkpoint = load_checkpoint(self.last)
        if checkpoint.get("data_sha256", self.about["data_sha256"]) != self.about["data_sha256"]:
            raise ValueError(f"{data} holds other faces than those that {self.last} was trained on")
        state.load_state_dict(checkpoint, str(self.last))
        self.about["ancestors"] = checkpoint.get("ancestors", [])

    def keep_best(self, state: TrainState) -> None:
        """Keep the weights that count so far; best.pt gets them when it is written next."""
        self.best_weights = {name: t.detach().clone() for name, t in state.tested.state_dict().items()}

    def due(self) -> bool:
        """Whether enough time has gone by since last.pt was written."""
        return self.enabled and (time.monotonic() - self.saved) * SAVE_SHARE >= self.cost

    def save(self, state: TrainState) -> None:
        """Write last.pt, and best.pt where its weights have changed."""
        if not self.enabled:
            return
        began = time.monotonic()
        if self.best_weights:
            of_best = {"model": self.best_weights, "epoch": state.best["epoch"], "best": state.best}
            save_checkpoint(self.best, self.about | of_best)
            self.best_weights = {}
        save_checkpoint(self.last, self.about | state.state_dict())
        self.saved = time.monotonic()
        self.cost = self.saved - began


def about_checkpoint(config: RunConfig, data: TrainVal, ancestors: list[dict[str, Any]]) -> dict[str, Any]:
    """All of a checkpoint that stays the same from epoch to epoch. Plain types."""
    recipe = config.recipe
    return {
        "format_version": FORMAT_VERSION,
        "model_name": recipe.model,
        "model_kwargs": {"dropout": recipe.dropout, "pool": recipe.pool},
        "inputs": {"size": 48, "crop": recipe.crop, "channels": 1, "mean": recipe.mean, "std": recipe.std},
        "class_names": list(data.class_names),
        "dataset": data.dataset,
        "recipe": config.recipe_name,
        "options": asdict(recipe),
        "seed": config.seed,
        "select_on": data.select_on,
        "val_views": recipe.val_views,
        "fold": data.fold and {"number": data.fold, "folds": data.folds, "protocol": config.protocol},
        "data_sha256": data.data_sha256,
        "ancestors": ancestors,
    }
