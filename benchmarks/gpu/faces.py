"""The faces that the suite trains on: the user's file, or drawn ones in the numbers of FER2013. Imports no PyTorch."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from datasets.names import CLASS_NAMES
from datasets.storage import FaceSet, Split, read_faces, write_faces
from datasets.synthetic.faces import make_splits

CHUNKS = 16  # in which faces are drawn, whatever the number of cores, so that they are the same everywhere


def prepare(data: Path, folder: Path, counts: dict[str, int]) -> tuple[Path, str]:
    """The file to train on and what its faces are: "fer2013", or "drawn" into `folder` where `data` is not there.

    counts: split -> number of faces to draw, 16 or more.
    """
    if data.is_file():
        faces = read_faces(data, list(counts))
        return data.resolve(), "fer2013" if faces.dataset == "fer2013" else "drawn"
    shares = [{name: (i + 1) * n // CHUNKS - i * n // CHUNKS for name, n in counts.items()} for i in range(CHUNKS)]
    if sum(counts.values()) < 1_000:  # other processes would take longer to start
        drawn = [draw(share, seed) for seed, share in enumerate(shares)]
    else:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            drawn = list(pool.map(draw, shares, range(CHUNKS)))
    splits = {
        name: Split(*(np.concatenate([chunk[name][column] for chunk in drawn]) for column in (0, 1))) for name in counts
    }
    path = (folder / "faces.h5").resolve()
    write_faces(path, FaceSet("synthetic", CLASS_NAMES["synthetic"], splits, "drawn for the GPU suite", ""))
    return path, "drawn"


def draw(counts: dict[str, int], seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """One chunk."""
    return make_splits(counts, seed, CLASS_NAMES["synthetic"])
