"""Train a facial-expression classifier.

    python train.py                                     the default recipe on data/fer2013.h5
    python train.py --recipe small --name my-run        a small network, on a CPU
    python train.py --resume runs/my-run                go on where it stopped

Faces are fitted on Training and the epoch is chosen on PublicTest; PrivateTest is left to evaluate.py. The run's
folder (runs/<name>) gets log.txt, metrics.csv, curves.png, last.pt and best.pt, and in the end the ten-crop result
of best.pt on the split that chose it: summary.json, predictions.csv, confusion_matrix.png.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import build_model, model_name
from utils.cli import Parser, positive_int, run
from utils.recipes import RECIPES, Recipe, add_recipe_flags, make_recipe

if TYPE_CHECKING:  # torch is imported where it is needed, so that --help and a wrong flag answer at once
    import numpy as np
    import torch

    from datasets.loader import FaceLoader
    from utils.state import TrainState

SAVE_SECONDS = 10  # last.pt is written after an epoch once this long has passed since the last time
TEST_SET_WARNING = ": selected on the test set, for comparison with older figures only"
CHANGEABLE = ("data", "device", "compile", "epochs")  # what may be said anew with --resume


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="train.py", description=__doc__)
    parser.add_argument("--recipe", default="default", choices=RECIPES, help="named set of options (utils/recipes.py)")
    parser.add_argument("--dataset", default="fer2013", choices=("fer2013", "synthetic"), help="which faces")
    parser.add_argument("--data", type=Path, metavar="PATH", help="HDF5 file (default: data/<dataset>.h5)")
    parser.add_argument("--output", type=Path, default=Path("runs"), metavar="DIR", help="where run folders are made")
    parser.add_argument("--name", help="of the run's folder (default: from data set, model, recipe and seed)")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="run folder to continue, with its own options")
    parser.add_argument("--init", type=Path, metavar="CKPT", help="checkpoint whose weights training starts from")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation")
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="train N times: seed, seed + 1, ...")
    parser.add_argument(
        "--select-on",
        metavar="SPLIT",
        help="split that chooses the epoch (default: PublicTest; where the file has none, a tenth of Training)",
    )
    parser.add_argument("--limit", type=positive_int, metavar="N", help="fit the first N faces only")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--amp", action=argparse.BooleanOptionalAction, help="bfloat16 (default: where hardware has it)"
    )
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (default: on a GPU)")
    add_recipe_flags(parser)
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Parse, train, return the summary."""
    parser = build_parser()
    args = parser.parse_args(argv)
    given = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    if args.resume:
        said = {name for name, value in vars(args).items() if value != parser.get_default(name)} - {"resume"}
        return run(parser, args, lambda args: resume(args, said | set(given)))
    return run(parser, args, lambda args: start(args, given))


