"""Checkpoints of two older repositories in the project's own form, so that they give the numbers they are known for.

| | WuJie1010, Facial-Expression-Recognition.Pytorch | LetheSec, Fer2013-Facial-Emotion-Recognition-Pytorch |
|---|---|---|
| weights | under `net`; some CK+ files are the bare state_dict | under `model_state_dict` |
| input | 3 equal channels of pixel / 255 | 1 channel of pixel / 255 / 255: ToTensor, then Normalize with std 255 |
| crop | 44, so that ResNet's last map is 6x6 | 40, so that it is 5x5 |
| dropout | 0.5 before the classifier | none |
| accuracy | percent | fraction |

Their VGGs and ResNets are those of this package with `pool="avg4"`, and name their tensors alike.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from datasets.names import CLASS_NAMES, FOLDS
from models import MODELS
from models.build import build_model
from models.form import INPUTS, MOST_CLASSES, NEEDED, PREFIXES, is_weights

NETWORKS = ("vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50")
TORCHVISION_HEADS = ("fc.weight", "classifier.6.weight")  # of ResNets and VGGs; timm has the former too
FAINT = 1e-4  # variance of the first convolution's output by its weights' squares: 0.01 to 1, in LetheSec's below 1e-5


@dataclass(frozen=True)
class Form:
    """How a repository keeps its weights and what it feeds them."""

    key: str
    channels: int
    crop: int
    std: float
    dropout: float
    input: str
    percent: float  # of its accuracies


FORMS = {
    "WuJie1010": Form("net", 3, 44, 1.0, 0.5, "3 equal channels of pixel / 255", 100),
    "LetheSec": Form("model_state_dict", 1, 40, 255.0, 0.0, "1 channel of pixel / 255 / 255", 1),
}

# Both repositories keep the epoch that is best on what they test. WuJie1010 writes a file for each split, and the first
# of these keys that is there tells which; where there is none, the file's name may.
BY_KEY = {
    "best_PrivateTest_acc": ("fer2013", "PrivateTest"),
    "best_PublicTest_acc": ("fer2013", "PublicTest"),
    "best_Test_acc": ("ckplus", "its test fold"),
}
BY_NAME = {
    r"private_?test": ("fer2013", "PrivateTest"),
    r"public_?test": ("fer2013", "PublicTest"),
    r"\btest_model": ("ckplus", "its test fold"),
}


@dataclass
class Selection:
    """What a file was trained on, which epoch it is and what selected that."""

    dataset: str
    select_on: str | None  # None: not known
    known_by: str
    epoch: int | None = None  # as the file counts: WuJie1010 from 0, LetheSec from 1
    accuracy: float | None = None
    fold: int | None = None


def adapt(raw: Mapping, path: str | Path) -> dict[str, Any] | None:
    """Return what was read from a file of either repository as a checkpoint of this project, else None.

    raw: the file's content. path: where it comes from; its name tells what the content does not.
    The first convolution stays as it is: summed over its equal channels it would cost less, but round differently.
    The result's `origin` says in words what was recognised and assumed.
    Raises ValueError for weights that are no such network, or not of these classes.
    """
    name = recognise(raw)
    if name is None:
        return _bare(raw, path)
    form, raw = FORMS[name], {_text(key): value for key, value in raw.items()}
    tensors = clean(raw.get(form.key, raw), f"{path}: {form.key if form.key in raw else 'the file'}")
    _refuse_torchvision(tensors, path)
    network = architecture(tensors)
    if network is None and (bare := _bare(tensors, path)):
        return bare  # of a network that only this project has
    if network is None:
        some = ", ".join(list(tensors)[:4])
        raise ValueError(f"{path} ({name}) holds no network of {', '.join(NETWORKS)}; its tensors: {some}, ...")
    first, last = ("features.0", "classifier") if network.startswith("vgg") else ("conv1", "linear")
    found = _size(tensors, f"{first}.weight", 1, form.channels)
    if found != form.channels:
        raise ValueError(
            f"{path}: input channels {found}; networks of WuJie1010 have 3, and those of LetheSec, whose weights are"
            " under model_state_dict, have 1: how these pixels are to be scaled is not known"
        )
    selection = read_selection(name, raw, Path(path))
    names = list(CLASS_NAMES[selection.dataset])
    outputs = _size(tensors, f"{last}.weight", 0, len(names))
    if outputs != len(names):
        raise ValueError(f"{path}: the network has {outputs} outputs; {selection.dataset} has {len(names)} classes")
    for tensor in expected(network):
        if tensor.endswith(".num_batches_tracked"):  # PyTorch before 0.4.1 had none
            tensors.setdefault(tensor, torch.zeros((), dtype=torch.int64))
    state = {
        "format_version": 1,
        "model_name": network,
        "model_kwargs": {"dropout": form.dropout, "pool": "avg4"},
        "inputs": {"size": 48, "crop": form.crop, "channels": found, "mean": 0.0, "std": form.std},
        "class_names": names,
        "dataset": selection.dataset,
        "model": tensors,
        "epoch": selection.epoch,
        "select_on": selection.select_on,
        "origin": f"{name} checkpoint, {network}, {form.input}, crop {form.crop}; {_in_words(selection)}",
    }
    if selection.select_on and selection.accuracy is not None:
        state["best"] = {"epoch": selection.epoch, "accuracy": selection.accuracy / form.percent}
    if selection.fold:
        state["fold"] = {"number": selection.fold, "folds": FOLDS, "protocol": "frame"}
    return state


def recognise(raw: Mapping) -> str | None:
    """Return the name in FORMS of the repository that made a file with this content, or None."""
    keys = {_text(key) for key in raw}
    for name, form in FORMS.items():
        if form.key in keys:
            return name
    if not is_weights(raw) and not is_weights({_text(key): value for key, value in raw.items()}):
        return None
    tensors = clean(raw, "")
    first, norm = ("conv1", "bn1") if "conv1.weight" in tensors else ("features.0", "features.1")
    channels = _size(tensors, f"{first}.weight", 1, 0)
    if channels == 3 and network_of(tensors) is None:
        return "WuJie1010"
    variance = tensors.get(f"{norm}.running_var")
    if channels == 1 and variance is not None and architecture(tensors):
        power = tensors[f"{first}.weight"].double().square().flatten(1).sum(1)
        if variance.shape == power.shape and (variance.double() / power).median() < FAINT:
            return "LetheSec"
    return None


def network_of(tensors: Mapping[str, torch.Tensor]) -> tuple[str, int, int] | None:
    """Return the name, channels and number of classes of the network here that has exactly these tensors, or None.

    VGGs and ResNets of three channels are WuJie1010's, and not meant.
    """
    last = "linear" if "linear.weight" in tensors else "classifier"
    first = "conv1" if "conv1.weight" in tensors else "features.0"
    channels, classes = _size(tensors, f"{first}.weight", 1, 0), _size(tensors, f"{last}.weight", 0, 0)
    if not (channels in (1, 3) and 1 <= classes <= MOST_CLASSES):
        return None
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    fits = (name for name in MODELS if expected(name, channels, classes) == shapes)
    network = next(fits, None)
    return (network, channels, classes) if network and (channels == 1 or network not in NETWORKS) else None


def _bare(raw: Mapping, path: str | Path) -> dict[str, Any] | None:
    """A state_dict of one of the networks here as a checkpoint, or None for other content."""
    key = "model" if [key for key in NEEDED if key in raw] == ["model"] else "state_dict"
    weights = raw.get(key, raw)
    tensors = clean(weights, str(path)) if is_weights(weights) else {}
    _refuse_torchvision(tensors, path)
    found = network_of(tensors)
    if found is None:
        return None
    network, channels, classes = found
    names = CLASS_NAMES["fer2013"] if classes == 7 else [f"class {number}" for number in range(classes)]
    inputs = INPUTS | {"channels": channels}
    scale = f"(pixel / 255 - {inputs['mean']}) / {inputs['std']}"
    return {
        "format_version": 1,
        "model_name": network,
        "model_kwargs": {"dropout": 0.0, "pool": "global"},
        "inputs": inputs,
        "class_names": list(names),
        "dataset": "fer2013" if classes == 7 else "unknown",
        "model": tensors,
        "select_on": None,
        "origin": f"state_dict of {network}, {channels} channel{'s' * (channels > 1)}, {classes} outputs; assumed: "
        f"{'classes of fer2013' if classes == 7 else 'no names of classes'}, {scale}, crop {inputs['crop']}, global"
        " pooling; what selected the epoch is not recorded",
    }


def _refuse_torchvision(tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    head = next((head for head in TORCHVISION_HEADS if head in tensors), None)
    if head:
        raise ValueError(
            f"{path} holds a network of torchvision's form (its classifier is {head}), which is for pictures of 224"
            " pixels; those here are for faces of 48 pixels and built differently. Give a checkpoint that train.py"
            " wrote, or one of the older repositories that README.md names"
        )


def clean(weights: Any, source: str) -> dict[str, torch.Tensor]:
    """Return the tensors by their plain names: text, and without what DataParallel and compiling put in front."""
    if not isinstance(weights, Mapping):
        raise ValueError(f"{source} is of type {type(weights).__name__}; a state_dict (names and tensors) is wanted")
    tensors = {_text(name): value for name, value in weights.items()}
    odd = [name for name, value in tensors.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))]
    if odd:
        raise ValueError(f"{source} has more than names and tensors: {odd[0]!r} is {type(tensors[odd[0]]).__name__}")
    front = re.compile("^(" + "|".join(map(re.escape, PREFIXES)) + ")+")
    return {front.sub("", name): tensor for name, tensor in tensors.items()}


def architecture(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Return the network of NETWORKS whose tensors, by name and shape, differ least; None if half of them differ."""
    there = {(name, tuple(t.shape)) for name, t in tensors.items() if not name.endswith(".num_batches_tracked")}
    wanted = {
        network: {item for item in expected(network).items() if not item[0].endswith(".num_batches_tracked")}
        for network in NETWORKS
    }
    best = min(NETWORKS, key=lambda network: len(wanted[network] ^ there))
    return best if len(wanted[best] & there) > len(wanted[best]) / 2 else None


