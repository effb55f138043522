"""Files that people take for checkpoints: each is read, or refused in one line that names it and helps."""

import gzip
import io
import json
import pickle
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from datasets.names import FER2013_CLASSES
from engine.recipes import Recipe
from models import WEIGHTS, safe_tensors
from models.build import build_model
from models.checkpoint import find_checkpoints, load_checkpoint, load_classifier, save_checkpoint, save_release
from models.form import INPUTS


def refusal(path, read=load_checkpoint):
    with pytest.raises((ValueError, OSError)) as error:
        read(path)
    text = str(error.value)
    assert str(path) in text and "\n" not in text and len(text) < 1200, text
    return text


def saved(content, **kwargs):
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


def zipped(members, **kwargs):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **kwargs) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def written(write):
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def keras_h5():
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5.attrs["keras_version"], h5.attrs["backend"] = "3.1", "tensorflow"
        h5["model_weights/dense/kernel"] = np.zeros(3)
    return file.getvalue()


def faces_h5():
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        h5["Training_pixel"] = np.zeros((2, 48, 48), np.uint8)
    return file.getvalue()


def tar_with(name):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def field(number, content):
    """A field of a protobuf message: text or bytes with their length, or a small number."""
    if isinstance(content, int):
        return bytes([number << 3, content])
    return bytes([number << 3 | 2, len(content)]) + content


NODE = field(1, b"input") + field(2, b"Placeholder")
ONNX = field(1, 8) + field(2, b"pytorch") + field(3, b"2.8") + field(7, field(2, b"main_graph"))
CORE_ML = field(1, 7) + field(2, field(1, field(1, b"image") + field(2, b"a picture")))
SAVED_MODEL = field(1, 1) + field(2, field(1, field(2, field(1, field(1, b"Add"))) + field(4, b"serve")))

# What a file holds, and what is said of it
FILES = {
    "empty": (b"", "it is empty; fetch it again"),
    "login page": (
        b"\n <!DOCTYPE html><html><body>Sign in</body></html>",
        "it is a web page, perhaps one that asks",
    ),
    "error of a server": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "run: git lfs pull"),
    "text": (b"Entry not found", 'it is text ("Entry not found"); give a checkpoint that train.py wrote'),
    "table": (b"epoch,lr\n1,0.1\n", 'it is text ("epoch,lr")'),
    "Keras, HDF5": (keras_h5(), "it is a network of Keras (HDF5)"),
    "faces": (faces_h5(), "it is an HDF5 file: faces, or a network of another library; faces are given with --data"),
    "Keras": (
        zipped({"metadata.json": "{}", "config.json": "{}", "model.weights.h5": b""}),
        "a network of Keras (.ke",
    ),
    "TensorFlow Lite": (
        b"\x1c\0\0\0TFL3" + bytes(40),
        "it is a network of TensorFlow Lite; give the PyTorch",
    ),
    "frozen graph": (field(1, NODE), "it is a frozen graph of TensorFlow"),
    "SavedModel": (SAVED_MODEL, "it is a SavedModel of TensorFlow"),
    "Core ML": (CORE_ML, "it is a Core ML model; give the PyTorch checkpoint that it was made from"),
    "ONNX": (ONNX, "it is an ONNX model; give the PyTorch checkpoint that it was made from"),
    "ONNX without a producer": (field(1, 8) + field(7, field(2, b"main_graph")), "it is an ONNX model"),
    "npy": (written(lambda file: np.save(file, np.zeros(3))), "it is an array of NumPy"),
    "npz": (written(lambda file: np.savez(file, w=np.zeros(3))), "it is arrays of NumPy (.npz)"),
    "zip": (
        zipped({"runs/a/best.pt": b"x"}),
        "it is a zip archive with runs/a/best.pt in it; unpack it: python -m",
    ),
    "another zip": (zipped({"a.txt": b"x"}), "it is a zip archive without a checkpoint in it"),
    "tar": (tar_with("best.pt"), "it is a tar archive; unpack it: python -m tarfile -e"),
    "gzip": (gzip.compress(b"x"), 'it is compressed (gzip); unpack it: python -c "'),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(50), "it is an image; visualize.py takes it as --image"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="x"></net>', "it is a network of OpenVINO"),
    "rar": (b"Rar!\x1a\x07" + bytes(99), "it is an archive of another kind than zip; unpack it"),
    "xz": (b"\xfd7zXZ\0" + bytes(99), "it is an archive of another kind than zip; unpack it"),
    "film": (b"\0\0\0\x18ftypisom" + bytes(60), "it is a film or a picture"),
    "GGUF": (b"GGUF" + bytes(90), "it is a network of GGML or TensorRT"),
    "document": (b"%PDF-1.4\n%\xe2\xe3", "it is a document or a program"),
    "other bytes": (bytes(range(40, 250)), "is truncated or not a PyTorch checkpoint"),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ["best.pt", "model.onnx"])
