"""The tables that preprocess_fer2013.py prints: counts beside the official ones, and faces that repeat."""

import numpy as np
from raw_fer2013 import FACES

from datasets.duplicates import Twins, find_twins, twin_mask
from datasets.names import FER2013_CLASSES, OFFICIAL_COUNTS
from datasets.storage import FaceSet, Split
from datasets.tables import counts_table, twins_table


def counted(**changes: tuple[int, ...]) -> FaceSet:
    """A set with the official counts, or those given, of empty faces."""
    counts = {**OFFICIAL_COUNTS["fer2013"], **changes}
    splits = {
        name: Split(np.zeros((sum(numbers), 1, 1), np.uint8), np.repeat(np.arange(7), numbers))
        for name, numbers in counts.items()
        if numbers
    }
    return FaceSet("fer2013", FER2013_CLASSES, splits, "", "")


def test_counts_table_says_when_all_is_official():
    lines = counts_table(counted(), OFFICIAL_COUNTS["fer2013"]).splitlines()
    assert lines[0].split() == ["split", *FER2013_CLASSES, "total"]
    assert lines[1].split() == ["Training", "3995", "436", "4097", "7215", "4830", "3171", "4965", "28709"]
    assert lines[3].split() == ["PrivateTest", "491", "55", "528", "879", "594", "416", "626", "3589"]
    assert lines[4:] == ["every count is the official one"]


def test_counts_table_marks_differences_and_absent_splits():
    table = counts_table(
        counted(PublicTest=(467, 55, 496, 895, 653, 415, 607), PrivateTest=()), OFFICIAL_COUNTS["fer2013"]
    )
    lines = table.splitlines()
    assert lines[2].split() == ["PublicTest", "467", "55*", "496", "895", "653", "415", "607", "3588*"]
    assert lines[3].split() == ["official", "467", "56", "496", "895", "653", "415", "607", "3589"]
    assert lines[4].split() == ["PrivateTest", *["-*"] * 8]
    assert lines[5].split()[0] == "official" and lines[6] == "* not the official count; absent: PrivateTest"
    # columns of fixed width: every line ends at the same place, marks apart
    assert len({len(line.rstrip("* ")) for line in lines[:6]}) == 1


def test_counts_table_without_official_counts_is_bare():
    assert "official" not in counts_table(counted())


def twin_set() -> FaceSet:
    a, b, c, d, e = FACES["Training"][10:15]
    make = lambda faces, labels: Split(np.stack(faces), np.array(labels))  # noqa: E731
    splits = {
        "Training": make([a, a, a, b, c], [0, 0, 1, 2, 3]),
        "PublicTest": make([a, b, d], [1, 6, 4]),
        "PrivateTest": make([e, d, d, c], [0, 4, 5, 3]),
    }
    return FaceSet("fer2013", FER2013_CLASSES, splits, "", "")


def test_twins_are_counted_within_and_across_splits():
    assert find_twins(twin_set()) == [
        Twins("Training", "Training", 2, 1),
        Twins("PublicTest", "PublicTest", 0, 0),
        Twins("PrivateTest", "PrivateTest", 1, 0),
        Twins("PublicTest", "Training", 2, 1),
        Twins("PrivateTest", "Training", 1, 1),
        Twins("PrivateTest", "PublicTest", 2, 1),
    ]
    table = twins_table(twin_set()).splitlines()
    assert table[1].split() == ["Training,", "repeating", "another", "2", "40.0%", "1"]
    assert table[5].split() == ["PrivateTest,", "also", "in", "Training", "1", "25.0%", "1"]
    assert len({len(line) for line in table}) == 1


def test_twin_mask_marks_the_faces_that_are_in_the_reference():
    splits = twin_set().splits
    mask = twin_mask(splits["PrivateTest"].pixels, splits["PublicTest"].pixels)
    assert mask.dtype == bool and mask.tolist() == [False, True, True, False]
