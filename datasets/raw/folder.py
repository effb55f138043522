"""FER2013 as a folder of images: `train/<class>/*.jpg` and `test/<class>/*.jpg`, as one of its copies is spread."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from datasets.names import FER2013_CLASSES
from datasets.raw.tree import Picture, find_tree
from datasets.raw.words import EMOTIONS, class_of

SIDE = 48
ENDINGS = (".jpg", ".jpeg", ".png")
OWN = "for pictures of your own give --dataset folder"


def read_folder(
    folder: Path, splits: Sequence[str], say: Callable[[str], object], progress: Callable[[list], list]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (pixels (n, 48, 48) uint8, labels (n,) int64), class by class and file name by file name.

    A file name that starts with `Training_`, `PublicTest_` or `PrivateTest_` tells the split, its folder otherwise.
    Raises ValueError that names the file which is no 48x48 image, or the folder which is no class.
    """
    tree = find_tree(folder, ENDINGS)
    if tree is None:
        raise ValueError(f"{folder}: no images ({', '.join(ENDINGS)}) in train/<class>/ and test/<class>/")
    if tree.left_out:
        say(f"warning: {len(tree.left_out)} images in no class folder are left out, such as {tree.left_out[0]}")
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
    pixels: dict[str, list[np.ndarray]] = {split: [] for split in splits}
    for split, _, _, path in files:
        pixels[split].append(_read_image(path))
    return {
        split: (np.stack(pixels[split]), np.array([label for label, _, _ in sorted(found[split])], np.int64))
        for split in splits
        if found[split]
    }


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
        with Image.open(path) as image:
            if image.size != (SIDE, SIDE):
                raise ValueError(
                    f"{path} is {image.width}x{image.height}, not 48x48: these are not FER2013's own images; {OWN}"
                )
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): repair or delete it") from error
