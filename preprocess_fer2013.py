"""Turn raw data into the HDF5 file that the other scripts read.

  python preprocess_fer2013.py --source data/fer2013.csv --output data/fer2013.h5
  python preprocess_fer2013.py --source data/fer2013.tar.gz
  python preprocess_fer2013.py --dataset ckplus --source data/CK+48
  python preprocess_fer2013.py --dataset folder --source photos/
  python preprocess_fer2013.py --labels data/fer2013new.csv
  python preprocess_fer2013.py --dataset synthetic --faces 4096

FER2013 is taken as fer2013.csv (plain, .gz, in a .tar.gz or .zip), as icml_face_data.csv or as folders of images;
what a source is shows in its content. Expect a few seconds, a table of the faces per split and class with the official
counts beside, and one of the faces that are in it twice. CK+ is taken as the folder CK+48, or as the folder that holds
cohn-kanade-images and Emotion; finding the faces in those takes a minute or two. A folder of one's own pictures is
<split>/<class>/ or <class>/, with any names; faces are found in those too. --labels gives the faces of fer2013.csv the
eight classes and the votes of FER+. Drawn faces (synthetic, and
synthetic-ckplus with people and sequences) need no download.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datasets.names import DATASETS, OFFICIAL_COUNTS, USUAL_SOURCES, USUAL_VOTES
from utils.cli import Parser, expand_one, file_path, lazy_module, non_negative_int, positive_int, run
from utils.files import check_writable

fer2013 = lazy_module("datasets.fer2013")
ferplus = lazy_module("datasets.ferplus")
ckplus = lazy_module("datasets.ckplus")
ckextended = lazy_module("datasets.ckextended")
own_faces = lazy_module("datasets.own_faces")
synthetic = lazy_module("datasets.synthetic.sets")
storage = lazy_module("datasets.storage")
hdf5_file = lazy_module("datasets.hdf5_file")
tables = lazy_module("datasets.tables")

if TYPE_CHECKING:
    from datasets.storage import FaceSet


OWN = "folder"  # in place of a data set's name: pictures of one's own
FACES = {"synthetic": 2048, "synthetic-ckplus": 981}  # to draw; these sets have no source
MOST_FACES = 10**6  # hours of drawing


def preprocess(args: argparse.Namespace) -> "FaceSet":
    """Read what `args` name, print what is in it and write it. Returns the faces."""
    check_output(args.output, args.source)
    start = time.perf_counter()
    faces = read_or_draw(args)
    print(f"\n{tables.counts_table(faces, OFFICIAL_COUNTS.get(args.dataset))}\n\n{tables.twins_table(faces)}\n")
    replaced = args.output.exists()
    storage.write_faces(args.output, faces)
    total = sum(map(len, faces.splits.values()))
    print(
        f"wrote {args.output}: {total} faces, {args.output.stat().st_size / 1e6:.1f} MB, "
        f"{time.perf_counter() - start:.1f} s" + (" (it took the place of an older file)" if replaced else "")
    )
    return faces


def read_or_draw(args: argparse.Namespace) -> "FaceSet":
    """The faces of the data set that --dataset names."""
    if args.dataset == "fer2013":
        return fer2013.read_raw(args.source)
    if args.dataset == "ferplus":
        return ferplus.read_raw(args.source, args.labels)
    if args.dataset == "ckplus":
        return ckplus.read_raw(args.source)
    if args.dataset == "ckextended":
        return ckextended.read_raw(args.source)
    if args.dataset == OWN:
        return own_faces.read_raw(args.source, args.output.stem)
    if args.dataset == "synthetic":
        return synthetic.draw_fer2013(args.faces, args.seed)
    return synthetic.draw_ckplus(args.faces, args.seed)


def check_output(output: Path, source: Path | None) -> None:
    """Refuse, before anything is read, what cannot be written, and to write over what cannot be an older output."""
    check_writable(output.parent)
    if output.is_dir():
        raise ValueError(f"{output} is a folder: give --output a file name, such as {output / 'fer2013.h5'}")
    if source is not None and output.exists() and source.exists() and os.path.samefile(output, source):
        raise ValueError(f"--output {output} is the source itself: name another file")
    if output.exists():
        with open(output, "rb") as file:
            start = file.read(8)
        if start and start != hdf5_file.SIGNATURE:
            raise ValueError(f"--output {output} is there and is no HDF5 file: move it away or name another file")


def build_parser() -> Parser:
    parser = Parser(prog="preprocess_fer2013.py", description=__doc__)
    parser.add_argument(
        "--dataset", choices=(*DATASETS, OWN), default="fer2013", help=f"what to read or draw; {OWN}: own pictures"
    )
    sources = ", ".join(f"{path} for {name}" for name, path in USUAL_SOURCES.items())
    parser.add_argument("--source", type=file_path, metavar="PATH", help=f"the raw data (default: {sources})")
    parser.add_argument(
        "--output",
        type=file_path,
        metavar="PATH",
        help="HDF5 file to write or to replace (default: data/<dataset>.h5, or data/<name of the folder>.h5)",
    )
    parser.add_argument(
        "--labels", type=file_path, metavar="CSV", help=f"the votes of FER+ (default for ferplus: {USUAL_VOTES})"
    )
    drawn = parser.add_argument_group("synthetic, synthetic-ckplus")
    drawn.add_argument(
        "--faces",
        type=positive_int,
        metavar="N",
        help="faces to draw: for Training, where PublicTest and PrivateTest get an eighth each, or for all sequences "
        f"of synthetic-ckplus together (default: {', '.join(f'{n} for {name}' for name, n in FACES.items())})",
    )
    drawn.add_argument("--seed", type=non_negative_int, help="seed of the drawing (default: 0)")
    return parser


def complete(parser: Parser, args: argparse.Namespace) -> argparse.Namespace:
    """Fill in the defaults that depend on the data set, and refuse an option that it would ignore."""
    if args.labels is not None and args.dataset == "fer2013":
        args.dataset = "ferplus"
    drawn = args.dataset in FACES
    meaningless = ["source"] if drawn else ["faces", "seed"]
    for option in meaningless + ["labels"] * (args.dataset != "ferplus"):
        if getattr(args, option) is not None:
            parser.error(f"--{option} means nothing with --dataset {args.dataset}: leave it out")
    if drawn:
        args.faces = FACES[args.dataset] if args.faces is None else args.faces
        args.seed = 0 if args.seed is None else args.seed
        if args.dataset == "synthetic" and args.faces < 8:
            parser.error(f"--faces {args.faces} leaves none for PublicTest and PrivateTest: give 8 or more")
        if args.faces > MOST_FACES:
            parser.error(f"--faces {args.faces}: {MOST_FACES} is the most that are drawn")
    elif args.source is None:
        if args.dataset == OWN:
            parser.error(f"--dataset {OWN} needs --source DIR: a folder with <class>/ or <split>/<class>/ in it")
        args.source = Path(USUAL_SOURCES[args.dataset])
    if args.dataset == "ferplus":
        args.labels = expand_one(args.labels or Path(USUAL_VOTES))
    args.source = args.source and expand_one(args.source)
    name = args.source.resolve().name if args.dataset == OWN else args.dataset
    args.output = args.output or Path("data") / f"{name}.h5"
    if args.dataset == OWN and args.output.stem in DATASETS:
        parser.error(f"--output {args.output} is the file of another data set: give a name of your own")
    return args


def main(argv: Sequence[str] | None = None) -> "FaceSet":
    parser = build_parser()
    return run(parser, parser.parse_args(argv), lambda args: preprocess(complete(parser, args)))


if __name__ == "__main__":
    main(sys.argv[1:])
