"""One epoch: training, and validation after it. For another loss, another step or another metric, this is the file.

What the two functions return are columns of metrics.csv.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from datasets.loader import Batch, FaceLoader
from engine.predict import predict_on_device
from engine.recipes import Recipe
from engine.schedule import factor
from engine.state import TrainState
from utils.cli import progress
from utils.distributed import mean_over_processes


def batch_loss(
    network: Callable[[torch.Tensor], torch.Tensor],
    loader: FaceLoader,
    recipe: Recipe,
    amp: bool,
    batch: Batch,
    side: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss of a batch, which is minimised, and its accuracy: two tensors without dimensions.

    All of it, from the stored pixels on, and its gradient become one graph where the run is compiled. So it must not
    ask a tensor for its value (`.item()`, `if tensor:`), and nothing in it may change its shape from batch to batch.

    network: TrainState.model, or that in DistributedDataParallel. side: pixels to resize crops to; 0 leaves them.
    """
    x, targets = loader.augmented(batch)  # x (n, 1, crop, crop), targets (n, classes)
    if side:  # progressive resizing: the cost falls with the square of the side
        x = F.interpolate(x, (side, side), mode="bilinear", antialias=True)
    with torch.autocast(loader.device.type, torch.bfloat16, enabled=amp):
        logits = network(x.contiguous(memory_format=torch.channels_last))
    # targets are soft, as mixup and soft targets make them; another loss sees to label_smoothing itself
    loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
    return loss, (logits.argmax(1) == targets.argmax(1)).float().mean()


def train_epoch(
    state: TrainState,
    loss_of: Callable[[Batch, int], tuple[torch.Tensor, torch.Tensor]],
    loader: FaceLoader,
    recipe: Recipe,
) -> dict[str, float]:
    """One pass over the train set; returns what metrics.csv says of it: last learning rate, mean loss, accuracy.

    loss_of: `batch_loss` of (batch, side) with the rest filled in, compiled or as it is (`engine.build.Setup`).
    The accuracy is of the augmented faces.
    """
    parameters = [p for p in state.model.parameters() if p.requires_grad]
    accuracies = [row["val_accuracy"] for row in state.history]
    side = recipe.early_size if state.epoch < recipe.early_part * recipe.epochs else 0
    mixing = state.epoch < (1 - recipe.mix_off) * recipe.epochs
    totals = torch.zeros(2, device=loader.device)  # sums over batches: loss, correct; read once, at the end
    lr = recipe.lr
    state.model.train()
    batches = progress(loader.batches(state.epoch + 1, mixing), total=len(loader), unit="batch")
    for step, batch in enumerate(batches):
        lr = recipe.lr * factor(recipe, state.epoch + step / len(loader), accuracies, 1 / len(loader))
        state.set_learning_rate(lr)
        state.optimizer.zero_grad(set_to_none=True)  # before the forward pass: a CUDA graph writes over the old ones
        loss, correct = loss_of(batch, side)
        loss.backward()
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        if recipe.clip_value:
            nn.utils.clip_grad_value_(parameters, recipe.clip_value)
        state.step()
        totals += torch.stack([loss.detach(), correct])
    if loader.share[1] > 1:
        mean_over_processes(totals)
    train_loss, train_accuracy = (totals / len(loader)).tolist()
    return {"lr": lr, "train_loss": train_loss, "train_accuracy": train_accuracy}


def validate(
    model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor, views: Callable, amp: bool
) -> dict[str, float]:
    """Loss and accuracy on uint8 faces (N, 48, 48) with labels int64 (N,), both on the device, for metrics.csv."""
    logits = predict_on_device(model, pixels, views, amp=amp)
    accuracy = (logits.argmax(1) == labels).float().mean()
    val_loss, val_accuracy = torch.stack([F.cross_entropy(logits, labels), accuracy]).tolist()  # the one read
    return {"val_loss": val_loss, "val_accuracy": val_accuracy}
