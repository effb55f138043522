"""Train a facial-expression classifier.

    python train.py                                     the default recipe on data/fer2013.h5
    python train.py --recipe small --name my-run        a small network, on a CPU
    python train.py --resume runs/my-run                go on where it stopped
    python train.py --dataset ckplus --recipe ckplus    ten folds of CK+ by subject
    torchrun --nproc-per-node 4 train.py --batch-size 512                       four GPUs share every batch
    torchrun --nproc-per-node 4 train.py --dataset ckplus --recipe ckplus      folds side by side

FER2013: Training is the train set and PublicTest selects the epoch; PrivateTest is left to evaluate.py. CK+: the
last epoch of every fold counts. A run's folder (runs/<name>) gets args.json, env.json, log.txt, metrics.csv, last.pt
and best.pt, and in the end curves.png and the ten-crop result: summary.json, predictions.csv, confusion_matrix.png.
Folds and seeds are folders in it.
"""

import argparse
import math
import textwrap
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.names import DATASETS
from engine.config import RunConfig, add_recipe_flags, config_from_flags, resumed_config
from engine.recipes import RECIPES
from utils import stop
from utils.cli import Parser, expand_one, file_path, lazy_module, non_negative_int, plain_name, positive_int, run

build = lazy_module("engine.build")  # data, network, optimizer
loop = lazy_module("engine.loop")  # one epoch
log = lazy_module("engine.log")  # log.txt, metrics.csv
saving = lazy_module("engine.saving")  # best.pt, last.pt
runs = lazy_module("engine.runs")  # the run's folder, its fits
summary = lazy_module("engine.summary")  # the ten-crop result, of folds and seeds together
run_folder = lazy_module("utils.run_folder")
distributed = lazy_module("utils.distributed")
seeding = lazy_module("utils.seed")
files = lazy_module("utils.files")
torch = lazy_module("torch")

if TYPE_CHECKING:
    from datasets.train_val import TrainVal
    from engine.build import Setup
    from engine.runs import Job


def build_parser() -> argparse.ArgumentParser:
    about = {name: recipe.get("about", "") for name, recipe in RECIPES.items()}
    recipes = "\n".join(textwrap.fill(f"{name}: {about[name]}", 100, subsequent_indent="  ") for name in about)
    parser = Parser(prog="train.py", description=__doc__, epilog=f"recipes:\n{recipes}")
    parser.add_argument("--recipe", default="default", choices=RECIPES, help="named set of options (engine/recipes.py)")
    names = f"{', '.join(DATASETS)}, or the name of your own"
    parser.add_argument(
        "--dataset", type=plain_name, metavar="NAME", help=f"{names} (default: what --data holds, or fer2013)"
    )
    parser.add_argument("--data", type=file_path, metavar="PATH", help="HDF5 file (default: data/<dataset>.h5)")
    parser.add_argument(
        "--output", type=file_path, default=Path("runs"), metavar="DIR", help="where run folders are made"
    )
    parser.add_argument("--name", help="name of the run folder (default: made of data set, model, recipe and seed)")
    parser.add_argument(
        "--resume",
        type=file_path,
        metavar="DIR",
        help="run folder to continue, with its own options; --data, --device, --compile and --epochs may be changed",
    )
    parser.add_argument("--init", type=file_path, metavar="CKPT", help="checkpoint whose weights training starts from")
    parser.add_argument(
        "--seed", type=non_negative_int, default=0, help="seed for initial weights, data order and augmentation"
    )
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="train N times: seed, seed + 1, ...")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="train on N faces only, evenly spread")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--amp", action=argparse.BooleanOptionalAction, help="bfloat16 (default: where hardware has it)"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (default: on a GPU)")
    parser.add_argument(
        "--deterministic", action="store_true", help="deterministic kernels, for the same bits on the same GPU; slower"
    )
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--select-on",
        metavar="SPLIT",
        help="split whose accuracy selects the epoch (default: PublicTest, or without one a tenth of Training)."
        " With folds only 'test': the tested fold selects it, as in older repositories (default: the last epoch)",
    )
    group.add_argument("--folds", metavar="K", help="k-fold run: a number, or all for ten (default: all for CK+)")
    group.add_argument("--fold", type=positive_int, metavar="I", help="this fold only, from 1")
    group.add_argument(
        "--protocol", default="subject", choices=("subject", "frame"), help="CK+ folds: by person, or the older ones"
    )
    group.add_argument("--soft-targets", type=file_path, metavar="CSV", help="predictions.csv for the train set")
    group.add_argument(
        "--soft-weight", type=float, default=0.5, metavar="W", help="weight of the predictions in the target, 0 to 1"
    )
    group.add_argument(
        "--hard-labels", action="store_true", help="labels alone, where the file has soft targets too (FER+: the votes)"
    )
    add_recipe_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Parse, train, return the summary."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if not args.resume:
        return run(parser, args, start)
    unsaid = argparse.Namespace(**dict.fromkeys(vars(args)))  # argparse sets no default where there is a value
    said = {name for name, value in vars(parser.parse_args(argv, unsaid)).items() if value is not None}
    return run(parser, args, lambda args: resume(args, said - {"resume"}))


