"""FER2013: 35,887 faces of 48x48 gray pixels in seven classes, gathered by a web search for a contest in 2013.

Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests", ICONIP 2013,
https://arxiv.org/abs/1307.0414. Train on Training, select on PublicTest, report PrivateTest once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from datasets.names import FER2013_CLASSES, SPLITS
from datasets.raw.csv_file import read_csv
from datasets.raw.folder import read_folder
from datasets.raw.source import CSV_NAMES, find_source, open_csv
from datasets.storage import FaceSet, Split
from utils.cli import progress, remark
from utils.files import source_digest


def read_raw(source: str | Path, say: Callable[[str], object] = remark) -> FaceSet:
    """Read any raw form of FER2013: a CSV, plain or packed, or a folder of images; `say` gets what is worth knowing.

    Raises FileNotFoundError or ValueError with the row or the file that is wrong.
    """
    source = find_source(Path(source))
    if source.name.lower().startswith("ckextended"):
        raise ValueError(f"{source} is a copy of CK+ by its name: read it with --dataset ckextended")
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(source_digest, source)  # beside the parsing: hashing leaves Python to it
        splits = _read_images(source, say) if source.is_dir() else read_rows(source, len(FER2013_CLASSES), say)[0]
        return FaceSet("fer2013", FER2013_CLASSES, splits, source.name, digest.result())


def read_rows(
    source: Path, classes: int, say: Callable[[str], object], names: Sequence[str] = CSV_NAMES
) -> tuple[dict[str, Split], np.ndarray]:
    """The splits of a CSV of faces, plain or packed, and for each row, in its order, the index of its split in SPLITS.

    names: what the CSV is called in an archive.
    """
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {split: [] for split in SPLITS}
    order = []
    with open_csv(source, names) as (stream, file, name):
        say(f"reading {name}")
        with progress(total=source.stat().st_size, unit="B", unit_scale=True) as bar:

            def advance() -> None:
                bar.update(file.tell() - bar.n)

            for pixels, labels, where in read_csv(stream, name, classes, SPLITS, advance):
                order.append(where)
                for index in np.unique(where):
                    parts[SPLITS[index]].append((pixels[where == index], labels[where == index]))
    # pop: each split's pieces are let go as soon as they are joined
    splits = {
        split: Split(*map(np.concatenate, zip(*parts.pop(split), strict=True))) for split in SPLITS if parts[split]
    }
    return splits, np.concatenate(order)


def _read_images(source: Path, say: Callable[[str], object]) -> dict[str, Split]:
    say(f"reading the images in {source}")
    found = read_folder(source, SPLITS, say, lambda files: progress(files, unit="face"))
    return {split: Split(pixels, labels) for split, (pixels, labels) in found.items()}
