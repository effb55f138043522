"""What a network says about photographs: find the faces, ask the network, explain, draw."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from datasets.photographs import (
    MARGIN,
    Box,
    best_detector,
    clip,
    crop_face,
    find_faces,
    is_a_part,
    is_face_crop,
    may_be_a_face,
    turn_of,
    whole_image,
)
from datasets.pictures import load_image
from datasets.synthetic.faces import EXPRESSIONS, draw_icon
from engine.explain import grad_cam, occlusion_map
from engine.figures.faces import AnnotatedImage, Face, faces_figure
from engine.figures.style import save_figure
from engine.predict import classifier_probabilities
from models.checkpoint import Classifier
from utils.cli import note

SMALLEST = 16  # pixels; below that nobody sees a face
DRAWN = {1: 640, 5: 1200}  # faces, from -> pixels of the photograph's long side in the figure


class DetectedFaces(NamedTuple):
    """A photograph and its faces, before the network has seen them."""

    path: Path
    rgb: np.ndarray  # uint8 (h, w, 3), reduced to what the figure shows
    width: int  # of the original, in pixels, as the boxes are
    height: int
    boxes: list[Box]
    crops: np.ndarray  # uint8 (faces, size, size), standing upright
    detector: str | None  # None: the box is the whole image


def detect(path: Path, mode: str, margin: float | None, size: int) -> DetectedFaces:
    """Read an image and cut out its faces, or, as `mode` (auto, on, off) says, its middle; there may be none."""
    rgb = load_image(path)
    h, w = rgb.shape[:2]
    if min(h, w) < SMALLEST:
        raise ValueError(f"{path} is {w}x{h} pixels; a face needs {SMALLEST}x{SMALLEST} at least")
    boxes: list[Box] = []
    if mode == "on" or (mode == "auto" and not is_face_crop(rgb)):
        boxes = find_faces(rgb, best_detector())
        if mode == "auto" and is_a_part(rgb, boxes):
            boxes = []
        if not boxes and mode == "on":
            raise ValueError(f"no face found in {path}; --detect off takes the whole image for one")
        if not boxes:
            what = "the whole image is taken for one" if may_be_a_face(rgb) else "--detect off takes the whole for one"
            note(f"{path}: no face found, {what}")
    detector = best_detector() if boxes else None
    margin = (MARGIN if margin is None else margin) if boxes else 0.0
    if not boxes and (mode == "off" or may_be_a_face(rgb)):
        boxes = [whole_image(rgb)]
    turns = [turn_of(rgb, box) if detector else 0.0 for box in boxes]
    crops = [crop_face(rgb, box, margin, size, degrees) for box, degrees in zip(boxes, turns, strict=True)]
    small = Image.fromarray(rgb)
    side = [pixels for faces, pixels in DRAWN.items() if faces <= max(1, len(boxes))][-1]
    small.thumbnail((side, side))
    pixels = np.array(crops, np.uint8).reshape(-1, size, size)
    return DetectedFaces(path, np.asarray(small), w, h, [clip(box, rgb) for box in boxes], pixels, detector)


def predict_faces(classifier: Classifier, found: list[DetectedFaces], views: str) -> list[AnnotatedImage]:
    """Give every face its probabilities."""
    scores = iter(classifier_probabilities(classifier, np.concatenate([photo.crops for photo in found]), views))
    images = []
    for photo in found:
        faces = [Face(box, crop, next(scores)) for box, crop in zip(photo.boxes, photo.crops, strict=True)]
        images.append(
            AnnotatedImage(photo.path.name, photo.rgb, photo.width, photo.height, faces, photo.detector is not None)
        )
    return images


def explain(classifier: Classifier, images: list[AnnotatedImage], how: str) -> list[AnnotatedImage]:
    """Give every face the map of what its prediction comes from, as `how` (occlusion, gradcam) says."""
    faces = [face for image in images for face in image.faces]
    if how == "gradcam":
        maps = iter(
            grad_cam(classifier, np.stack([f.pixels for f in faces]), [f.probabilities.argmax() for f in faces])
        )
    else:
        maps = (_occlusion(classifier, face) for face in faces)
    return [replace(image, faces=[replace(face, heat=next(maps)) for face in image.faces]) for image in images]


def _occlusion(classifier: Classifier, face: Face) -> np.ndarray:
    c = int(face.probabilities.argmax())

    def score(pixels: np.ndarray) -> np.ndarray:  # of two views: ten take five times as long, to look the same
        return np.log(classifier_probabilities(classifier, pixels, "flip")[:, c].clip(1e-9))

    return occlusion_map(score, face.pixels)


def draw(classifier: Classifier, images: list[AnnotatedImage], note: str, output: Path) -> None:
    """Write the figure, with the drawn face of every predicted expression that has one."""
    names = classifier.class_names
    predicted = {names[face.probabilities.argmax()] for image in images for face in image.faces}
    icons = {name: draw_icon(name, size=256) for name in predicted if name in EXPRESSIONS}
    save_figure(faces_figure(images, names, icons, note), output)
