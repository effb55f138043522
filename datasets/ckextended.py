"""ckextended.csv, a copy of CK+ that goes round: faces in FER2013's form, eight classes, at random 80/10/10.

It does not say who is in a picture, and the frames of a sequence, nearly the same picture, are in different splits.
So it is a set of its own here; figures on it are not figures on CK+.
"""

from collections.abc import Callable
from pathlib import Path

from datasets.fer2013 import read_rows
from datasets.names import EIGHT_CLASSES
from datasets.storage import FaceSet
from utils.files import source_digest

NAMES = ("ckextended.csv",)


def read_raw(source: str | Path, say: Callable[[str], object] = print) -> FaceSet:
    """Read the CSV, plain or packed, or the folder that it lies in; `say` gets what must be known of its figures.

    Raises FileNotFoundError or ValueError with the row that is wrong.
    """
    source = Path(source)
    if source.is_dir():
        source = source / NAMES[0]
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist: point --source at {NAMES[0]}")
    splits, _ = read_rows(source, len(EIGHT_CLASSES), say, NAMES)
    say(
        "warning: this file does not say who is in a picture, so people cannot be kept apart: the same ones are "
        "trained on and tested, and accuracies say little of new people. --dataset ckplus has folds by person"
    )
    return FaceSet("ckextended", EIGHT_CLASSES, splits, source.name, source_digest(source))
