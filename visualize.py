"""What a network sees in a photograph: its faces, the probability of each expression, and what decided.

    python visualize.py                                              a portrait that comes with matplotlib
    python visualize.py --image photo.jpg --checkpoint runs/my-run/best.pt --output photo.png
    python visualize.py --image holidays/ --json - > holidays.json   every image of a folder

Prints a table with one line per face (box, prediction, probabilities) and draws it: PNG, PDF or SVG. Faces are found
with OpenCV's Haar cascade; where it finds none, the whole image is taken for a face. An image that is a face
already, as FER2013's are, is used as it is.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from datasets.names import VIEWS
from models import WEIGHTS
from utils.cli import Parser, lazy_module, printable, run, say
from utils.files import check_writable, replacing

annotate = lazy_module("engine.annotate")
faces = lazy_module("engine.figures.faces")
face_table = lazy_module("engine.face_table")
style = lazy_module("engine.figures.style")
checkpoint = lazy_module("models.checkpoint")
devices = lazy_module("utils.device")
matplotlib_cbook = lazy_module("matplotlib.cbook")

EXPLANATIONS = {
    "occlusion": "orange speaks for the prediction, blue against it",
    "gradcam": "orange speaks for the prediction (Grad-CAM)",
}
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="visualize.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--image",
        nargs="+",
        type=Path,
        metavar="PATH",
        help=f"images, or folders of them ({' '.join(IMAGE_ENDINGS)}) (default: matplotlib's sample portrait)",
    )
    group.add_argument("--checkpoint", type=Path, default=WEIGHTS, metavar="PATH", help="checkpoint to use")
    group.add_argument(
        "--detect",
        default="auto",
        choices=("auto", "on", "off"),
        help="find faces: auto, and where there is none take the whole image; on, or fail; off, the whole image",
    )
    group.add_argument(
        "--margin", type=margin, metavar="X", help="added on each side of a box, as a fraction of it (default: 0.02)"
    )
    group = parser.add_argument_group("network")
    group.add_argument("--views", default="ten", choices=VIEWS, help="crops whose logits are averaged")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", type=Path, default=Path("runs/visualize.png"), metavar="PATH", help="figure: .png, .pdf or .svg"
    )
    group.add_argument("--json", metavar="PATH", help="write the scores as JSON; - prints them, instead of the table")
    group.add_argument(
        "--explain",
        nargs="?",
        choices=EXPLANATIONS,
        default="occlusion",
        const="occlusion",
        help="which parts of a face the prediction comes from: occlusion hides them in turn; gradcam (faster, coarser)"
        " weights the last convolutional map with its gradient",
    )
    group.add_argument("--no-explain", dest="explain", action="store_const", const=None, help="leave that out")
    return parser


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Parse, ask the network, draw; return what --json writes: a list of images, each with its faces."""
    parser = build_parser()
    return run(parser, parser.parse_args(argv), visualize)


def visualize(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Find the faces, ask the network, draw, print."""
    paths = list_images(args.image or [sample_portrait()], skip=args.output)
    check_outputs(args.output, args.json, paths)
    classifier = checkpoint.load_classifier(args.checkpoint, devices.pick_device(args.device))
    if "origin" in classifier.info:
        print(f"{printable(classifier.path)}: {classifier.info['origin']}", file=sys.stderr)
    found = [annotate.detect(path, args.detect, args.margin, classifier.inputs["size"]) for path in paths]
    images = annotate.predict_faces(classifier, found, args.views)
    shown = images[: faces.how_many_fit(images)]
    if len(shown) < len(images):
        print(f"the figure shows the first {len(shown)} of {len(images)} images", file=sys.stderr)
    note = f"{classifier.info.get('model_name', 'network')}, trained on {classifier.dataset}, {VIEWS[args.views]}"
    if args.explain:
        shown = annotate.explain(classifier, shown, args.explain)
        note += f"; {EXPLANATIONS[args.explain]}"
    annotate.draw(classifier, shown, note, args.output)

    report = [
        {
            "image": printable(photo.path),
            "width": photo.width,
            "height": photo.height,
            "detector": photo.detector,
            "checkpoint": printable(classifier.path),
            "views": args.views,
            "faces": face_table.describe_faces(image.faces, classifier.class_names),
        }
        for photo, image in zip(found, images, strict=True)
    ]
    if args.json == "-":
        print(json.dumps(report, indent=2))  # with escapes: a pipe's encoding may be anything
        return report
    say(face_table.faces_table(report))
    say(f"figure: {printable(args.output)}")
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        say(f"scores: {printable(args.json)}")
    return report


def list_images(given: list[Path], skip: Path) -> list[Path]:
    """Put the images of a folder, sorted, in the folder's place; `skip`, the figure of an earlier run, is none."""
    paths = []
    for path in given:
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"no image {path}; give one, or a folder of them, with --image")
            paths.append(path)
            continue
        inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_ENDINGS and not p.name.startswith(".")]
        inside = [p for p in inside if p.resolve() != skip.resolve()]
        if not inside:
            raise ValueError(f"no image in {path}; taken are {', '.join(IMAGE_ENDINGS)}")
        paths.extend(inside)
    return paths


def check_outputs(output: Path, scores: str | None, images: list[Path]) -> None:
    """Raise ValueError, before the work, if a result cannot be written or would overwrite an image."""

    style.check_ending(output)
    targets = [output] if scores in (None, "-") else [output, Path(scores)]
    if len({target.resolve() for target in targets}) < len(targets):
        raise ValueError(f"--output and --json are both {output}; give two names")
    for target in targets:
        check_writable(target.parent)
        if target.is_dir():
            raise ValueError(f"cannot write {target}: it is a folder; give a file's name")
        if target.resolve() in {image.resolve() for image in images}:
            raise ValueError(f"{target} would overwrite the image itself; give another --output")


def sample_portrait() -> Path:
    """Grace Hopper, 1984: the photograph of a face that is on every machine with matplotlib."""

    return Path(matplotlib_cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def margin(text: str) -> float:
    """argparse type for `--margin`."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


if __name__ == "__main__":
    main()
