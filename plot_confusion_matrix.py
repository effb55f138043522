"""Draw a confusion matrix: of a run, of a predictions.csv, or of a checkpoint that is tested for it; or compare runs.

    python plot_confusion_matrix.py --run runs/resnet18 --output resnet18.pdf
    python plot_confusion_matrix.py --predictions runs/resnet18/predictions.csv --output matrix.png --width 7
    python plot_confusion_matrix.py --checkpoint runs/resnet18/best.pt --split PrivateTest --output matrix.svg
    python plot_confusion_matrix.py --compare runs/small runs/resnet18 --output difference.png    second minus first
    python plot_confusion_matrix.py --curves runs/small runs/resnet18 --output curves.png         several runs' epochs
    python plot_confusion_matrix.py --curves runs/small runs/resnet18 --over minutes --reach 60 65

Rows are labels and columns predictions. The title gives accuracy and number of faces, and says so where the
checkpoint was selected on the faces that are shown.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.evaluation.flags import add_test_flags
from utils import cli
from utils.files import check_writable

testing = cli.lazy_module("engine.evaluation.testing")
recorded = cli.lazy_module("engine.evaluation.recorded")
report = cli.lazy_module("engine.evaluation.report")
confusion = cli.lazy_module("engine.figures.confusion")
curve_figures = cli.lazy_module("engine.figures.curves")
style = cli.lazy_module("engine.figures.style")

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="plot_confusion_matrix.py", description=__doc__)
    source = parser.add_argument_group("source, one of").add_mutually_exclusive_group()
    source.add_argument(
        "--run",
        type=cli.file_path,
        metavar="DIR",
        help="run folder: its predictions.csv or its newest evaluation's (of --split and --views, if given);"
        " without one its best.pt is tested",
    )
    source.add_argument(
        "--predictions", type=cli.file_path, metavar="CSV", help="predictions.csv of evaluate.py or train.py"
    )
    source.add_argument(
        "--checkpoint", type=cli.file_path, nargs="+", metavar="PATH", help="as in evaluate.py; it is tested"
    )
    source.add_argument(
        "--compare",
        type=cli.file_path,
        nargs=2,
        metavar=("A", "B"),
        help="two run folders or predictions.csv: the difference of their matrices, B minus A",
    )
    source.add_argument(
        "--curves", type=cli.file_path, nargs="+", metavar="RUN", help="loss and accuracy of runs, epoch by epoch"
    )
    several = parser.add_argument_group("curves of runs")
    several.add_argument("--over", choices=("epochs", "minutes"), help="what runs to the right (default: epochs)")
    several.add_argument(
        "--reach",
        type=float,
        nargs="+",
        metavar="PERCENT",
        help="say when each run first had that validation accuracy, and in how many times the first one's minutes",
    )
    figure = parser.add_argument_group("figure")
    figure.add_argument(
        "--output",
        type=cli.file_path,
        metavar="FILE",
        help="a .png, .pdf or .svg (default: confusion_matrix.png, difference.png or curves.png)",
    )
    figure.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="each row's shares in percent, with the counts below; otherwise counts alone",
    )
    figure.add_argument("--title", metavar="TEXT", help="default: split, views, accuracy, number of faces")
    figure.add_argument("--width", type=float, default=4.2, metavar="INCHES", help="3.3 is a column, 7 a page")
    add_test_flags(parser)
    parser.set_defaults(views=None)  # None: those of the predictions that are there, ten for a test
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse, find or make the predictions, draw; returns {confusion_matrix, class_names, title, output}."""
    parser = build_parser()
    return cli.run(parser, parser.parse_args(argv), plot)


def plot(args: argparse.Namespace) -> dict[str, Any]:
    """Find or make what is drawn, draw it, and return what was drawn."""
    if not 3 <= args.width <= 20:
        raise ValueError(f"--width {args.width}: must lie between 3 and 20 inches")
    for flag in ("over", "reach"):
        if getattr(args, flag) and not args.curves:
            raise ValueError(f"--{flag} is for --curves; leave it out")
    draw, name = matrix, "confusion_matrix.png"
    if args.compare or args.curves:
        draw, name = (compare, "difference.png") if args.compare else (curves, "curves.png")
        asked = [f"--{flag}" for flag in ("dataset", "data", "amp", "batch_size") if getattr(args, flag)]
        if asked:
            raise ValueError(f"{asked[0]} is for checkpoints; --compare and --curves draw what runs have written")
    args.output = args.output or Path(name)
    style.check_ending(args.output)
    check_writable(args.output.parent)
    figure, said, drawn = draw(args)
    style.save_figure(figure, args.output)
    print(f"{said}\nwrote {args.output}")
    return drawn | {"output": str(args.output)}


