"""evaluate.py and plot_confusion_matrix.py, whole, on a small file and random networks."""

import json
import os
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import engine.evaluation.report
import evaluate
import plot_confusion_matrix
from datasets.views import make_views
from engine.evaluation.metrics import compute_metrics
from engine.evaluation.predictions import read_predictions
from engine.evaluation.recorded import find_predictions
from models import BEST_WEIGHTS, WEIGHTS, usual_weights
from models.build import build_model
from models.checkpoint import load_checkpoint, load_classifier, save_checkpoint

NAMES = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
FILES = ["confusion_matrix.png", "metrics.json", "mistakes.png", "predictions.csv", "reliability.png"]
TWINS = 6  # of the 20 PrivateTest faces are in Training


def patches(rng, n):
    """Faces (n, 48, 48) of large random squares."""
    return np.kron(rng.integers(0, 256, (n, 4, 4)), np.ones((12, 12))).astype(np.uint8)


def checkpoint(path, seed=0, channels=1, crop=44, mean=0.5, std=0.25, **changes):
    torch.manual_seed(seed)
    model = build_model("small", 7, channels, dropout=0.0, pool="global").eval()
    with torch.no_grad():  # a random network thinks the same of all faces, unless its logits are centred and stretched
        logits = model(
            make_views("center", 44, channels, mean, std)(torch.as_tensor(patches(np.random.default_rng(1), 16)))[:, 0]
        )
        model.linear.bias -= logits.mean(0)
        for tensor in model.linear.parameters():
            tensor /= logits.std(0).mean()
    state = {
        "format_version": 1,
        "model_name": "small",
        "model_kwargs": {"dropout": 0.0, "pool": "global"},
        "inputs": {"size": 48, "crop": crop, "channels": channels, "mean": mean, "std": std},
        "class_names": NAMES,
        "dataset": "fer2013",
        "model": model.state_dict(),
        "recipe": "smoke",
        "epoch": 5,
        "best": {"epoch": 5, "accuracy": 0.4},
        "select_on": "PublicTest",
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, state)
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with fer2013.h5, ckplus.h5 and run/best.pt."""
    place = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    sizes = {"Training": 30, "PublicTest": 8, "PrivateTest": 20}
    splits = {name: patches(rng, n) for name, n in sizes.items()}
    splits["PrivateTest"][:TWINS] = splits["Training"][10 : 10 + TWINS]
    with h5py.File(place / "fer2013.h5", "w") as file:  # as older repositories wrote it: no attributes
        for name, pixels in splits.items():
            file[f"{name}_pixel"] = pixels
            file[f"{name}_label"] = rng.integers(0, 7, len(pixels))
    with h5py.File(place / "ckplus.h5", "w") as file:
        file.attrs["dataset"], file.attrs["class_names"] = "ckplus", [*NAMES[:6], "Contempt"]
        file["data_pixel"], file["data_label"] = patches(rng, 9), np.arange(9) // 3
        file["data_subject"] = np.array(["S005"] * 6 + ["S010"] * 3, object)
        file["data_sequence"] = np.array(["001"] * 3 + ["002"] * 3 + ["001"] * 3, object)
    checkpoint(place / "run" / "best.pt")
    return place


@pytest.fixture(scope="module")
def tested(place):
    """What evaluate.main returns for run/best.pt, ten-crop, with every default that can be left alone."""
    return evaluate.main(["--checkpoint", str(place / "run"), "--data", str(place / "fer2013.h5"), "--device", "cpu"])


@pytest.fixture
def no_figures(monkeypatch):
    """For tests that look at numbers alone."""
    for name in ("confusion_matrix_figure", "reliability_figure", "mistakes_figure", "save_figure"):
        monkeypatch.setattr(engine.evaluation.report, name, lambda *args, **kwargs: None)


def faces_of(place, split):
    with h5py.File(place / "fer2013.h5") as file:
        return file[f"{split}_pixel"][:], file[f"{split}_label"][:]


def slow_probabilities(path, pixels, views):
    """Softmax of the mean logits, a face at a time; float64."""
    classifier = load_classifier(path)
    inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
    rows = []
    for face in pixels:
        logits = classifier.model(make_views(views, **inputs)(torch.as_tensor(face[None]))[0])
        rows.append(logits.double().mean(0).softmax(0).numpy())
    return np.stack(rows)


def fails(capsys, script, *args):
    """The line with which a command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        script.main([str(arg) for arg in args])
    text = capsys.readouterr().err
    assert end.value.code == 2 and text.count("\n") == 1 and "Traceback" not in text, text
    assert text.startswith(f"{script.__name__}.py: error: ")
    return text


