"""Recipes, their flags, and the learning rates they lead to."""

import argparse
from dataclasses import fields

import pytest

import train
from engine.config import add_recipe_flags
from engine.recipes import RECIPES, Recipe, make_recipe
from engine.schedule import cosine, factor, plateau, step
from models import model_name
from models.build import build_model


def test_there_are_recipes():
    assert {"default", "small", "smoke"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_parses_and_builds(name):
    recipe = make_recipe(name)
    assert RECIPES[name]["about"], "a recipe says what it is for"
    assert train.build_parser().parse_args(["--recipe", name]).recipe == name
    build_model(model_name(recipe.model), dropout=recipe.dropout, pool=recipe.pool)
    rates = [factor(recipe, recipe.epochs * part / 100, []) for part in range(101)]
    assert all(0 <= rate <= 1 for rate in rates) and max(rates) > 0.9


def test_flags_override_the_recipe_and_nothing_else():
    parser = argparse.ArgumentParser()
    add_recipe_flags(parser)
    assert vars(parser.parse_args([])) == {}
    given = vars(parser.parse_args("--bs 32 --arch vgg11 --no-nesterov --lr 0.02 --weight-decay 0".split()))
    recipe = make_recipe("small", given)
    assert (recipe.batch_size, recipe.model, recipe.nesterov, recipe.lr, recipe.weight_decay) == (
        32,
        "vgg11",
        False,
        0.02,
        0,
    )
    assert recipe.epochs == make_recipe("small").epochs
    assert (
        parser.parse_args(["--batch_size", "7"]).batch_size == parser.parse_args(["--batch-size", "7"]).batch_size == 7
    )


def test_every_field_has_a_flag_with_help():
    parser = argparse.ArgumentParser()
    add_recipe_flags(parser)
    actions = {action.dest: action for action in parser._actions}
    for f in fields(Recipe):
        assert actions[f.name].help and f.metadata["group"]


@pytest.mark.parametrize(
    "overrides,message",
    [
        ({"learning_rate": 1}, "unknown keys learning_rate"),
        ({"lr": -1.0}, "--lr -1.0"),
        ({"lr": float("nan")}, "--lr nan"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch_size": 1}, "two faces"),
        ({"dropout": 1.5}, "--dropout 1.5"),
        ({"ema": 1.0}, "--ema"),
        ({"schedule": "linear"}, "cosine"),
    ],
)
def test_impossible_values_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        make_recipe("default", overrides)


def test_an_unknown_recipe_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="smoke"):
        make_recipe("best")


def test_cosine_rises_then_falls_to_the_floor():
    assert cosine(0.0, 0.1) == 0 and cosine(0.05, 0.1) == pytest.approx(0.5) and cosine(0.1, 0.1) == 1
    assert [cosine(n / 8, 0.5, step=1 / 8) for n in range(4)] == [0.25, 0.5, 0.75, 1], "no step of rate 0"
    assert cosine(0.0, 0.1, step=1.0) == 1, "one step is the whole run"
    assert cosine(0.55, 0.1) == pytest.approx(0.5) and cosine(1.0, 0.1) == pytest.approx(0)
    assert cosine(1.0, floor=0.2) == pytest.approx(0.2) and cosine(0.0) == 1


def test_step_decays_after_every_full_period_behind_the_start():
    assert [step(done, 80, 5, 0.9) for done in (0, 79, 80, 84)] == [1, 1, 1, 1]
    assert step(85, 80, 5, 0.9) == step(89, 80, 5, 0.9) == pytest.approx(0.9)
    assert step(90, 80, 5, 0.9) == pytest.approx(0.81)
    assert step(20, 20, 1, 0.8) == 1 and step(22, 20, 1, 0.8) == pytest.approx(0.64)


def test_plateau_decays_when_patience_is_exceeded():
    assert plateau([], 2, 0.5) == 1
    assert plateau([0.5, 0.4, 0.4], 2, 0.5) == 1
    assert plateau([0.5, 0.4, 0.4, 0.4], 2, 0.5) == 0.5
    assert plateau([0.5, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 2, 0.5) == 0.25
