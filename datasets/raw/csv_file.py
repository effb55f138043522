"""FER2013 as text: a CSV stream whose rows are a label, 2304 pixels as decimal numbers, and the name of the split.

No field can hold a comma or a line's end, so rows are cut there; quotes and blanks around a field are taken off. The
pixels, 74 million numbers, are turned into bytes by array arithmetic. Only a chunk of rows that is out of the ordinary
is read number by number, which finds the row to complain about.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

COLUMNS = ("emotion", "pixels", "Usage")
PIXELS = 48 * 48
BYTES_A_CHUNK = 4_000_000  # about 500 rows
ROWS_A_BLOCK = 16  # the temporaries of 134 kB of text stay in a core's cache
AROUND = b" \t\r\n\"'"  # what may stand around a field
BLANK, ZERO = np.uint8(ord(" ")), np.uint8(ord("0"))
REPAIR = "repair or delete that row, or download the file again"


def read_csv(
    stream: BinaryIO, name: str, classes: int, splits: Sequence[str], advance: Callable[[], object] = lambda: None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (pixels (n, 48, 48) uint8, labels (n,) int64, index into `splits` (n,) int64) for chunk after chunk.

    `name` is what errors call the stream; `advance` is called after every chunk. Raises ValueError that names the
    row (the first one after the header is row 1) and the line.
    """
    width, places = _header(stream, name)
    labels_of = {str(label).encode(): label for label in range(classes)}
    splits_of = {split.encode(): index for index, split in enumerate(splits)}
    rows, line = 0, 2
    while lines := stream.readlines(BYTES_A_CHUNK):
        cut = [[field.strip(AROUND) for field in text.split(b",")] for text in lines]
        numbered = [(number, fields) for number, fields in enumerate(cut, line) if any(fields)]  # not the blank lines
        line += len(lines)
        if not numbered:
            continue
        ordinary = all(len(fields) == width for _, fields in numbered)
        if ordinary:
            emotions, texts, usages = ([fields[place] for _, fields in numbered] for place in places)
            labels = [labels_of.get(text) for text in emotions]
            where = [splits_of.get(text) for text in usages]
            pixels = parse_pixels(texts)
            ordinary = pixels is not None and None not in labels and None not in where
        if not ordinary:
            labels, pixels, where = _row_by_row(numbered, name, rows + 1, width, places, labels_of, splits_of)
        rows += len(numbered)
        yield pixels.reshape(-1, 48, 48), np.array(labels, np.int64), np.array(where, np.int64)
        advance()
    if not rows:
        raise ValueError(f"{name}: the file ends after its header, there is no row in it; download it again")


def parse_pixels(texts: Sequence[bytes]) -> np.ndarray | None:
    """(n, 2304) uint8 from n strings of 2304 numbers of one to three digits with single blanks between them.

    None where any string is not that, or a number is above 255.
    """
    pixels = np.empty((len(texts), PIXELS), np.uint8)
    for start in range(0, len(texts), ROWS_A_BLOCK):
        block = texts[start : start + ROWS_A_BLOCK]
        # every number is ended by a blank, and has two bytes before its last digit to look at
        text = np.frombuffer(b"   " + b" ".join(block) + b" ", np.uint8)
        digits = text - ZERO
        is_digit = digits < 10
        is_blank = text == BLANK
        digits *= is_digit
        # what a number that ends at this byte would be worth: cheap enough to work out at every byte
        values = digits[:-3] * is_digit[1:-2] * np.uint16(100)
        values += digits[1:-2] * np.uint8(10)
        values += digits[2:-1]
        ends = np.flatnonzero(is_blank[3:])
        values = values[ends]
        row_ends = np.cumsum([len(row) + 1 for row in block]) - 1
        if (
            np.count_nonzero(is_digit) + np.count_nonzero(is_blank) != len(text)
            or (is_blank[2:-1] & is_blank[3:]).any()  # a number of no digit
            or (is_digit[:-3] & is_digit[1:-2] & is_digit[2:-1] & is_digit[3:]).any()  # one of four
            or len(ends) != len(block) * PIXELS
            or not np.array_equal(ends[PIXELS - 1 :: PIXELS], row_ends)
            or values.max() > 255
        ):
            return None
        pixels[start : start + len(block)] = values.reshape(len(block), PIXELS)
    return pixels


def _header(stream: BinaryIO, name: str) -> tuple[int, list[int]]:
    """Number of columns, and the places of COLUMNS among them; the names may come in any order and with blanks."""
    line = stream.readline(4096).decode("utf-8-sig", "replace")
    found = [field.strip().strip("\"'").strip() for field in line.split(",")]
    lower = [field.lower() for field in found]
    missing = [column for column in COLUMNS if column.lower() not in lower]
    if not missing:
        return len(found), [lower.index(column.lower()) for column in COLUMNS]
    shown = ", ".join(repr(field[:20]) for field in found[:5]) + (", ..." if len(found) > 5 else "")
    advice = "the first line must be emotion,pixels,Usage"
    if lower in (["emotion", "pixels"], ["pixels"]):
        advice = "this is train.csv or test.csv of the Kaggle contest: take its fer2013.tar.gz or icml_face_data.csv"
    raise ValueError(f"{name}: no column {', '.join(missing)}: the first line has {shown}; {advice}")


def _row_by_row(
    numbered: list[tuple[int, list[bytes]]],
    name: str,
    first: int,
    width: int,
    places: list[int],
    labels_of: dict[bytes, int],
    splits_of: dict[bytes, int],
) -> tuple[list[int], np.ndarray, list[int]]:
    """Labels, pixels and splits of rows that are out of the ordinary: unusual blanks pass, the rest is an error."""
    labels, where, pixels = [], [], np.empty((len(numbered), PIXELS), np.uint8)
    for i, (line, fields) in enumerate(numbered):
        fault = None
        if len(fields) > width and any(fields[width:]):
            fault = f"it has {len(fields)} columns, the header {width}"
        emotion, text, usage = (fields[place] if place < len(fields) else b"" for place in places)
        tokens = text.split()
        fault = fault or _fault(emotion, tokens, usage, labels_of, splits_of)
        if fault:
            raise ValueError(f"{name}: row {first + i} (line {line}): {fault}; {REPAIR}")
        pixels[i] = [int(token) for token in tokens]
        labels.append(labels_of[emotion])
        where.append(splits_of[usage])
    return labels, pixels, where


def _fault(
    emotion: bytes, tokens: list[bytes], usage: bytes, labels_of: dict[bytes, int], splits_of: dict[bytes, int]
) -> str | None:
    """What is wrong with one row."""
    if emotion not in labels_of:
        return f"emotion is {_shown(emotion)}, not one of {_list(labels_of)}"
    for place, token in enumerate(tokens, 1):
        if not (token.isdigit() and len(token) < 10 and int(token) <= 255):
            return f"pixel {place} is {_shown(token)}, not a whole number from 0 to 255"
    if not usage:
        return f"it ends early, with {len(tokens)} of {PIXELS} pixels and no Usage, as in a file that was cut off"
    if len(tokens) != PIXELS:
        return f"it has {len(tokens)} pixels, not {PIXELS}"
    if usage not in splits_of:
        return f"Usage is {_shown(usage)}, not one of {_list(splits_of)}"
    return None


def _shown(text: bytes) -> str:
    """Its beginning, whatever the bytes are."""
    return repr(text[:20].decode("latin-1"))


def _list(allowed: dict[bytes, int]) -> str:
    return ", ".join(key.decode() for key in allowed)
