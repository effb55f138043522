"""Muon against a plain form of it, matrix by matrix, and its AdamW part against PyTorch's."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from engine.compiled import CapturedStep
from engine.muon import BETA2, EPSILON, ITERATIONS, POLYNOMIAL, SIZE, Muon, iterated, orthogonal
from engine.state import TrainState
from models.build import build_model

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (4, 16, 32), (1, 1, 9)])
def test_singular_values_are_near_one_and_directions_stay(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0)).double()
    found = orthogonal(matrices)
    for before, after in zip(matrices, found, strict=True):
        u, _, v = torch.linalg.svd(before, full_matrices=False)
        in_its_basis = u.T @ after @ v.T  # diagonal: the same singular vectors in the same order
        values = in_its_basis.diag()
        torch.testing.assert_close(in_its_basis, values.diag(), atol=1e-6, rtol=0)
        assert values.min() > 0.6 and values.max() < 1.25
    torch.testing.assert_close(found, orthogonal(1e-4 * matrices))  # whatever the size of the gradient


@pytest.mark.parametrize("shape", [(2, 16, 16), (3, 64, 576), (2, 576, 64)])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-6])
def test_in_float32_the_product_of_polynomials_is_the_iteration(shape, smallest):
    u, _, vh = torch.linalg.svd(torch.randn(shape, generator=torch.Generator().manual_seed(0)), full_matrices=False)
    values = torch.logspace(0, np.log10(smallest), min(shape[1:]))
    matrices = (u * values) @ vh
    wide = matrices.double() if shape[1] <= shape[2] else matrices.double().mT
    expected = iterated(wide / wide.norm(dim=(1, 2), keepdim=True))
    expected = expected if shape[1] <= shape[2] else expected.mT
    torch.testing.assert_close(orthogonal(matrices).double(), expected, atol=5e-4, rtol=0)


def test_a_matrix_of_zeros_stays_one():
    assert not orthogonal(torch.zeros(2, 3, 4)).any()


def network() -> nn.Sequential:
    """Two filter banks of one shape, and one of another."""
    torch.manual_seed(0)
    banks = [nn.Conv2d(2, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)]
    return nn.Sequential(*banks, nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(3))


def gradients(model: nn.Module, seed: int) -> None:
    """The same for every copy of a network."""
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.grad = torch.randn(p.shape, generator=rng).to(p.device)


def plain_orthogonal(matrix: np.ndarray) -> np.ndarray:
    a, b, c = POLYNOMIAL
    x = matrix / np.linalg.norm(matrix)
    for _ in range(ITERATIONS):
        s = x @ x.T
        x = a * x + b * s @ x + c * s @ s @ x
    return x


@pytest.mark.parametrize("decay_all", [False, True])
def test_steps_are_those_of_a_plain_loop(decay_all):
    model, other = network(), network()
    model(torch.zeros(1, 2, 10, 10)), other(torch.zeros(1, 2, 10, 10))
    other.load_state_dict(model.state_dict())
    optimizer = Muon(model.parameters(), 0.02, momentum=0.8, weight_decay=0.1, decay_all=decay_all)
    names = [name for name, _ in model.named_parameters()]
    values = {name: p.detach().numpy().astype(np.float64) for name, p in model.named_parameters()}
    banks = {"0.weight", "1.weight", "2.weight"}
    averages = {name: np.zeros_like(value) for name, value in values.items()}
    adam = torch.optim.AdamW(
        [
            {"params": [other[5].weight]},
            {
                "params": [p for p in other.parameters() if p.ndim == 1],
                "weight_decay": 0.1 if decay_all else 0.0,
            },
        ],
        0.02,
        betas=(0.8, BETA2),
        eps=EPSILON,
        weight_decay=0.1,
    )
    for step in range(3):
        gradients(model, step), gradients(other, step)
        for name in banks:
            gradient = model.get_parameter(name).grad.numpy().astype(np.float64)
            averages[name] = 0.8 * averages[name] + 0.2 * gradient
            ahead = 0.8 * averages[name] + 0.2 * gradient
            update = plain_orthogonal(ahead.reshape(len(ahead), -1)).reshape(ahead.shape)
            longest = max(len(ahead), ahead[0].size)
            values[name] = values[name] * (1 - 0.02 * 0.1) - 0.02 * SIZE * longest**0.5 * update
        optimizer.step(), adam.step()
    for name in names:
        expected = torch.tensor(values[name]).float() if name in banks else other.get_parameter(name).detach()
        torch.testing.assert_close(model.get_parameter(name).detach(), expected, atol=2e-5, rtol=1e-4)


def test_a_tensor_is_a_learning_rate_too():
    ends = []
    for lr in (0.02, torch.tensor(0.02)):
        model = network()
        model(torch.zeros(1, 2, 10, 10))
        optimizer = Muon(model.parameters(), lr, weight_decay=0.1)
        for step in range(2):
            gradients(model, step)
            optimizer.step()
            lr = lr.mul_(0.5) if isinstance(lr, torch.Tensor) else lr * 0.5
            for group in optimizer.param_groups:
                group["lr"] = lr
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("name", ["small", "resnet18", "vgg19", "timm:resnet10t"])
def test_the_last_layer_is_the_classifier(name):
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    model = build_model(name, 7)
    hidden, last, _ = Muon(model.parameters(), 0.1).param_groups
    assert hidden["orthogonal"] and all(p.ndim == 4 for p in hidden["params"])
    assert [p.shape[0] for p in last["params"]] == [7] and not last["orthogonal"]


class StandIn:
    """For a CUDA graph, where there is no GPU: a step that is taken while it records reads its gradients from the same
    tensors whenever it is replayed."""

    recording: "StandIn | None" = None

    def __enter__(self) -> None:
        StandIn.recording = self

    def __exit__(self, *_) -> None:
        StandIn.recording = None

    def replay(self) -> None:
        own = [p.grad for p in self.parameters]
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
        self.step()
        for p, gradient in zip(self.parameters, own, strict=True):
            p.grad = gradient


def step_or_record(optimizer: Muon, step=Muon.step) -> None:
    graph = StandIn.recording
    if graph is None:
        return step(optimizer)
    graph.parameters = [p for group in optimizer.param_groups for p in group["params"]]
    graph.gradients, graph.step = [p.grad for p in graph.parameters], lambda: step(optimizer)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_captured_step_is_the_step(device, monkeypatch):
    """With other gradients and another learning rate every time, and after the optimizer's state was loaded."""
    if device == "cpu":
        monkeypatch.setattr(torch.cuda, "CUDAGraph", StandIn)
        monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph)
        monkeypatch.setattr(Muon, "step", step_or_record)
    ends = []
    for captured in (False, True):
        model = network()
        model(torch.zeros(1, 2, 10, 10))
        model.to(device, memory_format=torch.channels_last)
        lr = torch.tensor(0.02, device=device)
        optimizer = Muon(model.parameters(), lr, weight_decay=0.1)
        state = TrainState(model, None, optimizer, CapturedStep(optimizer) if captured else None)
        for number in range(8):
            gradients(model, number)
            state.set_learning_rate(0.02 / (1 + number))
            state.step()
            assert not captured or (state.captured.graph is None) == (number in (0, 4))
            if number == 3:
                state.load_state_dict(deepcopy(state.state_dict()), "itself")
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends, rtol=0, atol=0 if device == "cpu" else 1e-4)


def test_the_number_of_steps_of_an_older_checkpoint_is_taken_over():
    """It was an int."""
    ends = []
    for old in (False, True):
        model = network()
        model(torch.zeros(1, 2, 10, 10))
        optimizer = Muon(model.parameters(), 0.02)
        gradients(model, 0)
        optimizer.step()
        state = deepcopy(optimizer.state_dict())
        for known in state["state"].values():
            if old and "steps" in known:
                known["steps"] = int(known["steps"])
        optimizer.load_state_dict(state)
        gradients(model, 1)
        optimizer.step()
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends, rtol=0, atol=0)
