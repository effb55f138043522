"""When a film's frames are to be seen, from the times that the file gives them, which are not always right."""

from collections.abc import Iterator
from typing import Any

LONGEST = 10.0  # seconds from one frame to the next; a longer step alone may be a wrong time
ANEW = 1.0  # seconds by which a film's times fall back where another film begins


def frame_times(told: Iterator[tuple[float, Any]], rate: float) -> Iterator[tuple[float, Any]]:
    """Pairs of a time and a frame, with times that begin at 0 and rise, in seconds.

    told: with the times that a film tells, which may begin anywhere, be all the same (then the rate counts), stand
    still or fall back a little, be wrong once, or begin anew where two films were put together.
    rate: frames a second, as the film says.
    """
    number, last, first, tells, ahead = 0, -1 / rate, 0.0, False, next(told, None)
    while ahead:
        (time_told, frame), ahead = ahead, next(told, None)
        first = first if number else time_told
        tells = tells or time_told != first
        here, usual = time_told - first, number / rate
        alone = here - last > LONGEST and ahead is not None and ahead[0] < time_told
        if usual > last and (not tells or abs(here - usual) <= 0.5 / rate):
            seconds = usual
        elif here > last and not alone:
            seconds = here
        elif alone or last - here > ANEW:
            seconds = last + 1 / rate
            first = first if alone else time_told - seconds
        else:
            seconds = last + 1e-4
        yield seconds, frame
        number, last = number + 1, seconds
