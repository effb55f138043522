"""What a network looks at: hide parts of the face and see how much of the answer goes away, or follow its gradient."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from datasets.views import make_views
from models.checkpoint import Classifier

COARSEST = 4  # cells across; a map of fewer says nothing of places. VGG's last convolutions at 44 pixels have 2


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


def grad_cam(
    classifier: Classifier, pixels: np.ndarray, classes: Sequence[int] | np.ndarray, batch_size: int = 64
) -> np.ndarray:
    """Grad-CAM of each face for its class: float32 (n, h, w), 0 and more, 0 outside the center crop.

    The last convolutional map of COARSEST cells and more, its channels weighted with the mean gradient of the class's
    logit and summed; what is positive, enlarged to the crop. Selvaraju et al., "Grad-CAM: Visual explanations from deep
    networks via gradient-based localization", ICCV 2017, equations 1 and 2. The mean of the center crop's and of its
    mirror image's. Cells that no gradient comes from cannot have decided and are 0: with the pooling of older
    repositories only the upper left 4x4 of a ResNet's map reach the classifier, which the mean gradient does not know.

    Args:
        pixels: uint8 (n, h, w).
        classes: (n,), of which the map is.
        batch_size: faces at once.

    Raises:
        ValueError: a network without such a map.
    """
    device = next(classifier.model.parameters()).device
    inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
    views, maps = make_views("flip", **inputs), []
    targets = torch.as_tensor(np.asarray(classes), dtype=torch.int64, device=device)
    for chunk, wanted in zip(torch.tensor(pixels).split(batch_size), targets.split(batch_size), strict=True):
        x = views(chunk.to(device))  # (n, 2, c, crop, crop)
        n, v = x.shape[:2]
        cells, gradient = _last_map(classifier.model, x.flatten(0, 1), wanted.repeat_interleave(v))
        cam = (gradient.mean((2, 3), keepdim=True) * cells).sum(1, keepdim=True).relu()
        cam = cam * (gradient != 0).any(1, keepdim=True)
        cam = F.interpolate(cam, size=x.shape[-2:], mode="bilinear", align_corners=False)
        plain, mirrored = cam.unflatten(0, (n, v))[:, :, 0].unbind(1)
        maps.append(((plain + mirrored.flip(-1)) / 2).cpu())
    cam = torch.cat(maps)
    (h, w), crop = pixels.shape[1:], cam.shape[-1]
    top, left = round((h - crop) / 2), round((w - crop) / 2)  # where center_crop cuts
    return F.pad(cam, (left, w - crop - left, top, h - crop - top)).float().numpy()


def _last_map(model: nn.Module, x: torch.Tensor, classes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The last convolutional map (n, channels, h, w) of x, and the gradient of the classes' logits in it."""
    found: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.dim() == 4 and min(output.shape[-2:]) >= COARSEST:
            found[:] = [output]

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        with torch.enable_grad():
            logits = model(x.clone().requires_grad_())  # the parameters want no gradient, so that the input has to
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError("Grad-CAM wants a network with convolutional maps, which this one lacks; --explain occlusion")
    (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), found[0])
    return found[0].detach(), gradient
