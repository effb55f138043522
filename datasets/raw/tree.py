"""Trees of pictures as people have them: `<split>/<class>/*.jpg` or `<class>/*.jpg`, a few folders deep.

`find_tree` finds the folder in which the splits or the classes lie; what is in the pictures is no concern here.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.raw.words import class_of, split_of
from utils.files import walk_files

DEPTH = 4  # folders that an archive may put around the data
SHOWN = 5  # files that a message names


class Picture(NamedTuple):
    """A file, the class folder that it lies in, and the split that its folder or its name tells (None: neither)."""

    path: Path
    folder: str
    split: str | None


class Tree(NamedTuple):
    """Where the data begins, its pictures by path, and the files that look like pictures but lie in no class."""

    root: Path
    pictures: list[Picture]
    left_out: list[Path]


Entry = tuple[tuple[str, ...], Path]  # the parts of a file's name below some folder, and its whole path


def find_tree(source: Path, endings: Collection[str]) -> Tree | None:
    """The pictures below a folder, told by their endings, with their classes and splits; None without such a tree.

    Raises ValueError for folders that could be meant in more than one way.
    """
    inside = [(path.relative_to(source).parts, path) for path in walk_files(source) if path.suffix.lower() in endings]
    root, paths = source, [path for _, path in inside]
    begun = _beginnings((), inside)
    if len(begun) == 1:  # whatever else lies beside it
        (below, inside), *_ = begun
        root = source.joinpath(*below)
    elif begun:
        raise ValueError(_unclear(source, sorted({below[0] for below, _ in begun})))
    groups = _by_folder(inside)
    while len(groups) == 1 and not _splits(groups) and all(map(_all_deeper, groups.values())):
        name, inside = next(iter(groups.items()))  # a folder alone, of folders: what an archive was packed in
        root, groups = root / name, _by_folder(inside)
        if len(root.parts) - len(source.parts) > DEPTH:
            return None
    splits = _splits(groups)
    if splits:
        entries = [(entry, split_of(name)) for name in splits for entry in groups[name]]
        pictures = [Picture(path, parts[0], split) for (parts, path), split in entries if len(parts) > 1]
        return _tree(root, pictures, paths)
    if len(groups) < 2:
        return None
    there = ", ".join(f"{name}/" for name in groups)
    if any(map(split_of, groups)) and all(map(split_of, groups)):
        raise ValueError(f"{root} holds {there} with images but no folders of classes in them: put them in <class>/")
    deeper = [entries for entries in groups.values() if _all_deeper(entries)]
    several = any(len({parts[0] for parts, _ in entries}) > 1 for entries in deeper)  # classes themselves, perhaps
    nested = {
        f"{name}/{parts[0]}" for name, of in groups.items() for parts, _ in of if len(parts) > 1 and split_of(parts[0])
    }
    if len(nested) > 1:  # one may be a name, of somebody called Dev
        there = ", ".join(f"{folder}/" for folder in sorted(nested)[:6])
        raise ValueError(
            f"{root} holds {there}: splits are the outer folders, so make it train/<class>/, test/<class>/"
        )
    if len(deeper) == len(groups) or (several and not any(class_of(name) is not None for name in groups)):
        raise ValueError(_unclear(root, groups))
    return _tree(root, [Picture(path, name, None) for name, entries in groups.items() for _, path in entries], paths)


def left_out(what: str, names: Iterable[object]) -> str:
    """A warning about files that are not used, the first few of them named."""
    names = list(map(str, names))
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"warning: {what} and are left out: {', '.join(names[:SHOWN])}{more}"


def _beginnings(below: tuple[str, ...], inside: Sequence[Entry]) -> list[tuple[tuple[str, ...], Sequence[Entry]]]:
    """The folders, at most DEPTH deep, in which the data begins by their words, train/ or happy/, and their files."""
    groups = _by_folder(inside)
    if _splits(groups) or any(class_of(name) is not None for name in groups):
        return [(below, inside)]
    deeper = groups.items() if len(below) < DEPTH else ()
    return [found for name, entries in deeper for found in _beginnings((*below, name), entries)]


def _all_deeper(entries: Sequence[Entry]) -> bool:
    """Whether a folder holds folders alone."""
    return all(len(parts) > 1 for parts, _ in entries)


def _splits(groups: dict[str, list[Entry]]) -> list[str]:
    """The folders that are called as a split, and have folders in them."""
    return [name for name in groups if split_of(name) and any(len(parts) > 1 for parts, _ in groups[name])]


def _unclear(root: Path, names: Iterable[str]) -> str:
    there = ", ".join(f"{name}/" for name in names)
    return (
        f"{root} holds {there} and folders in these, so it is not clear which are the classes: point --source at "
        "a folder that holds <class>/ or train/<class>/ and test/<class>/"
    )


def _by_folder(inside: Sequence[Entry]) -> dict[str, list[Entry]]:
    """The same files by the folder that they lie in, with their names below that; those in no folder are left out."""
    groups: dict[str, list[Entry]] = {}
    for parts, path in inside:
        if len(parts) > 1:
            groups.setdefault(parts[0], []).append((parts[1:], path))
    return groups


def _tree(root: Path, pictures: list[Picture], paths: Sequence[Path]) -> Tree:
    used = {picture.path for picture in pictures}
    return Tree(root, sorted(pictures), [path for path in paths if path not in used])
