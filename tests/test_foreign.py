"""Checkpoints of older repositories give the logits of those repositories, whatever wrote the file."""

from collections import OrderedDict

import numpy as np
import plain_networks as plain
import pytest
import python2
import torch
import torchvision

from datasets.names import CKPLUS_CLASSES, FER2013_CLASSES
from datasets.views import make_views
from engine.predict import predict
from models import WEIGHTS
from models.build import build_model
from models.checkpoint import (
    NEEDED,
    load_checkpoint,
    load_classifier,
    release,
    save_checkpoint,
    start_from,
)
from models.older_formats import NETWORKS, adapt, architecture, expected, read_selection, recognise

KEYS = {"WuJie1010": "net", "LetheSec": "model_state_dict"}
CROPS = {"WuJie1010": 44, "LetheSec": 40}


def faces(n, seed=0):
    """uint8 (n, 48, 48): squares, and noise on them."""
    rng = np.random.default_rng(seed)
    squares = np.kron(rng.integers(0, 220, (n, 6, 6)), np.ones((8, 8), int))
    return torch.as_tensor((squares + rng.integers(0, 36, squares.shape)).astype(np.uint8))


def random_weights(repository, family, depth, **kwargs):
    crop = CROPS[repository]
    x = plain.see(repository, faces(2, seed=1)[:, :crop, :crop])
    return plain.draw(family, depth, x.shape[1], x, **kwargs)


@pytest.fixture(scope="module")
def vgg11():
    return random_weights("WuJie1010", "vgg", 11)


@pytest.fixture(scope="module")
def resnet18():
    return random_weights("LetheSec", "resnet", 18)


def in_float64(path):
    """The classifier of a file, so that rounding does not hide a small mistake."""
    classifier = load_classifier(path)
    classifier.model.double()
    return classifier


def exact_views(classifier, name):
    """The classifier's views in float64."""
    inputs = classifier.inputs
    views = make_views(name, inputs["crop"], inputs["channels"])
    return lambda pixels: ((views(pixels).double() * 255).round() / 255 - inputs["mean"]) / inputs["std"]


def assert_equal(logits, wanted, tolerance=1e-6):
    assert wanted.std(0).mean() > 0.05  # the network does look at the faces
    assert (logits - wanted).abs().max() < tolerance * wanted.abs().max()


# The function


@pytest.mark.parametrize(
    "repository, family, depth, n",
    [
        ("WuJie1010", "vgg", 19, 10),
        ("WuJie1010", "resnet", 18, 10),
        ("LetheSec", "resnet", 18, 2),
        ("LetheSec", "resnet", 50, 2),
        ("WuJie1010", "vgg", 11, 2),
        ("LetheSec", "vgg", 16, 2),
        ("WuJie1010", "resnet", 34, 2),
    ],
)
def test_logits_are_those_of_a_plain_implementation(tmp_path, repository, family, depth, n):
    weights = random_weights(repository, family, depth)
    torch.save({KEYS[repository]: weights}, tmp_path / "x")
    classifier = in_float64(tmp_path / "x")
    crop = CROPS[repository]
    corner = (48 - crop) // 2
    seen = plain.see(repository, faces(n)[:, corner : corner + crop, corner : corner + crop])
    assert_equal(
        predict(classifier.model, faces(n), exact_views(classifier, "center")),
        plain.run(family, depth, weights, seen),
    )
    assert classifier.info["model_name"] == f"{family}{depth}" and classifier.inputs["crop"] == crop


@pytest.mark.parametrize("repository, family, depth", [("WuJie1010", "vgg", 11), ("LetheSec", "resnet", 18)])
def test_ten_crop_is_that_of_a_loop_over_crops(tmp_path, repository, family, depth, vgg11, resnet18):
    weights = vgg11 if family == "vgg" else resnet18
    torch.save({KEYS[repository]: weights}, tmp_path / "x")
    classifier = in_float64(tmp_path / "x")
    crops = [plain.ten_crops(face, CROPS[repository]) for face in faces(2)]
    each = torch.stack([plain.run(family, depth, weights, plain.see(repository, crop)) for crop in crops])
    views = make_views("ten", **{key: value for key, value in classifier.inputs.items() if key != "size"})
    for x, crop in zip(views(faces(2)), crops, strict=True):
        assert torch.allclose(x.double(), plain.see(repository, crop), rtol=1e-6, atol=0)  # in this order
    assert_equal(predict(classifier.model, faces(2), exact_views(classifier, "ten")), each.mean(1))
    logits = predict(classifier.model.float(), faces(2), views)
    assert_equal(logits, each.mean(1), tolerance=1e-4)  # as the scripts do it


