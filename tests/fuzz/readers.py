"""What reads files here, with good input of each form, and an independent check of what was read."""

import csv
import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from PIL import Image
from torch import nn

from datasets import ckplus, fer2013, own_faces
from datasets.names import FER2013_CLASSES, SPLITS
from datasets.photographs import Box
from datasets.pictures import load_image
from datasets.storage import FaceSet, Split, read_faces, write_faces
from datasets.train_val import soften, train_val_split
from engine.config import RunConfig, read_config
from engine.evaluation.predictions import read_predictions
from engine.evaluation.recorded import read_metrics, recorded_metrics
from engine.predict import classifier_probabilities
from engine.recipes import check_recipe, make_recipe
from models import build, older_formats
from models.checkpoint import load_classifier, save_release
from tests.fuzz.mutate import mutate_bytes, mutate_table, mutate_tree

FACES = np.random.default_rng(0).integers(0, 256, (6, 48, 48), np.uint8)
LABELS = np.array([0, 3, 6, 3, 1, 2])
CK_NAMES = ("anger/S010_001_00000014.png", "anger/S010_001_00000015.png", "fear/S011_002_00000009.png")
NETWORK = "small"


class Reader(NamedTuple):
    """make: an input in a folder, of a random generator. read: the project's. check: AssertionError if it is wrong."""

    name: str
    make: Callable[[Path, random.Random], Path]
    read: Callable[[Path], Any]
    check: Callable[[Path, Any], None]


