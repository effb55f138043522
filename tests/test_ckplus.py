"""CK+: both raw forms frame by frame, every fault one line, the drawn sequences, and the two protocols."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

import preprocess_fer2013
from datasets import ckplus
from datasets.folds import frame_folds, subject_folds, subjects_of
from datasets.names import CKPLUS_CLASSES, OFFICIAL_COUNTS
from datasets.raw.ckplus48 import FOLDERS
from datasets.storage import FaceSet, Split, read_faces
from datasets.synthetic.ckplus import draw_split
from utils.files import source_digest

KNOWN_LABELS = np.repeat(np.arange(7), OFFICIAL_COUNTS["ckplus"]["data"])
# Of the original distribution: subject, sequence, frames, number in the label file (None: no file, -1: no folder)
SEQUENCES = [
    ("S005", "001", 5, 3),
    ("S005", "002", 4, None),
    ("S005", "003", 4, -1),
    ("S010", "002", 12, 5),
    ("S010", "004", 4, 0),
    ("S037", "001", 3, 7),
    ("S130", "001", 4, 2),
    ("S130", "002", 4, 1),
    ("S131", "010", 4, 6),
    ("S999", "001", 6, 4),
    ("S999", "002", 3, 3),
]
# What has to come out: subject, sequence, first of the three frames; by class, then by file name
EXPECTED = [
    (0, "S130", "002", 2),
    (1, "S005", "001", 3),
    (1, "S999", "002", 1),
    (2, "S999", "001", 4),
    (3, "S010", "002", 10),
    (4, "S131", "010", 2),
    (5, "S037", "001", 1),
    (6, "S130", "001", 2),
]


def frame_path(images: Path, subject: str, sequence: str, frame: int) -> Path:
    return images / subject / sequence / f"{subject}_{sequence}_{frame:08}.png"


def label_path(labels: Path, subject: str, sequence: str, frame: int) -> Path:
    return frame_path(labels, subject, sequence, frame).with_name(f"{subject}_{sequence}_{frame:08}_emotion.txt")


def draw_frame(subject: str, sequence: str, frame: int) -> np.ndarray:
    """(490, 640, 3) uint8: flat, with a patch of noise; its first pixel tells `find` at which column the patch is."""
    rng = np.random.default_rng([int(subject[1:]), int(sequence), frame])
    picture = np.full((490, 640, 3), 77, np.uint8)
    column = int(rng.integers(1, 250))
    picture[9:57, column : column + 48] = rng.integers(0, 256, (48, 48, 3), np.uint8)
    picture[0, 0] = column
    return picture


def find(picture: np.ndarray) -> int | None:
    """A detector of `draw_frame`'s faces."""
    return int(picture[0, 0, 0]) or None


def crop(picture: np.ndarray, column: int | None) -> np.ndarray:
    column = 296 if column is None else column
    return np.asarray(Image.fromarray(picture[9:57, column : column + 48]).convert("L"))


def gray(picture: np.ndarray) -> np.ndarray:
    """As it is when the gray picture is what the file holds."""
    return np.repeat(np.asarray(Image.fromarray(picture).convert("L"))[..., None], 3, 2)


def is_gray(subject: str) -> bool:
    return int(subject[1:]) < 100  # the later people of CK+ were filmed in colour


