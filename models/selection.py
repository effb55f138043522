"""Which faces selected a network's epoch, and what must be said beside its accuracy for that."""

from collections.abc import Mapping
from typing import Any

from datasets.names import LAST_EPOCH


def selected_on(checkpoint: Mapping[str, Any]) -> str | None:
    """The split that selected the epoch whose weights a checkpoint holds, LAST_EPOCH, or None where nobody knows."""
    best = checkpoint.get("best")
    if isinstance(best, dict) and "epoch" in best and best["epoch"] != checkpoint.get("epoch"):
        return LAST_EPOCH
    return checkpoint.get("select_on")


def selection_note(split: str | None, selected_on: str | None) -> str:
    """Return what must stand beside a number on `split` if the checkpoint was selected there, else "".

    `selected_on` may be several names with commas between. A split of None is one nobody knows.
    """
    names = (selected_on or "").split(", ")
    own_fold = any("fold" in name for name in names) and split not in ("PublicTest", "PrivateTest")
    if own_fold or ("PrivateTest" in names and split in ("PrivateTest", None)):
        return "selected on the test set"
    return "selected on this split" if split in names else ""


def in_words(selected_on: str | None) -> str:
    """How the epoch was selected, for a line about a checkpoint."""
    if not selected_on:
        return "how it was selected is not recorded"
    return "the last one, not selected" if selected_on == LAST_EPOCH else f"selected on {selected_on}"
