"""HDF5 files that come from anywhere: opened and read so that a strange one costs one line and no memory.

HDF5 can keep, under a harmless name, a link into another file, data that fills gigabytes when it is unpacked, or
objects. Faces need none of that, so everything but plain arrays in the file itself is refused before it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from datasets.advice import remake
from utils.files import check_room

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of every HDF5 file
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
SMALL = 64 * 2**20  # bytes; what is declared without being there is harmless up to here
UNPACKED = 50  # times what is stored: photographs of faces hardly shrink to half


@contextmanager
def create_hdf5(path: Path, size: int) -> Iterator[h5py.File]:
    """A new file with room for `size` bytes of data, else OSError: HDF5 answers a full disk with pages of messages."""
    check_room(path, size + 100_000)
    with h5py.File(path, "w", track_order=True, locking=False) as file:  # `replacing` has a lock of its own
        yield file


@contextmanager
def open_hdf5(path: Path, dataset: str | None = None) -> Iterator[h5py.File]:
    """Open to read, or ValueError; also for what HDF5 itself finds wrong while the file is read.

    dataset: name of the set that it should hold, for the advice.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an HDF5 file; {remake(path / 'fer2013.h5', dataset=dataset)}")
    with open(path, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise ValueError(f"{path} is not an HDF5 file; {remake(path.with_suffix('.h5'), path, dataset)}")
    try:
        with h5py.File(path, "r") as opened:
            yield opened
    except (OSError, RuntimeError, KeyError) as error:  # h5py's, on damaged files
        raise ValueError(_what_is_wrong(path, error, dataset)) from error


def check_array(path: Path, file: h5py.File, key: str) -> h5py.Dataset:
    """The array of that name, not read yet; ValueError where it is no plain array of the file itself."""
    link = file.get(key, getlink=True)
    if not isinstance(link, h5py.HardLink):
        where = getattr(link, "filename", None) or "another name"
        raise ValueError(f"{path}: {key} is a link to {where}; put the data into the file itself")
    array = file[key]
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"{path}: {key} is a group, not an array; {remake(path)}")
    if array.shape is None or not array.shape:
        raise ValueError(f"{path}: {key} is a single value, not an array; {remake(path)}")
    if array.is_virtual or array.external:
        raise ValueError(f"{path}: {key} lies in another file; put the data into the file itself")
    try:
        plain = array.dtype.kind in "iufbS" or h5py.check_string_dtype(array.dtype) is not None
    except TypeError:  # a type that numpy does not have
        plain = False
    if not plain:
        raise ValueError(f"{path}: {key} holds objects, not numbers or text; {remake(path)}")
    plan = array.id.get_create_plist()
    unknown = [plan.get_filter(i) for i in range(plan.get_nfilters())]
    unknown = [found[3].decode("utf-8", "replace") or str(found[0]) for found in unknown if found[0] not in FILTERS]
    if unknown:
        raise ValueError(f"{path}: {key} is packed with {unknown[0]}; write it with gzip or unpacked")
    stored, size = array.id.get_storage_size(), array.dtype.itemsize * int(np.prod(array.shape, dtype=object))
    if size > SMALL and size > UNPACKED * stored:
        raise ValueError(
            f"{path}: {key} would fill {size / 1e9:.1f} GB, but {stored / 1e6:.1f} MB are in the file; {remake(path)}"
        )
    return array


def read_attribute(path: Path, file: h5py.File, name: str, default: Any = None) -> Any:
    """An attribute of the file, its texts decoded: str, int, or a list of these; `default` where there is none."""
    if name not in file.attrs:
        return default
    space = file.attrs.get_id(name)
    if space.shape is None:  # HDF5 can keep the type of a value without one
        return default
    if int(np.prod(space.shape, dtype=object)) > 10_000:
        raise ValueError(f"{path}: the attribute {name} has {space.shape} values; {remake(path)}")
    value = file.attrs[name]
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return [_decoded(part) for part in value] if isinstance(value, list) else _decoded(value)


def _decoded(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _what_is_wrong(path: Path, error: Exception, dataset: str | None) -> str:
    text = " ".join(str(error).strip("'\"").split())
    if isinstance(error, BlockingIOError) or "unable to lock file" in text:
        return f"{path} is in use by another program: close it there, or set HDF5_USE_FILE_LOCKING=FALSE"
    if "already open for write" in text:
        return (
            f"{path} is in use by another program, or one ended while it wrote: close it there; if there is none, "
            f"run `h5clear -s {path}`, or {remake(path, dataset=dataset)}"
        )
    if isinstance(error, PermissionError):
        return f"{path} may not be read: no permission"
    return f"{path} is a damaged HDF5 file ({text}); {remake(path, dataset=dataset)}"
