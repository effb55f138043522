"""FER+: votes as labels and soft targets. The real fer2013new.csv is not here; these are made-up votes in its form."""

import re

import h5py
import numpy as np
import pytest
from raw_fer2013 import FACES, ROWS, official

import preprocess_fer2013
import train
from datasets.ferplus import VOTES, majority
from datasets.names import EIGHT_CLASSES
from datasets.storage import read_faces
from datasets.train_val import soften, train_val_split, without_soft
from engine.build import build_data
from engine.config import config_from_flags

HEADER = ",".join(("Usage", "Image name", *VOTES))
# neutral happiness surprise sadness anger disgust fear contempt unknown NF -> class of EIGHT_CLASSES, or None
RULES = {
    (10, 0, 0, 0, 0, 0, 0, 0, 0, 0): 6,
    (0, 6, 4, 0, 0, 0, 0, 0, 0, 0): 3,
    (0, 5, 5, 0, 0, 0, 0, 0, 0, 0): None,  # half is no majority
    (4, 1, 1, 1, 1, 1, 1, 0, 0, 0): 6,  # single votes do not count: 4 of 4
    (4, 2, 2, 1, 1, 0, 0, 0, 0, 0): None,
    (0, 0, 0, 0, 0, 0, 0, 6, 4, 0): 7,
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1): None,
    (2, 0, 0, 0, 0, 0, 0, 0, 8, 0): None,  # unknown
    (0, 0, 0, 0, 3, 0, 0, 0, 0, 7): None,  # not a face
    (0, 0, 0, 0, 0, 0, 0, 0, 0, 10): None,
    (0, 0, 0, 0, 0, 8, 2, 0, 0, 0): 1,
}


def slow_shares(votes: tuple[int, ...]) -> list[float]:
    by_name = {name: n if n > 1 else 0 for name, n in zip(VOTES[:8], votes, strict=False)}
    order = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt")
    total = sum(by_name.values()) or 1
    return [by_name[name] / total for name in order]


def test_majority_and_shares_are_as_the_rule_says():
    labels, shares = majority(np.array(list(RULES)))
    assert labels.tolist() == [-1 if label is None else label for label in RULES.values()]
    np.testing.assert_allclose(shares, [slow_shares(votes) for votes in RULES], atol=1e-6)
    kept = labels >= 0
    assert shares.dtype == np.float32 and (shares[kept].argmax(1) == labels[kept]).all()


def votes_of(row: int) -> tuple[int, ...]:
    return list(RULES)[row % len(RULES)]


def lines() -> list[str]:
    return [f"{usage},fer{i:07}.png,{','.join(map(str, votes_of(i)))}" for i, (_, _, usage) in enumerate(ROWS)]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(official())
    (tmp_path / "fer2013new.csv").write_text("\n".join([HEADER, *lines()]) + "\n")
    return tmp_path


def preprocess(folder, *more):
    where = ["--source", str(folder / "fer2013.csv"), "--labels", str(folder / "fer2013new.csv")]
    return preprocess_fer2013.main([*where, "--output", str(folder / "ferplus.h5"), *more])


def test_rows_are_matched_and_faces_without_a_majority_left_out(files, capsys):
    faces = preprocess(files)
    out = capsys.readouterr().out
    assert "Training: 14 of 30 faces; left out are 4 no faces, 3 unknown, 9 without majority" in out
    stored = read_faces(files / "ferplus.h5")
    assert (stored.dataset, stored.class_names) == ("ferplus", EIGHT_CLASSES)
    row = 0
    for name in FACES:
        expected = [(i, votes_of(row + i)) for i in range(len(FACES[name])) if RULES[votes_of(row + i)] is not None]
        row += len(FACES[name])
        for split in (faces.splits[name], stored.splits[name]):
            np.testing.assert_array_equal(split.pixels, FACES[name][[i for i, _ in expected]])
            assert split.labels.tolist() == [RULES[votes] for _, votes in expected]
            np.testing.assert_allclose(split.soft, [slow_shares(votes) for _, votes in expected], atol=1e-6)
    with h5py.File(files / "ferplus.h5") as file:
        assert file["Training_soft"].shape == (14, 8) and file["Training_soft"].dtype == np.float32


