"""The lines of a CSV, whatever program saved it: UTF-16, semicolons, tabs, `sep=;`, the line ends of old Macs.

The official file is none of that, and its bytes are handed on as they are.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

BYTES_A_CHUNK = 4_000_000  # about 500 rows of faces
LONGEST = 100_000  # bytes of a line; a row of 2304 pixels has 10,000
# The official file has 0.3 GB and 35,888 lines. Small archives can unpack to anything
LARGEST = 4_000_000_000  # bytes
LINES_A_CHUNK, MOST_LINES = 10_000, 2_000_000
SEPARATORS = (b",", b";", b"\t", b"|")
AROUND = b" \t\r\n\"'"  # what may stand around a field


class Header(NamedTuple):
    """Names of the columns, the bytes between two fields, the number of the next line, and where it is read."""

    names: list[str]
    separator: bytes
    line: int
    stream: BinaryIO


class _Lent(io.BufferedIOBase):
    """A stream that somebody else will close."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = self.read1 = stream.read

    def readable(self) -> bool:
        return True


class Recoded:
    """A stream in another encoding, or with other line ends, as the lines of an ordinary one."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self._text = io.TextIOWrapper(_Lent(stream), encoding, errors="replace", newline=None)

    def readline(self, size: int) -> bytes:
        """As of a binary stream."""
        return self._text.readline(size).encode()


def read_header(stream: BinaryIO, columns: Sequence[str]) -> Header:
    """Read the names of the columns. The separator is the one that gives most of the `columns` wanted."""
    start, line = stream.readline(LONGEST), 2
    encoding = _encoding(start)
    if encoding or b"\r" in start.rstrip(b"\r\n"):
        stream.seek(0)
        stream = Recoded(stream, encoding or "utf-8")
        start = stream.readline(LONGEST)
    start = start.removeprefix(b"\xef\xbb\xbf")
    while start and not start.strip():
        start, line = stream.readline(LONGEST), line + 1
    separators: Sequence[bytes] = SEPARATORS
    told = start.strip(AROUND)
    if told[:4].lower() == b"sep=":  # for Excel
        separators, line = [told[4:5] or b"\t"], line + 1
        start = stream.readline(LONGEST)
    wanted = {column.lower() for column in columns}
    named = {separator: _names(start, separator) for separator in separators}
    best = max(named, key=lambda separator: len(wanted & {name.lower() for name in named[separator]}))
    return Header(named[best], best, line, stream)


def read_table(path: Path, columns: Sequence[str]) -> tuple[str, str, int]:
    """A small table in UTF-8 and ordinary lines, its separator, and how many lines of the file stand before it.

    UnicodeDecodeError where it is in an encoding that cannot be told.
    """
    with open(path, "rb") as file:
        header = read_header(file, columns)
        file.seek(0)
        content = file.read()
    text = content.decode(_encoding(content) or "utf-8").removeprefix("\ufeff")
    lines, before = io.StringIO(text, newline=None).readlines(), header.line - 2
    return "".join(lines[before:]), header.separator.decode(), before


def read_chunks(stream: BinaryIO, name: str) -> Iterator[list[bytes]]:
    """Lines, about BYTES_A_CHUNK at a time. A line longer than any row comes in pieces, so that it fills no memory.

    ValueError where there is no end of it.
    """
    size_of_all = count = 0
    while True:
        lines, size = [], 0
        while size < BYTES_A_CHUNK and len(lines) < LINES_A_CHUNK and (line := stream.readline(LONGEST)):
            lines.append(line)
            size += len(line)
        if not lines:
            return
        size_of_all, count = size_of_all + size, count + len(lines)
        if size_of_all > LARGEST or count > MOST_LINES:
            raise ValueError(f"{name}: it goes on after {size_of_all / 1e9:.1f} GB and {count:,} lines: not the data")
        yield lines


def split_quoted(line: bytes, separator: bytes) -> list[bytes]:
    """The fields of a line in which quoted fields may hold the separator."""
    try:
        (fields,) = csv.reader([line.decode("latin-1").strip("\r\n")], delimiter=separator.decode("latin-1"))
    except (csv.Error, ValueError):
        return [field.strip(AROUND) for field in line.split(separator)]
    return [field.encode("latin-1").strip(AROUND) for field in fields]


def _encoding(start: bytes) -> str | None:
    """UTF-16, which every second byte of this file's letters tells where no mark does; None for the usual ones."""
    if start[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(start) > 3 and 0 in start[:4] and start[:4].count(0) == 2:
        return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return None


def _names(line: bytes, separator: bytes) -> list[str]:
    return [
        field.strip().strip("\"'").strip() for field in line[:4096].decode("utf-8", "replace").split(chr(separator[0]))
    ]
