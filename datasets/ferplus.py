"""FER+: the faces of FER2013, each judged anew by ten people, in eight classes.

Barsoum, Zhang, Canton Ferrer and Zhang, "Training deep networks for facial expression recognition with crowd-sourced
label distribution", ICMI 2016, https://arxiv.org/abs/1608.01041. The label is what the majority says; the share of
each expression in the votes is what to train on.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from datasets.fer2013 import read_rows
from datasets.names import EIGHT_CLASSES, FER2013_CLASSES, SPLITS
from datasets.raw.csv_cells import parse_split
from datasets.raw.csv_text import read_table
from datasets.raw.source import find_source
from datasets.raw.words import class_of
from datasets.storage import FaceSet, Split
from utils.files import files_digest

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
VOTES = (*EMOTIONS, "unknown", "NF")  # the file's columns; NF is "not a face"
SLIP = 1  # a single vote is taken for a slip of the hand
FEWEST = 0.4  # of the labels that are to be the same in both files; by chance it would be a fifth


def read_raw(source: str | Path, labels: str | Path, say: Callable[[str], object] = print) -> FaceSet:
    """The faces of fer2013.csv with the votes in fer2013new.csv, row for row; `say` gets the counts.

    Raises FileNotFoundError or ValueError where a row is wrong, or the two files are not of the same faces.
    """
    usages, votes = read_votes(Path(labels))
    source = find_source(Path(source))
    if source.is_dir():
        raise ValueError(f"{source} holds images: the votes are in the order of fer2013.csv, so --source must be that")
    splits, where = read_rows(source, len(FER2013_CLASSES), say)
    if len(where) != len(usages):
        raise ValueError(
            f"{source} has {len(where):,} faces and {labels} votes for {len(usages):,}: they belong together row by "
            "row, so both must be whole"
        )
    different = np.flatnonzero(where != usages)
    if len(different):
        row = different[0]
        raise ValueError(
            f"row {row + 1} is {SPLITS[where[row]]} in {source}, {SPLITS[usages[row]]} in {labels}: they are not in "
            "the same order, so the votes cannot be given to their faces"
        )
    judged, soft = majority(votes)
    warn_of_disorder(splits, where, judged, say)
    made = {}
    for name, split in splits.items():
        rows = where == SPLITS.index(name)
        say(f"{name}: {_counts(votes[rows], judged[rows])}")
        kept = judged[rows] >= 0
        if kept.any():
            made[name] = Split(split.pixels[kept], judged[rows][kept], soft=soft[rows][kept])
    if not made:
        raise ValueError(f"{labels}: no face has a majority for an expression")
    paths = [source, Path(labels)]
    digest = files_digest([path.parent for path in paths], paths)
    return FaceSet("ferplus", EIGHT_CLASSES, made, f"{source.name}, {Path(labels).name}", digest)


def warn_of_disorder(
    splits: Mapping[str, Split], where: np.ndarray, judged: np.ndarray, say: Callable[[str], object]
) -> None:
    """Say how many of the new labels are the faces' own in fer2013.csv: few where rows have changed places.

    where (N,): index in SPLITS of each row; judged (N,): label of each row, -1 where there is none.
    """
    for name, split in splits.items():
        votes = judged[where == SPLITS.index(name)]
        both = (votes >= 0) & (votes < len(FER2013_CLASSES))
        if both.any():
            same = (split.labels == votes)[both].mean()
            say(f"{name}: {same:.0%} of the majorities for one of the seven expressions are the face's own label")
            if same < FEWEST:
                say(
                    "warning: that is no more than by chance: are both files in their original order? the votes belong"
                    " to the faces row by row"
                )


def read_votes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """fer2013new.csv: for each row the index of its split in SPLITS, (N,) int64, and its votes (N, 10) int64."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: point --labels at fer2013new.csv of FER+")
    usages, votes = [], []
    try:
        text, separator, _ = read_table(path, ("Usage", *VOTES))
        rows = csv.reader(io.StringIO(text), delimiter=separator)
        columns = _columns(path, next(rows, []))
        for row, fields in enumerate(rows, 1):
            if any(fields):
                cells = [fields[column].strip() if column < len(fields) else "" for column in columns]
                usages.append(parse_split(cells[0].encode(), SPLITS, words=False))
                votes.append([int(cell) if re.fullmatch("[0-9]{1,3}", cell) else -1 for cell in cells[1:]])
                if usages[-1] is None or min(votes[-1]) < 0:
                    raise ValueError(f"{path}: row {row} is {', '.join(cells)[:80]!r}, not a split and ten numbers")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no fer2013new.csv ({error})") from None
    return np.array(usages, np.int64), np.array(votes, np.int64).reshape(-1, len(VOTES))


def _columns(path: Path, header: Sequence[str]) -> list[int]:
    """Places of Usage and of VOTES."""
    names = [name.strip().lower() for name in header]
    missing = [name for name in ("Usage", *VOTES) if name.lower() not in names]
    if missing:
        raise ValueError(f"{path} is no fer2013new.csv: it has no column {', '.join(missing)}")
    return [names.index(name.lower()) for name in ("Usage", *VOTES)]


def majority(votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) int64, -1 where there is none, and shares (N, 8) float32, both in the order of EIGHT_CLASSES.

    votes: (N, 10) int, in the order of VOTES. Single votes do not count. A label is what more than half of the others
    are for; it is none where that is `unknown` or no face. The shares are those of the eight expressions.
    """
    counted = np.where(votes > SLIP, votes, 0)
    best = counted.argmax(1)
    agreed = counted.max(1) > 0.5 * counted.sum(1)
    classes = np.array([class_of(name) for name in EMOTIONS] + [-1, -1])
    labels = np.where(agreed, classes[best], -1)
    shares = np.zeros((len(votes), len(EIGHT_CLASSES)), np.float32)
    shares[:, classes[: len(EMOTIONS)]] = counted[:, : len(EMOTIONS)]
    shares /= np.maximum(shares.sum(1, keepdims=True), 1)
    return labels, shares


def _counts(votes: np.ndarray, labels: np.ndarray) -> str:
    """What became of the faces of a split."""
    counted = np.where(votes > SLIP, votes, 0)
    half = 0.5 * counted.sum(1)
    unknown, no_face = (int((counted[:, place] > half).sum()) for place in (-2, -1))
    kept = int((labels >= 0).sum())
    split = len(labels) - kept - unknown - no_face
    return (
        f"{kept} of {len(labels)} faces; left out are {no_face} no faces, {unknown} unknown, {split} without majority"
    )
