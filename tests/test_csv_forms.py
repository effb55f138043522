"""CSV files as spreadsheets and other programs save them: read rightly, or the column is named and not a row."""

import gzip
import io
import re
import stat
import tarfile
import tracemalloc
import zipfile

import numpy as np
import pytest
from raw_fer2013 import FACES, ROWS, assert_all_faces, in_tar, official, preprocess, refused

from datasets.names import EIGHT_CLASSES
from datasets.raw import csv_text
from datasets.storage import read_faces

HEADER = "emotion,pixels,Usage"
WORDS = ("angry", "Disgust", "fearful", "Happiness", "sad", "surprise", "Neutral")
SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(csv_text, "BYTES_A_CHUNK", 90_000)  # about 12 rows


def each(emotion=str, pixels=str, usage=str) -> list[tuple[str, str, str]]:
    """ROWS with every cell changed."""
    return [(emotion(a), pixels(b), usage(c)) for a, b, c in ROWS]


def joined(separator: str, rows=ROWS, end: str = "\n") -> bytes:
    return "".join(separator.join(row) + end for row in [HEADER.split(","), *rows]).encode()


QUOTED = joined(",", [tuple(f'"{cell}"' for cell in row) for row in ROWS])
COMMAS = each(pixels=lambda text: text.replace(" ", ","))
READ = {
    "semicolons": joined(";"),
    "tabs": joined("\t"),
    "bars": joined("|"),
    "sep=; before the header": b"sep=;\r\n" + joined(";", end="\r\n"),
    "sep=, before the header": b"\xef\xbb\xbfsep=,\r\n" + joined(","),
    "UTF-16": joined("\t").decode().encode("utf-16"),
    "UTF-16, no mark": joined(",").decode().encode("utf-16-le"),
    "UTF-16, big end first": joined(",").decode().encode("utf-16-be"),
    "UTF-16 in a gz": gzip.compress(joined(",").decode().encode("utf-16"), 1),
    "UTF-16 in a tar": in_tar(joined(",").decode().encode("utf-16")),
    "a mark and quotes": b"\xef\xbb\xbf" + QUOTED,
    "line ends of old Macs": joined(",", end="\r"),
    "line ends of old Macs, semicolons": joined(";", end="\r"),
    "labels as words": joined(",", each(emotion=lambda a: WORDS[int(a)])),
    "labels as 3.0": joined(",", each(emotion=lambda a: f"{a}.0")),
    "small letters": joined(",", each(usage=str.lower)).replace(b"Usage", b"usage"),
    "train, val, test": joined(",", each(usage=SPLITS.get)),
    "Train, Validation, Test": joined(",", each(usage=lambda c: SPLITS[c].replace("val", "validation").title())),
    "pixels in brackets": joined(",", each(pixels=lambda b: f"[{b}]")),
    "pixels in brackets and quotes, with commas": joined(",", each(pixels=lambda b: f'"[{b.replace(" ", ", ")}]"')),
    "pixels with commas, no quotes": joined(",", COMMAS),
    "pixels with commas, semicolons between fields": joined(";", COMMAS),
    "pixels with commas in quotes": joined(",", each(pixels=lambda b: f'"{b.replace(" ", ",")}"')),
}


@pytest.mark.parametrize("form", READ)
def test_what_other_programs_save_is_read(tmp_path, form):
    (tmp_path / "fer2013.csv").write_bytes(READ[form])
    assert_all_faces(preprocess(tmp_path / "fer2013.csv", tmp_path / "f.h5"))


def fraction(text: str) -> str:
    return " ".join(f"{int(x) / 255:.3f}" for x in text.split())


