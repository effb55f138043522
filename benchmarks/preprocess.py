"""Time and memory of preprocess_fer2013.py beside a row-by-row reader of the same CSV.

  python -m benchmarks.preprocess --source data/fer2013.csv --repeats 3

Each measurement is a process of its own, with the two sides taking turns. What importing the libraries alone takes is
measured too, so that the table can say how long the work itself takes. Medians are shown; on a machine that does
other things besides, compare the CPU seconds. Expect a minute or two, and over 1 GB of memory for the row-by-row side.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Row
from utils.cli import Parser, positive_int, run

# Nothing large is imported up here: the peak memory of a child process counts from that of its parent.
ROOT = Path(__file__).parents[1]
OURS, CLASSIC = "preprocess_fer2013.py", "row by row"
HEADS = {
    "seconds": "seconds",
    "import_seconds": "of it imports",
    "work_seconds": "the work",
    "cpu_seconds": "CPU seconds",
    "peak_mib": "peak MiB",
}
CALL = "import sys; from benchmarks.preprocess import row_by_row; row_by_row(sys.argv[1], sys.argv[2])"


def row_by_row(source: str, output: str) -> None:
    """The usual reader: the csv module, a list of ints a row, a list of lists a split, and one array at the end."""
    import csv

    import h5py
    import numpy as np

    pixels: dict[str, list[list[int]]] = {}
    labels: dict[str, list[int]] = {}
    with open(source, newline="") as file:
        for row in csv.DictReader(file):
            pixels.setdefault(row["Usage"], []).append([int(value) for value in row["pixels"].split()])
            labels.setdefault(row["Usage"], []).append(int(row["emotion"]))
    with h5py.File(output, "w") as file:
        for split in pixels:
            file.create_dataset(f"{split}_pixel", dtype="uint8", data=np.asarray(pixels[split]).reshape(-1, 48, 48))
            file.create_dataset(f"{split}_label", dtype="int64", data=np.asarray(labels[split]))


def commands(source: Path, folder: Path) -> dict[str, dict[str, list[str]]]:
    """For each side, the command that does the work and the one that only imports what the work needs."""
    python = [sys.executable]
    return {
        OURS: {
            "work": [*python, "preprocess_fer2013.py", "--source", str(source), "--output", str(folder / "ours.h5")],
            "imports": [*python, "-c", "from datasets import fer2013, storage, tables"],
        },
        CLASSIC: {
            "work": [*python, "-c", CALL, str(source), str(folder / "classic.h5")],
            "imports": [*python, "-c", "import csv, h5py, numpy"],
        },
    }


def measure(command: Sequence[str]) -> dict[str, float]:
    """Wall-clock seconds, CPU seconds and peak resident MiB of one process."""
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        message = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)  # the one wait that tells the memory of this child alone
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"{' '.join(command[:2])} ended with status {process.returncode}: {message.strip()[-300:]}")
    kib = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss  # macOS counts bytes
    return {"seconds": seconds, "cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_mib": kib / 1024}


def same_faces(left: Path, right: Path) -> bool:
    import h5py
    import numpy as np

    with h5py.File(left) as a, h5py.File(right) as b:
        return set(a) == set(b) and all(np.array_equal(a[key][()], b[key][()]) for key in a)


def benchmark(source: Path, repeats: int) -> dict[str, Any]:
    """Medians of `repeats` runs of each side. Raises ValueError where the two files differ."""
    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist: point --source at fer2013.csv, unpacked")
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            for side, pair in commands(source.resolve(), Path(folder)).items():
                for what, command in pair.items():
                    taken.setdefault((side, what), []).append(measure(command))
        if not same_faces(Path(folder) / "ours.h5", Path(folder) / "classic.h5"):
            raise ValueError("the two sides wrote different faces: one of them misreads the file")
    result: dict[str, Any] = {"source": str(source), "megabytes": source.stat().st_size / 1e6, "repeats": repeats}
    for side in (OURS, CLASSIC):
        work, imports = taken[side, "work"], taken[side, "imports"]
        result[side] = {key: statistics.median(one[key] for one in work) for key in work[0]}
        result[side]["import_seconds"] = statistics.median(one["seconds"] for one in imports)
        # a file of a few rows takes no longer than the imports vary
        result[side]["work_seconds"] = max(result[side]["seconds"] - result[side]["import_seconds"], 0.001)
        result[side]["all_seconds"] = [one["seconds"] for one in work]
    result["ratio"] = {key: result[CLASSIC][key] / result[OURS][key] for key in HEADS if key != "import_seconds"}
    return result


def rows(source: Path, repeats: int) -> list[Row]:
    """The same for the table of all benchmarks."""
    result = benchmark(source, repeats)
    ours, classic = result[OURS], result[CLASSIC]
    name = source.name
    return [
        Row("preprocess", f"{name} to HDF5", "s", tuple(ours["all_seconds"]), tuple(classic["all_seconds"])),
        Row("preprocess", f"{name}, imports apart", "s", (ours["work_seconds"],), (classic["work_seconds"],)),
        Row("preprocess", f"{name}, peak memory", "MiB", (ours["peak_mib"],), (classic["peak_mib"],)),
    ]


def table(result: dict[str, Any]) -> str:
    lines = [f"{result['source']}, {result['megabytes']:.0f} MB, median of {result['repeats']}", ""]
    lines.append(f"{'':<24}" + "".join(f"{head:>15}" for head in HEADS.values()))
    for side in (OURS, CLASSIC):
        lines.append(f"{side:<24}" + "".join(f"{result[side][key]:>15.2f}" for key in HEADS))
    ratios = [f"{result['ratio'][key]:.1f}x" if key in result["ratio"] else "" for key in HEADS]
    lines.append(f"{'ratio':<24}" + "".join(f"{ratio:>15}" for ratio in ratios))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = Parser(prog="benchmarks.preprocess", description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("data/fer2013.csv"), metavar="CSV", help="unpacked CSV")
    parser.add_argument("--repeats", type=positive_int, default=3, metavar="N", help="runs of each side")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures to this file")
    args = parser.parse_args(argv)
    result = run(parser, args, lambda args: benchmark(args.source, args.repeats))
    print(table(result))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main()
