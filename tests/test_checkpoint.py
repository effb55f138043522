"""Checkpoints are written whole or not at all, and reading one never runs code."""

import io
import os
import pickle

import pytest
import torch
from torch import nn

from models import checkpoint
from models.checkpoint import NEEDED, load_checkpoint, load_classifier, load_weights, save_checkpoint


def tiny(name="tiny", num_classes=2, in_channels=1, **kwargs):
    assert name == "tiny" and kwargs == {"dropout": 0.1}
    return nn.Sequential(nn.Conv2d(in_channels, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.1), nn.Linear(3, num_classes))


def state(**changes):
    torch.manual_seed(0)
    return {
        "format_version": 1,
        "model_name": "tiny",
        "model_kwargs": {"dropout": 0.1},
        "inputs": {"size": 48, "crop": 44, "channels": 1, "mean": 0.5, "std": 0.25},
        "class_names": ["Happy", "Sad"],
        "dataset": "synthetic",
        "model": tiny(dropout=0.1).state_dict(),
        "epoch": 3,
        "best": {"epoch": 3, "accuracy": 0.5},
        "select_on": "PublicTest",
    } | changes


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "build_model", tiny)
    save_checkpoint(tmp_path / "best.pt", state())
    return tmp_path / "best.pt"


def refusal(path):
    """The one line with which a file is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_there_and_back(path):
    saved, loaded = state(), load_checkpoint(path)
    assert set(loaded) == set(saved) and set(NEEDED) <= set(saved)
    assert all(torch.equal(loaded["model"][name], tensor) for name, tensor in saved.pop("model").items())
    assert all(loaded[key] == value for key, value in saved.items())
    assert os.listdir(path.parent) == ["best.pt"]


def test_classifier_is_ready(path):
    classifier = load_classifier(path)
    assert classifier.class_names == ("Happy", "Sad") and classifier.dataset == "synthetic"
    assert classifier.inputs["crop"] == 44 and classifier.path == str(path)
    assert classifier.info["epoch"] == 3 and classifier.info["select_on"] == "PublicTest"
    assert not classifier.model.training and not any(p.requires_grad for p in classifier.model.parameters())
    assert all(torch.equal(t, state()["model"][name]) for name, t in classifier.model.state_dict().items())


def test_averaged_weights_go_first(path):
    average = {name: torch.full_like(tensor, 2) for name, tensor in state()["model"].items()}
    save_checkpoint(path, state(ema=average))
    assert (load_classifier(path).model[0].weight == 2).all()
    save_checkpoint(path, state(ema=None))
    assert torch.equal(load_classifier(path).model[0].weight, state()["model"]["0.weight"])


def test_half_precision_release(path):
    half = {name: t.half() if t.is_floating_point() else t for name, t in state()["model"].items()}
    save_checkpoint(path, state(model=half))
    model = load_classifier(path).model
    assert model[0].weight.dtype == torch.float32
    assert torch.allclose(model[0].weight, state()["model"]["0.weight"], atol=1e-3)


# Writing


class Unsaveable:
    def __reduce__(self):
        raise RuntimeError("cannot be pickled")


def test_failed_save_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        save_checkpoint(path, state(model=Unsaveable()))
    assert path.read_bytes() == before and os.listdir(path.parent) == ["best.pt"]


def test_interrupted_save_leaves_the_old_file(path, monkeypatch):
    def half(content, file):
        file.write(b"half of it")
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, state())
    assert path.read_bytes() == before and os.listdir(path.parent) == ["best.pt"]


# Refusals


def test_missing_file_names_those_there(path):
    message = refusal(path.with_name("last.pt"))
    assert "train.py" in message and str(path) in message
    assert "train.py" in refusal(path.parent / "nowhere" / "best.pt")


def test_folder(path):
    assert load_checkpoint(path.parent)["epoch"] == load_checkpoint(path)["epoch"]
    other = path.rename(path.with_name("other.pt"))
    assert "has no best.pt and no last.pt; give one of" in refusal(path.parent) and str(other) in refusal(path.parent)


@pytest.mark.parametrize(
    "content", [b"", b"accuracy 0.7\n", b"epoch,lr\n1,0.1\n", b"\x89PNG\r\n\x1a\n" + bytes(500), bytes(40)]
)
def test_another_kind_of_file(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    assert "not a PyTorch checkpoint" in refusal(tmp_path / "x.pt")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.97])
def test_truncated(path, part):
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert "not a PyTorch checkpoint" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_module(tmp_path, zipped):
    model = tiny(dropout=0.1)
    torch.save({"net": model, "acc": 73.1}, tmp_path / "old.t7", _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path / "old.t7")
    assert "pickled Python objects" in message and "state_dict" in message


class Evil:
    def __reduce__(self):
        return (os.mkdir, (os.environ["EVIL_FOLDER"],))


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, monkeypatch, form):
    monkeypatch.setenv("EVIL_FOLDER", str(tmp_path / "evil"))
    if form == "pickle":
        (tmp_path / "x.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    else:
        torch.save(state(recipe=Evil()), tmp_path / "x.pt", _use_new_zipfile_serialization=form == "zip")
    refusal(tmp_path / "x.pt")
    assert not (tmp_path / "evil").exists()


def test_incomplete_and_foreign_content(path):
    incomplete = state()
    del incomplete["inputs"], incomplete["class_names"]
    for content, named in ((incomplete, "inputs, class_names"), ([1, 2], "model"), (torch.zeros(3), "model")):
        torch.save(content, path)
        assert "is not a checkpoint of this project" in refusal(path) and named in refusal(path)


def test_newer_version(path):
    save_checkpoint(path, state(format_version=99))
    assert "format version 99" in refusal(path)


def test_mismatch_is_listed():
    tensors = state()["model"]
    tensors["extra.weight"] = tensors.pop("0.bias")
    tensors["3.weight"] = torch.zeros(7, 3)
    model = tiny(dropout=0.1)
    before = model[0].weight.clone()
    with pytest.raises(ValueError) as error:
        load_weights(model, tensors, "some.pt")
    assert str(error.value) == (
        "some.pt does not fit the network; tensors 1 missing: 0.bias; 1 unexpected: extra.weight;"
        " 1 of another shape: 3.weight is (7, 3), wanted (2, 3)"
    )
    assert torch.equal(model[0].weight, before)  # nothing was loaded by halves
    many = {f"{i:02}": torch.zeros(1) for i in range(100)} | state()["model"]
    with pytest.raises(ValueError, match="tensors 100 unexpected: 00, 01, 02, 03, 04, 05, 06, 07, ...$"):
        load_weights(model, many, "some.pt")


def test_no_byte_of_a_damaged_file_ends_in_a_traceback(path):
    """Flip single bytes all over the file: it loads, or it is refused in one line."""
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error)


def test_plain_buffer_is_the_format(path):
    """Nothing but torch.load with weights_only is needed to read a checkpoint."""
    loaded = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
    assert loaded["class_names"] == ["Happy", "Sad"]