class Tiny(nn.Module):
    """In place of all networks: what is read is the file, and it should not take long."""

    def __init__(self, num_classes: int = 7, in_channels: int = 1, dropout: float = 0.0, pool: str = "global") -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(in_channels, 4, 5, stride=4), nn.BatchNorm2d(4), nn.Dropout(dropout))
        self.classifier = nn.Linear(4, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Trap:
    """Unpickled, it runs code: an empty file appears."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return open, (self.path, "w")


def prepare(work: Path) -> None:
    """Small networks in place of the real ones (for good: in a process of its own), and the trap's place."""
    torch.set_num_threads(1)
    build.BUILDERS.update({"small": Tiny, "vgg11": Tiny})
    older_formats.NETWORKS = ("vgg11",)
    older_formats.expected.cache_clear()
    GOOD["trap"] = saved({"net": Trap(str(work / "executed"))})
    safe = work / "good.safetensors"
    save_release(safe, checkpoint())
    GOOD["safetensors"] = safe.read_bytes()
    safe.unlink()
    GOOD["trap-in-ours"] = saved(checkpoint() | {"origin": Trap(str(work / "executed"))})


# ---- good input ----


def csv_text(order: tuple[int, ...] = (0, 1, 2), header: str = "emotion,pixels,Usage") -> bytes:
    rows = [
        (str(y), " ".join(map(str, x.ravel())), SPLITS[i % 3])
        for i, (x, y) in enumerate(zip(FACES, LABELS, strict=True))
    ]
    return "\n".join([header, *(",".join(row[place] for place in order) for row in rows)]).encode() + b"\n"


def in_tar(content: bytes, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        info = tarfile.TarInfo("fer2013/fer2013.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def in_zip(content: bytes, method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("fer2013.csv", content)
    return file.getvalue()


def packed(content: bytes) -> dict[str, bytes]:
    forms = {f"tar {mode}": in_tar(content, mode) for mode in ("w", "w:gz")}
    forms |= {f"zip {m}": in_zip(content, m) for m in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)}
    return forms | {"gz": gzip.compress(content, 1)}


def picture(kind: str, size: tuple[int, int] = (48, 48), mode: str = "L") -> bytes:
    file = io.BytesIO()
    x = np.random.default_rng(1).integers(0, 256, (size[1], size[0]), np.uint8)
    options = {"exif": exif()} if kind == "JPEG" else {}
    Image.fromarray(x).convert(mode).save(file, kind, **options)
    return file.getvalue()


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = 6  # orientation
    return found


def checkpoint() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "format_version": 1,
        "model_name": NETWORK,
        "model_kwargs": {"dropout": 0.0, "pool": "global"},
        "inputs": {"size": 48, "crop": 44, "channels": 1, "mean": 0.5, "std": 0.25},
        "class_names": list(FER2013_CLASSES),
        "dataset": "fer2013",
        "recipe": "smoke",
        "options": {"lr": 0.1},
        "epoch": 3,
        "best": {"epoch": 3, "accuracy": 0.5},
        "select_on": "PublicTest",
        "fold": {"number": 1, "folds": 10, "protocol": "subject"},
        "ancestors": [{"path": "a.pt", "dataset": "ckplus", "selected_on": None}],
        "model": Tiny().state_dict(),
    }


def older() -> list[dict]:
    return [
        {"net": Tiny(7, 3).state_dict(), "best_PrivateTest_acc": torch.tensor(70.0), "best_PrivateTest_acc_epoch": 9},
        {"model_state_dict": Tiny().state_dict(), "epoch": 3, "best_acc": 0.7, "optimizer": {"state": {}}},
    ]


def saved(state: Any, old: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=not old)
    return file.getvalue()


def predictions_csv() -> bytes:
    p = np.random.default_rng(0).dirichlet(np.ones(7), 6)
    rows = [f"{i},{LABELS[i]},{p[i].argmax()},{','.join(f'{v:.9g}' for v in p[i])},{i % 3 + 1}" for i in range(6)]
    return "\n".join([f"index,label,prediction,{','.join(FER2013_CLASSES)},fold", *rows]).encode() + b"\n"


GOOD: dict[str, bytes] = {
    "csv": csv_text(),
    "icml": csv_text((0, 2, 1), "emotion, Usage, pixels"),
    "predictions": predictions_csv(),
    "metrics": b"epoch,lr,train_loss,val_accuracy\n1,0.1,2.0,0.3\n2,0.05,1.5,0.4\n",
    **{f"picture {kind}": picture(kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "ICO")},
    "picture large": picture("JPEG", (90, 70), "RGB"),
    "checkpoint": saved(checkpoint()),
    "older": saved(older()[0], old=True),
}


# ---- makers ----


def bytes_of(*names: str, ending: str = "", table: bool = False) -> Callable[[Path, random.Random], Path]:
    """Mutated bytes, or (table) cells, of one of the good files."""

    def make(place: Path, rng: random.Random) -> Path:
        content = GOOD[rng.choice(names)]
        if table and rng.random() < 0.6:
            content = mutate_table(content, rng)
        else:
            content = mutate_bytes(content, rng, [GOOD[name] for name in GOOD])
        path = place / f"input{ending}"
        path.write_bytes(content)
        return path

    return make


def make_archive(place: Path, rng: random.Random) -> Path:
    inner = mutate_table(GOOD["csv"], rng) if rng.random() < 0.3 else GOOD["csv"]
    forms = packed(inner)
    content = forms[rng.choice(list(forms))]
    path = place / "input"
    path.write_bytes(content if inner is not GOOD["csv"] else mutate_bytes(content, rng, list(forms.values())))
    return path


def make_folder(place: Path, rng: random.Random) -> Path:
    """FER2013's folder of images, in which one is another file or has another name."""
    names = [
        f"{split}/{name}/{i}.{end}"
        for split in ("train", "test")
        for i, (name, end) in enumerate((("happy", "png"), ("sad", "jpg")))
    ]
    return _tree(place, names, rng, ("picture PNG", "picture JPEG"))


def make_ck48(place: Path, rng: random.Random) -> Path:
    return _tree(place, list(CK_NAMES), rng, ("picture PNG",))


def _tree(place: Path, names: list[str], rng: random.Random, kinds: tuple[str, ...]) -> Path:
    bad = rng.randrange(len(names))
    for i, name in enumerate(names):
        content = GOOD["picture JPEG" if name.endswith("jpg") else "picture PNG"]
        if i == bad and rng.random() < 0.8:
            content = mutate_bytes(content, rng, [GOOD[kind] for kind in kinds])
        elif i == bad:
            name = rng.choice(
                (name.upper(), f"x/{name}", name.split("/")[-1], name.replace("0", "q"), f"{name}.txt", f"{name}/x.png")
            )
        path = place / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place / "input"


def make_own(place: Path, rng: random.Random) -> Path:
    """A tree of someone's own, with other classes."""
    names = [f"{name}/{i}.{'png' if i else 'jpg'}" for name in ("calm", "excited", "x") for i in range(2)]
    return _tree(place, names, rng, ("picture PNG", "picture JPEG"))


def read_own(path: Path) -> FaceSet:
    """One bad picture costs only itself: two classes are always left."""
    return own_faces.read_raw(path, "mine", quiet, lambda image: [Box(4, 4, 40, 40)])


def make_original(place: Path, rng: random.Random) -> Path:
    """CK+ as it is distributed: three frames and a label, one of which is not as it should be."""
    name = "S005_001_0000000"
    files = {f"cohn-kanade-images/S005/001/{name}{i}.png": GOOD["picture PNG"] for i in range(1, 5)}
    label = f"Emotion/S005/001/{name}4_emotion.txt"
    files[label] = b"   3.0000000e+00\n"
    bad = rng.choice([label, *files])
    files[bad] = rng.choice(
        (mutate_bytes(files[bad], rng), rng.choice(("8", "-1", "nan", "1e400", "3.5", "", "three")).encode(), b"")
    )
    for path, content in files.items():
        (place / "input" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "input" / path).write_bytes(content)
    return place / "input"


def make_hdf5(place: Path, rng: random.Random) -> Path:
    """Mutated bytes of a good file, or a good file with another array or attribute in it."""
    path = place / "input.h5"
    extra = {"subject": np.array(["S1"] * 6), "sequence": np.array(["1"] * 6)}
    splits = {name: Split(FACES, LABELS, extra if name == "Training" else {}) for name in SPLITS[:2]}
    write_faces(path, FaceSet("fer2013", FER2013_CLASSES, splits, "x.csv", "00"))
    if rng.random() < 0.5:
        path.write_bytes(mutate_bytes(path.read_bytes(), rng))
        return path
    arrays = (
        *(
            np.zeros((6, 48, 48)),
            np.full((6, 48, 48), 300),
            np.zeros((0, 48, 48), np.uint8),
            np.zeros((6, 2304), np.uint8),
        ),
        *(
            np.arange(6),
            np.arange(6) - 1,
            np.full(6, 2**40),
            np.zeros(6),
            np.array(list("abcdef"), "S1"),
            np.zeros((6, 1), int),
        ),
        *(np.zeros((6, 7)), np.float64(3), np.array(True), np.zeros(5, int), np.zeros(6, "u1,f4")),
    )
    attributes = (
        0,
        2,
        -1,
        2**63,
        1.5,
        float("nan"),
        "",
        "x",
        b"\xff",
        np.zeros(3),
        np.array([b"a"] * 7),
        h5py.Empty("f"),
        [],
    )
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2))):
            key, how = rng.choice(list(file)), rng.randrange(5)
            if how < 2:
                del file[key]
                file[key] = rng.choice(arrays)
            elif how == 2:
                name = rng.choice(("x", "Test_pixel", "Training_pixel ", "data_pixel"))
                if name not in file:
                    file.move(key, name)
            elif how == 3:
                file.attrs[rng.choice(list(file.attrs))] = rng.choice(attributes)
            else:
                del file[key]
                file.create_group(key) if rng.random() < 0.5 else file.create_dataset(
                    key, (10**9, 48, 48), "u1", chunks=True
                )
    return path


