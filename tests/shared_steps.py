"""Under torchrun: an epoch of several networks, with batch normalisation that does not look at the batch. Prints JSON.

torchrun --nproc-per-node 2 tests/shared_steps.py faces.h5 small resnet18
"""

import json
import sys
from pathlib import Path

from torch import nn

from datasets.storage import read_faces
from datasets.train_val import limited, train_val_split
from engine.build import build_setup
from engine.config import RunConfig
from engine.loop import train_epoch
from engine.recipes import make_recipe
from utils import distributed


def epoch_losses(data: Path, models: list[str], epochs: int = 2) -> dict[str, list[float]]:
    """Mean training loss of every epoch of two steps, in this process's part of the batches."""
    losses = {}
    part = limited(train_val_split(read_faces(data)), 8)
    for name in models:
        recipe = make_recipe("smoke", {"model": name, "batch_size": 4, "lr": 0.001, "epochs": epochs, "mixup": 0.5})
        config = RunConfig(data, recipe=recipe, device="cpu", amp=False)
        setup = build_setup(config, part, shared=distributed.world() > 1)
        for module in setup.state.model.modules():
            if isinstance(module, nn.BatchNorm2d):  # stays in eval mode, which normalises with what is stored
                module.eval().train = lambda mode=True: None
        losses[name] = []
        for _ in range(epochs):
            row = train_epoch(setup.state, setup.loss_of, setup.loader, recipe)
            setup.state.finish_epoch({**row, "val_accuracy": 0.0}, counts=True)
            losses[name].append(row["train_loss"])
    return losses


if __name__ == "__main__":
    with distributed.processes():
        result = epoch_losses(Path(sys.argv[1]), sys.argv[2:])
        if distributed.rank() == 0:
            print(json.dumps(result))
