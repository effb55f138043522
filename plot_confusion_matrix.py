"""Draw a confusion matrix: of a run, of a predictions.csv, or of a checkpoint that is tested for it.

    python plot_confusion_matrix.py --run runs/resnet18 --output resnet18.pdf
    python plot_confusion_matrix.py --predictions runs/resnet18/predictions.csv --output matrix.png --width 7
    python plot_confusion_matrix.py --checkpoint runs/resnet18/best.pt --split PrivateTest --output matrix.svg

Rows are labels and columns predictions. The title gives accuracy and number of faces, and says so where the
checkpoint was selected on the faces that are shown.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import evaluate
from utils import cli


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse, find or make the predictions, draw; returns {confusion_matrix, class_names, title, output}."""
    parser = cli.Parser(prog="plot_confusion_matrix.py", description=__doc__)
    source = parser.add_argument_group("source, one of").add_mutually_exclusive_group()
    source.add_argument(
        "--run",
        type=Path,
        metavar="DIR",
        help="run folder: its predictions.csv or its newest evaluation's (of --split and --views, if given);"
        " without one its best.pt is tested",
    )
    source.add_argument("--predictions", type=Path, metavar="CSV", help="predictions.csv of evaluate.py or train.py")
    source.add_argument("--checkpoint", type=Path, nargs="+", metavar="PATH", help="as in evaluate.py; it is tested")
    figure = parser.add_argument_group("figure")
    figure.add_argument(
        "--output",
        type=Path,
        default=Path("confusion_matrix.png"),
        metavar="FILE",
        help="a .png, .pdf or .svg",
    )
    figure.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="each row's shares in percent, with the counts below; otherwise counts alone",
    )
    figure.add_argument("--title", metavar="TEXT", help="default: split, views, accuracy, number of faces")
    figure.add_argument("--width", type=float, default=4.2, metavar="INCHES", help="3.3 is a column, 7 a page")
    evaluate.add_flags(parser)
    parser.set_defaults(views=None)  # None: those of the predictions that are there, ten for a test
    return cli.run(parser, parser.parse_args(argv), run)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole script, without its command line."""
    from utils.figures import check_ending, save_figure
    from utils.files import check_writable
    from utils.plots import confusion_matrix_figure
    from utils.report import headline

    if not 3 <= args.width <= 20:
        raise ValueError(f"--width {args.width}: between 3 and 20 inches")
    check_ending(args.output)
    check_writable(args.output.parent)
    asked = [f"--{name}" for name in ("dataset", "data", "amp") if getattr(args, name)]
    if args.predictions and asked:
        raise ValueError(f"{asked[0]} is for checkpoints; --predictions are drawn as they are")
    wanted = {name: value for name, value in (("split", args.split), ("views", args.views)) if value}
    predictions = args.predictions or (find_predictions(args.run, wanted) if args.run and not asked else None)
    if predictions:
        metrics = read_metrics(predictions)
        for name, value in wanted.items():
            if metrics.setdefault(name, value) != value:
                raise ValueError(f"--{name} {value}: {predictions} is of {metrics[name]}")
    elif args.run or args.checkpoint:
        args.checkpoint = args.checkpoint or [args.run]
        metrics = evaluate.evaluate(*evaluate.load(args), args.views or "ten", args.batch_size, args.amp)[0]
    else:
        runs = ", ".join(sorted(str(path.parent) for path in Path("runs").glob("*/args.json"))[:5])
        hint = f" (there are {runs})" if runs else ""
        raise ValueError(f"say what to draw: --run DIR{hint}, --predictions CSV or --checkpoint PATH")
    names = list(metrics["per_class"])
    title = headline(metrics) if args.title is None else args.title
    save_figure(
        confusion_matrix_figure(metrics["confusion_matrix"], names, args.normalize, title, args.width),
        args.output,
    )
    print(f"{predictions or metrics['checkpoints'][0]['path']}: {headline(metrics)}\nwrote {args.output}")
    return {
        "confusion_matrix": metrics["confusion_matrix"],
        "class_names": names,
        "title": title,
        "output": str(args.output),
    }


def find_predictions(run: Path, wanted: dict[str, str]) -> Path | None:
    """Return the run's predictions.csv, else its newest evaluation's; only one that is as `wanted` says."""
    if not run.is_dir():
        raise FileNotFoundError(f"--run {run}: no such folder; train one with: python train.py --name {run.name}")
    evaluations = sorted(run.glob("evaluation*/predictions.csv"), key=lambda path: -path.stat().st_mtime)
    for path in [run / "predictions.csv", *evaluations]:
        if path.is_file() and wanted.items() <= about(path).items():
            return path
    return None


def about(predictions: Path) -> dict[str, Any]:
    """Return what the files beside a predictions.csv tell of it: split, views, selected_on, where known."""
    known: dict[str, Any] = {}
    for name in ("args.json", "summary.json", "metrics.json"):  # a later file knows better
        path = predictions.parent / name
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path} is not JSON ({error})") from None
            if name == "args.json":
                content = {"selected_on": content.get("select_on")}
            known |= {key: content[key] for key in ("split", "views", "selected_on") if content.get(key)}
    return known


def read_metrics(predictions: Path) -> dict[str, Any]:
    """Return the metrics of a predictions.csv, with `about` what is known of it."""
    from sklearn.metrics import confusion_matrix

    from utils.metrics import compute_metrics
    from utils.predictions import read_predictions

    table = read_predictions(predictions)
    metrics = compute_metrics(table.labels, table.probabilities, table.class_names)
    # The prediction column counts: another tool may have decided otherwise than by the largest probability
    everything = list(range(len(table.class_names)))
    metrics["confusion_matrix"] = confusion_matrix(table.labels, table.predictions, labels=everything).tolist()
    metrics["accuracy"] = float((table.labels == table.predictions).mean())
    return metrics | about(predictions)


if __name__ == "__main__":
    main()
