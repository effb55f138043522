"""The HDF5 file between preprocessing and everything else: write it, read it, check it.

A file holds, for every split, `<split>_pixel` (N, 48, 48) uint8 and `<split>_label` (N,) int64, and for data sets
that have them further columns of strings such as `data_subject`. Attributes say what the file is and what it was
made from. Files that older repositories made for the same sets (no attributes, faces as flat rows) are read too.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from datasets.names import CLASS_NAMES, DATASETS, SPLITS, USUAL_SOURCES
from utils.files import replacing

FORMAT_VERSION = 1
SIDE = 48
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of every HDF5 file
FLAT_OR_SQUARE = {(SIDE, SIDE), (SIDE * SIDE,), (SIDE, SIDE, 1), (1, SIDE, SIDE)}


@dataclass(frozen=True)
class Split:
    """Faces of one split: pixels (N, 48, 48) uint8, labels (N,) int64, and named columns (N,) of str."""

    pixels: np.ndarray
    labels: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)

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
    checked = {
        name: Split(*_check(path, name, split.pixels, split.labels, faces.class_names), split.extra)
        for name, split in faces.splits.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished, h5py.File(unfinished, "w", track_order=True, locking=False) as file:
        file.attrs["dataset"] = faces.dataset
        file.attrs["class_names"] = list(faces.class_names)
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["source"] = faces.source
        file.attrs["source_sha256"] = faces.source_sha256
        for name, split in checked.items():
            # contiguous and uncompressed: the whole set is read at once, and faces hardly compress
            file.create_dataset(f"{name}_pixel", data=split.pixels)
            file.create_dataset(f"{name}_label", data=split.labels)
            for column, values in split.extra.items():
                _check_column(path, name, column, values, len(split))
                file.create_dataset(f"{name}_{column}", data=list(map(str, values)), dtype=h5py.string_dtype())


def read_faces(path: str | Path, splits: Sequence[str] | None = None) -> FaceSet:
    """Read the named splits (all of them when None) of a file that `write_faces` or an older repository made.

    Raises FileNotFoundError with the command that makes the file, ValueError where a split is not there or the
    content breaks the format.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: make it with {_command(path)}")
    with _open(path) as file:
        there = [key.removesuffix("_pixel") for key in file if key.endswith("_pixel")]
        there = [name for name in there if len(file[f"{name}_pixel"])]  # older scripts left empty splits behind
        if not there:
            raise ValueError(f"{path} holds no `<split>_pixel`: found {sorted(file) or 'nothing'}; {_remake(path)}")
        wanted = there if splits is None else splits
        for name in wanted:
            if name not in there:
                raise ValueError(f"{path} has no split {name!r}: it holds {', '.join(there)}")
        dataset, class_names = _identity(path, file, there)
        return FaceSet(
            dataset=dataset,
            class_names=class_names,
            splits={name: _read_split(path, file, name, class_names) for name in wanted},
            source=str(file.attrs.get("source", "unknown")),
            source_sha256=str(file.attrs.get("source_sha256", "")),
        )


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an HDF5 file; {_remake(path / 'fer2013.h5')}")
    with open(path, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise ValueError(f"{path} is not an HDF5 file; {_remake(path.with_suffix('.h5'), source=path)}")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is a damaged HDF5 file ({error}); {_remake(path)}") from error
    with file:
        yield file


def _identity(path: Path, file: h5py.File, there: list[str]) -> tuple[str, tuple[str, ...]]:
    """Name of the data set and of its classes; told by the splits' names where an older file does not say."""
    version = int(file.attrs.get("format_version", FORMAT_VERSION))
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, this code reads up to {FORMAT_VERSION}; {_remake(path)}"
        )
    if "class_names" in file.attrs:
        return str(file.attrs.get("dataset", "unknown")), tuple(map(str, file.attrs["class_names"]))
    if set(there) <= set(SPLITS) or there == ["data"]:
        dataset = "ckplus" if there == ["data"] else "fer2013"
        return dataset, CLASS_NAMES[dataset]
    raise ValueError(
        f"{path} does not name its classes and its splits ({', '.join(there)}) are unknown; {_remake(path)}"
    )


def _read_split(path: Path, file: h5py.File, name: str, class_names: Sequence[str]) -> Split:
    if f"{name}_label" not in file:
        raise ValueError(f"{path}: {name}_pixel is there but {name}_label is not; {_remake(path)}")
    pixels, labels = _check(path, name, file[f"{name}_pixel"][()], file[f"{name}_label"][()], class_names)
    extra = {}
    for key in file:
        column = key.removeprefix(f"{name}_")
        if column != key and h5py.check_string_dtype(file[key].dtype) is not None:
            extra[column] = np.asarray(file[key].asstr()[()], dtype=str)
            _check_column(path, name, column, extra[column], len(labels))
    return Split(pixels, labels, extra)


def _check(path: Path, name: str, pixels: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> tuple:
    """Both arrays in the format's shapes and dtypes, or ValueError."""
    pixels, labels = np.asarray(pixels), np.asarray(labels)
    if pixels.shape[1:] not in FLAT_OR_SQUARE or not np.issubdtype(pixels.dtype, np.integer):
        raise ValueError(f"{path}: {name}_pixel is {_what(pixels)}, not (N, 48, 48) uint8; {_remake(path)}")
    if labels.shape not in ((len(labels),), (len(labels), 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: {name}_label is {_what(labels)}, not (N,) int64; {_remake(path)}")
    if len(pixels) != len(labels) or not len(labels):
        raise ValueError(f"{path}: {name} has {len(pixels)} faces and {len(labels)} labels; {_remake(path)}")
    if pixels.dtype != np.uint8 and (pixels.min() < 0 or pixels.max() > 255):
        raise ValueError(f"{path}: {name}_pixel reaches from {pixels.min()} to {pixels.max()}, not 0 to 255")
    if labels.min() < 0 or labels.max() >= len(class_names):
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"{path}: {name}_label reaches from {found}, but there are {len(class_names)} classes")
    pixels = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return pixels, labels.astype(np.int64).reshape(-1)


def _check_column(path: Path, name: str, column: str, values: np.ndarray, n: int) -> None:
    if len(values) != n:
        raise ValueError(f"{path}: {name}_{column} has {len(values)} entries for {n} faces; {_remake(path)}")


def _what(array: np.ndarray) -> str:
    return f"{array.shape} {array.dtype}"


def _remake(path: Path, source: Path | None = None) -> str:
    return f"make the file with {_command(path, source)}"


def _command(path: Path, source: Path | None = None) -> str:
    """What makes `path`; a file that the user gave in its place is taken for the source.

    A command where the name says which set it is, so that nobody writes FER2013 over a file of their own.
    """
    words = set(re.split(r"[^a-z0-9+-]+", path.stem.lower()))
    dataset = next((name for name in DATASETS if name in words), None)
    if dataset is None and words & {"ck", "ck+", "ck48", "ck+48"}:
        dataset = "ckplus"
    if dataset is None and (source or "fer" in path.stem.lower()):
        dataset = "fer2013"
    if dataset is None:
        return "preprocess_fer2013.py, or with datasets.storage.write_faces if the faces are your own"
    usual = USUAL_SOURCES.get(dataset)
    given = f" --source {source or usual}" if source or usual else ""
    return f"`python preprocess_fer2013.py --dataset {dataset}{given} --output {path}`"
