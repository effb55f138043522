"""Files as `torch.save` of Python 2 and PyTorch 0.2 wrote them, from Python 3.

Their strings are bytes, an OrderedDict is made from a list of lists, a tensor by a function of four arguments, and the
numbers follow the pickle, named by the device they were on.
"""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import torch

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    """Stands for a tensor's numbers inside the pickle."""

    def __init__(self, tensor):
        self.tensor, self.key = tensor, str(id(tensor))


class Pickler(pickle._Pickler):
    def __init__(self, file, device="cuda:0"):
        super().__init__(file, protocol=2)
        self.device, self.storages = device, {}

    def save_str(self, text):
        raw = text.encode("latin-1")
        self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        self.memoize(text)

    dispatch = pickle._Pickler.dispatch | {str: save_str}

    def reducer_override(self, value):
        if isinstance(value, torch.Tensor):
            shape, stride = tuple(value.shape), tuple(value.stride())
            return torch._utils._rebuild_tensor, (Storage(value), 0, shape, stride)
        if isinstance(value, OrderedDict):
            return OrderedDict, ([[key, item] for key, item in value.items()],)
        return NotImplemented

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages[value.key] = value.tensor
        return ("storage", torch.FloatStorage, value.key, self.device, value.tensor.numel(), None)


def save(content, path):
    """content: numbers, strings, dicts and contiguous float32 tensors."""
    sizes = {"short": 2, "int": 4, "long": 4}
    with Path(path).open("wb") as file:
        for value in (MAGIC, VERSION, {"protocol_version": VERSION, "little_endian": True, "type_sizes": sizes}):
            Pickler(file).dump(value)
        pickler = Pickler(file)
        pickler.dump(content)
        keys = sorted(pickler.storages)
        Pickler(file).dump(keys)
        for key in keys:
            tensor = pickler.storages[key]
            file.write(struct.pack("<q", tensor.numel()) + tensor.numpy().tobytes())
