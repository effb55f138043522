"""What a fit needs, built from its configuration: the faces, the network, the optimizer. Writes nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from datasets.augment import Augment
from datasets.loader import Batch, FaceLoader
from datasets.names import FOLDS, same_faces
from datasets.storage import read_faces
from datasets.train_val import TrainVal, limited, soften, train_val_of_run, without_soft
from datasets.views import make_views
from engine.compiled import BatchLoss, CapturedStep, prepare_loss
from engine.config import RunConfig
from engine.evaluation.predictions import read_predictions
from engine.loop import batch_loss
from engine.muon import Muon
from engine.predict import predict
from engine.recipes import Recipe
from engine.state import Average, TrainState
from models.build import build_model
from models.checkpoint import start_from
from utils.cli import quoted
from utils.device import choose_precision, out_of_memory, pick_device, settle_kernels
from utils.distributed import parallel, rank, world
from utils.seed import seed_torch


@dataclass
class Setup:
    """A fit that is ready to begin."""

    device: torch.device
    amp: bool
    state: TrainState
    network: Callable[[torch.Tensor], torch.Tensor]  # state.model, or that in DistributedDataParallel
    loader: FaceLoader
    compute: BatchLoss  # engine.loop.batch_loss, compiled or as it is
    loss_of: Callable[[Batch, int], tuple[torch.Tensor, torch.Tensor]]  # that, with all but (batch, side) filled in
    how: str  # for the log: precision, compiled or not and why
    views: Callable[[torch.Tensor], torch.Tensor]  # for the test after every epoch, uint8 -> float
    started_from: str  # for the log
    ancestors: list[dict[str, Any]]  # checkpoints that the weights come from, the oldest first

    @property
    def compiled(self) -> bool:
        """Whether the step is; `how` says why not."""
        return self.compute is not batch_loss


def build_data(config: RunConfig) -> list[TrainVal]:
    """Read the file: one train set and validation set, or of a k-fold run one of each per fold."""
    faces = read_faces(config.data, dataset=config.dataset)
    if config.dataset not in (None, faces.dataset):
        raise ValueError(
            f"{config.data} holds {faces.dataset}, not {config.dataset}; give --dataset {quoted(faces.dataset)},"
            " or another --data"
        )
    faces = without_soft(faces) if config.hard_labels else faces
    folds = FOLDS if config.folds == "all" else int(config.folds or 0)
    splits = train_val_of_run(faces, config.select_on, folds, config.fold, config.protocol)
    if config.soft_targets:
        soft = read_predictions(config.soft_targets)
        if splits[0].val_name not in faces.splits:
            raise ValueError(
                "--soft-targets: those networks may have seen the faces that are tested here; soft targets are for"
                " runs without folds"
            )
        splits = [
            soften(data, soft.index, soft.labels, soft.probabilities, soft.class_names, config.soft_weight)
            for data in splits
        ]
    return [limited(data, config.limit) for data in splits]


def build_setup(config: RunConfig, data: TrainVal, reuse: Setup | None = None, shared: bool = False) -> Setup:
    """Build everything a fit needs, or raise ValueError for what is wrong with the configuration.

    reuse: of a fit with the same recipe, whose compiled network is used again with fresh weights.
    shared: every process takes its part of every batch (DistributedDataParallel).
    """
    recipe = config.recipe
    if recipe.schedule == "plateau" and not data.selects:
        raise ValueError(
            f"--schedule plateau would follow the accuracy on {data.val_name}, which is a test set; choose another"
            " schedule, or say --select-on test"
        )
    settle_kernels(config.deterministic)
    device = pick_device(config.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # for what does not ask a tensor where it lies
    compiled = device.type == "cuda" if config.compile is None else config.compile
    amp, precision = choose_precision(device, config.amp)
    loader = build_loader(config, data, device, (rank(), world()) if shared else (0, 1))
    fresh, started_from, ancestors = build_network(config, data)
    check_unseen(config, data, ancestors)
    views = make_views(recipe.val_views, recipe.crop, mean=recipe.mean, std=recipe.std)
    if reuse:
        model, network, compute, how = reuse.state.model, reuse.network, reuse.compute, reuse.how
        model.load_state_dict(fresh.state_dict())
    else:
        model = fresh.to(device, memory_format=torch.channels_last)
        check_sizes(model, recipe, views, data.val.pixels[:1])
        network = parallel(model) if shared else model
        compute, how = prepare_loss(model, network, loader, recipe, amp, compiled)
        how = f"{precision}, {how}"
    average, optimizer = Average(model, recipe.ema) if recipe.ema else None, build_optimizer(model, recipe)
    # SGD's and AdamW's step is a kernel or two
    captured = recipe.optimizer == "muon" and device.type == "cuda" and not shared and compute is not batch_loss
    return Setup(
        device=device,
        amp=amp,
        state=TrainState(model, average, optimizer, CapturedStep(optimizer) if captured else None),
        network=network,
        loader=loader,
        compute=compute,
        loss_of=partial(compute, network, loader, recipe, amp),
        how=how,
        views=views,
        started_from=started_from,
        ancestors=ancestors,
    )


def build_network(config: RunConfig, data: TrainVal) -> tuple[nn.Module, str, list[dict[str, Any]]]:
    """A network with the seed's random weights or --init's; where its weights are from, for the log and in full."""
    seed_torch(config.seed)
    recipe = config.recipe
    model = build_model(recipe.model, len(data.class_names), dropout=recipe.dropout, pool=recipe.pool)
    if config.init:
        return model, *start_from(model, config.init, data.class_names)
    return model, "starts from random weights", []


def check_unseen(config: RunConfig, data: TrainVal, ancestors: Sequence[Mapping[str, Any]]) -> None:
    """ValueError where a fold would start from weights that may have seen the faces that it tests."""
    own = {"number": data.fold, "folds": data.folds, "protocol": config.protocol}
    for ancestor in ancestors:
        same_fold = ancestor["dataset"] == data.dataset and ancestor.get("fold") == own
        same_fold = same_fold and ancestor.get("val_sha256") in (None, data.val_sha256)
        if data.fold and same_faces(ancestor["dataset"], data.dataset) and not same_fold:
            raise ValueError(
                f"--init {config.init}: {ancestor['path']} was trained on {ancestor['dataset']} and may have seen faces"
                f" that fold {data.fold} tests; start from another data set's checkpoint, or leave --init out"
            )


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD, AdamW or Muon; biases and normalisation are decayed only where the recipe says so."""
    matrices = [p for p in model.parameters() if p.ndim > 1 or recipe.decay_all]
    others = [p for p in model.parameters() if not (p.ndim > 1 or recipe.decay_all)]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}]
    groups += [{"params": others, "weight_decay": 0.0}] if others else []
    device = next(model.parameters()).device
    fused, on_gpu = device.type in ("cuda", "cpu"), device.type == "cuda"
    lr = torch.tensor(recipe.lr, device=device) if on_gpu else recipe.lr  # `TrainState.set_learning_rate`
    if recipe.optimizer == "muon":
        return Muon(model.parameters(), lr, recipe.momentum, recipe.weight_decay, recipe.decay_all)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(recipe.momentum, 0.999), fused=fused, capturable=on_gpu)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, nesterov=nesterov, fused=fused)


