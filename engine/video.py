"""Films and cameras: find and follow the faces, ask the network, draw, write.

summary = look_at_film(*open_film("film.mp4"), classify, class_names, 48, output=Path("out.mp4"))
"""

import contextlib
import csv
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from datasets import cascades
from datasets.photographs import MARGIN, Box, clip, crop_face, drop_nested, find_faces, to_gray
from engine.figures.film import draw_frame
from engine.frame_times import LONGEST, frame_times
from engine.tracking import SAME, Tracker, iou
from utils.files import replacing

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".mov": "mp4v"}
# Seconds from one search of the whole picture to the next; in between faces are looked for where they were
SEARCH = 0.3
USUAL_RATE = 25.0  # frames a second of a film that does not say
TITLE = "q ends"

Classify = Callable[[np.ndarray], np.ndarray]  # uint8 (n, size, size) -> probabilities (n, classes)


class Frame(NamedTuple):
    """A picture of the film, uint8 RGB (h, w, 3), its number (from 0) and its time in seconds."""

    number: int
    seconds: float
    rgb: np.ndarray


def look_at_film(
    frames: Iterator[Frame],
    rate: float,
    classify: Classify,
    class_names: Sequence[str],
    size: int,
    output: Path | None = None,
    scores: Path | None = None,
    every: int = 1,
    window: bool = False,
) -> dict[str, Any]:
    """Show, or write, what `classify` says about the faces of a film: {frames, seconds, faces, stopped}.

    frames, rate: as `open_film` gives them; rate is that of the film that is written.
    size: side of the faces that `classify` takes.
    output: the film with boxes and bars. scores: CSV, a line a face and frame. Both are whole after Ctrl-C too.
    every: looks at one frame of so many; the others are drawn with what was seen last.
    Raises ValueError for a film without a frame and a format that cannot be written.
    """
    tracker, searched, begun, stopped, seen = Tracker(), -math.inf, time.perf_counter(), False, 0
    with _film_writer(output, rate) as write, _csv_writer(scores, class_names) as write_scores:
        try:
            for frame in frames:
                if frame.number % every == 0:
                    whole = frame.seconds - searched >= SEARCH
                    searched = frame.seconds if whole else searched
                    boxes = follow_faces(frame.rgb, tracker, find_faces(frame.rgb) if whole else [])
                    crops = np.array([crop_face(frame.rgb, box, MARGIN, size) for box in boxes], np.uint8)
                    tracker.update(boxes, classify(crops) if boxes else np.empty((0, len(class_names))), frame.seconds)
                    write_scores(frame, tracker)
                seen += 1
                if output or window:
                    note = f"{seen / (time.perf_counter() - begun):.0f} frames/s"
                    drawn = draw_frame(frame.rgb, tracker.tracks, class_names, note)
                    write(drawn, frame.seconds)
                    stopped = window and _shown(drawn)
                if stopped:
                    break
        except KeyboardInterrupt:
            if not seen:
                raise
            stopped = True
        finally:
            frames.close()
            if window:
                _cv2().destroyAllWindows()
        if not seen and not stopped:
            raise ValueError("no frame of the film can be read; if it plays elsewhere, save it as MP4 (H.264)")
    return {"frames": seen, "seconds": time.perf_counter() - begun, "faces": tracker.count, "stopped": stopped}


def follow_faces(rgb: np.ndarray, tracker: Tracker, found: list[Box]) -> list[Box]:
    """The boxes found and, near its last place, each face that is not among them; one that is not there is left out."""
    gray, boxes = to_gray(rgb), list(found)
    for track in tracker.tracks:
        if all(iou(track.box, box) < SAME for box in found):
            near = cascades.search_near(gray, track.box)
            boxes += [Box(*map(round, box)) for box in near[:1].tolist()]
    return drop_nested(boxes)


def open_film(source: str) -> tuple[Iterator[Frame], float]:
    """The frames of a file or of a camera (a number), and how many there are in a second.

    Raises FileNotFoundError or ValueError for what is no film and a camera that is not there.
    """
    cv2 = _cv2()
    camera = int(source) if source.isdigit() else None
    if camera is None and not os.path.exists(source):
        raise FileNotFoundError(f"no film {source}; give a file, or a camera's number (0 is the first)")
    if os.path.isdir(source):
        raise ValueError(f"{source} is a folder; give a film")
    capture = cv2.VideoCapture(source if camera is None else camera)
    if not capture.isOpened():
        if camera is not None:
            raise ValueError(
                f"no camera {camera} that can be opened; is it plugged in, and does no other program use it?"
            )
        raise ValueError(f"{source} is not a film that can be read; save it as MP4 (H.264)")
    rate = capture.get(cv2.CAP_PROP_FPS)
    rate = rate if 1 <= rate <= 240 else USUAL_RATE
    return _frames(capture, rate, camera is not None), rate