def start(args: argparse.Namespace) -> dict[str, Any]:
    """A new run."""
    args.init = args.init and expand_one(args.init)
    args.soft_targets = args.soft_targets and expand_one(args.soft_targets)
    config = config_from_flags(args)
    files.check_writable(config.output)
    splits = build.build_data(config)
    config = replace(config, dataset=splits[0].dataset)
    with distributed.processes():
        with runs.enough_memory(config):
            setup = build.try_out(config, splits)  # finds what is wrong before a folder is made
        folder = runs.new_folder(config)
        with runs.in_use(folder, config), runs.enough_memory(config, folder):
            return train(folder, config, splits, setup)


def resume(args: argparse.Namespace, said: set[str]) -> dict[str, Any]:
    """Continue the run in a folder with the options it was started with."""
    args.resume = expand_one(args.resume)
    config, kept = resumed_config(args, said)
    splits = build.build_data(config)
    with distributed.processes(), runs.in_use(args.resume, kept), runs.enough_memory(config, args.resume):
        return train(args.resume, config, splits)


def train(folder: Path, config: RunConfig, splits: list["TrainVal"], setup: "Setup | None" = None) -> dict[str, Any]:
    """Fit every fold with every seed and sum up; done ones are kept. Several processes share them, or a single fit.

    setup: what was tried out, so that nothing is compiled twice.
    """
    jobs = runs.list_jobs(folder, config, splits)
    if len(jobs) == 1:
        return fit(jobs[0], setup, shared=distributed.world() > 1)[0]
    for job in jobs[distributed.rank() :: distributed.world()]:
        _, setup = fit(job, setup)
    distributed.meet()
    return summary.sum_up(folder, jobs) if distributed.rank() == 0 else {}


def fit(job: "Job", reuse: "Setup | None" = None, shared: bool = False) -> tuple[dict[str, Any], "Setup | None"]:
    """Train one network, from the beginning or from its last.pt, and report the epoch that counts.

    Returns the summary, and the setup for the next fit like it. Where processes share it, the first one writes.
    """
    folder, config, data = job
    last, done = folder / "last.pt", folder / "summary.json"
    if data.fold and done.exists() and not last.exists():
        return summary.read_summary(folder), reuse

    begun = last.exists()  # a begun fit no longer needs the checkpoint that it started from
    setup = build.build_setup(replace(config, init=None) if begun else config, data, reuse, shared)
    state, recipe, device = setup.state, config.recipe, setup.device
    val_pixels, val_labels = (torch.as_tensor(part).to(device) for part in (data.val.pixels, data.val.labels))
    writes = distributed.rank() == 0 or not shared
    lines = log.RunLog(folder, tensorboard=True, silent=not writes, resumed=begun)
    log.log_head(lines, config, data, setup, shared)
    checkpoints = saving.CheckpointWriter(folder, saving.about_checkpoint(config, data, setup.ancestors), writes)
    if begun:
        checkpoints.load_last(state, config.data)
        lines.metrics(state.history)
    lines.line(f"continues after epoch {state.epoch} of {recipe.epochs}" if begun else setup.started_from)
    if writes:
        files.write_json(folder / "env.json", run_folder.environment(device))

    with checkpoints, stop.postponed() if shared else nullcontext() as asked_to_stop:
        while state.epoch < recipe.epochs:
            started = time.perf_counter()
            seeding.seed_torch(config.seed, state.epoch + 1, setup.loader.share[0])
            trained = loop.train_epoch(state, setup.loss_of, setup.loader, recipe)
            rate = len(setup.loader) * setup.loader.batch_size / (time.perf_counter() - started)
            tested = loop.validate(state.tested, val_pixels, val_labels, setup.views, setup.amp) if writes else None
            tested = distributed.from_first(tested) if shared else tested
            row = {"epoch": state.epoch + 1, **trained, **tested, "seconds": time.perf_counter() - started}
            if not all(map(math.isfinite, row.values())):
                saved = folder / ("best.pt" if data.selects else "last.pt")
                raise log.diverged(row, recipe, saved if state.epoch else None)
            is_last = row["epoch"] == recipe.epochs
            counts = row["val_accuracy"] > state.best["accuracy"] if data.selects else is_last
            state.finish_epoch(row, counts)
            checkpoints.keep(state, counts, at_once=is_last)
            lines.line(log.epoch_line(row, recipe.epochs, data.val_name, state.best if data.selects else None, rate))
            lines.metrics(state.history)
            if shared and distributed.in_any(asked_to_stop):
                raise stop.Terminated
    lines.close()
    result = summary.report_fit(folder, config, data, device) if writes else {}
    if shared:
        distributed.meet()
    if data.fold and writes:
        last.unlink()  # a finished fold keeps the weights that count
    return result, setup


if __name__ == "__main__":
    main()