def test_dividing_once_instead_of_twice_would_be_seen(resnet18):
    once = plain.run("resnet", 18, resnet18, faces(2)[:, None, 4:44, 4:44] / 255)
    twice = plain.run("resnet", 18, resnet18, plain.see("LetheSec", faces(2)[:, 4:44, 4:44]))
    assert (once - twice).abs().max() > 0.1


@pytest.mark.parametrize("converted", [False, True])
def test_training_starts_from_summed_channels_and_rows_by_class_name(tmp_path, vgg11, converted):
    torch.save({"net": vgg11}, tmp_path / "x")
    if converted:
        save_checkpoint(tmp_path / "x", load_checkpoint(tmp_path / "x"))
    model = build_model("vgg11", 7, pool="avg4").eval()
    said, ancestors = start_from(model, tmp_path / "x", CKPLUS_CLASSES)
    assert "WuJie1010 checkpoint, vgg11, 3 equal channels of pixel / 255, crop 44" in said
    assert "3 equal channels summed into one" in said and "fresh: Contempt" in said
    with torch.inference_mode():
        logits = model.double()(faces(4)[:, None, 2:46, 2:46].double() / 255)
    wanted = plain.run("vgg", 11, vgg11, plain.see("WuJie1010", faces(4)[:, 2:46, 2:46]))
    assert_equal(logits[:, :6], wanted[:, :6], tolerance=1e-5)
    with pytest.raises(ValueError, match="x, a checkpoint of --model vgg11, does not fit the network"):
        start_from(build_model("vgg13", 7), tmp_path / "x", FER2013_CLASSES)


def test_another_network_is_said_also_where_the_classes_differ():
    with pytest.raises(ValueError, match="of --model small, .*give --init with the --model of its checkpoint"):
        start_from(build_model("resnet18", 7), WEIGHTS, CKPLUS_CLASSES)


@pytest.mark.parametrize("repository", KEYS)
def test_release_in_half_precision_predicts_alike(tmp_path, repository, vgg11, resnet18):
    torch.save({KEYS[repository]: vgg11 if repository == "WuJie1010" else resnet18}, tmp_path / "x")
    save_checkpoint(tmp_path / "y.pt", release(load_checkpoint(tmp_path / "x")))
    if repository == "LetheSec":  # variances of 1e-7, which half precision could not tell from 0
        assert load_checkpoint(tmp_path / "y.pt")["model"]["bn1.running_var"].dtype == torch.float32
    before, after = (load_classifier(tmp_path / name) for name in ("x", "y.pt"))
    assert (tmp_path / "y.pt").stat().st_size < 0.51 * (tmp_path / "x").stat().st_size
    assert (before.inputs, before.class_names, before.info) == (after.inputs, after.class_names, after.info)
    views = make_views("ten", **{key: value for key, value in before.inputs.items() if key != "size"})
    one, two = (predict(c.model, faces(2), views).softmax(1) for c in (before, after))
    assert (one - two).abs().max() < 5e-3


# The file


def plus_prefixes(weights, *prefixes):
    return {prefixes[i % len(prefixes)] + name: tensor for i, (name, tensor) in enumerate(weights.items())}


def without_counters(weights):
    return {name: tensor for name, tensor in weights.items() if "num_batches" not in name}


