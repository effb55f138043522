"""How fast training is, how far that is from what the device could do, and where the rest of the time goes."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import training
from benchmarks.measure import recipe_for, seconds, training_set
from datasets.train_val import limited
from engine.build import build_setup
from engine.config import RunConfig
from engine.loop import train_epoch
from engine.recipes import Recipe
from models.build import build_model
from utils.device import bfloat16_pays, pick_device

PEAK_SIDE = {"cuda": 8192}  # of the matrices, elsewhere 512
SHOWN = 10  # kernels
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")  # categories of the profiler's trace


def throughput(options: dict[str, Any]) -> dict[str, Any]:
    """Faces per second of training, ours and the usual way's, and the share of the device's arithmetic that they use.

    options: model, data, device, batch_size, steps (a repeat), repeats, workers (of the usual DataLoader), faces.
    Returns the benchmark's row (measure.Row), flop (of a face, forward and backward), peak (FLOP/s of a matrix product
    in peak_type: bfloat16, or float32 where that does not pay), and ours_share, usual_share: the time that the
    arithmetic alone would take at that peak, as a part of the time that training took.
    """
    device = pick_device(options["device"])
    kind = torch.bfloat16 if bfloat16_pays(device) else torch.float32
    data = training_set(Path(options["data"]), options["faces"])
    counts = (options[name] for name in ("repeats", "workers", "batch_size", "steps"))
    row = training.measure(data, [options["model"]], device, *counts)[0].as_dict()
    flop = training_flop(recipe_for(options["model"], options["batch_size"]))
    peak = matmul_peak(device, kind)
    shares = {f"{side}_share": row[f"{side}_median"] * flop / peak for side in ("ours", "usual")}
    known = {name: options[name] for name in ("model", "batch_size", "steps", "repeats", "workers")}
    return known | {"row": row, "flop": flop, "peak": peak, "peak_type": str(kind).removeprefix("torch."), **shares}


def training_flop(recipe: Recipe) -> float:
    """Floating-point operations of one face, forward and backward, as PyTorch counts convolutions and products."""
    with torch.device("meta"):  # nothing is computed
        model, x = build_model(recipe.model), torch.empty(2, 1, recipe.crop, recipe.crop)
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops() / 2


def matmul_peak(device: torch.device, kind: torch.dtype, repeats: int = 10) -> float:
    """FLOP/s of a large square matrix product, the best of `repeats`."""
    n = PEAK_SIDE.get(device.type, 512)
    a, b = (torch.randn(n, n, device=device, dtype=kind) for _ in range(2))
    a @ b  # warm-up
    return 2 * n**3 / min(seconds(device, lambda: a @ b) for _ in range(repeats))


def breakdown(options: dict[str, Any]) -> dict[str, Any]:
    """Where the time of training steps goes: the share in which the GPU does nothing, and the largest kernels.

    options: model, data, device, batch_size, steps. The default recipe's steps at full size, with Muon, are timed
    without the profiler, then recorded with it.
    Returns step_ms (without it), idle (part of that in which no kernel runs; None on a CPU), launches (kernels a step),
    and top: name, share of the busy time, ms a step.
    """
    device, size, steps = pick_device(options["device"]), options["batch_size"], options["steps"]
    recipe = recipe_for(options["model"], size, "default", early_size=0)
    data = limited(training_set(Path(options["data"])), steps * size)
    setup = build_setup(RunConfig(Path("-"), recipe=recipe, device=str(device)), data)

    def epoch() -> None:
        train_epoch(setup.state, setup.loss_of, setup.loader, recipe)

    epoch(), epoch()  # compiles, tries kernels
    taken = seconds(device, epoch) / steps
    on_gpu = device.type == "cuda"
    # acc_events: without it PyTorch 2.11 warns
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu, acc_events=True) as profiler:
        seconds(device, epoch)
    if on_gpu:
        busy, times, launches = kernel_times(trace_of(profiler))
    else:
        times = {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}
        busy, launches = sum(times.values()), sum(event.count for event in profiler.key_averages())
    largest = sorted(times.items(), key=lambda pair: -pair[1])[:SHOWN]
    return {
        **{name: options[name] for name in ("model", "batch_size", "steps")},
        "compiled": setup.compiled,
        "bfloat16": setup.amp,
        "step_ms": 1e3 * taken,
        "idle": max(0.0, 1 - busy / steps / taken) if on_gpu else None,
        "launches": launches / steps,
        "top": [{"name": name, "share": t / busy, "ms": 1e3 * t / steps} for name, t in largest],
    }


def trace_of(profiler: profile) -> list[dict[str, Any]]:
    """What the profiler recorded, as Chrome's trace format has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return json.loads(path.read_text(encoding="utf-8"))["traceEvents"]


def kernel_times(events: Iterable[Mapping[str, Any]]) -> tuple[float, dict[str, float], int]:
    """Seconds in which at least one kernel or copy ran, the seconds of each by its name, and how many ran."""
    spans, times = [], defaultdict(float)
    for event in events:
        if event.get("cat") in ON_GPU:
            start, length = event["ts"] / 1e6, event["dur"] / 1e6  # the trace has microseconds
            spans.append((start, start + length))
            times[event["name"]] += length
    busy, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    return busy, dict(times), len(spans)
