"""FER2013 as text: a CSV stream whose rows are a label, 2304 pixels as decimal numbers, and the name of the split.

In the official file no field holds a comma or a line's end, so rows are cut there; quotes and blanks around a field are
taken off. The pixels, 74 million numbers, are turned into bytes by array arithmetic. Only a chunk of rows that is out
of the ordinary is cut more carefully, and if that does not help, read number by number, which finds the row to
complain about.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import numpy as np

from datasets.raw.csv_cells import PIXELS, Spelling, column_fault, tidy
from datasets.raw.csv_text import AROUND, Header, read_chunks, read_header

COLUMNS = ("emotion", "pixels", "Usage")
ROWS_A_BLOCK = 16  # the temporaries of 134 kB of text stay in a core's cache
BLANK, ZERO = np.uint8(ord(" ")), np.uint8(ord("0"))
REPAIR = "repair or delete that row, or download the file again"

Row = tuple[int, list[bytes]]  # number of its line, fields


def read_csv(
    stream: BinaryIO, name: str, classes: int, splits: Sequence[str], advance: Callable[[], object] = lambda: None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield (pixels (n, 48, 48) uint8, labels (n,) int64, index into `splits` (n,) int64) for chunk after chunk.

    `name` is what errors call the stream; `advance` is called after every chunk. Raises ValueError that names the
    row (the first one after the header is row 1) and the line.
    """
    header, places = _header(stream, name)
    spelling, width = Spelling(classes, splits), len(header.names)
    rows, line = 0, header.line
    for lines in read_chunks(header.stream, name):
        cut = [[field.strip(AROUND) for field in text.split(header.separator)] for text in lines]
        numbered = [(number, fields) for number, fields in enumerate(cut, line) if any(fields)]  # not the blank lines
        line += len(lines)
        if not numbered:
            continue
        read = _read_rows(numbered, width, places, spelling)
        if read is None:
            first = line - len(lines)
            tidied = [
                (number, tidy(lines[number - first], header.separator, width, places[1])) for number, _ in numbered
            ]
            read = _read_rows(tidied, width, places, spelling)
            read = read or _row_by_row(tidied, name, rows + 1, width, places, spelling)
        labels, pixels, where = read
        rows += len(numbered)
        yield pixels.reshape(-1, 48, 48), np.array(labels, np.int64), np.array(where, np.int64)
        advance()
    if not rows:
        raise ValueError(f"{name}: the file ends after its header, there is no row in it; download it again")


def _read_rows(
    numbered: list[Row], width: int, places: list[int], spelling: Spelling
) -> tuple[list, np.ndarray, list] | None:
    """Labels, pixels and splits of ordinary rows; None if one of them is not."""
    if any(len(fields) != width for _, fields in numbered):
        return None
    emotions, texts, usages = ([fields[place] for _, fields in numbered] for place in places)
    labels, where = spelling.labels(emotions), spelling.where(usages)
    pixels = parse_pixels(texts)
    return None if pixels is None or None in labels or None in where else (labels, pixels, where)


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


def _header(stream: BinaryIO, name: str) -> tuple[Header, list[int]]:
    """The first line, and the places of COLUMNS in it; the names may come in any order and with blanks."""
    header = read_header(stream, COLUMNS)
    lower = [field.lower() for field in header.names]
    missing = [column for column in COLUMNS if column.lower() not in lower]
    if not missing:
        return header, [lower.index(column.lower()) for column in COLUMNS]
    shown = ", ".join(repr(field[:20]) for field in header.names[:5]) + (", ..." if len(header.names) > 5 else "")
    advice = "the first line must be emotion,pixels,Usage"
    if lower in (["emotion", "pixels"], ["pixels"]):
        advice = "this is train.csv or test.csv of the Kaggle contest: take its fer2013.tar.gz or icml_face_data.csv"
    raise ValueError(f"{name}: no column {', '.join(missing)}: the first line has {shown}; {advice}")


def _row_by_row(
    numbered: list[Row], name: str, first: int, width: int, places: list[int], spelling: Spelling
) -> tuple[list[int], np.ndarray, list[int]]:
    """Labels, pixels and splits of rows that are out of the ordinary: unusual blanks pass, the rest is an error."""
    labels, where, pixels, faults = [], [], np.empty((len(numbered), PIXELS), np.uint8), []
    for i, (line, fields) in enumerate(numbered):
        emotion, text, usage = (fields[place] if place < len(fields) else b"" for place in places)
        tokens, too_many = text.split(), len(fields) > width and any(fields[width:])
        fault = ("", f"it has {len(fields)} columns, the header {width}") if too_many else None
        fault = fault or _fault(emotion, tokens, usage, spelling)
        if fault:
            faults.append((line, first + i, fault))
            continue
        pixels[i] = [int(token) for token in tokens]
        labels.append(spelling.labels([emotion])[0])
        where.append(spelling.where([usage])[0])
    if not faults:
        return labels, pixels, where
    columns = {column for _, _, (column, _) in faults}
    if len(faults) == len(numbered) > 1 and len(columns) == 1 and columns < set(COLUMNS):
        (column,) = columns
        place = places[COLUMNS.index(column)]
        texts = [fields[place] if place < len(fields) else b"" for _, fields in numbered]
        raise ValueError(f"{name}: {column_fault(column, texts, _shown)}")
    line, row, (_, fault) = faults[0]
    raise ValueError(f"{name}: row {row} (line {line}): {fault}; {REPAIR}")


def _fault(emotion: bytes, tokens: list[bytes], usage: bytes, spelling: Spelling) -> tuple[str, str] | None:
    """What is wrong with one row, and in which column; "" where it is the row as a whole."""
    if None in spelling.labels([emotion]):
        allowed = ", ".join(map(str, range(spelling.classes)))
        seven = spelling.classes == 7 and emotion == b"7"
        hint = " (7 is Contempt in ckextended.csv: give --dataset ckextended if it is that)" if seven else ""
        return "emotion", f"emotion is {_shown(emotion)}, not one of {allowed}{hint}"
    for place, token in enumerate(tokens, 1):
        if not (token.isdigit() and len(token) < 10 and int(token) <= 255):
            return "pixels", f"pixel {place} is {_shown(token)}, not a whole number from 0 to 255"
    if not usage and len(tokens) != PIXELS:
        broken = "as where a file was cut off or a row broken in two"
        return "", f"it ends early, with {len(tokens)} of {PIXELS} pixels and no Usage, {broken}"
    if len(tokens) != PIXELS:
        return "pixels", f"it has {len(tokens)} pixels, not {PIXELS}"
    if None in spelling.where([usage]):
        return "Usage", f"Usage is {_shown(usage)}, not one of {', '.join(spelling.splits)}"
    return None


def _shown(text: bytes) -> str:
    """Its beginning, whatever the bytes are."""
    return repr(text[:20].decode("latin-1"))
