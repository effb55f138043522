"""What to run where a file of faces is missing or cannot be used."""

import re
from pathlib import Path

from datasets.names import DATASETS, USUAL_SOURCES, USUAL_VOTES


def remake(path: Path, source: Path | None = None, dataset: str | None = None) -> str:
    """The end of an error's line."""
    return f"make the file with {command(path, source, dataset)}"


def command(path: Path, source: Path | None = None, dataset: str | None = None) -> str:
    """What makes `path`, which holds `dataset` if that is known; `source` is what the user gave in its place.

    FER2013 or CK+ is named only where the file's name says so, and nobody is led to write one over faces of their own.
    """
    dataset = dataset or _told_by_name(path) or ("fer2013" if source else None)
    if dataset not in DATASETS:
        return f"`python preprocess_fer2013.py --dataset folder --source DIR --output {path}`, DIR with <class>/*.jpg"
    usual = USUAL_SOURCES.get(dataset)
    given = f" --source {source or usual}" if source or usual else ""
    which = f"--labels {USUAL_VOTES}" if dataset == "ferplus" else f"--dataset {dataset}"
    return f"`python preprocess_fer2013.py {which}{given} --output {path}`"


def _told_by_name(path: Path) -> str | None:
    stem = path.stem.lower()
    words = set(re.split(r"[^a-z0-9+-]+", stem))
    named = next((name for name in DATASETS if name in words), None)
    if named or not words & {"ck", "ck+", "ck48", "ck+48"}:
        return named or ("fer2013" if re.search(r"(?<![a-z])fer(?![a-z])", stem) else None)
    return "ckplus"
