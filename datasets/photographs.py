"""Faces in photographs: find them, crop them as FER2013 and CK+48 are cropped.

    image = datasets.pictures.load_image("photo.jpg")
    faces = [crop_face(image, box, degrees=turn_of(image, box)) for box in find_faces(image)]

Only finding faces needs OpenCV.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from datasets import cascades, centerface
from datasets.cascades import CASCADE

# Fraction of the box that is added on every side. Both data sets are crops of such a detector: run on enlarged
# FER2013 and CK+48 faces, CASCADE draws boxes of 0.958 and 0.964 (medians) of the image's side, centred.
MARGIN = 0.02

FACE_CROP = 96  # pixels; a square image not larger than this is a face already
SMALL = 256  # pixels; scenes are larger


class Box(NamedTuple):
    """A rectangle in pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int


def best_detector() -> str:
    """CenterFace's file name where that is installed, else the cascade's."""
    return centerface.FILE if centerface.weights() else CASCADE


def find_faces(image: np.ndarray, detector: str = CASCADE) -> list[Box]:
    """Find faces, largest first.

    image: uint8, RGB (h, w, 3) or gray (h, w).
    detector: CASCADE (frontal faces, from 40 pixels up) or centerface.FILE (also in profile).
    A face mostly inside a larger one is dropped. Boxes are about the face and may reach beyond the image, where
    `crop_face` repeats its border; `clip` cuts them. Raises `cascades.NoDetector` if OpenCV is missing or has no
    cascades.
    """
    if detector == centerface.FILE:
        found = centerface.search(np.repeat(image[..., None], 3, 2) if image.ndim == 2 else image)
    else:
        found = cascades.search(to_gray(image))
    return drop_nested([Box(*map(round, box)) for box in found.tolist()])


def clip(box: Box, image: np.ndarray) -> Box:
    """The part of a box that lies in the image, (h, w) or (h, w, 3)."""
    h, w = image.shape[:2]
    left, top = min(max(0, box.x), w), min(max(0, box.y), h)
    return Box(left, top, max(left, min(box.x + box.w, w)) - left, max(top, min(box.y + box.h, h)) - top)


def drop_nested(boxes: list[Box]) -> list[Box]:
    """Sort by area, largest first (then from left to right), without those mostly inside a box that is kept."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda b: (-b.w * b.h, b.x, b.y)):
        if all(overlap(box, larger) <= 0.5 * box.w * box.h for larger in kept):
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


def is_small_square(image: np.ndarray) -> bool:
    """Whether an image is of the size and shape in which faces are kept, about square and no scene."""
    short, long = sorted(image.shape[:2])
    return long <= SMALL and long <= 1.25 * short


def is_a_part(image: np.ndarray, boxes: Sequence[Box]) -> bool:
    """Whether all that was found in a picture is a part of a face, a mouth say: it is small and square, as one is."""
    h, w = image.shape[:2]
    return (
        len(boxes) == 1
        and is_small_square(image)
        and boxes[0].w < min(h, w) / 3
        and boxes[0].y + boxes[0].h / 2 > h / 2
    )


def turn_of(image: np.ndarray, box: Box) -> float:
    """Degrees, counter-clockwise, by which the face in a box has to be turned to stand upright; 0 if it about does."""
    side = math.ceil(cascades.TURN_SIDE * math.sqrt(2) / 2 + 1) * 2
    margin = ((1 + 2 * cascades.TURN_BORDER) * side / cascades.TURN_SIDE - 1) / 2
    return cascades.search_turn(crop_face(image, box, margin, side))


def crop_face(image: np.ndarray, box: Box, margin: float = MARGIN, size: int = 48, degrees: float = 0.0) -> np.ndarray:
    """Cut out a square around the box's centre, gray, reduced to uint8 (size, size).

    image: uint8, RGB (h, w, 3) or gray (h, w).
    margin: what is added on every side, as a fraction of the box's longer side. Beyond the image's border its
    outermost pixels are repeated. Reducing averages areas; a square smaller than `size` is interpolated.
    degrees: the face is turned counter-clockwise by so many about its box's centre, as `turn_of` says.
    """
    h, w = image.shape[:2]
    side = max(1, round(max(box.w, box.h) * (1 + 2 * margin)))
    edge = math.ceil(side * (math.sqrt(2) - 1) / 2) if degrees else 0  # what turning brings into the corners
    left, top = round(box.x + (box.w - side) / 2) - edge, round(box.y + (box.h - side) / 2) - edge
    rows = np.arange(top, top + side + 2 * edge).clip(0, h - 1)
    columns = np.arange(left, left + side + 2 * edge).clip(0, w - 1)
    square = Image.fromarray(to_gray(image[rows[:, None], columns]))
    if degrees:
        square = square.rotate(degrees, Image.Resampling.BILINEAR).crop((edge, edge, edge + side, edge + side))
    how = Image.Resampling.BOX if side >= size else Image.Resampling.BICUBIC
    return np.array(square.resize((size, size), how))


def to_gray(image: np.ndarray) -> np.ndarray:
    """uint8 RGB (h, w, 3) -> (h, w), ITU-R 601 luma; a gray image is returned as it is."""
    return image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def overlap(a: Box, b: Box) -> int:
    """Pixels that two boxes share."""
    w = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    h = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    return max(0, w) * max(0, h)
