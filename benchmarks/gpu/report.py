"""gpu.md: the suite's results as Markdown, made of nothing but what gpu.json holds."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.measure import spread

Results = list[dict[str, Any]]


def markdown(content: dict[str, Any]) -> str:
    """The whole report; parts that are not there yet are simply not in it."""
    lines = [f"# GPU suite: {content['gpu'].get('name') or content['environment']['device']}", ""]
    if content["quick"]:
        lines += ["In miniature (`--quick`): it shows that everything runs, and its figures mean nothing.", ""]
    lines += _head(content)
    for name, title, section in SECTIONS:
        results = [part["result"] for part in content["parts"] if part["part"] == name and part["status"] == "done"]
        if results:
            lines += ["", f"## {title}", "", *section(results)]
    lines += ["", "## Not measured", "", *_missing(content["parts"])]
    return "\n".join(lines) + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Markdown; the first column is text, the others are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines]


def percent(part: float | None, digits: int = 1) -> str:
    """ "12.3%", or "-" of what is not known."""
    return "-" if part is None else f"{part:.{digits}%}"


def _head(content: dict[str, Any]) -> list[str]:
    environment, gpu = content["environment"], content["gpu"]
    dirty = " and changes that are not committed" if environment["git_dirty"] else ""
    versions = [f"Python {environment['python']}", f"PyTorch {environment['torch']}"]
    versions += [f"CUDA {gpu['cuda']}", f"cuDNN {gpu['cudnn']}"] if gpu else []
    device = f"{environment['device']}, {gpu['memory_gib']:.0f} GiB" if gpu else environment["device"]
    spent = sum(part["seconds"] for part in content["parts"])
    rows = [
        ("command", f"`{content['command']}`"),
        ("commit", f"{environment['git_commit'] or 'unknown'}{dirty}"),
        ("device", f"{device}; {environment['cpu_cores']} CPU cores"),
        ("versions", ", ".join(versions)),
        ("faces", f"{content['data']['faces']}, {content['data']['file']}"),
        ("time", f"{spent / 60:.1f} minutes in parts, of at most {content['minutes']:g}"),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _missing(parts: Results) -> list[str]:
    missing = [part for part in parts if part["status"] != "done"]
    return [f"- {part['title']}: {part['status']}; {part['message']}" for part in missing] or ["Nothing is missing."]


def _numerics(results: Results) -> list[str]:
    rows = []
    for result in results:
        for name, mode in result["modes"].items():
            which = f"{result['model']}, {name}"
            if "message" in mode:
                rows.append((which, "-", "-", "-", f"**no**: {mode['message']}"))
                continue
            figures = (f"{mode['loss']:.4f}", percent(mode["loss_off"], 2), f"{mode['logits_off']:.1e}")
            rows.append((which, *figures, "yes" if mode["ok"] else "**no**"))
    first = results[0]
    limits = ", ".join(f"{limit:g} in {kind}" for kind, limit in first["logit_tolerance"].items())
    return [
        f"Held against {first['reference']}, the same weights and batches: the mean loss of the second half of"
        f" {first['steps']} steps (may differ by {first['loss_tolerance']:.0%}), and the trained network's logits (by"
        f" this part of the largest: {limits}).",
        "",
        *table(("network, mode", "loss", "differs by", "logits differ by", "ok"), rows),
    ]


def _throughput(results: Results) -> list[str]:
    rows = [
        (
            f"{result['model']}, {result['batch_size']}",
            spread(result["row"]["ours"]),
            spread(result["row"]["usual"]),
            f"{result['row']['ratio']:.1f}x",
            f"{result['flop'] / 1e9:.2f}",
            percent(result["ours_share"]),
            percent(result["usual_share"]),
        )
        for result in results
    ]
    first, peak = results[0], max(result["peak"] for result in results)
    heads = ("network, batch", "ours", "usual", "ratio", "GFLOP a face", "ours, of peak", "usual, of peak")
    return [
        f"Faces per second after warm-up, n = {first['repeats']} repeats of at most {first['steps']} steps, median"
        f" (lowest to highest). Usual: PIL transforms in a DataLoader with {first['workers']} workers, float32.",
        f"Of peak: of what a large matrix product in {first['peak_type']} reaches here, {peak / 1e12:,.2f} TFLOP/s.",
        "",
        *table(heads, rows),
    ]


def _breakdown(results: Results) -> list[str]:
    lines = ["Idle: the part of a step, timed without the profiler, in which no kernel runs. Shares are of busy time."]
    for result in results:
        how = "bfloat16" if result["bfloat16"] else "float32"
        how += ", compiled" if result["compiled"] else ""
        lines += [
            "",
            f"**{result['model']}**, batches of {result['batch_size']}, {how}: {result['step_ms']:.2f} ms a step, GPU"
            f" idle {percent(result['idle'])}, {result['launches']:.0f} launches a step",
            "",
            *table(
                ("kernel", "share", "ms a step"),
                [(f"`{top['name'][:80]}`", percent(top["share"]), f"{top['ms']:.3f}") for top in result["top"]],
            ),
        ]
    return lines


def _marks(results: Results) -> list[str]:
    marks = list(results[0]["seconds"])
    rows = [
        (
            f"{result['model']}, seed {result['seed']}",
            *(_seconds(result["seconds"][mark]) for mark in marks),
            percent(result["best"], 2),
            result["epochs"],
        )
        for result in results
    ]
    for model in dict.fromkeys(result["model"] for result in results):
        of_model = [result for result in results if result["model"] == model]
        if len(of_model) > 1:
            medians = (_median([result["seconds"][mark] for result in of_model]) for mark in marks)
            best = statistics.median(result["best"] for result in of_model)
            rows.append((f"{model}, median of {len(of_model)}", *medians, percent(best, 2), ""))
    return [
        f"Seconds from the start of the process, recipe `{results[0]['recipe']}`, PublicTest ten-crop each epoch.",
        "",
        *table(("network", *marks, "best", "epochs"), rows),
    ]


def _median(values: Sequence[float | None]) -> str:
    """A run that did not get there counts as one that took longer than all others."""
    return _seconds(statistics.median_high(float("inf") if value is None else value for value in values))


def _seconds(value: float | None) -> str:
    return "not reached" if value in (None, float("inf")) else f"{value:.0f} s"


def _accuracy(results: Results) -> list[str]:
    rows = []
    for result in results:
        given = f"{result['model']}, {result['epochs']} of the recipe's {result['recipe_epochs']} epochs"
        interval = " to ".join(percent(limit) for limit in result.get("ci95", ())) or "-"
        views = {"ten": "ten-crop", "flip": "crop and mirror image"}[result["views"]]
        done = f"{result['epochs_done']}, best {result['epoch']}"
        rows.append((given, percent(result["accuracy"], 2), interval, views, done, f"{result['epoch_seconds']:.2f} s"))
    heads = ("network", "PublicTest", "95% interval", "views", "epochs done", "an epoch")
    return ["n = 1 each, seed 0; the epoch is selected on PublicTest. The runs' folders are in `runs/`.", "",
            *table(heads, rows)]  # fmt: skip


SECTIONS: tuple[tuple[str, str, Callable[[Results], list[str]]], ...] = (
    ("numerics", "Numerics", _numerics),
    ("throughput", "Training speed", _throughput),
    ("breakdown", "Where the time goes", _breakdown),
    ("marks", "Seconds to an accuracy", _marks),
    ("accuracy", "The default recipe", _accuracy),
)
