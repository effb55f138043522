"""Drawn faces: the data set that comes with the code, so that everything runs before FER2013 is there.

A face is a few dozen numbers: who it is (TRAITS), what its muscles do (MUSCLES, after the action units of
Ekman and Friesen's Facial Action Coding System) and how it was photographed (CAMERA). They are drawn at
random here and painted in `drawing.py`. Lengths are in half image widths.
"""

import zlib
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from datasets.synthetic.drawing import photograph, render, to_bytes

EXPRESSIONS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral", "Contempt")

# What differs from a face at rest, at full intensity. brow_*, corner, sneer and gape are lengths (up or open
# is positive), lid and stretch are relative to the eye's opening and the mouth's width, the others strengths.
MUSCLES: dict[str, dict[str, float]] = {
    # AU 4 + 5 + 7 + 23: brows down and together, a hard stare, lips pressed
    "Angry": dict(
        brow_inner=-0.13,
        brow_outer=0.05,
        knit=1.0,
        lid=0.1,
        squint=0.4,
        corner=-0.05,
        press=0.8,
        stretch=-0.05,
        wrinkle=0.2,
        gape=0.02,
    ),
    # AU 9 + 10 + 15: nose wrinkled, upper lip raised, eyes narrowed
    "Disgust": dict(
        brow_inner=-0.09,
        brow_outer=-0.06,
        knit=0.5,
        lid=-0.35,
        squint=0.8,
        corner=-0.08,
        wrinkle=1.0,
        sneer=0.11,
        cheek=0.5,
        gape=0.04,
    ),
    # AU 1 + 2 + 4 + 5 + 20: brows up and drawn together, wide eyes, mouth pulled wide
    "Fear": dict(brow_inner=0.15, brow_outer=0.02, knit=0.8, lid=0.5, corner=-0.07, stretch=0.2, gape=0.12),
    # AU 6 + 12 + 25: corners and cheeks up, eyes narrowed
    "Happy": dict(brow_outer=0.02, lid=-0.1, squint=0.7, corner=0.14, cheek=1.0, stretch=0.3, gape=0.13),
    # AU 1 + 4 + 15: inner brows up, lids heavy, corners down
    "Sad": dict(brow_inner=0.11, brow_outer=-0.07, knit=0.5, lid=-0.25, corner=-0.11, stretch=-0.1),
    # AU 1 + 2 + 5 + 26: brows up, eyes wide, jaw dropped
    "Surprise": dict(brow_inner=0.13, brow_outer=0.13, lid=0.5, stretch=-0.3, gape=0.28),
    "Neutral": {},
    # AU 12 + 14 on one side
    "Contempt": dict(corner=0.02, one_sided=1.0, lid=-0.35, squint=0.2, press=0.2),
}
# Standard deviation of each muscle from one image to the next
TWITCH = dict(
    brow_inner=0.022,
    brow_outer=0.022,
    knit=0.1,
    lid=0.1,
    squint=0.1,
    corner=0.02,
    cheek=0.1,
    stretch=0.06,
    sneer=0.01,
    press=0.1,
    wrinkle=0.08,
    gape=0.012,
    one_sided=0.06,
)

# Uniform ranges. Who: the same in all images of a person. What is there above 0 has its
# frequency in the range: (-5, 1) is one face in six.
TRAITS: dict[str, tuple[float, float]] = dict(
    skin=(0.36, 0.88),
    head_w=(0.62, 0.76),
    head_h=(0.82, 0.94),
    jaw=(0.0, 0.25),
    ear=(0.06, 0.12),
    eye_x=(0.26, 0.33),
    eye_y=(-0.14, -0.05),
    eye_w=(0.125, 0.17),
    eye_h=(0.06, 0.09),
    slant=(-0.025, 0.025),
    iris=(0.08, 0.45),
    brow_y=(0.17, 0.21),
    brow_w=(0.15, 0.20),
    brow_t=(0.02, 0.05),
    arch=(0.0, 0.04),
    nose_y=(0.17, 0.26),
    nose_w=(0.09, 0.15),
    mouth_y=(0.46, 0.55),
    mouth_w=(0.22, 0.30),
    lips=(0.025, 0.055),
    lip_tone=(0.6, 0.85),
    rest=(-0.025, 0.025),
    hair_tone=(0.04, 0.7),
    hair_y=(0.5, 0.7),
    volume=(0.05, 0.2),
    curve=(-0.2, 0.7),
    part=(-0.4, 0.4),
    curl=(-0.04, 0.04),
    length=(-0.3, 1.4),
    bald=(-7, 1),
    beard=(-5, 1),
    moustache=(-6, 1),
    glasses=(-5, 1),
    age=(-0.5, 0.5),
)
# How: new for every image.
CAMERA: dict[str, tuple[float, float]] = dict(
    roll=(-0.16, 0.16),
    yaw=(-0.35, 0.35),
    pitch=(-0.12, 0.12),
    shift_x=(-0.07, 0.07),
    shift_y=(-0.07, 0.07),
    zoom=(1.0, 1.2),
    gaze_x=(-1, 1),
    gaze_y=(-1, 1),
    mirror=(-1, 1),
    light_x=(-0.3, 0.3),
    light_y=(-0.3, 0.1),
    backdrop=(0.05, 0.95),
    slope_x=(-0.25, 0.25),
    slope_y=(-0.25, 0.25),
    stripes=(-0.12, 0.12),
    stripe_x=(-9, 9),
    stripe_y=(-9, 9),
    phase=(0, 6.3),
    clothes=(0.05, 0.9),
    occluder=(-7, 1),
    occluder_at=(0, 6.3),
    occluder_tone=(0.1, 0.9),
    contrast=(0.65, 1.15),
    brightness=(-0.12, 0.12),
    gamma=(0.7, 1.5),
    blur=(0.0, 1.0),
    noise=(0.0, 0.03),
)
# The face of the icons; what is not named here takes the middle of its range
_ICON = dict(
    skin=0.87,
    head_w=0.74,
    head_h=0.86,
    jaw=0.1,
    ear=0.1,
    eye_x=0.32,
    eye_w=0.17,
    eye_h=0.09,
    iris=0.1,
    brow_t=0.045,
    lips=0.045,
    hair_tone=0.2,
    hair_y=0.62,
    volume=0.12,
    curve=0.35,
    curl=0.02,
    part=0.3,
    length=-0.05,
    age=-0.4,
    mirror=1,
    light_x=-0.1,
    light_y=-0.06,
    shift_y=0.03,
    zoom=0.89,
)
# Percent of FER2013's Training faces; Disgust has 1.5 there, too few for a small set. Contempt is set alike.
_SHARES = dict(Angry=14, Disgust=5, Fear=14, Happy=25, Sad=17, Surprise=11, Neutral=17, Contempt=5)
_CHUNK = 32  # faces drawn at once: as many as stay in the processor's cache


