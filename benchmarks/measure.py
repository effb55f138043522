"""What the benchmarks share: rows of the table, timing, faces and recipes to measure with, child processes."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.names import FER2013_CLASSES
from engine.recipes import Recipe, make_recipe
from utils.cli import lazy_module

np = lazy_module("numpy")
torch = lazy_module("torch")
train_val = lazy_module("datasets.train_val")
storage = lazy_module("datasets.storage")

if TYPE_CHECKING:
    from datasets.train_val import TrainVal

ROOT = Path(__file__).parents[1]
FACES = 28_709  # FER2013's Training
SIDE = 48


@dataclass(frozen=True)
class Row:
    """One line of the table: one value per repeat for each side. An empty side was not measured."""

    benchmark: str
    what: str
    unit: str
    ours: tuple[float, ...]
    usual: tuple[float, ...] = ()
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """How many times better we are, by the medians; None where there is nothing to compare."""
        if not self.ours or not self.usual:
            return None
        ours, usual = statistics.median(self.ours), statistics.median(self.usual)
        over, under = (ours, usual) if self.more_is_better else (usual, ours)
        return over / under if under else None

    def as_dict(self) -> dict[str, Any]:
        """Plain types, with medians and ratio."""
        medians = {f"{side}_median": statistics.median(v) for side in ("ours", "usual") if (v := getattr(self, side))}
        return asdict(self) | medians | {"ratio": self.ratio}


def table(rows: Sequence[Row]) -> str:
    """Ratio, name, both sides as median (lowest to highest), unit."""
    heads = ("ratio", "", "", "ours", "usual", "")
    cells = [
        (
            "" if row.ratio is None else f"{row.ratio:.1f}x" if row.ratio >= 0.995 else f"{row.ratio:.2f}x",
            row.benchmark,
            row.what,
            spread(row.ours),
            spread(row.usual),
            row.unit,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (heads, *cells)) for column in range(len(heads))]
    adjust = (str.rjust, str.ljust, str.ljust, str.rjust, str.rjust, str.ljust)
    return "\n".join(
        "  ".join(side(text, width) for side, text, width in zip(adjust, line, widths, strict=True)).rstrip()
        for line in (heads, *cells)
    )


def spread(values: Sequence[float]) -> str:
    """ "median (lowest to highest)"; the median alone of one value, "-" of none."""
    if not values:
        return "-"
    digits = 0 if statistics.median(values) >= 100 else 2
    middle, low, high = (f"{f(values):,.{digits}f}" for f in (statistics.median, min, max))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def say(text: str) -> None:
    """Progress, on stderr: the table alone goes to stdout."""
    print(text, file=sys.stderr, flush=True)


def seconds(device: "torch.device", work: Callable[[], Any]) -> float:
    """Wall-clock seconds of `work()`, with what it left running on a GPU."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def child(module: str, options: dict[str, Any], limit: float | None = None) -> dict[str, Any]:
    """Run `python -m module OPTIONS-AS-JSON`; return the JSON it prints, with "wall", the seconds of the process.

    The options get "started", the time.time() of its start. ValueError with its last line where it fails, or takes
    longer than `limit` seconds.
    """
    start = time.perf_counter()
    given = json.dumps(options | {"started": time.time()}, default=str)
    output = run_process(["-m", module, given], module, limit)
    return json.loads(output.splitlines()[-1]) | {"wall": time.perf_counter() - start}


def run_process(arguments: Sequence[str], name: str, limit: float | None = None) -> str:
    """Run Python with these arguments in the project's folder; its stdout. ValueError as `child` says it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, *arguments], cwd=ROOT, start_new_session=True, **pipes) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException as error:
            stop(process)  # with its own children: loaders, compilers
            if isinstance(error, subprocess.TimeoutExpired):
                raise ValueError(f"{name} was stopped after {limit:.0f} s") from None
            raise
    if process.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise ValueError(f"{name} ended with status {process.returncode}: {last}")
    return output


def stop(process: "subprocess.Popen[str]") -> None:
    """End a process of `run_process` and all that it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:  # Windows
        process.kill()


def training_set(data: Path, faces: int | None = None) -> "TrainVal":
    """The first `faces` (None: all) of the file's Training; random pixels of the same size where it is not there.

    Speed does not depend on what a face shows.
    """
    if data.exists():
        return train_val.limited(train_val.train_val_split(storage.read_faces(data)), faces)
    say(f"{data} is not there: random pixels stand in")
    split = storage.Split(*random_faces(faces or FACES))
    few = storage.Split(split.pixels[:1], split.labels[:1])
    random = storage.FaceSet("fer2013", FER2013_CLASSES, {"Training": split, "PublicTest": few}, "random", "")
    return train_val.train_val_split(random)


def random_faces(count: int) -> tuple[Any, Any]:
    """Pixels uint8 (count, 48, 48) and labels int64 (count,), the same every time."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8), rng.integers(0, 7, count)


def recipe_for(model: str, batch_size: int | None, name: str | None = None, **fields: Any) -> Recipe:
    """The named recipe with this model; by default "small" for that network and "sgd" for others. None: its own."""
    given = fields | {"model": model, "batch_size": batch_size}
    name = name or ("small" if model == "small" else "sgd")
    return make_recipe(name, {key: value for key, value in given.items() if value is not None})
