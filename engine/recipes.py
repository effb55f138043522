"""Recipes: everything that decides what a training run computes, under a name.

A recipe is a `Recipe` with some fields set; a flag on the command line overrides its field. To add an option, add a
field: it becomes a flag, a recipe key and an entry of the checkpoint. To add a recipe, add a block to RECIPES.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from datasets.names import VIEWS
from engine.schedule import SCHEDULES
from models import model_name
from utils.cli import LARGEST


def option(
    default: Any, group: str, help: str, choices: tuple[str, ...] | None = None, flags: tuple[str, ...] = ()
) -> Any:
    """A field of a recipe and its command-line flag (more spellings of it in `flags`).

    default: an int, float, bool or str; numbers are not negative. What else a value has to be: `check_recipe`.
    """
    return field(default=default, metadata={"group": group, "help": help, "choices": choices, "flags": flags})


@dataclass(frozen=True)
class Recipe:
    """All that training depends on besides the data, the seed and the device."""

    model: str = option("resnet18", "model", "network", flags=("--arch",))
    pool: str = option("global", "model", "pooling before the classifier", ("global", "avg4"))
    dropout: float = option(0.0, "model", "before the classifier, 0 to 1")
    mean: float = option(0.508, "model", "pixels become (pixel / 255 - mean) / std; FER2013 Training has 0.508")
    std: float = option(0.255, "model", "see --mean; FER2013 Training has 0.255")

    epochs: int = option(60, "optimisation", "passes over the train set")
    batch_size: int = option(128, "optimisation", "faces per step", flags=("--bs", "--batch_size"))
    optimizer: str = option("sgd", "optimisation", "sgd: Nesterov unless --no-nesterov", ("sgd", "adamw", "muon"))
    lr: float = option(0.1, "optimisation", "peak learning rate")
    momentum: float = option(0.9, "optimisation", "momentum of SGD and Muon; first beta of AdamW")
    nesterov: bool = option(True, "optimisation", "Nesterov momentum")
    weight_decay: float = option(5e-4, "optimisation", "L2 penalty (SGD) or decoupled decay (AdamW, Muon)")
    decay_all: bool = option(False, "optimisation", "weight decay also on biases and normalisation")
    schedule: str = option("cosine", "optimisation", "learning-rate schedule", SCHEDULES)
    warmup: float = option(0.05, "optimisation", "cosine: first fraction of the run, in which the learning rate rises")
    step_start: int = option(80, "optimisation", "step: epochs before the first period of --step-every begins")
    step_every: int = option(5, "optimisation", "step: epochs between decays")
    gamma: float = option(0.9, "optimisation", "step and plateau: factor of a decay")
    patience: int = option(5, "optimisation", "plateau: epochs without a better validation accuracy")
    clip_norm: float = option(0.0, "optimisation", "largest norm of the gradient; 0 is off")
    clip_value: float = option(0.0, "optimisation", "largest value in the gradient; 0 is off")
    label_smoothing: float = option(0.1, "optimisation", "fraction of the label spread over all classes")
    ema: float = option(0.999, "optimisation", "decay per step of the averaged weights, which are tested; 0 is off")

    crop: int = option(44, "augmentation", "pixels: side of the crop, in training and testing")
    pad: int = option(2, "augmentation", "pixels the crop may reach beyond the face")
    early_size: int = option(0, "augmentation", "pixels: side that crops are resized to early in the run; 0 is off")
    early_part: float = option(0.5, "augmentation", "first fraction of the run, in which --early-size is used")
    five: bool = option(False, "augmentation", "four corners and center of every face, not one random crop")
    flip: float = option(0.5, "augmentation", "probability of a mirror image")
    translate: float = option(0.0, "augmentation", "largest shift, as a fraction of the face's side")
    rotate: float = option(10.0, "augmentation", "largest rotation in degrees")
    scale: float = option(0.1, "augmentation", "largest change of size, as a fraction")
    shear: float = option(0.0, "augmentation", "largest shear in degrees")
    stretch: float = option(0.0, "augmentation", "height to width, up to 1 + this and down to its inverse")
    brightness: float = option(0.1, "augmentation", "largest number added to pixels in [0, 1]")
    contrast: float = option(0.2, "augmentation", "largest change of contrast, as a fraction")
    probability: float = option(
        1.0, "augmentation", "of applying translate, rotate, scale, shear, and brightness with contrast, each"
    )
    erase: float = option(0.25, "augmentation", "probability of a gray box")
    erase_area: float = option(0.2, "augmentation", "largest box, as a fraction of the face")
    mixup: float = option(0.0, "augmentation", "parameter of mixup's Beta distribution; 0 is off")
    cutmix: float = option(0.0, "augmentation", "parameter of cutmix's Beta distribution; 0 is off")
    mix_probability: float = option(1.0, "augmentation", "fraction of the faces that mixup and cutmix change")
    mix_off: float = option(0.1, "augmentation", "final fraction of the run, without mixup and cutmix")

    val_views: str = option("flip", "selection", "test views for validation after every epoch", tuple(VIEWS))


# One block per recipe: what it is for (with time and accuracy where they were measured), the recipe it starts from, and
# the fields that differ from that one's. Without a base, those that differ from Recipe's defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "default": dict(
        about="ResNet18 for FER2013 on a GPU: 72.2% on PublicTest, in 2 minutes of an H200 shared by up to four runs",
        batch_size=256,
        optimizer="muon",
        lr=0.02,
        weight_decay=0.05,
        warmup=0.1,
        ema=0.998,  # about four epochs' steps
        early_size=32,
        mixup=0.2,
        cutmix=1.0,
        mix_probability=0.5,
    ),
    "taught": dict(
        about="the same for --soft-targets, without mixing: 71.3% on PublicTest with --model small --epochs 80",
        base="default",
        mixup=0.0,
        cutmix=0.0,
        label_smoothing=0.0,
    ),
    "fast": dict(
        about="ResNet18 in few seconds: 71.4% on PublicTest after 22 s of training on an H100, 72.6% with"
        " evaluate.py --views scales",
        base="default",
        epochs=24,
        warmup=0.2,
        ema=0.995,  # about two epochs' steps
        mixup=0.0,
        cutmix=0.0,
    ),
    "sgd": dict(about="ResNet18 with SGD, as most train it; not trained to the end here"),
    "small": dict(
        about="the network for CPUs",
        model="small",
        epochs=40,
        rotate=8.0,
        scale=0.08,
        erase=0.0,
    ),
    "small-fast": dict(
        about="the network for CPUs in a fifth of the epochs: 65.8% on PublicTest in 54 minutes of a busy core",
        base="small",
        epochs=8,
        optimizer="muon",
        lr=0.02,
        weight_decay=0.05,
        warmup=0.2,
        ema=0.99,  # about half an epoch's steps
        early_size=32,
    ),
    "wujie": dict(
        about="VGG19 (or --model resnet18) as WuJie1010's repository trains it on FER2013: published 73.11% (72.97%) on"
        " PrivateTest and 71.50% (71.19%) on PublicTest, each its best epoch; 68.0% after 59 epochs here",
        model="vgg19",
        pool="avg4",
        dropout=0.5,
        mean=0.0,  # pixels stay in [0, 1]
        std=1.0,
        epochs=250,
        lr=0.01,
        nesterov=False,
        decay_all=True,
        clip_value=0.1,  # the original clips every value of the gradient
        schedule="step",
        step_start=80,
        step_every=5,
        gamma=0.9,
        label_smoothing=0.0,
        ema=0.0,
        crop=44,
        pad=0,
        rotate=0.0,
        scale=0.0,
        brightness=0.0,
        contrast=0.0,
        erase=0.0,
        val_views="ten",
    ),
    "wujie-ckplus": dict(
        about="the same for CK+ (--protocol frame --select-on test for its protocol): published 94.65% (94.04%), each"
        " fold's best epoch, with the same people in both parts; not re-run here yet",
        base="wujie",
        epochs=60,
        step_start=20,
        step_every=1,
        gamma=0.8,
    ),
    "lethesec": dict(
        about="ResNet18 much as LetheSec's repository trains it: published 73.70% on PrivateTest, of the epoch that is"
        " best there (--select-on PrivateTest); not re-run to the end. What differs: margins are reflected and erased"
        " boxes gray, not 0; mixup draws a weight a face, not a batch",
        pool="avg4",
        mean=0.0,
        std=255.0,  # the original divides pixels by 255 twice
        epochs=300,
        weight_decay=1e-4,
        decay_all=True,
        ema=0.0,
        schedule="plateau",
        gamma=0.75,
        patience=5,
        mixup=1.0,
        mix_off=0.0,  # to the last epoch
        crop=40,
        pad=0,
        five=True,
        translate=0.2,
        probability=0.5,
        scale=0.1,
        stretch=0.33,
        brightness=0.25,
        contrast=0.5,
        erase=0.5,
        erase_area=0.33,
        val_views="ten",
    ),
    "ckplus": dict(
        about="ResNet18 on CK+ from random weights: 95.5% of frames by subject, in 82 minutes of two CPU cores",
        epochs=30,
        batch_size=64,  # 882 faces are 13 steps
        optimizer="muon",
        lr=0.02,
        weight_decay=0.05,
        warmup=0.1,
        ema=0.98,  # about four epochs' steps
        early_size=32,
        dropout=0.2,
        erase=0.1,
    ),
    "ckplus-finetune": dict(
        about="CK+ from a FER2013 checkpoint (--init), by subject, with --model small from weights/small.pt: 96.6% of"
        " frames in 13 minutes of a core (97.3% with evaluate.py --views scales), 96.3% in 53 s of an H200",
        base="ckplus",
        epochs=6,
        lr=0.005,
        ema=0.95,  # about one and a half epochs' steps
        early_size=0,
        mixup=0.2,
    ),
    "demo": dict(
        about="the network for CPUs on drawn faces: two or three minutes on two cores with bfloat16, eleven without",
        base="small",
        epochs=10,
        lr=0.05,
        warmup=0.1,
        ema=0.99,
        erase=0.25,
    ),
    "smoke": dict(
        about="seconds on a CPU: shows that everything runs",
        model="small",
        epochs=2,
        batch_size=64,
        lr=0.05,
        ema=0.98,
        erase=0.0,
    ),
}


def make_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """The named recipe with some fields replaced. ValueError for an unknown recipe, field or impossible value."""
    values = recipe_values(name) | dict(overrides or {})
    unknown = sorted(set(values) - {f.name for f in fields(Recipe)})
    if unknown:
        raise ValueError(f"recipe {name!r}: unknown keys {', '.join(unknown)}")
    recipe = Recipe(**values)
    check_recipe(recipe)
    return recipe


def recipe_values(name: str) -> dict[str, Any]:
    """The fields that a recipe and the ones it starts from set."""
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}; there are {', '.join(RECIPES)}")
    own = {key: value for key, value in RECIPES[name].items() if key not in ("about", "base")}
    return recipe_values(RECIPES[name]["base"]) | own if "base" in RECIPES[name] else own


# The largest values that make sense: a part of something, or where a formula ends
AT_MOST = {
    **dict.fromkeys(("dropout", "mean", "warmup", "gamma", "label_smoothing", "early_part", "flip", "stretch"), 1),
    **dict.fromkeys(("brightness", "contrast", "probability", "erase", "erase_area", "mix_probability", "mix_off"), 1),
    **{"std": 255, "rotate": 180, "shear": 80},
}
BELOW = dict.fromkeys(("momentum", "ema", "translate", "scale"), 1)
ABOVE_0 = ("epochs", "batch_size", "crop", "lr", "std", "step_every")


def check_recipe(recipe: Recipe) -> None:
    """ValueError that names the first field whose value makes no sense."""
    for f in fields(Recipe):
        value, choices = getattr(recipe, f.name), f.metadata["choices"]
        said = f"--{f.name.replace('_', '-')} {value!r}"
        wanted = (int, float) if type(f.default) is float else (type(f.default),)
        if type(value) not in wanted:
            raise ValueError(f"{said}: must be of type {wanted[-1].__name__}")
        if choices and value not in choices:
            raise ValueError(f"{said}: choose from {', '.join(choices)}")
        if isinstance(value, str):
            continue
        if not 0 <= value < float("inf"):
            raise ValueError(f"{said}: must be a number of 0 or more")
        if f.name in ABOVE_0 and not value:
            raise ValueError(f"{said}: must be above 0")
        if value > AT_MOST.get(f.name, LARGEST):
            raise ValueError(f"{said}: must lie between 0 and {AT_MOST.get(f.name, LARGEST)}")
        if f.name in BELOW and value >= BELOW[f.name]:
            raise ValueError(f"{said}: must lie below {BELOW[f.name]}")
    model_name(recipe.model)
    if recipe.batch_size < 2:
        raise ValueError("--batch-size 1: batch normalisation needs two faces and more")
    if recipe.std < 1e-3:
        raise ValueError(f"--std {recipe.std}: pixels are divided by it; must be 0.001 or more")
    if recipe.early_size > recipe.crop:
        raise ValueError(f"--early-size {recipe.early_size}: must not be above --crop {recipe.crop}; 0 is off")
