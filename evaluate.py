"""Test one checkpoint, or several together, on one split of a data set.

    python evaluate.py                                    the weights that come with the project
    python evaluate.py --checkpoint runs/resnet18
    python evaluate.py --checkpoint runs/a/best.pt runs/b/best.pt --split PublicTest --views flip
    python evaluate.py --checkpoint runs/resnet18 --report resnet18.html    all of it on one page

Prints the accuracy with its 95% interval and one line per class; writes metrics.json, predictions.csv,
confusion_matrix.png, reliability.png and mistakes.png. A face's logits are averaged over its views, the
probabilities of several checkpoints over the checkpoints; each of several is also given on its own, and compared with
the first one on the same faces (McNemar's exact test).
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets.names import VIEWS
from engine.evaluation.flags import add_test_flags
from models import BEST_WEIGHTS, WEIGHTS, usual_weights
from utils import cli
from utils.files import check_writable, source_digest

testing = cli.lazy_module("engine.evaluation.testing")
report = cli.lazy_module("engine.evaluation.report")
page = cli.lazy_module("engine.evaluation.page")
devices = cli.lazy_module("utils.device")
run_folder = cli.lazy_module("utils.run_folder")
checkpoint = cli.lazy_module("models.checkpoint")
exporting = cli.lazy_module("engine.export")


def build_parser() -> argparse.ArgumentParser:
    parser = cli.Parser(prog="evaluate.py", description=__doc__)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        type=cli.file_path,
        metavar="PATH",
        help=f"files or run folders (best.pt) (default: {BEST_WEIGHTS.name}, which comes with the project; on a CPU,"
        f" and where nothing is tested, {WEIGHTS.name})",
    )
    add_test_flags(parser)
    parser.add_argument(
        "--output",
        type=cli.file_path,
        metavar="DIR",
        help="where the files go (default: evaluation-<split>-<views> in the folder that has all checkpoints;"
        f" without --checkpoint in runs/{BEST_WEIGHTS.stem} or runs/{WEIGHTS.stem}; where that is a run of train.py, in"
        " one of its name and -released)",
    )
    parser.add_argument(
        "--report", type=cli.file_path, metavar="HTML", help="also write everything as one page, this .html"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--convert",
        type=cli.file_path,
        metavar="OUT",
        help="test nothing: write what testing needs of the checkpoint to OUT, in half precision; a name that"
        " ends in .safetensors writes that format",
    )
    instead.add_argument(
        "--export",
        type=cli.file_path,
        metavar="OUT",
        help="test nothing: write OUT.onnx or OUT.pt2, from uint8 faces to probabilities, for use without this project;"
        " with --views center where none is given",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse, evaluate, write, print; returns what metrics.json holds."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.export:
        parser.set_defaults(views="center")
        args = parser.parse_args(argv)
    return cli.run(parser, args, convert if args.convert else export if args.export else evaluate)


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Test the checkpoints, write the report, print it."""
    checkpoints, home = cli.expand(args.checkpoint or []), None
    if not checkpoints:
        weights = usual_weights(devices.pick_device(args.device).type)
        checkpoints, home = [weights], Path("runs") / weights.stem
        if (home / "args.json").exists():  # a run of that name: its own evaluation must not be written over
            home = home.with_name(f"{weights.stem}-released")
        cli.remark(f"checkpoint: {weights}, which comes with the project")
    setup = testing.load_setup(
        checkpoints,
        args.dataset,
        args.data,
        args.split,
        args.device,
        views=args.views,
        batch_size=args.batch_size,
        amp=args.amp,
    )
    folder = args.output or (home or shared_folder(checkpoints)) / f"evaluation-{setup.split}-{args.views}"
    check_writable(folder)
    if args.report:
        check_page(args.report)
    metrics, tested = testing.evaluate(setup)
    faces = tested.faces
    paths = report.write_report(
        folder, metrics, faces.pixels, tested.index, faces.labels, tested.probabilities, faces.extra
    )
    print(report.text_report(metrics))
    print(f"\nwrote {', '.join(path.name for path in paths)} to {folder}")
    if args.report:
        machine = run_folder.environment(devices.pick_device(args.device))
        page.write_page(args.report, metrics, faces.pixels, tested.index, faces.labels, tested.probabilities, machine)
        print(f"wrote {args.report}")
    return metrics


def check_page(path: Path) -> None:
    """Raise ValueError, before the work, if the page cannot be written there."""
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise ValueError(f"--report {path}: give the name of a file that ends in .html")
    check_writable(path.parent)


def convert(args: argparse.Namespace) -> dict[str, Any]:
    """Write a release file: no optimizer, half the bytes."""
    files = files_to_write(args, "--convert")
    if len(files) != 1:
        raise ValueError(f"--convert takes one checkpoint, not {len(files)}: {', '.join(map(str, files))}")
    if args.convert.exists() and args.convert.samefile(files[0]):
        raise ValueError(f"--convert {args.convert}: that is the checkpoint itself, which can be resumed; give another")
    if not args.convert.parent.is_dir():
        raise FileNotFoundError(
            f"--convert {args.convert}: there is no folder {args.convert.parent}; make it, or give another"
        )
    if args.convert.is_dir():
        raise ValueError(
            f"--convert {args.convert} is a folder; give a file's name, such as {args.convert / 'small.pt'}"
        )
    state = checkpoint.load_checkpoint(files[0])
    if "origin" in state:
        cli.remark(f"{files[0]}: {state['origin']}")
    checkpoint.check_network(state, files[0])
    checkpoint.save_release(args.convert, state)
    size, digest = args.convert.stat().st_size, source_digest(args.convert)
    print(f"wrote {args.convert}: {size / 1e6:.1f} MB, SHA-256 {digest}")
    return {"path": str(args.convert), "bytes": size, "sha256": digest}


def export(args: argparse.Namespace) -> dict[str, Any]:
    """Write a network, or the mean of several, as a file of its own, and compare it with PyTorch."""
    files = files_to_write(args, "--export")
    exporting.check_export(args.export)
    classifiers = [checkpoint.load_classifier(file) for file in files]
    for classifier in classifiers:
        print(f"{classifier.path}: {classifier.info.get('origin', classifier.info['model_name'])}")
    difference = exporting.export(args.export, classifiers, args.views)
    size, several = args.export.stat().st_size, f", mean of {len(files)} networks" if len(files) > 1 else ""
    print(f"wrote {args.export}: {size / 1e6:.1f} MB, {VIEWS[args.views]}{several}")
    print(f"largest difference of a probability from PyTorch's, on drawn faces: {difference:.1g}")
    return {"path": str(args.export), "bytes": size, "views": args.views, "difference": difference}


def files_to_write(args: argparse.Namespace, flag: str) -> list[Path]:
    """The checkpoints for a flag that tests nothing; ValueError where a flag of testing is given too."""
    testing_flags = ("dataset", "data", "split", "batch_size", "amp", "output", "report")
    ignored = [name for name in testing_flags if getattr(args, name)]
    if ignored:
        raise ValueError(f"--{ignored[0].replace('_', '-')} is for testing, and {flag} tests nothing; leave it out")
    paths = cli.expand(args.checkpoint or [WEIGHTS])
    return [file for path in paths for file in checkpoint.find_checkpoints(path)]


def shared_folder(paths: Sequence[Path]) -> Path:
    """The folder of the checkpoint or run; of several, the innermost one that all are in."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    if len(folders) == 1:
        return folders[0]
    return Path(os.path.relpath(os.path.commonpath([folder.resolve() for folder in folders])))


if __name__ == "__main__":
    main()
