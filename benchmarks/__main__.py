"""The project's speed and memory beside the usual way of doing the same, both in one run.

    python -m benchmarks                                          all but accuracy, about seven minutes on two cores
    python -m benchmarks --only input train --models small
    python -m benchmarks --only accuracy --accuracy 0.6 --models small --both --repeats 1
    python -m benchmarks --suite gpu --output gpu-results         all that only a GPU can tell, at most 25 minutes

The table has one row per measurement: how many times better ours is, then both sides as median (lowest to highest).
What each benchmark compares stands at the top of its file in benchmarks/. Run it on a machine that does nothing else.
"""

import argparse
import os
import sys
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
suite = lazy_module("benchmarks.gpu.suite")
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
        "--workers",
        type=non_negative_int,
        metavar="N",
        help="processes of the usual DataLoader (default: 2; --suite: up to 8)",
    )
    parser.add_argument("--json", type=file_path, metavar="PATH", help="also write every value to this file")
    group = parser.add_argument_group("accuracy")
    group.add_argument("--accuracy", type=float, default=0.6, metavar="X", help="to reach on PublicTest, 0 to 1")
    group.add_argument("--both", action="store_true", help="train the usual way too, which takes long")
    group.add_argument("--recipe", choices=RECIPES, help="default: small for that network, else default")
    group.add_argument("--epochs", type=positive_int, metavar="N", help="of the schedule (default: the recipe's)")
    group.add_argument("--views", choices=("flip", "ten"), help="of the test after every epoch (default: the recipe's)")
    group = parser.add_argument_group(
        "suite (with --data, --device and --workers; drawn faces where --data is not there)"
    )
    group.add_argument("--suite", choices=("gpu",), help="run this one instead, which writes a report")
    group.add_argument("--output", type=file_path, metavar="DIR", help="gets gpu.md, gpu.json and the runs")
    group.add_argument("--minutes", type=positive_int, default=25, metavar="N", help="skip what does not fit into them")
    group.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print the table; returns what --json writes: {"rows": [...], "environment": {...}}, or gpu.json's."""
    parser = build_parser()
    args = parser.parse_args(argv)
    args.command = list(sys.argv[1:] if argv is None else argv)
    return run(parser, args, gpu_suite if args.suite else benchmark)


def gpu_suite(args: argparse.Namespace) -> dict[str, Any]:
    """--suite gpu; ValueError for flags that it would ignore."""
    heeded = ("suite", "output", "minutes", "quick", "data", "device", "workers", "command")
    for name, value in vars(args).items():
        if name not in heeded and value != build_parser().get_default(name):
            raise ValueError(f"--{name.replace('_', '-')} means nothing with --suite {args.suite}: leave it out")
    if not args.output:
        raise ValueError(f"--suite {args.suite} writes a report: give a folder for it, such as --output gpu-results")
    if args.workers is None:
        args.workers = min(8, os.cpu_count() or 1)
    return suite.run_suite(args)


def benchmark(args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmarks that were asked for, one after another."""
    if args.output or args.quick:
        raise ValueError("--output and --quick are for --suite gpu; --json PATH writes the values of this table")
    chosen = args.only or [name for name in NAMES if name != "accuracy"]
    models = [model_name(name) for name in args.models or ()]
    if not 0 < args.accuracy <= 1:
        raise ValueError(f"--accuracy {args.accuracy}: a part is wanted, above 0 and up to 1 (0.6 is 60%)")
    args.workers = 2 if args.workers is None else args.workers
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
