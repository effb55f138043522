"""What a data set holds, as text: faces per split and class beside the official counts, and faces that repeat."""

from collections.abc import Mapping, Sequence

from datasets.duplicates import find_twins
from datasets.storage import FaceSet


def counts_table(faces: FaceSet, official: Mapping[str, Sequence[int]] | None = None) -> str:
    """Faces per split and class. A count that is not the official one is marked, with the official row below it."""
    heads = [f"{name} " for name in (*faces.class_names, "total")]  # a mark's width wider, as the counts below
    lines = [_row("split", heads, heads)]
    differs = []
    for split in dict.fromkeys([*faces.splits, *(official or {})]):
        counts = [0] * len(faces.class_names)
        if split in faces.splits:
            for label in faces.splits[split].labels.tolist():
                counts[label] += 1
        expected = list((official or {}).get(split, counts))
        counts, expected = [*counts, sum(counts)], [*expected, sum(expected)]
        cells = [f"{n}*" if n != m else f"{n} " for n, m in zip(counts, expected, strict=True)]
        if split not in faces.splits:
            cells = ["-*"] * len(cells)
        lines.append(_row(split, cells, heads))
        if counts != expected:
            differs.append(split)
            lines.append(_row("  official", [f"{m} " for m in expected], heads))
    if official and differs:
        absent = [split for split in differs if split not in faces.splits]
        lines.append("* not the official count" + (f"; absent: {', '.join(absent)}" if absent else ""))
    elif official:
        lines.append("every count is the official one")
    return "\n".join(lines)


def twins_table(faces: FaceSet) -> str:
    """Pixel-identical faces within each split and across each two."""
    lines = [f"{'pixel-identical faces':<32}{'faces':>8}{'share':>8}{'same label':>12}"]
    for twins in find_twins(faces):
        inside = twins.split == twins.reference
        what = f"{twins.split}, repeating another" if inside else f"{twins.split}, also in {twins.reference}"
        share = twins.faces / len(faces.splits[twins.split])
        lines.append(f"{what:<32}{twins.faces:>8}{share:>8.1%}{twins.same_label:>12}")
    return "\n".join(lines)


def _row(first: str, cells: Sequence[str], heads: Sequence[str]) -> str:
    columns = [f"{cell:>{max(8, len(head) + 1)}}" for cell, head in zip(cells, heads, strict=True)]
    return f"{first:<14}{''.join(columns)}".rstrip()
