"""Train a facial-expression classifier.

    python train.py                                     the default recipe on data/fer2013.h5
    python train.py --recipe small --name my-run        a small network, on a CPU
    python train.py --resume runs/my-run                go on where it stopped
    python train.py --dataset ckplus --recipe ckplus    ten folds of CK+, nobody in both parts
    torchrun --nproc-per-node 4 train.py --batch-size 512 --lr 0.2              four GPUs share every batch
    torchrun --nproc-per-node 4 train.py --dataset ckplus --recipe ckplus      folds side by side

FER2013: Training is fitted and PublicTest chooses the epoch; PrivateTest is left to evaluate.py. CK+: the last epoch
of every fold counts. A run's folder (runs/<name>) gets log.txt, metrics.csv, curves.png, last.pt and best.pt, and in
the end the ten-crop result: summary.json, predictions.csv, confusion_matrix.png. Folds and seeds are folders in it.
"""

import argparse
import json
import math
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import build_model, model_name
from utils.cli import Parser, positive_int, run
from utils.recipes import RECIPES, Recipe, add_recipe_flags, make_recipe

if TYPE_CHECKING:  # torch is imported where it is needed, so that --help and a wrong flag answer at once
    import torch

    from datasets.loader import FaceLoader
    from datasets.parts import Part
    from utils.state import TrainState

SAVE_SHARE = 0.05  # last.pt is written after an epoch, unless that would cost more than this part of the time
CHANGEABLE = ("data", "device", "compile", "epochs")  # what may be said anew with --resume
DATASETS = ("fer2013", "ckplus", "synthetic", "synthetic-ckplus")