def start(args: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """A new run, or several that differ in their seed."""
    from utils.runlog import create_run_folder, write_json

    recipe = make_recipe(args.recipe, given)
    recipe = replace(recipe, model=model_name(recipe.model))
    options = {name: value for name, value in vars(args).items() if name not in given and name != "resume"}
    options["data"] = args.data or Path("data") / f"{args.dataset}.h5"
    faces = load_faces(options)
    prepare(options, recipe, faces)  # finds what is wrong before a folder is made
    which = f"seed{args.seed}" if args.seeds == 1 else f"{args.seeds}seeds"
    automatic = f"{args.dataset}-{recipe.model.replace(':', '-')}-{args.recipe}-{which}"
    folder = create_run_folder(args.output, args.name, automatic)
    write_json(folder / "args.json", options | {"options": asdict(recipe)})
    return run_seeds(folder, options, recipe, faces)


def resume(args: argparse.Namespace, said: set[str]) -> dict[str, Any]:
    """Continue the run in a folder with the options it was started with."""
    saved = args.resume / "args.json"
    if not saved.is_file():
        raise FileNotFoundError(f"--resume {args.resume}: no run there (a run's folder has an args.json)")
    fixed = sorted(said - set(CHANGEABLE))
    if fixed:
        flags = ", ".join("--" + name.replace("_", "-") for name in fixed)
        raise ValueError(
            f"{flags}: fixed by the run in {args.resume}; start a new run with --init {args.resume}/last.pt"
        )
    options = json.loads(saved.read_text(encoding="utf-8"))
    recipe = Recipe(**options.pop("options"))
    for name in said & set(options):
        options[name] = getattr(args, name)
    if "epochs" in said:
        recipe = replace(recipe, epochs=args.epochs)
    return run_seeds(args.resume, options, recipe, load_faces(options))


def run_seeds(folder: Path, options: dict[str, Any], recipe: Recipe, faces: "Faces") -> dict[str, Any]:
    """Fit once in `folder`, or once a seed in folders inside it; a part that is finished is not done again."""
    from utils.runlog import write_json

    if options["seeds"] == 1:
        return fit(folder, options, recipe, faces)
    summaries = []
    for seed in range(options["seed"], options["seed"] + options["seeds"]):
        part = folder / f"seed-{seed}"
        part.mkdir(exist_ok=True)
        summaries.append(fit(part, options | {"seed": seed}, recipe, faces))
    accuracies = [summary["accuracy"] for summary in summaries]
    summary = {
        "n": len(accuracies),
        "mean": statistics.mean(accuracies),
        "deviation": statistics.stdev(accuracies),
        "accuracies": accuracies,
        "split": faces.select_on,
        "views": "ten",
    }
    write_json(folder / "summary.json", summary)
    print(
        f"{faces.select_on}, ten-crop: {summary['mean']:.2%} +- {summary['deviation']:.2%} (n = {summary['n']} seeds)"
    )
    return summary


@dataclass(frozen=True)
class Faces:
    """What is fitted and what chooses the epoch: pixels uint8 (N, 48, 48), labels int64 (N,)."""

    dataset: str
    class_names: tuple[str, ...]
    train_pixels: "np.ndarray"
    train_labels: "np.ndarray"
    val_pixels: "np.ndarray"
    val_labels: "np.ndarray"
    val_index: "np.ndarray"  # rows of the split in the file
    select_on: str


def load_faces(options: dict[str, Any]) -> Faces:
    """Read the file and settle which faces select; without a PublicTest a stratified tenth of Training does."""
    import numpy as np

    from datasets.storage import read_faces

    data = read_faces(options["data"])
    if "Training" not in data.splits:
        raise ValueError(f"{options['data']} has no split Training, only {', '.join(data.splits)}")
    pixels, labels = data.splits["Training"].pixels, data.splits["Training"].labels
    select_on = options["select_on"] or "PublicTest"
    if select_on == "Training":
        raise ValueError("--select-on Training: the split that is fitted cannot choose the epoch")
    if select_on in data.splits:
        val = data.splits[select_on]
        val_pixels, val_labels, val_index = val.pixels, val.labels, np.arange(len(val.labels))
    elif options["select_on"]:
        raise ValueError(f"--select-on {select_on}: {options['data']} has {', '.join(data.splits)}")
    else:
        from sklearn.model_selection import StratifiedShuffleSplit

        halves = StratifiedShuffleSplit(1, test_size=0.1, random_state=0).split(labels, labels)
        rest, val_index = (np.sort(part) for part in next(halves))
        val_pixels, val_labels, select_on = pixels[val_index], labels[val_index], "a tenth of Training"
        pixels, labels = pixels[rest], labels[rest]
    limit = options["limit"]
    return Faces(
        data.dataset,
        data.class_names,
        pixels[:limit],
        labels[:limit],
        val_pixels,
        val_labels,
        val_index,
        select_on,
    )


@dataclass
class Setup:
    """A run that is ready to begin."""

    device: "torch.device"
    amp: bool
    compiled: bool
    state: "TrainState"
    loader: "FaceLoader"
    views: Callable[["torch.Tensor"], "torch.Tensor"]  # of the selecting split, uint8 -> float
    started_from: str  # for the log


def prepare(options: dict[str, Any], recipe: Recipe, faces: Faces) -> Setup:
    """Build everything a run needs, or raise ValueError for what is wrong with the options; writes nothing."""
    import torch

    from datasets.augment import Augment
    from datasets.loader import FaceLoader
    from datasets.views import make_views
    from utils.checkpoint import load_checkpoint, load_weights
    from utils.device import bfloat16_pays, pick_device
    from utils.seed import seed_torch
    from utils.state import TrainState, averaged, make_optimizer

    device = pick_device(options["device"])
    seed_torch(options["seed"])
    classes = len(faces.class_names)
    model = build_model(recipe.model, classes, dropout=recipe.dropout, pool=recipe.pool)
    started_from = "starts from random weights"
    if options["init"]:
        checkpoint = load_checkpoint(options["init"])
        load_weights(model, checkpoint.get("ema") or checkpoint["model"], str(options["init"]))
        started_from = f"starts from {options['init']} ({checkpoint['model_name']}, epoch {checkpoint.get('epoch')})"
    model = model.to(device, memory_format=torch.channels_last)
    return Setup(
        device=device,
        amp=bfloat16_pays(device) if options["amp"] is None else options["amp"],
        compiled=device.type == "cuda" if options["compile"] is None else options["compile"],
        state=TrainState(model, averaged(model, recipe.ema) if recipe.ema else None, make_optimizer(model, recipe)),
        loader=FaceLoader(
            faces.train_pixels,
            faces.train_labels,
            classes,
            Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)}),
            recipe.batch_size,
            seed=options["seed"],
            device=device,
            mean=recipe.mean,
            std=recipe.std,
        ),
        views=make_views(recipe.val_views, recipe.crop, mean=recipe.mean, std=recipe.std),
        started_from=started_from,
    )


