"""Where the raw FER2013 is: told by what is there, not by how it is called.

`find_source` turns a folder into the file that lies in it; `open_csv` opens a file as the stream of its CSV, be it
plain, gzipped, or a member of a tar or zip archive.
"""

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
USUAL_NAMES = (*CSV_NAMES, "fer2013.csv.gz", "fer2013.tar.gz", "fer2013.zip")
DOWNLOAD = "download it again"


def find_source(path: Path) -> Path:
    """The file to read, or the folder itself where that holds `train/<class>/` and the like.

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
    for folder in (path, path / "fer2013"):
        for name in USUAL_NAMES:
            if (folder / name).is_file():
                return folder / name
    if any(child.is_dir() and child.name.lower() in ("train", "test", "training") for child in path.iterdir()):
        return path
    found = ", ".join(sorted(child.name for child in path.iterdir())[:6]) or "nothing"
    raise FileNotFoundError(
        f"{path} holds no FER2013: found {found}; it should hold {', '.join(USUAL_NAMES)} "
        "or train/<class>/ and test/<class>/ with images"
    )


@contextmanager
def open_csv(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO, str]]:
    """Give (CSV stream, file on disk, name): the position in the file on disk tells how far the reading is.

    The name is what to call the stream in messages. What goes wrong with an archive, in here or while the stream is
    read, is raised as ValueError.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(512)
            file.seek(0)
            _refuse_impostors(path, start)
            if start.startswith(b"PK\x03\x04"):
                with zipfile.ZipFile(file) as archive, _zip_member(path, archive) as stream:
                    yield stream, file, f"{path}: {stream.name}"
            elif _is_tar(start):
                yield from _tar_member(path, file, file)
            elif start.startswith(b"\x1f\x8b"):
                unpacked = gzip.GzipFile(fileobj=file)
                start = unpacked.read(512)
                unpacked.seek(0)
                _refuse_impostors(path, start)
                if _is_tar(start):
                    yield from _tar_member(path, file, unpacked)
                else:
                    yield unpacked, file, str(path)
            else:
                yield file, file, str(path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError) as error:
        raise ValueError(f"{path}: the archive is damaged or cut off ({error}); {DOWNLOAD}") from error


def _zip_member(path: Path, archive: zipfile.ZipFile) -> BinaryIO:
    try:
        return archive.open(_member(path, archive.namelist()))
    except RuntimeError as error:  # it needs a password or was packed in a way that zipfile does not know
        raise ValueError(f"{path}: the archive cannot be unpacked here ({error}); unpack it yourself") from error


def _tar_member(path: Path, file: BinaryIO, unpacked: BinaryIO) -> Iterator[tuple[BinaryIO, BinaryIO, str]]:
    names = []
    with tarfile.open(fileobj=unpacked, mode="r:") as archive:
        for member in archive:
            names.append(member.name)
            if member.isfile() and _is_csv_name(member.name):
                yield archive.extractfile(member), file, f"{path}: {member.name}"
                break
        else:
            _member(path, names)
    while unpacked.read(1 << 20):  # the checksum stands at the very end
        pass


def _member(path: Path, names: list[str]) -> str:
    """The name of the CSV among those of an archive."""
    for name in names:
        if _is_csv_name(name):
            return name
    found = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "") or "nothing"
    advice = "unpack it and point --source at what is inside, if that is FER2013"
    raise ValueError(f"{path}: no {' or '.join(CSV_NAMES)} in the archive: found {found}; {advice}")


def _is_csv_name(name: str) -> bool:
    return name.rsplit("/", 1)[-1].lower() in CSV_NAMES and not name.startswith("__MACOSX/")


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
    if start.startswith(b"\x89HDF"):
        raise ValueError(f"{path} is an HDF5 file already: give it to train.py as --data {path}")
