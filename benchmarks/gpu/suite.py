"""What the GPU suite runs, in which order and in how much time; everything known so far is written after every part.

A part runs in a process of its own, so that one that fails, hangs or leaves a broken GPU context costs its own figures
only. Parts that no longer fit into the time are skipped, and the report says so.
"""

import argparse
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.faces import prepare
from benchmarks.gpu.learning import default_recipe
from benchmarks.gpu.report import markdown
from benchmarks.measure import FACES, child, say
from utils.device import pick_device
from utils.files import check_writable, write_json, write_text
from utils.run_folder import environment

RESERVE = 10  # seconds kept for the end
MARKS = {"fer2013": (0.60, 0.65, 0.72), "drawn": (0.60, 0.80, 0.94)}  # 94% is where `make demo` ends


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    faces: int = FACES  # drawn for Training, and trained on where speed is measured
    tested: int = 3_589  # drawn for PublicTest
    models: tuple[str, ...] = ("small", "resnet18", "vgg19")
    learners: tuple[str, ...] = ("resnet18", "vgg19")  # trained until a mark, and with the default recipe
    batches: tuple[int, ...] = (128, 512)
    repeats: int = 3
    steps: int = 20  # of numerics and of the profile
    speed_steps: int = 224  # a repeat; an epoch at most
    seeds: int = 3  # of the runs to a mark
    epochs: int | None = None  # None: the recipe's


QUICK = Sizes(96, 16, ("small",), ("small",), (16,), repeats=1, steps=2, speed_steps=2, seeds=1, epochs=1)


@dataclass
class Part:
    """One measurement: `name` of a function in parts.py, or "accuracy"."""

    name: str
    title: str
    options: dict[str, Any]
    least: float = 30  # seconds, below which it is not begun
    most: float = 180  # seconds, after which it is stopped; "accuracy" takes its part of the rest instead


@dataclass
class Results:
    """Everything known so far, and where it goes."""

    folder: Path
    head: dict[str, Any]
    parts: list[dict[str, Any]] = field(default_factory=list)

    def add(self, part: Part, status: str, seconds: float, **more: Any) -> None:
        """Take in a part that is done, failed or skipped, and write both files."""
        self.parts.append({"part": part.name, "title": part.title, "status": status, "seconds": seconds, **more})
        self.write()

    def write(self) -> None:
        """gpu.json with every value, gpu.md to read."""
        content = self.as_dict()
        write_json(self.folder / "gpu.json", content)
        write_text(self.folder / "gpu.md", markdown(content))

    def as_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {**self.head, "parts": self.parts}

    def rate(self, model: str) -> float | None:
        """Faces per second that were measured for this network, in the smallest batch."""
        done = (p["result"] for p in self.parts if p["part"] == "throughput" and p["status"] == "done")
        return next((result["row"]["ours_median"] for result in done if result["model"] == model), None)


def run_suite(args: argparse.Namespace) -> dict[str, Any]:
    """Run all parts within args.minutes; returns what gpu.json holds. ValueError where there is no GPU to use."""
    end = time.monotonic() + 60 * args.minutes
    device = pick_device(args.device)
    if device.type != "cuda" and args.device != device.type:
        raise ValueError("--suite gpu: PyTorch sees no GPU here; --device cpu --quick runs all of it in small")
    if (args.output / "gpu.json").exists():
        raise ValueError(f"--output {args.output}: there are results in it already; give another folder")
    check_writable(args.output)
    sizes = QUICK if args.quick else Sizes()
    say(f"faces: {args.data}, or drawn ones")
    drawn = {"Training": sizes.faces, "PublicTest": sizes.tested}
    data, faces = prepare(args.output / "faces.h5" if args.quick else args.data, args.output, drawn)
    head = {
        "command": shlex.join(["python", "-m", "benchmarks", *args.command]),
        "environment": environment(device) | {"command": args.command, "cpu_cores": os.cpu_count()},
        "gpu": gpu_facts(device),
        "data": {"file": str(data), "faces": faces},
        "minutes": args.minutes,
        "quick": args.quick,
    }
    results = Results(args.output, head)
    results.write()
    for part in plan(sizes, data, faces, device, args.workers):
        run_part(part, results, end)
    say(f"{args.output / 'gpu.md'} and {args.output / 'gpu.json'} hold what was measured")
    print(markdown(results.as_dict()))
    return results.as_dict()