def build_parser() -> argparse.ArgumentParser:
    recipes = "\n".join(textwrap.fill(f"{name}: {RECIPES[name][0]}", 100, subsequent_indent="  ") for name in RECIPES)
    parser = Parser(prog="train.py", description=__doc__, epilog=f"recipes:\n{recipes}")
    parser.add_argument("--recipe", default="default", choices=RECIPES, help="named set of options (utils/recipes.py)")
    parser.add_argument("--dataset", choices=DATASETS, help="which faces (default: what --data holds, or fer2013)")
    parser.add_argument("--data", type=Path, metavar="PATH", help="HDF5 file (default: data/<dataset>.h5)")
    parser.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders are made")
    parser.add_argument("--name", help="of the run's folder (default: from data set, model, recipe and seed)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="run folder to continue, with its own options")
    parser.add_argument("--init", type=Path, metavar="CKPT", help="checkpoint whose weights training starts from")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="train N times: seed, seed + 1, ...")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="fit N faces only, evenly spread")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--amp", action=argparse.BooleanOptionalAction, help="bfloat16 (default: where hardware has it)"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (default: on a GPU)")
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--select-on",
        metavar="SPLIT",
        help="split that chooses the epoch (default: PublicTest; where the file has none, a tenth of Training);"
        " in folds 'test' lets the tested faces choose it, as older repositories do (default: the last epoch counts)",
    )
    group.add_argument("--folds", metavar="K", help="k-fold run: a number, or all for ten (default: all for CK+)")
    group.add_argument("--fold", type=positive_int, metavar="I", help="this fold only, from 1")
    group.add_argument(
        "--protocol", default="subject", choices=("subject", "frame"), help="CK+ folds: by person, or the older ones"
    )
    group.add_argument("--soft-targets", type=Path, metavar="CSV", help="predictions.csv of a k-fold run on this data")
    group.add_argument("--soft-weight", type=float, default=0.5, metavar="W", help="their share in the target, 0 to 1")
    add_recipe_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Parse, train, return the summary."""
    parser = build_parser()
    args = parser.parse_args(argv)
    given = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    if args.resume:
        unsaid = argparse.Namespace(**dict.fromkeys(vars(args)))  # argparse sets no default where there is a value
        said = {name for name, value in vars(parser.parse_args(argv, unsaid)).items() if value is not None}
        return run(parser, args, lambda args: resume(args, said - {"resume"}))
    return run(parser, args, lambda args: start(args, given))


def start(args: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """A new run."""
    from utils.distributed import from_first, processes, rank
    from utils.files import held
    from utils.runlog import create_run_folder, write_json

    recipe = make_recipe(args.recipe, given)
    recipe = replace(recipe, model=model_name(recipe.model))
    options = {name: value for name, value in vars(args).items() if name not in given and name != "resume"}
    options["data"] = args.data or Path("data") / f"{args.dataset or DATASETS[0]}.h5"
    parts = make_parts(options)
    options["dataset"] = parts[0].dataset
    which = f"seed{args.seed}" if args.seeds == 1 else f"{args.seeds}seeds"
    automatic = f"{parts[0].dataset}-{recipe.model.replace(':', '-')}-{args.recipe}-{which}"
    with processes():
        try_out(options, recipe, parts)  # finds what is wrong before a folder is made
        folder = create_run_folder(args.output, args.name, automatic) if rank() == 0 else None
        folder = Path(from_first(str(folder)))
        if rank() == 0:
            write_json(folder / "args.json", options | {"options": asdict(recipe)})
        with held(folder) if rank() == 0 else nullcontext():
            return train(folder, options, recipe, parts)


def resume(args: argparse.Namespace, said: set[str]) -> dict[str, Any]:
    """Continue the run in a folder with the options it was started with."""
    from utils.distributed import processes, rank
    from utils.files import held
    from utils.recipes import check_recipe
    from utils.runlog import write_json

    saved = args.resume / "args.json"
    if not saved.is_file():
        raise FileNotFoundError(f"--resume {args.resume}: no run there (a run's folder has an args.json)")
    fixed = sorted(said - set(CHANGEABLE))
    if fixed:
        flags = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise ValueError(
            f"{flags}: fixed by the run in {args.resume}; start a new run with --init {args.resume}/best.pt"
        )
    options = json.loads(saved.read_text(encoding="utf-8"))
    recipe = Recipe(**options.pop("options"))
    as_begun = dict(options)
    for name in said & set(options):
        options[name] = getattr(args, name)
    if "epochs" in said:
        done = sorted(path.parent.name for path in args.resume.glob("*/**/summary.json"))
        if done:
            raise ValueError(f"--epochs {args.epochs}: {done[0]} has been finished with {recipe.epochs}")
        recipe = replace(recipe, epochs=args.epochs)
        check_recipe(recipe)
    parts = make_parts(options)
    with processes(), held(args.resume) if rank() == 0 else nullcontext():
        if rank() == 0:
            write_json(saved, as_begun | {"options": asdict(recipe)})  # the rest is for this time only
        return train(args.resume, options, recipe, parts)


def try_out(options: dict[str, Any], recipe: Recipe, parts: list["Part"]) -> None:
    """Prepare the first fit and show its network a face; ValueError for what would end it after it has begun."""
    from utils.distributed import world
    from utils.inference import predict

    setup = prepare(options, recipe, parts[0], shared=world() > 1 and len(parts) * options["seeds"] == 1)
    try:
        predict(setup.state.model, parts[0].test.pixels[:1], setup.views)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--model {recipe.model} cannot take crops of {recipe.crop} pixels: {reason}") from None


def make_parts(options: dict[str, Any]) -> list["Part"]:
    """Read the file; one part for an ordinary run, one a fold for a k-fold run."""
    from datasets.parts import fold_parts, limited, selecting_part, soften
    from datasets.storage import read_faces
    from utils.predictions import read_predictions

    data = read_faces(options["data"])
    if options["dataset"] not in (None, data.dataset):
        raise ValueError(
            f"{options['data']} holds {data.dataset}, not {options['dataset']}; leave --dataset out, or give another"
            " --data"
        )
    if options["folds"] or options["fold"] or "data" in data.splits:
        if options["folds"] not in (None, "all") and not (options["folds"].isdigit() and int(options["folds"]) > 1):
            raise ValueError(f"--folds {options['folds']}: a number from 2 is wanted, or all")
        if options["select_on"] not in (None, "test"):
            raise ValueError(f"--select-on {options['select_on']}: in folds only test is possible")
        count = int(options["folds"]) if (options["folds"] or "all") != "all" else None
        parts = fold_parts(data, count, options["protocol"], select=options["select_on"] == "test")
        if options["fold"]:
            if options["fold"] > len(parts):
                raise ValueError(f"--fold {options['fold']}: there are {len(parts)} folds")
            parts = [parts[options["fold"] - 1]]
    else:
        parts = [selecting_part(data, options["select_on"])]
    if options["soft_targets"]:
        if not 0 <= options["soft_weight"] <= 1:
            raise ValueError(f"--soft-weight {options['soft_weight']}: must lie between 0 and 1")
        soft = read_predictions(options["soft_targets"])
        if "fold" not in soft.extra:
            raise ValueError(
                f"--soft-targets {options['soft_targets']}: it has no column fold, so it is not of a k-fold run, whose"
                " networks have not seen the faces that they judge"
            )
        if parts[0].test_name not in data.splits:
            raise ValueError("--soft-targets: their networks were fitted to the faces that are tested here")
        weight = options["soft_weight"]
        parts = [soften(part, soft.index, soft.labels, soft.probabilities, soft.class_names, weight) for part in parts]
    return [limited(part, options["limit"]) for part in parts]


def train(folder: Path, options: dict[str, Any], recipe: Recipe, parts: list["Part"]) -> dict[str, Any]:
    """Fit every part with every seed and sum up; done ones are kept. Several processes share them, or a single fit."""
    from utils.distributed import meet, rank, world
    from utils.summary import fold_folder, pool_folds, summarise

    seeds = range(options["seed"], options["seed"] + options["seeds"])
    jobs = [
        (folder / seed_folder(seed, options["seeds"]) / fold_folder(part.fold), options | {"seed": seed}, part)
        for seed in seeds
        for part in parts
    ]
    if len(jobs) == 1:
        return fit(*jobs[0], recipe, shared=world() > 1)[0]
    setup = None
    for job in jobs[rank() :: world()]:
        _, setup = fit(*job, recipe, setup)
    meet()
    if rank() > 0:
        return {}
    summaries = [json.loads((job[0] / "summary.json").read_text(encoding="utf-8")) for job in jobs]
    if parts[0].fold is None:
        return summarise(folder, summaries)
    pooled = []
    for seed in seeds:
        inside = folder / seed_folder(seed, options["seeds"])
        pooled.append(pool_folds(inside, options | {"seed": seed}, parts))
    return pooled[0] if len(pooled) == 1 else summarise(folder, pooled)


def seed_folder(seed: int, seeds: int) -> str:
    """Where in the run's folder a seed has its place: "", or "seed-3"."""
    return f"seed-{seed}" if seeds > 1 else ""


