"""The training step as one graph (torch.compile, CUDA graphs), and plain where that does not work."""

import warnings
from collections.abc import Callable

import torch
from torch import nn

from datasets.loader import FaceLoader
from engine.loop import batch_loss
from engine.recipes import Recipe
from utils.device import first_line, out_of_memory

TRIES = 3  # steps of a trial: one compiles, the next one records its CUDA graphs, and one replays them

SHAPES = 64  # of batches: folds of a small set may each have another size

BatchLoss = Callable[..., tuple[torch.Tensor, torch.Tensor]]  # `engine.loop.batch_loss`, or that compiled


def prepare_loss(
    model: nn.Module, network: Callable, loader: FaceLoader, recipe: Recipe, amp: bool, compiled: bool
) -> tuple[BatchLoss, str]:
    """`batch_loss` as the run will call it, and in words how: compiled, or not and why.

    It is tried on every shape of batch that the run will have, so that what goes wrong does so before the first epoch.
    The weights are left as they were. Without a compiler nothing is tried on a CPU, where a step takes long.
    """
    shared = loader.share[1] > 1

    def trial(function: BatchLoss) -> None:
        kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.train()
        try:
            batch = next(loader.batches(0))
            for side in dict.fromkeys((recipe.early_size, 0)):
                for _ in range(TRIES if function is not batch_loss else 1):
                    model.zero_grad(set_to_none=True)
                    loss, _ = function(network, loader, recipe, amp, batch, side)
                    loss.backward()
        finally:
            model.zero_grad(set_to_none=True)
            model.load_state_dict(kept)

    reason = "not compiled"
    if compiled:
        warnings.filterwarnings("ignore", r"\s*Online softmax is disabled")  # of seven classes: nothing to speed up
        warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # --no-amp asks for float32
        # DistributedDataParallel is several graphs: the gradients of one travel while the next one runs
        graphs = loader.device.type == "cuda" and not shared
        torch._dynamo.config.recompile_limit = SHAPES
        function = torch.compile(
            batch_loss, fullgraph=not shared, dynamic=False, mode="reduce-overhead" if graphs else None
        )
        skipped = torch._dynamo.utils.counters["inductor"]["cudagraph_skips"]
        try:
            trial(function)
        except Exception as error:  # compilers fail in many ways
            if out_of_memory(error):
                raise
            reason = f"not compiled, because that failed ({first_line(error)})"
        else:
            graphs = graphs and torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == skipped
            return function, "compiled, CUDA graphs" if graphs else "compiled"
    if compiled or loader.device.type != "cpu":
        trial(batch_loss)
    return batch_loss, reason


class CapturedStep:
    """An optimizer's step as a CUDA graph, for one that launches so many small kernels that the GPU waits for them.

    Its first call is the step as it is, in which the optimizer makes its buffers; the second records the graph. What
    changes from step to step has to be in tensors on the GPU, as Muon's learning rate and number of steps are.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.forget()

    def forget(self) -> None:
        """Begin anew, because the optimizer's buffers are others now."""
        self.begun = False
        self.graph: torch.cuda.CUDAGraph | None = None
        self.parameters: list[torch.Tensor] = []
        self.gradients: list[torch.Tensor] = []  # where the graph reads them

    def __call__(self) -> None:
        """Take a step with the parameters' gradients."""
        if not self.begun:
            self.begun = True
            return self.optimizer.step()
        if self.graph is None:
            self._record()
        torch._foreach_copy_(self.gradients, [p.grad for p in self.parameters])
        self.graph.replay()

    def _record(self) -> None:
        """Nothing is computed yet."""
        own = {p: p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None}
        self.parameters, self.gradients = list(own), [torch.empty_like(gradient) for gradient in own.values()]
        for p, gradient in zip(self.parameters, self.gradients, strict=True):
            p.grad = gradient
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.optimizer.step()
        for p, gradient in own.items():
            p.grad = gradient
