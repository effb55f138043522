"""visualize.py --video: films of drawn faces, whose expressions are known, from file to film and table."""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import visualize
from datasets.photographs import Box
from datasets.synthetic.faces import draw_icon
from engine import video
from engine.figures.film import draw_frame
from engine.tracking import LEAD, Track, Tracker

ROOT = Path(__file__).parents[1]
NAMES = ("Happy", "Surprise", "Neutral")
RATE = 20
SCENES = (("Happy", 20), ("Surprise", 24), ("Neutral", 16))  # expression, frames
LIGHT = {"Happy": 1.0, "Surprise": 0.8, "Neutral": 0.6}  # by which the stub below tells them apart
SMALL = {name: (draw_icon(name, 112) * light).astype(np.uint8) for name, light in LIGHT.items()}


def picture(expression, x, rng):
    """A frame of 320x240 with noise, the face at x."""
    frame = np.full((240, 320), 170.0)
    frame[60:172, x : x + 112] = SMALL[expression]
    noisy = (frame + rng.normal(0, 3, frame.shape)).clip(0, 255).astype(np.uint8)
    return np.repeat(noisy[..., None], 3, 2)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    video._cv2()  # quiet from its first use on
    path, rng = tmp_path_factory.mktemp("films") / "some film.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (320, 240))
    for i, name in enumerate(name for name, n in SCENES for _ in range(n)):
        writer.write(picture(name, 60 + i, rng))
    writer.release()
    return path


def classify(crops):
    """Sees how bright a face is, which its expression has in common; every seventh answer is wrong."""
    light = np.percentile(crops, 75, axis=(1, 2))
    nearest = np.abs(light[:, None] - [np.percentile(SMALL[name][24:96, 24:88], 75) for name in NAMES]).argmin(1)
    classify.calls += 1
    if classify.calls % 7 == 0:
        nearest = (nearest + 1) % 3
    return 0.2 + 0.4 * np.eye(3)[nearest]


