"""HDF5 files that are in use, strange, or mean harm: one line that says which, before anything is read."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

import train
from datasets.names import FER2013_CLASSES
from datasets.storage import FaceSet, Split, read_faces, write_faces

PIXELS, LABELS = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8), np.arange(4)
NAMES = ["a", "b", "c", "d"]


def write(path: Path, **changes) -> Path:
    """A file of four faces; changes: arrays to put in the place of others, None to leave one out."""
    content = {"Training_pixel": PIXELS, "Training_label": LABELS} | changes
    with h5py.File(path, "w") as file:
        file.attrs["class_names"] = NAMES
        for name, values in content.items():
            if values is not None:
                file[name] = values
    return path


def refusal(path: Path) -> str:
    """The line with which reading ends, which takes no memory to speak of."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            read_faces(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# ---- in use ----

HOLD = "import h5py, sys\nwith h5py.File(sys.argv[1], 'a'):\n    print('open', flush=True)\n    sys.stdin.read()"


def test_a_file_that_another_program_has_open_is_called_that(tmp_path, capsys):
    path = write(tmp_path / "mine.h5")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "open\n"
        message = refusal(path)
        assert "is in use by another program" in message and "HDF5_USE_FILE_LOCKING=FALSE" in message
        with pytest.raises(SystemExit):
            train.main(["--data", str(path)])
        holder.stdin.close()
    assert "in use by another program" in capsys.readouterr().err
    assert len(read_faces(path).splits["Training"]) == 4


def test_a_file_whose_writer_was_killed_is_called_that(tmp_path):
    path = tmp_path / "mine.h5"
    code = "import h5py, os, sys\nf = h5py.File(sys.argv[1], 'w', libver='latest')\nf.flush()\nos.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(path)])
    assert "or one ended while it wrote" in refusal(path)


# ---- names of classes ----


@pytest.mark.parametrize(
    "names", [[b"calm", b"wide awake"], np.array([b"calm", b"wide awake"]), ["calm", "wide awake"]]
)
def test_class_names_are_decoded_however_they_are_stored(tmp_path, names):
    path = write(tmp_path / "f.h5", Training_label=LABELS % 2)
    with h5py.File(path, "a") as file:
        file.attrs["class_names"], file.attrs["dataset"] = names, np.bytes_(b"mine")
    faces = read_faces(path)
    assert (faces.class_names, faces.dataset) == (("calm", "wide awake"), "mine")


@pytest.mark.parametrize(
    "names, message",
    [
        ("abcd", "class_names is 'abcd', not a list"),
        (np.bytes_(b"abcd"), "class_names is 'abcd', not a list"),
        ([1, 2, 3, 4], "1 is no class name"),
        (["a", "b", "a", "c"], "two classes are called 'a'"),
        (["a", "", "b", "c"], "'' is no class name"),
        (["a", "b\nc", "d", "e"], r"'b\nc' is no class name"),
        *[(["a", "b", "c", word], f"a class is called '{word}'") for word in ("index", "label", "prediction", "fold")],
        *[(["a", "b", "c", word], f"a class is called '{word}'") for word in ("subject", "sequence")],
    ],
)
def test_class_names_that_would_fail_later_are_refused_on_reading(tmp_path, names, message):
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        file.attrs["class_names"] = names
    assert message in refusal(path)


def test_such_class_names_are_not_written_either(tmp_path):
    with pytest.raises(ValueError, match="a class is called 'label'"):
        write_faces(
            tmp_path / "f.h5", FaceSet("x", ("a", "b", "c", "label"), {"Training": Split(PIXELS, LABELS)}, "", "")
        )
    assert list(tmp_path.iterdir()) == []


# ---- arrays ----


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"Training_pixel": np.uint8(3)}, "Training_pixel is a single value"),
        ({"Training_label": np.int64(3)}, "Training_label is a single value"),
        ({"Training_label": h5py.Empty("i8")}, "Training_label is a single value"),
        ({"Training_label": np.array([b"happy"] * 4)}, "Training_label holds text, not numbers: a label is the place"),
        ({"Training_label": ["happy"] * 4}, "Training_label holds text, not numbers"),
        ({"Training_label": np.array([(1, 2)] * 4, [("x", int), ("y", int)])}, "Training_label holds objects"),
        ({"Training_pixel": np.zeros((4, 48, 48), np.complex64)}, "Training_pixel holds objects"),
        ({"Training_subject": [b"S1"] * 3}, "Training_subject has 3 entries for 4 faces"),
        ({"Training_subject": np.arange(4)}, "Training_subject is (4,) int64, not text"),
        ({"Training_soft": np.ones((4, 3), np.float32) / 3}, "Training_soft is (4, 3) float32, not (4, 4) shares"),
        ({"Training_soft": np.eye(4, dtype=np.float32) * 2}, "Training_soft has rows whose sum is not 1"),
        ({"Training_soft": np.full((4, 4), np.nan, np.float32)}, "Training_soft is (4, 4) float32, not"),
    ],
)
def test_arrays_of_another_kind_are_named(tmp_path, changes, message):
    assert message in refusal(write(tmp_path / "f.h5", **changes))


def test_a_group_in_the_place_of_an_array_is_named(tmp_path):
    path = write(tmp_path / "f.h5", Training_label=None)
    with h5py.File(path, "a") as file:
        file["Training_label/x"] = LABELS
    assert "Training_label is a group, not an array" in refusal(path)


@pytest.mark.parametrize("version", ["one", 2, [1, 2]])
def test_a_format_version_that_is_none_is_named(tmp_path, version):
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        file.attrs["format_version"] = version
    assert "has format version" in refusal(path)


