"""One frame of a film: boxes with numbers and labels, and beside the picture a panel with the bars of every face."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.photographs import clip
from engine.figures.faces import COLOURS, INK, OTHER, QUIET, TRACK, percent
from engine.tracking import Track

PANEL = 210  # pixels of the panel's width in a film of 480 lines; everything grows with the film
ROW, HEAD, GAP, EDGE, NAMES, BARS = 16, 24, 10, 10, 66, 84


def draw_frame(rgb: np.ndarray, tracks: Sequence[Track], class_names: Sequence[str], note: str = "") -> np.ndarray:
    """uint8 (h, w, 3) -> uint8 (h', w', 3), both sides even, as the codecs want them: the picture and its panel.

    note: small print at the foot of the panel. Faces for which the panel has no room are in the picture alone.
    """
    h, w = (side - side % 2 for side in rgb.shape[:2])
    unit = max(1.0, h / 480)
    panel = round(PANEL * unit / 2) * 2
    canvas = Image.new("RGB", (w + panel, h), "white")
    canvas.paste(Image.fromarray(rgb[:h, :w]), (0, 0))
    draw = ImageDraw.Draw(canvas)
    for track in tracks:
        _draw_box(draw, track, rgb[:h, :w], class_names[track.label], unit)
    draw.rectangle((w, 0, w + panel, h), "white")
    left, top = w + EDGE * unit, EDGE * unit
    each = (HEAD + ROW * len(class_names) + GAP) * unit
    for track in tracks:
        if top + each > h - ROW * unit:
            break
        _draw_bars(draw, track, class_names, left, top, unit)
        top += each
    draw.text((left, h - EDGE * unit / 2), note, QUIET, _font(round(11 * unit)), anchor="ls")
    return np.asarray(canvas)


def _draw_box(draw: ImageDraw.ImageDraw, track: Track, rgb: np.ndarray, label: str, unit: float) -> None:
    colour, font = COLOURS[(track.number - 1) % len(COLOURS)], _font(round(13 * unit))
    x, y, w, h = clip(track.box, rgb)
    if not (w and h):
        return
    line = max(2, round(2 * unit))
    draw.rectangle((x, y, x + w, y + h), outline=colour, width=line)
    text, pad = f"{track.number}  {label}", 3 * unit
    _, _, right, foot = draw.textbbox((0, 0), text, font)
    high = foot + 2 * pad
    top = y - high if y >= high else y  # above the box, where there is room
    draw.rectangle((x, top, x + right + 2 * pad, top + high), colour)
    draw.text((x + pad, top + pad), text, "white", font)


def _draw_bars(
    draw: ImageDraw.ImageDraw, track: Track, class_names: Sequence[str], left: float, top: float, unit: float
) -> None:
    colour = COLOURS[(track.number - 1) % len(COLOURS)]
    draw.text((left, top), f"{track.number}  {class_names[track.label]}", colour, _font(round(14 * unit), bold=True))
    size = round(11 * unit)
    for i, (name, p) in enumerate(zip(class_names, track.probabilities.tolist(), strict=True)):
        y, bar = top + (HEAD + i * ROW) * unit, left + NAMES * unit
        font = _font(size, bold=i == track.label)
        draw.text((bar - 5 * unit, y + 5 * unit), name, INK, font, anchor="rm")
        for share, shade in ((1, TRACK), (p, colour if i == track.label else OTHER)):
            draw.rectangle((bar, y, bar + max(0, share) * BARS * unit, y + 10 * unit), shade)
        draw.text((bar + (BARS + 5) * unit, y + 5 * unit), percent(p), INK, font, anchor="lm")


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