def has_window() -> bool:
    """Whether pictures can be shown: there is a screen, and this OpenCV has windows (the headless one has none)."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    cv2 = _cv2()
    try:
        cv2.namedWindow(TITLE)
    except cv2.error:
        return False
    return True


def check_film(output: Path) -> None:
    """Raise ValueError for a file name that no film can be written to."""
    if output.suffix.lower() not in CODECS:
        raise ValueError(f"cannot write a film as {str(output)!r}: the name must end in {', '.join(CODECS)}")


def _frames(capture: Any, rate: float, camera: bool) -> Iterator[Frame]:
    """A camera's frames have the time at which they come, a film's those that it gives them (`frame_times`)."""
    begun, told_in = time.perf_counter(), _cv2().CAP_PROP_POS_MSEC

    def read() -> Iterator[tuple[float, np.ndarray]]:
        while True:
            there, bgr = capture.read()
            if not there:
                return
            yield time.perf_counter() - begun if camera else capture.get(told_in) / 1000, _swapped(bgr)

    try:
        timed = read() if camera else frame_times(read(), rate)
        for number, (seconds, rgb) in enumerate(timed):
            yield Frame(number, seconds, rgb)
    finally:
        capture.release()


@contextlib.contextmanager
def _film_writer(output: Path | None, rate: float) -> Iterator[Callable[[np.ndarray, float], None]]:
    """Give a function that takes the frames and their times; the film is moved into place when it is whole.

    A frame is written as often as the film has frames until its time, so that it plays as fast as what it shows.
    """
    if output is None:
        yield lambda rgb, seconds: None
        return
    cv2, writer, size, written, ahead = _cv2(), None, (0, 0), 0, 0
    with replacing(output) as temporary:
        partial = temporary.with_name(temporary.name + output.suffix)  # its ending tells OpenCV the format

        def write(rgb: np.ndarray, seconds: float) -> None:
            nonlocal writer, size, written, ahead
            if writer is None:
                codec, size = CODECS[output.suffix.lower()], rgb.shape[1::-1]
                writer = cv2.VideoWriter(str(partial), cv2.VideoWriter.fourcc(*codec), rate, size)
                if not writer.isOpened():
                    raise ValueError(f"this OpenCV cannot write {codec} into {output}; try {' or '.join(CODECS)}")
            due = round(seconds * rate) + 1 - written - ahead
            if due > LONGEST * rate:
                due, ahead = 1, ahead + due - 1
            for _ in range(due):
                writer.write(_swapped(rgb if rgb.shape[1::-1] == size else _fitted(rgb, size)))
                written += 1

        try:
            yield write
            if writer is not None:
                writer.release()
                if not _is_whole(partial, written):  # OpenCV does not say why
                    raise ValueError(f"{output} could not be written whole; is the disk full? make room and try again")
                os.replace(partial, temporary)
        finally:
            if writer is not None:
                writer.release()
            partial.unlink(missing_ok=True)


def _is_whole(film: Path, frames: int) -> bool:
    cv2 = _cv2()
    capture = cv2.VideoCapture(str(film))
    try:
        return capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) >= frames - 1
    finally:
        capture.release()


@contextlib.contextmanager
def _csv_writer(scores: Path | None, class_names: Sequence[str]) -> Iterator[Callable[[Frame, Tracker], None]]:
    """Give a function that writes a line for every face that was seen in the frame."""
    if scores is None:
        yield lambda frame, tracker: None
        return
    with replacing(scores) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["frame", "time", "face", "x", "y", "w", "h", "prediction", *class_names])

        def write(frame: Frame, tracker: Tracker) -> None:
            for track in tracker.tracks:
                if track.seen == frame.seconds:
                    p = [f"{value:.6f}" for value in track.probabilities]
                    place = [frame.number, f"{frame.seconds:.3f}", track.number, *clip(track.box, frame.rgb)]
                    lines.writerow([*place, class_names[track.label], *p])

        yield write
        file.flush()


def _shown(rgb: np.ndarray) -> bool:
    """Show a frame; whether the user has had enough: q, Escape, or the window closed."""
    cv2 = _cv2()
    cv2.imshow(TITLE, _swapped(rgb))
    return cv2.waitKey(1) & 0xFF in (ord("q"), 27) or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1


def _fitted(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame of another size in the middle of one of `size` (width, height): all frames of a file have the same."""
    h, w = pixels.shape[:2]
    scale = min(size[0] / w, size[1] / h)
    small = _cv2().resize(pixels, (max(1, round(w * scale)), max(1, round(h * scale))))
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    top, left = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    return frame


def _swapped(pixels: np.ndarray) -> np.ndarray:
    """RGB from BGR or BGR from RGB, 30 times as fast as NumPy copies channels backwards."""
    cv2 = _cv2()
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _cv2() -> Any:
    """OpenCV, which else tells on stderr whatever it tries."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_VIDEOIO_DEBUG", "0")
    try:
        import cv2
    except ImportError as error:
        raise cascades.NoDetector(f"films need OpenCV ({error}); install it with: {cascades.ADVICE}") from None
    getattr(cv2.utils, "logging", cv2).setLogLevel(0)  # silent; 4.12 has it in another place than 4.14
    return cv2


def describe_run(summary: dict[str, Any], output: Path | None, scores: Path | None) -> str:
    """What is printed at the end."""
    frames, seconds = summary["frames"], summary["seconds"]
    rate, stopped = frames / max(seconds, 1e-9), ", stopped" if summary["stopped"] else ""
    lines = [f"{frames} frames in {seconds:.1f} s ({rate:.0f} a second), {summary['faces']} faces{stopped}"]
    lines += [f"film: {output}"] if output else []
    lines += [f"scores: {scores}"] if scores else []
    return "\n".join(lines)
