"""What a fit needs, built from its configuration: the faces, the network, the optimizer. Writes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from datasets.augment import Augment
from datasets.folds import FOLDS
from datasets.loader import FaceLoader
from datasets.parts import Part, limited, run_parts, soften
from datasets.storage import read_faces
from datasets.views import make_views
from engine.config import RunConfig
from engine.evaluation.predictions import read_predictions
from engine.predict import predict
from engine.state import Average, TrainState, make_optimizer
from models.build import build_model
from models.checkpoint import start_from
from utils.device import bfloat16_pays, pick_device
from utils.distributed import parallel, rank, world
from utils.seed import seed_torch


@dataclass
class Setup:
    """A fit that is ready to begin."""

    device: torch.device
    amp: bool
    compiled: bool
    state: TrainState
    network: Callable[[torch.Tensor], torch.Tensor]  # the state's model, compiled and spread as wanted
    loader: FaceLoader
    views: Callable[[torch.Tensor], torch.Tensor]  # for the test after every epoch, uint8 -> float
    started_from: str  # for the log
    ancestors: list[dict[str, Any]]  # checkpoints that the weights come from, the oldest first


def build_parts(config: RunConfig) -> list[Part]:
    """Read the file; one part for an ordinary run, one a fold for a k-fold run."""
    data = read_faces(config.data)
    if config.dataset not in (None, data.dataset):
        raise ValueError(
            f"{config.data} holds {data.dataset}, not {config.dataset}; leave --dataset out, or give another --data"
        )
    folds = FOLDS if config.folds == "all" else int(config.folds or 0)
    parts = run_parts(data, config.select_on, folds, config.fold, config.protocol)
    if config.soft_targets:
        soft = read_predictions(config.soft_targets)
        if "fold" not in soft.extra:
            raise ValueError(
                f"--soft-targets {config.soft_targets}: it has no column fold, so it is not of a k-fold run, whose"
                " networks have not seen the faces that they predict"
            )
        if parts[0].test_name not in data.splits:
            raise ValueError("--soft-targets: their networks were trained on the faces that are tested here")
        parts = [
            soften(part, soft.index, soft.labels, soft.probabilities, soft.class_names, config.soft_weight)
            for part in parts
        ]
    return [limited(part, config.limit) for part in parts]


def build_setup(config: RunConfig, part: Part, before: Setup | None = None, shared: bool = False) -> Setup:
    """Build everything a fit needs, or raise ValueError for what is wrong with the configuration.

    before: of a fit with the same recipe, whose compiled network is used again with fresh weights.
    shared: every process takes its part of every batch (DistributedDataParallel).
    """
    recipe = config.recipe
    if recipe.schedule == "plateau" and not part.selects:
        raise ValueError(
            f"--schedule plateau follows the accuracy on {part.test_name}, which is to decide nothing here;"
            " choose another schedule, or --select-on test"
        )
    device = pick_device(config.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # for what does not ask a tensor where it lies
    torch.backends.cudnn.benchmark = True  # on a GPU: all batches have one shape, so the fastest kernel is looked for
    compiled = device.type == "cuda" if config.compile is None else config.compile
    fresh, started_from, ancestors = build_network(config, part)
    if before:
        model, network = before.state.model, before.network
        model.load_state_dict(fresh.state_dict())
    else:
        model = fresh.to(device, memory_format=torch.channels_last)
        network = parallel(model) if shared else model
        network = torch.compile(network) if compiled else network
    return Setup(
        device=device,
        amp=bfloat16_pays(device) if config.amp is None else config.amp,
        compiled=compiled,
        state=TrainState(model, Average(model, recipe.ema) if recipe.ema else None, make_optimizer(model, recipe)),
        network=network,
        loader=build_loader(config, part, device, (rank(), world()) if shared else (0, 1)),
        views=make_views(recipe.val_views, recipe.crop, mean=recipe.mean, std=recipe.std),
        started_from=started_from,
        ancestors=ancestors,
    )


def build_network(config: RunConfig, part: Part) -> tuple[nn.Module, str, list[dict[str, Any]]]:
    """A network with the seed's random weights or --init's; where its weights are from, for the log and in full."""
    seed_torch(config.seed)
    recipe = config.recipe
    model = build_model(recipe.model, len(part.class_names), dropout=recipe.dropout, pool=recipe.pool)
    if config.init:
        return model, *start_from(model, config.init, part.class_names)
    return model, "starts from random weights", []


def build_loader(config: RunConfig, part: Part, device: torch.device, share: tuple[int, int] = (0, 1)) -> FaceLoader:
    """The training set on the device, augmented as the recipe says."""
    recipe = config.recipe
    return FaceLoader(
        part.train_pixels,
        part.train_targets,
        len(part.class_names),
        Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)}),
        recipe.batch_size,
        seed=config.seed,
        device=device,
        mean=recipe.mean,
        std=recipe.std,
        share=share,
    )


def try_out(config: RunConfig, parts: list[Part]) -> None:
    """Build the first fit and show its network a face; ValueError for what would end it after it has begun."""
    setup = build_setup(config, parts[0], shared=world() > 1 and len(parts) * config.seeds == 1)
    recipe, face = config.recipe, parts[0].test.pixels[:1]
    side = recipe.crop
    try:
        predict(setup.state.model, face, setup.views)
        if recipe.early_size:
            side = recipe.early_size
            predict(
                setup.state.model, face, lambda pixels: F.interpolate(setup.views(pixels)[:, 0], (side, side))[:, None]
            )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--model {recipe.model} cannot take crops of {side} pixels: {reason}") from None
