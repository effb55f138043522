"""Test views and `predict` against slow references: one PIL image, one view, one forward pass at a time."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn
from torchvision import transforms

from datasets.views import VIEWS, make_views
from engine.predict import predict


def random_faces(n, size=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size), np.uint8)


def slow_views(name, face, crop):
    """The crops of one face as a list of uint8 arrays, cut out by PIL."""
    size = face.shape[0]
    last, middle = size - crop, int(round((size - crop) / 2))
    corners = [
        (0, 0),
        (last, 0),
        (0, last),
        (last, last),
    ]  # x, y: top left, top right, bottom left, bottom right

    def cut(image, x, y):
        return np.asarray(image.crop((x, y, x + crop, y + crop)))

    image = Image.fromarray(face)
    mirrored = ImageOps.mirror(image)
    if name == "center":
        return [cut(image, middle, middle)]
    if name == "scales":
        views = []
        for side in (round(crop / 1.1), crop, min(round(crop * 1.1), size)):
            start = int(round((size - side) / 2))
            views.append(slow_resized(face[start : start + side, start : start + side], crop))
        return views + [np.fliplr(view) for view in views]
    if name == "flip":
        return [cut(image, middle, middle), np.fliplr(cut(image, middle, middle))]
    five = [cut(image, *at) for at in [*corners, (middle, middle)]]
    return five if name == "five" else five + [cut(mirrored, *at) for at in [*corners, (middle, middle)]]


def slow_resized(image, side):
    """Bilinear, a pixel at a time: each takes from the four pixels around its center's place in the image."""
    n = len(image)
    out = np.empty((side, side))
    for row, column in np.ndindex(side, side):
        y, x = (np.clip((at + 0.5) * n / side - 0.5, 0, n - 1) for at in (row, column))
        top, left = int(y), int(x)
        bottom, right = min(top + 1, n - 1), min(left + 1, n - 1)
        dy, dx = y - top, x - left
        upper = (1 - dx) * image[top, left] + dx * image[top, right]
        lower = (1 - dx) * image[bottom, left] + dx * image[bottom, right]
        out[row, column] = (1 - dy) * upper + dy * lower
    return out


@pytest.mark.parametrize("crop", [48, 44, 43, 40])
@pytest.mark.parametrize("name", VIEWS)
def test_views_and_their_order(name, crop):
    faces = random_faces(3)
    x = make_views(name, crop, channels=1, mean=0.5, std=0.25)(torch.as_tensor(faces))
    count = {"center": 1, "flip": 2, "five": 5, "ten": 10, "scales": 6}[name]
    assert x.shape == (3, count, 1, crop, crop) and x.dtype == torch.float32
    for face, views in zip(faces, x, strict=True):
        slow = slow_views(name, face, crop)
        assert len(slow) == len(views)
        for wanted, found in zip(slow, views, strict=True):
            assert np.allclose(found[0].numpy(), (wanted / 255 - 0.5) / 0.25, atol=1e-5 if name == "scales" else 1e-6)


def test_ten_crop_is_torchvisions():
    face = random_faces(1)[0]
    crops = transforms.TenCrop(44)(Image.fromarray(face))  # what older FER2013 repositories call, image by image
    wanted = torch.stack([transforms.ToTensor()(crop) for crop in crops])
    assert torch.equal(make_views("ten", 44)(torch.as_tensor(face[None]))[0], wanted)


def test_channels_are_equal():
    x = make_views("five", 40, channels=3)(torch.as_tensor(random_faces(2)))
    assert x.shape == (2, 5, 3, 40, 40)
    assert torch.equal(x[:, :, 0], x[:, :, 1]) and torch.equal(x[:, :, 0], x[:, :, 2])


def test_views_refuse():
    with pytest.raises(ValueError, match="unknown views 'twelve'; there are center, flip, five, ten, scales"):
        make_views("twelve", 44)
    with pytest.raises(ValueError, match="a crop of 49 pixels does not fit"):
        make_views("ten", 49)(torch.as_tensor(random_faces(1)))


def network(channels=1, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(channels, 8, 5, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Linear(72, 7),
    )
    net[1].running_mean.normal_(0, 0.1)
    net[1].running_var.uniform_(0.5, 2)
    return net


def slow_predict(net, faces, name, crop, channels, mean, std):
    net = net.eval()
    rows = []
    for face in faces:
        logits = []
        for view in slow_views(name, face, crop):
            x = torch.as_tensor((view / 255 - mean) / std, dtype=torch.float32).expand(1, channels, crop, crop)
            logits.append(net(x)[0].detach().numpy())
        rows.append(np.mean(logits, 0))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("name", "crop", "channels"),
    [("center", 48, 1), ("flip", 44, 3), ("ten", 44, 1), ("five", 41, 1), ("scales", 44, 1)],
)
def test_predict_agrees_with_the_slow_loop(name, crop, channels):
    net, faces = network(channels), random_faces(7)
    views = make_views(name, crop, channels, 0.508, 0.255)
    logits = predict(net, faces, views)
    assert logits.shape == (7, 7) and logits.dtype == torch.float32 and logits.device.type == "cpu"
    assert np.allclose(logits, slow_predict(net, faces, name, crop, channels, 0.508, 0.255), atol=1e-5)


@pytest.mark.parametrize("name", ["center", "ten"])
def test_predict_does_not_depend_on_the_batch_size(name):
    net, faces, views = network(), random_faces(23), make_views(name, 44)
    wanted = predict(net, faces, views)
    for batch_size in (1, 7, 10, 64, 10_000):
        assert torch.allclose(predict(net, faces, views, batch_size), wanted, atol=1e-5), batch_size
    assert torch.allclose(predict(net, torch.as_tensor(faces)[5:6], views), wanted[5:6], atol=1e-5)


def test_batches_are_counted_in_views():
    seen = []

    class Watched(nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x.flatten(1))

    predict(Watched(44 * 44, 2), random_faces(9), make_views("ten", 44), batch_size=45)
    assert max(seen) == 40 and sum(seen) == 90


def test_predict_leaves_the_network_as_it_was():
    net, faces, views = network(), random_faces(4), make_views("flip", 44)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    first = predict(net.train(), faces, views)
    assert net.training  # and yet without dropout:
    assert torch.equal(first, predict(net.eval(), faces, views)) and not net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not first.requires_grad


def test_amp_is_near_float32():
    net, faces, views = network(), random_faces(12), make_views("ten", 44, 1, 0.5, 0.25)
    exact, fast = predict(net, faces, views), predict(net, faces, views, amp=True)
    assert fast.dtype == torch.float32 and not torch.equal(exact, fast)
    assert (exact - fast).abs().max() < 0.03 * exact.abs().max()


def test_predict_of_nothing():
    assert len(predict(network(), random_faces(0), make_views("ten", 44))) == 0
