"""predictions.csv: one row per face, readable by any spreadsheet.

    index,label,prediction,Angry,Disgust,...,Neutral[,subject,sequence,fold]

index: the face's row in its split of the HDF5 file, from 0 (a face that is tested in two folds has two rows).
label, prediction: class indices, whole numbers in the order of the probability columns.
One probability column per class, named after it; nine digits, enough to tell any two float32 apart.
subject, sequence, fold: only where they exist (CK+), always last.
"""

import csv
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from datasets.names import FACE_COLUMNS, GROUP_COLUMNS
from datasets.raw.csv_text import read_table
from engine.evaluation.metrics import check_inputs
from utils.files import replacing

# Cells that hold no number, as pandas takes them; somebody may be called NA, so in columns of people only "" is none
NOTHING = ["", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "None"]


@dataclass(frozen=True)
class Predictions:
    """What a predictions.csv holds: index, labels, predictions int64 (n,); probabilities float64 (n, c)."""

    class_names: tuple[str, ...]
    index: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)


def write_predictions(
    path: str | Path,
    index: Any,
    labels: Any,
    probabilities: Any,
    class_names: Sequence[str],
    extra: Mapping[str, Sequence] | None = None,
) -> None:
    """Write predictions.csv, whole or not at all; the prediction is the first of the largest probabilities.

    Args:
        index: (n,) rows in the split.
        labels, probabilities, class_names: as `engine.evaluation.metrics.compute_metrics` takes them.
        extra: columns named subject, sequence or fold, each of length n.
    """
    y, p = check_inputs(labels, probabilities, class_names)
    extra = dict(extra or {})
    reserved = [name for name in class_names if name in FACE_COLUMNS + GROUP_COLUMNS]
    unknown = [name for name in extra if name not in GROUP_COLUMNS]
    if reserved or unknown:
        kind = "class" if reserved else "extra column"
        allowed = f"extra columns are {', '.join(GROUP_COLUMNS)}, and no class is called like a column"
        raise ValueError(f"{kind} {(reserved + unknown)[0]!r}: {allowed}")
    columns: dict[str, Any] = {"index": np.asarray(index)}
    columns |= {"label": y, "prediction": p.argmax(1)}
    columns |= {name: p[:, i] for i, name in enumerate(class_names)}
    columns |= {name: extra[name] for name in GROUP_COLUMNS if name in extra}
    short = [f"{name} ({len(column)})" for name, column in columns.items() if len(column) != len(y)]
    if short:
        raise ValueError(f"{len(y)} labels, but another number of values in {', '.join(short)}")
    with replacing(path) as temporary:
        pd.DataFrame(columns).to_csv(
            temporary, index=False, float_format="%.9g", lineterminator="\n", errors="backslashreplace"
        )


def read_predictions(path: str | Path) -> Predictions:
    """Read and check predictions.csv.

    Raises FileNotFoundError, or ValueError that names the column and the line of the first bad value.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no predictions {path}; make them: python evaluate.py --checkpoint PATH")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the predictions.csv of a run or of evaluate.py")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; make it again: python evaluate.py --checkpoint PATH")
    table, before = _read_csv(path)
    missing = [name for name in FACE_COLUMNS if name not in table]
    names = tuple(name for name in table if name not in FACE_COLUMNS + GROUP_COLUMNS)
    if missing or not names:
        wanted = ", ".join(FACE_COLUMNS)
        raise ValueError(f"{path} is not a predictions.csv: it needs the columns {wanted} and one per class")
    if not len(table):
        raise ValueError(f"{path} has no rows")
    for name in [name for name in GROUP_COLUMNS if name in table]:
        if table[name].isna().any():
            line = int(np.flatnonzero(table[name].isna())[0]) + 2 + before
            raise ValueError(f"{path}, line {line}, column {name}: the cell is empty")
    for name in FACE_COLUMNS + names:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = np.flatnonzero(~np.isfinite(values))
        if name in FACE_COLUMNS and not len(wrong):
            top = 2**31 if name == "index" else len(names) - 1
            wrong = np.flatnonzero((values < 0) | (values > top) | (values % 1 != 0))
        if len(wrong):
            allowed = "a whole number from 0" if name == "index" else f"0 to {len(names) - 1}"
            allowed = allowed if name in FACE_COLUMNS else "a number"
            found = table[name].iloc[wrong[0]]
            found = "an empty cell" if pd.isna(found) else repr(str(found)[:40])
            raise ValueError(f"{path}, line {wrong[0] + 2 + before}, column {name[:40]}: {found} is not {allowed}")
        table[name] = values
    try:
        labels, probabilities = check_inputs(table["label"].astype(np.int64), table[list(names)], names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Predictions(
        class_names=names,
        index=table["index"].to_numpy(np.int64),
        labels=labels,
        predictions=table["prediction"].to_numpy(np.int64),
        probabilities=probabilities,
        extra={name: table[name].to_numpy() for name in GROUP_COLUMNS if name in table},
    )


def _read_csv(path: Path) -> tuple[pd.DataFrame, int]:
    """The table, and how many lines stand before its header; ValueError where it is none."""
    try:
        text, separator, before = read_table(path, FACE_COLUMNS)  # a spreadsheet may have saved it
        header = next(csv.reader(io.StringIO(text), delimiter=separator), [])
        decimal = "," if separator != "," and re.search(r"\d,\d", text) else "."
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
            types = {"subject": str, "sequence": str}
            table = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                decimal=decimal,
                dtype=types,
                index_col=False,
                keep_default_na=False,
                na_values={name: [""] if name in types else NOTHING for name in header},
            )
    except (ValueError, csv.Error, pd.errors.ParserWarning) as error:  # pandas' parser errors are ValueErrors too
        raise ValueError(f"{path} is not a predictions.csv ({str(error).strip().splitlines()[0][:200]})") from None
    _check_header(path, header)
    return table, before


def _check_header(path: Path, names: Sequence[str]) -> None:
    """ValueError for columns of one name, of which pandas renames the second, and for those without."""
    wrong = [name for i, name in enumerate(names) if name in names[:i] or not name.strip()]
    long = [name for name in names if len(name) > 100]
    if long:
        raise ValueError(f"{path} is not a predictions.csv: a column's name has {len(long[0])} letters")
    if wrong:
        what = f"two columns are called {wrong[0][:40]!r}" if wrong[0].strip() else "a column has no name"
        raise ValueError(f"{path} is not a predictions.csv: {what}")
