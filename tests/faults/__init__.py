"""Faults at every place where one can happen: `python -m tests.faults`. What is promised: docs/reliability.md."""
