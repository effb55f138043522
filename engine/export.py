"""Trained networks as one file that needs nothing of this project: ONNX, or a program of torch.export.

Everything from bytes to probabilities is inside: scaling of the pixels, crops, the networks, the mean over views and
over networks. So whoever uses the file cannot feed it in another way than it was trained.
"""

import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from datasets.synthetic.faces import EXPRESSIONS, draw_faces
from datasets.views import make_views
from engine.evaluation.selection import in_words
from engine.evaluation.testing import describe
from engine.predict import classifier_probabilities
from models.checkpoint import Classifier
from utils.files import replacing

PACKAGES = {".onnx": ("onnx", "onnxscript", "onnxruntime"), ".pt2": ()}  # by the name's end: what is needed
TOLERANCE = 1e-4  # largest difference of a probability; rounding makes 1e-6, a wrong scale or crop 1e-2 and more
INPUT, OUTPUT = "faces", "probabilities"


class FacesToProbabilities(nn.Module):
    """uint8 (n, size, size) gray faces -> float32 (n, classes) probabilities, as engine/predict.py computes them.

    A face's logits are averaged over its views, the probabilities over the networks.
    """

    def __init__(self, classifiers: Sequence[Classifier], views: str) -> None:
        super().__init__()
        self.models = nn.ModuleList(c.model for c in classifiers)
        self.views = [make_views(views, **_without_size(c.inputs)) for c in classifiers]

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        total = 0
        for model, views in zip(self.models, self.views, strict=True):
            x = views(faces)  # (n, v, c, h, w)
            n, v = x.shape[:2]
            total = total + model(x.flatten(0, 1)).unflatten(0, (n, v)).mean(1).softmax(1)
        return total / len(self.models)


def check_export(path: Path) -> None:
    """Raise ValueError where `path` cannot be exported to: its name, its folder, missing packages."""
    if path.suffix not in PACKAGES:
        raise ValueError(f"--export {path}: the name ends in {' or '.join(PACKAGES)}, which says what to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"--export {path}: there is no folder {path.parent}; make it, or give another")
    if path.is_dir():
        raise ValueError(f"--export {path} is a folder; give a file's name")
    missing = [name for name in PACKAGES[path.suffix] if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"--export {path} needs {', '.join(missing)}: python -m pip install {' '.join(missing)}")


def export(path: Path, classifiers: Sequence[Classifier], views: str) -> float:
    """Write `path`, .onnx or .pt2 (whole or not at all), and return how far it is from PyTorch on drawn faces.

    classifiers: on the CPU; of the same classes and the same size of faces. The batch is of any size from 1 on.
    Returns the largest difference of a probability. Raises ValueError for classifiers that differ, for networks that
    PyTorch cannot export, and, with nothing written, where the file's probabilities differ by more than TOLERANCE.
    """
    size, names = classifiers[0].inputs["size"], classifiers[0].class_names
    for other in classifiers[1:]:
        if (other.inputs["size"], other.class_names) != (size, names):
            raise ValueError(f"{other.path} has other classes or faces than {classifiers[0].path}: export each alone")
    for classifier in classifiers:  # channels last would be written as a permutation of every weight
        classifier.model.to(memory_format=torch.contiguous_format)
    faces = draw_faces(EXPRESSIONS, np.random.default_rng(0), size)
    wanted = sum(classifier_probabilities(c, faces, views) for c in classifiers) / len(classifiers)
    write, read = (_write_onnx, _read_onnx) if path.suffix == ".onnx" else (_write_pt2, _read_pt2)
    with replacing(path) as temporary:
        network = FacesToProbabilities(classifiers, views).eval()
        try:
            with _quiet():
                write(network, torch.from_numpy(faces[:2]), temporary, metadata(classifiers, views))
        except Exception as error:  # of a dozen kinds, by the operation that cannot be written
            what = ", ".join(str(c.info.get("model_name")) for c in classifiers)
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(f"PyTorch cannot export {what} to {path.suffix}: {said[0]}") from error
        with _quiet():
            found = np.concatenate([read(temporary, faces[:1]), read(temporary, faces[1:])])  # two sizes of batches
        difference = float(np.abs(found - wanted).max())
        if not difference <= TOLERANCE:  # NaN included
            raise ValueError(
                f"--export {path}: its probabilities differ from PyTorch's by up to {difference:.1g} (allowed:"
                f" {TOLERANCE:g}), so it was not kept; {'.pt2' if path.suffix == '.onnx' else '.onnx'} may do better"
            )
    return difference


def metadata(classifiers: Sequence[Classifier], views: str) -> dict[str, str]:
    """What the file says of itself, by key; `class_names`, `inputs` and `checkpoints` are JSON."""
    size = classifiers[0].inputs["size"]
    about = []
    for classifier in classifiers:
        entry = describe(classifier) | {"inputs": classifier.inputs, "origin": classifier.info.get("origin")}
        entry["path"] = "/".join(Path(classifier.path).parts[-2:])  # the rest is of one machine
        entry["selection"] = in_words(entry["selected_on"])
        about.append({key: value for key, value in entry.items() if key != "ancestors"})
    return {
        "class_names": json.dumps(classifiers[0].class_names),
        "input": f"{INPUT}: uint8 (n, {size}, {size}), gray faces, 0 black to 255 white; scaled and cropped inside",
        "output": f"{OUTPUT}: float32 (n, {len(classifiers[0].class_names)}), in the order of class_names",
        "views": views,
        "selection": "; ".join(dict.fromkeys(entry["selection"] for entry in about)),
        "checkpoints": json.dumps(about),
    }


def _write_onnx(network: nn.Module, faces: torch.Tensor, path: Path, about: dict[str, str]) -> None:
    program = torch.onnx.export(
        network,
        (faces,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=_any_batch(),
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(about)
    program.save(path, external_data=False)


def _read_onnx(path: Path, faces: np.ndarray) -> np.ndarray:
    import onnxruntime  # optional

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {INPUT: faces})[0]


def _write_pt2(network: nn.Module, faces: torch.Tensor, path: Path, about: dict[str, str]) -> None:
    program = torch.export.export(network, (faces,), dynamic_shapes=_any_batch())
    with open(path, "wb") as file:
        torch.export.save(program, file, extra_files={"metadata.json": json.dumps(about)})


def _read_pt2(path: Path, faces: np.ndarray) -> np.ndarray:
    with open(path, "rb") as file:
        return torch.export.load(file).module()(torch.from_numpy(faces)).numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters log and print about themselves off the terminal; what stops them they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _any_batch() -> dict[str, Any]:
    return {INPUT: {0: torch.export.Dim("n", min=1)}}


def _without_size(inputs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key != "size"}
