"""What must be said beside an accuracy, for the faces that selected the network's epoch."""

from datasets.names import LAST_EPOCH


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
