"""An evaluation as one HTML page that needs nothing else: no network, no scripts, pictures and figures inside it.

It follows the reader's light or dark scheme and fits a phone. The layout is in page.html; whatever comes from people
(names of classes, files, splits) is escaped here.
"""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from datasets.names import VIEWS
from engine.evaluation.metrics import check_inputs, share_interval
from engine.evaluation.report import about_checkpoint, p_value
from engine.evaluation.selection import selection_note
from engine.figures.curves import precision_recall_figure, reliability_figure
from engine.figures.style import BLUE, GRAY, RED
from utils.cli import quoted
from utils.files import write_text

TEMPLATE = Path(__file__).with_name("page.html")
MISTAKES, HARDEST = 24, 12  # faces shown; of the second, for each class
# What the figures are drawn in, and the page's own colours, which differ by light and dark
COLOURS = {BLUE: "var(--blue)", RED: "var(--red)", GRAY: "var(--quiet)", "#ffffff": "var(--paper)"}
COLOURS |= {"#000000": "currentColor"}


def write_page(
    path: str | Path,
    metrics: Mapping[str, Any],
    pixels: np.ndarray,
    index: np.ndarray,
    labels: Any,
    probabilities: Any,
    environment: Mapping[str, Any],
) -> None:
    """Write the page, whole or not at all.

    metrics: what metrics.json holds, of `testing.evaluate`. pixels: uint8 (n, h, w). index: (n,), their rows in the
    split. labels, probabilities: as `compute_metrics` takes them. environment: of `utils.run_folder.environment`.
    """
    names = list(metrics["per_class"])
    y, p = check_inputs(labels, probabilities, names)
    models = ", ".join(dict.fromkeys(str(c.get("model_name") or "network") for c in metrics["checkpoints"]))
    where = [metrics["dataset"], metrics["split"], VIEWS[metrics["views"]], f"{metrics['n']:,} faces"]
    parts = {
        "title": escape(f"{models} on {metrics['split']}: accuracy {_percent(metrics['accuracy'])}"),
        "where": escape(" · ".join(where)),
        "warnings": _warnings(metrics),
        "tiles": _tiles(metrics),
        "members": _members(metrics.get("members", [])),
        "protocol": _protocol(metrics),
        "classes": _classes(metrics),
        "matrix": _matrix(metrics["confusion_matrix"], names),
        "reliability": _svg(
            reliability_figure(y, p), "reliability", "Reliability diagram: accuracy against confidence"
        ),
        "curves": "".join(_curve(metrics, name, y == i, p[:, i]) for i, name in enumerate(names)),
        "mistakes": _mistakes(pixels, index, y, p, names),
        "hardest": _hardest(pixels, index, y, p, names),
        "environment": _environment(environment),
    }
    write_text(Path(path), Template(TEMPLATE.read_text(encoding="utf-8")).substitute(parts))


def _warnings(metrics: Mapping[str, Any]) -> str:
    note = selection_note(metrics["split"], metrics["selected_on"])
    notes = [f"{note[0].upper()}{note[1:]}: accuracy on unseen faces will be lower."] if note else []
    return "".join(f'<p class="warn">{escape(text)}</p>' for text in notes + list(metrics.get("notes", [])))


def _tiles(metrics: Mapping[str, Any]) -> str:
    shares = {"accuracy": "accuracy", "balanced accuracy": "balanced_accuracy", "macro-F1": "macro_f1"}
    tiles = []
    for name, key in (shares | {"top-2 accuracy": "top2_accuracy"}).items():
        tiles.append((name, _percent(metrics[key]), _interval(metrics["intervals"][key])))
    if metrics.get("sequences"):
        of = metrics["sequences"]
        tiles.append((f"of {of['n']:,} sequences", _percent(of["accuracy"]), _interval(of["ci95"])))
    twins = metrics.get("without_twins")
    if twins and 0 < twins["n"] < metrics["n"]:
        name = f"without {metrics['n'] - twins['n']:,} twins of training faces"
        tiles.append((name, _percent(twins["accuracy"]), _interval(twins["ci95"])))
    tiles += [("NLL, nats", f"{metrics['nll']:.3f}", ""), ("ECE, 15 bins", _percent(metrics["ece"]), "")]
    return "".join(
        f'<div class="tile{"" if i else " first"}"><small>{name}</small><b>{value}</b><small>{interval}</small></div>'
        for i, (name, value, interval) in enumerate(tiles)
    )


