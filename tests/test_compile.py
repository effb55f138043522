"""The training step as one graph: no break, no second compilation, the same numbers, nothing that needs the host."""

import shutil
from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._subclasses import FakeTensorMode

from datasets.loader import Batch
from datasets.storage import read_faces
from datasets.train_val import TrainVal, limited, soften, train_val_split
from engine import compiled
from engine.build import build_loader, build_setup
from engine.config import RunConfig
from engine.loop import batch_loss, train_epoch
from engine.recipes import Recipe, make_recipe
from models.build import BUILDERS, build_model
from tests.faults.toy import Toy

pytestmark = pytest.mark.filterwarnings("default")  # the compiler has its own


@pytest.fixture(autouse=True)
def nothing_compiled():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def recipe_of(**options) -> Recipe:
    return make_recipe("smoke", {"epochs": 2, "batch_size": 4, **options})


def faces(faces_file, softened: bool = False) -> TrainVal:
    """Eight faces to train on: two batches of four."""
    part = train_val_split(read_faces(faces_file))
    if softened:
        n = len(part.train_pixels)
        flat = np.full((n, len(part.class_names)), 1 / len(part.class_names))
        part = soften(part, np.arange(n), part.train_targets, flat, part.class_names, 0.5)
    return limited(part, 8)


def two_epochs(faces_file, recipe: Recipe, backend=None, softened: bool = False) -> tuple[list[float], torch.Tensor]:
    """Losses of two epochs, and a weight after them; compiled where there is a backend."""
    config = RunConfig(faces_file, recipe=recipe, device="cpu", amp=False, compile=False)
    setup = build_setup(config, faces(faces_file, softened))
    loss_of = setup.loss_of
    if backend:
        function = torch.compile(batch_loss, fullgraph=True, dynamic=False, backend=backend)
        loss_of = partial(function, setup.network, setup.loader, recipe, False)
    losses, rates = [], set()
    for epoch in range(recipe.epochs):
        torch.manual_seed(epoch)
        row = train_epoch(setup.state, loss_of, setup.loader, recipe)
        setup.state.finish_epoch({**row, "val_accuracy": 0.0}, counts=True)
        losses.append(row["train_loss"])
        rates.add(row["lr"])
    assert len(rates) == recipe.epochs, "the learning rate changes on the way"
    return losses, next(setup.state.tested.parameters()).detach()


EVERYTHING = {"mixup": 0.2, "cutmix": 1.0, "mix_off": 0.5, "erase": 0.5, "dropout": 0.3, "clip_norm": 1.0}


# "eager" runs the captured graph as it is; "aot_eager" also traces the gradient
@pytest.mark.parametrize(
    ("options", "backend", "graphs", "softened"),
    [
        ({"model": "small", **EVERYTHING}, "aot_eager", 1, False),
        ({"model": "small", "five": True, "mixup": 1.0}, "eager", 1, True),
        ({"model": "small", "ema": 0.0, "early_size": 32, "rotate": 0.0, "scale": 0.0}, "eager", 2, False),
        ({"model": "resnet18", "early_size": 32}, "eager", 2, False),
        ({"model": "vgg19", "early_size": 32}, "eager", 2, False),
    ],
)
def test_a_step_is_one_graph_a_size_of_batch(faces_file, options, backend, graphs, softened):
    """`fullgraph` makes an error of a break; the counter counts compilations."""
    recipe = recipe_of(**options)
    counter = CompileCounterWithBackend(backend)
    losses, weight = two_epochs(faces_file, recipe, counter, softened)
    assert counter.frame_count == graphs
    plain_losses, plain_weight = two_epochs(faces_file, recipe, None, softened)
    assert losses == pytest.approx(plain_losses, rel=1e-5)
    torch.testing.assert_close(weight, plain_weight, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="inductor needs a C compiler")
def test_the_default_compiler_gives_the_numbers_of_the_plain_step(faces_file, monkeypatch):
    """A toy network: the code that is made for larger ones takes minutes on a CPU."""
    monkeypatch.setitem(BUILDERS, "small", Toy)
    recipe = recipe_of(ema=0.9, mixup=0.2, rotate=0.0, scale=0.0)  # dropout would draw other random numbers
    losses, weight = two_epochs(faces_file, recipe, "inductor")
    plain_losses, plain_weight = two_epochs(faces_file, recipe)
    assert losses == pytest.approx(plain_losses, rel=1e-4)
    torch.testing.assert_close(weight, plain_weight, rtol=1e-3, atol=1e-5)