def fill_original(root: Path, images: str = "cohn-kanade-images", labels: str = "Emotion") -> tuple[Path, Path]:
    for subject, sequence, n, code in SEQUENCES:
        frame_path(root / images, subject, sequence, 1).parent.mkdir(parents=True)
        for frame in range(1, n + 1):
            picture = draw_frame(subject, sequence, frame)
            image = Image.fromarray(gray(picture)[..., 0] if is_gray(subject) else picture)
            image.save(frame_path(root / images, subject, sequence, frame), compress_level=1)
        path = label_path(root / labels, subject, sequence, n)
        if code != -1:
            path.parent.mkdir(parents=True)
        if code not in (-1, None):
            path.write_text(f"   {code:.7e}\n")
    return root / images, root / labels


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A folder in the form of the distribution. Not to be changed."""
    root = tmp_path_factory.mktemp("CK plus")
    fill_original(root)
    return root


@pytest.fixture
def own_copy(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "own copy"))


def fill_ck48(folder: Path) -> Path:
    """Six sequences of two people; the faces are noise, seeded by where they are."""
    for k, name in enumerate(FOLDERS):
        (folder / name).mkdir(parents=True)
        for subject, sequence in (("S501", f"00{k + 1}"), ("S032", f"00{k + 1}")):
            for frame in (9, 10, 11):
                face = np.random.default_rng([k, int(subject[1:]), frame]).integers(0, 256, (48, 48), np.uint8)
                Image.fromarray(face).save(folder / name / f"{subject}_{sequence}_{frame:08}.png")
    return folder


def read(source: Path, say=lambda line: None, find_face=find) -> FaceSet:
    return ckplus.read_raw(source, say, find_face, crop)


def preprocess(source: Path, output: Path) -> FaceSet:
    return preprocess_fer2013.main(["--dataset", "ckplus", "--source", str(source), "--output", str(output)])


# ---- CK+48 ----


@pytest.mark.parametrize("inside", [".", "CK+48", "archive/CK+48"])
def test_folder_of_faces_is_read_class_by_class(tmp_path, capsys, inside):
    folder = fill_ck48(tmp_path / "source" / inside)
    (folder / "anger" / "._S032_001_00000009.png").write_bytes(b"what a Mac leaves")
    (folder / "anger" / "Thumbs.db").write_bytes(b"what Windows leaves")
    (tmp_path / "source" / "__MACOSX" / "anger").mkdir(parents=True)
    returned = preprocess(tmp_path / "source", tmp_path / "ckplus.h5")
    stored = read_faces(tmp_path / "ckplus.h5")
    for faces in (returned, stored):
        assert (faces.dataset, faces.class_names, list(faces.splits)) == ("ckplus", CKPLUS_CLASSES, ["data"])
        split = faces.splits["data"]
        assert split.labels.tolist() == np.repeat(np.arange(7), 6).tolist() and split.labels.dtype == np.int64
        assert split.extra["subject"].tolist() == ["S032"] * 3 + ["S501"] * 3 + (["S032"] * 3 + ["S501"] * 3) * 6
        assert split.extra["sequence"].tolist() == [f"00{c + 1}" for c in range(7) for _ in range(6)]
    for row, face in enumerate(stored.splits["data"].pixels):
        c, subject = row // 6, (32, 501)[row // 3 % 2]
        expected = np.random.default_rng([c, subject, 9 + row % 3]).integers(0, 256, (48, 48), np.uint8)
        np.testing.assert_array_equal(face, expected)
    out = capsys.readouterr().out
    assert "42 frames, 14 sequences, 2 subjects; CK+ has 981, 327 and 118" in out
    assert re.search(r"^data +6\* +6\* +6\* +6\* +6\* +6\* +6\* +42\*$", out, re.MULTILINE)
    assert re.search(r"^ +official +135 +177 +75 +207 +84 +249 +54 +981$", out, re.MULTILINE)
    assert re.search(r"^data, repeating another +0 +0.0% +0$", out, re.MULTILINE)


def test_file_has_the_keys_and_attributes_that_others_expect(tmp_path):
    folder = fill_ck48(tmp_path / "CK+48")
    preprocess(folder, tmp_path / "ckplus.h5")
    with h5py.File(tmp_path / "ckplus.h5") as file:
        assert sorted(file) == ["data_label", "data_pixel", "data_sequence", "data_subject"]
        assert file["data_pixel"].shape == (42, 48, 48) and file["data_pixel"].dtype == np.uint8
        assert file["data_label"].shape == (42,) and file["data_label"].dtype == np.int64
        assert file["data_subject"].asstr()[0] == "S032" and file["data_sequence"].asstr()[41] == "007"
        assert (file.attrs["source"], file.attrs["source_sha256"]) == ("CK+48", source_digest(folder))


def test_classes_that_are_absent_are_no_fault(tmp_path):
    folder = fill_ck48(tmp_path / "CK+48")
    shutil.rmtree(folder / "contempt")
    (folder / "happy").rename(folder / "Happy")
    assert np.bincount(read(folder).splits["data"].labels).tolist() == [6] * 6


def spoil(path: Path, content: bytes | np.ndarray) -> None:
    if isinstance(content, np.ndarray):
        Image.fromarray(content).save(path)
    else:
        path.write_bytes(content)


def fault_line(source: Path, **options) -> str:
    """The message of the error with which reading ends."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read(source, **options)
    message = str(caught.value)
    assert "\n" not in message and str(source) in message
    return message


