"""Test one checkpoint, or several together, on one split of a data set.

    python evaluate.py --checkpoint runs/resnet18
    python evaluate.py --checkpoint runs/a/best.pt runs/b/best.pt --split PublicTest --views flip

Prints the accuracy with its 95% interval and a line a class; writes metrics.json, predictions.csv,
confusion_matrix.png, reliability.png and mistakes.png. A face's logits are averaged over its views, the
probabilities of several checkpoints over the checkpoints.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import cli

if TYPE_CHECKING:  # torch is imported where it is needed, so that --help and a wrong flag answer at once
    import numpy as np

    from datasets.storage import FaceSet, Split
    from utils.checkpoint import Adapt, Classifier

DATASETS = ("fer2013", "ckplus", "synthetic", "synthetic-ckplus")
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
        help="where the files go (default: evaluation-<split>-<views> in the folder that has all checkpoints)",
    )
    parser.add_argument(
        "--convert",
        type=Path,
        metavar="OUT",
        help="test nothing: write what testing needs of the checkpoint to OUT, in half precision",
    )
    args = parser.parse_args(argv)
    return cli.run(parser, args, convert if args.convert else run)


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
        metavar="N",
        help="views at once (default: 64 on a CPU, 1024 on a GPU)",
    )
    group.add_argument("--amp", action=argparse.BooleanOptionalAction, default=False, help="bfloat16, not float32")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The whole script, without its command line."""
    from utils.files import check_writable
    from utils.report import text_report, write_report

    classifiers, faces, split = load(args)
    folder = args.output or shared_folder(args.checkpoint) / f"evaluation-{split}-{args.views}"
    check_writable(folder)
    metrics, tested = evaluate(classifiers, faces, split, args.views, args.batch_size, args.amp)
    metrics["data"] = str(data_path(args, classifiers))
    part = tested.faces
    paths = write_report(folder, metrics, part.pixels, tested.index, part.labels, tested.probabilities, part.extra)
    print(text_report(metrics))
    print(f"\nwrote {', '.join(path.name for path in paths)} to {folder}")
    return metrics


def convert(args: argparse.Namespace) -> dict[str, Any]:
    """Write a release file: no optimizer, half the bytes."""
    from datasets.storage import source_digest
    from utils.checkpoint import load_checkpoint, release, save_checkpoint

    files = [file for path in args.checkpoint for file in find_checkpoints(path)]
    if len(files) != 1:
        raise ValueError(f"--convert takes one checkpoint, not {len(files)}")
    if args.convert.exists() and args.convert.samefile(files[0]):
        raise ValueError(f"--convert {args.convert}: that is the checkpoint itself, which can be resumed; give another")
    if not args.convert.parent.is_dir():
        raise FileNotFoundError(f"--convert {args.convert}: there is no folder {args.convert.parent}")
    state = load_checkpoint(files[0], older_formats())
    if "origin" in state:
        print(f"{files[0]}: {state['origin']}")
    save_checkpoint(args.convert, release(state))
    size, digest = args.convert.stat().st_size, source_digest(args.convert)
    print(f"wrote {args.convert}: {size / 1e6:.1f} MB, SHA-256 {digest}")
    return {"path": str(args.convert), "bytes": size, "sha256": digest}


def load(args: argparse.Namespace) -> tuple[list["Classifier"], "FaceSet", str]:
    """Return the checkpoints, the faces and the name of the split, or raise ValueError."""
    from datasets.storage import read_faces
    from models import build_model
    from utils.checkpoint import load_classifier
    from utils.device import pick_device

    device = pick_device(args.device)
    files = [file for path in args.checkpoint for file in find_checkpoints(path)]
    classifiers = [load_classifier(file, build_model, device, older_formats()) for file in files]
    for classifier in classifiers:
        if "origin" in classifier.info:
            print(f"{classifier.path}: {classifier.info['origin']}")
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


def older_formats() -> "Adapt":
    """Return what makes `load_checkpoint` read the checkpoints of older repositories."""
    from datasets import ckplus, fer2013
    from models.foreign import adapt

    return partial(adapt, class_names={"fer2013": fer2013.CLASS_NAMES, "ckplus": ckplus.CLASS_NAMES})


def data_path(args: argparse.Namespace, classifiers: Sequence["Classifier"]) -> Path:
    """The HDF5 file to read."""
    return args.data or Path("data") / f"{args.dataset or classifiers[0].dataset}.h5"


