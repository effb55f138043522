"""Files that are either whole or not there."""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


TEMPORARY = ".tmp"  # how the names of unfinished files end; they begin with a dot
# What systems and programs leave in folders of data, in small letters; names that begin with a dot are hidden anyway
CLUTTER = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information"),
}


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `path` (made if needed) and move it into place at the end.

    After an error inside the block the old file, if there was one, is as it was; so it is after a crash or a power
    failure. What a killed process left of the same file is removed at the next start (`remove_leftovers`), which the
    lock on the temporary file keeps from taking one that is being written. A link stays, and what it leads to is
    replaced. Raises ValueError for a device or a pipe.
    """
    check_file(path)
    path = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}{TEMPORARY}")
    lock = fcntl and os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        if fcntl:
            _try_lock(lock)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except Exception as error:
        cause = _system_error(error)
        if cause is None:
            raise
        of_it = cause.filename in (None, str(temporary))  # a write that failed names no file
        raise type(cause)(cause.errno, os.strerror(cause.errno), str(path) if of_it else cause.filename) from error
    finally:
        temporary.unlink(missing_ok=True)
        if fcntl:
            os.close(lock)


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error that is behind `error`: libraries answer a full disk with errors of their own on top."""
    while error and not (isinstance(error, OSError) and error.errno):
        error = error.__cause__ or error.__context__
    return error


def check_room(path: Path, size: int) -> None:
    """OSError where the disk has no room for `size` bytes in the file `path`; for writers that say it less clearly."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)


def remove_leftovers(folder: Path, of: str = "") -> None:
    """Remove what killed processes left of files that they were writing into `folder`; of one file, where it is named.

    Only where the system has file locks, which tell that nobody writes there any more.
    """
    start = f".{of}." if of else "."
    names = [name for name in os.listdir(folder) if name.startswith(start) and name.endswith(TEMPORARY)]
    for name in names:
        with suppress(OSError):  # another process was quicker, or may write here and this one may not
            descriptor = os.open(folder / name, os.O_RDWR)
            try:
                if _try_lock(descriptor):
                    os.unlink(folder / name)
            finally:
                os.close(descriptor)


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold a folder for the duration; ValueError where another process, or this one, holds it already.

    The system lets go of it when the process ends, however that happens. Without file locks (Windows, some network
    drives) nothing is checked.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _try_lock(descriptor) is False:
            raise ValueError(f"{folder} is in use by a process that is still running; wait for it, or stop it")
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder until it is closed: True; False where another has it; None without file locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_clutter(path: str | PurePath) -> bool:
    """Whether something is no data but what systems leave beside it: hidden, `__MACOSX`, `Thumbs.db`, `._x.jpg`, ...

    path: as it is called below the folder of data, since that folder itself may well lie in a hidden one. A part that
    is clutter makes all that lies in it clutter.
    """
    return any((part[0] == "." and part != "..") or part.lower() in CLUTTER for part in PurePath(path).parts)


def walk_files(folder: str | Path) -> list[Path]:
    """The files in a folder and in the folders below it, sorted, without clutter. Links are followed, in no circle."""
    return sorted(_files_below(Path(folder), ()))


def _files_below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above or any(parent.is_relative_to(real) for parent in above):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_clutter(entry.name):
                continue
            if entry.is_dir():
                yield from _files_below(folder / entry.name, (*above, real))
            elif entry.is_file():
                yield folder / entry.name


def source_digest(path: str | Path) -> str:
    """SHA-256 of a file; of a folder, over the sorted relative names and digests of its files (clutter apart)."""
    path = Path(path)
    if not path.is_file():
        return files_digest([path], walk_files(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_digest(roots: Sequence[Path], files: Sequence[Path]) -> str:
    """SHA-256 of some files as `source_digest` makes it of a folder, had it these alone.

    Their names count from the one of `roots` that they lie in, so that it is all the same where that is.
    """
    names = {
        next(path.relative_to(root) for root in roots if path.is_relative_to(root)).as_posix(): path for path in files
    }
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(f"{name}\0{source_digest(names[name])}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def check_file(path: str | Path) -> None:
    """Raise ValueError for a device or a pipe, which cannot be replaced by a whole file (`/dev/stdout`, say)."""
    path = Path(path)
    special = path.exists() and not (path.is_file() or path.is_dir())
    _, *parts = path.absolute().parts
    if special or (os.name == "posix" and (parts[:1] == ["proc"] or (parts[:1] == ["dev"] and parts[1:2] != ["shm"]))):
        raise ValueError(f"{path} is no file but a device or a pipe; give the name of a file")


def check_writable(folder: str | Path) -> None:
    """Raise ValueError if nothing can be written into `folder`; make nothing yet.

    Asked before the work starts, so that an hour of it does not end in "Permission denied".
    """
    there = Path(folder)
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"cannot write into {folder}: {there} is a file; give another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"cannot write into {folder}: no permission in {there}; give another folder")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. ValueError for what is no JSON, or another value than an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__} where names and values are wanted")
    return value


def write_json(path: Path, value: Any) -> None:
    """JSON, indented, whole or not at all; a file name that is no text is escaped, and read back as it was.

    ValueError for NaN and infinities, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; what UTF-8 has no letter for, as in some file names, escaped."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
