"""FER2013 as a folder of images: `train/<class>/*.jpg` and `test/<class>/*.jpg`, as one of its copies is spread."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from datasets.names import FER2013_CLASSES
from datasets.photographs import to_gray
from datasets.pictures import opened, picture_endings, unnamed_pictures, upright
from datasets.raw.tree import Picture, find_tree, left_out
from datasets.raw.words import EMOTIONS, class_of

SIDE = 48
HUGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
OWN = "for pictures of your own give --dataset folder"


def read_folder(
    folder: Path, splits: Sequence[str], say: Callable[[str], object], progress: Callable[[list], list]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (pixels (n, 48, 48) uint8, labels (n,) int64), class by class and file name by file name.

    A file name that starts with `Training_`, `PublicTest_` or `PrivateTest_` tells the split, its folder otherwise.
    What is no image of 48x48 is left out, and `say` gets its name. Raises ValueError where nothing else is there, or
    with the folder that is no class.
    """
    tree = find_tree(folder, picture_endings())
    if tree is None:
        raise ValueError(f"{folder}: no images (.jpg, .png, ...) in train/<class>/ and test/<class>/")
    if unnamed := unnamed_pictures(tree.root):
        say(left_out(f"{len(unnamed)} files are pictures and not called so (.jpg, .png, ...)", unnamed))
    if tree.left_out:
        say(left_out(f"{len(tree.left_out)} images lie in no class folder", tree.left_out))
    found: dict[str, list[tuple[int, str, Path]]] = {split: [] for split in splits}
    untold: dict[str, int] = {}
    for picture in tree.pictures:
        split = next((split for split in splits if picture.path.name.startswith(f"{split}_")), picture.split)
        if split is None:
            raise ValueError(f"{picture.path}: neither a folder nor its name tells the split, as train/ does; {OWN}")
        if not picture.path.name.startswith(f"{split}_"):
            rule = f"{picture.path.relative_to(tree.root).parts[0]}/ -> {split}"
            untold[rule] = untold.get(rule, 0) + 1
        found[split].append((_label(picture), picture.path.name, picture.path))
    for rule, count in untold.items():
        say(f"{count} images without a split in their name: {rule}, by their folder")
    files = progress([(split, *entry) for split in splits for entry in sorted(found[split])])
    read: dict[str, list[tuple[np.ndarray, int]]] = {split: [] for split in splits}
    faults = []
    for split, label, _, path in files:
        try:
            read[split].append((_read_image(path), label))
        except ValueError as error:
            faults.append(error)
    if not any(read.values()):
        raise ValueError(f"{faults[0]}, nor is any other image better; {OWN}")
    if faults:
        say(left_out(f"{len(faults)} of {len(tree.pictures)} images cannot be used", faults))
    columns = {split: zip(*faces, strict=True) for split, faces in read.items() if faces}
    return {split: (np.stack(pixels), np.array(labels, np.int64)) for split, (pixels, labels) in columns.items()}


def _label(picture: Picture) -> int:
    label = class_of(picture.folder)
    if label is not None and label < len(FER2013_CLASSES):
        return label
    where = next(part for part in picture.path.parents if part.name == picture.folder)
    allowed = ", ".join(word for word, label in EMOTIONS.items() if label < len(FER2013_CLASSES))
    raise ValueError(f"{where} is no class of FER2013; the folders are called {allowed}; {OWN}")


def _read_image(path: Path) -> np.ndarray:
    """(48, 48) uint8, gray."""
    try:
        with opened(path) as image:
            if image.size != (SIDE, SIDE):
                raise ValueError(f"{path} is {image.width}x{image.height}, not 48x48 as FER2013's own")
            return to_gray(upright(image))
    except (UnidentifiedImageError, *HUGE, OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image") from error