def _members(members: Sequence[Mapping[str, Any]]) -> str:
    """Every checkpoint on its own and the ensemble, each beside the first."""
    if not members:
        return ""
    heads = (
        "accuracy",
        "macro-F1",
        "NLL",
        "ECE",
        "points more than the first",
        "only this right",
        "only the first",
        "p",
    )
    rows = []
    for row in members:
        cells = [f"<span>{_percent(row['accuracy'])}<small>{_interval(row['ci95'])}</small></span>"]
        cells += [_percent(row["macro_f1"]), f"{row['nll']:.3f}", _percent(row["ece"])]
        pair = row.get("versus_first")
        if pair:
            low, high = (f"{100 * end:+.2f}" for end in pair["ci95"])
            cells.append(f"<span>{100 * pair['difference']:+.2f}<small>{low} to {high}</small></span>")
            cells += [
                f"{pair['only_second']:,}",
                f"{pair['only_first']:,}",
                p_value(pair["p"]).removeprefix("p = ").removeprefix("p "),
            ]
        cells += [""] * (len(heads) - len(cells))
        tds = "".join(f'<td data-label="{h}">{cell}</td>' for h, cell in zip(heads, cells, strict=True))
        rows.append(f"<tr><th>{escape(row['name'])}</th>{tds}</tr>")
    head = "".join(f'<th class="number">{name}</th>' for name in heads)
    note = (
        "The same faces by every checkpoint on its own, and by the ensemble, whose probabilities are their mean. In"
        " small print: 95% intervals, of the paired difference Agresti and Min's. p: McNemar's exact test, two-sided;"
        " where two differ, is each as often right as the other? It is not corrected for the number of rows."
    )
    table = f'<table class="stack"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<h2>Side by side</h2>\n<p class="quiet">{note}</p>\n{table}'


def _protocol(metrics: Mapping[str, Any]) -> str:
    rows = [("tested on", f"{metrics['split']} of {metrics['dataset']}, {metrics['n']:,} faces ({metrics['data']})")]
    rows.append(("how", VIEWS[metrics["views"]] + (", bfloat16" if metrics["amp"] else ", float32")))
    rows.append(("selected on", metrics["selected_on"] or "not recorded"))
    for checkpoint in metrics["checkpoints"]:
        about = ", ".join([*about_checkpoint(checkpoint), f"SHA-256 {checkpoint['sha256'][:16]}..."])
        rows.append(("checkpoint", f"{checkpoint['path']}: {about}"))
    return _pairs(rows)


def _classes(metrics: Mapping[str, Any]) -> str:
    rows = []
    for i, (name, row) in enumerate(metrics["per_class"].items()):
        cells = [f"{row['support']:,}", *["-"] * 4]
        if row["support"]:
            hits = metrics["confusion_matrix"][i][i]
            recall = f"{100 * row['recall']:.1f}<small>{_interval(share_interval(hits, row['support']), 1)}</small>"
            ap = 100 * metrics["average_precision"][name]
            cells[1:] = [f"{100 * row['precision']:.1f}", recall, f"{100 * row['f1']:.1f}", f"{ap:.1f}"]
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f'<th class="number">{name}</th>' for name in ("faces", "precision", "recall", "F1", "AP"))
    return f"<table><thead><tr><th>in %</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _matrix(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    rows = []
    for i, (name, counts) in enumerate(zip(names, matrix, strict=True)):
        cells = ""
        for j, count in enumerate(counts):
            share = count / max(1, sum(counts))
            kind = " ".join(["strong"] * (share > 0.5) + ["right"] * (i == j))
            cells += f'<td class="{kind}" style="--share:{share:.3f}">{100 * share:.0f}%<small>{count:,}</small></td>'
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    head = "".join(f"<th><span>{escape(name)}</span></th>" for name in names)
    table = f'<table class="matrix{" many" * (len(names) > 10)}"><thead><tr><th></th>{head}</tr></thead>'
    note = "Rows are labels, columns predictions: the row's share, and faces."
    return f'<p class="quiet">{note}</p><div class="scroll">{table}<tbody>{"".join(rows)}</tbody></table></div>'


