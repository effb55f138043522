"""Networks for 48x48 faces, and their checkpoints.

    from models.build import build_model            model = build_model("resnet18", num_classes=7)
    from models.checkpoint import load_classifier   classifier = load_classifier("runs/resnet18")

Here are the names alone, which the command line needs before PyTorch is loaded. `timm:<name>` is a model of the timm
library, where that is installed.
"""

from pathlib import Path

# Trained on FER2013; they come with the project (weights/README.md)
WEIGHTS = Path(__file__).parents[1] / "weights" / "small.pt"
BEST_WEIGHTS = WEIGHTS.with_name("resnet18.pt")
MODELS = ("small", "vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50")


def model_name(text: str) -> str:
    """A model's name in its usual spelling ("VGG19" is vgg19), or timm:<name>; ValueError for an unknown one."""
    name = text if text.startswith("timm:") else text.lower()
    if name in MODELS or name.startswith("timm:"):
        return name
    raise ValueError(f"unknown model {text!r}; there are {', '.join(MODELS)}, and timm:<name>")


def usual_weights(device: str) -> Path:
    """What to test with on a device of this type ("cuda", "cpu", ...): the best that comes with the project, but on a
    CPU the network that is made for it."""
    return WEIGHTS if device == "cpu" else BEST_WEIGHTS
