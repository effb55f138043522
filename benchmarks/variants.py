"""Variants of a recipe at a small budget, one after another: which shape of a schedule is worth a long run.

    python -m benchmarks.variants --recipe small --faces 5000 --epochs 4 lr=0.2 early_size=32 batch_size=256,lr=0.2

The recipe itself comes first (with what --common changes in it), then every variant of it. All train on the same faces
of Training with the same seed and are tested once, at the end, on PublicTest. A line is printed as soon as it is known.
What wins at a small budget need not win at a large one: take from it what differs by more than the interval.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.measure import say
from engine.config import RunConfig
from engine.recipes import RECIPES, Recipe, make_recipe
from utils.cli import Parser, lazy_module, positive_int, run

torch = lazy_module("torch")
build = lazy_module("engine.build")
loop = lazy_module("engine.loop")
predict = lazy_module("engine.predict")
metrics = lazy_module("engine.evaluation.metrics")
train_val = lazy_module("datasets.train_val")
storage = lazy_module("datasets.storage")
seeding = lazy_module("utils.seed")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks.variants", description=__doc__)
    parser.add_argument("variants", nargs="*", metavar="NAME=VALUE[,...]", help="fields of the recipe to change")
    parser.add_argument("--recipe", default="small", choices=RECIPES, help="what is varied")
    parser.add_argument("--common", default="", metavar="NAME=VALUE[,...]", help="fields to change in all of them")
    parser.add_argument("--faces", type=positive_int, metavar="N", help="of Training, evenly spread (default: all)")
    parser.add_argument("--epochs", type=positive_int, default=4, metavar="N", help="of every schedule")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--data", type=Path, default=Path("data/fer2013.h5"), metavar="PATH", help="HDF5 file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    return parser


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Train all; returns a dict per line: variant, n, accuracy, ci95, loss, steps, seconds."""
    parser = build_parser()
    return run(parser, parser.parse_args(argv), compare)


def compare(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The recipe and its variants, in the order of the command line."""
    common = parse_fields(args.common) | {"epochs": args.epochs}
    names = ["", *args.variants]
    recipes = [make_recipe(args.recipe, common | parse_fields(name)) for name in names]
    data = train_val.limited(train_val.train_val_split(storage.read_faces(args.data)), args.faces)
    say(f"{len(recipes)} runs of {args.epochs} epochs with {len(data.train_pixels)} faces, tested on {data.val_name}")
    print(f"| {'variant':<40} | accuracy (95% interval) | loss | steps | training |\n|---|---|---|---|---|")
    rows = []
    for name, recipe in zip(names, recipes, strict=True):
        config = RunConfig(args.data, recipe=recipe, device=args.device, seed=args.seed)
        rows.append({"variant": name or f"{args.recipe}, {args.common}".rstrip(", "), **train_and_test(config, data)})
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """Of a Markdown table."""
    low, high = row["ci95"]
    figures = f"{row['accuracy']:.2%} ({low:.1%} to {high:.1%}) | {row['loss']:.3f} | {row['steps']}"
    return f"| {row['variant']:<40} | {figures} | {row['seconds']:.0f} s |"


def train_and_test(config: RunConfig, data: Any) -> dict[str, Any]:
    """One short run without a folder; seconds are those of training, with the first steps' warm-up."""
    setup = build.build_setup(config, data)
    state, recipe = setup.state, config.recipe
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        seeding.seed_torch(config.seed, epoch + 1)
        loop.train_epoch(state, setup.loss_of, setup.loader, recipe)
        state.epoch += 1
        state.history.append({"val_accuracy": 0.0})
    seconds = time.perf_counter() - start
    labels = torch.as_tensor(data.val.labels)
    logits = predict.predict(state.tested, data.val.pixels, setup.views, amp=setup.amp)
    return {
        **metrics.accuracy_interval((logits.argmax(1) == labels).numpy()),
        "loss": torch.nn.functional.cross_entropy(logits, labels).item(),
        "steps": recipe.epochs * len(setup.loader),
        "seconds": seconds,
    }


def parse_fields(text: str) -> dict[str, Any]:
    """ "lr=0.2,nesterov=false" -> {"lr": 0.2, "nesterov": False}; ValueError for anything else."""
    kinds = {f.name: type(f.default) for f in fields(Recipe)}
    values: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in kinds:
            raise ValueError(f"{part!r}: {name!r} is no field of a recipe; there are {', '.join(kinds)}")
        try:
            values[name] = {"true": True, "false": False}[value] if kinds[name] is bool else kinds[name](value)
        except (KeyError, ValueError):
            raise ValueError(f"{part!r}: {name} is of type {kinds[name].__name__}") from None
    return values


if __name__ == "__main__":
    main()
