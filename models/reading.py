"""What is in a file of weights, read without running code and in memory that the file's size bounds."""

import io
import json
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from models import safe_tensors
from models.refusals import TORCH_LEGACY, ZIP, kind_of, pickled

UNPACKED = 4  # times the file: more than an archive of weights can hold
SLACK = 1 << 20  # bytes


def read_file(path: Path) -> Any:
    """Return what `torch.save` or safetensors put into a file, on the CPU.

    Of safetensors a checkpoint of this project as it was, or names and tensors.
    Raises ValueError, in one line, for everything else, with what the file is and what can be done about it.
    """
    kind = kind_of(path)
    if kind:
        raise ValueError(f"{path} is not a PyTorch checkpoint: {kind}")
    content = path.read_bytes()  # read first: an OSError from here on is the content's fault
    if safe_tensors.is_safetensors(content):
        return _safetensors(path, content)
    if re.match(rb"\x80[\x02-\x05]", content) and not re.match(TORCH_LEGACY, content, re.DOTALL) and len(content) > 64:
        raise ValueError(pickled(path, "Unpickler error: a plain pickle", plain=True))
    try:
        _check_archive(content)
        with warnings.catch_warnings(record=True):  # PyTorch's advice to who writes such files
            warnings.simplefilter("always")
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes end in any of a dozen kinds, IndexError and OSError among them
        if isinstance(error, pickle.UnpicklingError) and (content[:4] == ZIP or _names_objects(content, str(error))):
            raise ValueError(pickled(path, str(error))) from None
        said = str(error).split("\n")[0].split(". ")[0]  # what follows is PyTorch's advice to itself
        reason = said if " " in said else type(error).__name__
        raise ValueError(f"{path} is truncated or not a PyTorch checkpoint ({reason}); fetch it again") from None


def _names_objects(content: bytes, error: str) -> bool:
    """Whether an error of PyTorch is about an object that the file does name, and not about a name that is cut off."""
    found = re.search(r"GLOBAL ([\w.]+)\.(\w+)", error)
    return bool(found) and f"c{found[1]}\n{found[2]}\n".encode() in content


def _check_archive(content: bytes) -> None:
    """Raise ValueError for what would take far more memory than the file has: unpacked, or by a number in it."""
    pickles = content
    if content[:4] == ZIP:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total > UNPACKED * len(content) + SLACK:
                raise ValueError(f"{len(content)} bytes that unpack to {total}")
            # PyTorch finds names in any case, and of two equal ones the first
            pickles = b"".join(archive.read(m) for m in members if m.filename.lower().endswith("data.pkl"))
    if re.search(rb"c(__builtin__|builtins)\nbytearray\n", pickles):
        raise ValueError("it asks for a block of memory of any size")


def _safetensors(path: Path, content: bytes) -> Any:
    try:
        tensors, about = safe_tensors.read(content)
        state = json.loads(about.get("checkpoint", "{}"))
    except (ValueError, RecursionError) as error:
        said = str(error).split("\n")[0]
        raise ValueError(f"{path} is truncated or not of safetensors ({said}); fetch it again") from None
    return state | {"model": tensors} if isinstance(state, dict) and state else tensors