@dataclass
class Setup:
    """A run that is ready to begin."""

    device: "torch.device"
    amp: bool
    compiled: bool
    state: "TrainState"
    network: Callable[["torch.Tensor"], "torch.Tensor"]  # the state's model, compiled and spread as wanted
    loader: "FaceLoader"
    views: Callable[["torch.Tensor"], "torch.Tensor"]  # for the test after every epoch, uint8 -> float
    started_from: str  # for the log
    ancestors: list[dict[str, Any]]  # checkpoints that the weights come from, the oldest first


def prepare(
    options: dict[str, Any], recipe: Recipe, part: "Part", before: Setup | None = None, shared: bool = False
) -> Setup:
    """Build everything a run needs, or raise ValueError for what is wrong with the options; writes nothing.

    before: of a run with the same recipe, whose compiled network is used again with fresh weights.
    shared: every process takes its part of every batch (DistributedDataParallel).
    """
    import torch

    from datasets.augment import Augment
    from datasets.loader import FaceLoader
    from datasets.views import make_views
    from evaluate import older_formats
    from utils.checkpoint import start_from
    from utils.device import bfloat16_pays, pick_device
    from utils.distributed import parallel, rank, world
    from utils.seed import seed_torch
    from utils.state import Average, TrainState, make_optimizer

    if recipe.schedule == "plateau" and part.select_on != part.test_name:
        raise ValueError(
            f"--schedule plateau follows the accuracy on {part.test_name}, which is to decide nothing here;"
            " choose another schedule, or --select-on test"
        )
    device = pick_device(options["device"])
    if device.type == "cuda":
        torch.cuda.set_device(device)  # for what does not ask a tensor where it lies
    torch.backends.cudnn.benchmark = True  # on a GPU: all batches have one shape, so the fastest kernel is looked for
    seed_torch(options["seed"])
    classes = len(part.class_names)
    model = build_model(recipe.model, classes, dropout=recipe.dropout, pool=recipe.pool)
    started_from, ancestors = "starts from random weights", []
    if options["init"]:
        started_from, ancestors = start_from(model, options["init"], part.class_names, older_formats())
    compiled = device.type == "cuda" if options["compile"] is None else options["compile"]
    if before:
        before.state.model.load_state_dict(model.state_dict())
        model, network = before.state.model, before.network
    else:
        model = model.to(device, memory_format=torch.channels_last)
        network = parallel(model) if shared else model
        network = torch.compile(network) if compiled else network
    return Setup(
        device=device,
        amp=bfloat16_pays(device) if options["amp"] is None else options["amp"],
        compiled=compiled,
        state=TrainState(model, Average(model, recipe.ema) if recipe.ema else None, make_optimizer(model, recipe)),
        network=network,
        loader=FaceLoader(
            part.train_pixels,
            part.train_targets,
            classes,
            Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)}),
            recipe.batch_size,
            seed=options["seed"],
            device=device,
            mean=recipe.mean,
            std=recipe.std,
            share=(rank(), world()) if shared else (0, 1),
        ),
        views=make_views(recipe.val_views, recipe.crop, mean=recipe.mean, std=recipe.std),
        started_from=started_from,
        ancestors=ancestors,
    )


