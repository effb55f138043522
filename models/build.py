"""A freshly initialised network by its name.

To add a network: write its file, give it a line in BUILDERS here and its name in MODELS (models/__init__.py).
"""

from functools import partial
from typing import Any

from torch import nn

from models import model_name
from models.resnet import ResNet
from models.small import Small
from models.vgg import VGG

# Each takes num_classes, in_channels, dropout (0..1, before the classifier) and pool
BUILDERS = {
    "small": Small,
    "vgg11": partial(VGG, 11),
    "vgg13": partial(VGG, 13),
    "vgg16": partial(VGG, 16),
    "vgg19": partial(VGG, 19),
    "resnet18": partial(ResNet, 18),
    "resnet34": partial(ResNet, 34),
    "resnet50": partial(ResNet, 50),
}


def build_model(name: str, num_classes: int = 7, in_channels: int = 1, **kwargs: Any) -> nn.Module:
    """Return a freshly initialised network: (n, in_channels, h, w) float -> (n, num_classes) logits, 32 <= h, w.

    Keyword arguments for the project's own networks: `dropout` (0..1, before the classifier) and `pool` ("global", or
    for the ResNets and VGGs "avg4", the 4x4 pooling of older FER2013 repositories). For timm they are handed to
    `timm.create_model`.

    Raises ValueError for an unknown name and where timm is asked for but not installed.
    """
    if name.startswith("timm:"):
        return _build_timm(name.removeprefix("timm:"), num_classes, in_channels, **kwargs)
    return BUILDERS[model_name(name)](num_classes=num_classes, in_channels=in_channels, **kwargs)


def _build_timm(
    name: str, num_classes: int, in_channels: int, dropout: float = 0.0, pool: str = "global", **kwargs: Any
) -> nn.Module:
    try:
        import timm  # optional, and slow to import
    except ImportError:
        raise ValueError(f"model timm:{name} needs timm: python -m pip install timm") from None
    if pool != "global":
        raise ValueError(f"--pool {pool} is for the project's own networks, not for timm:{name}")
    known = timm.list_models(f"*{name[:8]}*")[:5]
    hint = f"; similar names: {', '.join(known)}" if known else ""
    if not timm.is_model(name):  # create_model would also take "hf-hub:..." and "local-dir:...", and a file may say so
        raise ValueError(f"timm has no network {name!r}{hint}")
    try:
        return timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout, **kwargs
        )
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"timm could not build {name!r}: {error}{hint}") from None