NAMED = {
    "Usage 0 and 1": (each(usage=lambda c: "01"[c == "PublicTest"]), r"column Usage holds '0'.*must be Training, Publ"),
    "Usage of blanks": (each(usage=lambda c: "?"), "column Usage holds '[?]'"),
    "other labels": (each(emotion=lambda a: f"class {a}"), "column emotion holds 'class 0', 'class 1'.* words such as"),
    "labels from 1": (each(emotion=lambda a: str(int(a) + 100)), "column emotion holds '100', '101'"),
    "fractions": (each(pixels=fraction), r"column pixels holds fractions \('.*\.\.\.'?.*whole numbers from 0 to 255"),
    "floats": (each(pixels=lambda b: b.replace(" ", ".0 ")), "column pixels holds fractions"),
    "cut by numpy": (each(pixels=lambda b: f"[{b[:9]} ... {b[-9:]}]"), r"column pixels was cut short \(\.\.\.\)"),
    "another size": (each(pixels=lambda b: b[: len(b) // 2].rsplit(" ", 1)[0]), r"pixels holds \d+ numbers in a row"),
    "paths": (each(pixels=lambda b: "images/1.jpg"), "column pixels holds 'images/1.jpg': it must be 2304 numbers"),
}


@pytest.mark.parametrize("kind", NAMED)
def test_a_column_of_another_kind_is_named_and_not_a_row(tmp_path, capsys, kind):
    rows, message = NAMED[kind]
    (tmp_path / "fer2013.csv").write_bytes(joined(",", rows))
    error = refused(capsys, tmp_path / "fer2013.csv", tmp_path / "f.h5")
    assert re.search(message, error), error
    assert "row" not in error.replace("every row", "").replace("in a row", "") and "delete" not in error


def test_a_word_among_numbers_is_still_a_fault_of_its_row(tmp_path, capsys):
    rows = [*ROWS[:40], ("happy", *ROWS[40][1:]), *ROWS[41:]]
    (tmp_path / "fer2013.csv").write_bytes(joined(",", rows))
    assert "row 41 (line 42): emotion is 'happy'" in refused(capsys, tmp_path / "fer2013.csv", tmp_path / "f.h5")


def test_an_empty_cell_is_no_cut_off_file(tmp_path, capsys):
    rows = [*ROWS[:40], (*ROWS[40][:2], ""), *ROWS[41:]]
    (tmp_path / "fer2013.csv").write_bytes(joined(",", rows))
    assert "row 41 (line 42): Usage is '', not one of" in refused(capsys, tmp_path / "fer2013.csv", tmp_path / "f.h5")


@pytest.mark.parametrize("header", ["emotion,pixels,Usage", "pixels,Usage,emotion"])
def test_a_last_cell_that_no_row_has_is_named(tmp_path, capsys, header):
    rows = [[dict(zip(HEADER.split(","), row, strict=True))[name] for name in header.split(",")[:2]] for row in ROWS]
    (tmp_path / "fer2013.csv").write_bytes(official(rows, header))
    error = refused(capsys, tmp_path / "fer2013.csv", tmp_path / "f.h5")
    assert header.split(",")[2] in error


# ---- where the file lies ----


@pytest.mark.parametrize("inside", ["archive/fer2013", "a/b/c", "FER/data"])
def test_the_file_is_found_some_folders_deep_and_clutter_is_none(tmp_path, inside):
    (tmp_path / "x" / "__MACOSX").mkdir(parents=True)
    (tmp_path / "x" / "__MACOSX" / "fer2013.csv").write_bytes(b"what a Mac leaves")
    (tmp_path / "x" / inside).mkdir(parents=True)
    (tmp_path / "x" / inside / "FER2013.csv").write_bytes(official())
    assert_all_faces(preprocess(tmp_path / "x", tmp_path / "f.h5"))


# ---- ckextended.csv ----


def ckextended() -> bytes:
    return joined(",", [(str(i % 8), b, c) for i, (_, b, c) in enumerate(ROWS)])


@pytest.mark.parametrize("form", ["csv", "tar", "folder"])
def test_ckextended_is_a_set_of_its_own(tmp_path, capsys, form):
    source = tmp_path / "ckextended.csv"
    source.write_bytes(in_tar(ckextended(), "x/ckextended.csv") if form == "tar" else ckextended())
    faces = preprocess(tmp_path if form == "folder" else source, tmp_path / "out" / "ck.h5", "--dataset", "ckextended")
    assert "people cannot be kept apart" in capsys.readouterr().out
    stored = read_faces(tmp_path / "out" / "ck.h5")
    assert (stored.dataset, stored.class_names) == ("ckextended", EIGHT_CLASSES) and EIGHT_CLASSES[7] == "Contempt"
    np.testing.assert_array_equal(faces.splits["Training"].labels, np.arange(30) % 8)
    np.testing.assert_array_equal(stored.splits["PublicTest"].pixels, FACES["PublicTest"])


def test_ckextended_is_not_taken_for_another_set(tmp_path, capsys):
    (tmp_path / "ckextended.csv").write_bytes(ckextended())
    (tmp_path / "other.csv").write_bytes(ckextended())
    for source, more in (("ckextended.csv", []), ("other.csv", []), ("ckextended.csv", ["--dataset", "ckplus"])):
        assert "--dataset ckextended" in refused(capsys, tmp_path / source, tmp_path / "f.h5", *more)


# ---- archives that mean harm ----


def tar_with(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def tar_link(kind: bytes) -> bytes:
    member = tarfile.TarInfo("fer2013.csv")
    member.type, member.linkname = kind, "/etc/hostname"
    return tar_with(member)


def zip_with(name: str, content: bytes, mode: int = 0o100644) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        archive.writestr(info, content)
    return packed.getvalue()


def tar_that_claims(gigabytes: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, gigabytes << 30
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20), 1)


HOSTILE = {
    "path upwards in a tar": (tar_with(tarfile.TarInfo("../../fer2013.csv"), official()), "a file outside of itself"),
    "whole path in a tar": (tar_with(tarfile.TarInfo("/tmp/fer2013.csv"), official()), "a file outside of itself"),
    "path upwards in a zip": (zip_with("../fer2013.csv", official()), "a file outside of itself, '../fer2013.csv'"),
    "path of Windows in a zip": (zip_with("C:\\fer2013.csv", official()), "a file outside of itself"),
    "link in a tar": (tar_link(tarfile.SYMTYPE), "fer2013.csv is a link, not the data"),
    "hard link in a tar": (tar_link(tarfile.LNKTYPE), "fer2013.csv is a link, not the data"),
    "link in a zip": (zip_with("fer2013.csv", b"/etc/hostname", stat.S_IFLNK | 0o777), "fer2013.csv is a link"),
    "a large file in a tar": (tar_that_claims(100, tarfile.REGTYPE), "unpacks to 107 GB or more"),
    "a large header in a tar": (tar_that_claims(2, tarfile.GNUTYPE_LONGNAME), "damaged or cut off"),
    "another kind of archive": (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is an archive of a kind that is not read here"),
    "a mere .. is no way out": (zip_with("fer..2013/fer2013.csv", b"x"), "no column emotion"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line(tmp_path, capsys, kind):
    content, message = HOSTILE[kind]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "fer2013.tar.gz").write_bytes(content)
    assert message in refused(capsys, tmp_path / "in" / "fer2013.tar.gz", tmp_path / "f.h5")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["fer2013.tar.gz", "in"]


@pytest.mark.parametrize("content", [b"\0", b"1", b" ", b"\n"])
@pytest.mark.parametrize("packed", ["gz", "zip"])
def test_a_bomb_fills_no_memory(tmp_path, capsys, monkeypatch, packed, content):
    monkeypatch.setattr(csv_text, "MOST_LINES", 20_000)
    many = HEADER.encode() + b"\n" + content * 20_000_000
    source = tmp_path / "fer2013.csv"
    source.write_bytes(gzip.compress(many, 1) if packed == "gz" else zip_with("fer2013.csv", many))
    del many
    tracemalloc.start()
    try:
        error = refused(capsys, source, tmp_path / "f.h5")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert re.search(r"row 1 |goes on after 0.0 GB and 30,000|there is no row in it", error), error
