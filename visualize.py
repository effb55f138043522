"""What a network sees in a photograph: its faces, the probability of each expression, and what decided.

    python visualize.py                                              a portrait that comes with matplotlib
    python visualize.py --image photo.jpg --checkpoint runs/my-run/best.pt --output photo.png
    python visualize.py --image holidays/ --json - > holidays.json   every picture of a folder

Prints a table with one line a face (box, prediction, probabilities) and draws it: PNG, PDF or SVG. Faces are found
with OpenCV's Haar cascade; where it finds none, the whole picture is taken for a face. A picture that is a face
already, as FER2013's are, is used as it is.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from utils.cli import Parser, run

if TYPE_CHECKING:  # imported where they are needed, so that --help and a wrong flag answer at once
    import numpy as np

    from utils.checkpoint import Classifier
    from utils.face_figure import Face, Picture
    from utils.faces import Box

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VIEWS = {"center": "center crop", "flip": "center crop and its mirror image", "five": "five crops", "ten": "ten crops"}
WEIGHTS = Path(__file__).parent / "weights" / "small.pt"  # a small network for FER2013 that comes with the project
SMALLEST = 16  # pixels; below that nobody sees a face
DRAWN = {1: 640, 5: 1200}  # faces, from -> pixels of the photograph's long side in the figure


class Found(NamedTuple):
    """A photograph and its faces, before the network has seen them."""

    path: Path
    rgb: "np.ndarray"  # uint8 (h, w, 3), reduced to what the figure shows
    width: int  # of the original, in pixels, as the boxes are
    height: int
    boxes: "list[Box]"
    crops: "np.ndarray"  # uint8 (faces, size, size)
    detector: str | None  # None: the box is the whole picture


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="visualize.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--image",
        nargs="+",
        type=Path,
        metavar="PATH",
        help=f"pictures, or folders of them ({' '.join(IMAGE_ENDINGS)}) (default: matplotlib's sample portrait)",
    )
    group.add_argument("--checkpoint", type=Path, default=WEIGHTS, metavar="PATH", help="network to ask")
    group.add_argument(
        "--detect",
        default="auto",
        choices=("auto", "on", "off"),
        help="find faces: auto, and where there is none take the whole picture; on, or fail; off, the whole picture",
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
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show which parts of a face the prediction comes from, by hiding them in turn",
    )
    return parser


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Parse, ask the network, draw; return what --json writes: a list of images, each with its faces."""
    parser = build_parser()
    return run(parser, parser.parse_args(argv), visualize)


def visualize(args: argparse.Namespace) -> list[dict[str, Any]]:
    from evaluate import older_formats
    from models import build_model
    from utils.checkpoint import load_classifier
    from utils.device import pick_device
    from utils.face_figure import how_many_fit
    from utils.face_report import describe_faces, faces_table
    from utils.files import replacing

    paths = list_images(args.image or [sample_portrait()], skip=args.output)
    check_outputs(args.output, args.json, paths)
    classifier = load_classifier(args.checkpoint, build_model, pick_device(args.device), older_formats())
    if "origin" in classifier.info:
        print(f"{printable(classifier.path)}: {classifier.info['origin']}", file=sys.stderr)
    found = [find(path, args.detect, args.margin, classifier.inputs["size"]) for path in paths]
    pictures = ask(classifier, found, args.views)
    shown = pictures[: how_many_fit(pictures)]
    if len(shown) < len(pictures):
        print(f"the figure shows the first {len(shown)} of {len(pictures)} pictures", file=sys.stderr)
    note = f"{classifier.info.get('model_name', 'network')}, trained on {classifier.dataset}, {VIEWS[args.views]}"
    if args.explain:
        shown = explain(classifier, shown)
        note += "; orange speaks for the prediction, blue against it"
    draw(classifier, shown, note, args.output)

    report = [
        {
            "image": printable(photo.path),
            "width": photo.width,
            "height": photo.height,
            "detector": photo.detector,
            "checkpoint": printable(classifier.path),
            "views": args.views,
            "faces": describe_faces(picture.faces, classifier.class_names),
        }
        for photo, picture in zip(found, pictures, strict=True)
    ]
    if args.json == "-":
        print(json.dumps(report, indent=2))  # with escapes: a pipe's encoding may be anything
        return report
    say(faces_table(report))
    say(f"figure: {printable(args.output)}")
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        say(f"scores: {printable(args.json)}")
    return report


