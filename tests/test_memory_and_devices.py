"""Devices that are not there, and memory that does not suffice: one line, status 2, and a way on."""

import warnings

import pytest
import torch

import evaluate
import plot_confusion_matrix
import preprocess_fer2013
import train
import visualize
from engine import loop, saving
from engine.evaluation import testing
from models import WEIGHTS, checkpoint
from models.checkpoint import load_checkpoint
from utils import device as devices

TINY = ["--recipe", "smoke", "--batch-size", "32", "--device", "cpu", "--limit", "64", "--epochs", "2"]
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    MemoryError(),
]


def error_of(capsys, main, *flags) -> str:
    """The one line that a script ends with."""
    with pytest.raises(SystemExit) as stop:
        main([str(flag) for flag in flags])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count(".py: error: ") == 1 and "Traceback" not in error, error
    return error.splitlines()[-1]


def failing(error: Exception, after: int = 0, then=None):
    """A function that raises `error` when it is called for the (after + 1)-th time."""
    calls = []

    def function(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise error
        return then(*args, **kwargs)

    return function


@pytest.mark.parametrize("name", ["mps", "xpu", "meta", "hpu", "cuda", "cuda:9", "nonsense", "cpu:x"])
def test_a_device_that_is_not_there_is_one_line(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=f"--device {name}: not available here; this") as no:
        warnings.simplefilter("ignore")
        devices.pick_device(name)
    assert "sees cpu" in str(no.value) and "\n" not in str(no.value)


def test_every_script_says_so(faces_file, tmp_path, capsys):
    data = ["--data", faces_file, "--device", "meta"]
    for main, flags in (
        (train.main, [*data, "--output", tmp_path / "runs"]),
        (evaluate.main, ["--checkpoint", WEIGHTS, *data]),
        (plot_confusion_matrix.main, ["--checkpoint", WEIGHTS, *data, "--output", tmp_path / "matrix.png"]),
        (visualize.main, ["--device", "meta", "--output", tmp_path / "figure.png"]),
    ):
        assert "--device meta: not available here; this PyTorch sees" in error_of(capsys, main, *flags)
    assert not list(tmp_path.iterdir())


def test_an_old_driver_is_named_and_the_cpu_used(monkeypatch, capsys):
    def is_available():
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update your"
            " GPU driver (Triggered internally at CUDAFunctions.cpp:119.)",
            stacklevel=1,
        )
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    assert devices.pick_device("auto") == torch.device("cpu")
    said = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)"
    assert capsys.readouterr().err == f"no GPU is used: {said}\n"
    with pytest.raises(ValueError) as no:
        devices.pick_device("cuda")
    assert str(no.value) == f"--device cuda: not available here; this PyTorch sees cpu ({said})"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), "its memory is taken, by another process perhaps"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), "its memory is taken"),
        (RuntimeError("CUDA error: no kernel image is available\nmore"), "no kernel image is available)"),
    ],
)
def test_a_gpu_that_does_not_work_is_not_replaced_silently(monkeypatch, error, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", failing(error))
    for name in ("auto", "cuda", "cuda:0"):
        with pytest.raises(ValueError) as no:
            devices.pick_device(name)
        assert message in str(no.value) and "\n" not in str(no.value)


def test_a_gpu_without_bfloat16_trains_in_float32_and_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    for asked in (None, True):
        assert devices.choose_precision(torch.device("cuda"), asked) == (False, "float32 (this GPU has no bfloat16)")
    assert devices.choose_precision(torch.device("cuda"), False) == (False, "float32")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert devices.choose_precision(torch.device("cuda"), None) == (True, "bfloat16")
    assert devices.choose_precision(torch.device("cpu"), True) == (True, "bfloat16"), "slow where there is none"


def test_too_little_memory_in_an_epoch_leaves_a_run_that_goes_on(faces_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(saving, "SAVE_SHARE", 1e9)  # after every epoch
    folder = tmp_path / "x"
    with monkeypatch.context() as patches:
        patches.setattr(loop, "train_epoch", failing(NO_MEMORY[0], after=1, then=loop.train_epoch))
        said = error_of(capsys, train.main, *TINY, "--data", faces_file, "--output", tmp_path, "--name", "x")
    assert "out of memory with --batch-size 32; " in said and f"python train.py --resume {folder};" in said
    assert "--batch-size 16 --lr 0.025" in said
    train.main(["--resume", str(folder)])
    assert load_checkpoint(folder / "last.pt")["epoch"] == 2


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_too_little_memory_when_tried_out_leaves_nothing(faces_file, tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr("engine.build.predict", failing(error))
    said = error_of(capsys, train.main, *TINY, "--data", faces_file, "--output", tmp_path, "--name", "x")
    on_cpu = "" if error is not NO_MEMORY[0] else ", or --device cpu"  # no way out of the host's own memory
    assert said.endswith(f"out of memory with --batch-size 32; give --batch-size 16 --lr 0.025{on_cpu}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", NO_MEMORY[:2], ids=lambda error: type(error).__name__)
def test_too_little_memory_in_testing_names_the_batch(faces_file, tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr("engine.predict.predict", failing(error))
    flags = ["--checkpoint", WEIGHTS, "--data", faces_file, "--device", "cpu"]
    said = error_of(capsys, evaluate.main, *flags, "--output", tmp_path / "evaluation")
    assert "out of memory with --batch-size 64; give --batch-size 32" in said
    said = error_of(capsys, plot_confusion_matrix.main, *flags, "--bs", "8", "--output", tmp_path / "matrix.png")
    assert "out of memory with --batch-size 8; give --batch-size 4" in said
    said = error_of(capsys, visualize.main, "--device", "cpu", "--detect", "off", "--output", tmp_path / "figure.png")
    assert "out of memory with --views ten; give --views center" in said
    assert not list(tmp_path.glob("*.png"))


def test_other_errors_keep_their_traceback(monkeypatch):
    with pytest.raises(RuntimeError, match="shape"), devices.enough_memory("all", "nothing"):
        raise RuntimeError("shape mismatch")


def test_too_little_memory_for_the_data(faces_file, tmp_path, monkeypatch, capsys):
    """NumPy's error, wherever the batch is not to blame."""
    line = "error: out of memory"
    with monkeypatch.context() as patches:
        patches.setattr("datasets.storage._read_split", failing(MemoryError()))
        for script in (train, evaluate):
            flags = ["--data", faces_file, "--device", "cpu", "--output", tmp_path]
            assert line in error_of(capsys, script.main, *flags)
    with monkeypatch.context() as patches:
        patches.setattr("datasets.pictures._to_rgb", failing(MemoryError()))
        assert line in error_of(capsys, visualize.main, "--device", "cpu", "--output", tmp_path / "x.png")
    monkeypatch.setattr("datasets.synthetic.sets.draw_fer2013", failing(MemoryError()))
    flags = ["--dataset", "synthetic", "--output", tmp_path / "x.h5"]
    assert line in error_of(capsys, preprocess_fer2013.main, *flags)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", NO_MEMORY, ids=lambda error: type(error).__name__)
def test_too_little_memory_for_the_network(faces_file, tmp_path, monkeypatch, capsys, error):
    monkeypatch.setattr(checkpoint, "load_classifier", failing(error))
    monkeypatch.setattr(testing, "load_classifier", failing(error))
    for main, flags in (
        (evaluate.main, ["--data", faces_file, "--output", tmp_path]),
        (visualize.main, ["--output", tmp_path / "x.png"]),
    ):
        assert "error: out of memory" in error_of(capsys, main, "--device", "cpu", *flags)
    assert not list(tmp_path.iterdir())