FILES = {
    "plain": {},
    "before PyTorch 1.6": {"zipped": False},
    "half": {"change": lambda w: {name: t.half() if t.is_floating_point() else t for name, t in w.items()}},
    "double": {"change": lambda w: {name: t.double() if t.is_floating_point() else t for name, t in w.items()}},
    "parallel": {"change": lambda w: plus_prefixes(w, "module.")},
    "compiled": {"change": lambda w: plus_prefixes(w, "_orig_mod.module.", "module._orig_mod.")},
    "names in bytes": {"change": lambda w: {name.encode(): t for name, t in w.items()}, "key": b"net"},
    "before PyTorch 0.4.1": {"change": without_counters},
    "parameters": {"change": lambda w: {n: torch.nn.Parameter(t, requires_grad=False) for n, t in w.items()}},
    "bare": {"key": None},
    "on a GPU": {"gpu": True},
    "on a GPU, before PyTorch 1.6": {"gpu": True, "zipped": False},
    "Python 2": {"change": without_counters, "python": 2},
}


@pytest.mark.parametrize("kind", FILES)
def test_every_way_to_write_the_same_weights(tmp_path, monkeypatch, vgg11, kind):
    how = {"change": dict, "key": "net", "zipped": True, "gpu": False, "python": 3} | FILES[kind]
    weights = how["change"](vgg11)
    content = weights if how["key"] is None else {how["key"]: weights}
    with monkeypatch.context() as patch:
        if how["gpu"]:
            patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:3")
        if how["python"] == 2:
            content = {"net": OrderedDict(weights), "best_PrivateTest_acc": 73.1}
            python2.save(content, tmp_path / "x")
        else:
            torch.save(content, tmp_path / "x", _use_new_zipfile_serialization=how["zipped"])
    state = load_checkpoint(tmp_path / "x")
    assert set(NEEDED) <= set(state) and state["model_name"] == "vgg11"
    assert set(state["model"]) == set(vgg11) == set(expected("vgg11"))
    for name, tensor in state["model"].items():
        if "num_batches" in name:
            assert tensor == (0 if how["change"] is without_counters else 3)
        elif kind == "half":
            assert torch.allclose(tensor.float(), vgg11[name], rtol=1e-3, atol=1e-6)
        else:
            assert torch.equal(tensor.float(), vgg11[name])


@pytest.mark.parametrize(
    "repository, keys, path, wanted",
    [
        (
            "WuJie1010",
            {
                "best_PublicTest_acc": 71.4,
                "best_PrivateTest_acc": torch.tensor(73.112),
                "best_PublicTest_acc_epoch": 90,
                "best_PrivateTest_acc_epoch": 194,
            },
            "x.t7",
            ("fer2013", "PrivateTest", 194, 73.112, None),
        ),
        ("WuJie1010", {"acc": 71.496, "epoch": 7}, "PublicTest_model.t7", ("fer2013", "PublicTest", 7, 71.496, None)),
        ("WuJie1010", {"acc": 73, "epoch": 7}, "PrivateTest_model.t7", ("fer2013", "PrivateTest", 7, 73, None)),
        ("WuJie1010", {"acc": 71.496, "epoch": 7}, "latest_model.t7", ("fer2013", None, 7, 71.496, None)),
        (
            "WuJie1010",
            {"best_Test_acc": 95.96, "best_Test_acc_epoch": 30},
            "x.t7",
            ("ckplus", "its test fold", 30, 95.96, None),
        ),
        (
            "WuJie1010",
            {"best_Test_acc": 95.96, "best_Test_acc_epoch": 30},
            "10/Test_model.t7",
            ("ckplus", "fold 10", 30, 95.96, 10),
        ),
        ("WuJie1010", {}, "CK+_VGG19/3/Test_model.t8", ("ckplus", "fold 3", None, None, 3)),
        ("WuJie1010", {"acc": 95.0}, "CK+_VGG19/model.t7", ("ckplus", "its test fold", None, 95.0, None)),
        (
            "LetheSec",
            {"epoch": 200, "best_acc": 0.737},
            "best_checkpoint.tar",
            ("fer2013", "PrivateTest", 200, 0.737, None),
        ),
        ("LetheSec", {"epoch": 20, "best_acc": 0.7}, "checkpoint_20.tar", ("fer2013", None, 20, 0.7, None)),
    ],
)
def test_what_chose_the_epoch(tmp_path, repository, keys, path, wanted):
    choice = read_selection(repository, keys, tmp_path / path)
    found = (choice.dataset, choice.select_on, choice.epoch, choice.accuracy, choice.fold)
    assert found[:3] == wanted[:3] and found[4] == wanted[4]
    assert found[3] == (wanted[3] and pytest.approx(wanted[3], abs=1e-5))


