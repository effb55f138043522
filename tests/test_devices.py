"""Training in other precisions, compiled and on a GPU: the same losses, and nothing waits for the device on the way."""

import warnings

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from datasets.storage import read_faces
from datasets.train_val import limited, train_val_split
from engine.build import Setup, build_setup
from engine.config import RunConfig
from engine.loop import train_epoch, validate
from engine.recipes import Recipe, make_recipe
from utils.device import bfloat16_pays

STEPS = 20
needs_bfloat16 = pytest.mark.skipif(not bfloat16_pays(torch.device("cpu")), reason="this CPU has no bfloat16")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def setup(
    faces_file, device: str, amp: bool, compiled: bool | None = False, batch_size: int = 16, faces: int = 320, **options
) -> tuple[Setup, Recipe]:
    """What train.py builds, with a learning rate that the precision does not decide the outcome of."""
    recipe = make_recipe("smoke", {"batch_size": batch_size, "lr": 0.005, "epochs": 1, **options})
    config = RunConfig(faces_file, recipe=recipe, device=device, amp=amp, compile=compiled)
    return build_setup(config, limited(train_val_split(read_faces(faces_file)), faces)), recipe


def mean_loss(faces_file, device: str, amp: bool, compiled: bool) -> float:
    """Mean training loss of the first 20 steps."""
    ready, recipe = setup(faces_file, device, amp, compiled)
    assert len(ready.loader) == STEPS
    return train_epoch(ready.state, ready.loss_of, ready.loader, recipe)["train_loss"]


@pytest.fixture(scope="module")
def exact_loss(faces_file) -> float:
    """Of float32 on the CPU, which the others are held against."""
    return mean_loss(faces_file, "cpu", amp=False, compiled=False)


@pytest.mark.filterwarnings("default")  # the compiler has its own
@pytest.mark.parametrize(
    ("device", "amp", "compiled"),
    [
        # Without bfloat16 in hardware, a CPU takes minutes for these steps
        pytest.param("cpu", True, False, marks=needs_bfloat16),
        *[pytest.param("cuda", amp, compiled, marks=needs_gpu) for amp in (False, True) for compiled in (False, True)],
    ],
)
def test_losses_agree_with_float32_on_the_cpu(faces_file, exact_loss, device, amp, compiled):
    assert mean_loss(faces_file, device, amp, compiled) == pytest.approx(exact_loss, rel=0.01)


class Waits(TorchDispatchMode):
    """Counts what would wait for a GPU: reading values back, and operations whose result's size is a value."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.count = 0
        for name in ("tolist", "cpu", "numpy"):  # those that are no operation of their own on a CPU
            monkeypatch.setattr(torch.Tensor, name, self.counted(getattr(torch.Tensor, name)))

    def counted(self, method):
        def call(*args, **kwargs):
            self.count += 1
            return method(*args, **kwargs)

        return call

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masked = name in ("index", "index_put", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        self.count += masked or name in (
            *("_local_scalar_dense", "item", "is_nonzero", "equal"),
            *("nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "repeat_interleave"),
        )
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{}, {"mixup": 0.2, "cutmix": 1.0, "erase": 0.5, "five": True, "clip_norm": 1.0}])
def test_training_and_validation_are_read_back_once_each(faces_file, monkeypatch, options):
    faces = read_faces(faces_file).splits["PublicTest"]

    def waits(batch_size: int) -> tuple[int, int]:
        amp = bfloat16_pays(torch.device("cpu"))
        ready, recipe = setup(faces_file, "cpu", amp, batch_size=batch_size, faces=16, **options)
        pixels, labels = torch.as_tensor(faces.pixels), torch.as_tensor(faces.labels)
        with monkeypatch.context() as patches, Waits(patches) as counter:
            train_epoch(ready.state, ready.loss_of, ready.loader, recipe)
            of_training = counter.count
            validate(ready.state.tested, pixels, labels, ready.views, ready.amp)
        return of_training, counter.count - of_training

    assert waits(4) == waits(8) == (1, 1)


@needs_gpu
@pytest.mark.filterwarnings("default")
def test_an_epoch_waits_for_the_gpu_once_however_long_it_is(faces_file):
    def waits(batch_size: int) -> int:
        ready, recipe = setup(faces_file, "cuda", True, None, batch_size=batch_size)
        epoch = (ready.state, ready.loss_of, ready.loader, recipe)
        train_epoch(*epoch)  # compiles
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                train_epoch(*epoch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchroniz" in str(one.message) for one in caught)

    assert waits(16) == waits(64) <= 2
