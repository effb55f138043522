"""Does the device compute what the CPU does: losses of training and logits of testing, in every mode there is."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.measure import recipe_for, training_set
from datasets.train_val import TrainVal
from engine.build import build_setup
from engine.config import RunConfig
from engine.loop import train_epoch
from engine.predict import predict
from utils.device import bfloat16_pays, pick_device

LR = 0.005  # low: rounding alone moves the loss, VGG19's by half a percent (docs/results.md)
LOSS_TOLERANCE = 0.01  # of the reference's loss: GPUs round float32 convolutions to TF32 in training
LOGIT_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # of the largest logit


def numerics(options: dict[str, Any]) -> dict[str, Any]:
    """Train one network for `steps` steps in every mode, from the same weights with the same batches.

    options: model, data, device, batch_size, steps (even), faces (to test), reference (its device). Modes: float32, and
    bfloat16 where it pays, each as it is and on a GPU compiled too.
    Returns steps, reference, ok, and modes: per mode the mean loss of the second half of the steps, its distance from
    the reference's, relative, the same for the logits of one trained network, and whether both are tolerable; or the
    message of what does not run.
    """
    device, reference = pick_device(options["device"]), torch.device(options["reference"])
    data = training_set(Path(options["data"]), options["steps"] // 2 * options["batch_size"])
    exact = _train_and_test(options, data, reference)
    modes = {}
    for amp in (False, True) if bfloat16_pays(device) else (False,):
        for compiled in (False, True) if device.type == "cuda" else (False,):
            kind = "bfloat16" if amp else "float32"
            try:
                mode = _compare(_train_and_test(options, data, device, amp, compiled, exact), exact, kind)
            except RuntimeError as error:  # of the compiler, or of CUDA
                mode = {"ok": False, "message": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
            modes[f"{kind}, compiled" if compiled else kind] = mode
    return {
        "model": options["model"],
        "steps": options["steps"],
        "batch_size": options["batch_size"],
        "reference": f"float32 on {reference.type}",
        "reference_loss": exact.loss,
        "loss_tolerance": LOSS_TOLERANCE,
        "logit_tolerance": LOGIT_TOLERANCE,
        "modes": modes,
        "ok": all(mode["ok"] for mode in modes.values()),
    }


class Outcome(NamedTuple):
    """Of one mode."""

    loss: float  # mean of the second half of the steps
    weights: dict[str, torch.Tensor]  # after them
    logits: torch.Tensor  # of the reference's weights


def _train_and_test(
    options: dict[str, Any],
    data: TrainVal,
    device: torch.device,
    amp: bool = False,
    compiled: bool = False,
    reference: Outcome | None = None,
) -> Outcome:
    """Two epochs of half the steps each, and a test with the reference's weights, to tell apart testing alone."""
    recipe = recipe_for(options["model"], options["batch_size"], lr=LR, epochs=2, ema=0.0, warmup=0.0)
    config = RunConfig(Path("-"), recipe=recipe, device=str(device), amp=amp, compile=compiled)
    setup = build_setup(config, data)
    if compiled and not setup.compiled:
        raise RuntimeError(setup.how)
    for _ in range(2):
        row = train_epoch(setup.state, setup.loss_of, setup.loader, recipe)
        setup.state.finish_epoch(row | {"val_accuracy": 0.0}, counts=False)
    if reference:
        setup.state.model.load_state_dict(reference.weights)
    logits = predict(setup.state.model, data.val.pixels[: options["faces"]], setup.views, amp=amp)
    return Outcome(row["train_loss"], setup.state.model.state_dict(), logits)


def _compare(mode: Outcome, exact: Outcome, kind: str) -> dict[str, Any]:
    """Both distances, relative, and whether they are tolerable."""
    loss_off = abs(mode.loss / exact.loss - 1)
    logits_off = float((mode.logits - exact.logits).abs().max() / exact.logits.abs().max())
    ok = loss_off <= LOSS_TOLERANCE and logits_off <= LOGIT_TOLERANCE[kind]
    return {"loss": mode.loss, "loss_off": loss_off, "logits_off": logits_off, "ok": ok}
