"""The figure of one or several photographs: each face's crop, what mattered in it, its scores and a drawn face.

Everything is placed in inches from the top left, so that a face is as large in a figure of twenty as in one of one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from engine.figures.style import COLOURS, drawable

INK, QUIET, TRACK, OTHER = "#222222", "#757575", "#f2f3f5", "#b4bcc6"

# Inches
EDGE, GAP, HEADING, NOTE = 0.2, 0.3, 0.24, 0.3
TILE = 1.8  # side of the crop, the map and the drawn face
BETWEEN = 0.14
NAMES, BARS, SHARES = 0.82, 1.5, 0.5  # the bars, and the text to their left and right
ROW = TILE + 0.3  # from one face to the next below it
PHOTO = {1: 3.2, 2: 4.2, 5: 6.0}  # faces, from -> largest width of a photograph, which is no higher than they are
TALLEST = 120  # at 200 dpi, matplotlib can draw about 300
MOST_FACES = 100  # of one photograph: about as many as that


@dataclass(frozen=True)
class Face:
    """One face and what the network says about it.

    box: (x, y, w, h) in pixels of the image.
    pixels: uint8 (s, s), what the network saw.
    probabilities: (classes,).
    heat: (s, s), positive where the prediction comes from, or None.
    """

    box: tuple[int, int, int, int]
    pixels: np.ndarray
    probabilities: np.ndarray
    heat: np.ndarray | None = None


@dataclass(frozen=True)
class AnnotatedImage:
    """A photograph and its faces, at least one.

    rgb: uint8 (h, w, 3), of any resolution.
    width, height: the pixels that boxes refer to.
    found: whether a detector drew the boxes; otherwise they are dashed.
    """

    name: str
    rgb: np.ndarray
    width: int
    height: int
    faces: Sequence[Face]
    found: bool = True


def faces_figure(
    images: Sequence[AnnotatedImage], class_names: Sequence[str], icons: Mapping[str, np.ndarray], note: str = ""
) -> Figure:
    """Draw the images, one below the other; `how_many_fit` says how many matplotlib can take.

    Args:
        icons: class name -> gray uint8 (n, n), drawn beside the faces of that prediction; a class may have none.
        note: small print below everything.
    """
    tops = _tops(images)
    panels = _panels(any(face.heat is not None for image in images for face in image.faces))
    card = max(offset + width for offset, width in panels.values())
    photo = max(_photo_size(image)[0] for image in images)
    lefts = [EDGE + photo + GAP + i * (card + GAP) for i in range(max(map(_columns, images)))]
    figure = Figure((lefts[-1] + card + EDGE, tops[-1] - GAP + (NOTE if note else 0) + EDGE))

    for left in lefts:
        for name, (offset, width) in panels.items():
            middle = NAMES + BARS / 2 if name == "probability" else width / 2
            _text(figure, left + offset + middle, EDGE, name, size=8, color=QUIET, ha="center")
    for image, top in zip(images, tops, strict=False):
        if top > tops[0]:
            _rule(figure, top - GAP / 2)
        _draw_photo(figure, image, EDGE, top, photo, named=len(images) > 1)
        for i, face in enumerate(image.faces):
            column, row = divmod(i, _rows(image))
            at = {name: (lefts[column] + offset, width) for name, (offset, width) in panels.items()}
            _draw_face(figure, face, i, at, top + row * ROW, class_names, icons)
    if note:
        _text(figure, EDGE, figure.get_figheight() - EDGE, note, size=7.5, color=QUIET, va="bottom")
    return figure


def how_many_fit(images: Sequence[AnnotatedImage]) -> int:
    """How many of the images, from the first on, make a figure that is not higher than TALLEST; at least one."""
    return max(1, int((_tops(images)[1:] < TALLEST).sum()))


def percent(p: float) -> str:
    """Whole percents; only what is as good as certain is shown as 100%."""
    return ">99%" if 0.995 <= p < 0.9995 else f"{100 * p:.0f}%"


def _panels(explained: bool) -> dict[str, tuple[float, float]]:
    """What stands beside one another for a face: heading -> (offset from the left, width)."""
    widths = {"input": TILE} | ({"what decides": TILE} if explained else {})
    widths |= {"probability": NAMES + BARS + SHARES, "prediction": TILE}
    offsets = np.cumsum([0.0] + [width + BETWEEN for width in widths.values()])
    return {name: (offset, width) for (name, width), offset in zip(widths.items(), offsets.tolist(), strict=False)}


def _columns(image: AnnotatedImage) -> int:
    return 1 if len(image.faces) <= 4 else 2


def _rows(image: AnnotatedImage) -> int:
    return -(-len(image.faces) // _columns(image))


def _tops(images: Sequence[AnnotatedImage]) -> np.ndarray:
    """Where each image begins, and where one more would; inches from the figure's top."""
    name = 0.2 if len(images) > 1 else 0.0
    heights = [max(_photo_size(image)[1] + name, _faces_height(image)) for image in images]
    return EDGE + HEADING + np.cumsum([0.0] + [height + GAP for height in heights])


def _faces_height(image: AnnotatedImage) -> float:
    return _rows(image) * ROW - (ROW - TILE)


