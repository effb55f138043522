"""Drawn sequences in CK+'s form: people who show several expressions each, three nearly equal frames of every one."""

import numpy as np

from datasets.ckplus import SEQUENCES, SUBJECTS
from datasets.names import CKPLUS_CLASSES, OFFICIAL_COUNTS
from datasets.storage import Split
from datasets.synthetic.faces import draw_faces

INTENSITIES = (0.8, 0.9, 1.0)  # of a sequence's three frames: it ends at the peak
GRAIN = 2.0  # standard deviation of what changes from frame to frame, in gray levels
LEAST = 21  # faces: one sequence of each class


def draw_split(faces: int, seed: int) -> Split:
    """Draw about `faces` frames (981 give CK+'s own counts): whole sequences, classes in CK+'s proportions.

    Nobody shows the same expression twice, and there are as many people to a sequence as in CK+. The order and the
    columns subject and sequence are CK+'s. Raises ValueError for fewer faces than a sequence of each class has.
    """
    if faces < LEAST:
        raise ValueError(f"{faces} faces are fewer than one sequence of each class: give {LEAST} or more")
    known = np.array(OFFICIAL_COUNTS["ckplus"]["data"]) // 3
    counts = np.maximum(1, np.round(known * faces / 3 / SEQUENCES).astype(int))
    label = np.repeat(np.arange(len(CKPLUS_CLASSES)), counts)  # (n,) a sequence each
    people = max(counts.max(), round(len(label) * SUBJECTS / SEQUENCES))
    rng = np.random.default_rng([seed, 0xC4])
    person = rng.permutation(people)[np.arange(len(label)) % people]  # in turn: never twice within a class
    sequence = 1 + np.array([np.count_nonzero(person[:i] == person[i]) for i in range(len(label))])

    # The same state of chance draws the same photograph with another expression, so these two differ by that alone.
    state = [seed, 0xCE]
    identities = (1000 * seed + person).tolist()
    peak = draw_faces([CKPLUS_CLASSES[c] for c in label], np.random.default_rng(state), identities=identities)
    calm = draw_faces(["Neutral"] * len(label), np.random.default_rng(state), identities=identities)
    share = np.array(INTENSITIES)[:, None, None]
    frames = calm[:, None] + share * (peak[:, None].astype(float) - calm[:, None])  # (n, 3, 48, 48)
    frames += GRAIN * rng.standard_normal(frames.shape)

    order = np.lexsort((person, label))  # file name by file name: the subject comes first in it
    columns = {
        "subject": np.array([f"S{p + 1:03}" for p in person[order]]),
        "sequence": np.array([f"{s:03}" for s in sequence[order]]),
    }
    pixels = frames[order].clip(0, 255).round().astype(np.uint8).reshape(-1, *frames.shape[2:])
    return Split(
        pixels,
        np.repeat(label[order], len(INTENSITIES)).astype(np.int64),
        {name: np.repeat(column, len(INTENSITIES)) for name, column in columns.items()},
    )
