"""The networks of two older repositories, written from their description: float64, one face crop at a time or several.

Nothing here knows the project's models, views or adapters, which are tested against it. Weights are a flat dict.
"""

import torch
import torch.nn.functional as F

VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
VGG_WIDTHS = (64, 128, 256, 512, 512)
RESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def vgg_layers(depth):
    """(index of the convolution, width) with None for a pooling; a convolution, its norm and its ReLU count three."""
    layers, index = [], 0
    for count, width in zip(VGG_STAGES[depth], VGG_WIDTHS, strict=True):
        for _ in range(count):
            layers.append((index, width))
            index += 3
        layers.append(None)
        index += 1
    return layers


def resnet_blocks(depth):
    """(name, input channels, width, output channels, stride) of every block."""
    blocks, channels = [], 64
    grow = 4 if depth == 50 else 1
    for stage, count in enumerate(RESNET_BLOCKS[depth]):
        for number in range(count):
            width, stride = 64 * 2**stage, 2 if stage and not number else 1
            blocks.append((f"layer{stage + 1}.{number}", channels, width, grow * width, stride))
            channels = grow * width
    return blocks


def draw(family, depth, channels, x, outputs=7, seed=0):
    """float32 weights of a random network, in which the statistics of every normalisation are those that `x` gives."""
    g = torch.Generator().manual_seed(seed)
    w = {}

    def convolution(name, into, out, size, bias=False):
        w[f"{name}.weight"] = torch.randn(out, into, size, size, generator=g) * (2 / (into * size * size)) ** 0.5
        if bias:
            w[f"{name}.bias"] = torch.randn(out, generator=g) * 0.1

    def norm(name, width):
        w[f"{name}.weight"] = torch.rand(width, generator=g) * 0.5 + 0.75
        w[f"{name}.bias"] = torch.randn(width, generator=g) * 0.1
        w[f"{name}.running_mean"], w[f"{name}.running_var"] = torch.zeros(width), torch.ones(width)
        w[f"{name}.num_batches_tracked"] = torch.tensor(3)

    if family == "vgg":
        for layer in filter(None, vgg_layers(depth)):
            convolution(f"features.{layer[0]}", channels, layer[1], 3, bias=True)
            norm(f"features.{layer[0] + 1}", layer[1])
            channels = layer[1]
        last = "classifier"
    else:
        convolution("conv1", channels, 64, 3)
        norm("bn1", 64)
        for name, into, width, out, stride in resnet_blocks(depth):
            sizes = [(into, width, 1), (width, width, 3), (width, out, 1)]
            for number, (a, b, size) in enumerate(sizes if depth == 50 else [(into, width, 3), (width, out, 3)], 1):
                convolution(f"{name}.conv{number}", a, b, size)
                norm(f"{name}.bn{number}", b)
            if stride != 1 or into != out:
                convolution(f"{name}.shortcut.0", into, out, 1)
                norm(f"{name}.shortcut.1", out)
            channels = out
        last = "linear"
    w[f"{last}.weight"] = torch.randn(outputs, channels, generator=g) * (3 / channels) ** 0.5
    w[f"{last}.bias"] = torch.randn(outputs, generator=g) * 0.1
    run(family, depth, w, x, fit=True)
    return w


def run(family, depth, w, x, fit=False):
    """x float64 (n, c, h, w) -> logits float64 (n, classes), as at test time: without dropout."""
    x = x.double()

    def convolution(name, x, stride=1):
        weight, bias = w[f"{name}.weight"].double(), w.get(f"{name}.bias")
        return F.conv2d(x, weight, None if bias is None else bias.double(), stride, padding=weight.shape[-1] // 2)

    def norm(name, x):
        if fit:
            w[f"{name}.running_mean"], w[f"{name}.running_var"] = x.mean((0, 2, 3)).float(), x.var((0, 2, 3)).float()
        mean, var, weight, bias = (
            w[f"{name}.{part}"].double()[:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    if family == "vgg":
        for layer in vgg_layers(depth):
            if layer is None:
                x = F.max_pool2d(x, 2)
            else:
                x = norm(f"features.{layer[0] + 1}", convolution(f"features.{layer[0]}", x)).relu()
        assert x.shape[2:] == (1, 1)  # so that a 1x1 average pool and a view change nothing
        x, last = x[:, :, 0, 0], "classifier"
    else:
        x = norm("bn1", convolution("conv1", x)).relu()
        for name, into, _, out, stride in resnet_blocks(depth):
            y = x
            for number in (1, 2, 3) if depth == 50 else (1, 2):
                strided = number == (2 if depth == 50 else 1)
                y = norm(f"{name}.bn{number}", convolution(f"{name}.conv{number}", y, stride if strided else 1))
                y = y if number == (3 if depth == 50 else 2) else y.relu()
            if stride != 1 or into != out:
                x = norm(f"{name}.shortcut.1", convolution(f"{name}.shortcut.0", x, stride))
            x = (x + y).relu()
        assert x.shape[-1] in (5, 6)
        x, last = x[:, :, :4, :4].mean((2, 3)), "linear"  # 4x4 windows, stride 4, no padding: there is just one
    return x @ w[f"{last}.weight"].double().T + w[f"{last}.bias"].double()


def see(repository, pixels):
    """uint8 (n, h, w) -> float64 (n, c, h, w), what the repository's networks are given."""
    x = pixels[:, None].double() / 255
    return x.expand(-1, 3, -1, -1) if repository == "WuJie1010" else x / 255


def ten_crops(face, crop):
    """uint8 (h, w) -> (10, crop, crop): corners row by row and center, then those of the mirrored face."""
    far, middle = face.shape[0] - crop, (face.shape[0] - crop) // 2
    places = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
    return torch.stack([f[y : y + crop, x : x + crop] for f in (face, face.flip(-1)) for y, x in places])