def fit(
    folder: Path,
    options: dict[str, Any],
    part: "Part",
    recipe: Recipe,
    before: Setup | None = None,
    shared: bool = False,
) -> tuple[dict[str, Any], Setup | None]:
    """Train one network in `folder`, from the beginning or from its last.pt, and report the epoch that counts.

    Returns the summary, and the setup for the next run like it. Where processes share it, the first one writes.
    """
    import torch

    from utils.checkpoint import FORMAT_VERSION, load_checkpoint, save_checkpoint
    from utils.device import describe_device
    from utils.distributed import from_first, meet, rank, world
    from utils.runlog import RunLog, environment, epoch_line, write_json
    from utils.seed import seed_torch
    from utils.summary import how_selected

    last, best = folder / "last.pt", folder / "best.pt"
    if part.fold and (folder / "summary.json").exists() and not last.exists():
        return json.loads((folder / "summary.json").read_text(encoding="utf-8")), before  # done
    begun = {"init": None} if last.exists() else {}  # a begun run needs no longer what it started from
    setup = prepare(options | begun, recipe, part, before, shared)
    state, loader, device = setup.state, setup.loader, setup.device
    test_pixels = torch.as_tensor(part.test.pixels).to(device)
    test_labels = torch.as_tensor(part.test.labels)
    selects = part.select_on == part.test_name
    about = {
        "format_version": FORMAT_VERSION,
        "model_name": recipe.model,
        "model_kwargs": {"dropout": recipe.dropout, "pool": recipe.pool},
        "inputs": {"size": 48, "crop": recipe.crop, "channels": 1, "mean": recipe.mean, "std": recipe.std},
        "class_names": list(part.class_names),
        "dataset": part.dataset,
        "recipe": options["recipe"],
        "options": asdict(recipe),
        "seed": options["seed"],
        "select_on": part.select_on,
        "val_views": recipe.val_views,
        "fold": part.fold and {"number": part.fold, "folds": part.folds, "protocol": options["protocol"]},
        "data_sha256": part.data_sha256,
        "ancestors": setup.ancestors,
    }

    writes = rank() == 0 or not shared
    log = RunLog(folder, tensorboard=True, silent=not writes)
    parameters = sum(p.numel() for p in state.model.parameters())
    how = ["bfloat16" if setup.amp else "float32"]
    how += (["compiled"] if setup.compiled else []) + ([f"{world()} processes"] if shared else [])
    log.line(
        f"{recipe.model} ({parameters / 1e6:.2f} M parameters), recipe {options['recipe']}, seed {options['seed']}, on"
        f" {describe_device(device)}, {', '.join(how)}"
    )
    log.line(
        f"fits {len(part.train_targets)} faces of {options['data']}; tests {len(part.test)} of {part.test_name}"
        f" ({recipe.val_views}); {how_selected(part)}"
    )
    if last.exists():
        saved_state = load_checkpoint(last)
        if saved_state.get("data_sha256", part.data_sha256) != part.data_sha256:
            raise ValueError(f"{options['data']} holds other faces than those that {last} was fitted to")
        state.load_state_dict(saved_state, str(last))
        about["ancestors"] = saved_state.get("ancestors", [])
        log.continues(state.history)
        log.line(f"continues after epoch {state.epoch} of {recipe.epochs}")
    else:
        log.line(setup.started_from)
    if writes:
        write_json(folder / "env.json", environment(describe_device(device)))

    best_weights: dict[str, torch.Tensor] = {}
    saved, cost = time.monotonic(), 0.0  # when last.pt was written, and how long that took

    def save() -> None:
        nonlocal saved, cost
        began = time.monotonic()
        if best_weights:
            save_checkpoint(best, about | {"model": best_weights, "epoch": state.best["epoch"], "best": state.best})
            best_weights.clear()
        save_checkpoint(last, about | state.state_dict())
        log.metrics(state.history)
        saved = time.monotonic()
        cost = saved - began

    try:
        while state.epoch < recipe.epochs:
            started = time.perf_counter()
            seed_torch(options["seed"], state.epoch + 1, *loader.share[:1])
            train_loss, train_accuracy, lr = train_epoch(state, setup.network, loader, recipe, setup.amp)
            rate = len(loader) * loader.batch_size / (time.perf_counter() - started)
            tested = validate(state.tested, test_pixels, test_labels, setup.views, setup.amp) if writes else None
            val_loss, val_accuracy = from_first(tested) if shared else tested
            if not math.isfinite(train_loss):
                raise ValueError(
                    f"the loss is {train_loss} in epoch {state.epoch + 1}; {last if last.exists() else 'nothing'} keeps"
                    " the last good one. Try a lower --lr, --clip-norm 1, or --no-amp"
                )
            state.epoch += 1
            row = {
                "epoch": state.epoch,
                "lr": lr,
                "train_loss": train_loss,
                "train_accuracy": train_accuracy,
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "seconds": time.perf_counter() - started,
            }
            state.history.append(row)
            counts = val_accuracy > state.best["accuracy"] if selects else state.epoch == recipe.epochs
            if counts:
                state.best = {"epoch": state.epoch, "accuracy": val_accuracy}
                best_weights.update((name, t.detach().clone()) for name, t in state.tested.state_dict().items())
            chosen = state.best if selects else {"epoch": 0}
            log.line(epoch_line(row, recipe.epochs, part.test_name, chosen, rate))
            due = (time.monotonic() - saved) * SAVE_SHARE >= cost or state.epoch == recipe.epochs
            if writes and due:
                save()
    except KeyboardInterrupt:
        run_folder = next(path for path in (folder, *folder.parents) if (path / "args.json").exists())
        kept = f"continue with: python train.py --resume {run_folder}" if last.exists() else "nothing was saved yet"
        log.line(f"interrupted in epoch {state.epoch + 1}; {kept}")
        raise
    log.close()
    summary = report(folder, options, part, device) if writes else {}
    if shared:
        meet()
    if part.fold and writes:
        last.unlink()  # a finished fold keeps the weights that count
    return summary, setup


