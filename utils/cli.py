"""What every script's command line has in common: manners at the terminal, one-line errors, late imports.

Results go to stdout, progress and notes to stderr; --quiet leaves only the results and errors. Nothing is coloured.
Letters that a terminal or a pipe cannot take, and file names that are no text, are printed with escapes (`\\udce9`).

PyTorch takes seconds to import, and `--help` or a mistyped flag should answer at once. So a script takes the modules
that need it with `lazy_module`, at its head like any other import, and they are loaded when the flags have been read.
"""

import argparse
import difflib
import errno
import glob
import importlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from utils import stop


class lazy_module:
    """A module that is imported when something in it is asked for first: `loop = lazy_module("engine.loop")`."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._module), name)


QUIET = ContextVar("QUIET", default=False)  # what the flags said last
EXIT_STATUS = """exit status:
  0  done                           130  interrupted (Ctrl-C)
  1  a fault of the program         141  the reader of stdout has closed it (| head)
  2  a wrong flag, input or file:   143  terminated (SIGTERM)
     one line on stderr says which"""


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line on stderr (exit status 2) and every default is shown in the help.

    Every script has --quiet, which `remark`, `note` and `progress` obey and which is not among the parsed flags.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", HelpFormatter)
        kwargs.setdefault("allow_abbrev", False)
        kwargs["epilog"] = "\n\n".join(filter(None, [kwargs.get("epilog"), EXIT_STATUS]))
        super().__init__(*args, **kwargs)
        self.add_argument("--quiet", action="store_true", help="print results and errors, no progress and no remarks")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does; from here on, printing cannot fail for a letter's sake."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # a notebook's has not
                stream.reconfigure(errors="backslashreplace")
        parsed = super().parse_args(args, namespace)
        QUIET.set(bool(parsed.__dict__.pop("quiet")))
        return parsed

    def error(self, message: str) -> NoReturn:
        one_line = " ".join(str(message).split())
        if one_line.startswith("unrecognized arguments: "):
            near = difflib.get_close_matches(one_line.split()[2].split("=")[0], self._option_string_actions, 1, 0.8)
            one_line += f"; did you mean {near[0]}?" if near else "; --help lists the flags"
        self.exit(2, f"{self.prog}: error: {one_line}\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of a script's docstring and leaves out defaults that say nothing (None)."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None:
            return action.help
        return super()._get_help_string(action)


def run(
    parser: argparse.ArgumentParser, args: argparse.Namespace, function: Callable[[argparse.Namespace], Any]
) -> Any:
    """Call `function(args)`; end with one line and status 2 where the input was wrong (ValueError, OSError).

    So it ends where memory is short, too.

    Ctrl-C ends with status 130 and SIGTERM with 143, both after everything that is open has been closed.
    With FER_DEBUG set in the environment the traceback is shown instead.
    """
    try:
        with stop.terminable():
            result = function(args)
            _flush()
            return result
    except BrokenPipeError:  # the reader has seen enough (| head)
        _drop_output()
        parser.exit(141)
    except (ValueError, OSError) as error:
        if os.environ.get("FER_DEBUG"):
            raise
        _drop_output(unless_it_can_be_written=True)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        parser.error(describe(error) + ("; make room there and run it again" if full else ""))
    except (MemoryError, RuntimeError) as error:  # where no one knew what would need less
        short = isinstance(error, MemoryError) or ("torch" in sys.modules and device.out_of_memory(error))
        if not short or os.environ.get("FER_DEBUG"):
            raise
        parser.error("out of memory: close other programs and runs, and try again")
    except KeyboardInterrupt:
        _flush()
        parser.exit(130, f"{parser.prog}: interrupted\n")
    except stop.Terminated:
        _flush()
        parser.exit(stop.STATUS, f"{parser.prog}: terminated\n")


def _drop_output(unless_it_can_be_written: bool = False) -> None:
    """What waits to be written to stdout goes nowhere, so that Python's end does not fail in writing it."""
    try:
        if unless_it_can_be_written or sys.stdout is None:
            return _flush()
    except OSError:
        pass
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _flush() -> None:
    """Write what waits for stdout, where there is one: a program may be started without."""
    if sys.stdout is not None:
        sys.stdout.flush()


def describe(error: BaseException) -> str:
    """One line for an error; the operating system's errors get the path they are about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def quoted(word: object) -> str:
    """A word of a printed command as the shell takes it, a path above all."""
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline([str(word)])
    return shlex.quote(str(word))


def expand(given: Iterable[Path]) -> list[Path]:
    """Put what a pattern (`photos/*.jpg`) matches, sorted, in its place: Windows' shells hand it on as it is.

    Files and folders that are there are taken by their names, even one called `[1].jpg`. What matches nothing stays,
    for whoever reads it to say so.
    """
    paths = []
    for path in given:
        there = next(folder for folder in (path, *path.parents, Path()) if os.path.lexists(folder))
        matches = [] if there == path else glob.glob(str(path.relative_to(there)), root_dir=there, recursive=True)
        paths += [there / match for match in sorted(matches)] or [path]
    return paths


def expand_one(path: Path) -> Path:
    """The one path that a pattern matches, as `expand` does it; ValueError where it matches several."""
    matches = expand([path])
    if len(matches) > 1:
        raise ValueError(f"{path} matches {len(matches)} paths, {matches[0]} and {matches[1]} among them; give one")
    return matches[0]


LARGEST = 2**31 - 1  # of whole numbers on the command line: more are a slip of the hand, and overflow somewhere


def positive_int(text: str) -> int:
    """argparse type: a whole number above zero."""
    return _whole_number(text, 1, f"{text[:20]!r} is not a whole number above 0")


def non_negative_int(text: str) -> int:
    """argparse type: a whole number of zero or more."""
    return _whole_number(text, 0, f"{text[:20]!r} is not a whole number of 0 or more")


def _whole_number(text: str, lowest: int, otherwise: str) -> int:
    digits = text.strip().removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or (len(digits) < 11 and int(digits) < lowest):
        raise argparse.ArgumentTypeError(otherwise)
    if len(digits) > 10 or int(digits) > LARGEST:
        raise argparse.ArgumentTypeError(f"{digits[:20]} is too large: {LARGEST} is the most")
    return int(digits)


def file_path(text: str) -> Path:
    """argparse type: a path; the empty text, which an unset variable of a shell leaves behind, is none."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    return Path(text)


def plain_name(text: str) -> str:
    """argparse type: a name that can be a file's, without a folder."""
    if not text.strip() or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a data set, such as fer2013: give a file with --data")
    return text


def remark(text: str) -> None:
    """Say what the results are of (what is read, which split is tested): on stdout with them, but not with --quiet."""
    if not QUIET.get():
        print(text, flush=True)


def note(text: str) -> None:
    """Say how it goes: on stderr, and not with --quiet."""
    if not QUIET.get() and sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)


def progress(items: Any = None, **options: Any) -> Any:
    """tqdm's bar over `items`: on stderr, gone when it is done, and only on a terminal without --quiet."""
    return tqdm.tqdm(items, leave=False, disable=QUIET.get() or sys.stderr is None or None, **options)


tqdm = lazy_module("tqdm")
device = lazy_module("utils.device")
