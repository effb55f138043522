"""From an image file to 48x48 faces: decode it, find the faces, crop them as FER2013 and CK+48 are cropped.

    image = load_image("photo.jpg")
    faces = [crop_face(image, box) for box in find_faces(image)]

Only finding faces needs OpenCV.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

# Fraction of the box that is added on every side. Both data sets are crops of such a detector: run on enlarged
# FER2013 and CK+48 faces, CASCADE draws boxes of 0.958 and 0.964 (medians) of the image's side, centred.
MARGIN = 0.02

# As many faces as frontalface_default finds (on FER2013 faces), and far fewer boxes where there is none.
CASCADE = "haarcascade_frontalface_alt2.xml"
# The first pass finds the frontal faces. Where it finds none, a finer one accepts less sure boxes, if they are
# large: a portrait turned aside. (scale step, neighbouring hits needed, smallest face / short side)
PASSES = ((1.1, 5, 1 / 16), (1.05, 3, 1 / 4))
WINDOW = 24  # pixels; what the cascade was trained on is not larger
LONG_SIDE = (640, 1280)  # pixels; images are enlarged (at most twice) or reduced to that for the search

FACE_CROP = 96  # pixels; a square image not larger than this is a face already
SMALL = 256  # pixels; scenes are larger


class Box(NamedTuple):
    """A rectangle in pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int


class NoDetector(ValueError):
    """OpenCV, or what finding faces needs of it, is not installed."""


def find_faces(image: np.ndarray) -> list[Box]:
    """Find frontal, upright faces, with the Haar cascade that comes with OpenCV 4; largest first.

    image: uint8, RGB (h, w, 3) or gray (h, w). A face mostly inside a larger one is dropped.
    Viola and Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001.
    Raises NoDetector if OpenCV is missing or has no cascades.
    """
    cascade, gray = _cascade(), to_gray(image)
    h, w = gray.shape
    low, high = LONG_SIDE
    scale = min(2.0, low / max(h, w)) if max(h, w) < low else min(1.0, high / max(h, w))
    if scale != 1:
        size = (max(1, round(w * scale)), max(1, round(h * scale)))
        how = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
        gray = np.asarray(Image.fromarray(gray).resize(size, how))
    gray = np.asarray(ImageOps.equalize(Image.fromarray(gray)))
    found: Any = ()
    for step, neighbours, smallest in PASSES:
        side = max(WINDOW, round(min(gray.shape) * smallest))
        found = cascade.detectMultiScale(gray, step, neighbours, minSize=(side, side))
        if len(found):
            break
    boxes = []
    for x, y, width, height in np.asarray(found, float).reshape(-1, 4) / scale:
        left, top = max(0, round(x)), max(0, round(y))
        boxes.append(Box(left, top, min(round(width), w - left), min(round(height), h - top)))
    return drop_nested(boxes)


def drop_nested(boxes: list[Box]) -> list[Box]:
    """Sort by area, largest first (then from left to right), without those mostly inside a box that is kept."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: (-b.w * b.h, b.x, b.y)):
        if all(_overlap(box, larger) <= 0.5 * box.w * box.h for larger in kept):
            kept.append(box)
    return kept


def whole_image(image: np.ndarray) -> Box:
    """The largest centred square of an image, (h, w) or (h, w, 3)."""
    h, w = image.shape[:2]
    side = min(h, w)
    return Box((w - side) // 2, (h - side) // 2, side, side)


def is_face_crop(image: np.ndarray) -> bool:
    """Whether an image is so small and square that it must be a face already, as FER2013's 48x48 are."""
    h, w = image.shape[:2]
    return max(h, w) <= FACE_CROP and max(h, w) <= 1.25 * min(h, w)


def may_be_a_face(image: np.ndarray) -> bool:
    """Whether an image in which no face was found may be one as a whole: about square, or small and not a strip."""
    short, long = sorted(image.shape[:2])
    return long <= 1.25 * short or (long <= SMALL and long <= 2 * short)


def crop_face(image: np.ndarray, box: Box, margin: float = MARGIN, size: int = 48) -> np.ndarray:
    """Cut out a square around the box's centre, gray, reduced to uint8 (size, size).

    image: uint8, RGB (h, w, 3) or gray (h, w).
    margin: what is added on every side, as a fraction of the box's longer side. Beyond the image's border its
    outermost pixels are repeated. Reducing averages areas; a square smaller than `size` is interpolated.
    """
    h, w = image.shape[:2]
    side = max(1, round(max(box.w, box.h) * (1 + 2 * margin)))
    left, top = round(box.x + (box.w - side) / 2), round(box.y + (box.h - side) / 2)
    rows = np.arange(top, top + side).clip(0, h - 1)
    columns = np.arange(left, left + side).clip(0, w - 1)
    square = Image.fromarray(to_gray(image[rows[:, None], columns]))
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.array(square.resize((size, size), how))


def to_gray(image: np.ndarray) -> np.ndarray:
    """uint8 RGB (h, w, 3) -> (h, w), ITU-R 601 luma; a gray image is returned as it is."""
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def _overlap(a: Box, b: Box) -> int:
    w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    return max(0, w) * max(0, h)


@functools.cache
def _cascade() -> Any:
    advice = 'python -m pip install "opencv-python-headless<5"'
    try:
        import cv2
    except ImportError as error:
        raise NoDetector(f"finding faces needs OpenCV ({error}); install it with: {advice}") from None
    folder = getattr(getattr(cv2, "data", None), "haarcascades", None)
    if folder is None or not hasattr(cv2, "CascadeClassifier"):
        raise NoDetector(f"OpenCV {cv2.__version__} has no Haar cascades, version 4 has; install it with: {advice}")
    cascade = cv2.CascadeClassifier(str(Path(folder) / CASCADE))
    if cascade.empty():
        raise NoDetector(f"OpenCV cannot read {Path(folder) / CASCADE}; install it anew with: {advice}")
    return cascade
