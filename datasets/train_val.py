"""Train set and validation set: of an ordinary run, or of every fold of a k-fold run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from datasets.duplicates import face_groups
from datasets.folds import frame_folds, stratified_folds, subject_folds, subjects_of
from datasets.names import FOLDS, LAST_EPOCH
from datasets.storage import FaceSet, Split


@dataclass(frozen=True)
class TrainVal:
    """What one network is trained and validated on.

    train_pixels uint8 (N, 48, 48); train_targets labels int64 (N,), or probabilities (N, classes): the file's soft
    targets, or predictions mixed into the labels (`soften`). Of a k-fold run `val` is the tested fold.
    """

    dataset: str
    class_names: tuple[str, ...]
    train_pixels: np.ndarray
    train_targets: np.ndarray
    train_labels: np.ndarray  # (N,) int64, also where the targets are soft
    train_index: np.ndarray  # rows in the file's split
    val: Split
    val_index: np.ndarray
    val_name: str  # "PublicTest", "fold 3", ...
    data_sha256: str  # `Split.sha256` of the split that the training set is from
    select_on: str  # `val_name` where the validation set selects the epoch, or LAST_EPOCH
    fold: int | None = None  # from 1
    folds: int | None = None
    how_split: str = ""  # "by subject", "by frame", "stratified"

    @property
    def selects(self) -> bool:
        """Whether the validation set selects the epoch; otherwise the last one counts."""
        return self.select_on == self.val_name

    @cached_property
    def train_sha256(self) -> str:
        """Of what is trained on: which faces, and their targets."""
        return _digest(self.train_index, self.train_targets)

    @cached_property
    def val_sha256(self) -> str:
        """Of what is validated on: which faces, and their labels."""
        return _digest(self.val_index, self.val.pixels, self.val.labels)

    @property
    def how_selected(self) -> str:
        """For the log: which epoch counts."""
        if not self.selects:
            return "the last epoch counts"
        warning = ": selected on the test set, for comparison with older figures only"
        return f"selects the epoch{warning if self.fold or self.val_name == 'PrivateTest' else ''}"


def train_val_of_run(
    faces: FaceSet, select_on: str | None, folds: int | None, fold: int | None, protocol: str = "subject"
) -> list[TrainVal]:
    """One TrainVal, or of a k-fold run one per fold, and of these only number `fold` if that is given.

    CK+ is always a k-fold run; FER2013 is one where `folds` or `fold` is given. Raises ValueError for what cannot be.
    """
    if not (folds or fold or "data" in faces.splits):
        if protocol == "frame":
            raise ValueError("--protocol frame: these are folds of CK+, and no folds were asked for; leave it out")
        return [train_val_split(faces, select_on)]
    if select_on not in (None, "test"):
        raise ValueError(
            f"--select-on {select_on}: with folds give test (the tested fold selects the epoch) or leave it out"
        )
    splits = train_val_folds(faces, folds, protocol, select=select_on == "test")
    if fold and fold > len(splits):
        raise ValueError(f"--fold {fold}: there are {len(splits)} folds")
    return splits[fold - 1 : fold] if fold else splits


def train_val_split(faces: FaceSet, select_on: str | None = None) -> TrainVal:
    """Train on Training, select on `select_on`: PublicTest, or where there is none, a stratified tenth of Training.

    Raises ValueError where a split that is asked for is not there.
    """
    if "Training" not in faces.splits:
        raise ValueError(f"there is no split Training, only {', '.join(faces.splits)}")
    if select_on == "Training":
        others = ", ".join(name for name in faces.splits if name != "Training") or "no other"
        raise ValueError(f"--select-on Training: the training set cannot select the epoch; there is {others}")
    if select_on is not None and select_on not in faces.splits:
        others = ", ".join(name for name in faces.splits if name != "Training") or "Training alone"
        raise ValueError(f"--select-on {select_on!r}: there is {others}")
    name = select_on or "PublicTest"
    if name in faces.splits:
        everything = np.arange(len(faces.splits["Training"]))
        return _train_val(faces, "Training", everything, name, np.arange(len(faces.splits[name])), name, name)
    groups = face_groups(faces.splits["Training"].pixels)
    different = len(np.unique(groups))
    if different < FOLDS:
        raise ValueError(
            f"there is no PublicTest, and {different} different faces in Training are too few to set a tenth of them"
            " aside; give more, or faces to validate on (val/)"
        )
    tenth = stratified_folds(faces.splits["Training"].labels, groups, FOLDS, seed=0)[0]
    rest = _others(tenth, len(faces.splits["Training"]))
    name = "a tenth of Training"
    return _train_val(faces, "Training", rest, "Training", tenth, name, name)


def train_val_folds(
    faces: FaceSet, folds: int | None, protocol: str = "subject", select: bool = False
) -> list[TrainVal]:
    """One TrainVal per fold; `folds` None is ten.

    CK+: by subject (no subject in both sets) or by frame (the older folds, ten only). FER2013: its Training,
    stratified, with pixel-identical faces in one fold. The last epoch counts, unless `select`: then the tested fold
    selects it.
    """
    count = folds or FOLDS
    if "data" in faces.splits:
        split, name = faces.splits["data"], "data"
        if protocol == "frame" and count != FOLDS:
            raise ValueError(f"--folds {count}: the frame protocol has {FOLDS} folds")
        if protocol == "frame":
            tests, how = frame_folds(split.labels), "by frame"
        else:
            tests, how = subject_folds(subjects_of(split), count), "by subject"
    elif "Training" in faces.splits:
        if protocol == "frame":
            raise ValueError("--protocol frame is for CK+; the folds of FER2013 are stratified")
        split, name = faces.splits["Training"], "Training"
        tests, how = stratified_folds(split.labels, face_groups(split.pixels), count, seed=0), "stratified"
    else:
        raise ValueError(f"folds are made of a split data or Training; there are {', '.join(faces.splits)}")
    splits = []
    for number, test in enumerate(tests, 1):
        title = f"fold {number}"
        rest = _others(test, len(split))
        data = _train_val(faces, name, rest, name, test, title, title if select else LAST_EPOCH)
        splits.append(replace(data, fold=number, folds=len(tests), how_split=how))
    return splits


def soften(
    data: TrainVal,
    index: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    weight: float,
) -> TrainVal:
    """Targets become (1 - weight) x target + weight x probabilities of the face.

    index (M,), labels (M,), probabilities (M, classes): a row for every training face, by its row in the file's split.
    Raises ValueError where faces have no row, or another label there.
    """
    if tuple(names) != data.class_names:
        raise ValueError(
            f"the soft targets' classes are {', '.join(names)}, the faces' {', '.join(data.class_names)}; give"
            " predictions of these faces"
        )
    rows = np.full(data.train_index.max() + 1, -1)
    there = np.flatnonzero(index < len(rows))
    rows[index[there]] = there
    rows = rows[data.train_index]
    if (rows < 0).any():
        raise ValueError(
            f"{(rows < 0).sum()} of the {len(rows)} training faces have no soft target; give predictions of all of"
            " them: evaluate.py --split Training"
        )
    others = (labels[rows] != data.train_labels).sum()
    if others:
        raise ValueError(
            f"{others} of the {len(rows)} training faces have another label in the soft targets' file; give"
            " predictions of these faces"
        )
    targets = data.train_targets
    targets = np.eye(len(names), dtype=np.float32)[targets] if targets.ndim == 1 else targets
    return replace(data, train_targets=((1 - weight) * targets + weight * probabilities[rows]).astype(np.float32))


def without_soft(faces: FaceSet) -> FaceSet:
    """The same faces with their labels alone."""
    return replace(faces, splits={name: replace(split, soft=None) for name, split in faces.splits.items()})


def limited(data: TrainVal, count: int | None) -> TrainVal:
    """The same with `count` training faces only, evenly spread: files may be sorted by class."""
    have = len(data.train_targets)
    if count is None or count >= have:
        return data
    rows = np.arange(count) * have // count
    return replace(
        data,
        train_pixels=data.train_pixels[rows],
        train_targets=data.train_targets[rows],
        train_labels=data.train_labels[rows],
        train_index=data.train_index[rows],
    )


def _train_val(
    faces: FaceSet, train: str, train_rows: np.ndarray, test: str, test_rows: np.ndarray, name: str, select_on: str
) -> TrainVal:
    trained, tested = faces.splits[train], faces.splits[test]
    return TrainVal(
        dataset=faces.dataset,
        class_names=faces.class_names,
        train_pixels=trained.pixels[train_rows],
        train_targets=(trained.labels if trained.soft is None else trained.soft)[train_rows],
        train_labels=trained.labels[train_rows],
        train_index=train_rows,
        val=Split(
            tested.pixels[test_rows],
            tested.labels[test_rows],
            {column: values[test_rows] for column, values in tested.extra.items()},
        ),
        val_index=test_rows,
        val_name=name,
        data_sha256=trained.sha256,
        select_on=select_on,
    )


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _others(rows: np.ndarray, count: int) -> np.ndarray:
    return np.setdiff1d(np.arange(count), rows)
