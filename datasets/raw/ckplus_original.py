"""CK+ as it is distributed: `cohn-kanade-images/S005/001/*.png` and `Emotion/S005/001/*_emotion.txt`.

A sequence goes from the neutral face to the peak of an expression; 327 of 593 have a label. The last three frames of
each labelled one are cut to faces: the frames that CK+48 has.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets.photographs import Box, crop_face, find_faces, whole_image
from datasets.raw.ckplus48 import IMAGES, PERSON, Frame, as_split, files_in, parse_name, read_image, subfolders
from datasets.storage import Split
from utils.cli import progress

# Class by the number in a label file: neutral, anger, contempt, disgust, fear, happy, sadness, surprise
CODES = (None, 0, 6, 1, 2, 3, 4, 5)
LAST = 3  # frames of a sequence that count

FindFace = Callable[[np.ndarray], Any]  # uint8 RGB (h, w, 3) -> the largest face's box, in whatever form, or None
CropFace = Callable[[np.ndarray, Any], np.ndarray]  # the same and a box or None -> uint8 (48, 48)


def find_largest(image: np.ndarray) -> Box | None:
    """The box of the largest face in uint8 RGB (h, w, 3), or None."""
    return next(iter(find_faces(image)), None)


def crop_or_middle(image: np.ndarray, box: Box | None) -> np.ndarray:
    """The face in the box, or without one the middle of the image: uint8 (48, 48)."""
    return crop_face(image, whole_image(image) if box is None else box)


class Label(NamedTuple):
    """A label file: the number in it (0 to 7) and the frame it names."""

    code: int
    frame: int
    path: Path


def read_original(
    images: Path, labels: Path, find_face: FindFace, crop_face: CropFace, say: Callable[[str], object]
) -> tuple[Split, list[Path]]:
    """The faces, class by class and file name by file name, and the frames and labels that they come from.

    A frame in which find_face finds nothing is cut with the box of the nearest frame of its sequence that has one;
    where the sequence has none, crop_face gets None and cuts as it thinks best. `say` gets the counts of what is left
    out, and the names of such frames. Raises ValueError that names the file or folder which is wrong.
    """
    known = _read_labels(labels)
    folders = {(part.parent.name, part.name): part for part in _sequences(images)}
    for key, label in known.items():
        if key not in folders:
            raise ValueError(
                f"{label.path}: its frames in {images.joinpath(*key)} are not there: unpack the images again"
            )
    chosen = {key: label for key, label in sorted(known.items()) if CODES[label.code] is not None}
    if not chosen:
        raise ValueError(f"{labels} holds no label but neutral: unpack Emotion_labels.zip again")
    say(
        f"{len(folders)} sequences, {len(chosen)} of them with an expression; left out are "
        f"{len(folders) - len(known)} without a label and {len(known) - len(chosen)} labelled neutral"
    )
    faces: dict[Frame, np.ndarray] = {}
    not_found: dict[bool, list[str]] = {True: [], False: []}  # by whether the sequence has a box to lend
    not_last = []
    for key, label in progress(chosen.items(), unit="sequence"):
        paths = _read_names(folders[key])
        if parse_name(paths[-1])[2] != label.frame:
            not_last.append(label.path.name)
        cut, without, lent = _cut_faces(paths, find_face, crop_face)
        not_found[lent] += without
        for path, face in zip(paths[-LAST:], cut, strict=True):
            faces[Frame(CODES[label.code], path.name, *key, path)] = face
    _warn(say, not_found[True], f"of {len(faces)} frames have no face found, so were cut as their neighbours")
    _warn(say, not_found[False], f"of {len(faces)} frames have none in all their sequence, so were cut in the middle")
    _warn(say, not_last, f"of {len(chosen)} labels name another frame than the last one; are all images unpacked?")
    frames = sorted(faces)
    used = [frame.path for frame in frames] + [label.path for label in chosen.values()]
    return as_split(frames, [faces[frame] for frame in frames]), used


def _sequences(root: Path) -> list[Path]:
    return [part for person in subfolders(root) if PERSON.fullmatch(person.name) for part in subfolders(person)]


def _read_labels(root: Path) -> dict[tuple[str, str], Label]:
    """(subject, sequence) -> label."""
    found = {}
    for folder in _sequences(root):
        paths = files_in(folder, (".txt",))
        if len(paths) > 1:
            raise ValueError(f"{folder} holds {len(paths)} labels, {paths[0].name} and {paths[1].name}: delete one")
        for path in paths:
            text = path.read_bytes()[:99].decode("ascii", "replace").strip()
            found[folder.parent.name, folder.name] = Label(_parse_code(text, path), _frame_number(path), path)
    if not found:
        raise ValueError(f"{root} holds no S005/001/S005_001_00000011_emotion.txt or the like: unpack it again")
    return found


def _parse_code(text: str, path: Path) -> int:
    try:
        return range(len(CODES)).index(float(text))
    except ValueError:
        allowed = "a number from 0 (neutral) to 7 (surprise) as in 3.0000000e+00"
        raise ValueError(f"{path}: the label is {text!r}, not {allowed}: unpack Emotion_labels.zip again") from None


def _read_names(folder: Path) -> list[Path]:
    """The frames of a sequence, in the order of their numbers."""
    paths = sorted(files_in(folder, IMAGES), key=_frame_number)
    if len(paths) < LAST:
        raise ValueError(f"{folder} holds {len(paths)} images, {LAST} are the least: unpack the images again")
    return paths


def _frame_number(path: Path) -> int:
    """The number in a name; ValueError where the name does not agree with the folders that the file lies in."""
    subject, sequence, frame = parse_name(path)
    if (subject, sequence) != (path.parent.parent.name, path.parent.name):
        raise ValueError(f"{path} lies in the folder of another sequence: move it to {subject}/{sequence}")
    return frame


def _cut_faces(
    paths: Sequence[Path], find_face: FindFace, crop_face: CropFace
) -> tuple[list[np.ndarray], list[str], bool]:
    """The last frames' faces; names of the frames in which none was found, and whether another frame lent its box."""
    images = [read_image(path, "RGB") for path in paths[-LAST:]]
    boxes = [find_face(image) for image in images]
    found = [(i, box) for i, box in enumerate(boxes) if box is not None]
    if not found:  # heads hardly move, and the calm faces at the beginning are the easiest to find
        earlier = (find_face(read_image(path, "RGB")) for path in reversed(paths[:-LAST]))
        found = list(islice(((-1, box) for box in earlier if box is not None), 1))
    without = [i for i, box in enumerate(boxes) if box is None]
    for i in without:
        boxes[i] = min(found, key=lambda entry, i=i: abs(entry[0] - i))[1] if found else None
    cut = [crop_face(image, box) for image, box in zip(images, boxes, strict=True)]
    return cut, [paths[-LAST:][i].name for i in without], bool(found)


def _warn(say: Callable[[str], object], names: Sequence[str], what: str) -> None:
    if names:
        say(f"warning: {len(names)} {what}: {', '.join(names)}")
