"""Checkpoints: one dict of tensors and plain types, written whole or not at all, read without running code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from datasets.names import LAST_EPOCH
from models import safe_tensors
from models.build import build_model
from models.form import NEEDED, check_finite, check_form
from models.older_formats import adapt, clean
from models.reading import read_file
from models.refusals import contents, kind_of_folder
from utils.files import replacing

FORMAT_VERSION = 1
SUFFIXES = (".pt", ".pth", ".safetensors", ".t7", ".t8", ".tar")  # of files that a folder is asked for
NAMED = 8  # tensors that an error names of each kind
ABOUT = ("model_name", "recipe", "epoch", "best", "select_on", "val_views", "fold")  # of the weights, where known
ABOUT += ("origin", "ancestors", "data_sha256", "val_sha256", "options")


@dataclass
class Classifier:
    """A network ready for testing and what must be known to use it.

    inputs: size, crop (pixels), channels, mean, std; the network sees (pixel / 255 - mean) / std.
    info: where the weights come from: model and recipe name, epoch, best metric and the split that selected it.
    """

    model: nn.Module
    class_names: tuple[str, ...]
    dataset: str
    inputs: dict[str, Any]
    path: str
    info: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write `state` beside `path` under a temporary name, flush it to the disk and move it into place."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        torch.save(state, file)


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint, or the best.pt of a run's folder, onto the CPU, without running code that is in it.

    Files of safetensors are read too. Checkpoints of older repositories, and bare state_dicts of the networks here,
    come in the project's own form (models/older_formats.py).
    Raises FileNotFoundError, or ValueError with what was found: a directory, a truncated or foreign file, a
    pickled module, an incomplete or newer checkpoint, one that holds other things than it should.
    """
    path = Path(path)
    if (path / "best.pt").is_file():
        path = path / "best.pt"
    if not path.exists():
        raise FileNotFoundError(f"no checkpoint {path}; train one with: python train.py (or make demo){_nearby(path)}")
    if path.is_dir():
        found = ", ".join(map(str, find_checkpoints(path)))
        raise ValueError(f"{path} is a folder without a best.pt; give one of {found}")
    state = read_file(path)
    missing = [key for key in NEEDED if key not in state] if isinstance(state, dict) else list(NEEDED)
    if missing:
        adapted = adapt(state, path) if isinstance(state, Mapping) else None
        if not adapted:
            raise ValueError(
                f"{path} is not a checkpoint of this project: it has no {', '.join(missing)}{contents(state)}. Give one"
                " that train.py wrote (runs/<name>/best.pt), or one of the older repositories that README.md names"
            )
        state = adapted
    version = state["format_version"]
    if type(version) is not int or version not in range(1, FORMAT_VERSION + 1):
        shown = version if type(version) is int else type(version).__name__
        raise ValueError(f"{path} has format version {shown}; this code reads {FORMAT_VERSION}: update it")
    for key in ("model", "ema"):
        if isinstance(state.get(key), Mapping):
            state[key] = clean(state[key], f"{path}: {key}")
    check_form(state, str(path), path.stat().st_size)
    return state


def find_checkpoints(path: str | Path) -> list[Path]:
    """Return the files that are meant: the file, a run folder's best.pt (else last.pt), or one of each fold in it."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    for name in ("best.pt", "last.pt"):
        if (path / name).is_file():
            return [path / name]
    folds = sorted(path.glob("fold-*/best.pt"))
    if folds:
        return folds
    if wrong := _wrong_folder(path):
        raise wrong
    inside = sorted(str(file.parent) for file in [*path.glob("*/*.pt"), *path.glob("*/*/*.pt")])
    inside += sorted(str(file) for file in path.iterdir() if file.suffix in SUFFIXES)
    todo = f"give one of {', '.join(dict.fromkeys(inside))}" if inside else "train one with: python train.py"
    raise FileNotFoundError(f"{path} has no best.pt and no last.pt; {todo}")


def load_weights(model: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Copy `tensors` into `model`; ValueError where they do not fit."""
    check_fit(model, tensors, source)
    model.load_state_dict(tensors)