def fit(folder: Path, options: dict[str, Any], recipe: Recipe, faces: Faces) -> dict[str, Any]:
    """Train one network in `folder`, from the beginning or from its last.pt, and report its best epoch."""
    import torch

    from utils.checkpoint import FORMAT_VERSION, load_checkpoint, save_checkpoint
    from utils.device import describe_device
    from utils.runlog import RunLog, environment, epoch_line, write_json
    from utils.seed import seed_torch

    setup = prepare(options, recipe, faces)
    state, loader, device = setup.state, setup.loader, setup.device
    val_pixels = torch.as_tensor(faces.val_pixels).to(device)
    val_labels = torch.as_tensor(faces.val_labels)
    about = {
        "format_version": FORMAT_VERSION,
        "model_name": recipe.model,
        "model_kwargs": {"dropout": recipe.dropout, "pool": recipe.pool},
        "inputs": {"size": 48, "crop": recipe.crop, "channels": 1, "mean": recipe.mean, "std": recipe.std},
        "class_names": list(faces.class_names),
        "dataset": faces.dataset,
        "recipe": options["recipe"],
        "options": asdict(recipe),
        "seed": options["seed"],
        "select_on": faces.select_on,
        "val_views": recipe.val_views,
    }

    log = RunLog(folder)
    last, best = folder / "last.pt", folder / "best.pt"
    parameters = sum(p.numel() for p in state.model.parameters())
    log.line(
        f"{recipe.model} ({parameters / 1e6:.2f} M parameters), recipe {options['recipe']}, seed {options['seed']}, on"
        f" {describe_device(device)}, {'bfloat16' if setup.amp else 'float32'}{', compiled' if setup.compiled else ''}"
    )
    log.line(
        f"fits {len(faces.train_labels)} faces of {options['data']}; {faces.select_on} ({len(faces.val_labels)} faces,"
        f" {recipe.val_views}) chooses the epoch{TEST_SET_WARNING if faces.select_on == 'PrivateTest' else ''}"
    )
    if last.exists():
        state.load_state_dict(load_checkpoint(last), str(last))
        log.line(f"continues after epoch {state.epoch} of {recipe.epochs}")
    else:
        log.line(setup.started_from)
    write_json(folder / "env.json", environment(describe_device(device)))

    network = torch.compile(state.model) if setup.compiled else state.model
    best_weights: dict[str, torch.Tensor] = {}
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        if best_weights:
            save_checkpoint(best, about | {"model": best_weights, "epoch": state.best["epoch"], "best": state.best})
            best_weights.clear()
        save_checkpoint(last, about | state.state_dict())
        log.metrics(state.history)
        saved = time.monotonic()

    try:
        while state.epoch < recipe.epochs:
            started = time.perf_counter()
            seed_torch(options["seed"], state.epoch + 1)
            train_loss, train_accuracy, lr = train_epoch(state, network, loader, recipe, setup.amp)
            val_loss, val_accuracy = validate(state.tested, val_pixels, val_labels, setup.views, setup.amp)
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
            if val_accuracy > state.best["accuracy"]:
                state.best = {"epoch": state.epoch, "accuracy": val_accuracy}
                best_weights.update((name, t.detach().clone()) for name, t in state.tested.state_dict().items())
            log.line(epoch_line(row, recipe.epochs, faces.select_on, state.best, len(loader) * loader.batch_size))
            if time.monotonic() - saved > SAVE_SECONDS or state.epoch == recipe.epochs:
                save()
    except KeyboardInterrupt:
        kept = f"continue with: python train.py --resume {folder}" if last.exists() else "nothing was saved yet"
        log.line(f"interrupted in epoch {state.epoch + 1}; {kept}")
        raise
    log.metrics(state.history)
    log.close()
    return report(folder, options, faces, device)


