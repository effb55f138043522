"""One epoch: what the network gets to see, and what is returned."""

from functools import partial

import pytest
import torch

from datasets.storage import read_faces
from datasets.train_val import train_val_split
from engine.build import build_setup, try_out
from engine.config import RunConfig
from engine.loop import batch_loss, train_epoch
from engine.recipes import make_recipe


def seen(faces_file, epoch: int, **options) -> set[int]:
    """Sides of the batches that the network gets in an epoch of a run of four."""
    recipe = make_recipe("smoke", {"epochs": 4, "batch_size": 32, **options})
    part = train_val_split(read_faces(faces_file))
    setup = build_setup(RunConfig(faces_file, recipe=recipe, device="cpu", amp=False), part)
    setup.state.epoch = epoch
    sides = set()

    def network(x: torch.Tensor) -> torch.Tensor:
        sides.add(x.shape[-1])
        return setup.state.model.linear(x.mean((2, 3)).expand(-1, 192))

    loss_of = partial(batch_loss, network, setup.loader, recipe, False)
    train_epoch(setup.state, loss_of, setup.loader, recipe)
    return sides


def test_crops_are_small_in_the_first_part_of_the_run_only(faces_file):
    assert seen(faces_file, 0) == {44}
    early = {"early_size": 28, "early_part": 0.5}
    assert [seen(faces_file, epoch, **early) for epoch in range(4)] == [{28}, {28}, {44}, {44}]


def test_an_early_size_that_the_network_cannot_take_is_refused_at_once(faces_file):
    recipe = make_recipe("smoke", {"model": "vgg11", "early_size": 24})
    part = train_val_split(read_faces(faces_file))
    with pytest.raises(ValueError, match="vgg11 cannot take crops of 24 pixels"):
        try_out(RunConfig(faces_file, recipe=recipe, device="cpu"), [part])
