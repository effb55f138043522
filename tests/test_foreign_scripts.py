"""The scripts take checkpoints of older repositories as they are."""

import json

import h5py
import numpy as np
import plain_networks as plain
import pytest
import torch
from PIL import Image

import engine.evaluation.report
import evaluate
import plot_confusion_matrix
import train
import visualize
from datasets.folds import frame_folds
from datasets.names import OFFICIAL_COUNTS
from engine.evaluation.predictions import read_predictions
from models.checkpoint import load_checkpoint

SAID = "PrivateTest_model.t7: WuJie1010 checkpoint, vgg11, 3 equal channels of pixel / 255, crop 44; classes of fer2013"


def faces(n, seed=0):
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (n, 6, 6)), np.ones((8, 8))).astype(np.uint8)


def slow_probabilities(weights, pixels):
    each = [plain.run("vgg", 11, weights, plain.see("WuJie1010", plain.ten_crops(face, 44))) for face in pixels]
    return torch.stack(each).mean(1).softmax(1).numpy()


@pytest.fixture(scope="module")
def weights():
    return plain.draw("vgg", 11, 3, plain.see("WuJie1010", torch.as_tensor(faces(4, seed=9)[:, 2:46, 2:46])))


@pytest.fixture(scope="module")
def place(tmp_path_factory, weights):
    """fer2013.h5, ckplus.h5, PrivateTest_model.t7 and a picture of a face."""
    place = tmp_path_factory.mktemp("foreign")
    content = {"net": weights, "best_PrivateTest_acc": 50.0, "best_PrivateTest_acc_epoch": 12}
    torch.save(content, place / "PrivateTest_model.t7", _use_new_zipfile_serialization=False)
    with h5py.File(place / "fer2013.h5", "w") as file:
        for split, n in {"Training": 64, "PublicTest": 2, "PrivateTest": 6}.items():
            file[f"{split}_pixel"], file[f"{split}_label"] = faces(n, seed=n), np.arange(n) % 7
    with h5py.File(place / "ckplus.h5", "w") as file:
        counts = OFFICIAL_COUNTS["ckplus"]["data"]
        file["data_pixel"], file["data_label"] = faces(sum(counts)), np.repeat(np.arange(7), counts)
    Image.fromarray(faces(1, seed=3)[0]).save(place / "face.png")
    return place


@pytest.fixture
def evaluated(place, tmp_path, monkeypatch):
    """Run evaluate.py on a checkpoint; returns the metrics."""
    for name in ("confusion_matrix_figure", "reliability_figure", "mistakes_figure", "save_figure"):
        monkeypatch.setattr(engine.evaluation.report, name, lambda *args, **kwargs: None)

    def run(*paths, data="fer2013.h5", views="ten"):
        args = ["--checkpoint", *map(str, paths), "--data", str(place / data), "--views", views]
        return evaluate.main([*args, "--device", "cpu", "--output", str(tmp_path / "out")])

    return run


def fails(capsys, script, *args):
    with pytest.raises(SystemExit) as end:
        script.main([str(arg) for arg in args])
    text = capsys.readouterr().err
    assert end.value.code == 2 and ".py: error: " in text and text.count("\n") == 1
    return text


def test_evaluate(place, evaluated, weights, tmp_path, capsys):
    metrics = evaluated(place / "PrivateTest_model.t7")
    text = capsys.readouterr().out
    assert SAID in text and "vgg11, epoch 12, selected on PrivateTest" in text and "selected on the test set" in text
    wanted = slow_probabilities(weights, torch.as_tensor(faces(6, seed=6)))
    table = read_predictions(tmp_path / "out" / "predictions.csv")
    assert table.probabilities == pytest.approx(wanted, abs=1e-4)
    assert metrics["accuracy"] == pytest.approx((wanted.argmax(1) == np.arange(6)).mean())


def test_a_converted_file_predicts_alike(place, evaluated, tmp_path, capsys):
    out = tmp_path / "converted.pt"
    evaluate.main(["--checkpoint", str(place / "PrivateTest_model.t7"), "--convert", str(out)])
    assert SAID in capsys.readouterr().out
    state = load_checkpoint(out)  # without an adapter: it is our own form now
    assert state["select_on"] == "PrivateTest" and state["inputs"]["channels"] == 3
    before, after = (evaluated(path) for path in (place / "PrivateTest_model.t7", out))
    assert after["nll"] == pytest.approx(before["nll"], abs=5e-3)
    assert after["confusion_matrix"] == before["confusion_matrix"]


