"""The moving average of the weights against its formula, and the groups that weight decay works on."""

import pytest
import torch
from torch import nn

from engine.build import build_optimizer
from engine.recipes import make_recipe
from engine.state import Average, TrainState


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).double()


def test_average_follows_the_formula_weights_and_statistics_alike(network):
    average = Average(network, decay=0.6)
    expected = {name: t.clone() for name, t in network.state_dict().items()}
    for n in range(9):
        network(torch.randn(8, 1, 4, 4, dtype=torch.float64))  # moves the statistics
        with torch.no_grad():
            for p in network.parameters():
                p.add_(torch.randn_like(p))
        average.update()
        decay = min(0.6, (1 + n) / (10 + n)) if n else 0  # the first step takes the weights as they are
        for name, t in network.state_dict().items():
            if t.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * t
    got = average.module.state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var", "3.weight"):
        torch.testing.assert_close(got[name], expected[name])
    assert average.steps == 9
    assert not average.module.training and not any(p.requires_grad for p in average.module.parameters())
    assert network.training and all(p.requires_grad for p in network.parameters())


def test_only_matrices_are_decayed_unless_everything_is(network):
    def decayed(**options) -> list[int]:
        groups = build_optimizer(network, make_recipe("default", options)).param_groups
        return [p.ndim for group in groups if group["weight_decay"] for p in group["params"]]

    assert decayed() == [4, 2]
    assert sorted(decayed(decay_all=True)) == [1, 1, 1, 1, 2, 4]


def steps(optimizer: torch.optim.Optimizer, network: nn.Module, rates: list[float]) -> torch.Tensor:
    """Takes steps of these learning rates; the first weight after them."""
    state = TrainState(network, None, optimizer)
    for lr in rates:
        for p in network.parameters():
            p.grad = torch.ones_like(p)
        state.set_learning_rate(lr)
        optimizer.step()
    return network[0].weight.detach().clone()


def test_a_learning_rate_in_a_tensor_does_what_a_number_does():
    results = []
    for lr in (0.1, torch.tensor(0.1)):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 3))
        optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, fused=True)
        results.append(steps(optimizer, network, [0.5, 0.25]))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_a_gpus_checkpoint_goes_on_on_a_cpu_with_the_cpus_own_settings(name):
    network = nn.Sequential(nn.Conv2d(1, 4, 3))
    recipe = make_recipe("default", {"optimizer": name, "ema": 0.0})
    state = TrainState(network, None, build_optimizer(network, recipe))
    steps(state.optimizer, network, [0.1])
    saved = state.state_dict()
    assert all(type(group["lr"]) is float for group in saved["optimizer"]["param_groups"])
    for group in saved["optimizer"]["param_groups"]:  # as a GPU's optimizer has them
        group.update(fused=True, **({"capturable": True} if name == "adamw" else {}))
    again = TrainState(network, None, build_optimizer(network, recipe))
    again.load_state_dict(saved, "last.pt")
    assert not any(group.get("capturable") for group in again.optimizer.param_groups)
    steps(again.optimizer, network, [0.1])
