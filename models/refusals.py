"""What to say of a file that is no checkpoint, so that one line helps whoever has it.

A kind is told from the first bytes, and of a zip archive from the names in it; never from the file's own name.
"""

import os
import re
import shlex
import zipfile
from pathlib import Path
from typing import Any

from models.safe_tensors import is_safetensors

HEAD = 1 << 18  # bytes that are looked at
ZIP, TORCH_LEGACY = b"PK\3\4", rb"\x80.\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # how files of torch.save begin

OURS = "give a checkpoint that train.py wrote (runs/<name>/best.pt), or one of the older repositories of README.md"
SOURCE = "give the PyTorch checkpoint that it was made from"
AGAIN = "fetch it again"

# A pattern of the first bytes, what such a file is, and what can be done. The first that fits counts.
KINDS = (
    (rb"$", "empty", AGAIN),
    (rb"\s*<(\?xml[^>]*>\s*<)?net ", "a network of OpenVINO", SOURCE),
    (
        rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|\?xml|error)",
        "a web page, perhaps one that asks to sign in or to confirm a download",
        "fetch the file with a browser",
    ),
    (rb"version https://git-lfs\.github\.com/", "a pointer of Git LFS", "in its repository, run: git lfs pull"),
    (
        rb"(\x03\x00\x00\x00|\x04\x00\x00\x00|3\n|4\n).*V 1",
        "a file of Torch7 (Lua), which PyTorch cannot read",
        "what PyTorch saved is needed",
    ),
    (rb"\x89HDF\r\n\x1a\n.*(keras|layer_names)", "a network of Keras (HDF5)", OURS),
    (
        rb"\x89HDF\r\n\x1a\n",
        "an HDF5 file: faces, or a network of another library",
        "faces are given with --data; " + OURS,
    ),
    (rb"....TFL3", "a network of TensorFlow Lite", SOURCE),
    (rb"\x08\x01\x12.{1,5}\n.*(\x05serve|saver|tensorflow)", "a SavedModel of TensorFlow", OURS),
    (rb"\n.{1,5}\n.[\x20-\x7e]+\x12.[A-Z]\w+", "a frozen graph of TensorFlow", OURS),
    (rb"\x08[\x01-\x20]\x12[\x80-\xff]{0,4}[\x00-\x7f]\n", "a Core ML model", SOURCE),
    (rb"\x08[\x01-\x20](\x12[\x00-\x7f][\x20-\x7e]|[\x1a\x22\x28\x32\x3a\x42])", "an ONNX model", SOURCE),
    (rb"\x93NUMPY", "an array of NumPy", OURS),
    (rb"\x80[\x02-\x05].*sklearn", "a pickled object of scikit-learn", OURS),
    (rb"\x80[\x02-\x05].*joblib", "a file of joblib", OURS),
    (rb"\x78[\x01\x5e\x9c\xda]", "a compressed file, as joblib writes", OURS),
    (rb"GGUF|ggml|[pf]trt", "a network of GGML or TensorRT", SOURCE),
    (
        rb"Rar!|7z\xbc\xaf|\xfd7zXZ|BZh\d|\x28\xb5\x2f\xfd",
        "an archive of another kind than zip",
        "unpack it, and give the checkpoint that comes out",
    ),
    (rb"....ftyp|RIFF|OggS|\x1a\x45\xdf\xa3", "a film or a picture", "visualize.py takes it as --video or --image"),
    (rb"%PDF|\x7fELF|MZ[\x00-\xff]\x00|\xd0\xcf\x11\xe0", "a document or a program", OURS),
    (rb"\x1f\x8b", "compressed (gzip)", "unpack it: {gunzip}"),
    (rb".{257}ustar", "a tar archive", "unpack it: python -m tarfile -e {quoted} {folder}"),
    (rb"\x89PNG\r|\xff\xd8\xff|GIF8|BM....\x00{4}", "an image", "visualize.py takes it as --image"),
)

# The same for zip archives: a pattern of one of the names in it
ZIP_KINDS = (
    (r"(^|/)(archive_format|serialized_exported_program\.json)$", "a program of torch.export (.pt2)", SOURCE),
    (r"(^|/)constants\.pkl$", "a TorchScript program", "where it is trusted, keep its tensors: {script}"),
    (r"(^|/)data\.pkl$", None, ""),  # what torch.save writes
    (r"^model\.weights\.h5$|^config\.json$", "a network of Keras (.keras)", OURS),
    (r"\.npy$", "arrays of NumPy (.npz)", OURS),
    (
        r"\.(pt|pth|t7|t8|tar|ckpt|bin|safetensors)$",
        "a zip archive with {name} in it",
        "unpack it: python -m zipfile -e {quoted} {folder}",
    ),
    (r"", "a zip archive without a checkpoint in it", OURS),
)

