"""What people bring: files as their own tools leave them, slips of the hand. A line a case: what is given and said.

Only what no other file holds. Of the same kinds: pictures and photographs in test_visualize and test_faces; CSV of
other programs in test_csv_forms; terminals' letters in test_terminal; HDF5 files in test_hdf5_file; trees of folders in
test_own_data, test_preprocess and test_ckplus; memory and devices in test_memory_and_devices; advice that is followed
in test_stopping; files of other libraries in test_foreign_files; every message in test_messages.
"""

import importlib
import io
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from raw_fer2013 import ROWS, assert_all_faces, official
from test_own_data import fill

import train
from datasets.ferplus import VOTES, read_votes
from datasets.storage import read_faces
from engine.evaluation.predictions import read_predictions
from models import WEIGHTS
from models.checkpoint import load_checkpoint

SMOKE = "--recipe smoke --epochs 1 --batch-size 32 --early-size 0 --device cpu --data data.h5"
SEE = f"--checkpoint {WEIGHTS} --no-explain --views center --device cpu --json seen.json --image"
WORDS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.fixture(scope="module")
def home(tmp_path_factory, faces_file):
    """A folder with faces, a run, a run of folds, and what the cases below give."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        Path("data.h5").symlink_to(faces_file)
        train.main([*SMOKE.split(), "--limit", "32", "--name", "done", "--init", str(WEIGHTS)])
        Path("runs/folds/fold-01").mkdir(parents=True)
        Path("runs/folds/args.json").write_bytes(Path("runs/done/args.json").read_bytes())
        Path("runs/folds/fold-01/best.pt").write_bytes(Path("runs/done/best.pt").read_bytes())
        write_pictures(Path("trip [1]"))
        write_folders()
        for name, content in TABLES.items():
            Path(name).write_bytes(content)
    return home


def write_pictures(folder: Path) -> None:
    """A face in every form that programs write, and what is none."""
    folder.mkdir()
    gray = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    face = Image.fromarray(gray)
    face.save(folder / "a PNG.jpg", "PNG")
    face.save(folder / "a JPEG.png", "JPEG")
    face.save(folder / "a.jfif", "JPEG")
    face.convert("CMYK").save(folder / "cmyk.jpg")
    face.convert("P").save(folder / "palette.png", transparency=0)
    face.convert("1").save(folder / "bits.tif")
    Image.fromarray(np.stack([gray, gray], -1), "LA").save(folder / "la.png")
    Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "16.png")
    for ending in ("gif", "webp"):
        face.save(folder / f"moves.{ending}", save_all=True, append_images=[face.rotate(90)])
    Image.new("L", (1, 2000)).save(folder / "line.png")
    (folder / "camera.nef").write_bytes(b"II*\0" + bytes(60))
    (folder / "page.jpg").write_text("<!DOCTYPE html>")


def write_folders() -> None:
    """Trees of faces, each wrong or odd in one way."""
    tree = {f"{split}/{word}": 1 for split in ("train", "tests") for word in WORDS}
    fill(Path("plain"), tree)
    fill(Path("beside"), {f"images/{name}": n for name, n in tree.items()} | {"samples": 1})
    fill(Path("two"), {f"{copy}/{name}": n for copy in "ab" for name, n in tree.items()})
    fill(Path("forms"), tree)
    for path in list(Path("forms").rglob("*.png")):
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    fill(Path("hidden"), tree)
    Path("hidden/train/bored").mkdir()
    Path("hidden/train/bored/.DS_Store").touch()
    Path("hidden/train/happy/.trash").mkdir()
    Path("hidden/train/happy/.trash/x.png").write_bytes(b"")


def archive(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return packed.getvalue()


TABLES = {
    "sheet.csv": archive("[Content_Types].xml", "xl/workbook.xml"),
    "calc.csv": archive("mimetype", "content.xml"),
    "old-sheet.csv": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    "frame.csv": b"PAR1" + bytes(600),
    "empty.csv": b"",
}

# What is given, the exit status, and a pattern of what is said
GIVEN = """
visualize.py {see} 'trip [1]'        | 0 | left out: .*camera.nef is not an image.*line.png is 1x2000.*page.jpg is not
visualize.py {see} 'trip [1]/*.jpg'  | 0 | left out: .*page.jpg is not an image
visualize.py {see} 'trip [1]/*.bmp'  | 2 | no image trip .1./\\*.bmp
visualize.py {see} 'trip [1]/line.*' | 2 | line.png is 1x2000 pixels; a face needs 16x16 at least
preprocess_fer2013.py --output o.h5 --source sheet.csv     | 2 | sheet.csv is a spreadsheet: save it as CSV
preprocess_fer2013.py --output o.h5 --source calc.csv      | 2 | calc.csv is a spreadsheet: save it as CSV
preprocess_fer2013.py --output o.h5 --source old-sheet.csv | 2 | old-sheet.csv is a spreadsheet of Excel: save it as CSV
preprocess_fer2013.py --output o.h5 --source frame.csv     | 2 | frame.csv is a table of Python or Parquet.* to_csv
preprocess_fer2013.py --output o.h5 --source 'sh*.csv'     | 2 | sheet.csv is a spreadsheet
preprocess_fer2013.py --output o.h5 --source '*sheet.csv'  | 2 | matches 2 paths, old-sheet.csv and sheet.csv among them
preprocess_fer2013.py --output o.h5 --source plain         | 0 | h5: 14 faces
preprocess_fer2013.py --output o.h5 --source beside        | 0 | warning: 1 images lie in no class folder .*ples/0.png
preprocess_fer2013.py --output o.h5 --source two           | 2 | two holds a/, b/ and folders in these, so it is not
preprocess_fer2013.py --output o.h5 --source forms         | 0 | h5: 14 faces
preprocess_fer2013.py --output own.h5 --source hidden --dataset folder | 0 | h5: 14 faces
preprocess_fer2013.py --output own.h5 --source beside --dataset folder | 0 | h5: 14 faces
train.py --resume runs/done/last.pt     | 2 | it is a part of one: give --resume runs/done$
train.py --resume runs/folds/fold-01    | 2 | it is a part of one: give --resume runs/folds$
train.py --resume 'runs/d*'             | 0 | continues after epoch 1 of 1
train.py --resume runs                  | 2 | no run there .*; there are runs/done, runs/folds
train.py {smoke} --name x --init runs/folds   | 2 | runs/folds is a folder without a best.pt; give one of .*fold-01
train.py {smoke} --name x --init 'runs/*/*/best.pt' --limit 32 | 0 | starts from runs/folds/fold-01/best.pt
train.py {smoke} --name x --soft-targets 'runs/done/pred*.csv' | 2 | training faces have no soft target
evaluate.py --checkpoint 'runs/d*/best.pt' --device CPU --data data.h5 --views center --output e | 0 | PrivateTest
plot_confusion_matrix.py --run 'runs/d*' --output m.png                  | 0 | m.png
plot_confusion_matrix.py --predictions 'runs/d*/pred*.csv' --output m.png | 0 | m.png
plot_confusion_matrix.py --predictions empty.csv --output m.png          | 2 | empty.csv is empty; make it again
"""


def cases() -> list:
    rows = (re.split(r" *\| (?=[02] \|)| (?<=[02] )\| ", line) for line in GIVEN.strip().splitlines())
    return [pytest.param(command, int(status), said, id=command) for command, status, said in rows]


@pytest.mark.parametrize("command, status, said", cases())
def test_what_is_given(home, monkeypatch, capsys, command, status, said):
    monkeypatch.chdir(home)
    script, *words = re.findall(r"'[^']*'|\S+", command.format(see=SEE, smoke=SMOKE))
    capsys.readouterr()
    got = 0
    try:
        importlib.import_module(script.removesuffix(".py")).main([word.strip("'") for word in words])
    except SystemExit as stop:
        got = stop.code
    printed = capsys.readouterr()
    text = printed.err if status else printed.out + printed.err
    assert got == status and re.search(said, text, re.DOTALL | re.MULTILINE), text
    assert not status or printed.err.splitlines()[-1].startswith(f"{script}: error: ")


def test_every_form_of_a_picture_is_seen(home, monkeypatch):
    monkeypatch.chdir(home)
    seen = importlib.import_module("visualize").main([*SEE.split(), "trip [1]"])
    assert len(seen) == 10 and all(image["faces"][0]["box"] == [0, 0, 48, 48] for image in seen)


MORE_CSV = {
    "a mark and tabs": b"\xef\xbb\xbf"
    + "".join("\t".join(row) + "\n" for row in [("emotion", "pixels", "Usage"), *ROWS]).encode(),
    "UTF-32": official().decode().encode("utf-32"),
    "blank lines": b"\r\n\n" + official(end="\n\n"),
    "blanks": official([(f" {a} ", b, f"{c}  ") for a, b, c in ROWS]),
    "0-3": official([(f"0{a}.00", b, c) for a, b, c in ROWS]),
}


@pytest.mark.parametrize("form", MORE_CSV)
def test_more_csv(tmp_path, form):
    (tmp_path / "fer2013.csv").write_bytes(MORE_CSV[form])
    flags = ["--source", str(tmp_path / "fer2013.csv"), "--output", str(tmp_path / "f.h5")]
    assert_all_faces(importlib.import_module("preprocess_fer2013").main(flags))


PLAIN = "index,label,prediction,calm,awake\n0,0,0,0.75,0.25\n1,1,0,0.5,0.5\n"
SAVED = {
    "semicolons": PLAIN.replace(",", ";").encode(),
    "decimal commas": PLAIN.replace(",", ";").replace(".", ",").encode(),
    "tabs and a mark": b"\xef\xbb\xbf" + PLAIN.replace(",", "\t").encode(),
    "UTF-16": PLAIN.replace(",", "\t").encode("utf-16"),
    "sep=;": b"sep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n").encode(),
    "old Macs": PLAIN.replace("\n", "\r").encode(),
    "quotes": re.sub(r"([^,\n]+)", r'"\1"', PLAIN).encode(),
}


@pytest.mark.parametrize("form", SAVED)
def test_predictions_that_a_spreadsheet_saved(tmp_path, form):
    (tmp_path / "p.csv").write_bytes(SAVED[form])
    found = read_predictions(tmp_path / "p.csv")
    assert found.class_names == ("calm", "awake") and found.labels.tolist() == [0, 1]
    assert found.probabilities.tolist() == [[0.75, 0.25], [0.5, 0.5]]


def test_votes_that_a_spreadsheet_saved(tmp_path):
    rows = [["Usage", "Image name", *VOTES], ["Training", "x.png", *"0123000000"], ["PrivateTest", "", *"9000000001"]]
    for separator, encoding in ((",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16")):
        (tmp_path / "v.csv").write_text("\n".join(map(separator.join, rows)), encoding=encoding)
        usages, votes = read_votes(tmp_path / "v.csv")
        assert usages.tolist() == [0, 2] and votes[0].tolist() == [0, 1, 2, 3, *[0] * 6]


def test_labels_that_are_whole_are_labels_whatever_their_type(tmp_path):
    for kind in (np.float32, np.float64, np.uint8, ">i2"):
        with h5py.File(tmp_path / f"{np.dtype(kind)}.h5", "w") as file:
            file["Training_pixel"], file["Training_label"] = np.zeros((3, 48, 48), np.uint8), np.array([0, 3, 6], kind)
        labels = read_faces(tmp_path / f"{np.dtype(kind)}.h5").splits["Training"].labels
        assert labels.dtype == np.int64 and labels.tolist() == [0, 3, 6]


def test_one_batch_in_one_epoch_trains(home):
    before, after = (load_checkpoint(path)["model"] for path in (WEIGHTS, home / "runs" / "done" / "last.pt"))
    assert not torch.allclose(before["linear.weight"].float(), after["linear.weight"].float(), atol=1e-3)
