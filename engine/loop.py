"""One epoch: training, and validation after it. For another loss, another step or another metric, this is the file.

What the two functions return are columns of metrics.csv.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from datasets.loader import FaceLoader
from engine.predict import predict
from engine.recipes import Recipe
from engine.schedule import factor
from engine.state import TrainState
from utils.cli import progress
from utils.distributed import mean_over_processes


def train_epoch(
    state: TrainState,
    network: Callable[[torch.Tensor], torch.Tensor],
    loader: FaceLoader,
    recipe: Recipe,
    amp: bool,
) -> dict[str, float]:
    """One pass over the train set; returns what metrics.csv says of it: last learning rate, mean loss, accuracy.

    network: state.model as it is trained: compiled, in DistributedDataParallel, or as it is. amp: bfloat16.
    The accuracy is of the augmented faces.
    """
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    accuracies = [row["val_accuracy"] for row in state.history]
    early = recipe.early_size if state.epoch < recipe.early_part * recipe.epochs else 0
    mixing = state.epoch < (1 - recipe.mix_off) * recipe.epochs
    totals = torch.zeros(2, device=loader.device)  # sums over batches: loss, correct; read once, at the end
    lr = recipe.lr
    state.model.train()
    batches = progress(loader.epoch(state.epoch + 1, mixing), total=len(loader), unit="batch")
    for step, (x, targets) in enumerate(batches):  # x (n, 1, crop, crop), targets (n, classes)
        lr = recipe.lr * factor(recipe, state.epoch + step / len(loader), accuracies, 1 / len(loader))
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        if early:  # progressive resizing: the cost falls with the square of the side
            x = F.interpolate(x, (early, early), mode="bilinear", antialias=True)
        with torch.autocast(loader.device.type, torch.bfloat16, enabled=amp):
            logits = network(x.contiguous(memory_format=torch.channels_last))
        # targets are soft, as mixup and soft targets make them; another loss sees to label_smoothing itself
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        if recipe.clip_value:
            nn.utils.clip_grad_value_(parameters, recipe.clip_value)
        state.optimizer.step()
        if state.ema:
            state.ema.update()
        correct = (logits.argmax(1) == targets.argmax(1)).float().mean()
        totals += torch.stack([loss.detach(), correct])
    if loader.share[1] > 1:
        mean_over_processes(totals)
    train_loss, train_accuracy = (totals / len(loader)).tolist()
    return {"lr": lr, "train_loss": train_loss, "train_accuracy": train_accuracy}


def validate(
    model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, views: Callable, amp: bool
) -> dict[str, float]:
    """Loss and accuracy on uint8 faces (N, 48, 48) for metrics.csv; labels int64 (N,) on the CPU."""
    logits = predict(model, pixels, views, amp=amp)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"val_loss": F.cross_entropy(logits, labels).item(), "val_accuracy": accuracy.item()}