def test_folds_and_seeds_use_the_compiled_step_again(faces_file):
    """The next fit gets the network of the one before; its faces and its loader are others."""
    recipe, counter = recipe_of(epochs=1), CompileCounterWithBackend("eager")
    function = torch.compile(batch_loss, fullgraph=True, dynamic=False, backend=counter)
    setup = None
    for seed in (0, 1):
        config = RunConfig(faces_file, recipe=recipe, device="cpu", amp=False, compile=False, seed=seed)
        setup = build_setup(config, faces(faces_file), setup)
        loss_of = partial(function, setup.network, setup.loader, recipe, False)
        train_epoch(setup.state, loss_of, setup.loader, recipe)
    assert counter.frame_count == 1


@pytest.mark.parametrize("options", [EVERYTHING, {"five": True, "early_size": 32, "translate": 0.1, "rotate": 0.0}])
def test_a_step_on_a_gpu_would_need_nothing_of_the_host(faces_file, options):
    """Tensors without content stand in for a GPU's: reading a value, a size that is a value, or a tensor that was left
    on the CPU is an error with them."""
    recipe = recipe_of(**options)
    config = RunConfig(faces_file, recipe=recipe)
    loader = build_loader(config, faces(faces_file), torch.device("cpu"))
    pixels, targets, params = next(loader.batches(1))
    with FakeTensorMode() as mode, torch.device("cuda"), torch.no_grad():

        def on_gpu(tensor: torch.Tensor) -> torch.Tensor:
            return mode.from_tensor(tensor).to("cuda")

        batch = Batch(on_gpu(pixels), on_gpu(targets), {name: on_gpu(value) for name, value in params.items()})
        model = build_model(recipe.model, targets.shape[1], dropout=recipe.dropout).train()
        loss, accuracy = batch_loss(model, loader, recipe, False, batch, recipe.early_size)
        assert loss.device.type == accuracy.device.type == "cuda" and loss.shape == accuracy.shape == ()
        with pytest.raises(torch._subclasses.fake_tensor.DataDependentOutputException):
            loss.item()  # the stand-in does notice


class Compiler:
    """Stands in for torch.compile: what it makes fails when it is called, as it does without a C compiler."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, []

    def __call__(self, function, **kwargs):
        self.asked.append(kwargs)

        def compiled(*args):
            raise self.error

        return compiled


def test_without_a_compiler_training_goes_on_and_says_so(faces_file, monkeypatch):
    compiler = Compiler(RuntimeError("Failed to find C compiler. Please specify via CC environment variable.\nmore"))
    monkeypatch.setattr(torch, "compile", compiler)
    recipe = recipe_of()
    config = RunConfig(faces_file, recipe=recipe, device="cpu", amp=False, compile=True)
    setup = build_setup(config, faces(faces_file))
    assert compiler.asked[0]["fullgraph"] and setup.compute is batch_loss
    assert setup.how == "float32, not compiled, because that failed (Failed to find C compiler)"
    plain = build_setup(RunConfig(faces_file, recipe=recipe, device="cpu", amp=False), faces(faces_file))
    for ready in (setup, plain):
        torch.manual_seed(0)
        train_epoch(ready.state, ready.loss_of, ready.loader, recipe)
    states = [ready.state.model.state_dict() for ready in (setup, plain)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0]), "the trial leaves no trace"


def test_too_little_memory_is_no_reason_to_try_it_uncompiled(faces_file, monkeypatch):
    monkeypatch.setattr(torch, "compile", Compiler(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")))
    with pytest.raises(torch.OutOfMemoryError):
        build_setup(RunConfig(faces_file, recipe=recipe_of(), device="cpu", compile=True), faces(faces_file))


def test_a_mistake_in_the_loss_itself_is_not_taken_for_the_compilers(faces_file, monkeypatch):
    def wrong(*args):
        raise TypeError("of the loss")

    monkeypatch.setattr(compiled, "batch_loss", wrong)
    monkeypatch.setattr(torch, "compile", Compiler(RuntimeError("of the compiler")))
    with pytest.raises(TypeError, match="of the loss"):
        build_setup(RunConfig(faces_file, recipe=recipe_of(), device="cpu", compile=True), faces(faces_file))
