"""What a network looks at: hide a part of the face, see how much of the answer goes away."""

from collections.abc import Callable

import numpy as np


def occlusion_map(
    score: Callable[[np.ndarray], np.ndarray], face: np.ndarray, patch: int = 18, step: int = 6
) -> np.ndarray:
    """Mean loss of score over the patches that hide a pixel; float32 of the face's shape (h, w).

    Positive where the network found its reasons, negative where the face spoke against them. After Zeiler and
    Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2, but with soft patches:
    a hard square's edges are features themselves, and show as squares in the map.

    Args:
        score: uint8 (n, h, w) -> (n,), for one the log-probability of the predicted class.
        face: uint8 (h, w).
        patch: side in pixels of what is faded to the face's mean, fully in its middle, not at all at its edge.
        step: pixels between one patch and the next; patches reach over the border.
    """
    h, w = face.shape
    across = np.sin(np.pi * (np.arange(patch) + 0.5) / patch) ** 2
    soft = np.zeros((h + 2 * patch, w + 2 * patch))
    covers = []
    for y in range(step, h + patch, step):
        for x in range(step, w + patch, step):
            soft[:] = 0
            soft[y : y + patch, x : x + patch] = np.outer(across, across)
            covers.append(soft[patch:-patch, patch:-patch].copy())
    cover = np.stack(covers)  # (patches, h, w), 0..1
    hidden = (face * (1 - cover) + face.mean() * cover).round().astype(np.uint8)
    scores = np.asarray(score(np.concatenate([face[None], hidden])), np.float64)
    loss = scores[0] - scores[1:]
    return ((loss[:, None, None] * cover).sum(0) / cover.sum(0)).astype(np.float32)