def test_evaluation_is_that_of_the_slow_loop(place, tested):
    pixels, labels = faces_of(place, "PrivateTest")
    probabilities = slow_probabilities(place / "run/best.pt", pixels, "ten")
    wanted = compute_metrics(labels, probabilities, NAMES)
    assert len(set(probabilities.argmax(1))) > 1
    for key, value in wanted.items():
        if key != "per_class":
            assert np.asarray(tested[key]) == pytest.approx(np.asarray(value), abs=1e-5), key
    assert (tested["split"], tested["views"], tested["dataset"]) == ("PrivateTest", "ten", "fer2013")
    assert tested["selected_on"] == "PublicTest" and tested["data"] == str(place / "fer2013.h5")
    (source,) = tested["checkpoints"]
    assert source["path"] == str(place / "run/best.pt") and len(source["sha256"]) == 64
    assert (source["model_name"], source["recipe"], source["epoch"]) == ("small", "smoke", 5)
    without = (probabilities.argmax(1) == labels)[TWINS:]
    assert tested["without_twins"]["n"] == 20 - TWINS
    assert tested["without_twins"]["accuracy"] == pytest.approx(without.mean())


def test_evaluation_folder(place, tested):
    folder = place / "run" / "evaluation-PrivateTest-ten"
    assert sorted(os.listdir(folder)) == FILES
    assert json.loads((folder / "metrics.json").read_text()) == tested
    table = read_predictions(folder / "predictions.csv")
    assert table.class_names == tuple(NAMES) and table.index.tolist() == list(range(20))
    assert table.labels.tolist() == faces_of(place, "PrivateTest")[1].tolist()
    assert compute_metrics(table.labels, table.probabilities, NAMES)["confusion_matrix"] == tested["confusion_matrix"]


def test_several_checkpoints_each_with_its_own_inputs(place, tmp_path, capsys, no_figures):
    second = checkpoint(tmp_path / "b.pt", seed=1, channels=3, crop=40, mean=0.0, std=1 / 255, select_on="PrivateTest")
    metrics = evaluate.main(
        ["--checkpoint", str(place / "run/best.pt"), second, "--data", str(place / "fer2013.h5"), "--views", "flip",
         "--split", "PublicTest", "--output", str(tmp_path / "out"), "--device", "cpu", "--batch-size", "3"]
    )  # fmt: skip
    pixels, _ = faces_of(place, "PublicTest")
    paths = [place / "run/best.pt", second]
    wanted = np.mean([slow_probabilities(path, pixels, "flip") for path in paths], 0)
    assert np.abs(read_predictions(tmp_path / "out/predictions.csv").probabilities - wanted).max() < 1e-5
    assert metrics["selected_on"] == "PublicTest, PrivateTest" and len(metrics["checkpoints"]) == 2
    said = capsys.readouterr().out
    assert "note: selected on this split" in said and "best.pt: small, recipe smoke, epoch 5" in said


