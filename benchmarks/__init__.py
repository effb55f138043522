"""The project's own speed and memory beside the usual way of doing the same, both sides in one run.

    python -m benchmarks                            the table, ratios first: some minutes on two cores
    python -m benchmarks --only input train --models small
    python -m benchmarks --only accuracy --accuracy 0.6 --both --repeats 1

A file is a benchmark, and its docstring says what it compares. `reference.py` is the usual way.
"""
