"""A short form of `python -m tests.fuzz`, and that the loop sees what it is there to see."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import loop
from tests.fuzz.readers import READERS, Reader

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def test_no_damaged_input_does_more_than_one_line():
    """Ten of every reader, in a process of its own: the readers' networks are replaced there."""
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", str(10 * len(READERS)), "--seed", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].split() == ["all", str(10 * len(READERS))]


def _file(place: Path, rng) -> Path:
    (place / "input").write_text(str(rng.random()))
    return place / "input"


def _reads(path: Path) -> str:
    return path.read_text()


def _refuses(path: Path) -> None:
    raise ValueError("no")


def _breaks(path: Path) -> None:
    raise KeyError("no")


def _waits(path: Path) -> None:
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


def _takes(path: Path) -> list[bytes]:
    return [bytes(1 << 28) for _ in range(8)]


def _writes(path: Path) -> None:
    (path.parent / "more").touch()


def _dies(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
@pytest.mark.parametrize(
    "read, outcome, what",
    [
        (_reads, "read", ""),
        (_refuses, "refused", ""),
        (_breaks, "failed", "KeyError"),
        (_waits, "failed", "more than"),
        (_takes, "failed", "MemoryError"),
        (_writes, "failed", "left behind"),
        (_dies, "failed", "ended with status"),
    ],
)
def test_the_loop_tells_outcomes_apart(read, outcome, what, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "TIMEOUT", 0.3)
    reader = Reader("x", _file, read, lambda path, result: None)
    counts, failures = loop.run([reader], 2, seed=0, work=tmp_path)
    assert counts == {("x", outcome): 2}
    assert [failure.number for failure in failures] == ([0, 1] if outcome == "failed" else [])
    assert all(what in failure.what for failure in failures)
    assert (tmp_path / "x-1" / "input").exists() == (outcome == "failed"), "what failed is kept"


def test_an_input_is_the_same_for_the_same_seed(tmp_path):
    reader = next(reader for reader in READERS if reader.name == "predictions")
    contents = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        loop.one(reader._replace(read=_breaks), 7, seed, tmp_path / name)
        contents.append((tmp_path / name / "predictions-7" / "input.csv").read_bytes())
    assert contents[0] == contents[1] != contents[2]
