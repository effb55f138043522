"""FER2013 as a folder of images: `train/<class>/*.jpg` and `test/<class>/*.jpg`, as one of its copies is spread."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

SIDE = 48
ENDINGS = (".jpg", ".jpeg", ".png")
# Class by folder name; the folders of the spread copies do not agree on noun or adjective.
CLASSES = {
    **dict.fromkeys(("angry", "anger"), 0),
    **dict.fromkeys(("disgust", "disgusted"), 1),
    **dict.fromkeys(("fear", "fearful"), 2),
    **dict.fromkeys(("happy", "happiness"), 3),
    **dict.fromkeys(("sad", "sadness"), 4),
    **dict.fromkeys(("surprise", "surprised"), 5),
    "neutral": 6,
}
# Split by folder, for files whose name does not tell. Nothing may be selected on what its owner calls a test set.
FOLDERS = {
    **dict.fromkeys(("train", "training"), "Training"),
    **dict.fromkeys(("validation", "valid", "val", "publictest"), "PublicTest"),
    **dict.fromkeys(("test", "testing", "privatetest"), "PrivateTest"),
}


def read_folder(
    folder: Path, splits: Sequence[str], say: Callable[[str], object], progress: Callable[[list], list]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Split -> (pixels (n, 48, 48) uint8, labels (n,) int64), class by class and file name by file name.

    A file name that starts with `Training_`, `PublicTest_` or `PrivateTest_` tells the split, its folder otherwise.
    Raises ValueError that names the file which is no 48x48 image, or the folder which is no class.
    """
    found: dict[str, list[tuple[int, str, Path]]] = {split: [] for split in splits}
    untold: dict[str, int] = {}
    for part in sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")):
        if part.name.lower() not in FOLDERS:
            continue
        for path in sorted(path for path in part.rglob("[!.]*") if path.suffix.lower() in ENDINGS):
            split = next((split for split in splits if path.name.startswith(f"{split}_")), None)
            if split is None:
                split = FOLDERS[part.name.lower()]
                untold[f"{part.name}/ -> {split}"] = untold.get(f"{part.name}/ -> {split}", 0) + 1
            found[split].append((_label(path, part), path.name, path))
    if not any(found.values()):
        raise ValueError(f"{folder}: no images ({', '.join(ENDINGS)}) in train/<class>/ and test/<class>/")
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


def _label(path: Path, part: Path) -> int:
    name = path.relative_to(part).parts[0]
    if path.parent != part and name.lower() in CLASSES:
        return CLASSES[name.lower()]
    where = f"{path}: it lies in no class folder" if path.parent == part else f"{part / name} is no class of FER2013"
    raise ValueError(f"{where}; the folders are called {', '.join(CLASSES)}")


def _read_image(path: Path) -> np.ndarray:
    """(48, 48) uint8, gray."""
    try:
        with Image.open(path) as image:
            if image.size != (SIDE, SIDE):
                raise ValueError(
                    f"{path} is {image.width}x{image.height}, not 48x48: these are not FER2013's own images"
                )
            return np.asarray(image.convert("L"))
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): repair or delete it") from error
