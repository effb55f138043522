"""Train a facial-expression classifier.

    python train.py                                     the default recipe on data/fer2013.h5
    python train.py --recipe small --name my-run        a small network, on a CPU
    python train.py --resume runs/my-run                go on where it stopped
    python train.py --dataset ckplus --recipe ckplus    ten folds of CK+, nobody in both parts
    torchrun --nproc-per-node 4 train.py --batch-size 512 --lr 0.2              four GPUs share every batch
    torchrun --nproc-per-node 4 train.py --dataset ckplus --recipe ckplus      folds side by side

FER2013: Training is the training set and PublicTest selects the epoch; PrivateTest is left to evaluate.py. CK+: the
last epoch of every fold counts. A run's folder (runs/<name>) gets log.txt, metrics.csv, curves.png, last.pt and
best.pt, and in the end the ten-crop result: summary.json, predictions.csv, confusion_matrix.png. Folds and seeds are
folders in it.
"""

import argparse
import json
import math
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.names import DATASETS
from engine.config import RunConfig, config_from_flags, resumed_config
from engine.recipes import RECIPES, add_recipe_flags
from utils.cli import Parser, late, positive_int, run

build = late("engine.build")  # data, network, optimizer
loop = late("engine.loop")  # one epoch of training, and the test after it
saving = late("engine.saving")  # best.pt and last.pt
runs = late("engine.runs")  # the run's folder; folds and seeds
report = late("engine.evaluation.report")  # ten-crop of the epoch that counts
runlog = late("utils.runlog")
distributed = late("utils.distributed")
seed = late("utils.seed")
torch = late("torch")

if TYPE_CHECKING:
    from datasets.parts import Part
    from engine.build import Setup


