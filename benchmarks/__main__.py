"""The project's speed and memory beside the usual way of doing the same, both in one run.

    python -m benchmarks                                          all but accuracy, about seven minutes on two cores
    python -m benchmarks --only input train --models small
    python -m benchmarks --only accuracy --accuracy 0.6 --models small --both --repeats 1

The table has one row per measurement: how many times better ours is, then both sides as median (lowest to highest).
What each benchmark compares stands at the top of its file in benchmarks/. Run it on a machine that does nothing else.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import preprocess, startup
from benchmarks.measure import Row, say, table, training_set
from engine.recipes import RECIPES
from models import MODELS, model_name
from utils.cli import Parser, file_path, lazy_module, non_negative_int, positive_int, run
from utils.files import check_writable, write_json

testing, input, training, accuracy = (
    lazy_module(f"benchmarks.{name}") for name in ("testing", "input", "training", "accuracy")
)
devices = lazy_module("utils.device")
run_folder = lazy_module("utils.run_folder")

# In this order: a child process's peak memory counts from its parent's, so those come first that measure it
NAMES = ("preprocess", "startup", "test", "input", "train", "accuracy")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--data", type=file_path, default=Path("data/fer2013.h5"), metavar="PATH", help="faces to train on"
    )
    parser.add_argument(
        "--source",
        type=file_path,
        default=Path("data/fer2013.csv"),
        metavar="CSV",
        help="what preprocess reads, unpacked",
    )
    parser.add_argument("--repeats", type=positive_int, default=3, metavar="N", help="measurements of each side")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        *("--models", "--model"),
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(MODELS)} (default: small, resnet18 and, for train, vgg19; accuracy: small)",
    )
    parser.add_argument(
        "--batch-size", type=positive_int, metavar="N", help="default: 128; test, large networks on a CPU: 16"
    )
    parser.add_argument("--steps", type=positive_int, metavar="N", help="of train, a repeat (default: 100 on a GPU)")
    parser.add_argument("--faces", type=positive_int, metavar="N", help="use the first N at most: a quick look")
    parser.add_argument(
        "--workers", type=non_negative_int, default=2, metavar="N", help="processes of the usual DataLoader"
    )
    parser.add_argument("--json", type=file_path, metavar="PATH", help="also write every value to this file")
    group = parser.add_argument_group("accuracy")
    group.add_argument("--accuracy", type=float, default=0.6, metavar="X", help="to reach on PublicTest, 0 to 1")
    group.add_argument("--both", action="store_true", help="train the usual way too, which takes long")
    group.add_argument("--recipe", choices=RECIPES, help="default: small for that network, else default")
    group.add_argument("--epochs", type=positive_int, metavar="N", help="of the schedule (default: the recipe's)")
    group.add_argument("--views", choices=("flip", "ten"), help="of the test after every epoch (default: the recipe's)")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the table; returns what --json writes: {"rows": [...], "environment": {...}}."""
    parser = build_parser()
    return run(parser, parser.parse_args(argv), benchmark)


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmarks that were asked for, one after another."""
    chosen = args.only or [name for name in NAMES if name != "accuracy"]
    models = [model_name(name) for name in args.models or ()]
    if not 0 < args.accuracy <= 1:
        raise ValueError(f"--accuracy {args.accuracy}: a part is wanted, above 0 and up to 1 (0.6 is 60%)")
    if args.json:
        check_writable(args.json.parent)
    rows: list[Row] = []
    if "preprocess" in chosen:
        if args.source.is_file():
            say(f"preprocess: {args.source}, {args.repeats} times")
            rows += preprocess.rows(args.source, args.repeats)
        else:
            say(f"preprocess: left out, {args.source} is not there (--source)")
    if "startup" in chosen:
        rows += startup.measure(args.repeats)

    device = devices.pick_device(args.device)
    if "test" in chosen:
        rows += testing.measure(
            models or ["small", "resnet18"], device, args.repeats, args.workers, args.batch_size, args.faces
        )
    if {"input", "train"} & set(chosen):
        data = training_set(args.data, args.faces)
    if "input" in chosen:
        rows += input.measure(data, device, args.repeats, args.workers, args.batch_size or 128)
    if "train" in chosen:
        rows += training.measure(
            data,
            models or ["small", "resnet18", "vgg19"],
            device,
            args.repeats,
            args.workers,
            args.batch_size,
            args.steps,
        )
    if "accuracy" in chosen:
        options = {name: getattr(args, name) for name in ("workers", "batch_size", "recipe", "epochs", "views")}
        options["device"] = str(device)
        rows += accuracy.measure(args.data, models or ["small"], args.accuracy, args.repeats, args.both, options)

    print(f"{devices.describe_device(device)}, {args.repeats} repeats: median (lowest to highest)\n")
    print(table(rows))
    result = {"environment": run_folder.environment(device), "rows": [row.as_dict() for row in rows]}
    if args.json:
        write_json(args.json, result)
    return result


if __name__ == "__main__":
    main()