def test_selected_on_the_test_set(place, tmp_path, capsys, no_figures):
    checkpoint(tmp_path / "best.pt", select_on="PrivateTest")
    args = ["--data", str(place / "fer2013.h5"), "--views", "center", "--device", "cpu"]
    evaluate.main(["--checkpoint", str(tmp_path), *args])
    said = capsys.readouterr().out
    assert "note: selected on the test set" in said and "split: PrivateTest (of" in said
    folder = tmp_path / "evaluation-PrivateTest-center"
    drawn = plot_confusion_matrix.main(["--run", str(tmp_path), "--output", str(tmp_path / "m.svg")])
    assert drawn["title"].endswith("n = 20 (selected on the test set)") and drawn["title"].startswith(
        "PrivateTest, center"
    )
    assert drawn["confusion_matrix"] == json.loads((folder / "metrics.json").read_text())["confusion_matrix"]


def test_last_epoch_was_not_selected(place, tmp_path, no_figures):
    path = checkpoint(tmp_path / "last.pt", epoch=9, select_on="PrivateTest")
    args = ["--data", str(place / "fer2013.h5"), "--views", "center", "--device", "cpu", "--amp"]
    metrics = evaluate.main(["--checkpoint", str(tmp_path), *args])
    assert metrics["checkpoints"][0]["path"] == path and metrics["selected_on"] == "last epoch" and metrics["amp"]


def test_ckplus_counts_sequences_and_keeps_their_columns(place, tmp_path, capsys, no_figures):
    path = checkpoint(tmp_path / "ck.pt", class_names=[*NAMES[:6], "Contempt"], dataset="ckplus")
    args = ["--checkpoint", path, "--data", str(place / "ckplus.h5"), "--views", "center", "--device", "cpu"]
    metrics = evaluate.main([*args, "--output", str(tmp_path / "out")])
    table = read_predictions(tmp_path / "out/predictions.csv")
    assert table.extra["subject"].tolist() == ["S005"] * 6 + ["S010"] * 3
    means = table.probabilities.reshape(3, 3, 7).mean(1)
    assert metrics["sequences"]["n"] == 3
    assert metrics["sequences"]["accuracy"] == pytest.approx((means.argmax(1) == [0, 1, 2]).mean())
    assert "without_twins" not in metrics and metrics["split"] == "data"
    assert "note: the network was trained on faces of data" in capsys.readouterr().out


