"""Where the raw FER2013 is: told by what is there, not by how it is called.

`find_source` turns a folder into the file that lies in it; `open_csv` opens a file as the stream of its CSV, be it
plain, gzipped, or a member of a tar or zip archive.
"""

import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from datasets.raw.csv_text import LARGEST
from datasets.raw.words import class_of, split_of
from utils.files import is_clutter

CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
PACKED_NAMES = ("fer2013.csv.gz", "fer2013.tar.gz", "fer2013.zip")
DEPTH = 3  # folders below --source in which the data is looked for
DOWNLOAD = "download it again"


def find_source(path: Path) -> Path:
    """The file to read, or the folder itself where there is `train/<class>/` and the like in it.

    Raises FileNotFoundError, with where the data comes from, where nothing is there.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: point --source at fer2013.csv, fer2013.tar.gz or icml_face_data.csv of the Kaggle "
            "contest 'challenges-in-representation-learning-facial-expression-recognition-challenge', "
            "or try --dataset synthetic, which needs no download"
        )
    if path.is_file():
        return path
    folders = [path]
    for _ in range(DEPTH + 1):
        inside = [child for folder in folders for child in sorted(folder.iterdir()) if not is_clutter(child.name)]
        files = {child.name.lower(): child for child in reversed(inside) if child.is_file()}
        folders = [child for child in inside if child.is_dir()]
        for name in (*CSV_NAMES, *PACKED_NAMES):
            if name in files:
                return files[name]
        if any(split_of(folder.name) or class_of(folder.name) is not None for folder in folders):
            return path
    found = ", ".join(sorted(child.name for child in path.iterdir())[:6]) or "nothing"
    raise FileNotFoundError(
        f"{path} holds no FER2013: found {found}; it should hold {', '.join((*CSV_NAMES, *PACKED_NAMES))} "
        "or train/<class>/ and test/<class>/ with images; for pictures of your own give --dataset folder"
    )


@contextmanager
def open_csv(path: Path, names: Sequence[str] = CSV_NAMES) -> Iterator[tuple[BinaryIO, BinaryIO, str]]:
    """Give (CSV stream, file on disk, name): the position in the file on disk tells how far the reading is.

    names: what the CSV is called in an archive, of which nothing is unpacked to the disk. The name is what to call the
    stream in messages. What goes wrong with an archive, in here or while the stream is read, is raised as ValueError.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            file.seek(0)
            _refuse_impostors(path, start)
            if start.startswith(b"PK\x03\x04"):
                with zipfile.ZipFile(file) as archive, _zip_member(path, archive, names) as stream:
                    yield stream, file, f"{path}: {stream.name}"
            elif _is_tar(start):
                yield from _tar_member(path, file, file, names)
            elif start.startswith(b"\x1f\x8b"):
                unpacked = gzip.GzipFile(fileobj=file)
                start = unpacked.read(512)
                unpacked.seek(0)
                _refuse_impostors(path, start)
                if _is_tar(start):
                    yield from _tar_member(path, file, unpacked, names)
                else:
                    yield unpacked, file, str(path)
            else:
                yield file, file, str(path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ValueError(f"{path}: the archive is damaged or cut off ({error}); {DOWNLOAD}") from error


def _zip_member(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> BinaryIO:
    try:
        member = archive.getinfo(_member(path, archive.namelist(), names))
        _refuse_bomb(path, member.file_size)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ValueError(f"{path}: {member.filename} is a link, not the data; {DOWNLOAD}")
        return archive.open(member)
    except (RuntimeError, NotImplementedError) as error:  # it needs a password, or is packed in an unknown way
        raise ValueError(f"{path}: the archive cannot be unpacked here ({error}); unpack it yourself") from error


def _tar_member(
    path: Path, file: BinaryIO, unpacked: BinaryIO, names: Sequence[str]
) -> Iterator[tuple[BinaryIO, BinaryIO, str]]:
    there, size = [], 0
    with tarfile.open(fileobj=_InSips(unpacked), mode="r:") as archive:
        for member in archive:
            _refuse_outside(path, member.name)
            size += member.size
            _refuse_bomb(path, size)
            if _is_called(member.name, names):
                if not member.isfile():
                    raise ValueError(f"{path}: {member.name} is a link, not the data; {DOWNLOAD}")
                yield archive.extractfile(member), file, f"{path}: {member.name}"
                break
            there = [*there, member.name][:5]
            archive.members = []  # a million of them would stay in the memory
        else:
            _member(path, there, names)
    rest = 0
    while read := len(unpacked.read(1 << 20)):  # the checksum stands at the very end
        rest += read
        _refuse_bomb(path, rest)


class _InSips:
    """A tar file to read from, but not much at once: a header may say that it has gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= 1 << 24:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)


def _member(path: Path, there: list[str], names: Sequence[str]) -> str:
    """The name of the CSV among those of an archive."""
    for name in there:
        _refuse_outside(path, name)
    for name in there:
        if _is_called(name, names):
            return name
    if "[Content_Types].xml" in there or "mimetype" in there:
        raise ValueError(f"{path} is a spreadsheet: save it as CSV, in the program that wrote it")
    found = ", ".join(there[:4]) + (", ..." if len(there) > 4 else "") or "nothing"
    advice = "unpack it and point --source at what is inside, if that is the data"
    raise ValueError(f"{path}: no {' or '.join(names)} in the archive: found {found}; {advice}")


def _is_called(name: str, names: Sequence[str]) -> bool:
    return name.rsplit("/", 1)[-1].lower() in names and not is_clutter(name)


def _refuse_outside(path: Path, name: str) -> None:
    if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match("[A-Za-z]:", name):
        raise ValueError(f"{path}: the archive names a file outside of itself, {name!r}: do not unpack it; {DOWNLOAD}")


def _refuse_bomb(path: Path, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"{path}: the archive unpacks to {size / 1e9:.0f} GB or more, FER2013 has 0.3; {DOWNLOAD}")


def _is_tar(start: bytes) -> bool:
    return start[257:262] == b"ustar"


def _refuse_impostors(path: Path, start: bytes) -> None:
    """Name the usual things that lie where the data should be."""
    if not start:
        raise ValueError(f"{path} is empty; {DOWNLOAD}")
    if start.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path} is a Git LFS pointer, not the data: run `git lfs pull` where it came from")
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise ValueError(f"{path} is a web page, not the data: log in where it is offered and {DOWNLOAD}")
    if start.startswith((b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        raise ValueError(f"{path} is an archive of a kind that is not read here: unpack it and point --source at that")
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise ValueError(f"{path} is a spreadsheet of Excel: save it as CSV there")
    if start.startswith((b"PAR1", b"\x93NUMPY", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        raise ValueError(f"{path} is a table of Python or Parquet, not a CSV: write it with pandas' to_csv")
    if start.startswith(b"\x89HDF"):
        raise ValueError(f"{path} is an HDF5 file already: give it to train.py as --data {path}")