def test_the_checkpoint_says_all_that_is_known(tmp_path, vgg11, resnet18):
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    content = {"model_state_dict": resnet18, "epoch": 210, "opt_state_dict": optimizer, "best_acc": 0.737}
    torch.save(content, tmp_path / "best_checkpoint.tar")
    state = load_checkpoint(tmp_path / "best_checkpoint.tar")
    state.pop("model")
    assert state == {
        "format_version": 1,
        "model_name": "resnet18",
        "model_kwargs": {"dropout": 0.0, "pool": "avg4"},
        "inputs": {"size": 48, "crop": 40, "channels": 1, "mean": 0.0, "std": 255.0},
        "class_names": list(FER2013_CLASSES),
        "dataset": "fer2013",
        "epoch": 210,
        "best": {"epoch": 210, "accuracy": 0.737},
        "select_on": "PrivateTest",
        "origin": "LetheSec checkpoint, resnet18, 1 channel of pixel / 255 / 255, crop 40; classes of fer2013, epoch"
        " selected on PrivateTest (as in that repository)",
    }
    content = {"net": vgg11, "best_Test_acc": 95.0, "best_Test_acc_epoch": 9}
    state = adapt(content, "CK+_VGG19/3/Test_model.t7")
    assert state["class_names"] == list(CKPLUS_CLASSES) and state["model_kwargs"]["dropout"] == 0.5
    assert state["fold"] == {"number": 3, "folds": 10, "protocol": "frame"}
    assert state["best"] == {"epoch": 9, "accuracy": pytest.approx(0.95)}
    assert "3 equal channels of pixel / 255, crop 44; classes of ckplus, epoch selected on fold 3" in state["origin"]


def test_every_network_is_told_from_the_others():
    for network in NETWORKS:
        tensors = {name: torch.empty(shape, device="meta") for name, shape in expected(network).items()}
        assert architecture(tensors) == network
        tensors.pop("classifier.weight" if network.startswith("vgg") else "layer3.1.conv2.weight")
        assert architecture(tensors) == network
    assert architecture({}) is None and architecture({"conv1.weight": torch.empty(64, 3, 3, 3)}) is None


def test_our_own_and_other_files_are_left_alone(resnet18):
    assert recognise({}) is None and recognise({"state_dict": {}}) is None
    assert adapt({"model": {}, "format_version": 1}, "x.pt") is None
    assert recognise({"fc.weight": torch.zeros(3)}) is None


def test_a_bare_file_of_pixels_divided_twice_is_told_by_its_statistics(tmp_path, resnet18):
    torch.save(resnet18, tmp_path / "x.tar")
    classifier = load_classifier(tmp_path / "x.tar")
    assert classifier.inputs["std"] == 255 and classifier.info["origin"].startswith("LetheSec checkpoint, resnet18")
    seen = {name: 255**2 * tensor if name == "bn1.running_var" else tensor for name, tensor in resnet18.items()}
    torch.save(seen, tmp_path / "x.tar")  # as if it had seen [0, 1]
    assert load_classifier(tmp_path / "x.tar").info["origin"].startswith("state_dict of resnet18, 1 channel, 7 outputs")


# Refusals


