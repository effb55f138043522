"""What a fit writes as it goes: best.pt and last.pt."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from datasets.train_val import TrainVal
from engine.config import RunConfig
from engine.state import TrainState
from models.checkpoint import FORMAT_VERSION, load_checkpoint, save_checkpoint

SAVE_SHARE = 0.05  # last.pt is written after an epoch, unless that would cost more than this part of the time
# Digests in a checkpoint, and what is to be said where the present one is another
CHANGED = {
    "data_sha256": "{data} holds other faces than those that {last} was trained on",
    "train_sha256": "{last} was trained on others of the faces in {data}, or with other targets; has the file of its"
    " --soft-targets been written anew?",
    "val_sha256": "{data} holds other faces to validate on, or puts others aside for it, than when {last} was written",
}


class CheckpointWriter:
    """Writes best.pt and last.pt of a fit, and as a context those epochs that an error or a signal finds unwritten.

    about: what both hold besides tensors (`about_checkpoint`).
    enabled: of several processes that share a fit, one writes.
    """

    def __init__(self, folder: Path, about: dict[str, Any], enabled: bool = True) -> None:
        self.last, self.best = folder / "last.pt", folder / "best.pt"
        self.about, self.enabled = about, enabled
        self.best_weights: dict[str, torch.Tensor] = {}  # those that best.pt does not hold yet
        self.unsaved: dict[str, Any] = {}  # the state after the last epoch, while last.pt does not hold it
        self.saved, self.cost = time.monotonic(), 0.0  # when last.pt was written, and how long that took

    def load_last(self, state: TrainState, data: Path) -> None:
        """Take the state over from last.pt; ValueError where that was trained on other faces than those in `data`.

        Or with other targets, or validated on other faces; what an older version did not write is not compared.
        """
        checkpoint = load_checkpoint(self.last)
        for name, fault in CHANGED.items():
            if checkpoint.get(name, self.about[name]) != self.about[name]:
                raise ValueError(fault.format(data=data, last=self.last))
        state.load_state_dict(checkpoint, str(self.last))
        self.about["ancestors"] = checkpoint.get("ancestors", [])

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: Any) -> None:
        if error and self.unsaved:
            with suppress(OSError):  # the first error is the one to be told
                self.save()

    def keep(self, state: TrainState, counts: bool, at_once: bool) -> None:
        """Take in the state after an epoch: written if it is time or `at_once`, else a copy is kept until then.

        counts: its weights are those that count so far; best.pt gets them when it is written next.
        """
        if not self.enabled:
            return
        if counts:
            self.best_weights = {name: t.detach().clone() for name, t in state.tested.state_dict().items()}
        self.unsaved = state.state_dict()
        if at_once or self.due():
            self.save()
        else:
            self.unsaved = _copied(self.unsaved)

    def due(self) -> bool:
        """Whether enough time has gone by since last.pt was written."""
        return (time.monotonic() - self.saved) * SAVE_SHARE >= self.cost

    def save(self) -> None:
        """Write what is unsaved: first best.pt, where its weights have changed, so that last.pt never is ahead."""
        began = time.monotonic()
        if self.best_weights:
            best = self.unsaved["best"]
            save_checkpoint(self.best, self.about | {"model": self.best_weights, "epoch": best["epoch"], "best": best})
            self.best_weights = {}
        save_checkpoint(self.last, self.about | self.unsaved)
        self.unsaved = {}
        self.saved = time.monotonic()
        self.cost = self.saved - began


def _copied(value: Any) -> Any:
    """Nested dicts, lists and tensors that training no longer changes, where they are: a GPU copies them in no time."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


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
        "train_sha256": data.train_sha256,
        "val_sha256": data.val_sha256,
        "ancestors": ancestors,
    }
