"""Grad-CAM: against a slow reference by hand, on networks whose answer is known, and through visualize.py."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import visualize
from datasets.names import FER2013_CLASSES
from engine.explain import COARSEST, grad_cam
from models import WEIGHTS
from models.build import build_model
from models.checkpoint import Classifier, load_classifier

CROP = 44


def classifier_of(model, crop=CROP):
    inputs = {"size": 48, "crop": crop, "channels": 1, "mean": 0.5, "std": 0.25}
    return Classifier(model.eval().requires_grad_(False), FER2013_CLASSES, "fer2013", inputs, "x.pt")


def random_network(name, pool):
    """With statistics of batch normalisation that are not those it begins with, so that the map is not flat."""
    torch.manual_seed(0)
    model = build_model(name, 7, 1, pool=pool)
    with torch.no_grad():
        model.train()(torch.randn(8, 1, CROP, CROP))
    return classifier_of(model)


def parts(model):
    """The network up to its last map of 4 cells and more, and from there to the logits; both written anew."""
    if hasattr(model, "features"):
        layers = list(model.features)
        cut = [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)][3]  # 5x5 go in, 2x2 come out
        head = lambda cells: model.classifier(model.pool(nn.Sequential(*layers[cut:])(cells)).flatten(1))  # noqa: E731
        return nn.Sequential(*layers[:cut]), head
    if hasattr(model, "stages"):
        body = lambda x: model.stages(F.relu(model.bn1(model.conv1(x))))  # noqa: E731
        return body, lambda cells: model.linear(cells.mean((2, 3)))
    stages = nn.Sequential(model.layer1, model.layer2, model.layer3, model.layer4)
    body = lambda x: stages(F.relu(model.bn1(model.conv1(x))))  # noqa: E731
    return body, lambda cells: model.linear(model.pool(cells).flatten(1))


def slow(classifier, face, c):
    """One face, one view, one channel at a time."""
    body, head = parts(classifier.model)
    x = (torch.as_tensor(face[2:46, 2:46]).float()[None, None] / 255 - 0.5) / 0.25
    maps = []
    for mirrored in (False, True):
        with torch.no_grad():
            cells = body(x.flip(-1) if mirrored else x).clone()
        (gradient,) = torch.autograd.grad(head(cells.requires_grad_() * 1)[0, c], cells)
        total = torch.zeros(cells.shape[-2:])
        for k in range(cells.shape[1]):
            total += gradient[0, k].mean() * cells.detach()[0, k]
        total[(gradient[0] == 0).all(0)] = 0
        large = F.interpolate(total.clamp(min=0)[None, None], (CROP, CROP), mode="bilinear")[0, 0]
        maps.append(large.flip(-1) if mirrored else large)
    return np.pad(((maps[0] + maps[1]) / 2).numpy(), 2)


@pytest.mark.parametrize(
    "name, pool",
    [("small", "global"), ("resnet18", "global"), ("resnet18", "avg4"), ("vgg11", "global"), ("vgg11", "avg4")],
)
def test_batches_are_the_slow_loop(name, pool):
    classifier = random_network(name, pool)
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    classes = [2, 0, 6]
    cam = grad_cam(classifier, faces, classes, batch_size=2)
    assert cam.shape == (3, 48, 48) and cam.dtype == np.float32 and (cam >= 0).all() and cam.max() > 0
    for face, c, fast in zip(faces, classes, cam, strict=True):
        wanted = slow(classifier, face, c)
        assert np.abs(fast - wanted).max() <= 1e-4 * np.abs(cam).max()


def test_what_the_older_pooling_leaves_out_is_zero():
    """Of 6x6 cells the last two rows reach no classifier; between mirror images, every column reaches it once."""
    classifier = random_network("resnet18", "avg4")
    cam = grad_cam(classifier, np.random.default_rng(0).integers(0, 256, (2, 48, 48), np.uint8), [1, 3])
    assert cam[:, 38:].max() == 0 < cam[:, :30].max()


class Bright(nn.Module):
    """Class 0 is what is bright, class 1 what is dark, both anywhere: the map is known."""

    def __init__(self):
        super().__init__()
        self.cells = nn.AvgPool2d(4)
        self.sign = nn.Conv2d(1, 2, 1, bias=False)
        self.sign.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)

    def forward(self, x):
        return self.sign(self.cells(x)).relu().mean((2, 3))


def test_it_lies_where_the_class_lies():
    face = np.full((48, 48), 128, np.uint8)  # 128 / 255 is a hair above the mean
    face[10:18, 6:14], face[30:38, 34:42] = 255, 0
    classifier = classifier_of(Bright())
    bright, dark = grad_cam(classifier, np.stack([face, face]), [0, 1])
    for cam, rows, columns in ((bright, (10, 18), (6, 14)), (dark, (30, 38), (34, 42))):
        y, x = np.unravel_index(cam.argmax(), cam.shape)
        assert rows[0] <= y < rows[1] and columns[0] <= x < columns[1]
        inside = cam[rows[0] - 3 : rows[1] + 3, columns[0] - 3 : columns[1] + 3].sum()
        assert inside > 0.9 * cam.sum()


def test_hiding_what_it_points_at_costs_more_than_hiding_what_it_does_not(faces_file):
    """The weights of the project on drawn faces: a fifth of the face goes, once the strongest and once the weakest."""
    from datasets.storage import read_faces
    from engine.predict import classifier_probabilities

    classifier = load_classifier(WEIGHTS)
    pixels = read_faces(faces_file).splits["PublicTest"].pixels
    before = classifier_probabilities(classifier, pixels, "center")
    classes = before.argmax(1)
    cam = grad_cam(classifier, pixels, classes)[:, 2:46, 2:46]
    lost = []
    for sign in (-1, 1):
        hidden = pixels.copy()
        for face, order in zip(hidden, (sign * cam).reshape(len(cam), -1).argsort(1, kind="stable"), strict=True):
            rows, columns = np.unravel_index(order[: order.size // 5], cam.shape[1:])
            face[rows + 2, columns + 2] = face.mean()
        after = classifier_probabilities(classifier, hidden, "center")
        each = np.arange(len(classes))
        lost.append((before[each, classes] - after[each, classes]).mean())
    assert lost[0] > 1.5 * max(lost[1], 0.02)


def test_a_network_without_maps_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(CROP * CROP, 7))
    with pytest.raises(ValueError, match="--explain occlusion"):
        grad_cam(classifier_of(model), np.zeros((1, 48, 48), np.uint8), [0])
    assert COARSEST == 4


def test_visualize_draws_it(tmp_path, capsys):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)).save(tmp_path / "face.png")
    args = ["--image", str(tmp_path / "face.png"), "--device", "cpu", "--views", "center"]
    sizes = []
    for explain in (["--explain", "gradcam"], ["--no-explain"]):
        (image,) = visualize.main([*args, *explain, "--output", str(tmp_path / "out.png")])
        with Image.open(tmp_path / "out.png") as figure:
            sizes.append(figure.width)
    assert sizes[0] > sizes[1] + 300 and len(image["faces"]) == 1
    with pytest.raises(SystemExit):
        visualize.main([*args, "--explain", "tealeaves"])
    assert "occlusion" in capsys.readouterr().err