@pytest.mark.parametrize("name", ["S032_004.png", "Training_1.png", "S032_004_x.png", "032_004_00000001.png"])
def test_name_that_says_nothing_is_named(tmp_path, name):
    folder = fill_ck48(tmp_path / "CK+48")
    (folder / "happy" / "S032_004_00000009.png").rename(folder / "happy" / name)
    assert f"{folder / 'happy' / name}: the name is not <subject>_<sequence>_<frame>" in fault_line(folder)


def test_adjectives_and_capitals_are_the_same_classes(tmp_path):
    folder = fill_ck48(tmp_path / "CK+48")
    before = read(folder).splits["data"]
    for old, new in (("anger", "Angry"), ("happy", "HAPPINESS"), ("sadness", "sad")):
        (folder / old).rename(folder / new)
    after = read(folder).splits["data"]
    np.testing.assert_array_equal(before.labels, after.labels)
    np.testing.assert_array_equal(before.pixels, after.pixels)


def test_faces_of_another_size_are_named(tmp_path, capsys):
    folder = fill_ck48(tmp_path / "CK+48")
    whole = len(read(folder, print).splits["data"])
    spoil(folder / "fear" / "S501_003_00000010.png", np.zeros((49, 64), np.uint8))
    assert len(read(folder, print).splits["data"]) == whole - 1
    assert "S501_003_00000010.png is 64x49, not 48x48" in capsys.readouterr().out
    for path in folder.rglob("*.png"):
        spoil(path, np.zeros((49, 64), np.uint8))
    assert "is 64x49, not 48x48" in fault_line(folder)


def test_damaged_picture_costs_only_itself_and_is_named(tmp_path, capsys):
    folder = fill_ck48(tmp_path / "CK+48")
    whole = len(read(folder, print).splits["data"])
    path = folder / "fear" / "S501_003_00000010.png"
    good = path.read_bytes()
    for content in (b"", b"text", good[:20], good[:40], good[:300], good[:-30], good[:600] + bytes(99) + good[699:]):
        path.write_bytes(content)
        assert len(read(folder, print).splits["data"]) == whole - 1
        said = capsys.readouterr().out
        assert f"warning: 1 of {whole} pictures cannot be used and are left out: {path} cannot be read as" in said


def test_folders_that_are_no_expression_or_empty_are_named(tmp_path):
    folder = fill_ck48(tmp_path / "CK+48")
    (folder / "neutral").mkdir()
    assert f"{folder / 'neutral'} is no expression of CK+48: its folders are called anger, " in fault_line(folder)
    (folder / "neutral").rmdir()
    for path in (folder / "sadness").iterdir():
        path.unlink()
    assert f"{folder / 'sadness'} holds no images" in fault_line(folder)


def test_sequence_in_two_classes_is_named(tmp_path):
    folder = fill_ck48(tmp_path / "CK+48")
    shutil.copy(folder / "anger" / "S032_001_00000011.png", folder / "fear" / "S032_001_00000012.png")
    message = fault_line(folder)
    assert "fear/S032_001_00000012.png and " in message and "are one sequence in two classes" in message


# ---- the original distribution ----


def expected_faces() -> list[np.ndarray]:
    faces = []
    for _, subject, sequence, first in EXPECTED:
        for frame in range(first, first + 3):
            picture = draw_frame(subject, sequence, frame)
            faces.append(crop(gray(picture) if is_gray(subject) else picture, find(picture)))
    return faces