@cache
def expected(network: str, channels: int = 3, classes: int = 7) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of a network by its name; allocates nothing."""
    with torch.device("meta"):
        model = build_model(network, num_classes=classes, in_channels=channels)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def read_selection(name: str, raw: Mapping[str, Any], path: Path) -> Selection:
    """Return what the keys, else the names of the file and its folder, tell about the training of these weights."""
    path = path.absolute()
    if name == "LetheSec":
        selection = Selection("fer2013", "PrivateTest", "as in that repository")
        if re.fullmatch(r"checkpoint_\d+\.tar", path.name):  # written every tenth epoch
            selection = Selection("fer2013", None, "its name: one of every ten epochs")
        selection.epoch, selection.accuracy = _number(raw.get("epoch")), _number(raw.get("best_acc"))
        return selection
    key = next((key for key in BY_KEY if key in raw), None)
    pattern = next((pattern for pattern in BY_NAME if re.search(pattern, path.name, re.IGNORECASE)), None)
    if key:
        selection = Selection(*BY_KEY[key], "its keys say so")
    elif pattern:
        selection = Selection(*BY_NAME[pattern], "going by its name")
    elif any("ck+" in folder.lower() for folder in path.parts[-3:-1]):
        selection = Selection("ckplus", "its test fold", "going by its folder")
    else:
        selection = Selection("fer2013", None, "assumed")
    selection.epoch = _number(raw.get(f"{key}_epoch", raw.get("epoch")))
    selection.accuracy = _number(raw.get(key or "acc"))
    number = path.parent.name  # CK+_VGG19/3/Test_model.t7
    if selection.dataset == "ckplus" and number.isdecimal() and 1 <= int(number) <= FOLDS:
        selection.fold, selection.select_on = int(number), f"fold {int(number)}"
        selection.known_by += ", the fold by its folder"
    return selection


def _in_words(selection: Selection) -> str:
    if selection.select_on is None:
        return f"classes of {selection.dataset} ({selection.known_by}), what selected the epoch is not recorded"
    return f"classes of {selection.dataset}, epoch selected on {selection.select_on} ({selection.known_by})"


def _text(key: Any) -> Any:
    return key.decode("latin-1") if isinstance(key, bytes) else key  # Python 2's strings


def _size(tensors: Mapping[str, torch.Tensor], name: str, dim: int, default: int) -> int:
    """Size of a tensor's dimension; `default` where it is missing or has too few, which `load_weights` reports."""
    return tensors[name].shape[dim] if name in tensors and tensors[name].dim() > dim else default


def _number(value: Any) -> int | float | None:
    """A plain number; PyTorch since 0.4 made tensors of some."""
    if isinstance(value, torch.Tensor) and value.numel() == 1 and value.device.type == "cpu":
        value = value.item()
    return value if isinstance(value, int | float) else None