def refusal(path):
    with pytest.raises(ValueError) as error:
        load_classifier(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def refused(path, content):
    torch.save(content, path)
    return refusal(path)


def test_weights_that_do_not_fit(tmp_path, vgg11, resnet18):
    path = tmp_path / "x.t7"
    eight = {"classifier.weight": torch.zeros(8, 512), "classifier.bias": torch.zeros(8)}
    assert "has 8 outputs; fer2013 has 7 classes" in refused(path, {"net": vgg11 | eight})
    wrong = vgg11 | {"features.4.bias": torch.zeros(5), "stn.weight": torch.zeros(2)}
    del wrong["features.8.weight"]
    assert refused(path, {"net": wrong}).endswith(
        "tensors 1 missing: features.8.weight; 1 unexpected: stn.weight; 1 of another shape: features.4.bias is (5,),"
        " wanted (128,)"
    )
    headless = {name: tensor for name, tensor in vgg11.items() if "classifier" not in name}
    assert "2 missing: classifier.weight, classifier.bias" in refused(path, {"net": headless})
    assert "input channels 1; networks of WuJie1010 have 3" in refused(path, {"net": resnet18})
    assert "input channels 3;" in refused(path, {"model_state_dict": vgg11})


def test_torchvisions_networks_are_told_apart(tmp_path):
    path = tmp_path / "resnet18-f37072fd.pth"
    weights = torchvision.models.resnet18().state_dict()
    assert "torchvision's form (its classifier is fc.weight)" in refused(path, weights)
    seven = weights | {"fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}
    assert "torchvision's form" in refused(path, {"model_state_dict": seven})
    gray = weights | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
    assert "torchvision's form" in refused(path, gray) and "torchvision's form" in refused(path, {"state_dict": gray})
    vgg = {"features.0.weight": torch.zeros(64, 3, 3, 3), "classifier.6.weight": torch.zeros(7, 4096)}
    assert "(its classifier is classifier.6.weight), which is for pictures of 224 pixels" in refused(path, vgg)


def test_things_that_are_no_such_weights(tmp_path):
    path = tmp_path / "x.t7"
    dense = {f"dense{i}.conv.weight": torch.zeros(2) for i in range(9)}
    assert "holds no network of vgg11, vgg13" in refused(path, {"net": dense})
    assert "dense0.conv.weight" in refused(path, {"model_state_dict": dense})
    assert "net is of type list" in refused(path, {"net": [1, 2]})
    assert "net has more than names and tensors: 'conv1.weight' is int" in refused(path, {"net": {"conv1.weight": 3}})
    assert "net has more than names and tensors: 3 is Tensor" in refused(path, {"net": {3: torch.zeros(2)}})
    assert "holds no network" in refused(path, {"net": {}})
    assert "no format_version" in refused(path, {"state_dict": 3, "lr": 1}) and "it has state_dict, lr" in refusal(path)
    assert "it holds a list" in refused(path, [3])


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickled_module_and_the_line_that_makes_a_safe_copy(tmp_path, monkeypatch, whole):
    model = build_model("vgg11", 7, 3, pool="avg4")
    path = tmp_path / "PrivateTest_model.t7"
    message = refused(path, model if whole else {"net": model, "acc": np.float64(73.1), "epoch": 3})
    assert "besides tensors (models.vgg.VGG), and loading those would run code" in message
    code = message.split('python -c "')[1].removesuffix('"')
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")  # the line sets it, and it is put back here
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"):
        exec(code, {})
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")
    classifier = load_classifier(tmp_path / "tensors-PrivateTest_model.t7")
    assert classifier.info["select_on"] == "PrivateTest"
    for name, tensor in classifier.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


LUA = b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.Sequential\x03\0\0\0\x02\0\0\0" + bytes(200)


@pytest.mark.parametrize(
    "content, wanted",
    [
        (LUA, "Torch7"),
        (b"4\n1\n3\nV 1\n13\nnn.Sequential\n3\n2\n", "Torch7"),
        (b"<!DOCTYPE html><html><title>Google Drive - Virus scan warning</title>", "web page"),
        (b"not weights\n", "not a PyTorch checkpoint"),
        (b"", "not a PyTorch checkpoint"),
    ],
)
def test_other_files_of_that_name(tmp_path, content, wanted):
    (tmp_path / "x.t7").write_bytes(content)
    assert wanted in refusal(tmp_path / "x.t7")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_truncated(tmp_path, vgg11, zipped, part):
    path = tmp_path / "x.t7"
    few = {name: vgg11[name] for name in list(vgg11)[:12]}
    torch.save({"net": few}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    assert "not a PyTorch checkpoint" in refusal(path)


def test_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no best.pt and no last.pt; train one with"):
        load_classifier(tmp_path)