def find(path: Path, detect: str, margin: float | None, size: int) -> Found:
    """Read a picture and cut out its faces, or, as `detect` says, its middle."""
    import numpy as np
    from PIL import Image

    from utils.faces import CASCADE, MARGIN, crop_face, find_faces, is_face_crop, load_image, whole_picture

    rgb = load_image(path)
    h, w = rgb.shape[:2]
    if min(h, w) < SMALLEST:
        raise ValueError(f"{path} is {w}x{h} pixels; a face needs {SMALLEST}x{SMALLEST} at least")
    boxes: list[Box] = []
    if detect == "on" or (detect == "auto" and not is_face_crop(rgb)):
        boxes = find_faces(rgb)
        if not boxes and detect == "on":
            raise ValueError(f"no face found in {path}; --detect off takes the whole picture for one")
        if not boxes:
            print(f"{printable(path)}: no face found, the whole picture is taken for one", file=sys.stderr)
    detector = CASCADE if boxes else None
    margin = (MARGIN if margin is None else margin) if boxes else 0.0
    boxes = boxes or [whole_picture(rgb)]
    crops = np.stack([crop_face(rgb, box, margin, size) for box in boxes])
    small = Image.fromarray(rgb)
    side = [pixels for faces, pixels in DRAWN.items() if faces <= len(boxes)][-1]
    small.thumbnail((side, side))
    return Found(path, np.asarray(small), w, h, boxes, crops, detector)


def ask(classifier: "Classifier", found: list[Found], views: str) -> "list[Picture]":
    """Give every face its probabilities."""
    import numpy as np

    from utils.face_figure import Face, Picture

    p = probabilities(classifier, np.concatenate([photo.crops for photo in found]), views)
    if not np.isfinite(p).all():
        raise ValueError(f"{classifier.path} gives scores that are no numbers; did its training diverge?")
    scores = iter(p)
    pictures = []
    for photo in found:
        faces = [Face(box, crop, next(scores)) for box, crop in zip(photo.boxes, photo.crops, strict=True)]
        name = printable(photo.path.name)
        pictures.append(Picture(name, photo.rgb, photo.width, photo.height, faces, photo.detector is not None))
    return pictures


def explain(classifier: "Classifier", pictures: "list[Picture]") -> "list[Picture]":
    """Give every face the map of what its prediction comes from."""
    import numpy as np

    from utils.occlusion import occlusion_map

    def explained(face: "Face") -> "Face":
        c = int(face.probabilities.argmax())

        def score(pixels: np.ndarray) -> np.ndarray:  # of two views: ten take five times as long, to look the same
            return np.log(probabilities(classifier, pixels, "flip")[:, c].clip(1e-9))

        return replace(face, heat=occlusion_map(score, face.pixels))

    return [replace(picture, faces=[explained(face) for face in picture.faces]) for picture in pictures]


def probabilities(classifier: "Classifier", pixels: "np.ndarray", views: str) -> "np.ndarray":
    """uint8 (n, h, w) -> float64 (n, classes)."""
    from datasets.views import make_views
    from utils.inference import predict

    inputs = {key: value for key, value in classifier.inputs.items() if key != "size"}
    return predict(classifier.model, pixels, make_views(views, **inputs)).double().softmax(1).numpy()


def draw(classifier: "Classifier", pictures: "list[Picture]", note: str, output: Path) -> None:
    """Write the figure, with the drawn face of every predicted expression that has one."""
    from datasets.synthetic import EXPRESSIONS, draw_icon
    from utils.face_figure import faces_figure
    from utils.figures import save_figure

    names = classifier.class_names
    predicted = {names[face.probabilities.argmax()] for picture in pictures for face in picture.faces}
    icons = {name: draw_icon(name, size=256) for name in predicted if name in EXPRESSIONS}
    save_figure(faces_figure(pictures, names, icons, note), output)


def list_images(given: list[Path], skip: Path) -> list[Path]:
    """Put the pictures of a folder, sorted, in the folder's place; `skip`, the figure of an earlier run, is none."""
    paths = []
    for path in given:
        if not path.is_dir():
            if not path.exists():
                raise FileNotFoundError(f"no picture {path}; give one, or a folder of them, with --image")
            paths.append(path)
            continue
        inside = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGE_ENDINGS and not p.name.startswith(".")]
        inside = [p for p in inside if p.resolve() != skip.resolve()]
        if not inside:
            raise ValueError(f"no picture in {path}; taken are {', '.join(IMAGE_ENDINGS)}")
        paths.extend(inside)
    return paths


def check_outputs(output: Path, scores: str | None, images: list[Path]) -> None:
    """Raise ValueError, before the work, if a result cannot be written or would overwrite a picture."""
    from utils.figures import check_ending
    from utils.files import check_writable

    check_ending(output)
    targets = [output] if scores in (None, "-") else [output, Path(scores)]
    if len({target.resolve() for target in targets}) < len(targets):
        raise ValueError(f"--output and --json are both {output}; give two names")
    for target in targets:
        check_writable(target.parent)
        if target.is_dir():
            raise ValueError(f"cannot write {target}: it is a folder; give a file's name")
        if target.resolve() in {image.resolve() for image in images}:
            raise ValueError(f"{target} would overwrite the picture itself; give another --output")


def sample_portrait() -> Path:
    """Grace Hopper, 1984: the photograph of a face that is on every machine with matplotlib."""
    from matplotlib import cbook

    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def printable(path: str | Path) -> str:
    """A path as text; bytes that are not UTF-8 become question marks."""
    return os.fsencode(path).decode("utf-8", "replace")


def say(text: str) -> None:
    """Print; letters that the terminal or pipe cannot take (on Windows, many) become question marks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))


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
