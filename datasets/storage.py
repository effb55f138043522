"""The HDF5 file between preprocessing and everything else: write it, read it, check it.

A file holds, for every split, `<split>_pixel` (N, 48, 48) uint8 and `<split>_label` (N,) int64, and for data sets
that have them further columns of strings such as `data_subject`, and `<split>_soft` (N, classes) float32, the share of
each class in a face's votes. Attributes say what the file is and what it was made from. Files that older repositories
made for the same sets (no attributes, faces as flat rows) are read too.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from datasets.advice import command, remake
from datasets.hdf5_file import check_array, create_hdf5, open_hdf5, read_attribute
from datasets.names import CLASS_NAMES, FACE_COLUMNS, GROUP_COLUMNS, SPLITS
from utils.files import replacing

FORMAT_VERSION = 1
SIDE = 48
LONGEST_TEXT = 200  # letters of a subject's or sequence's name
COLUMNS = ("subject", "sequence")  # of strings; whatever else a file has beside its faces is not read
FLAT_OR_SQUARE = {(SIDE, SIDE), (SIDE * SIDE,), (SIDE, SIDE, 1), (1, SIDE, SIDE)}


@dataclass(frozen=True)
class Split:
    """Faces of one split: pixels (N, 48, 48) uint8, labels (N,) int64, and named columns (N,) of str.

    soft (N, classes) float32, rows of sum 1, is what to train on where not all who judged a face agreed.
    """

    pixels: np.ndarray
    labels: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)
    soft: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def sha256(self) -> str:
        """Of the pixels and the labels, in their order."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels))
        digest.update(np.ascontiguousarray(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True)
class FaceSet:
    """A data set: its splits by name, the class names that the labels index, and what it was made from."""

    dataset: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]
    source: str
    source_sha256: str