classify.calls = 0


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_labels_follow_the_expression_without_flicker(film, tmp_path):
    classify.calls = 0
    done = video.look_at_film(
        *video.open_film(str(film)), classify, NAMES, 48, tmp_path / "seen.mp4", tmp_path / "seen.csv"
    )
    assert done["frames"] == 60 and done["faces"] == 1 and not done["stopped"]
    rows = rows_of(tmp_path / "seen.csv")
    assert len(rows) > 50 and {row["face"] for row in rows} == {"1"}
    labels = {int(row["frame"]): row["prediction"] for row in rows}
    begin = 0
    for name, n in SCENES:  # half a second after its begin the label is right, and stays so until the next
        assert {label for frame, label in labels.items() if begin + RATE // 2 <= frame < begin + n} == {name}
        begin += n
    changes = [a != b for a, b in zip(list(labels.values()), list(labels.values())[1:], strict=False)]
    assert sum(changes) == len(SCENES) - 1
    for row in rows:  # the box is where the face is
        assert abs(int(row["x"]) + int(row["w"]) / 2 - (60 + int(row["frame"]) + 56)) < 14
        assert float(row["time"]) == pytest.approx(int(row["frame"]) / RATE, abs=1e-3)
        assert sum(float(row[name]) for name in NAMES) == pytest.approx(1, abs=1e-4)
    seen = cv2.VideoCapture(str(tmp_path / "seen.mp4"))
    assert (seen.get(cv2.CAP_PROP_FRAME_COUNT), seen.get(cv2.CAP_PROP_FPS)) == (60, RATE)
    assert seen.get(cv2.CAP_PROP_FRAME_WIDTH) > 320 + 150 and seen.get(cv2.CAP_PROP_FRAME_HEIGHT) == 240
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seen.csv", "seen.mp4"]


def test_every_and_an_interruption_leave_whole_files(film, tmp_path, monkeypatch):
    frames = video._frames

    def interrupted(*args):
        for frame in frames(*args):
            if frame.number == 12:
                raise KeyboardInterrupt
            yield frame

    monkeypatch.setattr(video, "_frames", interrupted)
    done = video.look_at_film(
        *video.open_film(str(film)), classify, NAMES, 48, tmp_path / "x.avi", tmp_path / "x.csv", every=5
    )
    assert done["stopped"] and done["frames"] == 12
    assert {int(row["frame"]) for row in rows_of(tmp_path / "x.csv")} <= {0, 5, 10}
    assert cv2.VideoCapture(str(tmp_path / "x.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert len(list(tmp_path.iterdir())) == 2


def test_the_script_writes_a_film_where_there_is_no_window(film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video, "has_window", lambda: False)
    done = visualize.main(["--video", str(film), "--every", "20", "--device", "cpu"])
    out, err = capsys.readouterr()
    assert done["frames"] == 60 and (tmp_path / "runs/visualize.mp4").stat().st_size > 1000
    assert "no window here; written is runs/visualize.mp4" in err and "film: runs/visualize.mp4" in out


@pytest.mark.parametrize(
    "args, message",
    [
        (["--video", "none.mp4"], "no film none.mp4"),
        (["--video", "text.mp4"], "text.mp4 is not a film that can be read"),
        (["--video", "empty.mp4"], "empty.mp4 is not a film that can be read"),
        (["--video", "."], ". is a folder"),
        (["--video", "77"], "no camera 77 that can be opened"),
        (["--video", "text.mp4", "--output", "x.gif"], ".mp4, .mkv, .avi, .mov"),
        (["--video", "text.mp4", "--output", "text.mp4"], "would overwrite the image or film itself"),
        (["--video", "text.mp4", "--output", "no.mp4", "--csv", "no.mp4"], "give two names"),
        (["--video", "text.mp4", "--image", "x.jpg"], "--video and --image do not go together"),
        (["--csv", "x.csv"], "--csv is for films"),
        (["--video", "text.mp4", "--every", "0"], "'0' is not a whole number above 0"),
    ],
)
def test_bad_films_are_one_line(tmp_path, monkeypatch, capfd, args, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video, "has_window", lambda: False)
    (tmp_path / "text.mp4").write_text("no film\n" * 99)
    (tmp_path / "empty.mp4").touch()
    output = [] if "--output" in args or "--csv" in args else ["--output", "new.mp4"]
    with pytest.raises(SystemExit) as stop:
        visualize.main([*args, *output, "--device", "cpu"])
    out, err = capfd.readouterr()
    assert stop.value.code == 2 and out == ""
    assert message in err and err.count("\n") == 1 and err.startswith("visualize.py: error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.mp4", "text.mp4"]


def test_faces_keep_their_numbers():
    tracker, p = Tracker(), np.array([[0.9, 0.1], [0.1, 0.9]])
    left, right = Box(0, 0, 50, 50), Box(200, 0, 50, 50)
    tracker.update([left, right], p, 0.0)
    tracker.update([Box(205, 3, 50, 50), Box(4, 1, 50, 50)], p[::-1], 0.1)  # the other way round
    now = [(track.number, track.box.x, track.label) for track in tracker.tracks]
    assert now == [(1, 2, 0), (2, 202, 1)]  # part of the way, since they hardly moved
    tracker.update([Box(210, 3, 50, 50)], p[1:], 0.3)
    assert [track.number for track in tracker.tracks] == [1, 2]  # the first one stays a while
    tracker.update([Box(215, 3, 50, 50)], p[1:], 0.6)
    assert [track.number for track in tracker.tracks] == [2]
    tracker.update([Box(215, 3, 50, 50), left], p[::-1], 0.7)
    assert [track.number for track in tracker.tracks] == [2, 3] and tracker.count == 3


def test_a_label_changes_only_with_a_lead():
    track = Track(1, Box(0, 0, 9, 9), np.array([0.6, 0.4]), 0, 0.0, 0.0)
    for i in range(1, 40):  # two that are about as likely, in turn
        track.update(track.box, np.array([0.5 + 0.04 * (-1) ** i, 0.5 - 0.04 * (-1) ** i]), i / 25)
        assert track.label == 0
    track.update(track.box, np.array([0.5 - LEAD, 0.5 + LEAD]), 9.0)
    assert track.label == 1 and track.changed == 9.0


def test_frames_of_any_size_are_drawn():
    tracks = [Track(i, Box(10 * i, -5, 40, 40), np.array([0.7, 0.3]), 0, 0.0, 0.0) for i in range(1, 9)]
    tracks.append(Track(9, Box(900, 900, 9, 9), np.array([0.7, 0.3]), 0, 0.0, 0.0))  # has left the picture
    for shape in ((101, 75, 3), (480, 640, 3), (1081, 1919, 3)):
        drawn = draw_frame(np.zeros(shape, np.uint8), tracks, ("開心", "$x$"), "9 frames/s")
        assert drawn.dtype == np.uint8 and drawn.shape[0] % 2 == drawn.shape[1] % 2 == 0
        assert drawn.shape[1] > shape[1] + 100 and (drawn[:, shape[1] :] != 255).any()


# ---- times ----


class Capture:
    """A film whose frames tell their times, as OpenCV gives them."""

    def __init__(self, times):
        self.times, self.at = times, -1

    def read(self):
        self.at += 1
        return self.at < len(self.times), np.zeros((240, 320, 3), np.uint8)

    def get(self, what):
        assert what == cv2.CAP_PROP_POS_MSEC
        return 1000 * self.times[self.at]

    def release(self):
        pass


@pytest.mark.parametrize(
    ("told", "rate", "wanted"),
    [
        ([i / 25 for i in range(50)], 25, [i / 25 for i in range(50)]),
        ([0.1 + i / 25 for i in range(50)], 25, [i / 25 for i in range(50)]),  # a film that does not begin at 0
        ([0.0] * 50, 25, [i / 25 for i in range(50)]),  # one that tells nothing
        ([i / 25 for i in range(25)] + [1 + i / 5 for i in range(25)], 25, None),  # slower from a second on
        ([i / 30 for i in range(60)], 25, None),  # whose rate is not known
        ([3600 if i == 9 else i / 25 for i in range(50)], 25, [i / 25 for i in range(50)]),  # one time is wrong
        ([i / 10 for i in range(20)] * 2, 30, [i / 10 for i in range(20)] + [1.9 + 1 / 30 + i / 10 for i in range(20)]),
        ([0, 0.04, 0.08, 15.08, 15.12, 30.12], 25, [0, 0.04, 0.08, 15.08, 15.12, 30.12]),  # pauses
        ([0, 60, 120, 180], 25, [0, 60, 120, 180]),  # a frame a minute
        ([0, 0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.5], 30, [0, 0.1, 0.2, 0.2 + 1 / 30, 0.3, 0.4, 0.4 + 1 / 30, 0.5]),
        ([0, 0.08, 0.04, 0.16, 0.12, 0.24], 25, [0, 0.08, 0.12, 0.16, 0.2, 0.24]),  # not in order
        ([i / 25 % 0.8 for i in range(60)], 25, [i / 25 for i in range(60)]),  # three films in one
        ([i / 25 if i < 100 else 0.0 for i in range(300)], 25, [i / 25 for i in range(300)]),  # that falls silent
        ([0 if i in (125, 300, 301, 302) else i / 25 for i in range(400)], 25, [i / 25 for i in range(400)]),
    ],
)
def test_frames_have_the_times_that_the_film_gives_them(told, rate, wanted):
    found = [frame.seconds for frame in video._frames(Capture(told), rate, camera=False)]
    assert found == pytest.approx(wanted or told, abs=0.5 / rate if wanted is None else 1e-9)
    assert np.all(np.diff(found) > 0)


@pytest.mark.parametrize(
    ("rate", "times"), [(30, np.arange(20) / 10), (25, np.arange(60) / 30), (30, [0, 1, 9e9, 9e9 + 1])]
)
def test_the_film_plays_as_fast_as_what_it_shows(tmp_path, rate, times):
    """Of a camera that gives fewer frames than it says, of one that gives more, and of a clock that was set."""
    frames = (video.Frame(i, t, np.zeros((240, 320, 3), np.uint8)) for i, t in enumerate(times))
    video.look_at_film(frames, rate, classify, NAMES, 48, tmp_path / "x.avi")
    seen = cv2.VideoCapture(str(tmp_path / "x.avi"))
    length = seen.get(cv2.CAP_PROP_FRAME_COUNT) / seen.get(cv2.CAP_PROP_FPS)
    assert length == pytest.approx(2, abs=0.15)


def test_frames_of_another_size_are_fitted_into_the_film(tmp_path):
    sizes = [(240, 320)] * 20 + [(480, 320)] * 20
    frames = (video.Frame(i, i / 25, np.full((*size, 3), 200, np.uint8)) for i, size in enumerate(sizes))
    video.look_at_film(frames, 25, classify, NAMES, 48, tmp_path / "x.mp4")
    assert cv2.VideoCapture(str(tmp_path / "x.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 40
    fitted = video._fitted(np.full((480, 320, 3), 200, np.uint8), (320, 240))
    assert fitted.shape == (240, 320, 3) and (fitted[:, 80:240] == 200).all() and not fitted[:, :80].any()


@pytest.mark.parametrize("ending", [".avi", ".mp4", ".mkv"])
def test_a_full_disk_leaves_the_older_film(film, tmp_path, ending):
    output = tmp_path / f"out{ending}"
    output.write_bytes(b"an older film")
    script = [
        "import resource, signal, sys",
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))",
        "import visualize",
        "visualize.main(sys.argv[1:])",
    ]
    command = [
        sys.executable,
        "-c",
        "\n".join(script),
        "--video",
        str(film),
        "--output",
        str(output),
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and "is the disk full?" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [output.name] and output.read_bytes() == b"an older film"
