"""Networks for 48x48 faces.

    model = build_model("resnet18", num_classes=7)

A name of the form `timm:<name>` builds that model of the timm library, where it is installed.
"""

from typing import Any

MODELS = ("small", "vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50")


def build_model(name: str, num_classes: int = 7, in_channels: int = 1, **kwargs: Any):
    """Return a freshly initialised network: (n, in_channels, h, w) float -> (n, num_classes) logits, 40 <= h, w.

    Keyword arguments for the project's own networks: `dropout` (0..1, before the classifier) and, for the
    ResNets and VGGs, `pool` ("global", or "avg4": the 4x4 pooling of older FER2013 repositories). For timm
    they are handed to `timm.create_model`.

    Raises ValueError for an unknown name and where timm is asked for but not installed.
    """
    if name.startswith("timm:"):
        return _build_timm(name.removeprefix("timm:"), num_classes, in_channels, **kwargs)
    if name == "small":
        from models.small import Small

        if kwargs.pop("pool", "global") != "global":
            raise ValueError("--pool avg4 is for the ResNets and VGGs; small has global pooling only")
        return Small(num_classes, in_channels, **kwargs)
    if name in MODELS and name.startswith("vgg"):
        from models.vgg import VGG

        return VGG(int(name.removeprefix("vgg")), num_classes, in_channels, **kwargs)
    if name in MODELS:
        from models.resnet import ResNet

        return ResNet(int(name.removeprefix("resnet")), num_classes, in_channels, **kwargs)
    raise ValueError(f"unknown model {name!r}; there are {', '.join(MODELS)}, and timm:<name> for a model of timm")


def model_name(text: str) -> str:
    """A model's name in its usual spelling ("VGG19" is vgg19), or timm:<name>; ValueError for an unknown one."""
    name = text if text.startswith("timm:") else text.lower()
    if name in MODELS or name.startswith("timm:"):
        return name
    raise ValueError(f"unknown model {text!r}; there are {', '.join(MODELS)}, and timm:<name>")


def _build_timm(
    name: str, num_classes: int, in_channels: int, dropout: float = 0.0, pool: str = "global", **kwargs: Any
):
    try:
        import timm
    except ImportError:
        raise ValueError(f"model timm:{name} needs timm: python -m pip install timm") from None
    if pool != "global":
        raise ValueError(f"--pool {pool} is for the project's own networks, not for timm:{name}")
    try:
        return timm.create_model(
            name, pretrained=False, num_classes=num_classes, in_chans=in_channels, drop_rate=dropout, **kwargs
        )
    except (RuntimeError, TypeError) as error:
        known = timm.list_models(f"*{name[:8]}*")[:5]
        hint = f"; similar names: {', '.join(known)}" if known else ""
        raise ValueError(f"timm could not build {name!r}: {error}{hint}") from None
