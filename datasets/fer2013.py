"""FER2013: 35,887 faces of 48x48 gray pixels in seven classes, gathered by a web search for a contest in 2013.

Goodfellow et al., "Challenges in Representation Learning: A report on three machine learning contests", ICONIP 2013,
https://arxiv.org/abs/1307.0414. Train on Training, select on PublicTest, report PrivateTest once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from datasets.names import FER2013_CLASSES, SPLITS
from datasets.raw.csv_file import read_csv
from datasets.raw.folder import read_folder
from datasets.raw.source import find_source, open_csv
from datasets.storage import FaceSet, Split
from utils.cli import progress, remark
from utils.files import source_digest


def read_raw(source: str | Path, say: Callable[[str], object] = remark) -> FaceSet:
    """Read any raw form of FER2013: a CSV, plain or packed, or a folder of images; `say` gets what is worth knowing.

    Raises FileNotFoundError or ValueError with the row or the file that is wrong.
    """
    source = find_source(Path(source))
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(source_digest, source)  # beside the parsing: hashing leaves Python to it
        splits = _read_images(source, say) if source.is_dir() else _read_rows(source, say)
        return FaceSet("fer2013", FER2013_CLASSES, splits, source.name, digest.result())


def _read_rows(source: Path, say: Callable[[str], object]) -> dict[str, Split]:
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {split: [] for split in SPLITS}
    with open_csv(source) as (stream, file, name):
        say(f"reading {name}")
        with progress(total=source.stat().st_size, unit="B", unit_scale=True) as bar:

            def advance() -> None:
                bar.update(file.tell() - bar.n)

            for pixels, labels, where in read_csv(stream, name, len(FER2013_CLASSES), SPLITS, advance):
                for index in np.unique(where):
                    parts[SPLITS[index]].append((pixels[where == index], labels[where == index]))
    # pop: each split's pieces are let go as soon as they are joined
    return {split: Split(*map(np.concatenate, zip(*parts.pop(split), strict=True))) for split in SPLITS if parts[split]}


def _read_images(source: Path, say: Callable[[str], object]) -> dict[str, Split]:
    say(f"reading the images in {source}")
    found = read_folder(source, SPLITS, say, lambda files: progress(files, unit="face"))
    return {split: Split(pixels, labels) for split, (pixels, labels) in found.items()}
