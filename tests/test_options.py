"""Every option of a recipe changes what it says: the weights of a tiny run, or what its epochs are tested on.

And where an option belongs to another one that is off, it changes nothing.
"""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from datasets.storage import read_faces
from datasets.train_val import limited, train_val_split
from engine.build import build_data, build_setup
from engine.config import RunConfig
from engine.loop import train_epoch, validate
from engine.recipes import Recipe, make_recipe
from models import build
from utils.seed import seed_torch

EPOCHS = 3


class Tiny(nn.Module):
    """Two layers that know all that a recipe says of a network."""

    def __init__(self, num_classes: int = 7, in_channels: int = 1, dropout: float = 0.0, pool: str = "global") -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 5, stride=4)
        self.norm = nn.BatchNorm2d(4)
        self.pool, self.dropout = pool, nn.Dropout(dropout)
        self.linear = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.conv(x)))
        x = x[..., :4, :4].mean((2, 3)) if self.pool == "avg4" else x.mean((2, 3))
        return self.linear(self.dropout(x))


class Other(Tiny):
    """Another network of that size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.square())


@pytest.fixture(scope="module")
def part(faces_file):
    """48 faces to train on, and 40."""
    return limited(train_val_split(read_faces(faces_file)), 48)


@pytest.fixture
def outcome(part, monkeypatch):
    """The weights after a run, and accuracy and loss of its epochs; `accuracies`: what the schedule sees instead."""
    monkeypatch.setitem(build.BUILDERS, "small", Tiny)
    monkeypatch.setitem(build.BUILDERS, "resnet18", Other)

    def run(accuracies: tuple[float, ...] = (), data=None, seed: int = 0, **options) -> tuple[torch.Tensor, list]:
        plain = dict(model="small", epochs=EPOCHS, batch_size=16, lr=0.5, ema=0.0, rotate=0.0, scale=0.0)
        recipe = make_recipe("smoke", plain | options)
        data = data or part
        config = RunConfig(Path("x"), recipe=recipe, device="cpu", amp=False, compile=False, seed=seed)
        setup, tests = build_setup(config, data), []
        state = setup.state
        pixels, labels = torch.as_tensor(data.val.pixels), torch.as_tensor(data.val.labels)
        while state.epoch < recipe.epochs:
            seed_torch(seed, state.epoch + 1)
            row = train_epoch(state, setup.loss_of, setup.loader, recipe)
            row |= validate(state.tested, pixels, labels, setup.views, amp=False)
            tests.append((row["val_loss"], row["val_accuracy"]))
            row["val_accuracy"] = accuracies[state.epoch] if accuracies else row["val_accuracy"]
            state.finish_epoch(row, counts=True)
        weights = torch.cat([t.flatten() for t in state.model.state_dict().values() if t.is_floating_point()])
        return weights, tests

    return run


FALLING = {"accuracies": (0.3, 0.2, 0.1), "schedule": "plateau"}  # no epoch is better than the first
# field: (what has to be on with it, two values of it that must lead to different weights)
CHANGES = {
    "model": ({}, "small", "resnet18"),
    "pool": ({}, "global", "avg4"),
    "dropout": ({}, 0.0, 0.5),
    "mean": ({}, 0.5, 0.0),
    "std": ({}, 0.25, 1.0),
    "epochs": ({}, 3, 2),
    "batch_size": ({}, 16, 24),
    "optimizer": ({}, "sgd", "adamw"),
    "lr": ({}, 0.5, 0.1),
    "momentum": ({}, 0.9, 0.0),
    "nesterov": ({}, True, False),
    "weight_decay": ({}, 0.0, 0.1),
    "decay_all": ({"weight_decay": 0.1}, False, True),
    "schedule": ({}, "cosine", "constant"),
    "warmup": ({}, 0.05, 0.5),
    "step_start": ({"schedule": "step", "step_every": 1}, 0, 1),
    "step_every": ({"schedule": "step", "step_start": 0}, 1, 2),
    "gamma": (FALLING | {"patience": 0}, 0.9, 0.1),
    "patience": (FALLING, 0, 5),
    "clip_norm": ({}, 0.0, 1e-3),
    "clip_value": ({}, 0.0, 1e-3),
    "label_smoothing": ({}, 0.0, 0.2),
    "crop": ({}, 44, 40),
    "pad": ({}, 0, 4),
    "early_size": ({}, 0, 24),
    "early_part": ({"early_size": 24}, 0.5, 1.0),
    "five": ({}, False, True),
    "flip": ({}, 0.5, 0.0),
    "translate": ({}, 0.0, 0.2),
    "rotate": ({}, 0.0, 10.0),
    "scale": ({}, 0.0, 0.1),
    "shear": ({}, 0.0, 10.0),
    "stretch": ({}, 0.0, 0.3),
    "brightness": ({}, 0.0, 0.2),
    "contrast": ({}, 0.0, 0.5),
    "probability": ({"rotate": 10.0}, 1.0, 0.5),
    "erase": ({}, 0.0, 0.5),
    "erase_area": ({"erase": 1.0}, 0.1, 0.3),
    "mixup": ({}, 0.0, 1.0),
    "cutmix": ({}, 0.0, 1.0),
    "mix_probability": ({"mixup": 1.0}, 1.0, 0.5),
    "mix_off": ({"mixup": 1.0}, 0.0, 0.5),
}
# These change what is tested after an epoch and leave the weights that are trained as they are
CHANGES_TESTS = {"ema": ({}, 0.0, 0.9), "val_views": ({}, "center", "ten")}
# field: (what is off, two values of it that then must lead to the same)
CHANGES_NOTHING = {
    "warmup": ({"schedule": "constant"}, 0.05, 0.5),
    "nesterov": ({"momentum": 0.0}, True, False),
    "decay_all": ({"weight_decay": 0.0}, False, True),
    "step_start": ({}, 0, 1),
    "step_every": ({}, 1, 2),
    "gamma": ({}, 0.9, 0.1),
    "patience": ({}, 0, 5),
    "early_part": ({}, 0.5, 1.0),
    "erase_area": ({"erase": 0.0}, 0.1, 0.3),
    "mix_probability": ({}, 1.0, 0.5),
    "mix_off": ({}, 0.0, 0.5),
}


def test_every_option_is_in_the_tables():
    assert CHANGES.keys() | CHANGES_TESTS.keys() == {f.name for f in fields(Recipe)}
    assert not CHANGES.keys() & CHANGES_TESTS.keys()


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_changes_the_weights(outcome, name):
    others, one, two = CHANGES[name]
    first, second = outcome(**others, **{name: one})[0], outcome(**others, **{name: two})[0]
    assert first.isfinite().all() and second.isfinite().all()
    assert first.shape != second.shape or (first - second).abs().max() > 1e-6


@pytest.mark.parametrize("name", CHANGES_TESTS)
def test_an_option_changes_the_tests_alone(outcome, name):
    others, one, two = CHANGES_TESTS[name]
    (weights, tests), (same, other) = outcome(**others, **{name: one}), outcome(**others, **{name: two})
    assert torch.equal(weights, same) and tests != other


@pytest.mark.parametrize("name", CHANGES_NOTHING)
def test_an_option_of_what_is_off_changes_nothing(outcome, name):
    others, one, two = CHANGES_NOTHING[name]
    assert torch.equal(outcome(**others, **{name: one})[0], outcome(**others, **{name: two})[0])


def test_seed_and_limit_change_the_weights(outcome, part):
    first = outcome()[0]
    assert torch.equal(first, outcome()[0])
    assert not torch.equal(first, outcome(seed=1)[0])
    assert not torch.equal(first, outcome(data=limited(part, 32))[0])


def test_protocol_flags_change_what_is_trained_and_tested(faces_file):
    """select_on, folds, fold and soft targets' weight: the sets that a fit gets."""
    usual = RunConfig(faces_file)

    def sets(**flags) -> list[tuple]:
        return [
            (len(data.train_targets), data.val_name, len(data.val), data.select_on)
            for data in build_data(replace(usual, **flags))
        ]

    assert sets() == [(320, "PublicTest", 40, "PublicTest")]
    assert sets(select_on="PrivateTest") == [(320, "PrivateTest", 40, "PrivateTest")]
    assert sets(limit=9) == [(9, "PublicTest", 40, "PublicTest")]
    assert [s[1] for s in sets(folds="4")] == [f"fold {i}" for i in range(1, 5)]
    assert [s[1:2] + s[3:] for s in sets(folds="4", fold=3)] == [("fold 3", "last epoch")]
    assert sets(folds="4", fold=3, select_on="test")[0][3] == "fold 3"