def write_faces(path: str | Path, faces: FaceSet) -> None:
    """Write `faces` to an HDF5 file, or leave what was there untouched.

    Raises ValueError where the arrays are not what the format says.
    """
    path = Path(path)
    if not faces.splits:
        raise ValueError(f"{path}: there is no split to write")
    _check_name(path, faces.dataset)
    check_class_names(path, faces.class_names)
    checked = {name: _checked(path, name, split, faces.class_names) for name, split in faces.splits.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = [a for split in checked.values() for a in (split.pixels, split.labels, split.soft) if a is not None]
    texts = sum(len(split) * len(split.extra) for split in checked.values())
    room = sum(array.nbytes for array in arrays) + 64 * texts
    with replacing(path) as unfinished, create_hdf5(unfinished, room) as file:
        file.attrs["dataset"] = faces.dataset
        file.attrs["class_names"] = list(faces.class_names)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["source"] = faces.source
        file.attrs["source_sha256"] = faces.source_sha256
        for name, split in checked.items():
            # contiguous and uncompressed: the whole set is read at once, and faces hardly compress
            file.create_dataset(f"{name}_pixel", data=split.pixels)
            file.create_dataset(f"{name}_label", data=split.labels)
            if split.soft is not None:
                file.create_dataset(f"{name}_soft", data=split.soft)
            for column, values in split.extra.items():
                file.create_dataset(f"{name}_{column}", data=list(map(str, values)), dtype=h5py.string_dtype())


def read_faces(path: str | Path, splits: Sequence[str] | None = None, dataset: str | None = None) -> FaceSet:
    """Read the named splits (all of them when None) of a file that `write_faces` or an older repository made.

    dataset: the set that the file should hold, for the advice in errors.
    Raises FileNotFoundError with the command that makes the file, ValueError where a split is not there or the
    content breaks the format; everything is checked before it is read.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: make it with {command(path, dataset=dataset)}")
    with open_hdf5(path, dataset) as file:
        there = [key.removesuffix("_pixel") for key in file if key.endswith("_pixel")]
        # older scripts left empty splits behind; older versions of h5py give names by the alphabet
        there = [name for name in there if len(check_array(path, file, f"{name}_pixel"))]
        there.sort(key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))
        if not there:
            found = sorted(file)[:10] or "nothing"
            raise ValueError(f"{path} holds no `<split>_pixel`: found {found}; {remake(path, dataset=dataset)}")
        wanted = there if splits is None else splits
        for name in wanted:
            if name not in there:
                raise ValueError(f"{path} has no split {name!r}: it holds {', '.join(there)}")
        name, class_names = _identity(path, file, there)
        return FaceSet(
            dataset=name,
            class_names=class_names,
            splits={split: _read_split(path, file, split, class_names) for split in wanted},
            source=str(read_attribute(path, file, "source", "unknown")),
            source_sha256=str(read_attribute(path, file, "source_sha256", "")),
        )


def check_class_names(path: Path, names: Sequence[str]) -> None:
    """ValueError for names that could not be told apart later, or would not fit into predictions.csv."""
    wrong = [name for name in names if not isinstance(name, str) or not name.strip() or not name.isprintable()]
    if not len(names) or wrong:
        found = f"{wrong[0]!r}" if wrong else "no class"
        raise ValueError(f"{path}: {found} is no class name; names are words in one line")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ValueError(f"{path}: two classes are called {twice[0]!r}; give each a name of its own")
    reserved = [name for name in names if name in FACE_COLUMNS + GROUP_COLUMNS]
    if reserved:
        columns = ", ".join(FACE_COLUMNS + GROUP_COLUMNS)
        raise ValueError(f"{path}: a class is called {reserved[0]!r}, as a column of predictions.csv ({columns}) is")


def _check_name(path: Path, dataset: object) -> None:
    """ValueError for a data set's name that could be no file's, or would move a terminal's cursor."""
    plain = isinstance(dataset, str) and dataset.strip() and dataset != ".." and Path(dataset).name == dataset
    if not plain or any(unicodedata.category(letter) == "Cc" for letter in dataset):
        raise ValueError(f"{path}: its dataset is {repr(dataset)[:60]}, which cannot be the name of a data set")


def _identity(path: Path, file: h5py.File, there: list[str]) -> tuple[str, tuple[str, ...]]:
    """Name of the data set and of its classes; told by the splits' names where an older file does not say."""
    version = read_attribute(path, file, "format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(f"{path} has format version {version}, this code reads up to {FORMAT_VERSION}; {remake(path)}")
    names = read_attribute(path, file, "class_names")
    if names is not None:
        if not isinstance(names, list):
            raise ValueError(f"{path}: class_names is {names!r}, not a list with a name for every class")
        check_class_names(path, names)
        dataset = read_attribute(path, file, "dataset", "unknown")
        _check_name(path, dataset)
        return dataset, tuple(names)
    if set(there) <= set(SPLITS) or there == ["data"]:
        dataset = "ckplus" if there == ["data"] else "fer2013"
        return dataset, CLASS_NAMES[dataset]
    raise ValueError(
        f"{path} does not name its classes and its splits ({', '.join(there)}) are unknown; {remake(path)}"
    )


def _read_split(path: Path, file: h5py.File, name: str, class_names: Sequence[str]) -> Split:
    if f"{name}_label" not in file:
        raise ValueError(f"{path}: {name}_pixel is there but {name}_label is not; {remake(path)}")
    # as declared: what would be refused is not read
    pixels, labels = (check_array(path, file, f"{name}_{part}") for part in ("pixel", "label"))
    _check_shapes(path, name, pixels, labels)
    soft = check_array(path, file, f"{name}_soft")[()] if f"{name}_soft" in file else None
    extra = {}
    for column in COLUMNS:
        if f"{name}_{column}" in file:
            values = check_array(path, file, f"{name}_{column}")
            if h5py.check_string_dtype(values.dtype) is None:
                raise ValueError(f"{path}: {name}_{column} is {_what(values)}, not text; {remake(path)}")
            _check_column(path, name, column, values, len(labels))
            extra[column] = _read_texts(path, f"{name}_{column}", values)
    return _checked(path, name, Split(pixels[()], labels[()], extra, soft), class_names)


def _read_texts(path: Path, key: str, values: h5py.Dataset) -> np.ndarray:
    """A few at a time: how long texts are, HDF5 says only when they are read."""
    texts, step = [], 16
    for start in range(0, len(values), step):
        texts += list(values.asstr(errors="replace")[start : start + step])
        _check_length(path, key, texts[-step:])
    return np.array(texts, dtype=str)


def _checked(path: Path, name: str, split: Split, class_names: Sequence[str]) -> Split:
    """The same in the format's shapes and dtypes, or ValueError."""
    pixels, labels = np.asarray(split.pixels), np.asarray(split.labels)
    _check_shapes(path, name, pixels, labels)
    if pixels.dtype != np.uint8 and (pixels.min() < 0 or pixels.max() > 255):
        raise ValueError(f"{path}: {name}_pixel reaches from {pixels.min()} to {pixels.max()}, not 0 to 255")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.floor(labels)):
        raise ValueError(f"{path}: {name}_label holds fractions, such as {labels[labels != np.floor(labels)][0]:g}")
    if labels.min() < 0 or labels.max() >= len(class_names):
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"{path}: {name}_label reaches from {found}, but there are {len(class_names)} classes")
    for column, values in split.extra.items():
        _check_column(path, name, column, values, len(labels))
        _check_length(path, f"{name}_{column}", map(str, values))
    soft = split.soft
    if soft is not None:
        soft, wanted = np.asarray(soft), (len(labels), len(class_names))
        if soft.shape != wanted or soft.dtype.kind != "f" or not np.isfinite(soft).all() or soft.min() < 0:
            raise ValueError(f"{path}: {name}_soft is {_what(soft)}, not {wanted} shares from 0 to 1; {remake(path)}")
        if np.abs(soft.sum(1) - 1).max() > 1e-3:
            raise ValueError(f"{path}: {name}_soft has rows whose sum is not 1; {remake(path)}")
        soft = np.ascontiguousarray(soft, np.float32)
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return Split(pixels, labels.astype(np.int64).reshape(-1), split.extra, soft)


