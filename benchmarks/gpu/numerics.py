"""Does the device compute what the CPU does: losses of training and logits of testing, in every mode there is."""

from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import recipe_for, training_set
from datasets.train_val import TrainVal
from engine.build import Setup, build_setup
from engine.config import RunConfig
from engine.loop import train_epoch
from engine.predict import predict
from utils.device import bfloat16_pays, pick_device

LR = 0.005  # so low that rounding does not decide where training goes
LOSS_TOLERANCE = 0.01  # of the reference's loss: GPUs round float32 convolutions to TF32 in training
LOGIT_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # of the largest logit


def numerics(options: dict[str, Any]) -> dict[str, Any]:
    """Train one network for `steps` steps in every mode, from the same weights with the same batches.

    options: model, data, device, batch_size, steps (even), faces (to test), reference (its device). Modes: float32, and
    bfloat16 where it pays, each as it is and on a GPU compiled too.
    Returns steps, reference, ok, and modes: per mode the mean loss of the second half of the steps, its distance from
    the reference's, relative, the same for the logits of the same trained network, and whether both are tolerable.
    """
    device, reference = pick_device(options["device"]), torch.device(options["reference"])
    data = training_set(Path(options["data"]), options["steps"] // 2 * options["batch_size"])
    pixels = data.val.pixels[: options["faces"]]
    exact, exact_loss = _train(options, data, reference, amp=False, compiled=False)
    weights = exact.state.model.state_dict()
    exact_logits = predict(exact.state.model, pixels, exact.views)
    modes = {}
    for amp in (False, True) if bfloat16_pays(device) else (False,):
        for compiled in (False, True) if device.type == "cuda" else (False,):
            kind = "bfloat16" if amp else "float32"
            setup, loss = _train(options, data, device, amp, compiled)
            setup.state.model.load_state_dict(weights)  # the reference's, so that only testing differs
            logits = predict(setup.state.model, pixels, setup.views, amp=amp)
            gap = float((logits - exact_logits).abs().max() / exact_logits.abs().max())
            off = abs(loss / exact_loss - 1)
            modes[f"{kind}, compiled" if compiled else kind] = {
                "loss": loss,
                "loss_off": off,
                "logits_off": gap,
                "ok": off <= LOSS_TOLERANCE and gap <= LOGIT_TOLERANCE[kind],
            }
    return {
        "model": options["model"],
        "steps": options["steps"],
        "batch_size": options["batch_size"],
        "reference": f"float32 on {reference.type}",
        "reference_loss": exact_loss,
        "loss_tolerance": LOSS_TOLERANCE,
        "logit_tolerance": LOGIT_TOLERANCE,
        "modes": modes,
        "ok": all(mode["ok"] for mode in modes.values()),
    }


def _train(
    options: dict[str, Any], data: TrainVal, device: torch.device, amp: bool, compiled: bool
) -> tuple[Setup, float]:
    """Two epochs of half the steps each; the mean loss of the second."""
    recipe = recipe_for(options["model"], options["batch_size"], lr=LR, epochs=2, ema=0.0, warmup=0.0)
    config = RunConfig(Path("-"), recipe=recipe, device=str(device), amp=amp, compile=compiled)
    setup = build_setup(config, data)
    for _ in range(2):
        row = train_epoch(setup.state, setup.train_network, setup.loader, recipe, setup.amp)
        setup.state.finish_epoch(row | {"val_accuracy": 0.0}, counts=False)
    return setup, row["train_loss"]