def test_last_three_frames_of_every_labelled_sequence(original):
    lines = []
    faces = read(original, lines.append)
    split = faces.splits["data"]
    assert split.labels.tolist() == [label for label, *_ in EXPECTED for _ in range(3)]
    assert split.extra["subject"].tolist() == [subject for _, subject, *_ in EXPECTED for _ in range(3)]
    assert split.extra["sequence"].tolist() == [sequence for _, _, sequence, _ in EXPECTED for _ in range(3)]
    for face, expected in zip(split.pixels, expected_faces(), strict=True):
        np.testing.assert_array_equal(face, expected)
    assert "11 sequences, 8 of them with an expression; left out are 2 without a label and 1 labelled neutral" in lines
    assert not any("warning" in line for line in lines)
    assert faces.source == "cohn-kanade-images" and len(faces.source_sha256) == 64


@pytest.mark.parametrize(
    "images, labels",
    [
        ("cohn-kanade-images", "Emotion_labels/Emotion"),
        ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
        ("CK+/extended-cohn-kanade-images/cohn-kanade-images", "CK+/Emotion"),
        ("images", "Emotion_labels"),
    ],
)
def test_nesting_and_spelling_of_the_archives(original, tmp_path, images, labels):
    source = tmp_path / "download"
    shutil.copytree(original / "cohn-kanade-images", source / images)
    shutil.copytree(original / "Emotion", source / labels)
    for other, ending in (("FACS_labels/FACS", "facs.txt"), ("Landmarks/Landmarks", "landmarks.txt")):
        path = source / other / "S005" / "001" / f"S005_001_00000005_{ending}"
        path.parent.mkdir(parents=True)
        path.write_text("1.0")
    for folder in (source, source / images / "S005" / "001", source / labels / "S005" / "001"):
        (folder / ".DS_Store").write_bytes(b"what a Mac leaves")
        (folder / "._S005_001_00000005_emotion.txt").write_bytes(b"what a Mac leaves")
    one, other = read(source), read(original)
    np.testing.assert_array_equal(one.splits["data"].pixels, other.splits["data"].pixels)
    assert one.source_sha256 == other.source_sha256


def hide_face(root: Path, subject: str, sequence: str, *frames: int) -> None:
    for frame in frames:
        path = frame_path(root / "cohn-kanade-images", subject, sequence, frame)
        picture = np.asarray(Image.open(path).convert("RGB")).copy()
        picture[0, 0] = 0
        spoil(path, picture)


def test_frame_without_a_face_takes_the_box_of_its_neighbour(own_copy):
    hide_face(own_copy, "S999", "001", 5)  # the middle one of the last three: the box of the first
    hide_face(own_copy, "S130", "002", 2, 3)
    hide_face(own_copy, "S010", "002", 12)
    hide_face(own_copy, "S005", "001", 3, 4, 5)  # all three: the box of the frame before
    hide_face(own_copy, "S037", "001", 1, 2, 3)  # the whole sequence
    lines = []
    split = read(own_copy, lines.append).splits["data"]
    names = "S005_001_00000003.png, S005_001_00000004.png, S005_001_00000005.png, S010_002_00000012.png, "
    names += "S130_002_00000002.png, S130_002_00000003.png, S999_001_00000005.png"
    assert f"warning: 7 of 24 frames have no face found, so were cut as their neighbours: {names}" in lines
    names = "S037_001_00000001.png, S037_001_00000002.png, S037_001_00000003.png"
    assert f"warning: 3 of 24 frames have none in all their sequence, so were cut in the middle: {names}" in lines

    def cut(subject, sequence, frame, found_in):
        picture = draw_frame(subject, sequence, frame)
        box = found_in and find(draw_frame(subject, sequence, found_in))
        return crop(gray(picture) if is_gray(subject) else picture, box)

    for row, arguments in {
        9: ("S999", "001", 4, 4),
        10: ("S999", "001", 5, 4),
        11: ("S999", "001", 6, 6),
        0: ("S130", "002", 2, 4),
        1: ("S130", "002", 3, 4),
        3: ("S005", "001", 3, 2),
        5: ("S005", "001", 5, 2),
        14: ("S010", "002", 12, 11),
        18: ("S037", "001", 1, None),
    }.items():
        np.testing.assert_array_equal(split.pixels[row], cut(*arguments))