def matrix(args: argparse.Namespace) -> tuple["Figure", str, dict[str, Any]]:
    """One confusion matrix: the figure, a line about it, and what it shows."""
    metrics, source = find_metrics(args)
    names = list(metrics["per_class"])
    title = report.headline(metrics) if args.title is None else args.title
    counts = metrics["confusion_matrix"]
    figure = confusion.confusion_matrix_figure(counts, names, args.normalize, title, args.width)
    drawn = {"confusion_matrix": counts, "class_names": names, "title": title}
    return figure, f"{source}: {report.headline(metrics)}", drawn


def compare(args: argparse.Namespace) -> tuple["Figure", str, dict[str, Any]]:
    """The difference of two confusion matrices, and of the accuracies; tested where the faces are the same."""
    wanted = {name: value for name, value in (("split", args.split), ("views", args.views)) if value}
    files = [recorded.predictions_of(path, wanted) for path in map(cli.expand_one, args.compare)]
    first, second = (recorded.recorded_metrics(file) for file in files)
    names, others = list(first["per_class"]), list(second["per_class"])
    if names != others:
        raise ValueError(f"{files[0]} has the classes {', '.join(names)}, but {files[1]} has {', '.join(others)}")
    counts = [metrics["confusion_matrix"] for metrics in (first, second)]
    pair = recorded.paired(*files)
    said = report.difference(first, second, pair)
    lines = [
        f"A, {files[0]}: {report.headline(first)}",
        f"B, {files[1]}: {report.headline(second)}",
        f"B minus A: {said}",
    ]
    title = f"{args.compare[1]} minus {args.compare[0]}\n{said}" if args.title is None else args.title
    figure = confusion.difference_figure(*counts, names, args.normalize, title, args.width)
    return figure, "\n".join(lines), {"confusion_matrices": counts, "class_names": names, "title": title, "pair": pair}


def curves(args: argparse.Namespace) -> tuple["Figure", str, dict[str, Any]]:
    """The epochs of several runs, or their minutes."""
    for percent in args.reach or ():
        if not 0 < percent <= 100:
            raise ValueError(f"--reach {percent:g}: must lie above 0 and not above 100")
    runs = recorded.run_curves(cli.expand(args.curves))
    figure = curve_figures.runs_figure(runs, args.title or "", args.over or "epochs")
    said = [f"{len(runs)} run{'s' if len(runs) > 1 else ''}: {', '.join(runs)}"]
    said += [line for percent in args.reach or () for line in report.first_at(runs, percent / 100)]
    return figure, "\n".join(said), {"runs": list(runs)}


def find_metrics(args: argparse.Namespace) -> tuple[dict[str, Any], str | Path]:
    """Read the metrics that are there, or test the checkpoint; and the file that they are of."""
    asked = [f"--{name.replace('_', '-')}" for name in ("dataset", "data", "batch_size", "amp") if getattr(args, name)]
    if args.predictions and asked:
        raise ValueError(f"{asked[0]} is for checkpoints; --predictions are drawn as they are; leave it out")
    wanted = {name: value for name, value in (("split", args.split), ("views", args.views)) if value is not None}
    predictions = args.predictions and cli.expand_one(args.predictions)
    args.run = args.run and cli.expand_one(args.run)
    if args.run and not asked:
        predictions = recorded.find_predictions(args.run, wanted)
    if predictions:
        metrics = recorded.recorded_metrics(predictions)
        for name, value in wanted.items():
            if metrics.setdefault(name, value) != value:
                raise ValueError(f"--{name} {value}: {predictions} is of {metrics[name]}")
        return metrics, predictions
    if not (args.run or args.checkpoint):
        runs = ", ".join(sorted(str(path.parent) for path in Path("runs").glob("*/args.json"))[:5])
        hint = f" (there are {runs})" if runs else ""
        raise ValueError(f"say what to draw: --run DIR{hint}, --predictions CSV or --checkpoint PATH")
    how = {"views": args.views or "ten", "batch_size": args.batch_size, "amp": args.amp}
    checkpoints = cli.expand(args.checkpoint or [args.run])
    setup = testing.load_setup(checkpoints, args.dataset, args.data, args.split, args.device, **how)
    metrics = testing.evaluate(setup)[0]
    return metrics, metrics["checkpoints"][0]["path"]


if __name__ == "__main__":
    main()
