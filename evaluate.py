"""Test one checkpoint, or several together, on one split of a data set.

    python evaluate.py --checkpoint runs/resnet18
    python evaluate.py --checkpoint runs/a/best.pt runs/b/best.pt --split PublicTest --views flip

Prints the accuracy with its 95% interval and a line a class; writes metrics.json, predictions.csv,
confusion_matrix.png, reliability.png and mistakes.png. A face's logits are averaged over its views, the
probabilities of several checkpoints over the checkpoints.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import cli

if TYPE_CHECKING:  # torch is imported where it is needed, so that --help and a wrong flag answer at once
    import numpy as np

    from datasets.storage import FaceSet
    from utils.checkpoint import Classifier

DATASETS = ("fer2013", "ckplus", "synthetic")
VIEWS = ("center", "flip", "five", "ten")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Parse, evaluate, write, print; returns what metrics.json holds."""
    parser = cli.Parser(prog="evaluate.py", description=__doc__)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="files or run folders (best.pt)",
    )
    add_flags(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where the files go (default: evaluation-<split>-<views> in the first checkpoint's folder)",
    )
    return cli.run(parser, parser.parse_args(argv), run)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that `load` and `evaluate` need."""
    data = parser.add_argument_group("faces")
    data.add_argument("--dataset", choices=DATASETS, help="which faces (default: the checkpoint's)")
    data.add_argument("--data", type=Path, metavar="PATH", help="HDF5 file (default: data/<dataset>.h5)")
    data.add_argument("--split", metavar="NAME", help="default: PrivateTest if it is there, else PublicTest")
    group = parser.add_argument_group("computation")
    group.add_argument("--views", choices=VIEWS, default="ten", help="crops of a face whose logits are averaged")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
    group.add_argument(
        "--batch-size",
        "--bs",
        "--batch_size",
        type=cli.positive_int,
        default=512,
        metavar="N",
        help="views at once",
    )
    group.add_argument("--amp", action=argparse.BooleanOptionalAction, default=False, help="bfloat16, not float32")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole script, without its command line."""
    from utils.files import check_writable
    from utils.report import text_report, write_report

    classifiers, faces, split = load(args)
    folder = args.output or Path(classifiers[0].path).parent / f"evaluation-{split}-{args.views}"
    check_writable(folder)
    metrics, probabilities = evaluate(classifiers, faces, split, args.views, args.batch_size, args.amp)
    metrics["data"] = str(data_path(args, classifiers))
    part = faces.splits[split]
    paths = write_report(folder, metrics, part.pixels, part.labels, probabilities, part.extra)
    print(text_report(metrics))
    print(f"\nwrote {', '.join(path.name for path in paths)} to {folder}")
    return metrics


def load(args: argparse.Namespace) -> tuple[list["Classifier"], "FaceSet", str]:
    """Return the checkpoints, the faces and the name of the split, or raise ValueError."""
    from datasets.storage import read_faces
    from models import build_model
    from utils.checkpoint import load_classifier
    from utils.device import pick_device

    device = pick_device(args.device)
    classifiers = [load_classifier(find_checkpoint(path), build_model, device) for path in args.checkpoint]
    data = data_path(args, classifiers)
    faces = read_faces(data)
    if args.dataset and args.dataset != faces.dataset:
        raise ValueError(
            f"{data} holds {faces.dataset}, not {args.dataset}; leave --dataset out, or give another --data"
        )
    for classifier in classifiers:
        if classifier.class_names != faces.class_names:
            raise ValueError(
                f"{classifier.path} tells {', '.join(classifier.class_names)} apart, but {data} is labelled"
                f" {', '.join(faces.class_names)}; give --data with the classes of the checkpoint"
                f" (it was trained on {classifier.dataset})"
            )
    return classifiers, faces, choose_split(faces, args.split, data)


def data_path(args: argparse.Namespace, classifiers: Sequence["Classifier"]) -> Path:
    """The HDF5 file to read."""
    return args.data or Path("data") / f"{args.dataset or classifiers[0].dataset}.h5"


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint that is meant: the file, or a run folder's best.pt, else its last.pt."""
    path = Path(path)
    if not path.is_dir():
        return path
    for name in ("best.pt", "last.pt"):
        if (path / name).is_file():
            return path / name
    inside = sorted(str(file.parent) for file in path.glob("*/*.pt"))
    todo = f"give one of {', '.join(dict.fromkeys(inside))}" if inside else "train one with: python train.py"
    raise FileNotFoundError(f"{path} has no best.pt and no last.pt; {todo}")


def choose_split(faces: "FaceSet", name: str | None, source: Path) -> str:
    """Return `name`, or the split that is for testing and a printed line that says which."""
    there = list(faces.splits)
    if name:
        if name not in there:
            raise ValueError(f"--split {name}: {source} has {', '.join(there)}")
        return name
    name = next((usual for usual in ("PrivateTest", "PublicTest") if usual in there), None)
    if name is None and len(there) > 1:
        raise ValueError(f"{source} has {', '.join(there)}; say which to test with --split")
    name = name or there[0]
    print(f"split: {name} (of {', '.join(there)} in {source})")
    return name


def evaluate(
    classifiers: Sequence["Classifier"],
    faces: "FaceSet",
    split: str,
    views: str = "ten",
    batch_size: int = 512,
    amp: bool = False,
) -> tuple[dict[str, Any], "np.ndarray"]:
    """Return the metrics (all of metrics.json but `data`) and the mean probabilities, float64 (n, classes).

    Every checkpoint sees the faces as its own input convention says. With Training among the faces, the
    accuracy without the pixel-identical twins of training faces is there too; where faces belong to
    sequences, the accuracy over these.
    """
    import torch

    from datasets.fer2013 import twin_mask
    from datasets.views import make_views
    from utils.inference import predict
    from utils.metrics import accuracy_interval, compute_metrics, mean_by_group

    part = faces.splits[split]
    total = torch.zeros(len(part.labels), len(faces.class_names), dtype=torch.float64)
    for classifier in classifiers:
        inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
        logits = predict(classifier.model, part.pixels, make_views(views, **inputs), batch_size, amp)
        total += logits.double().softmax(1)
    probabilities = (total / len(classifiers)).numpy()

    metrics = compute_metrics(part.labels, probabilities, faces.class_names)
    metrics |= {"dataset": faces.dataset, "split": split, "views": views, "amp": amp}
    metrics["checkpoints"] = [describe(classifier) for classifier in classifiers]
    chosen = [checkpoint["selected_on"] for checkpoint in metrics["checkpoints"]]
    metrics["selected_on"] = ", ".join(dict.fromkeys(name for name in chosen if name)) or None
    correct = probabilities.argmax(1) == part.labels
    if "Training" in faces.splits and split != "Training":
        twins = twin_mask(part.pixels, faces.splits["Training"].pixels)
        metrics["without_twins"] = accuracy_interval(correct[~twins])
    if "sequence" in part.extra:  # counted from 1 for every subject
        columns = [part.extra[name] for name in ("subject", "sequence") if name in part.extra]
        sequences = ["/".join(names) for names in zip(*columns, strict=True)]
        labels, means = mean_by_group(part.labels, probabilities, sequences)
        metrics["sequences"] = accuracy_interval(means.argmax(1) == labels)
    fitted = any(classifier.dataset == faces.dataset for classifier in classifiers)
    if fitted and split in ("Training", "data"):
        metrics["notes"] = [f"the network was fitted to faces of {split}; expect less on new ones"]
    return metrics, probabilities


def describe(classifier: "Classifier") -> dict[str, Any]:
    """Where a checkpoint's weights come from: path, sha256, dataset, model, recipe, epoch, selection."""
    from datasets.storage import source_digest
    from utils.report import LAST_EPOCH

    info, best = classifier.info, classifier.info.get("best")
    selected_on = info.get("select_on")
    if isinstance(best, dict) and "epoch" in best and best["epoch"] != info.get("epoch"):
        selected_on = LAST_EPOCH
    about = {"path": classifier.path, "sha256": source_digest(classifier.path), "dataset": classifier.dataset}
    about |= {key: info.get(key) for key in ("model_name", "recipe", "epoch")}
    return about | {"selected_on": selected_on}


if __name__ == "__main__":
    main()
