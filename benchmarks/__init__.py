"""The project's own speed and memory beside the usual way of doing the same, both sides in one run.

    python -m benchmarks                            the table, ratios first: some minutes on two cores
    python -m benchmarks --only input train --models small
    python -m benchmarks --only accuracy --accuracy 0.6 --both --repeats 1
    python -m benchmarks --suite gpu --output gpu-results           what only a GPU can tell: gpu/
    python -m benchmarks.variants --faces 5000 lr=0.2 early_size=32 variants of a recipe at a small budget

A file is a benchmark, and its docstring says what it compares. `reference.py` is the usual way.
"""
