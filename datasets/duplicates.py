"""Faces that are pixel for pixel the same, within a split and across two. FER2013 has many of them.

A copy of a training face in a test split makes the test easier than it looks: it was learnt by heart.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from datasets.storage import FaceSet


@dataclass(frozen=True)
class Twins:
    """How many faces of `split` have a pixel-identical one in `reference`, and how many of those agree in label.

    Where both are the same split the faces counted are those that repeat an earlier one.
    """

    split: str
    reference: str
    faces: int
    same_label: int


def twin_mask(pixels: np.ndarray, reference_pixels: np.ndarray) -> np.ndarray:
    """(N,) bool: whether a face of `pixels` (N, 48, 48) uint8 is in `reference_pixels` (M, 48, 48), pixel for pixel."""
    known: dict[bytes, int] = {}
    reference_ids = _face_ids(reference_pixels, known)
    return np.isin(_face_ids(pixels, known), reference_ids)


def face_groups(pixels: np.ndarray) -> np.ndarray:
    """(N,) int64: a number for each face of `pixels` (N, 48, 48) uint8, the same for those that are pixel-identical."""
    return _face_ids(pixels, {})


def find_twins(faces: FaceSet) -> list[Twins]:
    """Counts within each split, then of each later split's faces that are in an earlier one."""
    known: dict[bytes, int] = {}
    ids = {name: _face_ids(split.pixels, known) for name, split in faces.splits.items()}
    # a number for face and label together: equal where both are
    pairs = {name: ids[name] * len(faces.class_names) + split.labels for name, split in faces.splits.items()}
    found = [
        Twins(name, name, len(ids[name]) - len(np.unique(ids[name])), len(ids[name]) - len(np.unique(pairs[name])))
        for name in faces.splits
    ]
    for earlier, later in combinations(faces.splits, 2):
        known_faces = np.isin(ids[later], ids[earlier])
        agreeing = np.isin(pairs[later], pairs[earlier])
        found.append(Twins(later, earlier, int(known_faces.sum()), int(agreeing.sum())))
    return found


def _face_ids(pixels: np.ndarray, known: dict[bytes, int]) -> np.ndarray:
    """(N,) int64: equal numbers for equal faces. `known` carries the numbers from one call to the next."""
    return np.array([known.setdefault(face.tobytes(), len(known)) for face in pixels], np.int64)
