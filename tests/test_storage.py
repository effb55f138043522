"""The HDF5 file: what is in it, what older files may look like, and what is refused."""

import os

import h5py
import numpy as np
import pytest

from datasets import fer2013, storage
from datasets.names import CKPLUS_CLASSES, FER2013_CLASSES
from datasets.storage import FaceSet, Split, read_faces, write_faces
from utils.files import source_digest


def make_faces(n: int = 9, seed: int = 0, splits: tuple[str, ...] = fer2013.SPLITS) -> FaceSet:
    rng = np.random.default_rng(seed)
    made = {name: Split(rng.integers(0, 256, (n, 48, 48), np.uint8), np.arange(n) % 7) for name in splits}
    return FaceSet("fer2013", FER2013_CLASSES, made, "fer2013.csv", "ab" * 32)


def assert_same(left: FaceSet, right: FaceSet) -> None:
    assert (left.dataset, left.class_names, left.source, left.source_sha256) == (
        (right.dataset, right.class_names, right.source, right.source_sha256)
    )
    assert list(left.splits) == list(right.splits)
    for name, split in left.splits.items():
        np.testing.assert_array_equal(split.pixels, right.splits[name].pixels)
        np.testing.assert_array_equal(split.labels, right.splits[name].labels)
        assert list(split.extra) == list(right.splits[name].extra)
        for column, values in split.extra.items():
            np.testing.assert_array_equal(values, right.splits[name].extra[column])


def test_file_has_the_names_dtypes_and_attributes_that_others_read(tmp_path):
    faces = make_faces()
    write_faces(tmp_path / "fer2013.h5", faces)
    with h5py.File(tmp_path / "fer2013.h5") as file:
        assert set(file) == {f"{split}_{what}" for split in fer2013.SPLITS for what in ("pixel", "label")}
        for split in fer2013.SPLITS:
            pixels, labels = file[f"{split}_pixel"], file[f"{split}_label"]
            assert (pixels.shape, pixels.dtype) == ((9, 48, 48), np.uint8)
            assert (labels.shape, labels.dtype) == ((9,), np.int64)
            assert pixels.chunks is None and pixels.compression is None
        assert file.attrs["dataset"] == "fer2013"
        assert tuple(file.attrs["class_names"]) == FER2013_CLASSES
        assert file.attrs["format_version"] == storage.FORMAT_VERSION
        assert file.attrs["source"] == "fer2013.csv"
        assert file.attrs["source_sha256"] == "ab" * 32


def test_what_is_written_is_read_back(tmp_path):
    faces = make_faces()
    write_faces(tmp_path / "new" / "folder" / "a b.h5", faces)
    assert_same(read_faces(tmp_path / "new" / "folder" / "a b.h5"), faces)


def test_columns_of_strings_are_kept(tmp_path):
    subjects = np.array([f"S{i:03}" for i in range(9)])
    plain = make_faces(splits=("data",))
    split = Split(plain.splits["data"].pixels, plain.splits["data"].labels, {"subject": subjects, "sequence": subjects})
    names = (*FER2013_CLASSES[:6], "Contempt")
    faces = FaceSet("ckplus", names, {"data": split}, "CK+48", "")
    write_faces(tmp_path / "ckplus.h5", faces)
    read = read_faces(tmp_path / "ckplus.h5")
    assert_same(read, FaceSet("ckplus", names, {"data": split}, "CK+48", ""))
    assert read.splits["data"].extra["subject"].dtype.kind == "U"
    with h5py.File(tmp_path / "ckplus.h5") as file:
        assert file["data_subject"].asstr()[3] == "S003"


def test_only_the_splits_asked_for_are_read_in_their_order(tmp_path):
    write_faces(tmp_path / "f.h5", make_faces())
    assert list(read_faces(tmp_path / "f.h5").splits) == list(fer2013.SPLITS)
    assert list(read_faces(tmp_path / "f.h5", ["PrivateTest", "Training"]).splits) == ["PrivateTest", "Training"]


