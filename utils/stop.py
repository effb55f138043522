"""SIGTERM, which a cluster's scheduler sends some time before it kills."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STATUS = 128 + signal.SIGTERM  # 143: what a shell reports of a process that SIGTERM has ended


class Terminated(BaseException):
    """SIGTERM has come. Like KeyboardInterrupt it is no Exception, and what is open is closed on its way out."""


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises Terminated in the block. Only the first one: schedulers and launchers may send several."""

    def terminate(*_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    with _handled_by(terminate):
        yield


@contextmanager
def postponed() -> Iterator[list[int]]:
    """SIGTERM does nothing in the block but stand in the list: for processes that have to stop at the same place."""
    arrived: list[int] = []
    with _handled_by(lambda number, _: arrived.append(number)):
        yield arrived


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # others cannot have handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
