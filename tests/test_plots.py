"""Figures: what is drawn, in which formats, and the degenerate cases."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from engine.figures.confusion import confusion_matrix_figure, mistakes_figure
from engine.figures.curves import curves_figure, reliability_figure
from engine.figures.style import save_figure

NAMES = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
MATRIX = np.diag([300, 30, 280, 800, 350, 340, 450]) + np.arange(49).reshape(7, 7)


def texts(figure):
    return [t for t in figure.findobj(Text) if t.get_text()]


def words(figure):
    return {t.get_text().replace("\xa0", " ") for t in texts(figure)}


def answers(n=120, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(7, 0.3), n)
    y = np.where(rng.random(n) < 0.7, p.argmax(1), rng.integers(0, 7, n))
    return rng.integers(0, 256, (n, 48, 48), np.uint8), y, p


@pytest.mark.parametrize("width", [3.3, 7])
def test_confusion_matrix_is_readable_at_paper_size(width):
    title = "PrivateTest, ten-crop: accuracy 73.11%, n = 3,589 (selected on the test set)"
    figure = confusion_matrix_figure(MATRIX, NAMES, title=title, width=width)
    assert isinstance(figure, Figure) and figure.get_figwidth() == width
    assert 0.85 * width < figure.get_figheight() < 1.25 * width
    figure.canvas.draw()
    assert min(t.get_fontsize() for t in texts(figure)) >= 7
    for text in texts(figure):  # nothing is cut off
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0
        assert box.x1 <= figure.bbox.x1 + 0.5 and box.y1 <= figure.bbox.y1 + 0.5, text
    cells = [t for t in figure.axes[0].texts]
    assert [t.get_text() for t in cells[1::2]] == [str(count) for count in MATRIX.flat]
    assert [t.get_text() for t in cells[::2]] == [f"{100 * s:.0f}%" for s in (MATRIX / MATRIX.sum(1)[:, None]).flat]
    boxes = [t.get_window_extent() for t in cells]
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[k + 1 :])
    assert set(NAMES) <= words(figure) and {"label", "prediction"} <= words(figure)
    assert title in {text.replace("\n", " ") for text in words(figure)}


def test_a_title_is_not_broken_within_the_number_of_faces():
    for views in ("center crop and mirror image", "three scales and mirror images"):
        for split in ("data", "fold 3", "PublicTest"):
            title = f"{split}, {views}: accuracy 98.06%, n = 981"
            figure = confusion_matrix_figure(MATRIX, NAMES, title=title)
            shown = next(text for text in words(figure) if "accuracy" in text)
            assert "n = 981" in shown and shown.replace("\n", " ") == title


def test_confusion_matrix_of_counts_alone():
    figure = confusion_matrix_figure(MATRIX.tolist(), NAMES, normalize=False)
    assert [t.get_text() for t in figure.axes[0].texts] == [str(count) for count in MATRIX.flat]


def test_confusion_matrix_text_stands_out():
    figure = confusion_matrix_figure([[99, 1], [1, 99]], ["a", "b"])
    colours = [t.get_color() for t in figure.axes[0].texts[::2]]
    assert colours == ["white", "black", "black", "white"]


def test_confusion_matrix_with_a_class_that_is_not_there():
    matrix = MATRIX.copy()
    matrix[1] = 0
    figure = confusion_matrix_figure(matrix, NAMES)
    assert len(figure.axes[0].texts) == 2 * 6 * 7
    assert figure.axes[0].collections[0].get_array().reshape(7, 7).mask.all(1).tolist() == [k == 1 for k in range(7)]
    confusion_matrix_figure(np.zeros((2, 2), int), ["a", "b"], normalize=False)
    with pytest.raises(ValueError, match=r"of 7 classes is \(7, 7\), not \(2, 2\)"):
        confusion_matrix_figure([[1, 0], [0, 1]], NAMES)


def test_reliability():
    _, y, p = answers()
    figure = reliability_figure(y, p, title="title")
    top, bottom = figure.axes
    assert sum(bar.get_height() for bar in bottom.patches) == pytest.approx(100)
    highest = p.max(1) > (np.ceil(p.max() * 15) - 1) / 15  # in the bin of the most confident answer
    assert top.patches[-1].get_height() == pytest.approx((p.argmax(1) == y)[highest].mean())
    assert any(re.fullmatch(r"ECE \d+\.\d%", word) for word in words(figure)) and "title" in words(figure)
    assert "ECE 0.0%" in words(reliability_figure([0], [[1.0, 0.0]]))


def test_mistakes_come_most_confident_first():
    pixels, y, p = answers()
    figure = mistakes_figure(pixels, y, p, NAMES, count=10)
    wrong = np.flatnonzero(p.argmax(1) != y)
    assert len(wrong) > 10
    shown = wrong[np.argsort(-p.max(1)[wrong])][:10]
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 10
    for axes, i in zip(drawn, shown, strict=True):
        assert (axes.images[0].get_array() == pixels[i]).all()
        label, guess = (t.get_text() for t in axes.texts)
        assert label == NAMES[y[i]] and guess == f"{NAMES[p[i].argmax()]} {int(100 * p[i].max())}%"
    assert any(f"10 most confident of {len(wrong)} mistakes" in word for word in words(figure))


@pytest.mark.parametrize("mistakes", [0, 1, 9])
def test_few_mistakes(mistakes, tmp_path):
    pixels, _, p = answers(40)
    y = p.argmax(1)
    y[:mistakes] = (y[:mistakes] + 1) % 7
    figure = mistakes_figure(pixels, y, p, NAMES, title="all of them")
    assert len([axes for axes in figure.axes if axes.images]) == mistakes
    said = " ".join(words(figure))
    assert {0: "no mistakes", 1: "1 mistake among"}.get(mistakes, f"{mistakes} mistakes among") in said
    save_figure(figure, tmp_path / "mistakes.png")
    with pytest.raises(ValueError, match="39 faces but 40 labels"):
        mistakes_figure(pixels[1:], y, p, NAMES)


def columns(n=12):
    e = np.arange(1, n + 1)
    return {
        "epoch": e.tolist(),
        "lr": (0.1 / e).tolist(),
        "train_loss": (2 / e).tolist(),
        "train_accuracy": (1 - 1 / (e + 1)).tolist(),
        "val_loss": (2 / e + 0.1).tolist(),
        "val_accuracy": np.where(e == max(1, n - 2), 0.75, 0.7 - 0.1 / e).tolist(),
        "seconds": [1.0] * n,
    }


def test_curves():
    figure = curves_figure(columns(), title="runs/x", val_name="PublicTest")
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy (%)")
    assert "best PublicTest: 75.00%, epoch 10" in words(figure)
    last = words(curves_figure(columns(), val_name="fold 1", counts=12))
    assert "fold 1: 69.17%, epoch 12" in last and not any("best" in word for word in last)
    by_name = {line.get_label(): line for line in loss.lines}
    assert by_name["training"].get_ydata().tolist() == columns()["train_loss"]
    for line in accuracy.lines:
        if line.get_label() in by_name:
            assert line.get_color() == by_name[line.get_label()].get_color()


def test_curves_of_one_epoch_without_validation_and_of_nothing(tmp_path):
    save_figure(curves_figure(columns(1)), tmp_path / "one.png")
    gaps = columns() | {"val_loss": [None] * 12, "val_accuracy": [float("nan")] * 12}
    assert not any("best" in word for word in words(curves_figure(gaps)))
    save_figure(curves_figure({"epoch": [], "train_loss": []}), tmp_path / "none.png")
    assert "best validation: 75.00%, epoch 10" in words(curves_figure(columns() | {"val_loss": [""] * 12}))
    with pytest.raises(ValueError, match="12 epochs, but another number of values in val_loss"):
        curves_figure(columns() | {"val_loss": [1.0]})


@pytest.mark.parametrize(("name", "start"), [("m.png", b"\x89PNG"), ("m.pdf", b"%PDF"), ("m.SVG", b"<?xml")])
def test_formats_are_whole_and_reproducible(tmp_path, name, start):
    contents = []
    for folder in ("a", "b/c"):
        path = tmp_path / folder / name
        save_figure(confusion_matrix_figure(MATRIX[:3, :3], NAMES[:3], title="t", width=3.3), path)
        assert [file.name for file in path.parent.iterdir()] == [name]
        contents.append(path.read_bytes())
    assert contents[0].startswith(start) and contents[0] == contents[1]
    if name.endswith("png"):
        with Image.open(tmp_path / "a" / name) as image:
            assert image.width == 660
    else:
        assert b"/Subtype /Image" not in contents[0] and b"<image" not in contents[0]  # vectors only
        assert b"/Type3" not in contents[0]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.png"
    path.write_bytes(b"old")
    figure = confusion_matrix_figure([[1, 0], [0, 1]], ["a", "b"])

    def half(self, name, **kwargs):
        name.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["m.jpg", "m", "m.png.txt"])
def test_unknown_endings(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.png, \.pdf, \.svg") as error:
        save_figure(Figure(), tmp_path / name)
    assert name in str(error.value) and not list(tmp_path.iterdir())
