"""Which device, and whether lower precision pays on it."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from utils.distributed import local_rank

# What PyTorch and its libraries say where memory is short, but for torch.OutOfMemoryError
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is "cuda" where there is a GPU, and that is the process's own under torchrun, else the first one.

    ValueError for a device that is not there or does not work. Where a GPU cannot be used, as with an old driver,
    "auto" is the CPU, and a line on stderr says why.
    """
    count, trouble = count_gpus()
    name = name.strip().lower()
    if name == "auto" and not count:
        if trouble:
            print(f"no GPU is used: {trouble}", file=sys.stderr)
        return torch.device("cpu")
    trouble = f" ({trouble})" if trouble else ""
    try:
        device = torch.device(name if name != "auto" else "cuda")
        if device.type == "cuda" and device.index is None and count:
            device = torch.device("cuda", local_rank() % count)
        elif device.type == "cuda" and not count:
            raise RuntimeError("no GPU")
        (torch.ones(1, device=device) + 1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        if out_of_memory(error):
            raise ValueError(
                f"--device {name}: its memory is taken, by another process perhaps (nvidia-smi lists them); wait, or"
                " give another GPU, or --device cpu"
            ) from None
        gpus = [f"cuda:{index}" for index in range(count)]
        seen = ["cpu", *gpus]
        seen += ["mps"] if torch.backends.mps.is_available() else []
        seen += ["xpu"] if torch.xpu.is_available() else []
        if count and name in ("auto", "cuda", *gpus):  # it is there, but does not work
            trouble = f" ({first_line(error)})"
        raise ValueError(f"--device {name}: not available here; this PyTorch sees {', '.join(seen)}{trouble}") from None
    return torch.device("cpu") if device.type == "cpu" else device


def count_gpus() -> tuple[int, str]:
    """How many GPUs of NVIDIA or AMD work, and why none does where the driver gives a reason."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return count, first_line(caught[-1].message) if caught and not count else ""


def first_line(error: Warning | BaseException) -> str:
    """The first sentence of PyTorch's many."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].split(". ")[0].split(" (Triggered")[0].rstrip(". ")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's or the host's memory is used up."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
    )


def settle_kernels(deterministic: bool) -> None:
    """Before a GPU is used: look for the fastest kernels, or take those that give the same bits every time.

    The search is made once for every shape of batch, and a training step has one shape or two. Operations of which
    PyTorch has no deterministic form give a warning, not an error: the pooling of the VGGs counts as one, though its
    windows do not overlap and so its sums have one term.
    """
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


@contextmanager
def enough_memory(what: str, instead: str) -> Iterator[None]:
    """Make one line of running out of memory: a ValueError that says with `what`, and what to do `instead`.

    Where it is not the host's own memory, the CPU is offered too.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        host = isinstance(error, MemoryError) or "CPU" in str(error)
        raise ValueError(f"out of memory with {what}; {instead}{'' if host else ', or --device cpu'}") from None


def choose_precision(device: torch.device, amp: bool | None) -> tuple[bool, str]:
    """Whether to train in bfloat16, and the precision in words. amp: what was asked for; None: where it pays.

    A CPU without it in hardware can be made to, slowly. What is neither a CPU nor such a GPU trains in float32.
    """
    pays = bfloat16_pays(device)
    used = pays if amp is None or device.type != "cpu" and not pays else amp
    used = used and amp is not False
    missing = device.type != "cpu" and not pays and amp is not False
    return used, "bfloat16" if used else "float32" + (" (this GPU has no bfloat16)" if missing else "")


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: GPUs from Ampere on, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        has = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
    return False


def describe_device(device: torch.device) -> str:
    """A name for the log: "cpu (2 threads)" or "cuda (NVIDIA H200)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)"