def test_errors_of_evaluate(place, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    best, data = place / "run/best.pt", place / "fer2013.h5"
    ck = checkpoint(tmp_path / "seeds/seed-0/best.pt", class_names=[*NAMES[:6], "Contempt"], dataset="ckplus")
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    before = sorted(place.rglob("*")) + sorted(tmp_path.rglob("*"))

    def error(*args):
        return fails(capsys, evaluate, *args)

    assert "no checkpoint none.pt" in error("--checkpoint", "none.pt")
    assert "give one of seeds/seed-0" in error("--checkpoint", "seeds")
    assert "give one of seeds/seed-0" in error("--checkpoint", ".")
    assert "train one with: python train.py" in error("--checkpoint", "empty")
    assert "the checkpoint itself" in error("--checkpoint", best, "--convert", best)
    assert "preprocess_fer2013.py" in error("--checkpoint", best)  # there is no data/fer2013.h5 here
    assert "has Training, PublicTest, PrivateTest" in error("--checkpoint", best, "--data", data, "--split", "test")
    text = error("--checkpoint", best, ck, "--data", data)
    assert f"{Path(ck).relative_to(tmp_path)}" in text and "Contempt" in text and "Neutral" in text and "ckplus" in text
    assert "holds fer2013, not synthetic" in error("--checkpoint", best, "--data", data, "--dataset", "synthetic")
    assert "file is a file" in error("--checkpoint", best, "--data", data, "--output", tmp_path / "file/out")
    assert "nonsense" in error("--checkpoint", best, "--data", data, "--device", "nonsense")
    if not torch.cuda.is_available():
        assert "this PyTorch sees cpu" in error("--checkpoint", best, "--data", data, "--device", "cuda")
    assert "ten" in error("--checkpoint", best, "--views", "twelve")
    assert "'0' is not a whole number above 0" in error("--checkpoint", best, "--batch-size", "0")
    large = checkpoint(tmp_path / "large/best.pt", crop=64)
    assert "its inputs crop 64 pixels out of 48" in error("--checkpoint", large, "--data", data)
    assert "data/fer2013.h5 does not exist" in error()  # of the weights that come with the project
    left = [path for path in sorted(place.rglob("*")) + sorted(tmp_path.rglob("*")) if "large" not in path.parts]
    assert left == before  # nothing was written


def test_several_checkpoints_are_reported_where_all_of_them_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b/fold-01"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "best.pt").touch()
    assert (
        evaluate.shared_folder([Path("runs/a")]) == evaluate.shared_folder([Path("runs/a/best.pt")]) == Path("runs/a")
    )
    assert evaluate.shared_folder([Path("runs/a"), Path("runs/b/fold-01/best.pt")]) == Path("runs")


def test_what_the_weights_started_from_is_said(place, tmp_path, capsys, no_figures):
    """A network that began as one which PrivateTest chose has been selected there too, on this data set."""
    ancestors = [{"path": "old.pt", "dataset": "fer2013", "selected_on": "PrivateTest"}]
    path = checkpoint(tmp_path / "best.pt", ancestors=ancestors)
    flags = ["--checkpoint", str(path), "--data", str(place / "fer2013.h5"), "--device", "cpu", "--views", "center"]
    assert evaluate.main(flags)["selected_on"] == "PublicTest, PrivateTest"
    said = capsys.readouterr().out
    assert "started from old.pt (fer2013, selected on PrivateTest)" in said and "selected on the test set" in said
    checkpoint(tmp_path / "best.pt", ancestors=[ancestors[0] | {"dataset": "ckplus"}])
    assert evaluate.main(flags)["selected_on"] == "PublicTest"


def test_no_split_to_choose(place, tmp_path, capsys):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["class_names"] = NAMES
        for name in ("left", "right"):
            file[f"{name}_pixel"], file[f"{name}_label"] = np.zeros((1, 48, 48), np.uint8), [0]
    text = fails(capsys, evaluate, "--checkpoint", place / "run", "--data", tmp_path / "x.h5")
    assert "left, right" in text and "--split" in text


# plot_confusion_matrix.py


def test_plot_of_a_run_of_a_file_and_of_a_checkpoint_agree(place, tested, tmp_path, capsys):
    csv = place / "run/evaluation-PrivateTest-ten/predictions.csv"
    sources = (
        ["--run", place / "run"],
        ["--predictions", csv],
        ["--checkpoint", place / "run/best.pt", "--data", place / "fer2013.h5", "--split", "PrivateTest"],
    )
    for number, source in enumerate(sources):
        output = tmp_path / f"figures/{number}.{('png', 'pdf', 'svg')[number]}"
        drawn = plot_confusion_matrix.main([*map(str, source), "--output", str(output), "--device", "cpu"])
        assert drawn["confusion_matrix"] == tested["confusion_matrix"] and drawn["class_names"] == NAMES
        assert drawn["title"] == f"PrivateTest, ten-crop: accuracy {100 * tested['accuracy']:.2f}%, n = 20"
        assert output.stat().st_size > 5000 and f"wrote {output}" in capsys.readouterr().out
    assert len(list(output.parent.iterdir())) == 3


def test_plot_of_a_run_without_the_predictions_that_are_asked_for(place, tested, tmp_path, capsys):
    args = [
        "--run",
        str(place / "run"),
        "--data",
        str(place / "fer2013.h5"),
        "--output",
        str(tmp_path / "m.png"),
    ]
    drawn = plot_confusion_matrix.main(
        [
            *args,
            "--split",
            "PublicTest",
            "--views",
            "center",
            "--no-normalize",
            "--width",
            "3.3",
            "--device",
            "cpu",
        ]
    )
    assert drawn["title"].startswith("PublicTest, center crop") and drawn["title"].endswith("(selected on this split)")
    assert np.sum(drawn["confusion_matrix"]) == 8
    assert find_predictions(place / "run", {"split": "PublicTest"}) is None
    found = find_predictions(place / "run", {"split": "PrivateTest", "views": "ten"})
    assert found == place / "run/evaluation-PrivateTest-ten/predictions.csv"


def test_plot_of_bare_predictions(tmp_path):
    """Another tool's file: the prediction column counts, and nothing is known of the split."""
    path = tmp_path / "predictions.csv"
    path.write_text("index,label,prediction,yes,no\n0,0,1,0.9,0.1\n1,1,1,0.2,0.8\n")
    args = ["--predictions", str(path), "--output", str(tmp_path / "m.png")]
    drawn = plot_confusion_matrix.main(args)
    assert drawn["confusion_matrix"] == [[0, 1], [0, 1]] and drawn["title"] == "accuracy 50.00%, n = 2"
    assert plot_confusion_matrix.main([*args, "--split", "val"])["title"] == "val: accuracy 50.00%, n = 2"
    assert plot_confusion_matrix.main([*args, "--title", "My own"])["title"] == "My own"
    (tmp_path / "args.json").write_text('{"select_on": "PrivateTest"}')
    assert plot_confusion_matrix.main(args)["title"].endswith("(selected on the test set)")
    (tmp_path / "summary.json").write_text('{"split": "PublicTest", "views": "ten", "selected_on": "PublicTest"}')
    assert (
        plot_confusion_matrix.main(args)["title"]
        == "PublicTest, ten-crop: accuracy 50.00%, n = 2 (selected on this split)"
    )


def test_plot_takes_the_newest_evaluation(place, tmp_path):
    for age, name in enumerate(("evaluation-B-ten", "evaluation-A-ten", "evaluation-C-ten")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.csv").write_text("")
        os.utime(tmp_path / name / "predictions.csv", (time.time() - age * 60,) * 2)
    assert find_predictions(tmp_path, {}).parent.name == "evaluation-B-ten"
    (tmp_path / "predictions.csv").write_text("")
    assert find_predictions(tmp_path, {}) == tmp_path / "predictions.csv"


def test_errors_of_plot(place, tested, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/one").mkdir(parents=True)
    (tmp_path / "runs/one/args.json").write_text("{}")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")

    def error(*args):
        return fails(capsys, plot_confusion_matrix, *args)

    assert "--run DIR (there are runs/one), --predictions CSV or --checkpoint PATH" in error()
    assert "not allowed with" in error("--run", "runs/one", "--predictions", "bad.csv")
    assert "no such folder" in error("--run", "runs/two")
    assert "runs/one has no best.pt" in error("--run", "runs/one")
    assert "not a predictions.csv" in error("--predictions", "bad.csv")
    assert "none.csv" in error("--predictions", "none.csv")
    assert "must end in .png, .pdf, .svg" in error("--run", "runs/one", "--output", "m.jpeg")
    assert "bad.csv is a file" in error("--run", "runs/one", "--output", "bad.csv/m.png")
    assert "must lie between 3 and 20 inches" in error("--run", "runs/one", "--width", "1")
    assert "--amp is for checkpoints" in error("--predictions", "bad.csv", "--amp")
    known = place / "run/evaluation-PrivateTest-ten/predictions.csv"
    assert "is of PrivateTest" in error("--predictions", known, "--split", "PublicTest")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "runs"]


def test_convert_writes_a_release_file_that_predicts_alike(place, tmp_path, capsys):
    out = tmp_path / "small.pt"
    done = evaluate.main(["--checkpoint", str(place / "run"), "--convert", str(out)])
    assert done["sha256"] in capsys.readouterr().out
    released, original = load_checkpoint(out), load_checkpoint(place / "run" / "best.pt")
    assert all(t.dtype == torch.float16 for t in released["model"].values() if t.is_floating_point())
    assert released["class_names"] == original["class_names"] and "optimizer" not in released
    args = ["--data", str(place / "fer2013.h5"), "--device", "cpu", "--output", str(tmp_path / "e")]
    before, after = (evaluate.main(["--checkpoint", str(path), *args]) for path in (place / "run" / "best.pt", out))
    assert after["nll"] == pytest.approx(before["nll"], abs=2e-3)


def test_without_a_checkpoint_it_is_the_weights_of_the_project(place, tmp_path, monkeypatch, no_figures, capsys):
    monkeypatch.chdir(tmp_path)
    metrics = evaluate.main(["--data", str(place / "fer2013.h5"), "--views", "center", "--device", "cpu"])
    assert (
        metrics["checkpoints"][0]["path"].endswith("weights/small.pt") and "small.pt, which" in capsys.readouterr().out
    )
    assert (tmp_path / "runs" / "small" / "evaluation-PrivateTest-center" / "metrics.json").exists()


def test_the_weights_of_the_project_leave_a_run_of_their_name_alone(place, tmp_path, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(place / "run", tmp_path / "runs" / "small")
    (tmp_path / "runs" / "small" / "args.json").write_text("{}")  # as train.py leaves it
    before = sorted((tmp_path / "runs" / "small").rglob("*"))
    evaluate.main(["--data", str(place / "fer2013.h5"), "--views", "center", "--device", "cpu"])
    assert (tmp_path / "runs" / "small-released" / "evaluation-PrivateTest-center" / "metrics.json").exists()
    assert sorted((tmp_path / "runs" / "small").rglob("*")) == before


def test_the_weights_that_come_with_the_project():
    """The best on a GPU; on a CPU those of the network that is made for it. Half precision, as README says of whom."""
    assert usual_weights("cuda") == usual_weights("mps") == BEST_WEIGHTS and usual_weights("cpu") == WEIGHTS
    for path, name in ((BEST_WEIGHTS, "resnet18"), (WEIGHTS, "small")):
        state = load_checkpoint(path)
        assert state["model_name"] == name and state["select_on"] == "PublicTest" and path.stat().st_size < 25e6
        assert all(t.dtype == torch.float16 for t in state["model"].values() if t.is_floating_point())


def test_report_of_two_checkpoints_each_on_its_own(place, tmp_path, capsys, no_figures):
    second = checkpoint(tmp_path / "b.pt", seed=1)
    args = ["--data", str(place / "fer2013.h5"), "--views", "center", "--device", "cpu"]
    both = ["--checkpoint", str(place / "run"), second]
    page = tmp_path / "new" / "report.html"
    metrics = evaluate.main([*both, *args, "--output", str(tmp_path / "out"), "--report", str(page)])
    said = capsys.readouterr().out
    assert page.read_text(encoding="utf-8").count("<h2>") == 9 and f"wrote {page}" in said
    assert [row["name"] for row in metrics["members"]] == [str(place / "run"), second, "ensemble"]
    pixels, labels = faces_of(place, "PrivateTest")
    own = [slow_probabilities(path, pixels, "center") for path in (place / "run/best.pt", second)]
    for row, p in zip(metrics["members"], [*own, np.mean(own, 0)], strict=True):
        assert row["accuracy"] == pytest.approx((p.argmax(1) == labels).mean())
    right = [p.argmax(1) == labels for p in own]
    pair = metrics["members"][1]["versus_first"]
    assert (pair["only_first"], pair["only_second"]) == ((right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum())
    assert f"p = {pair['p']:.3f}" in said


def test_report_needs_a_name_that_can_be_written(place, tmp_path, capsys):
    for name in ("report.pdf", "report"):
        assert "ends in .html" in fails(capsys, evaluate, "--checkpoint", place / "run", "--data", place / "fer2013.h5",
                                        "--report", tmp_path / name)  # fmt: skip
    assert not list(tmp_path.iterdir())