def test_frames_are_counted_by_number(own_copy):
    folder = own_copy / "cohn-kanade-images" / "S010" / "002"
    for path in folder.iterdir():
        path.rename(folder / f"S010_002_{int(path.stem[-8:])}.png")
    split = read(own_copy).splits["data"]
    rows = [gray(draw_frame("S010", "002", frame)) for frame in (10, 11, 12)]
    np.testing.assert_array_equal(split.pixels[12:15], [crop(picture, find(picture)) for picture in rows])


def test_label_that_names_another_frame_is_told(own_copy):
    frame_path(own_copy / "cohn-kanade-images", "S010", "002", 12).unlink()
    lines = []
    assert len(read(own_copy, lines.append).splits["data"]) == 24
    assert any(line.startswith("warning: 1 of 8 labels name another frame") and "S010_002" in line for line in lines)


@pytest.mark.parametrize("text", ["8.0e+00", "-1.0", "3.5", "nan", "inf", "happy", "", "3.0 4.0", "\0\0"])
def test_label_that_is_no_expression_is_named(own_copy, text):
    path = label_path(own_copy / "Emotion", "S010", "002", 12)
    path.write_text(text)
    assert f"{path}: the label is {text.strip()!r}, not a number from 0 (neutral) to 7" in fault_line(own_copy)


def test_two_labels_of_a_sequence_are_named(own_copy):
    path = label_path(own_copy / "Emotion", "S010", "002", 12)
    shutil.copy(path, label_path(own_copy / "Emotion", "S010", "002", 11))
    assert f"{path.parent} holds 2 labels, S010_002_00000011_emotion.txt and S010" in fault_line(own_copy)


def test_file_in_the_wrong_folder_is_named(own_copy):
    label = label_path(own_copy / "Emotion", "S010", "002", 12)
    wrong = label.rename(label.with_name("S011_002_00000012_emotion.txt"))
    assert f"{wrong} lies in the folder of another sequence: move it to S011/002" in fault_line(own_copy)
    wrong.rename(label)
    frame = frame_path(own_copy / "cohn-kanade-images", "S010", "002", 3)
    wrong = frame.rename(frame.with_name("S010_003_00000003.png"))
    assert f"{wrong} lies in the folder of another sequence: move it to S010/003" in fault_line(own_copy)
    wrong = wrong.rename(frame.with_name("frame3.png"))
    assert f"{wrong}: the name is not <subject>" in fault_line(own_copy)


def test_damaged_frame_is_named(own_copy):
    path = frame_path(own_copy / "cohn-kanade-images", "S010", "002", 11)
    path.write_bytes(path.read_bytes()[:2000])
    assert f"{path} cannot be read as an image (" in fault_line(own_copy)


def test_labelled_sequence_without_frames_is_named(own_copy):
    folder = own_copy / "cohn-kanade-images" / "S010" / "002"
    for frame in range(1, 11):
        frame_path(own_copy / "cohn-kanade-images", "S010", "002", frame).unlink()
    assert f"{folder} holds 2 images, 3 are the least: unpack the images again" in fault_line(own_copy)
    shutil.rmtree(folder)
    assert f"its frames in {folder} are not there: unpack the images again" in fault_line(own_copy)


def test_half_of_the_distribution_is_refused(own_copy, tmp_path):
    images, labels = own_copy / "cohn-kanade-images", own_copy / "Emotion"
    assert f"{images}: the labels are not there: unpack Emotion_labels.zip" in fault_line(images)
    away = labels.rename(tmp_path / "Emotion")
    assert f"{images}: the labels are not there: unpack Emotion_labels.zip" in fault_line(own_copy)
    assert f"{away}: the images are not there: unpack extended-cohn-kanade-images.zip" in fault_line(away)
    for folder in sorted(away.glob("S*/*")):
        shutil.copytree(folder, labels / folder.parent.name / folder.name, ignore=shutil.ignore_patterns("*.txt"))
    assert f"{labels} holds no S005/001/S005_001_00000011_emotion.txt" in fault_line(own_copy)
    label_path(labels, "S010", "004", 4).write_text("0.0000000e+00")
    assert f"{labels} holds no label but neutral" in fault_line(own_copy)


