"""The drawn faces: reproducible, varied, and neither trivial nor impossible to learn."""

import zlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from datasets.synthetic.drawing import render
from datasets.synthetic.faces import EXPRESSIONS, MUSCLES, TWITCH, _sample, draw_faces, draw_icon, make_splits

FER2013 = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")


def faces(expressions, seed=0, **kwargs):
    return draw_faces(expressions, np.random.default_rng(seed), **kwargs)


def test_shape_dtype_and_range():
    pixels = faces(EXPRESSIONS * 9)  # more than one chunk
    assert pixels.shape == (72, 48, 48) and pixels.dtype == np.uint8
    assert np.isfinite(pixels).all() and pixels.min() < 30 and pixels.max() > 225
    assert (pixels.reshape(72, -1).std(1) > 5).all()  # no blank picture
    assert faces(["Happy"], size=96).shape == (1, 96, 96)
    assert faces([]).shape == (0, 48, 48)


def test_same_seed_same_bytes():
    names = EXPRESSIONS * 5
    assert faces(names).tobytes() == faces(names).tobytes()
    assert faces(names).tobytes() != faces(names, seed=1).tobytes()


def test_no_two_faces_are_equal():
    pixels = faces(["Neutral"] * 100)
    assert len({face.tobytes() for face in pixels}) == 100


def test_every_expression_has_its_muscles():
    assert set(EXPRESSIONS) == set(MUSCLES) and EXPRESSIONS[:7] == FER2013
    assert set().union(*MUSCLES.values()) <= set(TWITCH)


def test_expressions_differ_on_one_and_the_same_face():
    icons = [draw_icon(name).astype(int) for name in EXPRESSIONS]
    for k, first in enumerate(icons):
        for second in icons[k + 1 :]:
            assert (np.abs(first - second) > 40).mean() > 0.005
    # Only the expression moves: the hair above stays
    assert all((icon[:25] == icons[0][:25]).all() for icon in icons)


def test_an_identity_keeps_its_traits_in_every_call():
    def numbers(seed, identities):
        return _sample(["Happy"] * len(identities), np.random.default_rng(seed), identities)

    first, second = numbers(0, [7, 8, 7]), numbers(1, [8, 7])
    for trait in ("head_w", "skin", "hair_tone", "glasses"):
        values = getattr(first, trait).ravel()
        assert values[0] == values[2] != values[1]
        assert (getattr(second, trait).ravel() == values[[1, 0]]).all()
    assert first.yaw[0] != first.yaw[2]  # the camera does not know them

    pixels = faces(["Happy", "Happy"], identities=[7, 7])
    assert (pixels[0] != pixels[1]).any()


def test_pictures_of_a_person_are_more_alike():
    people = np.repeat(np.arange(12), 6)
    pixels = faces(["Neutral"] * len(people), identities=people).reshape(len(people), -1).astype(float)
    pixels -= pixels.mean(1, keepdims=True)
    pixels /= pixels.std(1, keepdims=True)
    alike = pixels @ pixels.T / pixels.shape[1]
    same = (people[:, None] == people) & ~np.eye(len(people), dtype=bool)
    assert alike[same].mean() > alike[people[:, None] != people].mean() + 0.05


def test_drawing_stays_in_single_precision():
    face = _sample(["Angry", "Contempt"], np.random.default_rng(0), None)
    image = render(face, 48)
    assert image.dtype == np.float32 and np.isfinite(image).all()


@pytest.mark.parametrize("size", [32, 128, 256])
def test_icon_stands_on_pure_white(size):
    for name in EXPRESSIONS:
        icon = draw_icon(name, size)
        assert icon.shape == (size, size) and icon.dtype == np.uint8
        border = np.concatenate([icon[0], icon[-1], icon[:, 0], icon[:, -1]])
        assert (border == 255).all()
        assert icon.min() < 50
        assert (icon == draw_icon(name, size)).all()


def test_smile_and_frown_curve_the_right_way():
    def corners_above_middle(name):
        mouth = draw_icon(name, 256)[165:212, 85:171]  # no chin, no jaw
        dark = mouth < 110
        height = np.where(dark.any(0), dark.argmax(0), -1)
        filled = np.flatnonzero(height >= 0)
        return height[filled[len(filled) // 2]] - (height[filled[1]] + height[filled[-2]]) / 2

    assert corners_above_middle("Happy") > 3
    assert corners_above_middle("Sad") < -3
    assert abs(corners_above_middle("Neutral")) <= 3


def test_splits_do_not_depend_on_each_other():
    small = make_splits({"Training": 60, "PublicTest": 40}, 3, FER2013)
    other = make_splits({"PublicTest": 40, "PrivateTest": 40, "Training": 90}, 3, FER2013)
    assert list(other) == ["PublicTest", "PrivateTest", "Training"]
    for mine, theirs in zip(small["PublicTest"], other["PublicTest"], strict=True):
        assert (mine == theirs).all()
    everyone = [face.tobytes() for pixels, _ in other.values() for face in pixels]
    assert len(set(everyone)) == len(everyone)
    assert (make_splits({"PublicTest": 40}, 4, FER2013)["PublicTest"][0] != small["PublicTest"][0]).any()


def test_splits_have_the_balance_of_fer2013():
    pixels, labels = make_splits({"Training": 400}, 0, FER2013)["Training"]
    assert pixels.shape == (400, 48, 48) and pixels.dtype == np.uint8 and labels.dtype == np.int64
    share = dict(zip(FER2013, np.bincount(labels, minlength=7) / 400, strict=True))
    assert max(share, key=share.get) == "Happy" and min(share, key=share.get) == "Disgust"
    assert share["Disgust"] >= 0.045 and sum(share.values()) == 1
    assert len(set(labels[:50])) > 3  # shuffled


def test_splits_follow_the_class_names():
    names = ("Happy", "Contempt")
    pixels, labels = make_splits({"data": 60}, 0, names)["data"]
    assert list(np.bincount(labels)) == [50, 10]
    rng = np.random.default_rng([0, zlib.crc32(b"data")])
    assert (rng.permutation(np.repeat([0, 1], [50, 10])) == labels).all()
    assert (draw_faces([names[label] for label in labels], rng) == pixels).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: faces(["Happy", "Bored"]), "unknown expression 'Bored'.*Angry, Disgust"),
        (lambda: draw_icon("happy"), "unknown expression 'happy'"),
        (lambda: make_splits({"Training": 3}, 0, ("Joy",)), "unknown expression 'Joy'"),
        (lambda: faces(["Happy"], identities=[1, 2]), "2 identities for 1 faces"),
        (lambda: faces(["Happy"], identities=[-1]), "identity -1 is negative"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_pixels_alone_help_but_do_not_solve_it():
    splits = make_splits({"Training": 1000, "PublicTest": 400}, 0, FER2013)

    def features(pixels):  # 24x24, standardised per face
        x = pixels.reshape(-1, 24, 2, 24, 2).mean((2, 4)).reshape(len(pixels), -1)
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)

    (x, y), (x_test, y_test) = splits["Training"], splits["PublicTest"]
    model = LogisticRegression(C=1e-3, max_iter=1000).fit(features(x), y)
    accuracy = model.score(features(x_test), y_test)
    assert 0.28 < accuracy < 0.7  # always saying Happy: 0.24
