"""Let faults happen at every place where one can, and see that nothing is lost.

    python -m tests.faults                      every 8th place of every scene
    python -m tests.faults --every 1            every place
    python -m tests.faults --kills 200          and 200 kills and SIGTERMs at random moments, of runs that go on

After each fault: every file is whole or absent, an epoch whose checkpoint was written is there, the message is one
line. Then the command is given again, and ends with what a run without faults ends with, to the bit, and without
temporary files.
"""

import argparse
import collections
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # no threads of PyTorch's that a fork would leave behind,
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # and none for a GPU's gradients

from models.checkpoint import load_checkpoint  # noqa: E402
from tests.faults.checks import check_whole, contents, leftovers  # noqa: E402
from tests.faults.children import FAULTS, NONE, Ended, Fault, run_child  # noqa: E402
from tests.faults.scenes import SCENES, Scene, prepare  # noqa: E402

STATUS = {"kill": -signal.SIGKILL, "cut": -signal.SIGXFSZ, "terminate": 143, "interrupt": 130, "refuse": 2, "full": 2}
ROOT = Path(__file__).parents[2]
STARTED = """import sys
sys.path.insert(0, sys.argv.pop(1))
from tests.faults import scenes
scenes.make_quick()
scenes.train.main(sys.argv[1:])"""
BYTES = [round(1.5**n) for n in range(30)]  # to 128,000; the largest files here are of that size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=8, metavar="N", help="of the places of each scene, every Nth (8)")
    parser.add_argument("--kills", type=int, default=0, metavar="N", help="kills, and SIGTERMs, at random moments (0)")
    parser.add_argument(
        "--starts", type=int, default=0, metavar="N", help="kills of processes that were not forked (0)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=SCENES)
    parser.add_argument("--faults", nargs="+", default=list(FAULTS), choices=FAULTS)
    args = parser.parse_args()
    counts, began = collections.Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        for name in args.scenes:
            place = Place(SCENES[name], folder / name)
            for kind in args.faults:
                in_bytes = kind in ("cut", "full")
                places, every = (BYTES, -(-args.every // 4)) if in_bytes else (range(place.straight.events), args.every)
                for at in itertools.islice(places, args.seed % every, None, every):
                    counts[name, kind] += place.try_fault(Fault(kind, at + (not in_bytes)))
            for kind in ("kill", "terminate") if args.kills and SCENES[name].trains else ():
                share = args.kills // sum(SCENES[name].trains for name in args.scenes)
                moments = random.Random(args.seed)
                counts[name, f"random {kind}"] += place.try_moments(kind, share, moments, place.run, place.seconds)
            if args.starts and name == "train":
                place.clear()
                began = time.monotonic()
                straight = place.start(place.scene.argv, NONE)
                assert straight.status == 0, straight
                longest = time.monotonic() - began
                counts[name, "start"] += place.try_moments("kill", args.starts, random.Random(0), place.start, longest)
            print(f"{name}: {place.seconds:.1f} s, {place.straight.events} places; {_said(counts, name)}", flush=True)
    total = sum(counts.values())
    print(f"{total} faults in {time.monotonic() - began:.0f} s, nothing lost")
    return 0


def _said(counts: collections.Counter, scene: str) -> str:
    return ", ".join(f"{count} {kind}" for (name, kind), count in counts.items() if name == scene)


class Place:
    """A scene in its folder, and how it ends when nothing happens."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene, self.folder = scene, folder
        self.clear()
        began = time.monotonic()
        self.straight = self.run(scene.argv)
        self.seconds = time.monotonic() - began
        assert self.straight.status == 0, self.straight
        self.wanted = contents(folder)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()

    def run(self, argv: list[str], fault: Fault = NONE) -> Ended:
        return run_child(self.scene.script.main, argv, self.folder, fault)

    def try_fault(self, fault: Fault) -> bool:
        """One fault in a fresh run, and what has to be true then. False where the run had ended before."""
        self.clear()
        ended = self.run(self.scene.argv, fault)
        if ended.status == 0:
            self.check_end(fault)
            return False
        self.check_after(ended, fault)
        assert ended.status == STATUS[fault.kind], (fault, ended)
        if fault.kind not in ("kill", "cut"):
            last_line = (ended.err.splitlines() or [""])[-1]
            assert "Traceback" not in ended.err and ended.err.count("error: ") <= 1, (fault, ended)
            assert fault.kind in ("terminate", "interrupt") or "error: " in last_line, (fault, ended)
            assert fault.kind == "refuse" or not leftovers(self.folder), (fault, leftovers(self.folder))
        again = self.run(self.scene.again(self.folder))
        assert again.status == 0, (fault, ended, again)
        self.check_end(fault)
        return True

    def start(self, argv: list[str], fault: Fault) -> Ended:
        """The same as `run` in a process that is not forked but started, as users do it."""
        command = [sys.executable, "-c", STARTED, str(ROOT), *argv]
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said = process.communicate(timeout=fault.seconds or None)
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()
        return Ended(process.returncode, *said, events=0, told=[])

    def try_moments(
        self, kind: str, count: int, random: random.Random, how: Callable[..., Ended], longest: float
    ) -> int:
        """Kill at random moments, a run and what continues it, until it has ended; then the next run.

        how: self.run or self.start. longest: seconds.
        """
        done = 0
        while done < count:
            self.clear()
            while True:
                fault = Fault(kind, seconds=random.uniform(0.01, 1) * longest if done < count else 0)
                ended = how(self.scene.again(self.folder), fault)
                if ended.status == 0:
                    break
                assert ended.status in (STATUS[kind], -signal.SIGTERM), (fault, ended)  # or before it was handled
                done += 1
                self.check_after(ended, fault)
            self.check_end(fault)
        return done

    def check_after(self, ended: Ended, fault: Fault) -> None:
        """Whole files, and the epochs that were saved."""
        try:
            check_whole(self.folder)
            if self.scene.trains and "--folds" not in self.scene.argv:  # finished folds have no last.pt
                epochs = ended.told[-1:]
                if ended.status > 0 and fault.kind != "full":  # it could write what it had not written yet
                    epochs += [
                        int(number) for number in re.findall(r"^epoch +(\d+)/", ended.out + ended.err, re.MULTILINE)
                    ]
                if epochs and fault.kind != "refuse":
                    assert load_checkpoint(self.folder / "run" / "last.pt")["epoch"] >= max(epochs)
        except (OSError, ValueError, AssertionError) as error:
            raise AssertionError(f"after {fault}: {error}\n{ended}") from error

    def check_end(self, fault: Fault) -> None:
        """The same files with the same content as without a fault."""
        found = contents(self.folder)
        different = sorted(name for name in self.wanted | found if self.wanted.get(name) != found.get(name))
        assert not different, f"after {fault}: {', '.join(different)}"
        assert not leftovers(self.folder), f"after {fault}: {leftovers(self.folder)}"


if __name__ == "__main__":
    sys.exit(main())
