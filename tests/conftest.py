"""Small synthetic files that several tests read."""

import os
from pathlib import Path

import pytest

import preprocess_fer2013

# Whole scripts run many tiny networks here; two threads fighting over a shared machine make those slower, not faster.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def faces_file(tmp_path_factory) -> Path:
    """An HDF5 file with 320 + 40 + 40 drawn faces, in a folder with a blank in its name."""
    path = tmp_path_factory.mktemp("some data") / "synthetic.h5"
    preprocess_fer2013.main(["--dataset", "synthetic", "--faces", "320", "--output", str(path)])
    return path


@pytest.fixture(scope="session")
def ckplus_file(tmp_path_factory) -> Path:
    """An HDF5 file with 120 drawn faces in sequences of people, as CK+ has them."""
    path = tmp_path_factory.mktemp("data") / "synthetic-ckplus.h5"
    preprocess_fer2013.main(["--dataset", "synthetic-ckplus", "--faces", "120", "--output", str(path)])
    return path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data that FER_DATA_DIR names; the test is skipped without one."""
    if not os.environ.get("FER_DATA_DIR"):
        pytest.skip("FER_DATA_DIR is not set")
    return Path(os.environ["FER_DATA_DIR"])
