"""From faces to logits and probabilities, the one way everything here does it."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from datasets.views import make_views
from models.checkpoint import Classifier


def views_at_once(device: torch.device) -> int:
    """The usual number of views in a forward pass: on a GPU so few that they take less memory than training."""
    return 64 if device.type == "cpu" else 256


def predict(
    model: nn.Module,
    pixels: torch.Tensor | np.ndarray,
    views: Callable[[torch.Tensor], torch.Tensor],
    batch_size: int | None = None,
    amp: bool = False,
) -> torch.Tensor:
    """Return float32 logits (n, classes) on the CPU, averaged over the views of every face; see `predict_on_device`."""
    return predict_on_device(model, pixels, views, batch_size, amp).cpu()


@torch.inference_mode()
def predict_on_device(
    model: nn.Module,
    pixels: torch.Tensor | np.ndarray,
    views: Callable[[torch.Tensor], torch.Tensor],
    batch_size: int | None = None,
    amp: bool = False,
) -> torch.Tensor:
    """Return float32 logits (n, classes) where the network is, averaged over the views of every face.

    model: put into eval mode for the duration; faces go to the device its parameters are on.
    pixels: uint8 (n, h, w), on any device.
    views: uint8 (n, h, w) -> float (n, v, channels, crop, crop), as `datasets.views.make_views` makes them.
    batch_size: views (not faces) a forward pass, so that memory depends neither on the number of faces nor on that of
        views. By default 64 on CPUs, whose caches hold that, and 256 on GPUs.
    amp: bfloat16 instead of float32.
    """
    device = next(model.parameters()).device
    pixels = torch.from_numpy(np.require(pixels, requirements="W")) if isinstance(pixels, np.ndarray) else pixels
    batch_size = batch_size or views_at_once(device)
    training = model.training
    model.eval()
    logits = []
    per_face = views(pixels[:1].to(device)).shape[1] if len(pixels) else 1
    # On GPUs PyTorch rounds the inputs of float32 convolutions to TF32, unless told not to
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with exact, torch.autocast(device.type, torch.bfloat16, enabled=amp):
        for chunk in pixels.split(max(1, batch_size // per_face)):
            x = views(chunk.to(device, non_blocking=True))  # (n, v, c, h, w)
            n, v = x.shape[:2]
            out = model(x.flatten(0, 1).contiguous(memory_format=torch.channels_last))
            logits.append(out.float().unflatten(0, (n, v)).mean(1))
    model.train(training)
    return torch.cat(logits) if logits else torch.empty(0, 0)


def classifier_logits(
    classifier: Classifier, pixels: np.ndarray, views: str, batch_size: int | None = None, amp: bool = False
) -> torch.Tensor:
    """`predict` with the named views in the checkpoint's own input convention: uint8 (n, h, w) -> (n, classes)."""
    inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
    return predict(classifier.model, pixels, make_views(views, **inputs), batch_size, amp)


def classifier_probabilities(
    classifier: Classifier, pixels: np.ndarray, views: str, batch_size: int | None = None, amp: bool = False
) -> np.ndarray:
    """uint8 (n, h, w) -> float64 (n, classes): the softmax of the logits, which are averaged over the views.

    ValueError where the network answers with something else than numbers.
    """
    logits = classifier_logits(classifier, pixels, views, batch_size, amp)
    if not logits.isfinite().all():
        raise ValueError(f"{classifier.path} gives scores that are no numbers; did its training diverge?")
    return logits.double().softmax(1).numpy()