def make_checkpoint(place: Path, rng: random.Random) -> Path:
    """Mutated bytes of a good or a hostile file, or a good one with other values in it."""

    def tensor(value: Any, rng: random.Random) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        nan, meta = torch.full_like(value, float("nan")) if value.is_floating_point() else value, value.to("meta")
        kinds = (value[:0] if value.ndim else value, value.double(), value.to(torch.int8), nan, value[None], meta)
        return rng.choice((*kinds, torch.zeros(3).to_sparse(), value.to(torch.complex64)))

    path = place / rng.choice(("input.pt", "PrivateTest_model.t7", "best_checkpoint.tar"))
    if rng.random() < 0.4:
        name = rng.choice(("checkpoint", "older", "safetensors", "trap", "trap-in-ours"))
        others = [GOOD["trap"], GOOD["checkpoint"], GOOD["older"]]
        path.write_bytes(
            mutate_bytes(GOOD[name], rng, others) if not name.startswith("trap") or rng.random() < 0.5 else GOOD[name]
        )
        return path
    state = checkpoint() if rng.random() < 0.7 else rng.choice(older())
    try:
        path.write_bytes(saved(mutate_tree(state, rng, tensor), old=rng.random() < 0.3))
    except (RuntimeError, NotImplementedError, AttributeError, TypeError):  # there are tensors that cannot be saved
        path.write_bytes(saved([]))
    return path


