"""CK+: 327 sequences of 118 people who pose one of seven expressions; the last three frames of each are the data.

Lucey et al., "The Extended Cohn-Kanade Dataset (CK+): A complete dataset for action unit and emotion-specified
expression", CVPR Workshops 2010. There is no split into training and test: networks are compared by ten folds.
"""

from collections.abc import Callable
from pathlib import Path

from datasets.names import CKPLUS_CLASSES, OFFICIAL_COUNTS
from datasets.raw.ckplus48 import find_source, read_folder
from datasets.raw.ckplus_original import CropFace, FindFace, crop_or_middle, find_largest, read_original
from datasets.storage import FaceSet, Split
from utils.cli import remark
from utils.files import files_digest

SEQUENCES, SUBJECTS = 327, 118


def read_raw(
    source: str | Path,
    say: Callable[[str], object] = remark,
    find_face: FindFace = find_largest,
    crop_face: CropFace = crop_or_middle,
) -> FaceSet:
    """Read either raw form of CK+, told by what is there. `say` gets what is worth knowing.

    find_face and crop_face serve the original distribution alone; see `datasets.raw.ckplus_original.read_original`.
    Raises FileNotFoundError or ValueError with the file or folder that is wrong.
    """
    folder, labels = find_source(Path(source))
    roots = [folder]
    if labels is None:
        say(f"reading the faces in {folder}")
        split, files = read_folder(folder, say)
    else:
        say(f"reading the frames in {folder} with the labels in {labels}")
        split, files = read_original(folder, labels, find_face, crop_face, say)
        roots.append(labels)
    say(describe(split))
    return FaceSet("ckplus", CKPLUS_CLASSES, {"data": split}, folder.resolve().name, files_digest(roots, files))


def describe(split: Split) -> str:
    """How many frames, sequences and people there are, beside the known numbers."""
    subjects, sequences = split.extra["subject"].tolist(), split.extra["sequence"].tolist()
    found = (len(split), len(set(zip(subjects, sequences, strict=True))), len(set(subjects)))
    known = (sum(OFFICIAL_COUNTS["ckplus"]["data"]), SEQUENCES, SUBJECTS)
    same = ", as in CK+" if found == known else "; CK+ has {}, {} and {}".format(*known)
    return "{} frames, {} sequences, {} subjects".format(*found) + same
