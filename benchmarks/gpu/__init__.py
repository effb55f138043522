"""One command that measures everything here that only a GPU can tell, within a time limit.

    python -m benchmarks --suite gpu --output gpu-results                   on one GPU, at most 25 minutes
    python -m benchmarks --suite gpu --output quick --device cpu --quick    the same path in small, anywhere

`suite.py` says what runs, in which order and in how much time. A part is a function of a plain dict that returns one
(`numerics.py`, `speed.py`, `learning.py`) and runs in a process of its own; `report.py` makes Markdown of the results.
"""
