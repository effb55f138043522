"""Folds of FER2013: every face tested once, classes in proportion, copies of a face together."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.duplicates import face_groups
from datasets.folds import stratified_folds
from datasets.names import OFFICIAL_COUNTS


def counts(labels: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
    """(folds, classes): how many of each class a fold tests."""
    return np.array([np.bincount(labels[rows], minlength=labels.max() + 1) for rows in folds])


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=12, max_size=80),
    kinds=st.integers(12, 80),
    folds=st.integers(2, 6),
    seed=st.integers(0, 9),
)
def test_every_face_is_in_one_fold_and_no_group_in_two(labels, kinds, folds, seed):
    labels = np.array(labels)
    groups = np.arange(len(labels)) % kinds  # some in twos, threes, ...
    parts = stratified_folds(labels, groups, folds, seed)
    assert len(parts) == folds
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert all((np.diff(rows) > 0).all() for rows in parts)
    owner = np.empty(len(labels), int)
    for fold, rows in enumerate(parts):
        owner[rows] = fold
    for group in range(kinds):
        assert len(set(owner[groups == group])) <= 1


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_without_copies_folds_differ_by_one_face_at_most(folds):
    labels = np.random.default_rng(0).choice(7, 777, p=[0.14, 0.015, 0.14, 0.25, 0.17, 0.115, 0.17])
    table = counts(labels, stratified_folds(labels, np.arange(777), folds, 3))
    assert (np.ptp(table, axis=0) <= 1).all() and np.ptp(table.sum(1)) <= 1


def test_many_copies_leave_the_classes_in_proportion():
    rng = np.random.default_rng(1)
    labels = np.sort(rng.choice(3, 600, p=[0.1, 0.3, 0.6]))
    groups = np.arange(600)
    groups[rng.choice(600, 200)] -= 1  # neighbours, nearly always of one class
    groups[-40:] = 599  # one face, forty times
    table = counts(labels, stratified_folds(labels, groups, 5, 0))
    assert (np.ptp(table, axis=0) <= 1).all() and np.ptp(table.sum(1)) <= 3


def test_the_seed_decides_and_the_order_is_random():
    labels, groups = np.arange(210) % 7, np.arange(210)
    one, same, other = (stratified_folds(labels, groups, 5, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert not np.array_equal(one[0], np.arange(42))


def test_labels_and_groups_may_be_lists_of_any_numbers():
    parts = stratified_folds([0, 0, 2, 2], [900, -5, 7, 7], 2, 0)
    assert sorted(rows.tolist() for rows in parts) in ([[0], [1, 2, 3]], [[0, 2, 3], [1]])


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="3 labels and 2 groups"):
        stratified_folds([0, 1, 2], [0, 1], 2, 0)
    for folds in (1, 3):
        with pytest.raises(ValueError, match=f"{folds} folds of 2 different faces: give from 2"):
            stratified_folds([0, 1, 2], [0, 1, 1], folds, 0)


def test_equal_faces_have_equal_groups():
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    almost = faces[0].copy()
    almost[47, 47] ^= 1
    groups = face_groups(np.stack([*faces, faces[2], almost, faces[2]]))
    assert groups[4] == groups[2] == groups[6] and len(set(groups.tolist())) == 5


def test_ten_folds_of_fer2013_take_no_time():
    labels = np.repeat(np.arange(7), OFFICIAL_COUNTS["fer2013"]["Training"])
    groups = np.arange(len(labels))
    groups[::25] = groups[1::25]  # as many copies as it has, about
    start = time.perf_counter()
    table = counts(labels, stratified_folds(labels, groups, 10, 0))
    assert time.perf_counter() - start < 3  # about 0.05 s; scikit-learn's rule needs some ten
    assert (np.ptp(table, axis=0) <= 1).all() and np.ptp(table.sum(1)) <= 3