def _curve(metrics: Mapping[str, Any], name: str, positive: np.ndarray, scores: np.ndarray) -> str:
    ap = metrics["average_precision"][name]
    if ap is None:
        return f"<figure><figcaption><b>{escape(name)}</b> no faces</figcaption></figure>"
    key = f"curve{list(metrics['per_class']).index(name)}"
    svg = _svg(precision_recall_figure(positive, scores), key, f"Precision and recall of {escape(name)}")
    return f'<figure class="figure"><figcaption><b>{escape(name)}</b> AP {_percent(ap)}</figcaption>{svg}</figure>'


def _mistakes(pixels: np.ndarray, index: np.ndarray, y: np.ndarray, p: np.ndarray, names: Sequence[str]) -> str:
    wrong = np.flatnonzero(p.argmax(1) != y)
    if not len(wrong):
        return f'<p class="quiet">No mistakes among {len(y):,} faces.</p>'
    shown = wrong[np.argsort(-p[wrong].max(1), kind="stable")][:MISTAKES]
    note = (
        f"{len(shown)} of {len(wrong):,}: label, then prediction and its probability, and the face's row in the split."
    )
    return f'<p class="quiet">{note}</p>{_sheet(pixels, index, y, p, names, shown)}'


def _hardest(pixels: np.ndarray, index: np.ndarray, y: np.ndarray, p: np.ndarray, names: Sequence[str]) -> str:
    parts = ['<p class="quiet">Those whose label got the smallest probability, which is given, and the prediction.</p>']
    for i, name in enumerate(names):
        own = np.flatnonzero(y == i)
        shown = own[np.argsort(p[own, i], kind="stable")][:HARDEST]
        if len(shown):
            parts.append(f"<h3>{escape(name)}</h3>{_sheet(pixels, index, y, p, names, shown, of_label=True)}")
    return "".join(parts)


def _sheet(
    pixels: np.ndarray,
    index: np.ndarray,
    y: np.ndarray,
    p: np.ndarray,
    names: Sequence[str],
    shown: Iterable[int],
    of_label: bool = False,
) -> str:
    """The faces as pictures with captions; `of_label`: with the probability of the label, not of the prediction."""
    figures = []
    for i in shown:
        guess = p[i].argmax()
        kind = "" if guess == y[i] else ' class="wrong"'
        first, second = escape(names[y[i]]), escape(names[guess])
        if of_label:
            first = f"{100 * p[i, y[i]]:.1f}%"
        else:
            second += f" {int(100 * p[i, guess])}%"  # rounded down: only a certain answer is shown as 100%
        caption = f"<span>{first}</span><span{kind}>{second}</span><small>row {index[i]}</small>"
        picture = f'<img alt="{escape(names[y[i]])}, row {index[i]}" src="{_png(pixels[i])}">'
        figures.append(f"<figure>{picture}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="faces">{"".join(figures)}</div>'


def _environment(environment: Mapping[str, Any]) -> str:
    command = " ".join(["python", *(_quoted(str(word)) for word in environment["command"])])
    rows = [(key.replace("_", " "), str(value)) for key, value in environment.items() if key != "command"]
    return f"<pre>{escape(command)}</pre>{_pairs(rows)}"


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(key)}</dt><dd>{escape(value)}</dd>' for key, value in rows)}</dl>"


def _svg(figure: Figure, key: str, label: str) -> str:
    """A figure as part of the page, in its colours; `key` keeps its ids apart, `label` is escaped already."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"^.*?(?=<svg)|<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", text)
    head = re.search(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', text)
    text = f'<svg {head[1]} role="img" aria-label="{label}">{text[head.end() :]}'
    text = re.sub(r'(id="|url\(#|href="#)', rf"\1{key}-", text)
    return re.sub("|".join(COLOURS), lambda found: COLOURS[found[0]], text)


def _png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _quoted(word: str) -> str:
    """As a shell takes it; what has blanks alone in double quotes, which every system's shell knows."""
    blanks = re.search(r"\s", word) and not re.search(r'["$`\\!]', word)
    return f'"{word}"' if blanks else quoted(word)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _interval(ends: Sequence[float], digits: int = 2) -> str:
    return f"{100 * ends[0]:.{digits}f} to {100 * ends[1]:.{digits}f}"
