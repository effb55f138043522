"""A script's `main` in a child process that something happens to.

The child is forked from a process that has imported everything, so that it starts in milliseconds. What happens to it
happens at a system event, a moment before it opens a file for writing, renames, removes or makes one, at a byte of a
file, or at a moment.
"""

import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
FAULTS = ("kill", "terminate", "interrupt", "refuse")  # at a system event
FAULTS += ("cut", "full")  # at a byte of a file: killed there; the disk is full there


class Fault(NamedTuple):
    """kind: of FAULTS; at: number of the system event, from 1, or the byte. seconds: kill or terminate then."""

    kind: str = ""
    at: int = 0
    seconds: float = 0.0


NONE = Fault()


class Ended(NamedTuple):
    """How a child ended: its status (minus the signal that killed it), what it said, its system events, its tidings."""

    status: int
    out: str
    err: str
    events: int
    told: list[int]


def run_child(main: Callable[[list[str]], Any], argv: list[str], folder: Path, fault: Fault = NONE) -> Ended:
    """`main(argv)` in a child in `folder`. Tidings: what the child writes, four bytes each, to descriptor TOLD."""
    sys.stdout.flush()
    pipes = [os.pipe() for _ in range(4)]  # pipes, because a file would be limited like any other; they hold 64 KiB
    child = os.fork()
    if not child:
        _be_child(main, argv, folder, fault, [end for _, end in pipes])
    sent = signal.SIGTERM if fault.kind == "terminate" else signal.SIGKILL
    timer = threading.Timer(fault.seconds, os.kill, (child, sent))
    if fault.seconds:
        timer.start()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    timer.cancel()
    texts = []
    for end, other in pipes:
        os.close(other)
        with open(end, "rb") as file:
            texts.append(file.read())
    numbers = [int.from_bytes(texts[2][i : i + 4], "big") for i in range(0, len(texts[2]), 4)]
    return Ended(status, texts[0].decode(), texts[1].decode(), len(texts[3]), numbers)


TOLD = 100  # descriptor


def tell(number: int) -> None:
    """From a child to whoever has started it; kept whatever happens to the child."""
    os.write(TOLD, number.to_bytes(4, "big"))


def _be_child(main: Callable, argv: list[str], folder: Path, fault: Fault, files: list[int]) -> None:
    status = 1
    try:
        for descriptor, wanted in zip(files[:3], (1, 2, TOLD), strict=True):
            os.dup2(descriptor, wanted)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background processes do not have
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if fault.kind in ("cut", "full"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.at, fault.at))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if fault.kind == "cut" else signal.SIG_IGN)
        sys.addaudithook(_hook(folder, fault, files[3]))
        main(argv)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _hook(folder: Path, fault: Fault, counter: int) -> Callable[[str, tuple], None]:
    """An audit hook that counts the changes to files in `folder`, and at number `fault.at` lets the fault happen."""
    inside, count = str(folder), 0

    def hook(event: str, args: tuple) -> None:
        nonlocal count
        if event != "open" and event not in CHANGES or event == "open" and not (args[2] or 0) & WRITES:
            return
        path = os.path.abspath(os.fsdecode(args[0])) if isinstance(args[0], str | bytes | os.PathLike) else ""
        if not path.startswith(inside):
            return
        count += 1
        os.write(counter, b".")
        if fault.kind == "refuse" and count >= fault.at:  # from now on, as of a disk that was mounted anew
            raise OSError(30, os.strerror(30), path)
        if count == fault.at:
            sent = {"kill": signal.SIGKILL, "terminate": signal.SIGTERM, "interrupt": signal.SIGINT}
            if fault.kind in sent:
                os.kill(os.getpid(), sent[fault.kind])

    return hook
