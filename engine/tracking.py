"""Faces from frame to frame: which box is which face, and probabilities that do not flicker."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from datasets.photographs import Box, overlap

SAME = 0.3  # intersection over union from which a box is the face of the frame before
STILL = 0.6  # and from which it has hardly moved, so that its box is averaged as well
SMOOTHING = 0.15  # seconds in which the mean of the probabilities forgets two thirds
LEAD = 0.1  # by which another expression must be ahead before the label changes
KEPT = 0.4  # seconds for which a face that is not found stays where it was


@dataclass
class Track:
    """One face: its number (from 1), box, mean of its probabilities (classes,), the label's index, times in seconds."""

    number: int
    box: Box
    probabilities: np.ndarray
    label: int
    seen: float
    changed: float

    def update(self, box: Box, probabilities: np.ndarray, seconds: float) -> None:
        """Follow the box and take the probabilities into the mean."""
        new = 1 - np.exp(-(seconds - self.seen) / SMOOTHING)
        follow = 1 if iou(self.box, box) < STILL else 0.4
        self.box = Box(*(round((1 - follow) * old + follow * there) for old, there in zip(self.box, box, strict=True)))
        self.seen = seconds
        self.probabilities = (1 - new) * self.probabilities + new * probabilities
        best = int(self.probabilities.argmax())
        if best != self.label and self.probabilities[best] >= self.probabilities[self.label] + LEAD:
            self.label, self.changed = best, seconds


@dataclass
class Tracker:
    """The faces that are in the picture now."""

    tracks: list[Track] = field(default_factory=list)
    count: int = 0  # of all faces so far

    def update(self, boxes: Sequence[Box], probabilities: np.ndarray, seconds: float) -> None:
        """Give each box to the face that it covers best, or to a new one; forget faces not seen for KEPT seconds.

        probabilities: (boxes, classes). seconds: of the frame; not before those of the last one.
        """
        pairs = [(iou(track.box, box), t, b) for t, track in enumerate(self.tracks) for b, box in enumerate(boxes)]
        taken: dict[int, int] = {}  # box -> track
        for shared, t, b in sorted(pairs, reverse=True):
            if shared >= SAME and b not in taken and t not in taken.values():
                taken[b] = t
        for b, box in enumerate(boxes):
            if b in taken:
                self.tracks[taken[b]].update(box, probabilities[b], seconds)
                continue
            self.count += 1
            best = int(probabilities[b].argmax())
            self.tracks.append(Track(self.count, box, probabilities[b], best, seconds, seconds))
        self.tracks = [track for track in self.tracks if seconds - track.seen <= KEPT]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    shared = overlap(a, b)
    return shared / max(1, a.w * a.h + b.w * b.h - shared)