def train_epoch(
    state: "TrainState", network: Callable, loader: "FaceLoader", recipe: Recipe, amp: bool
) -> tuple[float, float, float]:
    """One pass over the training faces; returns mean loss, accuracy on the augmented faces, last learning rate."""
    import torch
    import torch.nn.functional as F
    from tqdm import tqdm

    from utils.distributed import mean_over_processes
    from utils.schedule import factor

    parameters = [p for p in state.model.parameters() if p.requires_grad]
    accuracies = [row["val_accuracy"] for row in state.history]
    mixing = state.epoch < (1 - recipe.mix_off) * recipe.epochs
    totals = torch.zeros(2, device=loader.device)  # sums over batches: loss, correct; read once, at the end
    lr = recipe.lr
    state.model.train()
    batches = tqdm(loader.epoch(state.epoch + 1, mixing), total=len(loader), leave=False, disable=None, unit="batch")
    for step, (x, targets) in enumerate(batches):  # x (n, 1, crop, crop), targets (n, classes)
        lr = recipe.lr * factor(recipe, state.epoch + step / len(loader), accuracies)
        for group in state.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(loader.device.type, torch.bfloat16, enabled=amp):
            logits = network(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=recipe.label_smoothing)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        if recipe.clip_value:
            torch.nn.utils.clip_grad_value_(parameters, recipe.clip_value)
        state.optimizer.step()
        if state.ema:
            state.ema.update()
        correct = (logits.argmax(1) == targets.argmax(1)).float().mean()
        totals += torch.stack([loss.detach(), correct])
    if loader.share[1] > 1:
        mean_over_processes(totals)
    train_loss, train_accuracy = (totals / len(loader)).tolist()
    return train_loss, train_accuracy, lr


