"""python -m tests.fuzz: see the package's docstring."""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.fuzz.loop import run  # noqa: E402
from tests.fuzz.readers import READERS, prepare  # noqa: E402
from utils.cli import Parser, non_negative_int, positive_int  # noqa: E402


def main() -> int:
    """Run the loop, print the counts and what failed; the exit status is 1 if anything did."""
    parser = Parser(prog="python -m tests.fuzz", description="Damaged input for every reader.")
    parser.add_argument("--inputs", type=positive_int, default=1000, metavar="N", help="of all readers together")
    parser.add_argument("--first", type=non_negative_int, default=0, metavar="N", help="number of the first input")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="another seed, other inputs")
    parser.add_argument("--only", choices=[reader.name for reader in READERS], nargs="+", help="these readers")
    args = parser.parse_args()
    readers = [reader for reader in READERS if not args.only or reader.name in args.only]
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    prepare(work)
    counts, failures = run(readers, args.inputs, args.seed, work, args.first)
    print(f"{'reader':<16}{'inputs':>8}{'read':>8}{'refused':>9}{'failed':>8}")
    for reader in readers:
        row = [counts[reader.name, outcome] for outcome in ("read", "refused", "failed")]
        print(f"{reader.name:<16}{sum(row):>8}{row[0]:>8}{row[1]:>9}{row[2]:>8}")
    print(f"{'all':<16}{sum(counts.values()):>8}")
    for failure in failures:
        only = f" --only {' '.join(args.only)}" if args.only else ""
        again = f"python -m tests.fuzz --seed {args.seed} --first {failure.number} --inputs 1{only}"
        kept = work / f"{failure.reader}-{failure.number}"
        print(f"\n{failure.reader} {failure.number}: {failure.what}\n  kept in {kept}\n  {again}")
    return int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
