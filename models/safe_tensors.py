"""Files of safetensors: 8 bytes of length, a JSON header, then every tensor's little-endian bytes without a gap.

The format is described at https://huggingface.co/docs/safetensors. Nothing in such a file can run.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from utils.files import replacing

DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8},
}
HEADER_LIMIT = 1 << 24  # bytes; a network of a thousand tensors has 100,000
ABOUT = "__metadata__"


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is one of safetensors (or what is left of one)."""
    return len(head) > 8 and head[4:9] == b"\0\0\0\0{"


def read(content: bytes) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors by name and the metadata; ValueError for a header that does not describe the content.

    No more memory is used than the content has, whatever the header says.
    """
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(HEADER_LIMIT, len(content) - 8):
        raise ValueError(f"a header of {length} bytes in a file of {len(content)}")
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_no_name_twice)
    except RecursionError:
        raise ValueError("a header of too many brackets") from None
    if not isinstance(header, dict):
        raise ValueError("a header that is no table")
    about, data, end = header.pop(ABOUT, {}), bytearray(content[8 + length :]), 0
    if not isinstance(about, dict) or not all(isinstance(text, str) for text in about.values()):
        raise ValueError(f"{ABOUT} with other values than text")
    tensors, places = {}, {name: _described(name, entry) for name, entry in header.items()}
    for name, (start, stop, dtype, shape) in sorted(places.items(), key=lambda item: item[1][:2]):
        size = math.prod(shape) * dtype.itemsize
        if start != end or stop != start + size or stop > len(data):
            raise ValueError(f"{name!r}: bytes {start} to {stop} of {len(data)} for {size}, after those up to {end}")
        tensors[name] = torch.frombuffer(data[start:stop], dtype=dtype).view(shape)
        end = stop
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes that belong to no tensor")
    return tensors, about


def write(path: str | Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, str]) -> None:
    """Write tensors and metadata, whole or not at all; ValueError for a dtype that is not in DTYPES."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {ABOUT: dict(about)}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in names:
            raise ValueError(f"{name} is of {tensor.dtype}; there are {', '.join(map(str, names))}")
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _described(name: str, entry: Any) -> tuple[int, int, torch.dtype, list[int]]:
    """The place, dtype and shape of a tensor."""
    try:
        dtype, shape, (start, stop) = DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name!r} without a dtype of {', '.join(DTYPES)}, shape and data_offsets") from None
    numbers = [*shape, start, stop] if isinstance(shape, list) else [None]
    if not all(type(number) is int and 0 <= number < 2**48 for number in numbers) or 0 in shape or len(shape) > 8:
        raise ValueError(f"{name!r} with an impossible shape or place")
    return start, stop, dtype, shape


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name that is there twice")
    return table