def validate(
    model: "torch.nn.Module", pixels: "torch.Tensor", labels: "torch.Tensor", views: Callable, amp: bool
) -> tuple[float, float]:
    """Cross-entropy and accuracy of uint8 faces (N, 48, 48); labels int64 (N,) on the CPU."""
    import torch.nn.functional as F

    from utils.inference import predict

    logits = predict(model, pixels, views, amp=amp)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def report(folder: Path, options: dict[str, Any], part: "Part", device: "torch.device") -> dict[str, Any]:
    """Ten-crop of best.pt on the tested faces, in float32: summary.json, predictions.csv and the figures."""
    from datasets.views import make_views
    from utils.checkpoint import load_classifier
    from utils.inference import predict
    from utils.metrics import compute_metrics
    from utils.plots import curves_figure, save_figure
    from utils.report import headline, write_summary
    from utils.runlog import RunLog, read_metrics

    best = folder / "best.pt"
    classifier = load_classifier(best, build_model, device)
    inputs = {name: value for name, value in classifier.inputs.items() if name != "size"}
    probabilities = predict(classifier.model, part.test.pixels, make_views("ten", **inputs)).softmax(1).numpy()
    summary = {"split": part.test_name, "views": "ten", "selected_on": part.select_on}
    summary |= {"checkpoint": str(best), "epoch": classifier.info["epoch"]}
    summary |= compute_metrics(part.test.labels, probabilities, part.class_names)
    last = None if part.select_on == part.test_name else classifier.info["epoch"]
    curves = curves_figure(read_metrics(folder / "metrics.csv"), folder.name, part.test_name, counts=last)
    save_figure(curves, folder / "curves.png")
    write_summary(folder, summary, part.test_index, part.test.labels, probabilities, part.test.extra)
    low, high = summary["ci95"]
    log = RunLog(folder)
    log.line(f"epoch {summary['epoch']}, {headline(summary)}; 95% interval {low:.2%} to {high:.2%}")
    if not part.fold:
        log.line(f"next: python evaluate.py --checkpoint {best} --data {options['data']}")
    return summary


if __name__ == "__main__":
    main()