def test_source_that_is_not_there_or_something_else(original, tmp_path):
    assert "does not exist: point --source at the folder CK+48" in fault_line(tmp_path / "no")
    assert "holds no CK+: found nothing; it should hold anger/, disgust/" in fault_line(tmp_path)
    (tmp_path / "CK+48.zip").write_bytes(b"PK")
    assert "CK+48.zip is a file: unpack it" in fault_line(tmp_path / "CK+48.zip")
    assert "found CK+48.zip; it should" in fault_line(tmp_path)
    (tmp_path / "copy").symlink_to(original)
    fill_ck48(tmp_path / "CK+48")
    message = fault_line(tmp_path)
    assert "holds more than one CK+: " in message and "point --source at one, or move" in message


# ---- the script with its own detector ----


def refused(capsys, source: Path, output: Path) -> str:
    with pytest.raises(SystemExit) as ended:
        preprocess(source, output)
    assert ended.value.code == 2 and not output.exists()
    error = capsys.readouterr().err
    assert error.startswith("preprocess_fer2013.py: error: ") and error.count("\n") == 1
    return error


def test_script_finds_the_face_and_falls_back(tmp_path, capsys):
    portrait = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB").resize((400, 469))
    empty = Image.new("RGB", (640, 490), (90, 90, 90))
    pictures = {frame: empty.copy() for frame in (1, 2, 3)}
    pictures[2].paste(portrait, (100, 10))
    images, labels = tmp_path / "cohn-kanade-images", tmp_path / "Emotion"
    for subject, code in (("S001", 5), ("S002", 7)):
        for frame, picture in pictures.items():
            path = frame_path(images, subject, "001", frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            if frame == 2 and subject == "S001":
                picture.convert("L").save(path)
            else:
                empty.save(path)
        path = label_path(labels, subject, "001", 3)
        path.parent.mkdir(parents=True)
        path.write_text(f"   {code:.7e}\n")
    split = preprocess(tmp_path, tmp_path / "ckplus.h5").splits["data"]
    out = capsys.readouterr().out
    names = "S001_001_00000001.png, S001_001_00000003.png"
    assert f"warning: 2 of 6 frames have no face found, so were cut as their neighbours: {names}\n" in out
    assert "warning: 3 of 6 frames have none in all their sequence, so were cut in the middle: S002_001_0000" in out
    assert split.labels.tolist() == [3, 3, 3, 5, 5, 5]
    assert np.ptp(split.pixels[1]) > 100 and not np.ptp(split.pixels[[0, 2, 3, 4, 5]].reshape(5, -1), axis=1).any()
    # The face fills the crop: nothing of the plain surroundings is in it
    assert (split.pixels[1] == 90).mean() < 0.05


def test_script_ends_in_one_line(own_copy, tmp_path, capsys):
    label_path(own_copy / "Emotion", "S010", "002", 12).write_text("9")
    assert "the label is '9'" in refused(capsys, own_copy, tmp_path / "f.h5")
    assert "holds no CK+" in refused(capsys, own_copy / "Emotion" / "S010", tmp_path / "f.h5")


# ---- drawn sequences ----


def test_drawn_sequences_have_ckplus_form(tmp_path):
    output = str(tmp_path / "s.h5")
    preprocess_fer2013.main(["--dataset", "synthetic-ckplus", "--faces", "240", "--output", output])
    faces = read_faces(output)
    assert (faces.dataset, faces.class_names) == ("synthetic-ckplus", CKPLUS_CLASSES)
    split = faces.splits["data"]
    assert abs(len(split) - 240) <= 9 and (np.diff(split.labels) >= 0).all()
    share = np.bincount(split.labels) / len(split)
    assert abs(share - np.array(OFFICIAL_COUNTS["ckplus"]["data"]) / 981).max() < 0.02
    keys = list(zip(split.labels.tolist(), split.extra["subject"], split.extra["sequence"], strict=True))
    assert keys == sorted(keys)
    sequences = keys[::3]
    assert keys[1::3] == keys[2::3] == sequences and len(set(sequences)) == len(sequences)
    assert len({key[1:] for key in sequences}) == len(sequences), "a sequence is of one class"
    assert len({key[:2] for key in sequences}) == len(sequences), "nobody shows the same twice"
    assert len({subject for _, subject, _ in keys}) == round(len(sequences) * 118 / 327)
    assert all(re.fullmatch(r"S\d{3}", s) and re.fullmatch(r"\d{3}", q) for _, s, q in keys)


def test_frames_of_a_drawn_sequence_are_alike_and_people_too():
    split = draw_split(300, 3)
    frames = split.pixels.reshape(-1, 3, 48, 48).astype(float)
    inside = abs(frames[:, 0] - frames[:, 2]).mean((1, 2))
    across = abs(frames[:-1, 0] - frames[1:, 0]).mean((1, 2))
    assert inside.min() > 1 and inside.max() < 15 < across.mean()
    # Light and pose change between someone's sequences; what stays is enough to lower the difference on average
    subject = split.extra["subject"][::3]
    peak = frames[:, 2] - frames[:, 2].mean((1, 2), keepdims=True)
    difference = abs(peak[:, None] - peak[None]).mean((2, 3))
    same = (subject[:, None] == subject[None]) & ~np.eye(len(subject), dtype=bool)
    assert difference[same].mean() < 0.9 * difference[~same & ~np.eye(len(subject), dtype=bool)].mean()


def test_drawing_is_decided_by_the_seed():
    one, same, other = draw_split(60, 1), draw_split(60, 1), draw_split(60, 2)
    assert one.pixels.tobytes() == same.pixels.tobytes() != other.pixels.tobytes()
    assert one.extra["subject"].tolist() == same.extra["subject"].tolist()


def test_drawing_needs_a_sequence_of_each_class(tmp_path, capsys):
    assert np.bincount(draw_split(21, 0).labels).min() == 3
    with pytest.raises(SystemExit):
        preprocess_fer2013.main(["--dataset", "synthetic-ckplus", "--faces", "20", "--output", str(tmp_path / "x")])
    assert "20 faces are fewer than one sequence of each class: give 21 or more" in capsys.readouterr().err


def test_default_number_of_drawn_faces_is_ckplus_own():
    split = draw_split(preprocess_fer2013.FACES["synthetic-ckplus"], 0)
    assert ckplus.describe(split) == "981 frames, 327 sequences, 118 subjects, as in CK+"
    assert len(frame_folds(split.labels)) == 10


# ---- protocols ----


def test_subject_folds_take_every_tenth_person():
    people = [f"S{number:03}" for number in (5, 10, 11, 22, 100, 130, 131, 138, 501, 502, 503, 506, 895, 999)]
    subjects = np.random.default_rng(0).permutation(np.repeat(people, 6))
    folds = subject_folds(subjects)
    assert len(folds) == 10 and sorted(np.concatenate(folds).tolist()) == list(range(len(subjects)))
    for i, rows in enumerate(folds):
        assert set(subjects[rows]) == set(people[i::10]) and (np.diff(rows) > 0).all()
    assert [set(subjects[rows]) for rows in subject_folds(subjects.tolist(), 2)] == [
        set(people[::2]),
        set(people[1::2]),
    ]


@pytest.mark.parametrize("folds", [1, 4])
def test_subject_folds_need_as_many_people(folds):
    with pytest.raises(ValueError, match=f"{folds} folds of 3 people: give from 2"):
        subject_folds(["S1", "S2", "S3", "S1"], folds)


def slow_frame_fold(labels: list[int], fold: int) -> list[int]:
    """The rows that fold 1 to 10 tests, spelt out."""
    rows = []
    for c, n in enumerate((12, 18, 9, 21, 9, 24, 6)):
        first, count = labels.index(c), labels.count(c)
        start = first + count - n if fold == 10 else first + (fold - 1) * n
        rows += range(start, start + n)
    return rows


def test_frame_folds_are_the_older_ones():
    folds = frame_folds(KNOWN_LABELS)
    assert [rows.tolist() for rows in folds] == [slow_frame_fold(KNOWN_LABELS.tolist(), f) for f in range(1, 11)]
    tested = np.bincount(np.concatenate(folds), minlength=981)
    assert [len(set(rows.tolist())) for rows in folds] == [99] * 10
    assert (np.count_nonzero(tested == 2), np.count_nonzero(tested == 0), tested.max()) == (33, 24, 2)
    # Fear has 75 frames, of which the ninth block wants 73 to 81: six of Happy are tested there
    table = [np.bincount(KNOWN_LABELS[rows], minlength=7).tolist() for rows in folds]
    assert table[:8] + table[9:] == [[12, 18, 9, 21, 9, 24, 6]] * 9 and table[8] == [12, 18, 3, 27, 9, 24, 6]


@pytest.mark.parametrize("labels", [KNOWN_LABELS[1:], KNOWN_LABELS[::-1], [], np.append(KNOWN_LABELS, 6)])
def test_frame_folds_of_other_data_are_refused(labels):
    with pytest.raises(ValueError, match=rf"made for the 981 frames.*these are {len(labels)} .*use --protocol subject"):
        frame_folds(labels)


def test_file_without_subjects_says_how_to_get_them():
    split = Split(np.zeros((2, 48, 48), np.uint8), np.zeros(2, np.int64), {"subject": np.array(["S1", "S2"])})
    assert subjects_of(split).tolist() == ["S1", "S2"]
    with pytest.raises(ValueError, match="no data_subject.*python preprocess_fer2013.py --dataset ckplus"):
        subjects_of(Split(split.pixels, split.labels))
    with pytest.raises(ValueError, match="write a column subject .* or call the split Training"):
        subjects_of(Split(split.pixels, split.labels))
    whole = Split(np.zeros((981, 48, 48), np.uint8), np.array(KNOWN_LABELS))
    with pytest.raises(ValueError, match="--dataset ckplus`, or use --protocol frame"):
        subjects_of(whole)


def test_images_are_found_whatever_lies_beside_them(own_copy):
    """Landmarks and labels in the same folders, in any order of the file system."""
    whole = read(own_copy)
    images = next(own_copy.rglob("cohn-kanade-images"))
    for frame in list(images.rglob("*.png")):
        frame.with_name(frame.stem + "_landmarks.txt").write_text("1 2")
        frame.with_name(f"0_{frame.stem}.txt").write_text("before it")
    assert np.array_equal(read(own_copy).splits["data"].pixels, whole.splits["data"].pixels)


# ---- the real data ----


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory) -> Split:
    if not (real_data / "CK+48").is_dir():
        pytest.skip("FER_DATA_DIR holds no CK+48")
    output = tmp_path_factory.mktemp("real") / "ckplus.h5"
    preprocess(real_data / "CK+48", output)
    return read_faces(output).splits["data"]


