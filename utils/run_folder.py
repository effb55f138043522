"""The folder of a run: making it, and what a run depends on besides its arguments."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import torch
import torchvision

from utils.cli import quoted
from utils.device import describe_device
from utils.files import remove_leftovers


def create_run_folder(output: Path, name: str | None, automatic: str) -> Path:
    """Make and return `output/name`; ValueError if it has a run already.

    Without a name it is `automatic`, with -2, -3, ... behind it where that is taken.
    """
    folder = output / (name or automatic)
    number = 1
    while _is_taken(folder):
        if name is not None:
            raise ValueError(f"{folder} exists already{_way_on(folder)} choose another --name")
        number += 1
        folder = output / f"{automatic}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_taken(folder: Path) -> bool:
    """Whether anything is there. What a run that was killed at its very start has left of a file does not count."""
    if folder.is_dir():
        remove_leftovers(folder)
        return any(folder.iterdir())
    return folder.exists()


def _way_on(folder: Path) -> str:
    """What can be done about a folder that is taken, besides taking another."""
    if not (folder / "args.json").is_file():
        if folder.is_dir() and all(p.name.startswith("evaluation-") for p in folder.iterdir()):
            return " with nothing but evaluations; remove it, or"
        return ";"
    if any(folder.rglob("*.pt")):
        return f"; continue it with --resume {quoted(folder)}, or"
    return " with a run of which no epoch was saved; remove it, or"


def environment(device: torch.device) -> dict[str, Any]:
    """What a run depends on besides its arguments: commit, versions, machine."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": describe_device(device),
        "threads": torch.get_num_threads(),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the project's folder; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
