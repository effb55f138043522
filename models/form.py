"""Whether what a file holds is a checkpoint of the project's own form: every key of its type, every number possible.

A file may come from anywhere. What passes here can be used and printed without another look.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

NEEDED = ("format_version", "model_name", "model_kwargs", "inputs", "class_names", "dataset", "model")
INPUTS = {"size": 48, "crop": 44, "channels": 1, "mean": 0.508, "std": 0.255}  # where a file says nothing
LARGEST = {"size": 1024, "channels": 4}  # pixels of a face; channels that all see the same gray face
MOST_CLASSES = 10_000
REPEATED = 4  # times the file: more than the tensors of a checkpoint can have, of which two may share their bytes
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and torch.compile


def check_form(state: Mapping[str, Any], source: str, file_size: int) -> None:
    """Raise ValueError, which names the first key that is wrong, what it holds and what it should.

    state: has all of NEEDED. file_size: bytes of the file that it comes from.
    """
    for key, (test, wanted) in RULES.items():
        if key in state and not test(state[key]):
            raise ValueError(f"{source}: its {key} is {_short(state[key])}; {wanted} is wanted")
    crop, size = state["inputs"]["crop"], state["inputs"]["size"]
    if crop > size:
        raise ValueError(f"{source}: its inputs crop {crop} pixels out of {size}")
    for key in ("model", "ema"):
        check_tensors(state.get(key) or {}, f"{source}: its {key}", file_size)


def check_tensors(tensors: Mapping[str, torch.Tensor], source: str, file_size: int) -> None:
    """Raise ValueError for tensors of more elements than a file of that size has, or of another kind than weights."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            raise ValueError(f"{source} has {_short(name)}, which is no plain tensor of numbers")
    total = sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors.values())
    if total > REPEATED * file_size:
        raise ValueError(f"{source} declares {total} bytes in a file of {file_size}")


def check_finite(tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Raise ValueError for weights that are not numbers, with which every prediction would be the same."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{source} holds NaN or infinity in {name}: its training diverged, or the file is damaged")


def _is_text(value: Any) -> bool:
    """A line of text without what moves a terminal's cursor."""
    return isinstance(value, str) and 0 < len(value) <= 1000 and not CONTROL.search(value)


def _is_int(low: int, high: int = 2**53) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e6  # NaN is not below


def _is_inputs(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != INPUTS.keys():
        return False
    sizes = all(_is_int(1, LARGEST["size"])(value[key]) for key in ("size", "crop"))
    scale = all(_is_number(value[key]) for key in ("mean", "std")) and value["std"] > 0
    return sizes and scale and _is_int(1, LARGEST["channels"])(value["channels"])


def _is_kwargs(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"dropout", "pool"}:
        return False
    dropout = value.get("dropout", 0.0)
    return _is_number(dropout) and 0 <= dropout <= 1 and value.get("pool", "global") in ("global", "avg4")


def _is_names(value: Any) -> bool:
    fits = isinstance(value, list | tuple) and 1 <= len(value) <= MOST_CLASSES
    return fits and all(map(_is_text, value)) and len(set(value)) == len(value)


def is_weights(value: Any) -> bool:
    """Whether this is a state_dict: names and tensors, and nothing else."""
    if not isinstance(value, Mapping) or not value:
        return False
    return all(_is_text(k) and type(v) in (torch.Tensor, torch.nn.Parameter) for k, v in value.items())


def _is_fold(value: Any) -> bool:
    if not isinstance(value, dict) or tuple(value) != ("number", "folds", "protocol"):
        return False
    return (
        _is_int(1, 10**6)(value["folds"])
        and _is_int(1, value["folds"])(value["number"])
        and _is_text(value["protocol"])
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_text(key) and (_is_text(item) or item is None or (type(item) in (bool, int, float) and abs(item) < 1e300))
        for key, item in value.items()
    )


def _is_ancestors(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 1000:
        return False
    return all(
        isinstance(row, dict)
        and row.keys() - {"fold", "val_sha256"} == {"path", "dataset", "selected_on"}
        and all(
            text is None or (isinstance(text, str) and len(text) < 5000) for key, text in row.items() if key != "fold"
        )
        and (row.get("fold") is None or _is_fold(row["fold"]))
        for row in value
    )


def _is_best(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_text(k) and (v is None or _is_number(v)) for k, v in value.items())


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


# What each key must be, and how an error calls that
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model_name": (_is_text, "the name of a network"),
    "model_kwargs": (_is_kwargs, "a dict of dropout (0 to 1) and pool (global or avg4)"),
    "inputs": (
        _is_inputs,
        f"a dict of size and crop (1 to {LARGEST['size']} pixels), channels (1 to {LARGEST['channels']}), mean, and std"
        " above 0",
    ),
    "class_names": (_is_names, f"a list of 1 to {MOST_CLASSES} different names"),
    "dataset": (_is_text, "the name of a data set"),
    "model": (is_weights, "a state_dict (names and tensors)"),
    "ema": (lambda value: value is None or is_weights(value), "a state_dict (names and tensors) or None"),
    "epoch": (_or_none(_is_number), "a number or None"),
    "best": (_or_none(_is_best), "a dict of numbers or None"),
    "fold": (_or_none(_is_fold), "a dict of number, folds and protocol, or None"),
    "options": (_or_none(_is_options), "a dict of numbers and texts, or None"),
    "ancestors": (_is_ancestors, "a list of path, dataset, selected_on, fold and val_sha256"),
    **{
        key: (_or_none(_is_text), "a line of text or None")
        for key in ("recipe", "select_on", "val_views", "origin", "data_sha256", "train_sha256", "val_sha256")
    },
}


def _short(value: Any) -> str:
    """A value for an error, of any type and size: its type where it is no plain one."""
    if isinstance(value, bool | int | float | str | None) and len(text := ascii(value)[:60]) < 60:
        return text
    if isinstance(value, dict | list | tuple) and len(value) < 8:
        inside = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        if all(isinstance(v, int | float | str | None) and isinstance(k, str | None) for k, v in inside):
            return ascii(value)[:200]
    return f"{type(value).__name__}{f' of {len(value)}' if hasattr(value, '__len__') else ''}"
