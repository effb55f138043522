"""One part of the suite in a process of its own: `python -m benchmarks.gpu.parts '{"part": "numerics", ...}'`."""

import json
import sys
from typing import Any

from benchmarks.gpu.learning import seconds_to_marks
from benchmarks.gpu.numerics import numerics
from benchmarks.gpu.speed import breakdown, throughput

PARTS = {
    "numerics": numerics,
    "throughput": throughput,
    "breakdown": breakdown,
    "marks": seconds_to_marks,
}


def one_part(options: dict[str, Any]) -> dict[str, Any]:
    """Call the part that options["part"] names."""
    return PARTS[options["part"]](options)


if __name__ == "__main__":
    print(json.dumps(one_part(json.loads(sys.argv[1]))))
