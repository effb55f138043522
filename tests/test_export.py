"""evaluate.py --export: one file from faces to probabilities, the same as PyTorch's, without this project."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import plain_networks as plain
import pytest
import torch
from PIL import Image

import evaluate
from datasets.synthetic.faces import EXPRESSIONS, draw_faces
from engine import export
from engine.predict import classifier_probabilities
from models import WEIGHTS
from models.build import build_model
from models.checkpoint import load_checkpoint, load_classifier, save_checkpoint

ROOT = Path(__file__).parent.parent
FACES = draw_faces(EXPRESSIONS[:3], np.random.default_rng(5))


def needs_onnx():
    for name in export.PACKAGES[".onnx"]:
        pytest.importorskip(name)


def run(file, faces):
    """The probabilities of an exported file, and what it says of itself."""
    if file.suffix == ".pt2":
        about = {"metadata.json": ""}
        with open(file, "rb") as stream:
            program = torch.export.load(stream, extra_files=about)
        return program.module()(torch.from_numpy(faces)).numpy(), json.loads(about["metadata.json"])
    import onnxruntime

    session = onnxruntime.InferenceSession(file)
    return session.run(None, {"faces": faces})[0], session.get_modelmeta().custom_metadata_map


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    """A network with other inputs than the weights that come with the project: LetheSec's VGG11."""
    path = tmp_path_factory.mktemp("second") / "best_checkpoint.tar"
    seen = plain.see("LetheSec", torch.from_numpy(FACES[:, 4:44, 4:44]))
    torch.save({"model_state_dict": plain.draw("vgg", 11, 1, seen), "epoch": 7, "best_acc": 0.7}, path)
    return path


