"""The same seed gives the same run, to the bit, wherever and however the process is started."""

import os
import subprocess
import sys
from pathlib import Path

import torch

import train
from models import build
from models.checkpoint import load_checkpoint
from tests.faults.toy import Toy

ROOT = Path(__file__).parent.parent
CODE = """
import sys
from models import build
from tests.faults.toy import Toy
import train
build.BUILDERS["small"] = Toy
train.main(sys.argv[1:])
"""
FLAGS = ["--recipe", "smoke", "--epochs", "2", "--dropout", "0.3", "--mixup", "0.2", "--erase", "0.5", "--no-amp"]


def test_the_same_in_another_process_and_folder_with_other_hashes(faces_file, tmp_path, monkeypatch):
    flags = [*FLAGS, "--data", str(faces_file), "--device", "cpu", "--name", "x", "--limit", "128"]
    monkeypatch.setitem(build.BUILDERS, "small", Toy)
    train.main([*flags, "--output", str(tmp_path / "here")])
    there = tmp_path / "there and back"
    there.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "2"}
    environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # with another number, sums are split elsewhere
    done = subprocess.run(
        [sys.executable, "-c", CODE, *flags], cwd=there, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    a, b = (load_checkpoint(path / "x" / "last.pt")["model"] for path in (tmp_path / "here", there / "runs"))
    assert all(torch.equal(a[name], b[name]) for name in a)
