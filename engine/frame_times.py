"""When a film's frames are to be seen, from the times that the file gives them, which are not always right."""

from collections.abc import Iterator
from typing import Any

LONGEST = 10.0  # seconds from one frame to the next; a longer step that the next frame takes back is a wrong time
NEAR = 1.0  # seconds within which a film that lost its times for some frames goes on


def frame_times(told: Iterator[tuple[float, Any]], rate: float) -> Iterator[tuple[float, Any]]:
    """Pairs of a time and a frame, with times that begin at 0 and rise, in seconds.

    told: with the times that a film tells, which may begin anywhere, be all the same (then the rate counts), stand
    still or fall back for a frame, be wrong for some, or begin anew where two films were put together.
    rate: frames a second, as the film says.
    """
    ahead, seconds, offset, former = next(told, None), 0.0, None, None
    while ahead:
        (time_told, frame), ahead = ahead, next(told, None)
        last = seconds
        if offset is None:
            offset = -time_told
        else:
            if former is not None and time_told + offset - last > NEAR >= time_told + former - last > 0:
                offset = former  # the times from before are there again
            here, following = time_told + offset, ahead[0] + offset if ahead else float("inf")
            alone = here - last > LONGEST and following < here
            if here > last and not alone:
                seconds, former = here, None
            elif following > last:  # this time alone is wrong
                seconds = last + min(1 / rate, (following - last) / 2)
            else:
                seconds = last + 1 / rate
                former = offset if former is None else former
                offset = seconds - time_told
        yield seconds, frame