def _photo_size(image: AnnotatedImage) -> tuple[float, float]:
    widest = [width for faces, width in PHOTO.items() if faces <= len(image.faces)][-1]
    scale = min(widest / image.width, _faces_height(image) / image.height)
    return max(0.1, image.width * scale), max(0.1, image.height * scale)


def _draw_photo(figure: Figure, image: AnnotatedImage, left: float, top: float, width: float, named: bool) -> None:
    w, h = _photo_size(image)
    left += (width - w) / 2
    axes = _axes(figure, left, top, w, h)
    how = "nearest" if max(image.rgb.shape) < 200 else "auto"
    axes.imshow(image.rgb, extent=(0, image.width, image.height, 0), interpolation=how, aspect="auto")
    for i, face in enumerate(image.faces):
        x, y, box_w, box_h = face.box
        for colour, line in (("white", 3.2), (COLOURS[i % len(COLOURS)], 1.8)):
            style = "solid" if image.found or colour == "white" else (0, (4, 2))
            box = Rectangle((x, y), box_w, box_h, fill=False, edgecolor=colour, linewidth=line, linestyle=style)
            axes.add_patch(box)
            box.set_clip_on(False)
        x, y = left + x / image.width * w, top + y / image.height * h
        _badge(figure, i, x, y if y < top + 0.2 else y - 0.2)  # above the box, where there is room
    if named:
        room = int(width / 0.062)  # letters
        name = image.name if len(image.name) <= room else f"{image.name[: room - 9]}…{image.name[-8:]}"
        _text(figure, left + w / 2, top + h + 0.06, name, size=7.5, color=QUIET, ha="center")


def _draw_face(
    figure: Figure,
    face: Face,
    number: int,
    at: Mapping[str, tuple[float, float]],
    top: float,
    class_names: Sequence[str],
    icons: Mapping[str, np.ndarray],
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    best = int(face.probabilities.argmax())
    left, side = at["input"]
    _axes(figure, left, top, side, side).imshow(face.pixels, cmap="gray", vmin=0, vmax=255, aspect="auto")
    _badge(figure, number, left, top)
    if face.heat is not None:
        left, side = at["what decides"]
        _draw_heat(_axes(figure, left, top, side, side), face)

    left, _ = at["probability"]
    axes = _axes(figure, left + NAMES, top, BARS, TILE)
    axes.set(xlim=(0, 1), ylim=(len(class_names) - 0.5, -0.5))
    step = TILE / len(class_names)
    size = min(9.0, 50 * step, NAMES * 72 / (0.6 * max(map(len, class_names))))
    for i, (name, p) in enumerate(zip(class_names, face.probabilities.tolist(), strict=True)):
        axes.barh(i, 1, 0.62, color=TRACK)
        axes.barh(i, p, 0.62, color=colour if i == best else OTHER)
        weight = {"size": size, "weight": "bold" if i == best else "normal", "va": "center_baseline"}
        middle = top + (i + 0.5) * step
        _text(figure, left + NAMES - 0.08, middle, name, color=INK, ha="right", **weight)
        _text(figure, left + NAMES + BARS + 0.08, middle, percent(p), color=INK, **weight)

    left, side = at["prediction"]
    icon = icons.get(class_names[best])
    if icon is not None:
        small = side - 0.3
        axes = _axes(figure, left + (side - small) / 2, top, small, small)
        axes.imshow(icon, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="auto")
    middle = top + (side - 0.12 if icon is not None else side / 2)
    style = {"size": min(11.0, side * 72 / (0.7 * len(class_names[best]))), "weight": "bold", "color": colour}
    _text(figure, left + side / 2, middle, class_names[best], ha="center", va="center", **style)


def _draw_heat(axes: Axes, face: Face) -> None:
    """The face, darker, and its map over it: orange where the prediction comes from, blue where it is contradicted."""
    heat = np.asarray(face.heat, float)
    strength = heat / max(1e-6, np.abs(heat).max())
    base = 0.25 + 0.55 * face.pixels[..., None] / 255 * np.ones(3)
    tint = np.where(strength[..., None] > 0, (1.0, 0.55, 0.0), (0.25, 0.5, 1.0))
    opacity = 0.75 * np.abs(strength)[..., None]
    axes.imshow(base * (1 - opacity) + tint * opacity, aspect="auto", interpolation="bilinear")


def _badge(figure: Figure, number: int, left: float, top: float) -> None:
    """A white number on the face's colour, its upper left corner at (left, top)."""
    colour = COLOURS[number % len(COLOURS)]
    patch = {"boxstyle": "square,pad=0.25", "facecolor": colour, "edgecolor": "none"}
    style = {"size": 8, "weight": "bold", "color": "white", "va": "center_baseline"}
    _text(figure, left + 0.05, top + 0.1, str(number + 1), bbox=patch, zorder=9, **style)


def _rule(figure: Figure, top: float) -> None:
    w, h = figure.get_size_inches()
    y = 1 - top / h
    figure.add_artist(Line2D((EDGE / w, 1 - EDGE / w), (y, y), color="#e3e3e3", linewidth=0.8))


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes without frame and ticks, in inches from the figure's top left."""
    w, h = figure.get_size_inches()
    axes = figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))
    axes.axis("off")
    return axes


def _text(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    """Text in inches from the figure's top left; "$" is only a dollar."""
    w, h = figure.get_size_inches()
    figure.text(left / w, 1 - top / h, drawable(text), **({"va": "top", "parse_math": False} | style))