def make_json(good: Callable[[], Any], name: str) -> Callable[[Path, random.Random], Path]:
    def make(place: Path, rng: random.Random) -> Path:
        value = good()
        if rng.random() < 0.6:
            content = json.dumps(mutate_tree(value, rng), default=str).encode()
        else:
            content = mutate_bytes(json.dumps(value).encode(), rng, [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000])
        if name == "summary.json":
            (place / "predictions.csv").write_bytes(GOOD["predictions"])
        (place / name).write_bytes(content)
        return place / name

    return make


def arguments() -> dict[str, Any]:
    return RunConfig(Path("x.h5"), recipe=make_recipe("small"), folds="10", init=Path("a.pt")).as_json()


# ---- checks: by other means than the reader's ----


def check_split(split: Split, classes: int) -> None:
    assert split.pixels.dtype == np.uint8 and split.pixels.shape == (len(split.labels), 48, 48) and len(split.labels)
    assert split.labels.dtype == np.int64 and 0 <= min(split.labels.tolist()) and max(split.labels.tolist()) < classes
    assert all(len(values) == len(split.labels) for values in split.extra.values())


def check_faces(path: Path, faces: FaceSet) -> None:
    names = faces.class_names
    assert names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    assert faces.splits and isinstance(faces.dataset, str)
    for split in faces.splits.values():
        check_split(split, len(names))


def check_csv(path: Path, faces: FaceSet) -> None:
    """Number by number, as the slowest reader would."""
    check_faces(path, faces)
    lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    clean = [[cell.strip(b" \t\r\n\"'") for cell in line.split(b",")] for line in lines]
    header = [cell.decode("utf-8", "replace").lower() for cell in clean[0]]
    place = {name: header.index(name) for name in ("emotion", "pixels", "usage")}
    want: dict[str, list] = {}
    for row in clean[1:]:
        if any(row):
            values = [int(token) for token in row[place["pixels"]].split()]
            assert len(values) == 2304 and min(values) >= 0 and max(values) <= 255
            want.setdefault(row[place["usage"]].decode(), []).append((int(row[place["emotion"]]), values))
    assert want.keys() == faces.splits.keys()
    for name, rows in want.items():
        assert [label for label, _ in rows] == faces.splits[name].labels.tolist()
        assert [values for _, values in rows] == faces.splits[name].pixels.reshape(-1, 2304).tolist()


def check_classifier(path: Path, classifier: Any) -> None:
    names = classifier.class_names
    assert names and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    assert isinstance(classifier.dataset, str) and isinstance(classifier.info, dict)
    p = classifier_probabilities(classifier, FACES[:2], "ten")  # a ValueError here is a refusal too
    assert p.shape == (2, len(names))