def train_epoch(
    state: "TrainState", network: "torch.nn.Module", loader: "FaceLoader", recipe: Recipe, amp: bool
) -> tuple[float, float, float]:
    """One pass over the training faces; returns mean loss, accuracy on the augmented faces, last learning rate."""
    import torch
    import torch.nn.functional as F
    from tqdm import tqdm

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
            state.ema.update_parameters(state.model)
        correct = (logits.argmax(1) == targets.argmax(1)).float().mean()
        totals += torch.stack([loss.detach(), correct])
    train_loss, train_accuracy = (totals / len(loader)).tolist()
    return train_loss, train_accuracy, lr


def validate(model, pixels, labels, views, amp: bool) -> tuple[float, float]:
    """Cross-entropy and accuracy of uint8 faces (N, 48, 48); labels int64 (N,) on the CPU."""
    import torch.nn.functional as F

    from utils.inference import predict

    logits = predict(model, pixels, views, amp=amp)
    return F.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def report(folder: Path, options: dict[str, Any], faces: Faces, device: "torch.device") -> dict[str, Any]:
    """Ten-crop of best.pt on the split that chose it, in float32: summary.json, predictions.csv, the figures."""
    from datasets.views import make_views
    from utils.checkpoint import load_classifier
    from utils.inference import predict
    from utils.metrics import compute_metrics
    from utils.plots import confusion_matrix_figure, curves_figure, save_figure
    from utils.predictions import write_predictions
    from utils.report import headline
    from utils.runlog import RunLog, read_metrics, write_json

    best = folder / "best.pt"
    classifier = load_classifier(best, build_model, device)
    inputs = {name: value for name, value in classifier.inputs.items() if name != "size"}
    probabilities = predict(classifier.model, faces.val_pixels, make_views("ten", **inputs)).softmax(1).numpy()
    summary = {"split": faces.select_on, "views": "ten", "selected_on": faces.select_on}
    summary |= {"checkpoint": str(best), "epoch": classifier.info["epoch"]}
    summary |= compute_metrics(faces.val_labels, probabilities, faces.class_names)
    title = headline(summary)
    matrix = confusion_matrix_figure(summary["confusion_matrix"], faces.class_names, title=title)
    write_json(folder / "summary.json", summary)
    write_predictions(folder / "predictions.csv", faces.val_index, faces.val_labels, probabilities, faces.class_names)
    save_figure(matrix, folder / "confusion_matrix.png")
    save_figure(
        curves_figure(read_metrics(folder / "metrics.csv"), folder.name, faces.select_on), folder / "curves.png"
    )
    low, high = summary["ci95"]
    log = RunLog(folder)
    log.line(f"epoch {summary['epoch']}, {title}; 95% interval {low:.2%} to {high:.2%}")
    log.line(f"next: python evaluate.py --checkpoint {best} --data {options['data']}")
    return summary


if __name__ == "__main__":
    main()
