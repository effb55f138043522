"""What the network says about the faces of photographs, as plain data and as a table."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.figures.faces import Face


def describe_faces(faces: Sequence[Face], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """For each face its box [x, y, w, h], prediction and probabilities by class name (rounded to six digits)."""
    return [
        {
            "box": [int(v) for v in face.box],
            "prediction": class_names[face.probabilities.argmax()],
            "probabilities": {
                name: round(float(p), 6) for name, p in zip(class_names, face.probabilities, strict=True)
            },
        }
        for face in faces
    ]


def faces_table(images: Sequence[dict[str, Any]], class_names: Sequence[str]) -> str:
    """One line per face, in columns of fixed width; an image without a face has a line that says so.

    images: dicts with "image", its path, and "faces", as `describe_faces` makes them. The table shows file names,
    or whole paths where two files have one name.
    """
    files = [Path(image["image"]).name for image in images]
    short = len(set(files)) == len(files)
    rows = [["image", "face", "box (x y w h)", "prediction", *class_names]]
    for image in images:
        name = Path(image["image"]).name if short else image["image"]
        if not image["faces"]:
            rows.append([name, "-", "", "no face", *("" for _ in class_names)])
        for number, face in enumerate(image["faces"], 1):
            box = " ".join(f"{v:4d}" for v in face["box"])
            shares = [f"{100 * p:.1f}%" for p in face["probabilities"].values()]
            rows.append([name, str(number), box, face["prediction"], *shares])
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    left = (0, 3)  # text; the other columns are numbers
    lines = []
    for row in rows:
        padded = ((text, " " * (width - cells(text))) for text, width in zip(row, widths, strict=True))
        lines.append("  ".join(t + pad if i in left else pad + t for i, (t, pad) in enumerate(padded)).rstrip())
    return "\n".join(lines)


def cells(text: str) -> int:
    """Columns that a text takes in a terminal; Chinese, Japanese and Korean letters take two."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in text if not unicodedata.combining(c))
