"""Where the raw CK+ is and how its folder CK+48 is read: `<expression>/<subject>_<sequence>_<frame>.png`, 48x48.

The other form, the original distribution of whole sequences, is read in `ckplus_original.py`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.names import CKPLUS_CLASSES, EIGHT_CLASSES
from datasets.photographs import to_gray
from datasets.pictures import opened, upright
from datasets.raw.tree import left_out
from datasets.raw.words import class_of
from datasets.storage import SIDE, Split
from utils.files import is_clutter

FOLDERS = ("anger", "disgust", "fear", "happy", "sadness", "surprise", "contempt")  # in the order of the classes
IMAGES = (".png", ".jpg", ".jpeg")
PERSON = re.compile(r"S\d+")
NAME = re.compile(r"(S\d+)_(\d+)_(\d+)")
LARGEST = 4_000_000  # pixels of a frame; the original has 640x490
DEPTH = 3  # folders below --source in which the data is looked for


class Frame(NamedTuple):
    """An image and what is known of it. Frames sort class by class and file name by file name."""

    label: int
    name: str
    subject: str
    sequence: str
    path: Path


def find_source(path: Path) -> tuple[Path, Path | None]:
    """CK+48 and None, or the original's folder of images and its folder of labels: what is there, at most DEPTH deep.

    Raises FileNotFoundError where nothing is there, ValueError where half of it or more than one is.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: point --source at the folder CK+48, or at the one with both cohn-kanade-images "
            "and Emotion in it, or try --dataset synthetic-ckplus, which needs no download"
        )
    if path.suffix.lower() == ".csv":
        raise ValueError(
            f"{path} is a CSV: read it with --dataset ckextended, if it is the copy of CK+ that knows no people"
        )
    if path.is_file():
        raise ValueError(f"{path} is a file: unpack it, if it is CK+, and point --source at the folder that comes out")
    found: dict[str, list[Path]] = {"CK+48": [], "images": [], "labels": []}
    for kind, folder in _candidates(path, DEPTH):
        found[kind].append(folder)
    for rivals in (found["CK+48"] + found["images"], found["labels"]):
        if len(rivals) > 1:
            names = ", ".join(map(str, rivals))
            raise ValueError(f"{path} holds more than one CK+: {names}; point --source at one, or move the others away")
    if found["CK+48"]:
        return found["CK+48"][0], None
    if found["images"] and found["labels"]:
        return found["images"][0], found["labels"][0]
    advice = "into the same folder and point --source at that"
    if found["images"]:
        raise ValueError(f"{found['images'][0]}: the labels are not there: unpack Emotion_labels.zip {advice}")
    if found["labels"]:
        zipped = "extended-cohn-kanade-images.zip"
        raise ValueError(f"{found['labels'][0]}: the images are not there: unpack {zipped} {advice}")
    there = ", ".join(sorted(child.name for child in path.iterdir())[:6]) or "nothing"
    raise FileNotFoundError(
        f"{path} holds no CK+: found {there}; it should hold {'/, '.join(FOLDERS)}/ with images of 48x48, "
        "or cohn-kanade-images/ and Emotion/ as they are distributed"
    )


def read_folder(folder: Path, say: Callable[[str], object]) -> tuple[Split, list[Path]]:
    """Read CK+48: its faces, class by class and file name by file name, and the files they come from.

    What is no picture of 48x48 is left out, and `say` gets its name. Raises ValueError where nothing else is there, or
    with the folder that is no expression or is empty, or the file whose name says nothing.
    """
    frames: list[Frame] = []
    first: dict[tuple[str, str], Frame] = {}
    for part in subfolders(folder):
        label = label_of(part.name)
        if label is None:
            raise ValueError(f"{part} is no expression of CK+48: its folders are called {', '.join(FOLDERS)}")
        paths = files_in(part, IMAGES)
        if not paths:
            raise ValueError(f"{part} holds no images ({', '.join(IMAGES)}): unpack CK+48 again")
        for path in paths:
            subject, sequence, _ = parse_name(path)
            frame = Frame(label, path.name, subject, sequence, path)
            other = first.setdefault((subject, sequence), frame)
            if other.label != frame.label:
                raise ValueError(f"{path} and {other.path} are one sequence in two classes: delete the wrong ones")
            frames.append(frame)
    read, faults = [], []
    for frame in sorted(frames):
        try:
            read.append((frame, _read_face(frame.path)))
        except ValueError as error:
            faults.append(error)
    if not read:
        raise faults[0]
    if faults:
        say(left_out(f"{len(faults)} of {len(frames)} pictures cannot be used", faults))
    frames, pixels = map(list, zip(*read, strict=True))
    return as_split(frames, pixels), [frame.path for frame in frames]


