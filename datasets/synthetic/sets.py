"""Whole drawn data sets, in the form of FER2013 and of CK+."""

import hashlib

from datasets.names import CLASS_NAMES, SPLITS
from datasets.storage import FaceSet, Split
from datasets.synthetic.ckplus import draw_split
from datasets.synthetic.faces import make_splits


def draw_fer2013(faces: int, seed: int) -> FaceSet:
    """FER2013's splits and classes: `faces` of them in Training, an eighth as many in each of the others."""
    counts = dict(zip(SPLITS, (faces, faces // 8, faces // 8), strict=True))
    drawn = make_splits(counts, seed, CLASS_NAMES["synthetic"])
    return _face_set("synthetic", {name: Split(*split) for name, split in drawn.items()}, faces, seed)


def draw_ckplus(faces: int, seed: int) -> FaceSet:
    """CK+'s people, sequences and classes: about `faces` frames in one split."""
    return _face_set("synthetic-ckplus", {"data": draw_split(faces, seed)}, faces, seed)


def _face_set(dataset: str, splits: dict[str, Split], faces: int, seed: int) -> FaceSet:
    content = b"".join(split.pixels.tobytes() + split.labels.tobytes() for split in splits.values())
    source = f"drawn with --faces {faces} --seed {seed}"
    return FaceSet(dataset, CLASS_NAMES[dataset], splits, source, hashlib.sha256(content).hexdigest())
