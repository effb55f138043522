"""The loop: inputs one after another in child processes that may not take too long, too much, or anything else."""

import json
import os
import random
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.readers import Reader
from utils.cli import describe

TIMEOUT = 20  # seconds an input may take, on a busy machine
MEMORY = 1 << 30  # bytes of address space above those of the process that begins
CHUNK = 100  # inputs a child process


class Failure(NamedTuple):
    """An input that was neither refused nor read."""

    reader: str
    number: int
    what: str


class Hang(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


def run(readers: Sequence[Reader], inputs: int, seed: int, work: Path, first: int = 0) -> tuple[Counter, list[Failure]]:
    """Feed input number `first` and so on to the readers in turn. Returns (reader, outcome) -> count, and failures.

    work: an empty folder; the input of a failure stays there.
    """
    counts: Counter = Counter()
    failures = []
    number, end = first, first + inputs
    while number < end:
        until = min(end, number + CHUNK)
        report = work / "report.jsonl"
        report.unlink(missing_ok=True)
        child = os.fork()
        if not child:
            try:
                _feed(readers, range(number, until), seed, work, report)
            finally:
                os._exit(0)
        status = os.waitpid(child, 0)[1]
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        for reader, done, outcome, what in lines:
            counts[reader, outcome] += 1
            if outcome == "failed":
                failures.append(Failure(reader, done, what))
        number += len(lines)
        if number < until:  # the child is gone in the middle of this one
            reader = readers[number % len(readers)].name
            counts[reader, "failed"] += 1
            failures.append(Failure(reader, number, f"the process ended with status {status}"))
            number += 1
    return counts, failures


def _feed(readers: Sequence[Reader], numbers: range, seed: int, work: Path, report: Path) -> None:
    """In a child process: read every input, and write a line about each."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, _alarm)
    with open(report, "a") as file:
        for number in numbers:
            reader = readers[number % len(readers)]
            outcome, what = one(reader, number, seed, work)
            file.write(json.dumps([reader.name, number, outcome, what]) + "\n")
            file.flush()


def one(reader: Reader, number: int, seed: int, work: Path) -> tuple[str, str]:
    """Make the input, read it, judge: ("read" | "refused" | "failed", what was said)."""
    rng = random.Random(f"{seed}/{reader.name}/{number}")
    place = work / f"{reader.name}-{number}"
    place.mkdir()
    path = reader.make(place, rng)
    there = sorted(place.rglob("*"))
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", module="PIL")  # its remarks on damaged metadata
            reader.check(path, reader.read(path))
        outcome, what = "read", ""
    except (ValueError, OSError) as error:
        outcome, what = "refused", " ".join(describe(error).split())
        if not what or len(what) > 1500:
            outcome, what = "failed", f"a message of {len(what)} letters: {what[:300]}"
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        where = next(
            (f for f in reversed(frames) if "site-packages" not in f.filename and "/lib/" not in f.filename), frames[-1]
        )
        what = f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})"
        outcome = "failed"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if sorted(place.rglob("*")) != there or list(work.glob("executed*")):
        outcome, what = "failed", "a file was left behind, or code was run"
    if outcome != "failed":
        for file in sorted(place.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        place.rmdir()
    return outcome, what


def _alarm(*_: object) -> None:
    raise Hang(f"more than {TIMEOUT} s")