def test_folds_of_ckplus_are_tested_each_on_its_own(place, evaluated, weights, tmp_path, capsys):
    for fold in (1, 10):
        path = tmp_path / "CK+_VGG11" / str(fold) / "Test_model.t7"
        path.parent.mkdir(parents=True)
        torch.save({"net": weights, "best_Test_acc": 95.0, "best_Test_acc_epoch": 3}, path)
    paths = sorted(tmp_path.glob("CK+_VGG11/*/Test_model.t7"))
    metrics = evaluated(*paths, data="ckplus.h5", views="center")
    assert metrics["n"] == 2 * 99 and metrics["selected_on"] == "fold 1, fold 10"
    index = read_predictions(tmp_path / "out" / "predictions.csv").index
    folds = frame_folds(np.repeat(np.arange(7), OFFICIAL_COUNTS["ckplus"]["data"]))
    assert sorted(index) == sorted([*folds[0], *folds[9]])
    text = capsys.readouterr().out
    assert "classes of ckplus, epoch selected on fold 10 (its keys say so, the fold by its folder)" in text
    assert "selected on the test set" in text
    assert "has the classes Angry" in fails(
        capsys, evaluate, "--checkpoint", paths[0], "--data", place / "fer2013.h5", "--device", "cpu"
    )


def test_plot_confusion_matrix(place, tmp_path, capsys):
    args = [
        "--checkpoint",
        str(place / "PrivateTest_model.t7"),
        "--data",
        str(place / "fer2013.h5"),
        "--views",
        "center",
    ]
    drawn = plot_confusion_matrix.main([*args, "--device", "cpu", "--output", str(tmp_path / "m.png")])
    assert SAID in capsys.readouterr().out and np.sum(drawn["confusion_matrix"]) == 6
    assert "selected on the test set" in drawn["title"]


def test_visualize(place, tmp_path, capsys, weights):
    args = ["--image", str(place / "face.png"), "--checkpoint", str(place / "PrivateTest_model.t7"), "--no-explain"]
    visualize.main([*args, "--device", "cpu", "--json", "-", "--output", str(tmp_path / "v.png")])
    shown = capsys.readouterr()
    assert SAID in shown.err
    scores = json.loads(shown.out)[0]["faces"][0]["probabilities"]
    wanted = slow_probabilities(weights, torch.as_tensor(faces(1, seed=3)))[0]
    assert list(scores.values()) == pytest.approx(wanted, abs=1e-4)


def test_train_starts_from_it(place, tmp_path, weights):
    flags = ["--data", str(place / "fer2013.h5"), "--output", str(tmp_path), "--name", "a", "--device", "cpu"]
    flags += ["--recipe", "smoke", "--model", "vgg11", "--pool", "avg4", "--mean", "0", "--std", "1", "--no-compile"]
    flags += ["--init", str(place / "PrivateTest_model.t7")]
    train.main([*flags, "--epochs", "1", "--lr", "1e-30", "--warmup", "0", "--ema", "0", "--no-amp"])
    trained = load_checkpoint(tmp_path / "a" / "last.pt")["model"]
    assert torch.allclose(trained["features.0.weight"], weights["features.0.weight"].sum(1, keepdim=True), atol=1e-6)
    assert torch.equal(trained["features.25.weight"], weights["features.25.weight"])
    assert "3 equal channels summed into one" in (tmp_path / "a" / "log.txt").read_text()


def test_refusals_are_one_line(place, tmp_path, weights, capsys):
    (tmp_path / "x.t7").write_bytes((place / "PrivateTest_model.t7").read_bytes()[:99999])
    (tmp_path / "x.pt").write_bytes(b"")
    data = ("--data", place / "fer2013.h5", "--device", "cpu")
    assert "truncated" in fails(capsys, evaluate, "--checkpoint", tmp_path / "x.t7", *data)
    both = f"{tmp_path / 'x.pt'}, {tmp_path / 'x.t7'}"
    assert f"give one of {both}" in fails(capsys, evaluate, "--checkpoint", tmp_path, *data)
    torch.save({"net": torch.nn.Linear(2, 2)}, tmp_path / "x.t7")
    for script, flag in ((evaluate, "--checkpoint"), (plot_confusion_matrix, "--checkpoint"), (train, "--init")):
        assert "would run code" in fails(capsys, script, flag, tmp_path / "x.t7", *data)
    assert "would run code" in fails(
        capsys, evaluate, "--checkpoint", tmp_path / "x.t7", "--convert", tmp_path / "y.pt"
    )
    assert "would run code" in fails(
        capsys,
        visualize,
        "--image",
        place / "face.png",
        "--checkpoint",
        tmp_path / "x.t7",
        "--output",
        tmp_path / "v.png",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.pt", "x.t7"]