def _check_shapes(path: Path, name: str, pixels: np.ndarray | h5py.Dataset, labels: np.ndarray | h5py.Dataset) -> None:
    """ValueError where an array, read or not yet, has another shape or kind than the format says."""
    if pixels.shape[1:] not in FLAT_OR_SQUARE or pixels.dtype.kind not in "iu":
        raise ValueError(f"{path}: {name}_pixel is {_what(pixels)}, not (N, 48, 48) uint8; {remake(path)}")
    if labels.dtype.kind not in "iufb":
        raise ValueError(
            f"{path}: {name}_label holds text, not numbers: a label is the place of its class in class_names, from 0"
        )
    if labels.shape not in ((len(labels),), (len(labels), 1)) or labels.dtype.kind not in "iuf":
        raise ValueError(f"{path}: {name}_label is {_what(labels)}, not (N,) int64; {remake(path)}")
    if len(pixels) != len(labels) or not len(labels):
        raise ValueError(f"{path}: {name} has {len(pixels)} faces and {len(labels)} labels; {remake(path)}")


def _check_column(path: Path, name: str, column: str, values: np.ndarray | h5py.Dataset, n: int) -> None:
    if np.shape(values) != (n,):
        raise ValueError(f"{path}: {name}_{column} has {len(values)} entries for {n} faces; {remake(path)}")


def _check_length(path: Path, key: str, texts: Iterable[str]) -> None:
    longest = max(map(len, texts))
    if longest > LONGEST_TEXT:
        raise ValueError(f"{path}: {key} has a text of {longest} letters; {LONGEST_TEXT} is the most; {remake(path)}")


def _what(array: np.ndarray | h5py.Dataset) -> str:
    return f"{array.shape} {array.dtype}"
