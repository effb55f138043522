"""What is held to be true of a folder after a fault, and at the end."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from datasets.storage import Split, read_faces
from engine.evaluation.predictions import read_predictions
from models.checkpoint import load_checkpoint

VARY = ("log.txt", "env.json")  # what differs between two runs that did the same


def leftovers(folder: Path) -> list[str]:
    """Temporary files."""
    return sorted(str(path) for path in folder.rglob("*.tmp"))


def check_whole(folder: Path) -> None:
    """Every file can be read to its end; ValueError, OSError or AssertionError for one that cannot."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".tmp":
            content_of(path)


def contents(folder: Path) -> dict[str, Any]:
    """What is in a folder, file by file, as two runs that did the same have it."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: content_of(path) for name, path in sorted(files.items()) if path.name not in VARY}


def content_of(path: Path) -> Any:
    """A file's content without what time has to do with."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".pt":
        state = load_checkpoint(path)
        for row in state.get("history", []):
            del row["seconds"]
        return _plain(state)
    if path.name == "metrics.csv":
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1)), f"{path}: epochs"
        return [{name: float(row[name]) for name in row if name != "seconds"} for row in rows]
    if path.name == "predictions.csv":
        read_predictions(path)
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".h5":  # some versions of h5py write the time into the file
        return _plain(vars(read_faces(path)))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Tensors and arrays as digests, so that everything can be compared."""
    if isinstance(value, np.ndarray):
        return hashlib.sha256(repr(value.tolist()).encode()).hexdigest()
    if isinstance(value, Split):
        return _plain(vars(value))
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().view(-1).numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
