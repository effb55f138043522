"""What stands in the cells of a FER2013 CSV: labels and splits, in the official spelling or in that of a copy."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from datasets.raw.csv_text import AROUND, split_quoted
from datasets.raw.words import class_of, split_of

PIXELS = 48 * 48
BRACKETS = AROUND + b"[]()"


class Spelling:
    """Reads labels and splits. A column is of one kind: a word among numbers is a fault, so is `test` by PublicTest."""

    def __init__(self, classes: int, splits: Sequence[str]) -> None:
        self.classes, self.splits = classes, tuple(splits)
        self.numbers = self.official = False  # whether the file has such labels, such splits

    def labels(self, texts: Sequence[bytes]) -> list[int | None]:
        """An index for each text, or None."""
        self.numbers = self.numbers or any(text.isdigit() for text in texts)
        return [parse_label(text, self.classes, not self.numbers) for text in texts]

    def where(self, texts: Sequence[bytes]) -> list[int | None]:
        """Index into `splits` for each text, or None."""
        self.official = self.official or b"PublicTest" in texts or b"PrivateTest" in texts
        return [parse_split(text, self.splits, not self.official) for text in texts]


@lru_cache(4096)
def parse_label(text: bytes, classes: int, words: bool) -> int | None:
    """`3`, `3.0` and, if `words`, `happy` and `Happiness` are 3; None for what is no label."""
    if re.fullmatch(rb"\d{1,3}(\.0*)?", text):
        label: int | None = int(float(text))
    else:
        label = class_of(text.decode("utf-8", "replace")) if words else None
    return label if label is not None and label < classes else None


@lru_cache(4096)
def parse_split(text: bytes, splits: tuple[str, ...], words: bool) -> int | None:
    """Index of the split in any case or, if `words`, as folders are called: train, val, test."""
    word = text.decode("utf-8", "replace")
    lower = [split.lower() for split in splits]
    if word.lower() in lower:
        return lower.index(word.lower())
    split = split_of(word) if words else None
    return splits.index(split) if split in splits else None


def tidy(line: bytes, separator: bytes, width: int, place: int) -> list[bytes]:
    """The fields of a row whose pixels, in column `place`, may be in brackets or have commas between them."""
    fields = split_quoted(line, separator)
    if len(fields) >= width + PIXELS - 1:  # commas between unquoted pixels
        pixels = fields[place : place + PIXELS]
        fields = [*fields[:place], b" ".join(pixels), *fields[place + PIXELS :]]
    if place < len(fields):
        fields[place] = b" ".join(fields[place].strip(BRACKETS).replace(b",", b" ").replace(b";", b" ").split())
    return fields


def column_fault(column: str, texts: Sequence[bytes], shown: Callable[[bytes], str]) -> str:
    """What to say where no row of a column can be read."""
    values = ", ".join(map(shown, dict.fromkeys(texts[:100]))) if column != "pixels" else shown(texts[0])
    if column == "emotion":
        return f"the column emotion holds {values[:120]}: it must be 0 to 6, or words such as happy"
    if column == "Usage":
        return f"the column Usage holds {values[:120]}: it must be Training, PublicTest or PrivateTest in every row"
    tokens = texts[0].split()
    if b"..." in texts[0]:
        return (
            "the column pixels was cut short (...) by the program that wrote it: 2304 numbers are needed in every row"
        )
    if any(re.fullmatch(rb"\d*\.\d*(e[-+]?\d+)?", token) for token in tokens):
        return f"the column pixels holds fractions ({values}...): write whole numbers from 0 to 255"
    if all(token.isdigit() for token in tokens):
        return f"the column pixels holds {len(tokens)} numbers in a row: it must be {PIXELS}, a face of 48x48"
    return f"the column pixels holds {values}: it must be {PIXELS} numbers from 0 to 255 with blanks between them"
