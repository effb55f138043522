"""preprocess_fer2013.py: every raw form gives the same faces, every fault one line and no file."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from raw_fer2013 import COUNTS, FACES, LABELS, ROWS, assert_all_faces, in_tar, in_zip, official, preprocess, refused

import preprocess_fer2013
from benchmarks import preprocess as benchmark
from datasets.names import FER2013_CLASSES, OFFICIAL_COUNTS
from datasets.raw import csv_file as raw_csv
from datasets.raw import csv_text
from datasets.storage import read_faces
from utils.files import source_digest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Files of 59 rows are several chunks and blocks long, with a rest in both."""
    monkeypatch.setattr(csv_text, "BYTES_A_CHUNK", 90_000)  # about 12 rows
    monkeypatch.setattr(raw_csv, "ROWS_A_BLOCK", 5)


# ---- raw forms ----

FORMS = {
    "fer2013.csv": official(),
    "crlf.csv": official(end="\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + official(),
    "no_last_newline.csv": official()[:-1],
    "blank_lines.csv": official().replace(b"Training\n", b"Training\n\n", 5) + b"\n  \n",
    "quoted.csv": official([(a, f'"{b}"', c) for a, b, c in ROWS], '"emotion","pixels","Usage"'),
    "odd_blanks.csv": official([(f" {a}", f" {b.replace(' ', '  ', 1)} ", f"{c} ") for a, b, c in ROWS]),
    "trailing_comma.csv": official([(*row, "") for row in ROWS]),
    "icml_face_data.csv": official([(a, c, b) for a, b, c in ROWS], "emotion, Usage, pixels"),
    "with_index.csv": official([("7", *row) for row in ROWS], ",emotion,pixels,Usage"),
    "fer2013.csv.gz": gzip.compress(official(), 1),
    "fer2013.tar.gz": in_tar(official()),
    "fer2013.tar": in_tar(official(), mode="w"),
    "icml.tgz": in_tar(official(), "./icml_face_data.csv"),
    "fer2013.zip": in_zip(official()),
    "no_ending_gz": gzip.compress(official(), 1),
    "wrong_ending.csv": in_tar(official()),
    "wrong_ending.tar.gz": in_zip(official()),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_the_csv_gives_the_same_faces(tmp_path, name):
    source, output = tmp_path / "with a blank" / name, tmp_path / "out put" / "faces.h5"
    source.parent.mkdir()
    source.write_bytes(FORMS[name])
    returned = preprocess(source, output)
    assert_all_faces(returned)
    stored = read_faces(output)
    assert_all_faces(stored)
    assert (stored.dataset, stored.class_names) == ("fer2013", FER2013_CLASSES)
    assert (stored.source, stored.source_sha256) == (name, source_digest(source))
    assert [path.name for path in output.parent.iterdir()] == ["faces.h5"]


@pytest.mark.parametrize("inside", ["fer2013.csv", "fer2013/fer2013.csv", "icml_face_data.csv", "fer2013.tar.gz"])
def test_folder_that_holds_the_file_will_do(tmp_path, inside):
    path = tmp_path / "download" / inside
    path.parent.mkdir(parents=True)
    path.write_bytes(FORMS[path.name])
    (tmp_path / "download" / "train.csv").write_text("emotion,pixels\n")
    assert_all_faces(preprocess(tmp_path / "download", tmp_path / "faces.h5"))


def test_a_missing_split_is_no_fault(tmp_path, capsys):
    (tmp_path / "f.csv").write_bytes(official([row for row in ROWS if row[2] != "PrivateTest"]))
    assert list(preprocess(tmp_path / "f.csv", tmp_path / "f.h5").splits) == ["Training", "PublicTest"]
    assert "absent: PrivateTest" in capsys.readouterr().out
    assert list(read_faces(tmp_path / "f.h5").splits) == ["Training", "PublicTest"]


FOLDERS = {
    "adjectives": ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral"),
    "nouns": ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Neutral"),
}


def fill_folder(folder: Path, names: tuple[str, ...], ending: str = "png", prefix: bool = True, n: int = 14) -> Path:
    for split in COUNTS:
        for i in range(n):
            part = "train" if split == "Training" else "test"
            path = folder / part / names[LABELS[split][i]] / f"{split + '_' if prefix else ''}{i:03}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(FACES[split][i]).save(path)
    return folder


@pytest.mark.parametrize("names", FOLDERS)
def test_folder_of_images_is_read_class_by_class(tmp_path, names):
    source = fill_folder(tmp_path / "images", FOLDERS[names])
    (source / "train" / FOLDERS[names][0] / "._Training_000.png").write_bytes(b"what a Mac leaves")
    faces = preprocess(source, tmp_path / "faces.h5")
    order = np.argsort(np.arange(14) % 7, kind="stable")
    for split in COUNTS:
        np.testing.assert_array_equal(faces.splits[split].pixels, FACES[split][:14][order])
        np.testing.assert_array_equal(faces.splits[split].labels, LABELS[split][:14][order])
    assert faces.source_sha256 == source_digest(source)


def test_folder_is_found_as_archives_unpack_and_clutter_is_no_face(tmp_path):
    source = fill_folder(tmp_path / "download" / "archive" / "images", FOLDERS["nouns"])
    for name in (".ipynb_checkpoints/x.png", "__MACOSX/x.png", "._x.png"):
        path = source / "train" / "Happiness" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((source / "train" / "Happiness" / "Training_003.png").read_bytes())
    faces = preprocess(tmp_path / "download", tmp_path / "faces.h5")
    assert {split: len(part) for split, part in faces.splits.items()} == dict.fromkeys(COUNTS, 14)


def test_images_without_a_split_in_their_name_go_by_their_folder(tmp_path, capsys):
    source = fill_folder(tmp_path / "images", FOLDERS["nouns"], prefix=False)
    faces = preprocess(source, tmp_path / "faces.h5")
    # both test splits had the same names, so that the second took the place of the first
    assert {split: len(part) for split, part in faces.splits.items()} == {"Training": 14, "PrivateTest": 14}
    out = capsys.readouterr().out
    assert "14 images without a split in their name: test/ -> PrivateTest, by their folder" in out


def test_colour_and_jpeg_become_gray(tmp_path):
    source = fill_folder(tmp_path / "images", FOLDERS["nouns"], "jpg")
    colour = source / "train" / "Anger" / "Training_000.png"
    Image.fromarray(FACES["Training"][7]).convert("RGBA").save(colour)
    faces = preprocess(source, tmp_path / "faces.h5")
    assert len(faces.splits["Training"]) == 15
    np.testing.assert_array_equal(faces.splits["Training"].pixels[1], FACES["Training"][7])


# ---- faults ----


def with_row(number: int, emotion=None, pixels=None, usage=None) -> bytes:
    """The official file with row `number` (from 1) changed."""
    rows = list(ROWS)
    old = rows[number - 1]
    rows[number - 1] = tuple(o if n is None else n for o, n in zip(old, (emotion, pixels, usage), strict=True))
    return official(rows)


GOOD = ROWS[0][1].split()
ROW_FAULTS = {
    "label too large": (with_row(4, emotion="7"), r"row 4 \(line 5\): emotion is '7', not one of 0, 1, 2, 3, 4, 5, 6"),
    "label negative": (with_row(4, emotion="-1"), "row 4 .*emotion is '-1'"),
    "label a word": (with_row(4, emotion="happy"), "row 4 .*emotion is 'happy'"),
    "label absent": (with_row(4, emotion=""), "row 4 .*emotion is ''"),
    "a pixel short": (with_row(26, pixels=" ".join(GOOD[1:])), r"row 26 \(line 27\): it has 2303 pixels, not 2304"),
    "a pixel too many": (with_row(1, pixels=" ".join([*GOOD, "1"])), r"row 1 \(line 2\): it has 2305 pixels"),
    "no pixels": (with_row(2, pixels=""), "row 2 .*it has 0 pixels"),
    "pixel 256": (with_row(2, pixels=" ".join([*GOOD[:9], "256", *GOOD[10:]])), "row 2 .*pixel 10 is '256'"),
    "pixel 1000": (with_row(2, pixels=" ".join(["1000", *GOOD[1:]])), "row 2 .*pixel 1 is '1000'"),
    "pixel negative": (with_row(2, pixels=" ".join([*GOOD[:-1], "-3"])), "row 2 .*pixel 2304 is '-3'"),
    "pixel a fraction": (with_row(2, pixels=" ".join([*GOOD[:-1], "0.5"])), "row 2 .*pixel 2304 is '0.5'"),
    "pixel a letter": (with_row(2, pixels=" ".join(["x", *GOOD[1:]])), "row 2 .*pixel 1 is 'x'"),
    "one row short, the next long": (
        with_row(2, pixels=" ".join(GOOD[1:])).replace(ROWS[2][1].encode(), f"{ROWS[2][1]} 1".encode()),
        "row 2 .*it has 2303 pixels",
    ),
    "unknown Usage": (with_row(33, usage="Test"), "row 33 .*Usage is 'Test', not one of Training, PublicTest, Priv"),
    "a column too many": (with_row(3, usage="Training,1"), r"row 3 \(line 4\): it has 4 columns, the header 3"),
    "two columns too many": (with_row(3, usage="Training,1,2"), r"row 3 \(line 4\): it has 5 columns, the header 3"),
    "row 1 the longest": (with_row(1, usage="Training,1,2,3"), r"row 1 \(line 2\): it has 6 columns, the header 3"),
    "a long pixel": (with_row(2, pixels=" ".join(["000000000999", *GOOD[1:]])), "row 2 .*pixel 1 is '000000000999'"),
    "after a blank line": (with_row(3, emotion="9").replace(b"Training\n", b"Training\n\n", 1), r"row 3 \(line 5\)"),
    "bytes of another kind": (with_row(3, pixels="\0" * 50), "row 3 .*pixel 1 is "),
    "cut off in the pixels": (official()[:-5000], r"row 59 \(line 60\): it ends early, with \d+ of 2304 pixels"),
    "cut off in the Usage": (official()[:-5], r"row 59 \(line 60\): Usage is 'Private"),
    "an open quote": (official()[:-100] + b'"', "row 59|EOF inside string"),
    "header alone": (official([]), "ends after its header"),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_bad_row_is_named(tmp_path, capsys, fault):
    content, message = ROW_FAULTS[fault]
    (tmp_path / "f.csv").write_bytes(content)
    error = refused(capsys, tmp_path / "f.csv", tmp_path / "f.h5")
    assert re.search(message, error), error
    assert str(tmp_path / "f.csv") in error and ("repair" in error or "download" in error)


CSV, GZ, TAR, ZIP = official(), FORMS["fer2013.csv.gz"], FORMS["fer2013.tar.gz"], FORMS["fer2013.zip"]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 301072766\n"
FILE_FAULTS = {
    "empty": (b"", "is empty; download it again"),
    "empty gz": (gzip.compress(b""), "is empty"),
    "no header": (CSV.split(b"\n", 1)[1], "no column emotion, pixels, Usage: the first line has '0', '0 0 0"),
    "other header": (b"label,image\n1,2\n", "no column emotion, pixels, Usage: the first line has 'label', 'image'"),
    "train.csv": (
        official([], "emotion,pixels"),
        "no column Usage.* this is train.csv or test.csv of the Kaggle contest",
    ),
    "LFS pointer": (LFS, "is a Git LFS pointer, not the data: run `git lfs pull`"),
    "web page": (b"\n<!DOCTYPE html>\n<html>", "is a web page, not the data"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(600), "is an HDF5 file already: give it to train.py as --data"),
    "noise": (random.Random(0).randbytes(100_000), "no column emotion, pixels, Usage"),
    "gz cut off": (GZ[: len(GZ) // 2], "the archive is damaged or cut off"),
    "gz without its end": (GZ[:-4], "the archive is damaged or cut off"),
    "gz with a wrong checksum": (GZ[:-8] + b"\0\0\0\0" + GZ[-4:], "the archive is damaged or cut off"),
    "gz damaged": (GZ[:5000] + bytes(3000) + GZ[8000:], r"damaged or cut off|row \d+ .*download the file again"),
    "tar cut off": (TAR[: len(TAR) // 2], "the archive is damaged or cut off"),
    "tar without its end": (TAR[:-4], "the archive is damaged or cut off"),
    "plain tar cut off": (FORMS["fer2013.tar"][:200_000], "damaged or cut off|it ends early|of 2304 pixels"),
    "zip cut off": (ZIP[: len(ZIP) // 2], "the archive is damaged or cut off"),
    "zip damaged": (ZIP[:5000] + bytes(3000) + ZIP[8000:], r"damaged or cut off|row \d+ .*download the file again"),
    "tar without the file": (
        in_tar(b"", "other.csv"),
        "no fer2013.csv or icml_face_data.csv .*found fer2013/README, other",
    ),
    "zip without the file": (
        in_zip(b"", "train/angry/1.jpg"),
        "no fer2013.csv or icml.* found __MACOSX/fer2013.csv, train",
    ),
    "bad row in a tar": (in_tar(with_row(4, emotion="7")), r"fer2013/fer2013.csv: row 4 \(line 5\): emotion is '7'"),
}


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_a_bad_file_is_named(tmp_path, capsys, fault):
    content, message = FILE_FAULTS[fault]
    (tmp_path / "fer2013.csv").write_bytes(content)
    error = refused(capsys, tmp_path / "fer2013.csv", tmp_path / "new" / "f.h5")
    assert re.search(message, error), error
    assert str(tmp_path / "fer2013.csv") in error and len(error) < 500
    assert not (tmp_path / "new").exists()


def test_missing_source_says_where_the_data_comes_from(tmp_path, capsys):
    assert "challenges-in-representation-learning" in refused(capsys, tmp_path / "no.csv", tmp_path / "f.h5")
    (tmp_path / "folder").mkdir()
    assert "holds no FER2013: found nothing" in refused(capsys, tmp_path / "folder", tmp_path / "f.h5")
    (tmp_path / "folder" / "x.txt").touch()
    assert "found x.txt; it should hold fer2013.csv, " in refused(capsys, tmp_path / "folder", tmp_path / "f.h5")


def test_bad_image_costs_only_itself_and_is_named(tmp_path, capsys):
    source, output = fill_folder(tmp_path / "images", FOLDERS["nouns"], n=7), tmp_path / "f.h5"
    bad = source / "train" / "Surprise" / "Training_005.png"
    good, whole = bad.read_bytes(), sum(map(len, preprocess(source, output).splits.values()))
    Image.new("L", (64, 48)).save(tmp_path / "large.png")
    large = (tmp_path / "large.png").read_bytes()
    for content, message in [(good[:300], "cannot be read"), (b"", "cannot be read"), (large, "is 64x48, not 48x48")]:
        bad.write_bytes(content)
        capsys.readouterr()
        assert sum(map(len, preprocess(source, output).splits.values())) == whole - 1
        said = capsys.readouterr().out
        assert f"images cannot be used and are left out: {bad} {message}" in said
    for path in source.rglob("*.png"):
        path.write_bytes(large)
    assert "is 64x48, not 48x48 as FER2013's own, nor is any other image better" in refused(capsys, source, output)
    bad.unlink()
    (source / "train" / "Surprise").rename(source / "train" / "Contempt")
    (source / "train" / "Contempt" / "Training_1.png").write_bytes(good)
    assert f"{source / 'train' / 'Contempt'} is no class of FER2013" in refused(capsys, source, output)


@pytest.mark.parametrize("dataset", ["fer2013", "ckplus"])
def test_a_page_that_is_called_a_picture_starts_no_program(tmp_path, monkeypatch, dataset):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 48 48\n%%EndComments\nshowpage\n"
    path = tmp_path / ("train/happy/x.png" if dataset == "fer2013" else "CK+48/happy/S010_004_00000017.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(page)
    with pytest.raises(SystemExit):
        preprocess(tmp_path / path.relative_to(tmp_path).parts[0], tmp_path / "f.h5", "--dataset", dataset)
    assert not (tmp_path / "started").exists()


def test_a_picture_of_400_megapixels_is_left_out(tmp_path, capsys):
    source, output = fill_folder(tmp_path / "images", FOLDERS["nouns"], n=7), tmp_path / "f.h5"
    bad = source / "train" / "Surprise" / "Training_005.png"
    content = bytearray(bad.read_bytes())
    content[16:24] = (20_000).to_bytes(4, "big") * 2  # PNG's width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    bad.write_bytes(content)
    preprocess(source, output)
    assert f"are left out: {bad} cannot be read" in capsys.readouterr().out


def test_folder_without_images_is_refused(tmp_path, capsys):
    (tmp_path / "images" / "train" / "happy").mkdir(parents=True)
    assert "no images (.jpg, .png, ...) in train/" in refused(capsys, tmp_path / "images", tmp_path / "f.h5")


# ---- the output ----


def test_an_older_output_is_replaced_and_said_so(tmp_path, capsys):
    (tmp_path / "f.csv").write_bytes(official(ROWS[:20]))
    preprocess(tmp_path / "f.csv", tmp_path / "f.h5")
    assert "older file" not in capsys.readouterr().out
    (tmp_path / "f.csv").write_bytes(official(ROWS[:10]))
    preprocess(tmp_path / "f.csv", tmp_path / "f.h5")
    assert "(it took the place of an older file)" in capsys.readouterr().out
    assert len(read_faces(tmp_path / "f.h5").splits["Training"]) == 10


def test_output_that_is_something_else_is_not_written_over(tmp_path, capsys):
    source = tmp_path / "f.csv"
    source.write_bytes(official(ROWS[:5]))
    assert "is the source itself" in refused(capsys, source, source)
    (tmp_path / "notes.txt").write_text("precious")
    assert "is no HDF5 file: move it away" in refused(capsys, source, tmp_path / "notes.txt")
    assert "is a folder: give --output a file name" in refused(capsys, source, tmp_path)
    assert "notes.txt" in refused(capsys, source, tmp_path / "notes.txt" / "f.h5")
    assert (tmp_path / "notes.txt").read_text() == "precious"


def test_failed_run_leaves_the_older_output(tmp_path, capsys):
    source, output = tmp_path / "f.csv", tmp_path / "f.h5"
    source.write_bytes(official(ROWS[:20]))
    preprocess(source, output)
    before = output.read_bytes()
    source.write_bytes(with_row(30, emotion="9"))
    refused(capsys, source, output)
    assert output.read_bytes() == before


@pytest.mark.parametrize("older", [b"", b"\x89HDF\r\n\x1a\n an older output"])
def test_killed_run_leaves_the_older_output(tmp_path, older):
    (tmp_path / "f.csv").write_bytes(official(ROWS[:20]))
    if older:
        (tmp_path / "f.h5").write_bytes(older)
    # killed at the worst moment: all is written, nothing has its name yet
    program = (
        "import os, sys, preprocess_fer2013\n"
        "os.replace = lambda *_: os.kill(os.getpid(), 9)\n"
        "preprocess_fer2013.main(['--source', sys.argv[1], '--output', sys.argv[2]])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "f.csv"), str(tmp_path / "f.h5")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / "f.h5").exists() == bool(older)
    assert not older or (tmp_path / "f.h5").read_bytes() == older


# ---- the command line ----


def test_help_is_fast_because_it_loads_no_library():
    program = (
        "import sys, preprocess_fer2013\n"
        "preprocess_fer2013.build_parser().format_help()\n"
        "print(*{'numpy', 'pandas', 'h5py', 'torch', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset", "fer"], "invalid choice: 'fer'"),
        (["--faces", "64"], "--faces means nothing with --dataset fer2013"),
        (["--dataset", "synthetic", "--source", "x"], "--source means nothing with --dataset synthetic"),
        (["--dataset", "synthetic", "--faces", "7"], "--faces 7 leaves none for PublicTest"),
        (["--dataset", "synthetic", "--faces", "many"], "'many' is not a whole number above 0"),
        (["--dataset", "synthetic", "--seed", "-1"], "--seed: '-1' is not"),
    ],
)
def test_options_that_make_no_sense_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        preprocess_fer2013.main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_usual_names_are_in_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fer2013.csv").write_bytes(official())
    assert_all_faces(preprocess_fer2013.main([]))
    assert_all_faces(read_faces("data/fer2013.h5"))


def test_synthetic_faces_are_drawn_the_same_each_time(tmp_path):
    def draw(name, seed):
        arguments = ["--dataset", "synthetic", "--faces", "64", "--seed", str(seed), "--output", str(tmp_path / name)]
        return preprocess_fer2013.main(arguments)

    draw("a.h5", 1)
    faces = read_faces(tmp_path / "a.h5")
    assert (faces.dataset, faces.class_names) == ("synthetic", FER2013_CLASSES)
    assert {name: len(split) for name, split in faces.splits.items()} == {
        "Training": 64,
        "PublicTest": 8,
        "PrivateTest": 8,
    }
    assert faces.source_sha256 == draw("b.h5", 1).source_sha256 != draw("c.h5", 2).source_sha256
    assert "--seed 1" in faces.source


# ---- the fast parser against a slow one ----


@settings(max_examples=150, derandomize=True, deadline=None)
@given(row=st.integers(0, 4), place=st.integers(0, 9000), cut=st.integers(0, 4), put=st.text("0189 -.x\t", max_size=4))
def test_fast_parser_agrees_with_int_or_declines(row, place, cut, put):
    texts = [text for _, text, _ in ROWS[:5]]
    texts[row] = texts[row][:place] + put + texts[row][place + cut :]
    pixels = raw_csv.parse_pixels([text.encode() for text in texts])
    usual = re.fullmatch(r"\d{1,3}( \d{1,3}){2303}", texts[row]) and max(map(int, texts[row].split())) <= 255
    assert (pixels is not None) == bool(usual)
    if usual:
        np.testing.assert_array_equal(pixels, [list(map(int, text.split())) for text in texts])


# ---- the benchmark ----


def test_benchmark_shows_both_sides_of_the_same_faces(tmp_path, capsys):
    (tmp_path / "f.csv").write_bytes(official())
    arguments = ["--source", str(tmp_path / "f.csv"), "--repeats", "1", "--json", str(tmp_path / "result.json")]
    result = benchmark.main(arguments)
    assert result == json.loads((tmp_path / "result.json").read_text())
    assert result[benchmark.OURS]["peak_mib"] > 20 and result[benchmark.CLASSIC]["import_seconds"] > 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[3:]] == [benchmark.OURS, benchmark.CLASSIC, "ratio"]


# ---- the real data ----

REAL = Path(os.environ.get("FER_DATA_DIR", "/nonexistent"))


def slow(line: str) -> tuple[int, list[int], str]:
    emotion, pixels, usage = line.strip().split(",")
    return int(emotion), [int(pixel) for pixel in pixels.split(" ")], usage


@pytest.mark.skipif(not (REAL / "fer2013_first_rows.csv.gz").exists(), reason="FER_DATA_DIR is not set")
def test_first_rows_of_the_official_file(tmp_path):
    source = REAL / "fer2013_first_rows.csv.gz"
    faces = preprocess(source, tmp_path / "f.h5")
    with gzip.open(source, "rt") as file:
        rows = [slow(line) for line in list(file)[1:]]
    training = read_faces(tmp_path / "f.h5").splits["Training"]
    assert list(faces.splits) == ["Training"] and len(rows) == 300
    assert training.labels.tolist() == [label for label, _, _ in rows]
    assert training.pixels.tobytes() == b"".join(bytes(pixels) for _, pixels, _ in rows)


@pytest.mark.skipif(not (REAL / "unpack_fer2013.py").exists(), reason="FER_DATA_DIR is not set")
def test_whole_real_file(tmp_path, capsys):
    source = tmp_path / "fer2013.csv"
    subprocess.run([sys.executable, REAL / "unpack_fer2013.py", "--output", source], check=True, capture_output=True)
    faces = preprocess(source, tmp_path / "f.h5")
    for split in ("Training", "PublicTest"):
        counts = np.bincount(faces.splits[split].labels, minlength=7)
        assert tuple(counts) == OFFICIAL_COUNTS["fer2013"][split]
    pixels = np.concatenate([split.pixels for split in faces.splits.values()])
    labels = np.concatenate([split.labels for split in faces.splits.values()])
    with open(source) as file:
        next(file)
        for row, line in enumerate(file):
            if row % 100 == 0:
                label, values, _ = slow(line)
                assert labels[row] == label and pixels[row].tobytes() == bytes(values), row
    assert row + 1 == len(pixels)
    assert re.search(r"^PublicTest, also in Training +2\d\d +\d\.\d%", capsys.readouterr().out, re.MULTILINE)