def test_a_file_is_named_by_its_content(tmp_path, kind, name):
    content, wanted = FILES[kind]
    (tmp_path / name).write_bytes(content)
    text = refusal(tmp_path / name)
    assert wanted in text and "not a PyTorch checkpoint" in text


def test_scikit_learn(tmp_path):
    from sklearn.dummy import DummyClassifier

    for protocol in (2, 4, 5):
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(DummyClassifier(), protocol))
        assert "it is a pickled object of scikit-learn" in refusal(tmp_path / "model.pkl")
    joblib = pytest.importorskip("joblib")
    joblib.dump({"w": np.zeros(3)}, tmp_path / "model.pkl")
    assert "it is a file of joblib" in refusal(tmp_path / "model.pkl")
    joblib.dump({"w": np.zeros(3)}, tmp_path / "model.pkl", compress=3)
    assert "it is a compressed file, as joblib writes" in refusal(tmp_path / "model.pkl")


def test_folders(tmp_path):
    for name, wanted in {"saved_model.pb": "a SavedModel", "Manifest.json": "a Core ML package"}.items():
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_bytes(SAVED_MODEL)
        assert wanted in refusal(folder) and wanted in refusal(folder, find_checkpoints)


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_anywhere(tmp_path, zipped):
    whole = saved({"net": {"conv1.weight": torch.ones(40)}}, _use_new_zipfile_serialization=zipped)
    for end in [1, 2, 3, 5, 9, 20, *range(40, len(whole), len(whole) // 23)]:
        (tmp_path / "x.pt").write_bytes(whole[:end])
        text = refusal(tmp_path / "x.pt")
        assert "is truncated or not a PyTorch checkpoint" in text and text.endswith("; fetch it again"), (end, text)


# Advice that is a command


@pytest.fixture
def obey(tmp_path, monkeypatch):
    """Run the command that ends a refusal, in an empty folder, as its reader would."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")  # a command may set it, and it is put back here
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(text):
        words = shlex.split(re.search(r'python (-c ".*"|-m \w+ .*)$', text)[0])
        if words[1] == "-c":
            exec(words[2], {})
        else:
            subprocess.run([sys.executable, *words[1:]], check=True)
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0")
        return tmp_path / "here"

    return run


def small(classes=7, channels=1):
    torch.manual_seed(0)
    return build_model("small", classes, channels).eval()


def same(path, model):
    found = load_classifier(path).model.state_dict()
    return all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.jit")
def test_torchscript(tmp_path, capfd, recwarn, obey):
    model, path = small(), tmp_path / "script 1.pt"
    torch.jit.trace(model, torch.zeros(1, 1, 44, 44)).save(path)
    capfd.readouterr(), recwarn.clear()
    text = refusal(path)
    assert "it is a TorchScript program; where it is trusted, keep its tensors: python -c" in text
    assert capfd.readouterr().err == "" and not recwarn.list
    assert same(obey(text) / "tensors-script 1.pt", model)


@pytest.mark.parametrize("name", ["a b.zip", "it's.zip"])
def test_a_zip_of_a_checkpoint(tmp_path, obey, name):
    model = small()
    (tmp_path / name).write_bytes(zipped({"run/best.pt": saved(model.state_dict())}, compression=zipfile.ZIP_DEFLATED))
    assert same(obey(refusal(tmp_path / name)) / f"unpacked-{name}" / "run" / "best.pt", model)


def test_a_tar_or_gzip_of_a_checkpoint(tmp_path, obey):
    model, path = small(), tmp_path / "x.tar"
    torch.save(model.state_dict(), tmp_path / "best.pt")
    with tarfile.open(path, "w") as archive:
        archive.add(tmp_path / "best.pt", "best.pt")
    assert same(obey(refusal(path)) / "unpacked-x.tar" / "best.pt", model)
    (tmp_path / "x.pt").write_bytes(gzip.compress((tmp_path / "best.pt").read_bytes()))
    assert same(obey(refusal(tmp_path / "x.pt")) / "unpacked-x.pt", model)


def test_an_unpacked_checkpoint(tmp_path, obey):
    model, folder = small(), tmp_path / "best"
    torch.save(model.state_dict(), tmp_path / "best.pt")
    with zipfile.ZipFile(tmp_path / "best.pt") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "best.pt").unlink()
    obey(refusal(folder))
    assert same(tmp_path / "best.pt", model)


@pytest.mark.filterwarnings("ignore:.*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
@pytest.mark.parametrize(
    "write", [torch.save, lambda model, path: path.write_bytes(pickle.dumps(model.state_dict(), 4))]
)
def test_the_line_that_keeps_the_tensors(tmp_path, obey, write):
    model, path = small(), tmp_path / "model.pt"
    write(model, path)
    text = refusal(path)
    assert "would run code" in text
    assert same(obey(text) / "tensors-model.pt", model)


# Networks without what train.py writes beside them


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_in_our_own_form(tmp_path, prefix):
    state, model = load_checkpoint(WEIGHTS), small()
    state["model"] = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    save_checkpoint(tmp_path / "x.pt", state)
    assert same(tmp_path / "x.pt", model)


def test_a_bare_state_dict_says_what_was_assumed(tmp_path):
    for classes, names in ((7, FER2013_CLASSES), (3, ("class 0", "class 1", "class 2"))):
        model = small(classes)
        wrapped = nn.DataParallel(model).cpu().state_dict()  # it takes the network to a GPU
        contents = [model.state_dict(), {"state_dict": wrapped, "epoch": 3}, {"model": wrapped}, {"net": wrapped}]
        for content in contents:
            torch.save(content, tmp_path / "x.pt")
            classifier = load_classifier(tmp_path / "x.pt")
            assert same(tmp_path / "x.pt", model) and classifier.class_names == names
            said = classifier.info["origin"]
            assert said.startswith(f"state_dict of small, 1 channel, {classes} outputs; assumed: ")
            assert "(pixel / 255 - 0.508) / 0.255, crop 44" in said
    torch.save(build_model("vgg11").state_dict(), tmp_path / "x.pt")
    assert load_classifier(tmp_path / "x.pt").info["model_name"] == "vgg11"


def test_the_assumed_inputs_are_those_of_training():
    recipe = Recipe()
    assert INPUTS == {"size": 48, "crop": recipe.crop, "channels": 1, "mean": recipe.mean, "std": recipe.std}


# safetensors


def header(entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def test_safetensors_there_and_back(tmp_path):
    state = load_checkpoint(WEIGHTS)
    save_release(tmp_path / "x.safetensors", state)
    again = load_checkpoint(tmp_path / "x.safetensors")
    assert {key: value for key, value in again.items() if key != "model"} == {
        key: value for key, value in state.items() if key != "model"
    }
    for name, tensor in state["model"].items():
        assert torch.equal(again["model"][name], tensor) and again["model"][name].dtype == tensor.dtype
    library = pytest.importorskip("safetensors.torch")
    theirs = library.load_file(tmp_path / "x.safetensors")
    assert all(torch.equal(theirs[name], tensor) for name, tensor in state["model"].items())


def test_safetensors_of_others(tmp_path):
    library = pytest.importorskip("safetensors.torch")
    model = small()
    library.save_file(model.state_dict(), tmp_path / "x.pt", {"format": "pt"})  # told by its content
    assert same(tmp_path / "x.pt", model) and "assumed" in load_classifier(tmp_path / "x.pt").info["origin"]
    older = build_model("vgg11", 7, 3)
    library.save_file(older.state_dict(), tmp_path / "PrivateTest_model.safetensors")
    classifier = load_classifier(tmp_path / "PrivateTest_model.safetensors")
    assert classifier.info["origin"].startswith("WuJie1010 checkpoint, vgg11")
    assert classifier.info["select_on"] == "PrivateTest"


FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HOSTILE = {
    "giant length": header(b'{"w":' + b" " * 99, length=2**31),
    "cut": header({"w": FOUR}, bytes(2)),
    "not JSON": header(b"{" + bytes(40)),
    "no table": header(b"{}" * 20),
    "brackets": header(b'{"a":' * 50_000),
    "overlap": header({"a": FOUR, "b": FOUR}, bytes(4)),
    "gap": header({"a": FOUR, "b": FOUR | {"data_offsets": [8, 12]}}, bytes(12)),
    "beyond": header({"a": FOUR | {"data_offsets": [10**12, 10**12 + 4]}}, bytes(4)),
    "backwards": header({"a": FOUR | {"data_offsets": [4, 0]}}, bytes(4)),
    "huge shape": header({"a": FOUR | {"shape": [10**9, 10**9]}}, bytes(4)),
    "huge number": header(b'{"a":{"dtype":"F32","shape":[1' + b"0" * 5000 + b'],"data_offsets":[0,4]}}', bytes(4)),
    "negative": header({"a": FOUR | {"shape": [-1]}}, bytes(4)),
    "no shape": header({"a": FOUR | {"shape": "1"}}, bytes(4)),
    "truth": header({"a": FOUR | {"shape": [True]}}, bytes(4)),
    "dtype": header({"a": FOUR | {"dtype": "F7"}}, bytes(4)),
    "dtype, no text": header({"a": FOUR | {"dtype": []}}, bytes(4)),
    "no entry": header({"a": 3}, bytes(4)),
    "twice": header(b'{"a":%s,"a":%s}' % ((json.dumps(FOUR).encode(),) * 2), bytes(4)),
    "left over": header({"a": FOUR}, bytes(44)),
    "metadata": header({"a": FOUR, "__metadata__": {"format": 3}}, bytes(4)),
    "metadata, no JSON": header({"a": FOUR, "__metadata__": {"checkpoint": "{"}}, bytes(4)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_safetensors(tmp_path, kind):
    (tmp_path / "x.safetensors").write_bytes(HOSTILE[kind])
    assert "is truncated or not of safetensors" in refusal(tmp_path / "x.safetensors")


def test_safetensors_of_another_network(tmp_path):
    safe_tensors.write(tmp_path / "x.safetensors", {"encoder.weight": torch.zeros(3)}, {})
    assert "is not a checkpoint of this project" in refusal(tmp_path / "x.safetensors")
    assert "it has encoder.weight" in refusal(tmp_path / "x.safetensors")


# Hostile checkpoints


def giant(*shape):
    return torch.zeros(1).expand(*shape)


def recursive():
    table = {}
    table["self"] = table
    return table


def with_inputs(**changes):
    return {"inputs": INPUTS | changes}


WRONG = {
    "class_names": [
        3,
        None,
        "abc",
        [],
        ["a", "a"],
        ["a", 3],
        ["x"] * 1_000_000,
        ["a\x1b[2J", "b"],
        ["a" * 5000, "b"],
    ],
    "inputs": [3, {}, [1], INPUTS | {"more": 1}, recursive()],
    "model_name": [3, None, ["small"], "a\nb", recursive()],
    "model_kwargs": [
        3,
        {"dropout": "x"},
        {"dropout": -1},
        {"pool": 3},
        {"checkpoint_path": "/"},
        recursive(),
    ],
    "model": [3, [], {}, {"w": 3}, {3: torch.zeros(1)}, recursive()],
    "ema": [3, {"w": 3}, recursive()],
    "format_version": ["1", None, 99, -1, True, torch.ones(2), 1.0],
    "dataset": [3, None, ["a"]],
    "epoch": ["x", recursive()],
    "best": [3, {"epoch": "x"}, recursive()],
    "fold": [3, {}, {"number": -1, "folds": 10, "protocol": "subject"}],
    "ancestors": [3, [3], [recursive()]],
    "select_on": [3, recursive()],
    "origin": [3, "\x1b[2J"],
}


def fields():
    for key, values in WRONG.items():
        yield from (({key: value}, f"{key}-{i}") for i, value in enumerate(values))
    for key, values in {
        "size": [-48, 0, 10**9, 48.0, "48", None],
        "crop": [-44, 0, 49, 10**9, True],
        "channels": [0, -1, 10**9, "1"],
        "mean": ["0", float("nan"), None],
        "std": [0, -1, float("nan"), float("inf")],
    }.items():
        yield from ((with_inputs(**{key: value}), f"{key}-{value}") for value in values)


@pytest.mark.parametrize("changes", [pytest.param(change, id=name) for change, name in fields()])
def test_a_wrong_value_under_a_right_key(tmp_path, changes):
    save_checkpoint(tmp_path / "x.pt", load_checkpoint(WEIGHTS) | changes)
    text = refusal(tmp_path / "x.pt", load_classifier)
    key = next(iter(changes)).replace("format_version", "format version")
    assert key in text and text.isprintable()


def some_model(**changes):
    return {"model": load_checkpoint(WEIGHTS)["model"] | changes}


TENSORS = {
    "NaN": (some_model(**{"bn1.bias": torch.full((24,), float("nan"))}), "holds NaN or infinity in bn1.bias"),
    "infinity": (some_model(**{"linear.bias": torch.full((7,), float("inf"))}), "holds NaN or infinity in linear.bias"),
    "giant": (some_model(**{"conv1.weight": giant(24, 10**9, 3, 3)}), "declares 86"),
    "giant classes": (some_model(**{"linear.weight": giant(10**9, 192)}), "declares 76"),
    "sparse": (some_model(**{"linear.bias": torch.zeros(7).to_sparse()}), "no plain tensor"),
    "meta": (some_model(**{"linear.bias": torch.zeros(7, device="meta")}), "no plain tensor"),
    "other shape": (some_model(**{"linear.bias": torch.zeros(8)}), "linear.bias is (8,), wanted (7,)"),
    "complex": (some_model(**{"linear.bias": torch.zeros(7, dtype=torch.complex64)}), "no plain tensor"),
}


class Block:
    """Asks for memory when it is unpickled."""

    def __reduce__(self):
        return bytearray, (3 << 30,)


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_no_weights(tmp_path, kind):
    changes, wanted = TENSORS[kind]
    save_checkpoint(tmp_path / "x.pt", load_checkpoint(WEIGHTS) | changes)
    assert wanted in refusal(tmp_path / "x.pt", load_classifier)


def test_memory_is_bounded_by_the_file(tmp_path):
    files = {kind: saved(load_checkpoint(WEIGHTS) | TENSORS[kind][0]) for kind in ("giant", "giant classes")}
    files["block"] = saved({"recipe": Block()})
    files["packed"] = zipped(
        {"x/data.pkl": b"", "0": bytes(400 << 20)}, compression=zipfile.ZIP_DEFLATED, compresslevel=1
    )
    for name, content in files.items():
        (tmp_path / f"{name}.pt").write_bytes(content)
    code = """import resource, sys
from models.checkpoint import load_classifier
load_classifier(sys.argv[1])
peaks = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]
for path in sys.argv[2:]:
    try: load_classifier(path)
    except ValueError: peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(*peaks)"""
    paths = [WEIGHTS, *sorted(tmp_path.iterdir())]
    done = subprocess.run([sys.executable, "-c", code, *paths], cwd=WEIGHTS.parents[1], capture_output=True, text=True)
    peaks = [int(peak) / 1024 for peak in done.stdout.split()]  # megabytes
    assert len(peaks) == 1 + len(files) and peaks[-1] - peaks[0] < 60, done


def test_timm_takes_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("timm")
    for name in ("timm:hf-hub:someone/network", "timm:local-dir:/", "timm:nonsense"):
        save_checkpoint(tmp_path / "x.pt", load_checkpoint(WEIGHTS) | {"model_name": name})
        with pytest.raises(ValueError, match="timm has no network"):
            load_classifier(tmp_path / "x.pt")
