"""Which files of a folder are pictures, and how a picture file is read: upright, on white, 8 bits, RGB.

Everything that Pillow reads is taken; a phone's HEIC too where pillow-heif is installed.
"""

import functools
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from utils.files import is_clutter, walk_files

HEIF = (".heic", ".heif", ".hif")
# What cameras write and Pillow may have no reader for: pictures all the same, to be named and not passed over
CAMERAS = (".avif", ".jxl", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2")
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# What Pillow has a reader for and that is no picture: data, films, and pages or drawings that another program paints
NOT_PICTURES = {
    *(".bufr", ".grib", ".h5", ".hdf", ".fit", ".fits", ".iim", ".mpg", ".mpeg", ".flc", ".fli"),
    *(".eps", ".ps", ".emf", ".wmf"),
}
# JPEG, PNG, GIF, WebP, TIFF
BEGINNINGS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL)


@functools.cache
def picture_endings() -> frozenset[str]:
    """The file endings, in small letters, of what a folder's pictures may be called."""
    Image.init()
    known = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset((known - NOT_PICTURES).union(HEIF, CAMERAS))


def list_pictures(folder: Path) -> list[Path]:
    """The pictures that lie in a folder itself, by their endings, sorted; clutter is none."""
    inside = (path for path in folder.iterdir() if path.suffix.lower() in picture_endings())
    return sorted(path for path in inside if path.is_file() and not is_clutter(path.name))


def unnamed_pictures(folder: Path) -> list[Path]:
    """The files in a folder and those below it that are pictures by their first bytes and not by their names."""
    known = picture_endings() | NOT_PICTURES
    return [path for path in walk_files(folder) if path.suffix.lower() not in known and _begins_as_one(path)]


def _begins_as_one(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return BEGINNINGS.match(file.read(12)) is not None
    except OSError:
        return False


def load_image(path: str | Path) -> np.ndarray:
    """Read an image as it is meant to be seen; uint8 (h, w, 3), RGB.

    EXIF orientation is applied, transparency is put on white, 16 bits become 8, and of an animation the first
    image counts. Raises FileNotFoundError, or ValueError for a file that is no image, damaged or huge.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no image {path}; give the path of one that is there")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not an image")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; fetch it again")
    if _is_heif(path) and not _reads_heif():
        raise ValueError(f"{path} is HEIC, which needs one package more: python -m pip install pillow-heif")
    try:
        with opened(path) as image:
            return upright(image)
    except (PermissionError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that can be read; save it as JPEG or PNG") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        limit = Image.MAX_IMAGE_PIXELS / 1e6
        raise ValueError(f"{path} has more than {limit:.0f} megapixels; make it smaller") from None
    except Exception as error:  # on damaged files decoders raise OSError, SyntaxError, struct.error, IndexError, ...
        raise ValueError(f"{path} is damaged or truncated ({error}); fetch it again") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An image file; Pillow's errors for what is none, and its remarks on damaged metadata to nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_formats()) as image:
            yield image


@functools.cache
def _formats() -> list[str]:
    """Pillow's names of the formats that are opened; a page of PostScript would start another program."""
    _reads_heif()
    Image.init()
    closed = {Image.registered_extensions().get(ending) for ending in NOT_PICTURES}
    return [name for name in Image.ID if name not in closed]


def _is_heif(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:] in HEIF_BRANDS


@functools.cache
def _reads_heif() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def upright(image: Image.Image) -> np.ndarray:
    """An opened image as `load_image` gives it."""
    return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode == "F" or image.mode.startswith("I"):
        x = np.nan_to_num(np.asarray(image, np.float64))
        # neither says what white is: integers of 16 bits may well hold 8, and floats anything
        kinds = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        full = next((full for full in kinds if x.max() <= full), x.max())
        gray = (x.clip(0, full) * (255 / full)).round().astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