def test_votes_are_what_is_trained_on_unless_labels_are_asked_for(files):
    faces = preprocess(files)
    data = train_val_split(faces)
    np.testing.assert_array_equal(data.train_targets, faces.splits["Training"].soft)
    assert data.val.labels.dtype == np.int64 and data.data_sha256 == faces.splits["Training"].sha256
    hard = train_val_split(without_soft(faces))
    np.testing.assert_array_equal(hard.train_targets, faces.splits["Training"].labels)
    assert hard.data_sha256 == data.data_sha256
    teachers = np.full((14, 8), 1 / 8)
    mixed = soften(data, np.arange(14), faces.splits["Training"].labels, teachers, EIGHT_CLASSES, 0.25)
    np.testing.assert_allclose(mixed.train_targets, 0.75 * data.train_targets + 0.25 / 8, atol=1e-6)


def test_a_run_on_ferplus(files):
    preprocess(files)
    config = {"--data": files / "ferplus.h5", "--output": files / "runs", "--name": "r", "--recipe": "smoke"}
    flags = [str(part) for pair in config.items() for part in pair]
    summary = train.main([*flags, "--epochs", "1", "--batch-size", "14", "--early-size", "0"])
    assert tuple(summary["per_class"]) == EIGHT_CLASSES
    assert "ferplus.h5 with soft targets;" in (files / "runs" / "r" / "log.txt").read_text()
    hard = config_from_flags(train.build_parser().parse_args([*flags, "--hard-labels"]))
    assert build_data(hard)[0].train_targets.ndim == 1


@pytest.mark.parametrize("order", ["official", "moved by one"])
def test_votes_of_other_rows_are_noticed(tmp_path, capsys, order):
    """Nothing but the labels tells that rows of one split have changed places."""
    words = {0: "anger", 1: "disgust", 2: "fear", 3: "happiness", 4: "sadness", 5: "surprise", 6: "neutral"}
    rows = list(ROWS)
    if order != "official":
        n = sum(row[2] == "Training" for row in rows)
        rows = [*rows[1:n], rows[0], *rows[n:]]
    (tmp_path / "fer2013.csv").write_bytes(official(rows))
    votes = [[10 if name == words[int(row[0])] else 0 for name in VOTES] for row in ROWS]
    table = [",".join([row[2], "", *map(str, cells)]) for row, cells in zip(ROWS, votes, strict=True)]
    (tmp_path / "fer2013new.csv").write_text("\n".join([HEADER, *table]) + "\n")
    preprocess(tmp_path)
    out = capsys.readouterr().out
    assert ("Training: 100% of the majorities" in out) == (order == "official")
    assert ("warning: that is no more than by chance" in out) == (order != "official")


def spoiled(number: int, line: str) -> str:
    rows = lines()
    rows[number - 1] = line
    return "\n".join([HEADER, *rows])


FAULTS = {
    "a row short": ("\n".join([HEADER, *lines()[:-1]]), "has 59 faces and .* votes for 58"),
    "header alone": (HEADER, "has 59 faces and .* votes for 0"),
    "another order": ("\n".join([HEADER, *reversed(lines())]), "row 1 is Training in .*, PrivateTest in"),
    "another file": ("emotion,pixels,Usage\n", "no fer2013new.csv: it has no column neutral, happiness"),
    "nothing": ("", "it has no column Usage, neutral"),
    "no number": (
        spoiled(3, "Training,x,1,2,many,0,0,0,0,0,0,0"),
        "row 3 is 'Training, 1, 2, many.*not a split and ten",
    ),
    "cut off": (spoiled(59, "PrivateTest,x,1,2"), "row 59 is"),
    "no split": (spoiled(2, "train,x,10,0,0,0,0,0,0,0,0,0"), "row 2 is 'train, 10"),
    "a long field": (HEADER + "\n" + "9" * 200_000, "is no fer2013new.csv"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_votes_that_do_not_fit_are_one_line(files, capsys, fault):
    content, message = FAULTS[fault]
    (files / "fer2013new.csv").write_text(content)
    with pytest.raises(SystemExit) as ended:
        preprocess(files)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and not (files / "ferplus.h5").exists()
    assert re.search(message, error), error


def test_votes_are_for_fer2013_alone(files, capsys):
    for more, message in (
        (["--dataset", "ckplus"], "--labels means nothing with --dataset ckplus"),
        (["--labels", str(files / "no.csv")], "no.csv does not exist: point --labels at fer2013new.csv"),
        (["--source", str(files)], None),
    ):
        if message is None:
            assert preprocess(files, *more).dataset == "ferplus"
            continue
        with pytest.raises(SystemExit):
            preprocess(files, *more)
        assert message in capsys.readouterr().err