def test_missing_split_says_which_are_there(tmp_path):
    write_faces(tmp_path / "f.h5", make_faces(splits=("Training", "PublicTest")))
    with pytest.raises(ValueError, match="no split 'PrivateTest': it holds Training, PublicTest"):
        read_faces(tmp_path / "f.h5", ["PrivateTest"])


@pytest.mark.parametrize(
    "name, dataset",
    [("fer2013.h5", "fer2013"), ("old-FER.h5", "fer2013"), ("CK_data.h5", "ckplus"), ("ck+48.h5", "ckplus")],
)
def test_missing_file_names_the_command_that_makes_it(tmp_path, name, dataset):
    with pytest.raises(FileNotFoundError) as caught:
        read_faces(tmp_path / name)
    command = f"python preprocess_fer2013.py --dataset {dataset} --source data/"
    assert command in str(caught.value) and f"--output {tmp_path / name}" in str(caught.value)


@pytest.mark.parametrize("name", ["mine.h5", "backup.h5", "quick-check.h5", "locked.h5", "different.h5"])
def test_a_file_of_ones_own_gets_no_command_for_another_set(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="does not exist") as caught:
        read_faces(tmp_path / name)
    assert "--dataset folder --source DIR" in str(caught.value)


@pytest.mark.parametrize("shape", [(48, 48), (2304,), (48, 48, 1), (1, 48, 48)])
@pytest.mark.parametrize("pixel_dtype, label_dtype", [("u1", "u1"), ("i8", "i4"), ("i2", "i8")])
def test_older_files_without_attributes_are_read(tmp_path, shape, pixel_dtype, label_dtype):
    faces = make_faces()
    with h5py.File(tmp_path / "old.h5", "w") as file:
        for name, split in faces.splits.items():
            file[f"{name}_pixel"] = split.pixels.reshape(-1, *shape).astype(pixel_dtype)
            file[f"{name}_label"] = split.labels.astype(label_dtype)
    read = read_faces(tmp_path / "old.h5", fer2013.SPLITS)
    assert_same(read, FaceSet("fer2013", FER2013_CLASSES, faces.splits, "unknown", ""))
    assert read.splits["Training"].pixels.dtype == np.uint8 and read.splits["Training"].labels.dtype == np.int64


def test_older_file_with_an_empty_split_is_one_without_it(tmp_path):
    split = make_faces().splits["Training"]
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["Training_pixel"], file["Training_label"] = split.pixels, split.labels
        file["PrivateTest_pixel"], file["PrivateTest_label"] = np.zeros(0, np.uint8), np.zeros(0, np.int64)
    assert list(read_faces(tmp_path / "old.h5").splits) == ["Training"]


def test_older_file_of_ckplus_gets_its_class_names(tmp_path):
    split = make_faces().splits["Training"]
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["data_pixel"], file["data_label"] = split.pixels, split.labels
    read = read_faces(tmp_path / "old.h5")
    assert (read.dataset, read.class_names) == ("ckplus", CKPLUS_CLASSES)


PIXELS, LABELS = np.zeros((4, 48, 48), np.uint8), np.arange(4)


