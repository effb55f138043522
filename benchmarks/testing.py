"""Ten-crop testing: crops per second, peak memory, and whether memory grows with the number of faces.

Ours: `predict` with `make_views`, in float32 (TF32 turned off), and in bfloat16 (`--amp`) where that pays. The usual:
`TenCrop` of PIL images in a DataLoader with worker processes, a batch's faces x ten stacked into one forward pass,
float32 as PyTorch comes (on a GPU: TF32 in convolutions), channels_first. Reading files and building the network are
not counted; starting the workers is.

Each side is a process of its own with random faces, which tests a quarter of them four times and then all, `repeats`
times. Memory is the peak above what imports, network and faces take: on a CPU of the process, without the workers,
which come on top; on a GPU what PyTorch allocated there. Raises ValueError where the two sides' logits differ.
"""

import json
import sys
from typing import Any

import torch

from benchmarks.measure import Row, child, random_faces, recipe_for, say, seconds
from benchmarks.reference import plain_loader, predict_plain, usual_settings, view_transform
from datasets.views import make_views
from engine.predict import predict
from models.build import build_model
from utils.device import bfloat16_pays
from utils.seed import seed_torch

SHOWN = 8  # faces whose logits are compared
TOLERANCE = 1e-3  # of the largest logit
FACES = 3_589  # FER2013's PrivateTest


def measure(
    models: list[str],
    device: torch.device,
    repeats: int,
    workers: int,
    batch_size: int | None = None,
    faces: int | None = None,
) -> list[Row]:
    """Speed and memory of both sides, for every model; `faces` limits how many are tested at most."""
    rows = []
    for model in models:
        # the usual forward pass has ten times as many; large networks take minutes over that on a CPU
        size = batch_size or (128 if device.type == "cuda" or model == "small" else 16)
        count = 4 * (FACES if device.type == "cuda" else size)  # a quarter of them: PrivateTest, or one batch
        count = max(4, min(faces or count, count) // 4 * 4)
        size = min(size, count // 4)
        say(f"test: {model}, {count} faces; the usual way {size} of them, ten crops each, a batch")
        options = {"model": model, "device": str(device), "faces": count, "batch_size": size}
        options |= {"repeats": repeats, "workers": workers}
        ours = child("benchmarks.testing", options | {"side": "ours"})
        usual = child("benchmarks.testing", options | {"side": "usual"})
        rows += compare(model, ours, usual)
    return rows


def compare(model: str, ours: dict[str, Any], usual: dict[str, Any]) -> list[Row]:
    """The rows of one model from what `one_side` returned for both sides."""
    gap = max(abs(a - b) for a, b in zip(ours["logits"], usual["logits"], strict=True))
    if gap > TOLERANCE * max(map(abs, usual["logits"])):
        raise ValueError(f"test: the two sides' logits of {model} differ by {gap}; they see different crops")
    rows = [Row("test", f"{model}, ten-crop", "crops/s", ours["crops"], usual["crops"], more_is_better=True)]
    if ours["amp_crops"]:
        what = f"{model}, ours in bfloat16"
        rows.append(Row("test", what, "crops/s", ours["amp_crops"], usual["crops"], more_is_better=True))
    for key, faces in (("peak_quarter", ours["faces"] // 4), ("peak", ours["faces"])):
        rows.append(Row("test", f"{model}, memory for {faces} faces", "MiB", (ours[key],), (usual[key],)))
    return rows


def one_side(options: dict[str, Any]) -> dict[str, Any]:
    """Test with one side in this process: crops per second of every repeat, peak memory, some logits."""
    device, size, faces = torch.device(options["device"]), options["batch_size"], options["faces"]
    recipe = recipe_for(options["model"], size)
    pixels, labels = random_faces(faces)
    seed_torch(0)
    model = build_model(recipe.model, dropout=recipe.dropout, pool=recipe.pool).to(device)

    def ours(count: int, amp: bool = False) -> torch.Tensor:
        views = make_views("ten", recipe.crop, mean=recipe.mean, std=recipe.std)
        return predict(model, pixels[:count], views, amp=amp)

    def usual(count: int) -> torch.Tensor:
        transform = view_transform("ten", recipe.crop, recipe.mean, recipe.std)
        loader = plain_loader(pixels[:count], labels[:count], transform, size, options["workers"], train=False)
        with usual_settings():
            return predict_plain(model, loader, device)

    if options["side"] == "ours":
        model = model.to(memory_format=torch.channels_last)
    test = {"ours": ours, "usual": usual}[options["side"]]
    before = memory_mib(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        logits = test(faces // 4)
    for _ in range(3):  # an allocator takes some passes until it has settled
        test(faces // 4)
    if device.type == "cuda":  # cuDNN tries its kernels once for every shape of batch
        test(faces)
        torch.cuda.reset_peak_memory_stats(device)
        test(faces // 4)
    result: dict[str, Any] = {"faces": faces, "logits": logits[:SHOWN].flatten().tolist()}
    result["peak_quarter"] = memory_mib(device, peak=True) - before
    repeats = range(options["repeats"])
    result["crops"] = tuple(10 * faces / seconds(device, lambda: test(faces)) for _ in repeats)
    result["peak"] = memory_mib(device, peak=True) - before
    result["amp_crops"] = ()
    if options["side"] == "ours" and bfloat16_pays(device):
        ours(faces // 4, amp=True)  # warm-up
        result["amp_crops"] = tuple(10 * faces / seconds(device, lambda: ours(faces, amp=True)) for _ in repeats)
    return result


def memory_mib(device: torch.device, peak: bool = False) -> float:
    """Memory of this process, now or at its highest: on the GPU, or resident in the host's."""

    if device.type == "cuda":
        return (torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated)(device) / 2**20
    if sys.platform == "linux":  # where ru_maxrss would begin at what the parent process had
        with open("/proc/self/status") as file:
            name = "VmHWM" if peak else "VmRSS"
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith(name))
    import resource

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / 2**20 if sys.platform == "darwin" else highest / 1024  # macOS counts bytes


if __name__ == "__main__":
    print(json.dumps(one_side(json.loads(sys.argv[1]))))
