"""What to say of a file that is no checkpoint, so that one line helps whoever has it."""

import re
from pathlib import Path
from typing import Any


def pickled(path: Path, error: str) -> str:
    """One line: why a file of whole Python objects is refused, and what makes a file of tensors of it."""
    found = re.search(r"GLOBAL ([\w.]+)", error) or re.search(r"Unpickler error: (.*)", error)
    what = found[1] if found else error.splitlines()[0]
    code = (
        "import os; from torch import Tensor, load, save; os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1';"
        f" d = load({str(path)!r}, map_location='cpu'); d = d if isinstance(d, dict) else {{'net': d}};"
        " d = {k: v.state_dict() if hasattr(v, 'state_dict') else v for k, v in d.items()};"
        f" save({{k: v for k, v in d.items() if isinstance(v, (dict, Tensor))}}, {'tensors-' + path.name!r})"
    )
    return (
        f"{path} holds pickled Python objects besides tensors ({what}), and loading those would run code. Where the"
        f' file is trusted, in a copy of the code that made it, keep its state_dict alone: python -c "{code}"'
    )


def what_else(content: bytes) -> str:
    """ ": it is ..." for files that are often taken for checkpoints, or nothing."""
    if content[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return ": it is a web page, perhaps one that asks to confirm a download; fetch the file with a browser"
    lua = content.startswith((b"\3\0\0\0", b"\4\0\0\0", b"3\n", b"4\n")) and b"V 1" in content[:65536]
    return ": it is a file of Torch7 (Lua), which PyTorch cannot read; what PyTorch saved is needed" if lua else ""


def contents(state: Any) -> str:
    """What a file holds instead, for an error."""
    if not isinstance(state, dict):
        return f"; it holds a {type(state).__name__}"
    some = ", ".join(str(key) for key in list(state)[:8])
    return f"; it has {some}{', ...' if len(state) > 8 else ''}" if state else "; it is empty"
