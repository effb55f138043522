"""Which device, and whether lower precision pays on it."""

import torch

from utils.distributed import local_rank

# What PyTorch and its libraries say where memory is short, but for torch.OutOfMemoryError
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" is "cuda" where there is a GPU, and that is the process's own under torchrun, else the first one.

    ValueError for a device that is not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto" and not count:
        return torch.device("cpu")
    if name in ("auto", "cuda") and count:
        return torch.device("cuda", local_rank() % count)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"unknown device {name!r}; there are auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} GPUs" if count else "no GPU"
        raise ValueError(f"--device {name}: PyTorch sees {found} here; use --device cpu, or auto")
    if device.type not in ("cpu", "cuda"):
        try:
            torch.ones(2, device=device).sum().item()
        except Exception:  # RuntimeError, AssertionError, NotImplementedError: whatever its part of PyTorch raises
            raise ValueError(f"--device {name}: PyTorch cannot compute there; use --device cpu, or auto") from None
    return device


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's or the host's memory is used up."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
    )


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