def draw_faces(
    expressions: Sequence[str],
    rng: np.random.Generator,
    size: int = 48,
    identities: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw one face for each expression name.

    Args:
        expressions: N names out of `EXPRESSIONS`.
        rng: all chance comes from here; the same state gives the same bytes.
        size: height and width in pixels.
        identities: N person numbers (>= 0). Faces with the same number have the same head, features, skin and
            hair, in this and in any other call. By default everyone is somebody else.

    Returns:
        uint8 array of shape (N, size, size).

    Raises:
        ValueError: an unknown expression, a negative identity, or more or fewer identities than expressions.
    """
    _check_names(expressions)
    if identities is not None and len(identities) != len(expressions):
        raise ValueError(f"{len(identities)} identities for {len(expressions)} faces: give one for each face")
    if identities is not None and min(identities, default=0) < 0:
        raise ValueError(f"identity {min(identities)} is negative: number people from 0 on")
    faces = np.empty((len(expressions), size, size), np.uint8)
    for start in range(0, len(faces), _CHUNK):
        rows = slice(start, start + _CHUNK)
        face = _sample(expressions[rows], rng, None if identities is None else identities[rows])
        faces[rows] = photograph(render(face, size), face, rng)
    return faces


def draw_icon(expression: str, size: int = 128) -> np.ndarray:
    """One friendly face at full intensity, frontal, without noise, on white: uint8 (size, size)."""
    _check_names([expression])
    values = {name: (low + high) / 2 for name, (low, high) in (TRAITS | CAMERA).items()}
    values |= dict.fromkeys(TWITCH, 0.0) | MUSCLES[expression] | _ICON
    face = SimpleNamespace(**{name: np.full((1, 1, 1), value, np.float32) for name, value in values.items()})
    return to_bytes(render(face, size, background=False))[0]


def make_splits(
    counts: dict[str, int], seed: int, class_names: Sequence[str] = EXPRESSIONS[:7]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw whole splits, classes in FER2013's proportions; the rare ones make up about 5% each.

    A split depends on the seed, its own name and its own count: another count for Training leaves the test
    faces as they were.

    Args:
        counts: split name -> number of faces.
        seed: not negative.
        class_names: names out of `EXPRESSIONS`; a label is a position in them.

    Returns:
        split name -> (pixels uint8 (N, 48, 48), labels int64 (N,)), in random order.

    Raises:
        ValueError: an unknown expression.
    """
    _check_names(class_names)
    shares = np.cumsum([_SHARES[name] for name in class_names])
    splits = {}
    for split, count in counts.items():
        rng = np.random.default_rng([seed, zlib.crc32(split.encode())])
        # The class at each of `count` even steps along the shares: exact proportions, no sampling error
        labels = np.searchsorted(shares / shares[-1], (np.arange(count) + 0.5) / count)
        labels = rng.permutation(labels).astype(np.int64)
        splits[split] = draw_faces([class_names[label] for label in labels], rng), labels
    return splits


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in MUSCLES:
            raise ValueError(f"unknown expression {name!r}: use names out of {', '.join(EXPRESSIONS)}")


def _sample(names: list[str], rng: np.random.Generator, identities: Sequence[int] | None) -> SimpleNamespace:
    """The numbers of len(names) faces, each float32 of shape (n, 1, 1)."""
    n = len(names)
    if identities is None:
        who = rng.random((n, len(TRAITS)))
    else:  # seeded by the number alone, so that a person stays the same in every call
        who = np.stack([np.random.default_rng([0xFACE, int(i)]).random(len(TRAITS)) for i in identities])
    uniform = np.concatenate([who, rng.random((n, len(CAMERA)))], 1)
    ranges = (TRAITS | CAMERA).items()
    values = {name: low + (high - low) * uniform[:, k] for k, (name, (low, high)) in enumerate(ranges)}
    intensity = 0.35 + 0.65 * np.sqrt(rng.random(n))
    twitch = rng.standard_normal((n, len(TWITCH))).clip(-2, 2)
    for k, (name, deviation) in enumerate(TWITCH.items()):
        mean = np.array([MUSCLES[expression].get(name, 0.0) for expression in names])
        values[name] = intensity * mean + deviation * twitch[:, k]
    values["gape"] = (values["gape"] * rng.uniform(0.3, 1.3, n)).clip(0)  # closed smiles beside wide grins
    for name in ("knit", "squint", "cheek", "press", "wrinkle", "one_sided"):
        values[name] = values[name].clip(0, 1)
    return SimpleNamespace(**{name: v.astype(np.float32)[:, None, None] for name, v in values.items()})
