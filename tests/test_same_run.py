"""The same seed gives the same run, to the bit, wherever and however the process is started."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from models.checkpoint import load_checkpoint

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


def trained(data: Path, folder: Path, name: str, **environment: str) -> dict[str, torch.Tensor]:
    """The weights after a run in a process of its own, with `folder` as its working folder."""
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    flags = [*FLAGS, "--data", str(data), "--device", "cpu", "--name", name, "--limit", "128"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *flags], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return load_checkpoint(folder / "runs" / name / "last.pt")["model"]


def test_the_same_in_another_process_and_folder_with_other_hashes(faces_file, tmp_path):
    one = trained(faces_file, tmp_path / "here", "one", PYTHONHASHSEED="1")
    two = trained(faces_file, tmp_path / "there and back", "two", PYTHONHASHSEED="2")
    assert all(torch.equal(one[name], two[name]) for name in one)
