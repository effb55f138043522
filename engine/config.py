"""What a run was asked for: made of the command line, kept as args.json in its folder, read again by --resume."""

import argparse
import os
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from datasets.names import DATASETS
from engine.recipes import Recipe, check_recipe, make_recipe
from models import model_name
from utils.cli import quoted
from utils.files import read_json

SEEDS = 1000  # at most; each is a whole training
CHANGEABLE = ("data", "device", "compile", "epochs")  # flags that --resume accepts


@dataclass(frozen=True)
class RunConfig:
    """A run of train.py: its data, protocol, device and recipe. Field by field what `train.py --help` says.

    In args.json `recipe_name` is called "recipe" and `recipe`, with what flags changed in it, "options".
    """

    data: Path
    recipe_name: str = "default"
    recipe: Recipe = field(default_factory=Recipe)
    dataset: str | None = None  # None: whatever the file holds
    output: Path = Path("runs")
    name: str | None = None
    init: Path | None = None
    seed: int = 0
    seeds: int = 1
    limit: int | None = None
    device: str = "auto"
    amp: bool | None = None  # None: where the hardware has bfloat16
    compile: bool | None = None  # None: on a GPU
    deterministic: bool = False
    select_on: str | None = None
    folds: str | None = None  # a number, or "all"
    fold: int | None = None
    protocol: str = "subject"
    soft_targets: Path | None = None
    soft_weight: float = 0.5
    hard_labels: bool = False

    def __post_init__(self) -> None:
        """ValueError that names the flag whose value makes no sense."""
        plain = self.folds is not None and self.folds.isascii() and self.folds.isdigit() and len(self.folds) < 10
        if self.folds not in (None, "all") and not (plain and int(self.folds) > 1):
            raise ValueError(f"--folds {self.folds!r:.40}: give a whole number of 2 or more, or all")
        if not 1 <= self.seeds <= SEEDS:
            raise ValueError(f"--seeds {self.seeds}: give 1 to {SEEDS}")
        if self.seed < 0:
            raise ValueError(f"--seed {self.seed}: must be 0 or more")
        if self.name is not None:
            plain = self.name.strip() and self.name != ".." and Path(self.name).name == self.name
            if not plain or len(os.fsencode(self.name)) > 200:
                raise ValueError(f"--name {self.name[:60]!r}: a plain folder name is wanted; --output says where it is")
        if not 0 <= self.soft_weight <= 1:
            raise ValueError(f"--soft-weight {self.soft_weight}: must lie between 0 and 1")

    @property
    def automatic_name(self) -> str:
        """Of the run's folder, where --name does not give one."""
        which = f"seed{self.seed}" if self.seeds == 1 else f"{self.seeds}seeds"
        return f"{self.dataset}-{self.recipe.model.replace(':', '-')}-{self.recipe_name}-{which}"

    def as_json(self) -> dict[str, Any]:
        """The content of args.json."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("recipe", "recipe_name")}
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in own.items()}
        return {"recipe": self.recipe_name, **plain, "options": asdict(self.recipe)}


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every field, in groups; a flag that is not given leaves nothing in the namespace."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    usual = make_recipe("default")
    for f in fields(Recipe):
        name = f.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(f"{name} (in brackets: what the recipe default has)")
        flag = "--" + f.name.replace("_", "-")
        help = f"{f.metadata['help']} [{getattr(usual, f.name)}]".replace("%", "%%")
        if isinstance(f.default, bool):
            kwargs: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
        else:
            kwargs = {"type": type(f.default), "choices": f.metadata["choices"]}
            if not f.metadata["choices"]:
                kwargs["metavar"] = (
                    "N" if isinstance(f.default, int) else "X" if isinstance(f.default, float) else "NAME"
                )
        groups[name].add_argument(
            flag, *f.metadata["flags"], dest=f.name, default=argparse.SUPPRESS, help=help, **kwargs
        )


def config_from_flags(args: argparse.Namespace) -> RunConfig:
    """Of a new run. Recipe < command line; ValueError for an impossible value."""
    given = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    recipe = make_recipe(args.recipe, given)
    own = {f.name: getattr(args, f.name) for f in fields(RunConfig) if f.name not in ("recipe", "recipe_name")}
    if args.soft_weight != RunConfig.soft_weight and not args.soft_targets:
        raise ValueError(
            f"--soft-weight {args.soft_weight}: of which predictions? give --soft-targets too, or leave it out"
        )
    own["data"] = args.data or Path("data") / f"{args.dataset or DATASETS[0]}.h5"
    return RunConfig(recipe_name=args.recipe, recipe=replace(recipe, model=model_name(recipe.model)), **own)


def read_config(path: Path) -> RunConfig:
    """From an args.json; ValueError with the first key that is unknown or of another type."""
    values = read_json(path)
    if not isinstance(values.get("options"), dict) or "data" not in values:
        raise ValueError(f"{path} is no args.json of train.py: it has no data and options")
    if "recipe" in values:
        values["recipe_name"] = values.pop("recipe")
    values["recipe"] = _checked(Recipe, values.pop("options"), path)
    config = _checked(RunConfig, values, path)
    check_recipe(config.recipe)
    return config


def resumed_config(args: argparse.Namespace, said: set[str]) -> tuple[RunConfig, RunConfig]:
    """The configuration to train with, and the one to write to args.json: --epochs is kept, the others are not.

    said: names of the flags that were given with --resume. ValueError for those that the run has fixed.
    """
    folder = args.resume
    if not (folder / "args.json").is_file():
        runs = sorted(str(path.parent) for path in Path("runs").glob("*/args.json"))[:5]
        hint = f"; there are {', '.join(runs)}" if runs else ""
        inside = next((parent for parent in folder.parents if (parent / "args.json").is_file()), None)
        if inside and folder.exists():
            hint = f"; it is a part of one: give --resume {quoted(inside)}"
        raise FileNotFoundError(f"--resume {folder}: no run there (a run's folder has an args.json){hint}")
    fixed = sorted(said - set(CHANGEABLE))
    if fixed:
        flags = ", ".join("--" + name.replace("_", "-") for name in fixed)
        best = folder / "best.pt"  # not of a fold: the others would start from what has seen their faces
        start = f" with --init {best}" if best.is_file() else ""
        raise ValueError(f"{flags}: fixed by the run in {folder}; start a new run under another --name{start}")
    kept = read_config(folder / "args.json")
    if "epochs" in said:
        done = sorted(path.parent.name for path in folder.glob("*/**/summary.json"))
        if done:
            raise ValueError(
                f"--epochs {args.epochs}: {done[0]} has been finished with {kept.recipe.epochs}; leave --epochs out, or"
                " start a new run under another --name"
            )
        kept = replace(kept, recipe=replace(kept.recipe, epochs=args.epochs))
        check_recipe(kept.recipe)
        done = max((_count_epochs(path) for path in folder.rglob("metrics.csv")), default=0)
        if args.epochs < done:
            raise ValueError(f"--epochs {args.epochs}: the run in {folder} has done {done} already; give more")
    return replace(kept, **{name: getattr(args, name) for name in said - {"epochs"}}), kept


def _count_epochs(metrics: Path) -> int:
    """Rows of a metrics.csv."""
    return max(0, metrics.read_text(encoding="utf-8", errors="replace").count("\n") - 1)


def _checked(kind: type, values: dict[str, Any], path: Path) -> Any:
    """`kind(**values)`, with texts made paths where paths are wanted, or ValueError.

    A field that an older version did not know yet may be missing: its default is what that version did.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(
            f"{path} has {', '.join(unknown)[:100]}, which this code does not know; was it made by another version?"
        )
    for name, wanted in hints.items():
        if name not in values:
            continue
        if wanted in (Path, Path | None) and isinstance(values[name], str):
            values[name] = Path(values[name])
        if wanted is float and isinstance(values[name], int):
            values[name] = float(values[name])
        if not isinstance(values[name], wanted):
            raise ValueError(f"{path}: {name} is {repr(values[name])[:60]}, not {getattr(wanted, '__name__', wanted)}")
    return kind(**values)
