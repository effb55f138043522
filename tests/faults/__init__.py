"""Faults at every place where one can happen: `python -m tests.faults --help`. What is promised: docs/reliability.md."""