def find_checkpoints(path: str | Path) -> list[Path]:
    """Return the files that are meant: the file, a run folder's best.pt (else last.pt), or one of each fold in it."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    for name in ("best.pt", "last.pt"):
        if (path / name).is_file():
            return [path / name]
    folds = sorted(path.glob("fold-*/best.pt"))
    if folds:
        return folds
    inside = sorted(str(file.parent) for file in [*path.glob("*/*.pt"), *path.glob("*/*/*.pt")])
    inside += sorted(str(file) for file in path.iterdir() if file.suffix in (".t7", ".t8", ".tar"))  # older ones
    todo = f"give one of {', '.join(dict.fromkeys(inside))}" if inside else "train one with: python train.py"
    raise FileNotFoundError(f"{path} has no best.pt and no last.pt; {todo}")


def shared_folder(paths: Sequence[Path]) -> Path:
    """The folder of the checkpoint or run; of several, the innermost one that all are in."""
    folders = [path if path.is_dir() else path.parent for path in paths]
    if len(folders) == 1:
        return folders[0]
    return Path(os.path.relpath(os.path.commonpath([folder.resolve() for folder in folders])))


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


@dataclass(frozen=True)
class Tested:
    """The faces that were tested, their rows in the split, and their mean probabilities, float64 (n, classes)."""

    faces: "Split"
    index: "np.ndarray"
    probabilities: "np.ndarray"


def evaluate(
    classifiers: Sequence["Classifier"],
    faces: "FaceSet",
    split: str,
    views: str = "ten",
    batch_size: int | None = None,
    amp: bool = False,
) -> tuple[dict[str, Any], Tested]:
    """Return the metrics (all of metrics.json but `data`) and what they come from.

    Every checkpoint sees the faces as its own input convention says; those of a k-fold run see the fold that they
    were not fitted to. With Training among the faces, the accuracy without the pixel-identical twins of training
    faces is there too; where faces belong to sequences, the accuracy over these.
    """
    from datasets.fer2013 import twin_mask
    from utils.metrics import accuracy_interval, compute_metrics, mean_by_group

    tested = predict_split(classifiers, faces, split, views, batch_size, amp)
    labels, probabilities, extra = tested.faces.labels, tested.probabilities, tested.faces.extra
    metrics = compute_metrics(labels, probabilities, faces.class_names)
    metrics |= {"dataset": faces.dataset, "split": split, "views": views, "amp": amp}
    metrics["checkpoints"] = [describe(classifier) for classifier in classifiers]
    chosen = [checkpoint["selected_on"] for checkpoint in metrics["checkpoints"]]
    ancestors = [ancestor for checkpoint in metrics["checkpoints"] for ancestor in checkpoint["ancestors"]]
    chosen += [ancestor["selected_on"] for ancestor in ancestors if ancestor["dataset"] == faces.dataset]
    metrics["selected_on"] = ", ".join(dict.fromkeys(name for name in chosen if name)) or None
    correct = probabilities.argmax(1) == labels
    if "Training" in faces.splits and split != "Training":
        twins = twin_mask(tested.faces.pixels, faces.splits["Training"].pixels)
        metrics["without_twins"] = accuracy_interval(correct[~twins])
    if "sequence" in extra:  # counted from 1 for every subject
        columns = [extra[name] for name in ("fold", "subject", "sequence") if name in extra]
        sequences = ["/".join(map(str, names)) for names in zip(*columns, strict=True)]
        sequence_labels, means = mean_by_group(labels, probabilities, sequences)
        metrics["sequences"] = accuracy_interval(means.argmax(1) == sequence_labels)
    fitted = any(classifier.dataset == faces.dataset for classifier in classifiers)
    if "fold" in extra:
        metrics["notes"] = ["every fold's network was tested on the faces of its fold, to which it was not fitted"]
    elif fitted and split in ("Training", "data"):
        metrics["notes"] = [f"the network was fitted to faces of {split}; on new ones it will do worse"]
    return metrics, tested


def predict_split(
    classifiers: Sequence["Classifier"], faces: "FaceSet", split: str, views: str, batch_size: int | None, amp: bool
) -> Tested:
    """Test every checkpoint on all of the split, or, if they come from a k-fold run on it, on its own fold."""
    import numpy as np

    from datasets.parts import fold_parts
    from datasets.storage import Split

    part = faces.splits[split]
    if split not in ("Training", "data") or any(c.info.get("fold") is None for c in classifiers):
        probabilities = mean_probabilities(classifiers, part.pixels, views, batch_size, amp)
        return Tested(part, np.arange(len(part)), probabilities)
    by_fold: dict[tuple, list[Classifier]] = {}
    for classifier in classifiers:
        by_fold.setdefault(tuple(classifier.info["fold"].values()), []).append(classifier)
    index, probabilities, numbers = [], [], []
    for (number, folds, protocol), group in by_fold.items():
        own = fold_parts(faces, folds, protocol)[number - 1]
        for classifier in group:
            if classifier.info.get("data_sha256", own.data_sha256) != own.data_sha256:
                raise ValueError(
                    f"{classifier.path} was fitted to other faces than those of {split} here, so it is not known which"
                    " of these it has seen; give --data with the file that it was trained on"
                )
        index.append(own.test_index)
        probabilities.append(mean_probabilities(group, own.test.pixels, views, batch_size, amp))
        numbers.append(np.full(len(own.test_index), number))
    rows = np.concatenate(index)
    extra = {name: values[rows] for name, values in part.extra.items()} | {"fold": np.concatenate(numbers)}
    return Tested(Split(part.pixels[rows], part.labels[rows], extra), rows, np.concatenate(probabilities))


def mean_probabilities(
    classifiers: Sequence["Classifier"], pixels: "np.ndarray", views: str, batch_size: int | None, amp: bool
) -> "np.ndarray":
    """Softmax of each checkpoint's logits, averaged over the checkpoints: float64 (n, classes)."""
    from datasets.views import make_views
    from utils.inference import predict

    total = 0.0
    for classifier in classifiers:
        inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
        logits = predict(classifier.model, pixels, make_views(views, **inputs), batch_size, amp)
        total = total + logits.double().softmax(1).numpy()
    return total / len(classifiers)


def describe(classifier: "Classifier") -> dict[str, Any]:
    """Where a checkpoint's weights come from: path, sha256, dataset, model, recipe, epoch, selection, ancestors."""
    from datasets.storage import source_digest
    from utils.selection import selected_on

    info = classifier.info
    about = {"path": classifier.path, "sha256": source_digest(classifier.path), "dataset": classifier.dataset}
    about |= {key: info.get(key) for key in ("model_name", "recipe", "epoch")}
    return about | {"selected_on": selected_on(info), "ancestors": info.get("ancestors", [])}


if __name__ == "__main__":
    main()