def build_parser() -> argparse.ArgumentParser:
    about = {name: recipe["about"] for name, recipe in RECIPES.items()}
    recipes = "\n".join(textwrap.fill(f"{name}: {about[name]}", 100, subsequent_indent="  ") for name in about)
    parser = Parser(prog="train.py", description=__doc__, epilog=f"recipes:\n{recipes}")
    parser.add_argument("--recipe", default="default", choices=RECIPES, help="named set of options (engine/recipes.py)")
    parser.add_argument("--dataset", choices=DATASETS, help="which faces (default: what --data holds, or fer2013)")
    parser.add_argument("--data", type=Path, metavar="PATH", help="HDF5 file (default: data/<dataset>.h5)")
    parser.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders are made")
    parser.add_argument("--name", help="of the run's folder (default: from data set, model, recipe and seed)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="run folder to continue, with its own options")
    parser.add_argument("--init", type=Path, metavar="CKPT", help="checkpoint whose weights training starts from")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="train N times: seed, seed + 1, ...")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="train on N faces only, evenly spread")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--amp", action=argparse.BooleanOptionalAction, help="bfloat16 (default: where hardware has it)"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (default: on a GPU)")
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--select-on",
        metavar="SPLIT",
        help="split that selects the epoch (default: PublicTest; where the file has none, a tenth of Training);"
        " in folds 'test' lets the tested faces select it, as older repositories do (default: the last epoch counts)",
    )
    group.add_argument("--folds", metavar="K", help="k-fold run: a number, or all for ten (default: all for CK+)")
    group.add_argument("--fold", type=positive_int, metavar="I", help="this fold only, from 1")
    group.add_argument(
        "--protocol", default="subject", choices=("subject", "frame"), help="CK+ folds: by person, or the older ones"
    )
    group.add_argument("--soft-targets", type=Path, metavar="CSV", help="predictions.csv of a k-fold run on this data")
    group.add_argument(
        "--soft-weight", type=float, default=0.5, metavar="W", help="weight of the predictions in the target, 0 to 1"
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
    config = config_from_flags(args)
    parts = build.build_parts(config)
    config = replace(config, dataset=parts[0].dataset)
    with distributed.processes():
        build.try_out(config, parts)  # finds what is wrong before a folder is made
        folder = runs.new_folder(config)
        with runs.in_use(folder, config):
            return train(folder, config, parts)


def resume(args: argparse.Namespace, said: set[str]) -> dict[str, Any]:
    """Continue the run in a folder with the options it was started with."""
    config, kept = resumed_config(args, said)
    parts = build.build_parts(config)
    with distributed.processes(), runs.in_use(args.resume, kept):
        return train(args.resume, config, parts)


def train(folder: Path, config: RunConfig, parts: list["Part"]) -> dict[str, Any]:
    """Fit every part with every seed and sum up; done ones are kept. Several processes share them, or a single fit."""
    jobs = runs.list_jobs(folder, config, parts)
    if len(jobs) == 1:
        return fit(*jobs[0], shared=distributed.world() > 1)[0]
    setup = None
    for job in jobs[distributed.rank() :: distributed.world()]:
        _, setup = fit(*job, setup)
    distributed.meet()
    return runs.sum_up(folder, jobs, config) if distributed.rank() == 0 else {}


def fit(
    folder: Path, config: RunConfig, part: "Part", before: "Setup | None" = None, shared: bool = False
) -> tuple[dict[str, Any], "Setup | None"]:
    """Train one network in `folder`, from the beginning or from its last.pt, and report the epoch that counts.

    Returns the summary, and the setup for the next fit like it. Where processes share it, the first one writes.
    """
    last, summary = folder / "last.pt", folder / "summary.json"
    if part.fold and summary.exists() and not last.exists():
        return json.loads(summary.read_text(encoding="utf-8")), before  # done

    begun = last.exists()  # a begun fit no longer needs the checkpoint that it started from
    setup = build.build_setup(replace(config, init=None) if begun else config, part, before, shared)
    state, recipe = setup.state, config.recipe
    writes = distributed.rank() == 0 or not shared
    log = runlog.RunLog(folder, tensorboard=True, silent=not writes)
    saver = saving.Saver(folder, saving.about_checkpoint(config, part, setup.ancestors), silent=not writes)
    saving.log_head(log, config, part, setup, shared)
    if begun:
        saver.resume(state, config.data)
        log.continues(state.history)
    log.line(f"continues after epoch {state.epoch} of {recipe.epochs}" if begun else setup.started_from)
    if writes:
        runlog.write_json(folder / "env.json", runlog.environment(setup.device))

    test_pixels, test_labels = torch.as_tensor(part.test.pixels).to(setup.device), torch.as_tensor(part.test.labels)
    try:
        while state.epoch < recipe.epochs:
            started = time.perf_counter()
            seed.seed_torch(config.seed, state.epoch + 1, setup.loader.share[0])
            train_loss, train_accuracy, lr = loop.train_epoch(state, setup.network, setup.loader, recipe, setup.amp)
            rate = len(setup.loader) * setup.loader.batch_size / (time.perf_counter() - started)
            tested = writes and loop.validate(state.tested, test_pixels, test_labels, setup.views, setup.amp)
            val_loss, val_accuracy = distributed.from_first(tested) if shared else tested
            if not math.isfinite(train_loss):
                raise saving.diverged(train_loss, state.epoch + 1, last)
            row = {"epoch": state.epoch + 1, "lr": lr, "train_loss": train_loss, "train_accuracy": train_accuracy}
            row |= {"val_loss": val_loss, "val_accuracy": val_accuracy, "seconds": time.perf_counter() - started}
            if state.finish_epoch(row, None if part.selects else row["epoch"] == recipe.epochs):
                saver.keep(state)
            log.line(runlog.epoch_line(row, recipe.epochs, part.test_name, state.best if part.selects else None, rate))
            if saver.due() or state.epoch == recipe.epochs:
                saver.save(state)
                log.metrics(state.history)
    except KeyboardInterrupt:
        log.line(saving.interrupted(folder, state.epoch + 1))
        raise
    log.close()
    result = report.report_fit(folder, config.data, part, setup.device) if writes else {}
    if shared:
        distributed.meet()
    if part.fold and writes:
        last.unlink()  # a finished fold keeps the weights that count
    return result, setup


if __name__ == "__main__":
    main()
