"""Which faces one training run learns from, and which it is measured on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from datasets.duplicates import face_groups
from datasets.folds import FOLDS, frame_folds, stratified_folds, subject_folds, subjects_of
from datasets.names import LAST_EPOCH
from datasets.storage import FaceSet, Split


@dataclass(frozen=True)
class Part:
    """One run's faces: pixels uint8 (N, 48, 48), labels int64 (N,), targets labels or probabilities (N, classes)."""

    dataset: str
    class_names: tuple[str, ...]
    train_pixels: np.ndarray
    train_targets: np.ndarray
    train_index: np.ndarray  # rows in the file's split
    test: Split
    test_index: np.ndarray
    test_name: str  # "PublicTest", "fold 3", ...
    data_sha256: str  # `Split.sha256` of the split that the training set is from
    select_on: str  # `test_name` where the tested faces choose the epoch, or LAST_EPOCH
    fold: int | None = None  # from 1
    folds: int | None = None

    @property
    def selects(self) -> bool:
        """Whether the tested faces select the epoch; otherwise the last one counts."""
        return self.select_on == self.test_name

    @property
    def how_selected(self) -> str:
        """For the log: which epoch counts."""
        if not self.selects:
            return "the last epoch counts"
        warning = ": selected on the test set, for comparison with older figures only"
        return f"they select the epoch{warning if self.fold or self.test_name == 'PrivateTest' else ''}"


def run_parts(
    data: FaceSet, select_on: str | None, folds: int | None, fold: int | None, protocol: str = "subject"
) -> list[Part]:
    """What a run trains on: one part, or of a k-fold run one a fold, and of these only number `fold` if that is given.

    CK+ is always a k-fold run; FER2013 is one where `folds` or `fold` is given. Raises ValueError for what cannot be.
    """
    if not (folds or fold or "data" in data.splits):
        return [selecting_part(data, select_on)]
    if select_on not in (None, "test"):
        raise ValueError(f"--select-on {select_on}: in folds only test is possible")
    parts = fold_parts(data, folds, protocol, select=select_on == "test")
    if fold and fold > len(parts):
        raise ValueError(f"--fold {fold}: there are {len(parts)} folds")
    return parts[fold - 1 : fold] if fold else parts


def selecting_part(data: FaceSet, select_on: str | None = None) -> Part:
    """Train on Training, select on `select_on`: PublicTest, or where there is none a stratified tenth of Training.

    Raises ValueError where a split that is asked for is not there.
    """
    if "Training" not in data.splits:
        raise ValueError(f"there is no split Training, only {', '.join(data.splits)}")
    if select_on == "Training":
        raise ValueError("--select-on Training: the training set cannot select the epoch")
    if select_on and select_on not in data.splits:
        raise ValueError(f"--select-on {select_on}: there are {', '.join(data.splits)}")
    name = select_on or "PublicTest"
    if name in data.splits:
        everything = np.arange(len(data.splits["Training"]))
        return _part(data, "Training", everything, name, np.arange(len(data.splits[name])), name, name)
    tenth = stratified_folds(
        data.splits["Training"].labels, face_groups(data.splits["Training"].pixels), FOLDS, seed=0
    )[0]
    rest = _others(tenth, len(data.splits["Training"]))
    name = "a tenth of Training"
    return _part(data, "Training", rest, "Training", tenth, name, name)


def fold_parts(data: FaceSet, folds: int | None, protocol: str = "subject", select: bool = False) -> list[Part]:
    """The parts of a k-fold run; `folds` None is ten.

    CK+: by subject (nobody in both parts) or by frame (the older folds, ten only). FER2013: its Training, stratified,
    with pixel-identical faces in one fold. The last epoch counts, unless `select`: then the tested faces choose it.
    """
    count = folds or FOLDS
    if "data" in data.splits:
        split, name = data.splits["data"], "data"
        if protocol == "frame" and count != FOLDS:
            raise ValueError(f"--folds {count}: the frame protocol has {FOLDS} folds")
        if protocol == "frame":
            tests = frame_folds(split.labels)
        else:
            tests = subject_folds(subjects_of(split), count)
    elif "Training" in data.splits:
        if protocol == "frame":
            raise ValueError("--protocol frame is for CK+; the folds of FER2013 are stratified")
        split, name = data.splits["Training"], "Training"
        tests = stratified_folds(split.labels, face_groups(split.pixels), count, seed=0)
    else:
        raise ValueError(f"folds are made of a split data or Training; there are {', '.join(data.splits)}")
    parts = []
    for number, test in enumerate(tests, 1):
        title = f"fold {number}"
        rest = _others(test, len(split))
        part = _part(data, name, rest, name, test, title, title if select else LAST_EPOCH)
        parts.append(replace(part, fold=number, folds=len(tests)))
    return parts


def soften(
    part: Part,
    index: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    names: Sequence[str],
    weight: float,
) -> Part:
    """Targets become (1 - weight) x label + weight x probabilities of the face.

    index (M,), labels (M,), probabilities (M, classes): a row for every training face, by its row in the file's split.
    Raises ValueError where faces have no row, or another label there.
    """
    if tuple(names) != part.class_names:
        raise ValueError(f"soft targets are for {', '.join(names)}, the labels for {', '.join(part.class_names)}")
    rows = np.full(max(index.max(initial=0), part.train_index.max()) + 1, -1)
    rows[index] = np.arange(len(index))
    rows = rows[part.train_index]
    if (rows < 0).any():
        raise ValueError(f"{(rows < 0).sum()} of the {len(rows)} training faces have no soft target")
    others = (labels[rows] != part.train_targets).sum()
    if others:
        raise ValueError(f"{others} of the {len(rows)} training faces have another label in the soft targets' file")
    hard = np.eye(len(names), dtype=np.float32)[part.train_targets]
    return replace(part, train_targets=((1 - weight) * hard + weight * probabilities[rows]).astype(np.float32))


def limited(part: Part, count: int | None) -> Part:
    """The same, fitting `count` faces only, evenly spread: files may be sorted by class."""
    have = len(part.train_targets)
    if count is None or count >= have:
        return part
    rows = np.arange(count) * have // count
    return replace(
        part,
        train_pixels=part.train_pixels[rows],
        train_targets=part.train_targets[rows],
        train_index=part.train_index[rows],
    )


def _part(
    data: FaceSet, train: str, train_rows: np.ndarray, test: str, test_rows: np.ndarray, name: str, select_on: str
) -> Part:
    trained, tested = data.splits[train], data.splits[test]
    return Part(
        dataset=data.dataset,
        class_names=data.class_names,
        train_pixels=trained.pixels[train_rows],
        train_targets=trained.labels[train_rows],
        train_index=train_rows,
        test=Split(
            tested.pixels[test_rows],
            tested.labels[test_rows],
            {column: values[test_rows] for column, values in tested.extra.items()},
        ),
        test_index=test_rows,
        test_name=name,
        data_sha256=trained.sha256,
        select_on=select_on,
    )


def _others(rows: np.ndarray, count: int) -> np.ndarray:
    return np.setdiff1d(np.arange(count), rows)
