"""Start-up: how long a script's `--help` takes, and the import of all scripts.

Ours: the scripts import PyTorch after the command line was read. The usual: a script that imports torch, torchvision
and h5py at its top, so that it takes this long before it can say which flag was wrong.
"""

import sys

from benchmarks.measure import Row, say
from benchmarks.preprocess import measure as measure_process

SCRIPTS = ("preprocess_fer2013", "train", "evaluate", "plot_confusion_matrix", "visualize")
USUAL = "import argparse, torch, torchvision.transforms, h5py; argparse.ArgumentParser().parse_args()"


def measure(repeats: int) -> list[Row]:
    """Wall-clock seconds of a process for every script."""
    say("startup: --help of every script, and their import")
    commands = {f"{name}.py --help": [f"{name}.py", "--help"] for name in SCRIPTS}
    commands["import of all five"] = ["-c", f"import {', '.join(SCRIPTS)}"]
    commands["usual"] = ["-c", USUAL, "--help"]
    taken: dict[str, list[float]] = {what: [] for what in commands}
    for number in range(repeats + 1):
        for what, command in commands.items():
            seconds = measure_process([sys.executable, *command])["seconds"]
            if number:  # the first round fills the file cache
                taken[what].append(seconds)
    usual = tuple(taken.pop("usual"))
    return [Row("startup", what, "s", tuple(values), usual) for what, values in taken.items()]
