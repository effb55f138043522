"""The benchmarks in miniature: what they print, and that both sides see the same thing. Nothing here is timed."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch

from benchmarks import accuracy, measure, reference, testing
from benchmarks.__main__ import main
from benchmarks.measure import Row, recipe_for, spread, table
from datasets.augment import Augment
from datasets.loader import FaceLoader
from datasets.names import FER2013_CLASSES
from datasets.storage import FaceSet, Split, write_faces
from datasets.synthetic.faces import draw_faces
from datasets.views import make_views
from engine.predict import predict
from models.build import build_model

QUICK = ["--repeats", "1", "--workers", "0", "--device", "cpu", "--models", "small"]


@pytest.fixture
def in_this_process(monkeypatch):
    """Child processes become function calls: importing torch again would take most of the time."""
    modules = {"benchmarks.testing": testing, "benchmarks.accuracy": accuracy}

    def call(module, options):
        return json.loads(json.dumps(modules[module].one_side(options))) | {"wall": 1.0}

    monkeypatch.setattr(testing, "child", call)
    monkeypatch.setattr(accuracy, "child", call)


@pytest.fixture(scope="module")
def faces():
    """Pixels (24, 48, 48) of drawn faces, and labels."""
    labels = np.arange(24) % 7
    names = np.array(["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"])
    return draw_faces(names[labels], np.random.default_rng(0)), labels


def test_table_has_a_row_a_measurement_and_json_has_every_value(tmp_path, capsys, in_this_process):
    arguments = ["--only", "input", "train", "test", *QUICK, "--faces", "32", "--batch-size", "16"]
    result = main([*arguments, "--data", str(tmp_path / "none.h5"), "--json", str(tmp_path / "out" / "b.json")])
    captured = capsys.readouterr()
    assert "random pixels stand in" in captured.err
    lines = captured.out.splitlines()
    assert lines[0].startswith("cpu") and lines[2].split() == ["ratio", "ours", "usual"]
    assert len(lines) == 3 + len(result["rows"])
    rows = {(row["benchmark"], row["what"]): row for row in result["rows"]}
    for benchmark, what, unit in (
        ("input", "recipe sgd, batches of 16", "faces/s"),
        ("train", "small, batches of 16", "faces/s"),
        ("test", "small, ten-crop", "crops/s"),
        ("test", "small, memory for 8 faces", "MiB"),
        ("test", "small, memory for 32 faces", "MiB"),
    ):
        row = rows[benchmark, what]
        assert row["unit"] == unit and len(row["ours"]) == len(row["usual"]) == 1
        if unit != "MiB":
            assert row["ratio"] == pytest.approx(row["ours_median"] / row["usual_median"])
    written = json.loads((tmp_path / "out" / "b.json").read_text())
    assert len(written["rows"]) == len(rows) and written["environment"]["torch"] == torch.__version__


def test_preprocessing_and_startup_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.startup.SCRIPTS", ("train",))
    monkeypatch.setattr("benchmarks.startup.USUAL", "import h5py")
    source = tmp_path / "fer2013.csv"
    with open(source, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        for number, usage in enumerate(("Training", "PublicTest", "PrivateTest")):
            writer.writerow([number, " ".join(["7"] * 48**2), usage])
    result = main(["--only", "startup", "preprocess", *QUICK, "--source", str(source)])
    whats = [row["what"] for row in result["rows"]]
    assert whats[0] == "fer2013.csv to HDF5" and whats[-2:] == ["train.py --help", "import of all five"]
    assert all(row["ratio"] > 0 for row in result["rows"])
    result = main(["--only", "preprocess", *QUICK, "--source", str(tmp_path / "other.csv")])
    assert result["rows"] == [] and "other.csv is not there" in capsys.readouterr().err


def test_accuracy_trains_both_sides_until_they_are_there(tmp_path, faces, in_this_process, capsys):
    splits = {"Training": Split(*faces), "PublicTest": Split(np.concatenate([faces[0]] * 2), np.arange(48) % 7)}
    write_faces(tmp_path / "few.h5", FaceSet("fer2013", FER2013_CLASSES, splits, "drawn", ""))
    arguments = ["--only", "accuracy", *QUICK, "--data", str(tmp_path / "few.h5"), "--batch-size", "12"]
    seconds, epochs = main([*arguments, "--accuracy", "0.01", "--both", "--epochs", "2"])["rows"]
    assert seconds["what"] == "small to 1.0%" and seconds["ratio"] == 1.0
    assert epochs["ours"] == epochs["usual"] == (1,)
    assert "after 1 epochs" in capsys.readouterr().err
    seconds, _ = main([*arguments, "--accuracy", "1", "--epochs", "1"])["rows"]
    assert seconds["what"] == "small to 100.0% (not reached: ours 1)" and seconds["ours"] == ()


@pytest.mark.parametrize("views", ["ten", "flip"])
def test_plain_views_give_our_logits(faces, views):
    pixels, labels = faces
    torch.manual_seed(0)
    model = build_model("small")
    with torch.no_grad():
        for name, buffer in model.named_buffers():  # as if trained: logits that tell faces apart
            if name.endswith("running_var"):
                buffer.fill_(0.05)
    recipe = recipe_for("small", 8)
    transform = reference.view_transform(views, recipe.crop, recipe.mean, recipe.std)
    loader = reference.plain_loader(pixels, labels, transform, 10, workers=0, train=False)
    usual = reference.predict_plain(model, loader, torch.device("cpu"))
    ours = predict(model, pixels, make_views(views, recipe.crop, mean=recipe.mean, std=recipe.std), batch_size=64)
    assert ours.std(0).max() > 0.01
    torch.testing.assert_close(usual, ours, rtol=1e-3, atol=1e-4 * float(ours.abs().max()))


def test_plain_augmentation_gives_batches_like_ours(faces):
    pixels, labels = np.tile(faces[0], (20, 1, 1)), np.tile(faces[1], 20)  # 480 faces
    recipe = recipe_for("resnet18", 120)
    torch.manual_seed(0)
    loader = reference.plain_loader(pixels, labels, reference.train_transform(recipe), 120, workers=0, train=True)
    augment = Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)})
    ours = FaceLoader(pixels, labels, 7, augment, 120, mean=recipe.mean, std=recipe.std)
    xs, ys = zip(*loader, strict=True)
    our_xs, targets = zip(*ours.epoch(1), strict=True)
    assert [x.shape for x in xs] == [x.shape for x in our_xs] and len(xs) == 4
    x, own = torch.cat(xs), torch.cat(our_xs)
    assert torch.equal(torch.cat(ys).bincount(), torch.cat(targets).argmax(1).bincount())
    assert x.dtype == own.dtype and math.isclose(x.mean(), own.mean(), abs_tol=0.06)
    assert math.isclose(x.std(), own.std(), rel_tol=0.06)


def test_plain_augmentation_moves_faces_as_much_as_ours(faces):
    pixels, labels = np.tile(faces[0][3], (400, 1, 1)), np.zeros(400, np.int64)
    recipe = recipe_for("resnet18", 400)
    torch.manual_seed(0)
    loader = reference.plain_loader(pixels, labels, reference.train_transform(recipe), 400, workers=0, train=True)
    augment = Augment(**{f.name: getattr(recipe, f.name) for f in fields(Augment)})
    ours = FaceLoader(pixels, labels, 7, augment, 400, mean=recipe.mean, std=recipe.std)
    (x, _), (own, _) = next(iter(loader)), next(ours.epoch(1))
    x, own = x[:, 0, 4:-4, 4:-4], own[:, 0, 4:-4, 4:-4]  # corners are gray on one side and reflected on the other
    assert torch.corrcoef(torch.stack([x.mean(0).flatten(), own.mean(0).flatten()]))[0, 1] > 0.97
    assert math.isclose(x.std(0).mean(), own.std(0).mean(), rel_tol=0.1)


def test_recipes_that_the_reference_cannot_do_are_said():
    with pytest.raises(ValueError, match="has five"):
        reference.train_transform(recipe_for("resnet18", 8, "lethesec"))
    with pytest.raises(ValueError, match="ten or flip, not 'five'"):
        reference.view_transform("five", 44, 0.5, 0.25)


def test_different_crops_end_the_comparison():
    side = {"logits": [1.0, 2.0], "faces": 8, "crops": [1.0], "amp_crops": [], "peak": 1, "peak_quarter": 1}
    assert [row.ratio for row in testing.compare("small", side, side)] == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="different crops"):
        testing.compare("small", side, side | {"logits": [1.0, 2.1]})


def test_ratios_say_how_many_times_better_we_are():
    assert Row("a", "b", "s", (1.0, 2.0, 9.0), (4.0,)).ratio == 2
    assert Row("a", "b", "faces/s", (8.0,), (4.0,), more_is_better=True).ratio == 2
    assert Row("a", "b", "s", (), (4.0,)).ratio is None
    assert spread((1.0, 2.0, 9.0)) == "2.00 (1.00 to 9.00)" and spread((1234.5,)) == "1,234" and spread(()) == "-"
    lines = table([Row("input", "x", "s", (1.0,), (20.0,)), Row("input", "y", "s", (1.0,))]).splitlines()
    assert lines[1].split() == ["20.0x", "input", "x", "1.00", "20.00", "s"]
    assert lines[2].split() == ["input", "y", "1.00", "-", "s"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "everything"], "choose from"),
        (["--accuracy", "60"], "above 0 and up to 1"),
        (["--only", "train", "--models", "large"], "unknown model 'large'"),
        (["--only", "accuracy", "--data", "nowhere.h5"], "nowhere.h5 does not exist"),
        (["--workers", "-1"], "whole number of 0 or more"),
    ],
)
def test_wrong_flags_are_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


def test_a_failing_child_is_one_line():
    with pytest.raises(ValueError, match=r"json.tool ended with status [12]: .*No such file"):
        measure.child("json.tool", {})


def test_help_imports_no_torch():
    code = "import sys, benchmarks.__main__ as b\ntry: b.main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=measure.ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "python -m benchmarks" in done.stdout, done.stderr
