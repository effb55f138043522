"""Cross-validation folds: of FER2013 with copies of a face together, of CK+ by person or as in older repositories.

All of them are lists of ascending rows int64, those that each fold tests.
"""

from collections.abc import Sequence

import numpy as np

from datasets.names import FOLDS, OFFICIAL_COUNTS
from datasets.storage import Split

BLOCKS = (12, 18, 9, 21, 9, 24, 6)  # frames of each class that a fold of the protocol `frame` tests


def stratified_folds(
    labels: Sequence[int] | np.ndarray, groups: Sequence[int] | np.ndarray, folds: int, seed: int
) -> list[np.ndarray]:
    """Rows that each fold tests: classes in proportion, and no group in two folds, so that no copy is trained on.

    Groups of several faces are dealt first, the largest at the head, to the fold that has the fewest of their classes;
    single faces then level the classes out. Without groups, a class differs by one face at most between two folds, and
    so does the whole. (scikit-learn's StratifiedGroupKFold does the same 100 times slower on 28,709 faces.)

    labels: (N,) int, from 0. groups: (N,), equal numbers for faces that belong together (`duplicates.face_groups`).
    Returns `folds` arrays of ascending rows int64; each row is in exactly one. The same seed gives the same folds.
    Raises ValueError for labels and groups of different length, and for more folds than groups.
    """
    labels = np.asarray(labels)
    if len(labels) != len(groups):
        raise ValueError(f"{len(labels)} labels and {len(groups)} groups: give one of each for every face")
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(sizes):
        raise ValueError(f"{folds} folds of {len(sizes)} different faces: give from 2 to as many as there are faces")
    rng = np.random.default_rng(seed)
    fold_of = np.empty(len(labels), np.int64)
    held = np.zeros((folds, labels.max() + 1), np.int64)  # faces of each class that a fold has so far

    rows_by_group = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    several = rng.permutation(np.flatnonzero(sizes > 1))
    for g in several[np.argsort(-sizes[several], kind="stable")]:
        rows = rows_by_group[g]
        classes = np.bincount(labels[rows], minlength=held.shape[1])
        fold = np.lexsort((held.sum(1), held @ classes))[0]
        fold_of[rows] = fold
        held[fold] += classes

    single = sizes[group] == 1
    for c in range(held.shape[1]):
        rows = rng.permutation(np.flatnonzero(single & (labels == c)))
        # Every place a fold could fill, with how many of the class it holds by then: low ones first, then small folds
        place = held[:, c, None] + np.arange(len(rows))
        smaller = np.broadcast_to(held.sum(1)[:, None], place.shape)
        chosen = np.lexsort((smaller.ravel(), place.ravel()))[: len(rows)] // max(1, len(rows))
        fold_of[rows] = chosen
        held[:, c] += np.bincount(chosen, minlength=folds)
    return [np.flatnonzero(fold_of == fold) for fold in range(folds)]


def subjects_of(split: Split) -> np.ndarray:
    """(N,) of str: who is on each face. ValueError for a file that an older repository made, which does not say."""
    if "subject" not in split.extra:
        known = OFFICIAL_COUNTS["ckplus"]["data"]
        todo = "or use --protocol frame"
        if tuple(np.bincount(split.labels, minlength=len(known))) != known:
            todo = "or, where they are others', write a column subject (datasets.storage.write_faces) or call the split"
            todo += " Training"
        raise ValueError(
            "the file does not say who is on its faces (no data_subject): make it anew with "
            f"`python preprocess_fer2013.py --dataset ckplus`, {todo}"
        )
    return split.extra["subject"]


def subject_folds(subjects: Sequence[str] | np.ndarray, folds: int = FOLDS) -> list[np.ndarray]:
    """Every tenth person to one fold, sorted by ID, so that no one is both trained on and tested.

    subjects: (N,) of str. Returns `folds` arrays of ascending rows int64; each row is in exactly one.
    In CK+ the folds have 33 39 40 35 30 37 29 29 33 22 sequences, and the tenth has no Fear.
    """
    names, person = np.unique(np.asarray(subjects, str), return_inverse=True)
    if not 2 <= folds <= len(names):
        raise ValueError(f"{folds} folds of {len(names)} people: give from 2 to as many folds as there are people")
    return [np.flatnonzero(person % folds == fold) for fold in range(folds)]


def frame_folds(labels: Sequence[int] | np.ndarray) -> list[np.ndarray]:
    """The older folds, kept to compare with figures that were made with them: blocks of frames, class by class.

    Fold f of 1 to 9 tests the n = BLOCKS[c] frames that begin (f - 1) n after the first of class c, fold 10 its last n.
    So 63% of the tested frames show a person who is trained on too, 33 frames are tested twice and 24 never. The ninth
    block of Fear needs 81 frames where there are 75: it runs on into six of Happy, as it always did.

    labels: (981,), class by class. Returns ten arrays of 99 ascending rows int64.
    Raises ValueError for other counts or another order, for which these folds mean nothing.
    """
    labels = np.asarray(labels)
    known = OFFICIAL_COUNTS["ckplus"]["data"]
    if not np.array_equal(labels, np.repeat(np.arange(len(known)), known)):
        counts = " ".join(str(np.count_nonzero(labels == c)) for c in range(len(known)))
        raise ValueError(
            f"the protocol 'frame' is made for the {sum(known)} frames of CK+48, class by class "
            f"({' '.join(map(str, known))}); these are {len(labels)} ({counts}): use --protocol subject"
        )
    ends = np.cumsum(known)
    folds = []
    for fold in range(FOLDS):
        last = fold == FOLDS - 1
        starts = [
            end - n if last else end - count + fold * n for end, count, n in zip(ends, known, BLOCKS, strict=True)
        ]
        folds.append(np.concatenate([np.arange(start, start + n) for start, n in zip(starts, BLOCKS, strict=True)]))
    return folds
