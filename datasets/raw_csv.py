"""FER2013 as text: a CSV stream whose rows are a label, 2304 pixels as decimal numbers, and the name of the split.

pandas cuts the stream into rows; the pixels, 74 million numbers, are turned into bytes by array arithmetic. Only a
block of rows that is out of the ordinary is read number by number, which finds the row to complain about.
"""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import pandas as pd

COLUMNS = ("emotion", "pixels", "Usage")
PIXELS = 48 * 48
ROWS_A_CHUNK = 512  # about 4 MB of text
ROWS_A_BLOCK = 16  # the temporaries of 134 kB of text stay in a core's cache
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
    labels_of = {str(label): label for label in range(classes)}
    splits_of = {split: index for index, split in enumerate(splits)}
    rows = 0
    for chunk in _cut_rows(stream, width, name):
        if (chunk[places[1]] == "").any():
            chunk = chunk[chunk.apply(lambda column: column.str.strip() != "").any(axis=1)]  # blank lines
        emotions, texts, usages = (chunk[place].tolist() for place in places)
        labels = [labels_of.get(text) for text in emotions]
        where = [splits_of.get(text) for text in usages]
        pixels = parse_pixels(texts)
        if pixels is None or None in labels or None in where or (chunk[width] != "").any():
            records = list(zip(emotions, texts, usages, chunk[width], chunk.index + 2, strict=True))
            labels, pixels, where = _row_by_row(records, name, rows + 1, labels_of, splits_of)
        rows += len(chunk)
        yield pixels.reshape(-1, 48, 48), np.array(labels, np.int64), np.array(where, np.int64)
        advance()
    if not rows:
        raise ValueError(f"{name}: the file ends after its header, there is no row in it; download it again")


def parse_pixels(texts: Sequence[str]) -> np.ndarray | None:
    """(n, 2304) uint8 from n strings of 2304 numbers of one to three digits with single blanks between them.

    None where any string is not that, or a number is above 255.
    """
    pixels = np.empty((len(texts), PIXELS), np.uint8)
    for start in range(0, len(texts), ROWS_A_BLOCK):
        block = texts[start : start + ROWS_A_BLOCK]
        # every number is ended by a blank, and has two bytes before its last digit to look at
        text = np.frombuffer(f"   {' '.join(block)} ".encode("latin-1", "replace"), np.uint8)
        digits = text - ZERO
        is_digit = digits < 10
        digits *= is_digit
        # what a number that ends at this byte would be worth: cheap enough to work out at every byte
        values = digits[:-3] * is_digit[1:-2] * np.uint16(100)
        values += digits[1:-2] * np.uint8(10)
        values += digits[2:-1]
        ends = np.flatnonzero(text[3:] == BLANK)
        lengths = np.diff(ends, prepend=-1) - 1
        row_ends = np.cumsum([len(row) + 1 for row in block]) - 1
        values = values[ends]
        if (
            len(ends) != len(block) * PIXELS
            or np.count_nonzero(is_digit) + len(ends) + 3 != len(text)
            or not np.array_equal(ends[PIXELS - 1 :: PIXELS], row_ends)
            or lengths.min() < 1
            or lengths.max() > 3
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


def _cut_rows(stream: BinaryIO, width: int, name: str) -> Iterator[pd.DataFrame]:
    """Chunks of rows as strings, with the file's line less 2 as index.

    They have one column more than the header, empty unless a row is too long. latin-1 decodes any byte, so that a
    damaged one is found as the bad pixel or split name that it is.
    """
    options = {"header": None, "names": range(width + 1), "index_col": False, "skip_blank_lines": False}
    options |= {"dtype": str, "na_filter": False, "encoding": "latin-1", "chunksize": ROWS_A_CHUNK}
    try:
        with pd.read_csv(stream, **options) as chunks:
            while True:
                with warnings.catch_warnings():
                    # where the first row is the longest pandas drops what is over, with a warning
                    warnings.simplefilter("error", pd.errors.ParserWarning)
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk
    except pd.errors.ParserWarning:
        raise ValueError(f"{name}: row 1 (line 2): it has more columns than the header; {REPAIR}") from None
    except pd.errors.ParserError as error:
        # it counts lines from where it began to read, behind the header
        found = re.search(r"Expected \d+ fields in line (\d+), saw (\d+)", str(error))
        fault = " ".join(str(error).split())
        if found:
            row = int(found[1])
            fault = f"row {row} (line {row + 1}): it has {found[2]} columns, the header {width}"
        raise ValueError(f"{name}: {fault}; {REPAIR}") from None


def _row_by_row(
    records: list[tuple], name: str, first: int, labels_of: dict[str, int], splits_of: dict[str, int]
) -> tuple[list[int], np.ndarray, list[int]]:
    """Labels, pixels and splits of rows that are out of the ordinary: unusual blanks pass, the rest is an error."""
    labels, where, pixels = [], [], np.empty((len(records), PIXELS), np.uint8)
    for i, (emotion, text, usage, more, line) in enumerate(records):
        emotion, usage, tokens = emotion.strip(), usage.strip(), text.split()
        fault = _fault(emotion, tokens, usage, more.strip(), labels_of, splits_of)
        if fault:
            raise ValueError(f"{name}: row {first + i} (line {line}): {fault}; {REPAIR}")
        pixels[i] = [int(token) for token in tokens]
        labels.append(labels_of[emotion])
        where.append(splits_of[usage])
    return labels, pixels, where


def _fault(
    emotion: str, tokens: list[str], usage: str, more: str, labels_of: dict[str, int], splits_of: dict[str, int]
) -> str | None:
    """What is wrong with one row."""
    if more:
        return f"it has a column too many, {more[:20]!r}"
    if emotion not in labels_of:
        return f"emotion is {emotion[:20]!r}, not one of {', '.join(labels_of)}"
    for place, token in enumerate(tokens, 1):
        if not (token.isascii() and token.isdigit() and len(token) < 10 and int(token) <= 255):
            return f"pixel {place} is {token[:20]!r}, not a whole number from 0 to 255"
    if not usage:
        return f"it ends early, with {len(tokens)} of {PIXELS} pixels and no Usage, as in a file that was cut off"
    if len(tokens) != PIXELS:
        return f"it has {len(tokens)} pixels, not {PIXELS}"
    if usage not in splits_of:
        return f"Usage is {usage[:20]!r}, not one of {', '.join(splits_of)}"
    return None