def test_older_files_that_were_packed_with_gzip_are_read(tmp_path):
    path = write(tmp_path / "f.h5", Training_pixel=None)
    with h5py.File(path, "a") as file:
        file.create_dataset("Training_pixel", data=PIXELS, compression="gzip", shuffle=True, fletcher32=True)
    np.testing.assert_array_equal(read_faces(path).splits["Training"].pixels, PIXELS)


def test_what_else_a_file_holds_is_not_read(tmp_path):
    path = write(tmp_path / "f.h5", Training_file=["1.jpg"] * 4, notes=["x"])
    assert read_faces(path).splits["Training"].extra == {}


# ---- files that mean harm ----


def link(file: h5py.File, other: Path) -> None:
    file["Training_pixel"] = h5py.ExternalLink(str(other), "Training_pixel")


def soft_link(file: h5py.File, other: Path) -> None:
    file["there"] = PIXELS
    file["Training_pixel"] = h5py.SoftLink("/there")


def raw_file(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", (4, 48, 48), "u1", external=[(str(other), 0, 9216)])


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((4, 48, 48), "u1")
    layout[:] = h5py.VirtualSource(str(other), "Training_pixel", (4, 48, 48))
    file.create_virtual_dataset("Training_pixel", layout)


def references(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", (4, 48, 48), h5py.ref_dtype)


def ragged(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", (4, 48, 48), h5py.vlen_dtype(np.uint8))


def foreign_filter(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", data=PIXELS, chunks=PIXELS.shape, scaleoffset=4)


def declared(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", (10**7, 48, 48), "u1", chunks=(1000, 48, 48))


def zeros(file: h5py.File, other: Path) -> None:
    file.create_dataset("Training_pixel", (10**6, 48, 48), "u1", chunks=(10**4, 48, 48), compression="gzip")
    file["Training_pixel"][: 10**4] = 0


HOSTILE = {
    link: "is a link to",
    soft_link: "is a link to another name",
    raw_file: "lies in another file",
    virtual: "lies in another file",
    references: "holds objects",
    ragged: "holds objects",
    foreign_filter: "is packed with",
    declared: "would fill 23.0 GB, but 0.0 MB are in the file",
    zeros: "would fill 2.3 GB",
}


@pytest.mark.parametrize("kind", HOSTILE, ids=lambda kind: kind.__name__)
def test_what_faces_do_not_need_is_refused_unread(tmp_path, kind):
    other, path = write(tmp_path / "other.h5"), write(tmp_path / "f.h5", Training_pixel=None)
    with h5py.File(path, "a") as file:
        kind(file, other)
    assert f"Training_pixel {HOSTILE[kind]}" in refusal(path)


@pytest.mark.parametrize("column", ["label", "soft", "subject"])
def test_every_array_that_is_read_is_checked(tmp_path, column):
    other, path = write(tmp_path / "other.h5"), write(tmp_path / "f.h5", Training_label=None)
    with h5py.File(path, "a") as file:
        if column != "label":
            file["Training_label"] = LABELS
        file[f"Training_{column}"] = h5py.ExternalLink(str(other), "Training_label")
    assert f"Training_{column} is a link to {other}" in refusal(path)


@pytest.mark.parametrize("name", ["/tmp/x", "../x", "..", "", "a\x1b[31m", "a\nb"])
def test_a_data_set_is_not_called_like_a_place_or_an_escape(tmp_path, name):
    path = write(tmp_path / "f.h5")
    with h5py.File(path, "a") as file:
        file.attrs["dataset"] = name
    assert "cannot be the name of a data set" in refusal(path)


@pytest.mark.parametrize("name", ["عکس\u200cها", "my\u00a0faces", "写真"])
def test_a_data_set_is_called_in_any_script(tmp_path, name):
    faces = FaceSet(name, FER2013_CLASSES, {"Training": Split(PIXELS, LABELS)}, "s", "d")
    write_faces(tmp_path / "f.h5", faces)
    assert read_faces(tmp_path / "f.h5").dataset == name


def test_what_could_not_be_read_is_not_written(tmp_path):
    long = Split(PIXELS, LABELS, {"subject": np.array(["S1", "S2", "S3", "x" * 201])})
    for name, split, message in (("../x", Split(PIXELS, LABELS), "name of a data set"), ("x", long, "201 letters")):
        with pytest.raises(ValueError, match=message):
            write_faces(tmp_path / "f.h5", FaceSet(name, FER2013_CLASSES, {"data": split}, "s", "d"))
    assert not list(tmp_path.iterdir())


def test_one_long_text_does_not_make_all_of_them_long(tmp_path):
    texts = np.array(["S1", "S2", "S3", "x" * 100_000], object)
    path = write(tmp_path / "f.h5", Training_subject=texts)
    assert "Training_subject has a text of 100000 letters; 200 is the most" in refusal(path)


def test_noise_in_a_file_never_ends_in_a_traceback(tmp_path):
    """Whatever byte is wrong: the faces are read, or one line says that they cannot be."""
    write_faces(
        tmp_path / "good.h5", FaceSet("fer2013", FER2013_CLASSES, {"Training": Split(PIXELS, LABELS)}, "s", "d")
    )
    good = (tmp_path / "good.h5").read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(8, len(good), 60).tolist() + list(range(8, 400, 7)):
        bad = bytearray(good)
        bad[place] ^= int(rng.integers(1, 256))
        (tmp_path / "bad.h5").write_bytes(bad)
        try:
            read_faces(tmp_path / "bad.h5")
        except (ValueError, OSError) as error:
            assert "bad.h5" in str(error) and "\n" not in str(error)