def fails(capsys, *args):
    with pytest.raises(SystemExit) as end:
        evaluate.main([str(arg) for arg in args])
    text = capsys.readouterr().err
    assert end.value.code == 2 and text.startswith("evaluate.py: error: ") and text.count("\n") == 1, text
    return text


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    needs_onnx()
    file = tmp_path_factory.mktemp("onnx") / "model.onnx"
    command = [sys.executable, "-W", "error", "evaluate.py", "--export", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("\n") == 3, done.stdout + done.stderr
    return file


def test_onnx_gives_the_probabilities_of_predict(onnx_file):
    check(onnx_file, "center")


def test_onnx_resizes_as_pytorch_does(tmp_path):
    needs_onnx()
    evaluate.main(["--export", str(tmp_path / "model.onnx"), "--views", "scales"])
    check(tmp_path / "model.onnx", "scales")


@pytest.mark.parametrize("views", ["ten", "scales"])
def test_pt2_gives_the_probabilities_of_predict(views, tmp_path, capfd):
    done = evaluate.main(["--export", str(tmp_path / "model.pt2"), "--views", views])
    said = capfd.readouterr()
    assert said.err == "" and "largest difference" in said.out and done["difference"] < 1e-5
    check(tmp_path / "model.pt2", views)


def check(file, views):
    """The export of the weights that come with the project is right in any batch, and says what it is."""
    classifier = load_classifier(WEIGHTS)
    wanted = classifier_probabilities(classifier, FACES, views)
    found, about = run(file, FACES)  # two is the batch that was traced
    assert found == pytest.approx(wanted, abs=1e-5) and found.dtype == np.float32
    assert run(file, FACES[:1])[0] == pytest.approx(wanted[:1], abs=1e-5)
    assert np.abs(wanted - classifier_probabilities(classifier, FACES, "flip")).max() > 1e-3  # views do matter
    assert json.loads(about["class_names"]) == list(classifier.class_names)
    assert about["views"] == views and about["selection"] == "selected on PublicTest"
    assert "uint8 (n, 48, 48)" in about["input"]
    (source,) = json.loads(about["checkpoints"])
    assert source["path"] == "weights/small.pt" and source["inputs"] == classifier.inputs
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    with pytest.raises(ValueError, match="it is an ONNX model; give" if file.suffix == ".onnx" else "of torch.export"):
        load_checkpoint(file)


def test_several_checkpoints_are_one_graph(tmp_path, second):
    file = tmp_path / "both.pt2"
    evaluate.main(["--checkpoint", str(WEIGHTS), str(second), "--views", "ten", "--export", str(file)])
    found, about = run(file, FACES)
    seen = [plain.see("LetheSec", plain.ten_crops(torch.from_numpy(face), 40)) for face in FACES]
    weights = torch.load(second, weights_only=True)["model_state_dict"]
    older = torch.stack([plain.run("vgg", 11, weights, x).mean(0) for x in seen]).softmax(1).numpy()
    wanted = (older + classifier_probabilities(load_classifier(WEIGHTS), FACES, "ten")) / 2
    assert found == pytest.approx(wanted, abs=1e-5)
    assert about["selection"] == "selected on PublicTest; selected on PrivateTest"
    assert "LetheSec checkpoint, vgg11" in about["checkpoints"]


def test_a_network_of_timm(tmp_path):
    pytest.importorskip("timm")
    name = "timm:resnet10t"
    inputs = {"size": 48, "crop": 44, "channels": 1, "mean": 0.5, "std": 0.25}
    state = {"format_version": 1, "model_name": name, "model_kwargs": {"dropout": 0.0, "pool": "global"}}
    state |= {"inputs": inputs, "class_names": ["calm", "excited"], "dataset": "mine"}
    save_checkpoint(tmp_path / "best.pt", state | {"model": build_model(name, 2).state_dict()})
    evaluate.main(["--checkpoint", str(tmp_path), "--export", str(tmp_path / "model.pt2")])
    assert run(tmp_path / "model.pt2", FACES)[0].shape == (3, 2)


def readme_block():
    """The README's lines that run a model without this project."""
    blocks, lines = [], []
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("    ") or (lines and not line):
            lines.append(line)
        else:
            blocks, lines = [*blocks, "\n".join(lines)], []
    (block,) = [block for block in blocks if "InferenceSession" in block]
    return textwrap.dedent(block)


def test_the_readmes_lines_run_without_torch(tmp_path, onnx_file):
    (tmp_path / "model.onnx").write_bytes(onnx_file.read_bytes())
    Image.fromarray(FACES[0]).save(tmp_path / "face.png")
    blocked = "import sys; sys.path = [p for p in sys.path if p]; sys.modules['torch'] = None\n"
    command = [sys.executable, "-W", "error", "-c", blocked + readme_block()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    classifier = load_classifier(WEIGHTS)
    wanted = classifier_probabilities(classifier, FACES[:1], "center")[0]
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _ in rows] == list(classifier.class_names)
    assert [float(p.rstrip("%")) / 100 for _, p in rows] == pytest.approx(wanted, abs=1e-3)


# Refusals


@pytest.mark.parametrize("name", export.PACKAGES[".onnx"])
def test_missing_packages_are_named(tmp_path, monkeypatch, capsys, name):
    needs_onnx()
    monkeypatch.setitem(sys.modules, name, None)
    text = fails(capsys, "--export", tmp_path / "model.onnx")
    assert f"needs {name}: python -m pip install {name}\n" in text and not list(tmp_path.iterdir())


def test_other_names_and_folders(tmp_path, capsys):
    assert "the name ends in .onnx or .pt2" in fails(capsys, "--export", tmp_path / "model.tflite")
    assert "there is no folder" in fails(capsys, "--export", tmp_path / "none" / "model.pt2")
    assert "--split is for testing, and --export tests nothing" in fails(capsys, "--export", "a.pt2", "--split", "x")
    assert "not allowed with" in fails(capsys, "--export", "a.pt2", "--convert", "b.pt")


def test_a_file_that_differs_is_not_kept(tmp_path, monkeypatch, capsys):
    (tmp_path / "model.pt2").write_bytes(b"the old one")
    right = export.make_views
    monkeypatch.setattr(export, "make_views", lambda views, **inputs: right(views, **inputs | {"mean": 0.4}))
    assert "differ from PyTorch's by up to" in fails(capsys, "--export", tmp_path / "model.pt2")
    assert (tmp_path / "model.pt2").read_bytes() == b"the old one" and len(list(tmp_path.iterdir())) == 1


def test_a_network_that_cannot_be_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        "models.small.Small.forward",
        lambda self, x: self.linear(x.new_ones(len(x), 192)) if x.sum() > 0 else x,  # a branch on values
    )
    text = fails(capsys, "--export", tmp_path / "model.pt2")
    assert "PyTorch cannot export small to .pt2" in text and not list(tmp_path.iterdir())


def test_other_classes_do_not_mix(tmp_path, capsys):
    other = load_checkpoint(WEIGHTS) | {"class_names": list("abcdefg")}
    save_checkpoint(tmp_path / "best.pt", other)
    text = fails(capsys, "--checkpoint", WEIGHTS, tmp_path, "--export", tmp_path / "model.pt2")
    assert "has other classes or faces than" in text
