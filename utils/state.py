"""What a training run is between two epochs: saved whole, resumed whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from utils.checkpoint import load_weights


@dataclass
class TrainState:
    """The network, its average, the optimizer, and how far they are.

    `epoch` counts finished epochs and with `history` fixes the learning rate; random numbers are a function of
    (seed, epoch). So this is all that a resumed run needs to go on as if it had not stopped.
    """

    model: nn.Module
    ema: AveragedModel | None
    optimizer: torch.optim.Optimizer
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=lambda: {"epoch": 0, "accuracy": -1.0})

    @property
    def tested(self) -> nn.Module:
        """The network whose accuracy counts: the average, where there is one."""
        return self.ema.module if self.ema else self.model

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain types only."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema else None,
            "ema_steps": int(self.ema.n_averaged) if self.ema else 0,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "history": self.history,
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any], source: str) -> None:
        """Take everything over from `state_dict()`'s form; ValueError where the network is another one."""
        load_weights(self.model, state["model"], source)
        if self.ema:
            load_weights(self.ema.module, state["ema"], source)
            self.ema.n_averaged.fill_(state["ema_steps"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.history, self.best = state["epoch"], list(state["history"]), dict(state["best"])


class Average(AveragedModel):
    """`AveragedModel` with `averaged`'s decay; one call for all weights, and nothing that waits for a GPU."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        n = int(self.n_averaged)  # lies on the CPU
        decay = min(self.decay, (1 + n) / (10 + n)) if n else 0.0
        pairs = zip(_tensors(self.module), _tensors(model), strict=True)
        averages, values = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
        torch._foreach_lerp_(averages, values, 1 - decay)
        self.n_averaged += 1


def _tensors(model: nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and buffers whose decay rises to `decay` over the first steps.

    At step n it is min(decay, (1 + n) / (10 + n)), so that short runs are not dominated by the initial weights.
    """
    return Average(model, decay).eval().requires_grad_(False)


def make_optimizer(model: nn.Module, recipe: Any) -> torch.optim.Optimizer:
    """SGD or AdamW; biases and normalisation are decayed only where the recipe says so."""
    matrices = [p for p in model.parameters() if p.ndim > 1 or recipe.decay_all]
    others = [p for p in model.parameters() if not (p.ndim > 1 or recipe.decay_all)]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}]
    groups += [{"params": others, "weight_decay": 0.0}] if others else []
    fused = next(model.parameters()).device.type in ("cuda", "cpu")
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, 0.999), fused=fused)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)