def gpu_facts(device: torch.device) -> dict[str, Any]:
    """Name, memory and versions; empty on a CPU."""
    if device.type != "cuda":
        return {}
    about = torch.cuda.get_device_properties(device)
    facts = {
        "name": about.name,
        "memory_gib": about.total_memory / 2**30,
        "multiprocessors": about.multi_processor_count,
    }
    return facts | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def plan(sizes: Sizes, data: Path, faces: str, device: torch.device, workers: int) -> Iterator[Part]:
    """All parts in the order in which they are run: what the later ones build on, and what is surest, comes first."""
    common = {"data": str(data), "device": str(device)}
    for model in sizes.models:
        few = {"model": model, "batch_size": min(64, sizes.batches[0]), "steps": sizes.steps, "faces": 32}
        yield Part("numerics", f"numerics, {model}", common | few | {"reference": "cpu"})
    speed = common | {"repeats": sizes.repeats, "workers": workers, "faces": sizes.faces}
    for batch_size in sizes.batches:
        for model in sizes.models:
            own = {"model": model, "batch_size": batch_size, "steps": sizes.speed_steps}
            yield Part("throughput", f"throughput, {model}, batches of {batch_size}", speed | own)
    for model in sizes.models:
        few = {"model": model, "batch_size": sizes.batches[-1], "steps": sizes.steps}
        yield Part("breakdown", f"where the time goes, {model}", common | few)
    yield from learning_plan(sizes, faces, common)


def learning_plan(sizes: Sizes, faces: str, common: dict[str, Any]) -> Iterator[Part]:
    """Runs to a mark and runs of the default recipe; more seeds of the former at the end, if there is time."""
    small = {"epochs": sizes.epochs, "batch_size": sizes.batches[0] if sizes.epochs else None}
    for seed in range(sizes.seeds):
        for model in sizes.learners if seed == 0 else sizes.learners[:1]:
            own = {"model": model, "seed": seed, "recipe": "fast"}
            title = f"seconds to {MARKS[faces][-1]:.0%}, {model}, seed {seed}"
            yield Part("marks", title, common | small | own | {"marks": MARKS[faces]}, least=60, most=300)
        if seed == 0:
            for number, model in enumerate(sizes.learners):
                own = {"model": model, "of": len(sizes.learners) - number}  # of the rest of the time: its part
                yield Part("accuracy", f"default recipe, {model}", common | small | own, least=120)


def run_part(part: Part, results: Results, end: float) -> None:
    """Run one part within the time that is left; what goes wrong becomes an entry of the results."""
    start = time.monotonic()
    left = end - start - RESERVE
    if left < part.least:
        say(f"{part.title}: skipped, {max(0, left):.0f} s are left")
        return results.add(
            part, "skipped", 0.0, message=f"{max(0, left):.0f} s were left, and it wants {part.least:.0f} s"
        )
    say(f"{part.title} ({left:.0f} s left)")
    try:
        if part.name == "accuracy":
            options = part.options | {"rate": results.rate(part.options["model"])}
            result = default_recipe(options, left / options["of"], results.folder)
        else:
            limit = min(left, part.most)  # a part that can end by itself in time keeps what it has
            options = {"part": part.name, **part.options, "limit": 0.8 * limit}
            result = child("benchmarks.gpu.parts", options, limit)
    except (ValueError, OSError) as error:
        say(f"  failed: {error}")
        results.add(part, "failed", time.monotonic() - start, message=str(error))
    else:
        results.add(part, "done", time.monotonic() - start, result=result)
