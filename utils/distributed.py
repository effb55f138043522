"""Several processes, started by `torchrun`: who am I, wait for the others, tell them something."""

import atexit
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

WAIT = timedelta(days=7)  # at a meeting point: one process may have far longer folds to train than another
KEPT: list[dist.ProcessGroup] = []  # until `free_groups`
PEER_IS_GONE = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")  # gloo's words


def rank() -> int:
    """This process's number; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many processes there are; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """This process's number on its machine, which picks its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextmanager
def processes() -> Iterator[None]:
    """Join the group of processes for the duration, where there are several."""
    if world() == 1:
        yield
        return
    import_module("torch.distributed.nn")  # later, its default arguments would keep the group that is there by then
    own_gpus = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", world()))
    backend = "cpu:gloo,cuda:nccl" if own_gpus else "gloo"  # NCCL refuses two processes on one GPU
    dist.init_process_group(backend, timeout=WAIT)
    KEPT.append(dist.group.WORLD)
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not any(text in str(error) for text in PEER_IS_GONE):
            raise
        if isinstance(error, dist.DistBackendError):  # NCCL's, of which another process's end is only one
            raise ValueError(
                f"process {rank()} of {world()} cannot work with the others ({str(error).strip().splitlines()[0]}); a"
                " run that was begun goes on with the same torchrun and train.py --resume DIR"
            ) from error
        raise ValueError(
            f"another of the {world()} processes has ended, so this one (number {rank()}) ends too; the run goes on"
            " with the same torchrun and train.py --resume DIR"
        ) from None
    finally:
        dist.destroy_process_group()


@atexit.register
def free_groups() -> None:
    """End the groups' threads, which free tensors and need Python's lock for that.

    Later, when Python is being taken down, a thread that asks for the lock ends the process with SIGABRT. Earlier,
    together with a DistributedDataParallel, a group waits for its threads while it holds the lock.
    """
    if KEPT:
        gc.collect()
        KEPT.clear()


def from_first(value: Any) -> Any:
    """What the first process has, in every process; a meeting point for all. Plain types only."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """The mean of every process's tensor, in all of them."""
    if world() > 1:
        dist.all_reduce(values)
        values /= world()
    return values


def in_any(value: Any) -> bool:
    """Whether it is true in any process; a meeting point for all."""
    told = torch.tensor([float(bool(value))])
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def parallel(model: torch.nn.Module) -> torch.nn.Module:
    """The network with gradients averaged over the processes.

    Batch normalisation normalises with the statistics of each process's part of the batch and keeps the first one's.
    """
    device = next(model.parameters()).device
    own = [device.index] if device.type == "cuda" else None
    # training reads no buffers, and only the first one's count
    return DistributedDataParallel(model, device_ids=own, broadcast_buffers=False)


def meet() -> None:
    """Wait until every process has come here."""
    from_first(None)
