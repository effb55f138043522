"""FER2013 as a small CSV of noise, in memory, and the script that reads it; for several tests."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import preprocess_fer2013
from datasets.storage import FaceSet

COUNTS = {"Training": 30, "PublicTest": 14, "PrivateTest": 15}
RNG = np.random.default_rng(0)
FACES = {split: RNG.integers(0, 256, (n, 48, 48), np.uint8) for split, n in COUNTS.items()}
FACES["Training"][:3] = np.array([0, 9, 255], np.uint8)[:, None, None]  # all numbers of one, of three digits
LABELS = {split: np.arange(n) % 7 for split, n in COUNTS.items()}
ROWS = [
    (str(label), " ".join(map(str, face.ravel().tolist())), split)
    for split in COUNTS
    for label, face in zip(LABELS[split].tolist(), FACES[split], strict=True)
]


def official(rows=ROWS, header: str = "emotion,pixels,Usage", end: str = "\n") -> bytes:
    return "".join(line + end for line in (header, *map(",".join, rows))).encode()


def in_tar(content: bytes, name: str = "fer2013/fer2013.csv", mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for member, data in {"fer2013/README": b"about", name: content, "fer2013/fer2013.bib": b"@x"}.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def in_zip(content: bytes, name: str = "archive/fer2013.csv") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/fer2013.csv", "not this")
        archive.writestr(name, content)
    return packed.getvalue()


def assert_all_faces(faces: FaceSet) -> None:
    assert list(faces.splits) == list(COUNTS)
    for name, split in faces.splits.items():
        np.testing.assert_array_equal(split.pixels, FACES[name])
        np.testing.assert_array_equal(split.labels, LABELS[name])
        assert split.labels.dtype == np.int64


def preprocess(source, output, *more: str) -> FaceSet:
    return preprocess_fer2013.main(["--source", str(source), "--output", str(output), *more])


def files_beside(path: Path) -> list[Path] | None:
    return sorted(path.parent.iterdir()) if path.parent.is_dir() else None


def refused(capsys, source, output, *more: str) -> str:
    """The one line on stderr with which the script ends; nothing may have been written beside the output."""
    before = files_beside(output)
    with pytest.raises(SystemExit) as ended:
        preprocess(source, output, *more)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("preprocess_fer2013.py: error: ") and error.count("\n") == 1
    assert files_beside(output) == before
    return error
