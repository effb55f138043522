"""What all figures share: colours, titles, height, and how they become files.

No pyplot and no window: a figure is saved with `save_figure`, or shown by whoever asked for it.
"""

import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager, ft2font
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.files import replacing

ENDINGS = (".png", ".pdf", ".svg")
BLUE, ORANGE, RED, GRAY = "#0072b2", "#e69f00", "#b2182b", "#666666"
# Okabe and Ito's colours, which all eyes can tell apart; without yellow, which is pale on white
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SMALLEST = 7  # points


def save_figure(figure: Figure, path: str | Path, dpi: int = 200) -> None:
    """Write the figure in the format of the path's ending, whole or not at all; same figure, same bytes.

    PDF and SVG are vector graphics, the PDF's fonts embedded as TrueType (journals refuse Type 3).
    Raises ValueError for another ending than .png, .pdf and .svg.
    """
    check_ending(path)
    kind = Path(path).suffix.lower().removeprefix(".")
    undated: dict[str, Any] = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    with replacing(path) as temporary, matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "faces"}):
        figure.savefig(temporary, format=kind, dpi=dpi, metadata=undated, facecolor="white")


def check_ending(path: str | Path) -> None:
    """Raise ValueError unless `save_figure` can write a file of this name."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot write a figure as {str(path)!r}: the name must end in {', '.join(ENDINGS)}")


def clean_axes(axes: Axes) -> None:
    """No frame above and to the right; small, equal fonts."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)


def drawable(text: str) -> str:
    """The same, with "?" for letters that matplotlib's own font lacks: they would be a warning and an empty box.

    Draw it with `parse_math=False`, so that a "$" is only a dollar.
    """
    known = _characters()
    return "".join(c if c == "\n" or ord(c) in known else "?" for c in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(ft2font.FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())


def set_title(figure: Figure, title: str, size: float) -> None:
    """Write the title above everything, in as many lines as its width needs."""
    if not title:
        return
    across = int(figure.get_figwidth() * 72 / (0.56 * size))  # an em holds 1.8 letters
    title = drawable(title)
    whole = r"\([^)]*\)|\bn = [\d,]+"  # a remark, and a number of faces, stays on one line
    title = re.sub(whole, lambda found: found[0].replace(" ", "\u00a0"), title)
    lines = [line for part in title.split("\n") for line in textwrap.wrap(part, across) or [""]]
    figure.suptitle("\n".join(lines), size=size, parse_math=False)


def fit_height(figure: Figure, column: Sequence[Axes]) -> None:
    """Take away the height that square axes, one above the other, cannot use; give what they lack."""
    for _ in range(2):  # the layout answers to the first change
        figure.draw_without_rendering()
        slack = 0.0
        for axes in column:
            given, used = axes.get_position(original=True), axes.get_position()
            slack += (given.height - used.height) * figure.get_figheight()
            slack -= (given.width - used.width) * figure.get_figwidth()
        figure.set_figheight(figure.get_figheight() - slack)
