"""Test checkpoints on one split: load them, predict every face, compute what metrics.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datasets.duplicates import twin_mask
from datasets.names import DATASETS, same_faces
from datasets.storage import FaceSet, Split, read_faces
from datasets.train_val import train_val_folds
from engine.config import read_config
from engine.evaluation.comparison import side_by_side
from engine.evaluation.metrics import (
    accuracy_interval,
    average_precision,
    compute_metrics,
    headline_intervals,
    sequence_accuracy,
)
from engine.predict import classifier_probabilities, views_at_once
from models.checkpoint import Classifier, find_checkpoints, load_classifier, selected_on
from utils.cli import quoted, remark
from utils.device import enough_memory, pick_device
from utils.files import source_digest

ENSEMBLE = "ensemble"  # of all that were given: their probabilities, averaged


@dataclass(frozen=True)
class SplitPredictions:
    """The faces that were tested, their rows in the split, and their mean probabilities, float64 (n, classes).

    members: of several that were given, each one's own probabilities, in that order; none where they did not all test
        the same faces, as the folds of one k-fold run do not.
    """

    faces: Split
    index: np.ndarray
    probabilities: np.ndarray
    members: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class EvalSetup:
    """What is tested and how: checkpoints on a split of the faces, which are from the file `data`.

    members: the paths that were given, each with its checkpoints: one, or those of a k-fold run.
    """

    members: Mapping[str, Sequence[Classifier]]
    faces: FaceSet
    split: str
    data: Path
    views: str = "ten"
    batch_size: int | None = None  # views per forward pass
    amp: bool = False

    @property
    def classifiers(self) -> list[Classifier]:
        """Every checkpoint."""
        return [classifier for group in self.members.values() for classifier in group]


def load_setup(
    checkpoints: Sequence[Path],
    dataset: str | None = None,
    data: Path | None = None,
    split: str | None = None,
    device: str = "auto",
    views: str = "ten",
    batch_size: int | None = None,
    amp: bool = False,
) -> EvalSetup:
    """Load checkpoints (files, run folders) and faces, or raise ValueError for what does not fit together.

    dataset, data, split: by default the checkpoint's own set, the file that its run was trained on (or the usual one),
        and the split that is for testing.
    views, batch_size (views per forward pass), amp: as in `engine.predict.predict`.
    """
    on = pick_device(device)
    members = {str(path): [load_classifier(file, on) for file in find_checkpoints(path)] for path in checkpoints}
    classifiers = [classifier for group in members.values() for classifier in group]
    for classifier in classifiers:
        if "origin" in classifier.info:
            remark(f"{classifier.path}: {classifier.info['origin']}")
    if data is None and dataset is None:
        data = _data_of_run(Path(classifiers[0].path))
    if data is None:
        expected = dataset or classifiers[0].dataset
        data = Path("data") / f"{expected}.h5"
    else:
        expected = dataset  # a file that was named may be of any faces
    faces = read_faces(data, dataset=expected)
    if dataset and dataset != faces.dataset:
        raise ValueError(
            f"{data} holds {faces.dataset}, not {dataset}; give --dataset {quoted(faces.dataset)}, or another --data"
        )
    for classifier in classifiers:
        if classifier.class_names != faces.class_names:
            raise ValueError(
                f"{classifier.path} has the classes {', '.join(classifier.class_names)}, but {data} has"
                f" {', '.join(faces.class_names)}; give --data with the classes of the checkpoint"
                f" (it was trained on {classifier.dataset})"
            )
    return EvalSetup(members, faces, choose_split(faces, split, data), data, views, batch_size, amp)


def _data_of_run(checkpoint: Path) -> Path | None:
    """The file that the run of a checkpoint was trained on, if its folder says so.

    None for a usual set whose file is no longer there: it may be at its usual place.
    """
    for folder in checkpoint.absolute().parents[:3]:  # of a fold and a seed, the run's folder is two above
        if (folder / "args.json").is_file():
            config = read_config(folder / "args.json")
            if config.data.is_file():
                return config.data
            if config.dataset in DATASETS:
                return None
            raise FileNotFoundError(
                f"{folder} was trained on {config.data}, which is not there (seen from {Path.cwd()}): give --data with"
                " its new place"
            )
    return None


def choose_split(faces: FaceSet, name: str | None, source: Path) -> str:
    """Return `name`, or the split that is for testing and a note that says which."""
    there = list(faces.splits)
    if name is not None:
        if name not in there:
            raise ValueError(f"--split {name!r}: {source} has {', '.join(there)}")
        return name
    name = next((usual for usual in ("PrivateTest", "PublicTest") if usual in there), None)
    if name is None and len(there) > 1:
        raise ValueError(f"{source} has {', '.join(there)}; say which to test with --split")
    name = name or there[0]
    remark(f"split: {name} (of {', '.join(there)} in {source})")
    return name


def evaluate(setup: EvalSetup) -> tuple[dict[str, Any], SplitPredictions]:
    """Return the metrics, all of metrics.json, and what they come from.

    Every checkpoint sees the faces as its own input convention says; those of a k-fold run see the fold that they
    were not trained on. With Training among the faces, the accuracy without the pixel-identical twins of training
    faces is there too; where faces belong to sequences, the accuracy over these.
    """
    faces, split = setup.faces, setup.split
    tested = predict_split(setup)
    labels, probabilities, extra = tested.faces.labels, tested.probabilities, tested.faces.extra
    metrics = compute_metrics(labels, probabilities, faces.class_names)
    metrics["intervals"] = headline_intervals(metrics)
    metrics["average_precision"] = average_precision(labels, probabilities, faces.class_names)
    metrics |= {"dataset": faces.dataset, "split": split, "views": setup.views, "amp": setup.amp}
    metrics["checkpoints"] = [describe(classifier) for classifier in setup.classifiers]
    metrics["selected_on"] = _selected_on(metrics["checkpoints"], faces.dataset)
    correct = probabilities.argmax(1) == labels
    if "Training" in faces.splits and split != "Training":
        twins = twin_mask(tested.faces.pixels, faces.splits["Training"].pixels)
        metrics["without_twins"] = accuracy_interval(correct[~twins])
    if "sequence" in extra:
        metrics["sequences"] = sequence_accuracy(labels, probabilities, extra)
    trained = any(classifier.dataset == faces.dataset for classifier in setup.classifiers)
    if "fold" in extra:
        metrics["notes"] = ["every fold's network was tested on the faces of its fold, on which it was not trained"]
    elif trained and split in ("Training", "data"):
        metrics["notes"] = [f"the network was trained on faces of {split}; on new ones it will do worse"]
    if tested.members:
        named = [*zip(setup.members, tested.members, strict=True), (ENSEMBLE, probabilities)]
        metrics["members"] = side_by_side(labels, named, faces.class_names)
    metrics["data"] = str(setup.data)
    return metrics, tested


def predict_split(setup: EvalSetup) -> SplitPredictions:
    """Test every checkpoint on all of the split, or, if they come from a k-fold run on it, on its own fold."""
    split = setup.faces.splits[setup.split]
    if setup.split not in ("Training", "data") or any(c.info.get("fold") is None for c in setup.classifiers):
        return SplitPredictions(split, np.arange(len(split)), *_probabilities(setup, setup.classifiers, split.pixels))
    by_fold: dict[tuple, list[Classifier]] = {}
    for classifier in setup.classifiers:
        by_fold.setdefault(tuple(classifier.info["fold"].values()), []).append(classifier)
    kinds = {(folds, protocol): group[0].path for (_, folds, protocol), group in by_fold.items()}
    if len(kinds) > 1:
        found = ", ".join(f"{path} of {folds} by {protocol}" for (folds, protocol), path in kinds.items())
        raise ValueError(f"these folds are not the same faces ({found}); test each k-fold run on its own")
    index, parts, numbers = [], [], []
    for (number, folds, protocol), group in by_fold.items():
        own = train_val_folds(setup.faces, folds, protocol)[number - 1]
        for classifier in group:
            kept = (classifier.info.get(name) or getattr(own, name) for name in ("data_sha256", "val_sha256"))
            if tuple(kept) != (own.data_sha256, own.val_sha256):
                raise ValueError(
                    f"{classifier.path} was trained on other faces than those of {setup.split} here, so it is not known"
                    " which of these it has seen; give --data with the file that it was trained on"
                )
        index.append(own.val_index)
        parts.append(_probabilities(setup, group, own.val.pixels))
        numbers.append(np.full(len(own.val_index), number))
    rows = np.concatenate(index)
    extra = {name: values[rows] for name, values in split.extra.items()} | {"fold": np.concatenate(numbers)}
    members = [own for _, own in parts if own]
    complete = len(members) == len(parts)
    return SplitPredictions(
        Split(split.pixels[rows], split.labels[rows], extra),
        rows,
        np.concatenate([mean for mean, _ in parts]),
        tuple(np.concatenate(own) for own in zip(*members, strict=True)) if complete else (),
    )


def _probabilities(
    setup: EvalSetup, group: Sequence[Classifier], pixels: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Softmax of each checkpoint's logits, averaged over the group: float64 (n, classes); and over each member's part.

    Without the second where one member, or not every one, has a checkpoint in the group.
    """
    size = setup.batch_size or views_at_once(next(group[0].model.parameters()).device)
    with enough_memory(f"--batch-size {size}", f"give --batch-size {max(1, size // 2)}"):
        own = [classifier_probabilities(c, pixels, setup.views, size, setup.amp) for c in group]
    parts = [[p for c, p in zip(group, own, strict=True) if any(c is m for m in of)] for of in setup.members.values()]
    several = len(parts) > 1 and all(parts)
    return sum(own) / len(own), tuple(sum(part) / len(part) for part in parts) if several else ()


def describe(classifier: Classifier) -> dict[str, Any]:
    """Where a checkpoint's weights come from: path, sha256, dataset, model, recipe, epoch, selection, ancestors."""
    info = classifier.info
    about = {"path": classifier.path, "sha256": source_digest(classifier.path), "dataset": classifier.dataset}
    about |= {key: info.get(key) for key in ("model_name", "recipe", "epoch")}
    return about | {"selected_on": selected_on(info), "ancestors": info.get("ancestors", [])}


def _selected_on(checkpoints: Sequence[dict[str, Any]], dataset: str) -> str | None:
    """Every split that selected one of the checkpoints, or one that its weights come from and is of these faces."""
    chosen = [checkpoint["selected_on"] for checkpoint in checkpoints]
    ancestors = [ancestor for checkpoint in checkpoints for ancestor in checkpoint["ancestors"]]
    chosen += [ancestor["selected_on"] for ancestor in ancestors if same_faces(ancestor["dataset"], dataset)]
    return ", ".join(dict.fromkeys(name for name in chosen if name)) or None