def check_fit(model: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise ValueError that counts the missing, unexpected and misshapen `tensors` and names the first."""
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    shapes = [
        f"{name} is {tuple(tensors[name].shape)}, wanted {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    report = [
        f"{len(names)} {kind}: {', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if report:
        raise ValueError(f"{source} does not fit the network; tensors {'; '.join(report)}")


def start_from(model: nn.Module, path: str | Path, class_names: Sequence[str]) -> tuple[str, list[dict[str, Any]]]:
    """Load a checkpoint's weights into a fresh network, the last layer's rows by the names of their classes.

    Classes that the checkpoint does not know keep their random rows. A first convolution of several channels, which
    all see the same gray face, is summed where the network has one.

    Returns what was done, for the log, and the checkpoints that the weights come from, the oldest first: path,
    dataset, selected_on, fold, val_sha256.
    """
    state = load_checkpoint(path)
    tensors = dict(state.get("ema") or state["model"])
    check_finite(tensors, str(path))
    known = list(state["class_names"])
    about = state.get("origin") or f"{state['model_name']}, epoch {state.get('epoch')}"
    said = f"starts from {path} ({about})"
    channels = state["inputs"]["channels"]
    for name, own in model.state_dict().items():
        given = tensors.get(name)
        if channels > 1 and given is not None and given.dim() == 4 and given.shape != own.shape == given[:, :1].shape:
            tensors[name] = given.double().sum(1, keepdim=True).to(own.dtype)
            said += f"; {channels} equal channels summed into one"
    if known != list(class_names):
        last = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
        shared = [name for name in class_names if name in known]
        rows = [known.index(name) for name in shared]
        own_rows = [list(class_names).index(name) for name in shared]
        for name in (f"{last}.weight", f"{last}.bias"):
            if name in tensors and tensors[name].shape == (len(known), *model.state_dict()[name].shape[1:]):
                fresh = model.state_dict()[name].clone()
                fresh[own_rows] = tensors[name][rows].to(fresh.dtype)
                tensors[name] = fresh
        new = [name for name in class_names if name not in known]
        said += f"; classes carried over: {', '.join(shared) or 'none'}" + (f"; fresh: {', '.join(new)}" if new else "")
    try:
        load_weights(model, tensors, f"{path}, a checkpoint of --model {state['model_name']},")
    except ValueError as error:
        raise ValueError(f"{error}; give --init with the --model of its checkpoint") from None
    ancestor = {"path": str(path), "dataset": state["dataset"], "selected_on": selected_on(state)}
    ancestor |= {"fold": state.get("fold"), "val_sha256": state.get("val_sha256")}
    return said, [*state.get("ancestors", []), ancestor]


def selected_on(checkpoint: Mapping[str, Any]) -> str | None:
    """The split that selected the epoch whose weights a checkpoint holds, LAST_EPOCH, or None where nobody knows.

    A split that steers the learning rate has selected the last epoch too.
    """
    best, options = checkpoint.get("best"), checkpoint.get("options") or {}
    last = isinstance(best, dict) and "epoch" in best and best["epoch"] != checkpoint.get("epoch")
    if last and options.get("schedule") != "plateau":
        return LAST_EPOCH
    return checkpoint.get("select_on")


def save_release(path: Path, state: dict[str, Any]) -> None:
    """Write `release(state)`: a path that ends in .safetensors in that format, else as `save_checkpoint` does."""
    state = release(state)
    if path.suffix != ".safetensors":
        save_checkpoint(path, state)
        return
    tensors = state.pop("model")
    safe_tensors.write(path, tensors, {"format": "pt", "checkpoint": json.dumps(state)})


def release(state: dict[str, Any]) -> dict[str, Any]:
    """The part of a checkpoint that testing needs, floating-point tensors in half precision where they fit into it."""
    kept = (*NEEDED, *ABOUT, "seed")
    tensors = {name: _halved(tensor) for name, tensor in (state.get("ema") or state["model"]).items()}
    return {key: state[key] for key in kept if key in state} | {"model": tensors}


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """In half precision; in float32 where that loses more than usual: values above 65504, or none above 1e-4.

    The variances that batch normalisation keeps are that small where pixels are (those of [0, 1/255], say).
    """
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    loss = (half.to(tensor.dtype) - tensor).abs().max()
    return half if loss <= 1e-3 * tensor.abs().max() else tensor.float()


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """Build the network a checkpoint describes and load its weights (the EMA's, where it has them)."""
    state = load_checkpoint(path)
    check_network(state, path)
    model = _build(state)
    model.load_state_dict(state.get("ema") or state["model"])
    model = model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    crop, channels = state["inputs"]["crop"], state["inputs"]["channels"]
    if crop < 40:  # what networks are made for
        try:
            model(torch.zeros(1, channels, crop, crop, device=device))
        except RuntimeError:
            raise ValueError(f"{path}: its network cannot take the crops of {crop} pixels that it asks for") from None
    info = {key: state[key] for key in ABOUT if key in state}
    return Classifier(model, tuple(state["class_names"]), state["dataset"], state["inputs"], str(path), info)


def check_network(state: dict[str, Any], path: str | Path) -> None:
    """Raise ValueError where the weights do not fit the network that they are said to be of, or are no numbers.

    Needs no memory for the network, whose size the file might have made up.
    """
    tensors = state.get("ema") or state["model"]
    try:
        with torch.device("meta"):
            network = _build(state)
    except (RuntimeError, ValueError):  # some of timm's cannot be built there
        network = _build(state)
    check_fit(network, tensors, f"{path} ({state['model_name']})")
    check_finite(tensors, str(path))


def _build(state: dict[str, Any]) -> nn.Module:
    """The network that a checkpoint describes, with random weights."""
    return build_model(
        state["model_name"],
        num_classes=len(state["class_names"]),
        in_channels=state["inputs"]["channels"],
        **state["model_kwargs"],
    )


def _wrong_folder(path: Path) -> ValueError | None:
    kind = kind_of_folder(path)
    return ValueError(f"{path} is not a run's folder: {kind}") if kind else None


def _nearby(path: Path) -> str:
    """ "; there is ..." with the checkpoints in the folder of `path`, or nothing."""
    folder = path.parent
    found = sorted(str(p) for p in folder.glob("*.pt")) if folder.is_dir() else []
    return f"; in that folder: {', '.join(found[:5])}" if found else ""
