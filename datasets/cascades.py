"""Faces by the Haar cascades that come with OpenCV 4.

Viola and Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

# As many faces as frontalface_default finds (on FER2013 faces), and far fewer boxes where there is none.
CASCADE = "haarcascade_frontalface_alt2.xml"
SECOND = "haarcascade_frontalface_alt.xml"  # trained apart from it; small boxes need the word of both

ADVICE = 'python -m pip install "opencv-python-headless<5"'

WINDOW = 24  # pixels; what the cascades were trained on is not larger
SMALLEST = 40  # pixels of the original; smaller faces are not looked for
LONG_SIDE = (640, 1280)  # pixels; pictures are enlarged (at most twice) or reduced to that, if no small face gets lost
STEP, NEIGHBOURS = 1.1, 5  # scale step, neighbouring hits needed
SURE, SURE_HITS = 1 / 8, 12  # of the short side, hits; a box below either is confirmed

# Where nothing is found: tilted copies of a coarse picture with a border, so that a face that fills it, is cut at the
# chin or lies aslant is seen. A picture without a face has no hit here at all, so one or two are enough.
COARSE, BORDER, TILTS = 320, 0.2, (0, -18, 18)  # pixels of the long side; of the short side; degrees
COARSE_STEP, COARSE_NEIGHBOURS, COARSE_SMALLEST = 1.07, 2, 1 / 5

# Near a box: what is looked at on each side of it, as a fraction of it; pixels that it is reduced or enlarged to
NEAR, NEAR_SIDE, NEAR_STEP, NEAR_NEIGHBOURS = 0.4, 64, 1.08, 4

# How a face is turned: copies of its surroundings, turned by so many degrees, each reduced to a square with a border
TURNS = (-30, -20, -10, 0, 10, 20, 30)
TURN_SIDE, TURN_BORDER, TURN_STEP, TURN_SMALLEST = 96, 0.35, 1.05, 40
LEVEL = 12.0  # degrees; a face that is turned less counts as upright, as those of the data sets are


class NoDetector(ValueError):
    """OpenCV, or what finding faces needs of it, is not installed."""


def search(gray: np.ndarray) -> np.ndarray:
    """Frontal faces from SMALLEST pixels up in uint8 (h, w): float (n, 4), x y w h, also beyond the border."""
    found = search_fine(gray)
    return found if len(found) else search_coarse(gray)


def search_fine(gray: np.ndarray) -> np.ndarray:
    """All faces that are upright and whole, however many: float (n, 4)."""
    h, w = gray.shape
    low, high = LONG_SIDE
    if max(h, w) < low:
        scale = min(2.0, low / max(h, w))
    else:
        scale = min(1.0, max(high / max(h, w), WINDOW / SMALLEST))
    small = _equalized(_resized(gray, scale))
    smallest = max(WINDOW, round(SMALLEST * scale))
    boxes, hits = _detect(CASCADE, small, STEP, NEIGHBOURS, smallest)
    kept: list[np.ndarray] = []
    for i in (-hits).argsort(kind="stable"):  # a sure box drops a less sure one around it
        sure = hits[i] >= SURE_HITS and boxes[i, 2] >= SURE * min(small.shape)
        if not any(_same(boxes[i], box) for box in kept) and (sure or _confirmed(small, boxes[i])):
            kept.append(boxes[i])
    return np.array(kept, float).reshape(-1, 4) / scale


def _confirmed(gray: np.ndarray, box: np.ndarray) -> bool:
    """Whether both cascades see a face there in a closer look."""
    return all(len(search_near(gray, box, name)) for name in (CASCADE, SECOND))


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two boxes share more than half of the smaller one."""
    sides = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    return sides.clip(0).prod() > 0.5 * min(a[2] * a[3], b[2] * b[3])


