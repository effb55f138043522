"""Shapes, sizes and names of the networks."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from models import MODELS, model_name
from models.build import BUILDERS, build_model
from models.vgg import Conv3x3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("channels,classes,side", [(1, 7, 44), (3, 8, 48)])
def test_faces_become_logits_and_every_parameter_gets_a_gradient(name, channels, classes, side):
    torch.manual_seed(0)
    model = build_model(name, classes, channels, dropout=0.3)
    logits = model(torch.rand(2, channels, side, side))
    assert logits.shape == (2, classes) and torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


# Parameters of the same networks as they are usually written for 32x32 inputs, less what differs in the
# first convolution (one channel) and the last layer (7 classes).
@pytest.mark.parametrize(
    "name,parameters",
    [("resnet18", 11_171_271), ("resnet34", 21_279_431), ("vgg16", 14_725_575), ("vgg19", 20_037_831)],
)
def test_parameter_counts(name, parameters):
    assert sum(p.numel() for p in build_model(name).parameters()) == parameters


def test_small_is_small():
    model = build_model("small").eval()
    assert sum(p.numel() for p in model.parameters()) <= 1.5e6
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 44, 44))
    assert counter.get_total_flops() / 2 <= 0.12e9


def test_parameter_names_are_the_familys():
    resnet, vgg = build_model("resnet18").state_dict(), build_model("vgg19").state_dict()
    for name in ("conv1.weight", "bn1.running_mean", "layer2.0.shortcut.0.weight", "layer4.1.bn2.bias", "linear.bias"):
        assert name in resnet
    for name in (
        "features.0.weight",
        "features.0.bias",
        "features.1.running_var",
        "features.49.weight",
        "classifier.bias",
    ):
        assert name in vgg
    assert "layer3.5.conv3.weight" in build_model("resnet50").state_dict()


@pytest.mark.parametrize("side,cells", [(44, 6), (40, 5)])
def test_avg4_sees_only_the_upper_left_of_the_last_map(side, cells):
    """The older repositories' pooling: 4x4 cells of the 6x6 or 5x5 map, the others have no influence."""
    model = build_model("resnet18", pool="avg4").eval()
    maps = []
    model.layer4.register_forward_hook(lambda module, inputs, output: maps.append(output))
    logits = model(torch.rand(1, 1, side, side))
    assert maps[0].shape[-2:] == (cells, cells)
    torch.testing.assert_close(logits, model.linear(maps[0][:, :, :4, :4].mean((2, 3))))


def test_dropout_acts_in_training_only():
    model = build_model("small", dropout=0.5)
    x = torch.rand(4, 1, 44, 44)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="resnet18"):
        build_model("resnet19")
    with pytest.raises(ValueError, match="vgg19"):
        model_name("VGG20")
    assert model_name("VGG19") == "vgg19" and model_name("timm:Some_Name") == "timm:Some_Name"


def test_timm_models():
    pytest.importorskip("timm")
    assert build_model("timm:resnet10t", 7, 1, dropout=0.1)(torch.rand(2, 1, 48, 48)).shape == (2, 7)
    with pytest.raises(ValueError, match="no_such_net"):
        build_model("timm:no_such_net")
    with pytest.raises(ValueError, match="global pooling only"):
        build_model("small", pool="avg4")
    with pytest.raises(ValueError, match="avg4"):
        build_model("timm:resnet10t", pool="avg4")


@pytest.mark.parametrize("h,w", [(1, 1), (2, 2), (3, 3), (1, 5), (4, 4)])
def test_convolution_of_vgg_is_a_convolution_at_every_size(h, w):
    torch.manual_seed(0)
    ours = Conv3x3(8, 5).double()
    x = torch.randn(3, 8, h, w, dtype=torch.float64, requires_grad=True)
    out = ours(x)
    expected = F.conv2d(x, ours.weight, ours.bias, padding=1)
    torch.testing.assert_close(out, expected)
    towards = torch.randn_like(out)
    got = torch.autograd.grad(out, (x, *ours.parameters()), towards)
    torch.testing.assert_close(got, torch.autograd.grad(expected, (x, *ours.parameters()), towards))


def test_every_name_builds_a_network():
    assert set(BUILDERS) == set(MODELS)
