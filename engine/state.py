"""What a training run is between two epochs: saved whole, resumed whole."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from models.checkpoint import load_weights

# settings of an optimizer that a checkpoint of another device does not change
OF_DEVICE = ("lr", "fused", "capturable")


class Average:
    """Exponential moving average of a network's weights and buffers: `module`, a copy in eval mode.

    At step n the decay is min(decay, (1 + n) / (10 + n)), so that short runs are not dominated by the initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module = deepcopy(model).eval().requires_grad_(False)
        self.decay, self.steps = decay, 0
        pairs = zip(_tensors(self.module), _tensors(model), strict=True)
        self.averages, self.values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the network's present weights, all of them in one call."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.steps else 0.0
        torch._foreach_lerp_(self.averages, self.values, 1 - decay)
        self.steps += 1


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


@dataclass
class TrainState:
    """The network, its average, the optimizer, and how far they are.

    `epoch` counts finished epochs and with `history` fixes the learning rate; random numbers are a function of
    (seed, epoch). So this is all that a resumed run needs to go on as if it had not stopped.
    """

    model: nn.Module
    ema: Average | None
    optimizer: torch.optim.Optimizer
    captured: Any = None  # `engine.compiled.CapturedStep`, where the optimizer's step is a CUDA graph
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=lambda: {"epoch": 0, "accuracy": -1.0})

    @property
    def tested(self) -> nn.Module:
        """The network whose accuracy counts: the average, where there is one."""
        return self.ema.module if self.ema else self.model

    def step(self) -> None:
        """Change the weights by their gradients, and take them into the average."""
        (self.captured or self.optimizer.step)()
        if self.ema:
            self.ema.update()

    def set_learning_rate(self, lr: float) -> None:
        """For the next step. On a GPU the optimizer has it in a tensor, whose place a CUDA graph can remember."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr

    def finish_epoch(self, row: Mapping[str, float], counts: bool) -> None:
        """Take in the row of the epoch that has just ended; `counts`: its weights are those that count so far."""
        self.epoch += 1
        self.history.append(dict(row))
        if counts:
            self.best = {"epoch": self.epoch, "accuracy": row["val_accuracy"]}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types only; the same kinds whatever the device."""
        optimizer = self.optimizer.state_dict()
        for group in optimizer["param_groups"]:
            group["lr"] = float(group["lr"])
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "ema_steps": self.ema.steps if self.ema else 0,
            "optimizer": optimizer,
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any], source: str) -> None:
        """Take everything over from `state_dict()`'s form; ValueError where the network is another one."""
        load_weights(self.model, state["model"], source)
        if self.ema:
            load_weights(self.ema.module, state["ema"], source)
            self.ema.steps = state["ema_steps"]
        own = [{key: group[key] for key in OF_DEVICE if key in group} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.captured:
            self.captured.forget()
        for group, kept in zip(self.optimizer.param_groups, own, strict=True):
            group.update(kept)
        self.epoch, self.history, self.best = state["epoch"], list(state["history"]), dict(state["best"])