def search_coarse(gray: np.ndarray) -> np.ndarray:
    """The one large face of a picture, which it may fill, or none: float (0 or 1, 4)."""
    scale = COARSE / max(gray.shape)
    small = _equalized(_resized(gray, scale))
    pad = round(BORDER * min(small.shape))
    small = np.pad(small, pad, mode="edge")
    smallest = max(WINDOW, round(COARSE_SMALLEST * min(small.shape)))
    best, most = np.empty((0, 4)), 0
    middle = (np.array(small.shape[::-1]) - 1) / 2
    for tilt in TILTS:
        turned = np.asarray(Image.fromarray(small).rotate(tilt, Image.Resampling.BILINEAR)) if tilt else small
        boxes, hits = _detect(CASCADE, turned, COARSE_STEP, COARSE_NEIGHBOURS, smallest)
        if len(hits) and hits.max() > most:
            most, (x, y, w, h) = hits.max(), boxes[hits.argmax()]
            cos, sin = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
            dx, dy = (x + w / 2, y + h / 2) - middle
            center = middle + (cos * dx - sin * dy, sin * dx + cos * dy)
            best = (np.array([[*(center - (w / 2, h / 2) - pad), w, h]])) / scale
    return best


def search_near(gray: np.ndarray, box: Sequence[float], cascade: str = CASCADE) -> np.ndarray:
    """Faces about as large as a box (x y w h) and near it, in uint8 (h, w): float (n, 4), the surest first. Quick."""
    x, y, side = box[:3]
    edge = side * NEAR
    left, top = max(0, int(x - edge)), max(0, int(y - edge))
    around = gray[top : max(top, int(y + side + edge)) + 1, left : max(left, int(x + side + edge)) + 1]
    if not around.size:
        return np.empty((0, 4))
    scale = NEAR_SIDE / side
    around, smallest = _equalized(_resized(around, scale)), round(0.6 * NEAR_SIDE)
    boxes, hits = _detect(cascade, around, NEAR_STEP, NEAR_NEIGHBOURS, smallest)
    return boxes[(-hits).argsort(kind="stable")] / scale + (left, top, 0, 0)


def search_turn(around: np.ndarray) -> float:
    """Degrees, counter-clockwise, by which a face has to be turned to stand upright; 0 for less than LEVEL.

    around: uint8 (h, h), h more than sqrt(2) * TURN_SIDE, the face in the middle of it, its box of
    TURN_SIDE / (1 + 2 * TURN_BORDER) pixels. The mean of TURNS, weighted with the squares of the hits that each has.
    """
    picture, edge = Image.fromarray(around), (len(around) - TURN_SIDE) // 2
    middle = (edge, edge, edge + TURN_SIDE, edge + TURN_SIDE)
    weights = np.zeros(len(TURNS))
    for i, degrees in enumerate(TURNS):
        turned = np.asarray(picture.rotate(degrees, Image.Resampling.BILINEAR).crop(middle))
        _, hits = _detect(CASCADE, _equalized(turned), TURN_STEP, 1, TURN_SMALLEST)
        weights[i] = hits.max(initial=0) ** 2
    degrees = float(weights @ TURNS / max(1, weights.sum()))
    return degrees if abs(degrees) >= LEVEL else 0.0


def _detect(name: str, gray: np.ndarray, step: float, neighbours: int, smallest: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes, float (n, 4), and how many hits each has, (n,)."""
    boxes, hits = _cascade(name).detectMultiScale2(gray, step, neighbours, minSize=(smallest, smallest))
    return np.asarray(boxes, float).reshape(-1, 4), np.asarray(hits).reshape(-1)


def _resized(gray: np.ndarray, scale: float) -> np.ndarray:
    if scale == 1:
        return gray
    size = (max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale)))
    how = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(gray).resize(size, how))


def _equalized(gray: np.ndarray) -> np.ndarray:
    return np.asarray(ImageOps.equalize(Image.fromarray(gray)))


@functools.cache
def _cascade(name: str) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise NoDetector(f"finding faces needs OpenCV ({error}); install it with: {ADVICE}") from None
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    if folder is None or not hasattr(cv2, "CascadeClassifier"):
        raise NoDetector(f"OpenCV {cv2.__version__} has no Haar cascades, version 4 has; install it with: {ADVICE}")
    cascade = cv2.CascadeClassifier(str(Path(folder) / name))
    if cascade.empty():
        raise NoDetector(f"OpenCV cannot read {Path(folder) / name}; install it anew with: {ADVICE}")
    return cascade