def build_loader(
    config: RunConfig, data: TrainVal, device: torch.device, share: tuple[int, int] = (0, 1)
) -> FaceLoader:
    """The training set on the device, augmented as the recipe says."""
    recipe = config.recipe
    return FaceLoader(
        data.train_pixels,
        data.train_targets,
        len(data.class_names),
        Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)}),
        recipe.batch_size,
        seed=config.seed,
        device=device,
        mean=recipe.mean,
        std=recipe.std,
        share=share,
    )


def try_out(config: RunConfig, splits: list[TrainVal]) -> Setup:
    """Build the first fit; ValueError for what would end it, or a later one, after it has begun.

    Returns what was built, for `build_setup` to use again.
    """
    setup = build_setup(config, splits[0], shared=world() > 1 and len(splits) * config.seeds == 1)
    for data in splits[1:]:
        check_unseen(config, data, setup.ancestors)
    return setup


def check_sizes(
    model: nn.Module, recipe: Recipe, views: Callable[[torch.Tensor], torch.Tensor], face: torch.Tensor
) -> None:
    """Show the network a face, (1, 48, 48) uint8, in every size of the run; ValueError where it is too small for it."""
    side = recipe.crop
    try:
        predict(model, face, views)
        if recipe.early_size:
            side = recipe.early_size
            predict(model, face, lambda pixels: F.interpolate(views(pixels)[:, 0], (side, side))[:, None])
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--model {recipe.model} cannot take crops of {side} pixels ({reason}); give a larger"
            " --crop or --early-size"
        ) from None
