"""Measurements of the project's own speed beside the usual way of doing the same; each is run with `python -m`."""