def test_real_faces_are_all_there_in_order(real, real_data):
    assert ckplus.describe(real) == "981 frames, 327 sequences, 118 subjects, as in CK+"
    assert real.labels.tolist() == KNOWN_LABELS.tolist()
    paths = [path for name in FOLDERS for path in sorted((real_data / "CK+48" / name).glob("*.png"))]
    columns = (real.extra["subject"], real.extra["sequence"])
    for path, face, subject, sequence in zip(paths, real.pixels, *columns, strict=True):
        assert path.name.startswith(f"{subject}_{sequence}_")
        assert np.array_equal(face, np.asarray(Image.open(path)))


def test_real_subject_folds(real):
    folds = subject_folds(subjects_of(real))
    assert [len(rows) // 3 for rows in folds] == [33, 39, 40, 35, 30, 37, 29, 29, 33, 22]
    assert 2 not in real.labels[folds[9]] and all(2 in real.labels[rows] for rows in folds[:9])


def test_real_frame_folds_test_people_that_were_trained_on(real):
    folds, subjects = frame_folds(real.labels), real.extra["subject"]
    known = [np.isin(subjects[rows], np.delete(subjects, rows)) for rows in folds]
    assert np.concatenate(known).mean() == pytest.approx(0.633, abs=0.001)


def test_real_frame_folds_never_train_on_a_tested_person_with_that_expression(real):
    person_and_class = np.char.add(real.extra["subject"].astype(str), np.char.mod("-%d", real.labels))
    for test in frame_folds(real.labels):
        assert not np.isin(person_and_class[test], np.delete(person_and_class, test)).any()
