"""Faces of one's own: any tree of `<split>/<class>/*.jpg` or `<class>/*.jpg`, with any class names.

In pictures larger than a face the face is found and cut out as FER2013's are. Where no folder tells the split, the
content of a file does: about 80% go to Training, 10% to PublicTest and 10% to PrivateTest, class by class.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from datasets.names import EIGHT_CLASSES, SPLITS
from datasets.photographs import (
    Box,
    best_detector,
    crop_face,
    find_faces,
    is_a_part,
    is_face_crop,
    is_small_square,
    turn_of,
    whole_image,
)
from datasets.pictures import load_image, picture_endings, unnamed_pictures
from datasets.raw.tree import Picture, Tree, find_tree, left_out
from datasets.raw.words import class_of, plain
from datasets.storage import FaceSet, Split, check_class_names
from utils.cli import progress, remark
from utils.files import files_digest

SMALLEST = 16  # pixels; below that, no expression can be told
UP_TO = {"Training": 0.8, "PublicTest": 0.9, "PrivateTest": 1.0}  # of the range of a digest


def find_best(image: np.ndarray) -> Sequence[Box]:
    """By the detector that visualize.py takes: CenterFace where that is installed, else the cascade."""
    return find_faces(image, best_detector())


FindFace = Callable[[np.ndarray], Sequence[Box]]  # uint8 RGB (h, w, 3) -> boxes, largest first


def read_raw(
    source: str | Path, dataset: str, say: Callable[[str], object] = remark, find: FindFace = find_best
) -> FaceSet:
    """Read the pictures below `source`; `say` gets what is worth knowing, such as what is left out and why.

    A picture that cannot be used costs only itself. Raises FileNotFoundError or ValueError where there is no tree of
    classes, or fewer than two classes are left.
    """
    tree = find_own(Path(source))
    say(f"reading the pictures in {tree.root}")
    if tree.left_out:
        say(left_out(f"{len(tree.left_out)} pictures lie in no class folder", tree.left_out))
    if unnamed := unnamed_pictures(tree.root):
        say(left_out(f"{len(unnamed)} files are pictures and not called so (.jpg, .png, ...)", unnamed))
    names = name_classes(tree.pictures, say)
    check_class_names(tree.root, order_classes(names))
    faces, used, faults = [], [], []
    for picture in progress(tree.pictures, unit="picture"):
        name = picture.path.relative_to(tree.root)
        try:
            image = load_image(picture.path)
        except (ValueError, OSError) as error:
            faults.append(f"{name} ({_reason(error, picture.path)})")
            continue
        face = cut_face(image, find)
        if face is None:
            faults.append(f"{name} ({image.shape[1]}x{image.shape[0]}, no face is found in it)")
            continue
        faces.append(face)
        used.append(picture)
    if faults:
        say(left_out(f"{len(faults)} of {len(tree.pictures)} pictures cannot be used", faults))
    there = {plain(picture.folder) for picture in used}
    class_names = order_classes({folder: name for folder, name in names.items() if folder in there})
    if len(class_names) < 2:
        raise ValueError(f"{tree.root}: faces of {len(class_names)} classes are left, two are the least")
    for folder in sorted(set(names) - there):
        say(f"warning: {folder}/ has no picture that can be used, so it is no class")
    labels = np.array([class_names.index(names[plain(picture.folder)]) for picture in used], np.int64)
    where = np.array(_splits(used, faces, labels, say))
    for c in sorted(set(range(len(class_names))) - set(labels[where == "Training"])):
        say(f"warning: {class_names[c]} has no face in Training, so nothing can be learnt of it")
    pixels = np.stack(faces)
    splits = {split: Split(pixels[where == split], labels[where == split]) for split in SPLITS if split in where}
    digest = files_digest([tree.root], [picture.path for picture in used])
    return FaceSet(dataset, class_names, splits, tree.root.resolve().name, digest)


def find_own(source: Path) -> Tree:
    """The pictures and their classes, or an error that says how pictures should lie."""
    wanted = (
        "it should hold <class>/ or train/<class>/, val/<class>/, test/<class>/ with pictures of two classes or more"
    )
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist: point --source at a folder of pictures; {wanted}")
    if source.is_file():
        raise ValueError(f"{source} is a file: unpack it, if it is an archive, and point --source at the folder")
    tree = find_tree(source, picture_endings())
    if tree is None:
        there = ", ".join(sorted(child.name for child in source.iterdir())[:6]) or "nothing"
        if unnamed := unnamed_pictures(source):
            raise ValueError(
                f"{source}: {len(unnamed)} files in it are pictures and not called so, such as {unnamed[0]}; rename"
                " them (.jpg, .png, ...)"
            )
        raise ValueError(f"{source} holds no classes of pictures: found {there}; {wanted}")
    return tree


def cut_face(image: np.ndarray, find: FindFace = find_best) -> np.ndarray | None:
    """The largest face in uint8 RGB (h, w, 3), as uint8 (48, 48); None where there is none.

    A small square picture is a face already, and one of up to 256 pixels is taken for one where the detector finds
    nothing, or a small box only: a mouth, say. A tilted face is turned upright, as visualize.py does.
    """
    h, w = image.shape[:2]
    if min(h, w) < SMALLEST:
        return None
    if is_face_crop(image):
        return crop_face(image, whole_image(image), margin=0)
    boxes = find(image)
    if is_a_part(image, boxes) or (not boxes and is_small_square(image)):
        return crop_face(image, whole_image(image), margin=0)
    return crop_face(image, boxes[0], degrees=turn_of(image, boxes[0])) if boxes else None


def name_classes(pictures: Sequence[Picture], say: Callable[[str], object]) -> dict[str, str]:
    """Class name by folder name: words for the known expressions become the names of these, so that networks for
    them can be used and trained further; other folders give their name. `happy/` and `Happy/` are one class."""
    spelt: dict[str, str] = {}  # the first spelling of each, Training's before others'
    folders = list(dict.fromkeys(plain(picture.folder) for picture in sorted(pictures, key=_by_split)))
    for folder in folders:
        spelt.setdefault(folder.casefold(), folder)
    words = {(picture.split, plain(picture.folder).casefold()) for picture in pictures}
    rivals = Counter((split, class_of(word)) for split, word in words)
    known = {c: max(count for (_, of), count in rivals.items() if of == c) for _, c in rivals}
    names = {}
    for folder in folders:
        c = class_of(folder)
        # two words for one expression in one split, such as fear/ and afraid/, are two classes of their own
        names[folder] = spelt[folder.casefold()] if c is None or known[c] > 1 else EIGHT_CLASSES[c]
    renamed = [f"{folder}/ is {name}" for folder, name in names.items() if folder != name]
    if renamed:
        say(f"classes: {', '.join(renamed)}")
    return names


def order_classes(names: dict[str, str]) -> tuple[str, ...]:
    """The names, those of the known expressions first and in their usual order, the others by alphabet."""
    known = {name: place for place, name in enumerate(EIGHT_CLASSES)}
    return tuple(sorted(set(names.values()), key=lambda name: (known.get(name, len(known)), name.casefold(), name)))


def _splits(
    pictures: Sequence[Picture], faces: Sequence[np.ndarray], labels: np.ndarray, say: Callable[[str], object]
) -> list[str]:
    if pictures[0].split:
        return [str(picture.split) for picture in pictures]
    say(
        "no folder tells the splits: the content of each file does, about 80/10/10. If the same people are in many "
        "pictures, make train/, val/ and test/ by person instead"
    )
    fractions = [fraction(picture.path) for picture in pictures]
    of_face: dict[bytes, float] = {}  # copies of a face, in files of other kinds, go where one of them goes
    for face, u in zip(faces, fractions, strict=True):
        of_face[face.tobytes()] = min(u, of_face.get(face.tobytes(), 1.0))
    return split_by_content([of_face[face.tobytes()] for face in faces], labels)


def fraction(path: Path) -> float:
    """A number in [0, 1) that the content of a file alone decides."""
    with open(path, "rb") as file:
        return int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:6]) / 2**48


def split_by_content(fractions: Sequence[float], labels: Sequence[int] | np.ndarray) -> list[str]:
    """The split of each face, by its own fraction alone: faces that are added later move none of the others.

    But where that leaves a class of three faces or more out of a split, the face nearest to it goes there, until others
    come. Copies of a face in one class are in the same split.
    """
    split_of = np.array([next(split for split, end in UP_TO.items() if u < end) for u in fractions], "U11")
    u, labels = np.asarray(fractions), np.asarray(labels)
    for c in np.unique(labels):
        mine = np.flatnonzero(labels == c)
        if len(np.unique(u[mine])) < len(UP_TO):
            continue
        for split, middle in (("PublicTest", 0.85), ("PrivateTest", 0.95), ("Training", 0.4)):
            if split in split_of[mine]:
                continue
            counts = Counter(split_of[mine][np.unique(u[mine], return_index=True)[1]].tolist())
            spare = [row for row in mine if counts[split_of[row]] > 1]
            nearest = min(spare, key=lambda row: abs(u[row] - middle))
            split_of[mine[u[mine] == u[nearest]]] = split
    return split_of.tolist()


def _by_split(picture: Picture) -> int:
    return SPLITS.index(picture.split) if picture.split else 0


def _reason(error: Exception, path: Path) -> str:
    return str(error).replace(f"{path} ", "").replace(str(path), "").strip()
