"""Figures: functions that take arrays and return a matplotlib Figure, and `style.save_figure` that writes it."""
