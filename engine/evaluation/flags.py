"""The flags of scripts that test checkpoints; light, because they are read before PyTorch is loaded."""

import argparse

from datasets.names import DATASETS, VIEWS
from utils.cli import file_path, plain_name, positive_int


def add_test_flags(parser: argparse.ArgumentParser) -> None:
    """What `engine.evaluation.testing` needs to know besides the checkpoints."""
    data = parser.add_argument_group("faces")
    names = f"{', '.join(DATASETS)}, or the name of your own"
    data.add_argument("--dataset", type=plain_name, metavar="NAME", help=f"{names} (default: the checkpoint's)")
    data.add_argument(
        "--data", type=file_path, metavar="PATH", help="HDF5 file (default: the one that the run was trained on)"
    )
    data.add_argument("--split", metavar="NAME", help="default: PrivateTest if it is there, else PublicTest")
    group = parser.add_argument_group("computation")
    group.add_argument("--views", choices=tuple(VIEWS), default="ten", help="crops of a face whose logits are averaged")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
    group.add_argument(
        *("--batch-size", "--bs", "--batch_size"),
        type=positive_int,
        metavar="N",
        help="views at once (default: 64 on a CPU, 256 on a GPU)",
    )
    group.add_argument("--amp", action=argparse.BooleanOptionalAction, default=False, help="bfloat16, not float32")