def _read_face(path: Path) -> np.ndarray:
    """uint8 (48, 48)."""
    face = read_image(path, "L")
    if face.shape != (SIDE, SIDE):
        raise ValueError(f"{path} is {face.shape[1]}x{face.shape[0]}, not 48x48: it is none of CK+48's own images")
    return face


def label_of(folder: str) -> int | None:
    """The class of CK+ that a folder's name means, as noun or adjective; None for another word."""
    c = class_of(folder)
    return CKPLUS_CLASSES.index(EIGHT_CLASSES[c]) if c is not None and EIGHT_CLASSES[c] in CKPLUS_CLASSES else None


def as_split(frames: Sequence[Frame], pixels: Sequence[np.ndarray]) -> Split:
    """Faces and their columns, in the order given."""
    columns = {
        "subject": np.array([frame.subject for frame in frames]),
        "sequence": np.array([frame.sequence for frame in frames]),
    }
    return Split(np.stack(pixels), np.array([frame.label for frame in frames], np.int64), columns)


def parse_name(path: Path) -> tuple[str, str, int]:
    """Subject, sequence and number of the frame that a file belongs to; ValueError if its name does not tell."""
    match = NAME.fullmatch(path.stem.removesuffix("_emotion"))
    if match is None:
        raise ValueError(f"{path}: the name is not <subject>_<sequence>_<frame> as in S010_004_00000017: rename it")
    return match[1], match[2], int(match[3])


def read_image(path: Path, mode: str) -> np.ndarray:
    """An image as `load_image` gives it, in Pillow's mode L or RGB: uint8 (h, w) or (h, w, 3)."""
    try:
        with opened(path) as image:
            if image.width * image.height > LARGEST:
                raise ValueError(f"{image.width}x{image.height} pixels are no frame of CK+")
            rgb = upright(image)
            return to_gray(rgb) if mode == "L" else rgb
    except Exception as error:  # on damaged files decoders raise OSError, SyntaxError, MemoryError, struct.error, ...
        said = str(error) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image ({said}): unpack it again") from error


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted, without clutter."""
    return sorted(child for child in folder.iterdir() if not is_clutter(child.name) and child.is_dir())


def files_in(folder: Path, endings: Sequence[str]) -> list[Path]:
    """The files in `folder` that end so, sorted, without clutter."""
    return sorted(
        child
        for child in folder.iterdir()
        if child.suffix.lower() in endings and not is_clutter(child.name) and child.is_file()
    )


def _candidates(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    parts = subfolders(folder)
    if any(label_of(part.name) is not None for part in parts):
        yield "CK+48", folder
    elif any(PERSON.fullmatch(part.name) for part in parts):
        kind = _kind(folder)  # FACS codes and landmarks lie in folders of the same names, and are nothing here
        if kind:
            yield kind, folder
    elif depth:
        for part in parts:
            yield from _candidates(part, depth - 1)


def _kind(folder: Path) -> str | None:
    """Whether there are images in <subject>/<sequence>/, or labels; by the folder's name if there is nothing at all."""
    anything = labels = False
    for path in folder.glob("S*/*/*"):
        if is_clutter(path.relative_to(folder)):
            continue
        if path.suffix.lower() in IMAGES:
            return "images"
        anything, labels = True, labels or path.stem.endswith("_emotion")
    if anything:
        return "labels" if labels else None
    name = folder.name.lower()
    return "labels" if "emotion" in name else "images" if "image" in name else None
