"""Faults at some places of every kind; all of them: `python -m tests.faults --every 1`."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fcntl", reason="no file locks on this system")
ROOT = Path(__file__).parent.parent


def test_nothing_is_lost_whatever_happens():
    flags = ["--every", "40", "--kills", "3", "--scenes", "train", "preprocess", "evaluate"]
    done = subprocess.run([sys.executable, "-m", "tests.faults", *flags], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nothing lost" in done.stdout