@pytest.mark.parametrize(
    "content, message",
    [
        ({}, "holds no `<split>_pixel`: found nothing"),
        ({"images": PIXELS}, r"found \['images'\]"),
        ({"Training_pixel": PIXELS}, "Training_label is not"),
        ({"Training_pixel": PIXELS[:, :40], "Training_label": LABELS}, r"Training_pixel is \(4, 40, 48\) uint8"),
        ({"Training_pixel": PIXELS / 255, "Training_label": LABELS}, "float64, not"),
        ({"Training_pixel": PIXELS.astype(int) + 256, "Training_label": LABELS}, "reaches from 256 to 256"),
        ({"Training_pixel": PIXELS, "Training_label": LABELS / 2}, r"Training_label holds fractions, such as 0.5"),
        ({"Training_pixel": PIXELS, "Training_label": np.eye(4, 7, dtype=int)}, r"Training_label is \(4, 7\) int64"),
        ({"Training_pixel": PIXELS, "Training_label": LABELS[:3]}, "4 faces and 3 labels"),
        ({"Training_pixel": PIXELS, "Training_label": LABELS + 4}, "from 4 to 7, but there are 7 classes"),
        ({"Training_pixel": PIXELS, "Training_label": LABELS - 1}, "from -1 to 2"),
        ({"strange_pixel": PIXELS, "strange_label": LABELS}, r"does not name its classes and its splits \(strange\)"),
    ],
)
def test_content_that_breaks_the_format_is_refused(tmp_path, content, message):
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        for name, values in content.items():
            file[name] = values
    with pytest.raises(ValueError, match=message) as caught:
        read_faces(tmp_path / "bad.h5")
    assert str(tmp_path / "bad.h5") in str(caught.value) and "\n" not in str(caught.value)


def test_file_of_a_later_format_is_refused(tmp_path):
    write_faces(tmp_path / "f.h5", make_faces())
    with h5py.File(tmp_path / "f.h5", "a") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(ValueError, match="has format version 2, this code reads up to 1"):
        read_faces(tmp_path / "f.h5")


def test_no_hdf5_at_all_names_the_command_that_makes_one_of_it(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(ValueError, match="is not an HDF5 file; make the file with") as caught:
        read_faces(tmp_path / "fer2013.csv")
    assert f"--source {tmp_path / 'fer2013.csv'} --output {tmp_path / 'fer2013.h5'}" in str(caught.value)
    with pytest.raises(ValueError, match="is a folder, not an HDF5 file"):
        read_faces(tmp_path)


def test_cut_off_file_is_called_damaged(tmp_path):
    write_faces(tmp_path / "f.h5", make_faces())
    whole = (tmp_path / "f.h5").read_bytes()
    (tmp_path / "f.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is a damaged HDF5 file"):
        read_faces(tmp_path / "f.h5")


def test_what_may_not_be_read_is_not_written(tmp_path):
    bad = FaceSet("fer2013", FER2013_CLASSES, {"Training": Split(PIXELS, LABELS + 5)}, "", "")
    with pytest.raises(ValueError, match="from 5 to 8"):
        write_faces(tmp_path / "f.h5", bad)
    short = FaceSet("x", FER2013_CLASSES, {"data": Split(PIXELS, LABELS, {"subject": np.array(["a"])})}, "", "")
    with pytest.raises(ValueError, match="data_subject has 1 entries for 4 faces"):
        write_faces(tmp_path / "f.h5", short)
    with pytest.raises(ValueError, match="no split to write"):
        write_faces(tmp_path / "f.h5", FaceSet("x", FER2013_CLASSES, {}, "", ""))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, 1])
def test_failed_writing_leaves_what_was_there(tmp_path, monkeypatch, before):
    path = tmp_path / "f.h5"
    if before is not None:
        write_faces(path, make_faces(seed=before))
    there = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_faces(path, make_faces(seed=2))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == there


def test_digest_of_a_file_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert source_digest(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digest_of_a_folder_depends_on_names_and_contents_only(tmp_path):
    def fill(folder, **files):
        for name, content in files.items():
            (folder / name).mkdir(parents=True)
            (folder / name / "x.png").write_text(content)
        return source_digest(folder)

    first = fill(tmp_path / "1", b="2", a="1")
    assert fill(tmp_path / "2", a="1", b="2") == first
    assert fill(tmp_path / "3", a="1", b="3") != first
    assert fill(tmp_path / "4", a="1", c="2") != first
    (tmp_path / "2" / ".DS_Store").write_text("hidden")
    assert source_digest(tmp_path / "2") == first
