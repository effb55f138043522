"""Muon, the optimizer that makes every filter bank's update orthogonal: few epochs with it do what many do with SGD."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch

from utils.device import bfloat16_pays

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # a, b, c of Jordan's iteration x <- (a + b s + c s s) x, where s = x x^T
ITERATIONS = 5
SIZE = 0.2  # root mean square of an update, as AdamW's have it, at a learning rate of 1
BETA2, EPSILON = 0.999, 1e-8  # of AdamW


class Muon(torch.optim.Optimizer):
    """Muon for the weights of hidden layers, and AdamW for the last layer's and for what has one dimension.

    Jordan et al., https://kellerjordan.github.io/posts/muon, 2024. A convolution's weights (out, in, h, w) are a matrix
    (out, h w in), and updates have the size of AdamW's (Liu et al., arXiv:2502.16982), so that both parts share a
    learning rate and a decoupled weight decay. torch.optim.Muon takes matrices alone.

    parameters: of a network, the last layer at the end. lr: a float, or a tensor on the parameters' device, which may
    be changed between steps. momentum: of Muon (Nesterov), and the first beta of AdamW. decay_all: weight decay also on
    biases and normalisation.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float | torch.Tensor,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        decay_all: bool = False,
    ) -> None:
        parameters = list(parameters)
        weights = [p for p in parameters if p.ndim > 1]
        groups = [
            {"params": weights[:-1], "orthogonal": True},
            {"params": weights[-1:]},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": weight_decay if decay_all else 0.0},
        ]
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "orthogonal": False}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Change all parameters that have a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                updates = (self._muon if group["orthogonal"] else self._adam)(params, group["momentum"])
                torch._foreach_mul_(updates, group["lr"])
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(params, updates)

    def _muon(self, params: Sequence[torch.Tensor], momentum: float) -> list[torch.Tensor]:
        """Updates for a learning rate of 1; matrices of one shape are made orthogonal together."""
        averages, grads = self._kept("momentum", params), [p.grad for p in params]
        torch._foreach_lerp_(averages, grads, 1 - momentum)
        ahead = list(torch._foreach_lerp(grads, averages, momentum))
        same = defaultdict(list)
        for i, update in enumerate(ahead):
            same[update.shape].append(i)
        for shape, places in same.items():
            # with the channels last, as they lie in memory; the order of a matrix's columns changes nothing
            matrices = torch.stack([ahead[i].movedim(1, -1).flatten(1) for i in places])
            matrices = orthogonal(matrices) * (SIZE * max(matrices.shape[1:]) ** 0.5)
            for i, matrix in zip(places, matrices, strict=True):
                ahead[i] = matrix.view(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
        return ahead

    def _adam(self, params: Sequence[torch.Tensor], beta1: float) -> list[torch.Tensor]:
        """Updates for a learning rate of 1."""
        grads = [p.grad for p in params]
        averages, squares = self._kept("momentum", params), self._kept("squares", params)
        steps = self._steps(params)
        torch._foreach_add_(steps, 1)
        n = steps[0]
        torch._foreach_lerp_(averages, grads, 1 - beta1)
        torch._foreach_mul_(squares, BETA2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - BETA2)
        sizes = torch._foreach_sqrt(squares)
        torch._foreach_div_(sizes, (1 - BETA2**n).sqrt())
        torch._foreach_add_(sizes, EPSILON)
        updates = torch._foreach_div(averages, sizes)
        torch._foreach_div_(updates, 1 - beta1**n)
        return list(updates)

    def _steps(self, params: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """How many were taken, of every parameter: tensors where the parameters are, for a CUDA graph to count on."""
        for p in params:
            steps = self.state[p].get("steps", 0)
            if not isinstance(steps, torch.Tensor):  # as checkpoints of older versions have it
                self.state[p]["steps"] = torch.tensor(float(steps), device=p.device)
        return [self.state[p]["steps"] for p in params]

    def _kept(self, name: str, params: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """What is remembered of every parameter under a name; zeros to begin with."""
        for p in params:
            if name not in self.state[p]:
                self.state[p][name] = torch.zeros_like(p)
        return [self.state[p][name] for p in params]


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """(b, m, n) -> the same, with singular values of about 1; in float32 0.68 to 1.14 were measured.

    Newton-Schulz iteration: every step multiplies by a polynomial in x x^T. On a CPU these polynomials, which are small
    where a matrix is long, are multiplied first; in bfloat16, which GPUs use where they have it, rounding would spoil
    that. Singular values below a hundredth of the largest stay smaller.
    """
    half = matrices.is_cuda and bfloat16_pays(matrices.device)
    x = matrices.bfloat16() if half else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    x = x.mT if matrices.shape[1] > matrices.shape[2] else x  # products of the smaller side
    x = iterated(x) if half else product_of_polynomials(x @ x.mT) @ x
    return (x.mT if matrices.shape[1] > matrices.shape[2] else x).to(matrices.dtype)


def iterated(x: torch.Tensor) -> torch.Tensor:
    """Newton-Schulz iteration step by step: (b, m, n) of norm 1 and below -> the same."""
    a, b, c = POLYNOMIAL
    for _ in range(ITERATIONS):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return x


def product_of_polynomials(s: torch.Tensor) -> torch.Tensor:
    """What the iteration multiplies x by altogether, from s = x x^T (b, m, m), which a step takes to q s q."""
    a, b, c = POLYNOMIAL
    product = None
    for left in reversed(range(ITERATIONS)):
        q = torch.baddbmm(s, s, s, beta=b, alpha=c)
        q.diagonal(dim1=1, dim2=2).add_(a)
        product = q if product is None else q @ product
        s = q @ s @ q if left else s
    return product
