"""CK+: 327 sequences of 118 people who pose one of seven expressions; the last three frames of each are the data.

Lucey et al., "The Extended Cohn-Kanade Dataset (CK+): A complete dataset for action unit and emotion-specified
expression", CVPR Workshops 2010. There is no split into training and test: networks are compared by ten folds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from datasets.raw_ckplus import files_digest, find_source, read_folder
from datasets.raw_ckplus_original import CropFace, FindFace, read_original
from datasets.storage import FaceSet, Split

CLASS_NAMES = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Contempt")  # 6 is Neutral in FER2013
KNOWN_COUNTS = {"data": (135, 177, 75, 207, 84, 249, 54)}
SEQUENCES, SUBJECTS = 327, 118
FOLDS = 10
BLOCKS = (12, 18, 9, 21, 9, 24, 6)  # frames of each class that a fold of the protocol `frame` tests


def read_raw(
    source: str | Path, find_face: FindFace, crop_face: CropFace, say: Callable[[str], object] = print
) -> FaceSet:
    """Read either raw form of CK+, told by what is there. `say` gets what is worth knowing.

    find_face and crop_face serve the original distribution alone; see `raw_ckplus_original.read_original`.
    Raises FileNotFoundError or ValueError with the file or folder that is wrong.
    """
    folder, labels = find_source(Path(source))
    roots = [folder]
    if labels is None:
        say(f"reading the faces in {folder}")
        split, files = read_folder(folder)
    else:
        say(f"reading the frames in {folder} with the labels in {labels}")
        split, files = read_original(folder, labels, find_face, crop_face, say)
        roots.append(labels)
    say(describe(split))
    return FaceSet("ckplus", CLASS_NAMES, {"data": split}, folder.resolve().name, files_digest(roots, files))


def describe(split: Split) -> str:
    """How many frames, sequences and people there are, beside the known numbers."""
    subjects, sequences = split.extra["subject"].tolist(), split.extra["sequence"].tolist()
    found = (len(split), len(set(zip(subjects, sequences, strict=True))), len(set(subjects)))
    known = (sum(KNOWN_COUNTS["data"]), SEQUENCES, SUBJECTS)
    same = ", as in CK+" if found == known else "; CK+ has {}, {} and {}".format(*known)
    return "{} frames, {} sequences, {} subjects".format(*found) + same


def subjects_of(split: Split) -> np.ndarray:
    """(N,) of str: who is on each face. ValueError for a file that an older repository made, which does not say."""
    if "subject" not in split.extra:
        raise ValueError(
            "the file does not say who is on its faces (no data_subject): make it anew with "
            "`python preprocess_fer2013.py --dataset ckplus`, or use --protocol frame"
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
    known = KNOWN_COUNTS["data"]
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