def check_predictions(path: Path, got: Any) -> None:
    """As the csv module reads it."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    where = {name: i for i, name in enumerate(rows[0])}
    for row, index, label, prediction, p in zip(
        rows[1:], got.index, got.labels, got.predictions, got.probabilities, strict=True
    ):
        assert [float(row[where[name]]) for name in ("index", "label", "prediction")] == [index, label, prediction]
        given = np.array([float(row[where[name]]) for name in got.class_names])
        assert np.allclose(p, given / given.sum(), atol=1e-9) and abs(given.sum() - 1) < 0.01


def read_soft(path: Path) -> Any:
    soft = read_predictions(path)
    data = train_val_split(
        FaceSet(
            "fer2013", FER2013_CLASSES, {"Training": Split(FACES, LABELS), "PublicTest": Split(FACES, LABELS)}, "", ""
        )
    )
    return soften(data, soft.index, soft.labels, soft.probabilities, soft.class_names, 0.5)


def check_soft(path: Path, data: Any) -> None:
    targets = data.train_targets
    assert targets.shape == (6, 7) and np.isfinite(targets).all() and np.allclose(targets.sum(1), 1, atol=1e-5)
    assert (targets[np.arange(6), LABELS] >= 0.5 - 1e-6).all()


def check_metrics(path: Path, columns: dict[str, list[float]]) -> None:
    lengths = {len(values) for values in columns.values()}
    assert len(lengths) == 1 and lengths != {0} and "epoch" in columns
    assert all(value is None or isinstance(value, float) for values in columns.values() for value in values)


def check_config(path: Path, config: RunConfig) -> None:
    check_recipe(config.recipe)
    again = path.with_name("again.json")
    again.write_text(json.dumps(config.as_json()))
    assert read_config(again) == config
    again.unlink()


def check_recorded(path: Path, metrics: dict[str, Any]) -> None:
    assert metrics["n"] == 6 and 0 <= metrics["accuracy"] <= 1
    assert all(isinstance(metrics[name], str) for name in ("split", "views", "selected_on") if name in metrics)


def check_image(path: Path, image: np.ndarray) -> None:
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size


def read_original(path: Path) -> FaceSet:
    return ckplus.read_raw(path, say=lambda text: None, find_face=lambda image: Box(4, 4, 40, 40))


def quiet(text: str) -> None:
    """Nobody listens."""


PICTURES = [name for name in GOOD if name.startswith("picture")]
READERS = (
    Reader("csv", bytes_of("csv", "icml", table=True, ending=".csv"), lambda p: fer2013.read_raw(p, quiet), check_csv),
    Reader("archive", make_archive, lambda p: fer2013.read_raw(p, quiet), check_faces),
    Reader("folder", make_folder, lambda p: fer2013.read_raw(p, quiet), check_faces),
    Reader("own-folder", make_own, read_own, check_faces),
    Reader("ck48", make_ck48, lambda p: ckplus.read_raw(p, quiet), check_faces),
    Reader("ck-original", make_original, read_original, check_faces),
    Reader("hdf5", make_hdf5, read_faces, check_faces),
    Reader("checkpoint", make_checkpoint, load_classifier, check_classifier),
    Reader("predictions", bytes_of("predictions", table=True, ending=".csv"), read_predictions, check_predictions),
    Reader("soft-targets", bytes_of("predictions", table=True, ending=".csv"), read_soft, check_soft),
    Reader("metrics", bytes_of("metrics", table=True, ending=".csv"), read_metrics, check_metrics),
    Reader("args", make_json(arguments, "args.json"), read_config, check_config),
    Reader(
        "summary",
        make_json(lambda: {"split": "PublicTest", "views": "ten", "selected_on": "PublicTest"}, "summary.json"),
        lambda p: recorded_metrics(p.with_name("predictions.csv")),
        check_recorded,
    ),
    Reader("photograph", bytes_of(*PICTURES), load_image, check_image),
)
