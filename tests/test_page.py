"""The one-page report and the paired comparison: whole, self-contained, escaped, the numbers of metrics.json."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from engine.evaluation.comparison import difference_interval, mcnemar, paired_difference, side_by_side
from engine.evaluation.metrics import average_precision, compute_metrics, headline_intervals
from engine.evaluation.page import write_page
from engine.evaluation.report import p_value

NAMES = ["Angry", "<b>&\"'", "$x_1$ Ärger", "nobody"]
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags are nested and closed; collects text, tags and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags, self.loads = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if data.strip():
            self.text.append(data.strip())


def answers(seed, n=60):
    """Labels of the first three classes, and probabilities that are often right."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n)
    p = np.random.default_rng(seed).dirichlet(np.full(4, 0.5), n) + 0.4 * np.eye(4)[y]
    return y, p / p.sum(1, keepdims=True)


def metrics_of(y, p, members=()):
    return compute_metrics(y, p, NAMES) | {
        "intervals": headline_intervals(compute_metrics(y, p, NAMES)),
        "average_precision": average_precision(y, p, NAMES),
        "dataset": "<i>mine</i>",
        "split": "PublicTest",
        "views": "ten",
        "amp": False,
        "data": "data/<script>alert(1)</script>.h5",
        "selected_on": "PublicTest",
        "notes": ["<u>note</u>"],
        "checkpoints": [{"path": "runs/<em>/best.pt", "sha256": "0" * 64, "model_name": "small", "ancestors": []}],
        "members": side_by_side(y, members, NAMES) if members else [],
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """metrics, and the page's text."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    y, p = answers(1)
    metrics = metrics_of(y, p, [("runs/<em>", answers(2)[1]), ("second", answers(3)[1]), ("ensemble", p)])
    pixels = np.random.default_rng(0).integers(0, 256, (len(y), 48, 48), np.uint8)
    machine = {"command": ["evaluate.py", "--report", "a <b>.html"], "git_commit": None, "torch": "2.0"}
    write_page(path, metrics, pixels, np.arange(len(y)) + 1000, y, p, machine)
    return metrics, path.read_text(encoding="utf-8")


def test_page_is_whole_and_loads_nothing(written):
    _, text = written
    page = Page(text)
    assert page.tags.count("html") == page.tags.count("body") == 1 and "svg" in page.tags and "table" in page.tags
    assert page.loads and all(load.startswith(("data:image/png;base64,", "#")) for load in page.loads)
    assert not re.search(r"https?://|//\w+\.|@import", text)
    assert all(ref.startswith("#") for ref in re.findall(r"url\(([^)]*)\)", text))
    assert {"script", "link", "iframe", "object"}.isdisjoint(page.tags)
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {load[1:] for load in page.loads if load[0] == "#"} <= set(ids)


def test_page_shows_names_as_they_are(written):
    _, text = written
    page = Page(text)
    assert {"b", "i", "em", "u"} & set(page.tags) == {"b"}  # the page's own
    for name in (*NAMES, "runs/<em>", "<u>note</u>"):
        assert name in page.text
    everything = " ".join(page.text)
    assert (
        "data/<script>alert(1)</script>.h5" in everything and 'python evaluate.py --report "a <b>.html"' in everything
    )
    assert "Selected on this split" in everything


def test_page_has_the_numbers_of_the_metrics(written):
    metrics, text = written
    shown = Page(text).text
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "top2_accuracy"):
        low, high = (100 * end for end in metrics["intervals"][key])
        assert f"{100 * metrics[key]:.2f}%" in shown and f"{low:.2f} to {high:.2f}" in shown
    for name, row in metrics["per_class"].items():
        at = shown.index(name, shown.index("Classes"))
        wanted = [f"{row['support']:,}"]
        wanted += [f"{100 * row[key]:.1f}" for key in ("precision", "recall", "f1")] if row["support"] else ["-"] * 3
        assert [shown[at + i] for i in ((1, 2, 3, 5) if row["support"] else (1, 2, 3, 4))] == wanted
    at = shown.index("Confusion matrix") + 2 + len(NAMES)
    counts = [shown[at + i * (1 + 2 * len(NAMES)) :][2 : 1 + 2 * len(NAMES) : 2] for i in range(len(NAMES))]
    assert [[int(count) for count in row] for row in counts] == metrics["confusion_matrix"]
    for row in metrics["members"][1:]:
        pair = row["versus_first"]
        at = shown.index(row["name"])
        assert f"{100 * pair['difference']:+.2f}" in shown[at:] and f"{pair['p']:.3f}" in shown[at:]


def test_page_without_mistakes_and_members(tmp_path):
    y = np.array([0, 1, 2])
    write_page(
        tmp_path / "p.html",
        metrics_of(y, np.eye(4)[y]),
        np.zeros((3, 48, 48), np.uint8),
        y,
        y,
        np.eye(4)[y],
        {"command": ["x"]},
    )
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert "No mistakes among 3 faces" in " ".join(Page(text).text) and "Side by side" not in text


def slow_mcnemar(b, c):
    """Every way to share b + c faces, as likely as by coin; those no likelier than the one that was found."""
    n = b + c
    chances = [math.comb(n, k) / 2**n for k in range(n + 1)]
    return sum(chance for chance in chances if chance <= chances[c] * (1 + 1e-9))


@pytest.mark.parametrize("b, c", [(0, 0), (0, 1), (3, 3), (1, 9), (40, 25), (0, 12)])
def test_pair_test_is_the_slow_one(b, c):
    assert mcnemar(b, c) == pytest.approx(slow_mcnemar(b, c))
    assert mcnemar(b, c) == mcnemar(c, b)
    first = np.array([True] * b + [False] * c + [True] * 5 + [False] * 4)
    second = np.array([False] * b + [True] * c + [True] * 5 + [False] * 4)
    pair = paired_difference(first, second)
    assert (pair["only_first"], pair["only_second"], pair["n"]) == (b, c, b + c + 9)
    assert pair["difference"] == pytest.approx(second.mean() - first.mean()) and pair["p"] == mcnemar(b, c)
    low, high = pair["ci95"]
    assert -1 <= low < pair["difference"] < high <= 1 or b == c == 0
    assert difference_interval(c, b, b + c + 9) == pytest.approx([-high, -low])


def test_difference_interval_covers():
    """Of 1000 draws with a true difference of 5 points, 95% of the intervals hold it, or a little more."""
    draws = np.random.default_rng(0).multinomial(200, (0.1, 0.15, 0.75), 1000)
    held = [low <= 0.05 <= high for low, high in (difference_interval(b, c, 200) for b, c, _ in draws)]
    assert 0.93 < np.mean(held) < 0.98


def test_pairs_must_be_of_the_same_faces():
    for first, second in (([True], [True, False]), ([], [])):
        with pytest.raises(ValueError, match="of the same faces"):
            paired_difference(first, second)


def test_headline_intervals_hold_what_they_are_of():
    y, p = answers(1)
    metrics = compute_metrics(y, p, NAMES)
    intervals = headline_intervals(metrics)
    for key, (low, high) in intervals.items():
        assert 0 <= low < metrics[key] < high <= 1
    rng, slow = np.random.default_rng(5), []  # faces drawn with replacement, one draw at a time
    for _ in range(300):
        rows = rng.integers(0, len(y), len(y))
        slow.append(compute_metrics(y[rows], p[rows], NAMES)["macro_f1"])
    assert np.quantile(slow, (0.025, 0.975)) == pytest.approx(intervals["macro_f1"], abs=0.03)


def test_a_p_that_is_too_small_to_write_is_not_nought():
    assert [p_value(p) for p in (0.02, 2e-5, 0.0)] == ["p = 0.020", "p = 2.0e-05", "p below 1e-99"]