# Folders, by a file in them
FOLDERS = {
    "saved_model.pb": ("a SavedModel of TensorFlow", OURS),
    "Manifest.json": ("a Core ML package", SOURCE),
    "data.pkl": ("an unpacked checkpoint", "pack it again: python -m zipfile -c {packed} {quoted}"),
    "model.safetensors": ("the folder of a network", "give {inside}"),
}


def kind_of(path: Path) -> str | None:
    """Return what a file is instead of a checkpoint, and what can be done about it; None where nothing is known."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if head[:4] == ZIP:
        return _kind_of_zip(path)
    if is_safetensors(head):  # whose first bytes, a length, may be anything
        return None
    for pattern, what, advice in KINDS:
        if re.match(pattern, head, re.DOTALL):
            return _in_words(path, what, advice)
    text = _text(head) if len(head) > 2 else ""  # "P", "PK": a checkpoint that is cut off
    return f'it is text ("{text[:60]}"); {OURS}' if text else None


def kind_of_folder(path: Path) -> str | None:
    """The same for a folder."""
    for name, (what, advice) in FOLDERS.items():
        if (path / name).is_file():
            return _in_words(path, what, advice, inside=path / name, packed=path.with_name(path.name + ".pt"))
    return None


def _kind_of_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # cut off or damaged, in one of many ways: PyTorch says which
        return None
    for pattern, what, advice in ZIP_KINDS:
        found = next((name for name in names if re.search(pattern, name)), "")
        if found or not pattern:
            return what and _in_words(path, what, advice, name=found)
    return None


def _in_words(path: Path, what: str, advice: str, **more: Any) -> str:
    copy = f"tensors-{path.name}"
    commands = {
        "script": f"from torch import jit, save; save(jit.load({str(path)!r}, 'cpu').state_dict(), {copy!r})",
        "gunzip": "import gzip; from pathlib import Path;"
        f" Path({'unpacked-' + path.name!r}).write_bytes(gzip.decompress(Path({str(path)!r}).read_bytes()))",
    }
    values = {key: _python(code) for key, code in commands.items()}
    values |= {"quoted": shlex.quote(str(path)), "folder": shlex.quote(f"unpacked-{path.name}")}
    values |= {key: shlex.quote(str(value)) for key, value in more.items()}
    return f"it is {what.format(**values)}; {advice.format(**values)}"


def _python(code: str) -> str:
    """A command that runs it; in double quotes, which every system's shell knows, where nothing in it is special."""
    plain = os.name == "nt" or not re.search(r'["$`\\!]', code)
    return f'python -c "{code}"' if plain else f"python -c {shlex.quote(code)}"


def _text(head: bytes) -> str:
    """The first line of a text file; "" for other files."""
    try:
        text = head.decode("utf-8", "strict" if len(head) < HEAD else "ignore").strip()
    except UnicodeDecodeError:
        return ""
    lines = text.splitlines() or [""]
    return lines[0].replace("\t", " ") if all(c.isprintable() or c in "\t\r\n" for c in text) else ""


def pickled(path: Path, error: str, plain: bool = False) -> str:
    """One line: why a file of whole Python objects is refused, and what makes a file of tensors of it.

    plain: the file is of pickle, not of torch.save.
    """
    found = re.search(r"GLOBAL ([\w.]+)", error) or re.search(r"Unpickler error: (.*)", error)
    what = found[1] if found else error.splitlines()[0]
    load = f"load({str(path)!r}, map_location='cpu')"
    if plain:
        load = f"__import__('pickle').loads(__import__('pathlib').Path({str(path)!r}).read_bytes())"
    code = (
        "import os; from torch import Tensor, load, save; os.environ['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1';"
        f" d = {load}; d = d if isinstance(d, dict) else d.state_dict();"
        " d = {k: v.state_dict() if hasattr(v, 'state_dict') else v for k, v in d.items()};"
        f" save({{k: v for k, v in d.items() if isinstance(v, (dict, Tensor))}}, {'tensors-' + path.name!r})"
    )
    return (
        f"{path} holds pickled Python objects besides tensors ({what}), and loading those would run code. Where the"
        f" file is trusted, in a copy of the code that made it, keep its state_dict alone: {_python(code)}"
    )


def contents(state: Any) -> str:
    """What a file holds instead, for an error."""
    if not isinstance(state, dict):
        return f"; it holds a {type(state).__name__}"
    some = ", ".join(str(key)[:60] if isinstance(key, str | bytes) else type(key).__name__ for key in list(state)[:8])
    return f"; it has {some}{', ...' if len(state) > 8 else ''}" if state else "; it is empty"
