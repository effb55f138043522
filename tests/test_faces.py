"""Reading pictures, finding faces in them and cutting these out."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

from datasets import cascades, centerface, pictures
from datasets import photographs as faces
from datasets.photographs import (
    Box,
    clip,
    crop_face,
    drop_nested,
    find_faces,
    is_face_crop,
    may_be_a_face,
    to_gray,
    turn_of,
    whole_image,
)
from datasets.pictures import list_pictures, load_image
from utils.files import is_clutter

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]], [[0, 255, 255], [9, 9, 9]]], np.uint8)


@pytest.fixture(scope="module")
def portrait():
    return load_image(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def save(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


def test_load_image_keeps_an_rgb_picture(tmp_path):
    assert np.array_equal(load_image(save(tmp_path / "mit Leerzeichen, 表情.png", COLOURS)), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_image_applies_exif_orientation(tmp_path, orientation):
    upright = COLOURS
    stored = {  # what a camera writes that declares this orientation
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", np.ascontiguousarray(stored), exif=exif)
    assert np.array_equal(load_image(path), upright)


def test_load_image_converts_every_mode(tmp_path):
    gray = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    rgb = np.repeat(gray[..., None], 3, 2)
    assert np.array_equal(load_image(save(tmp_path / "gray.png", gray)), rgb)
    assert np.array_equal(load_image(save(tmp_path / "16.png", gray.astype(np.uint16) * 257)), rgb)
    assert np.array_equal(load_image(save(tmp_path / "32.tif", gray.astype(np.int32) * 257)), rgb)
    assert np.array_equal(load_image(save(tmp_path / "unit.tif", gray.astype(np.float32) / 255)), rgb)
    assert np.array_equal(load_image(save(tmp_path / "float.tif", gray.astype(np.float32))), rgb)
    Image.fromarray(gray).convert("P").save(tmp_path / "palette.gif")
    assert np.array_equal(load_image(tmp_path / "palette.gif"), rgb)
    Image.fromarray(gray > 100).save(tmp_path / "1.png")
    assert np.array_equal(load_image(tmp_path / "1.png"), np.where(rgb > 100, 255, 0))
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.array_equal(load_image(tmp_path / "cmyk.tif"), rgb)


def test_load_image_puts_transparency_on_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 51, 255
    loaded = load_image(save(tmp_path / "x.png", rgba))
    assert loaded.shape == (1, 3, 3)
    assert loaded[0, :, 0].tolist() == [255, 204, 0]


def test_load_image_errors_are_one_line_with_the_path(tmp_path, portrait):
    good = save(tmp_path / "good.jpg", portrait)
    data = good.read_bytes()
    bad = {"truncated.jpg": data[: len(data) // 2], "empty.png": b"", "text.jpg": b"not a picture\n" * 99}
    png = save(tmp_path / "good.png", portrait).read_bytes()
    bad |= {"truncated.png": png[: len(png) // 2], "broken.png": png[:60] + b"\0" * 60 + png[120:]}
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name) as caught:
            load_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no image .*missing.png"):
        load_image(tmp_path / "missing.png")
    with pytest.raises(ValueError, match="is a folder"):
        load_image(tmp_path)


@pytest.mark.parametrize("limit", [1000, 4000])  # pixels; above the limit Pillow warns, above twice that it raises
def test_load_image_refuses_huge_pictures(tmp_path, monkeypatch, limit):
    path = save(tmp_path / "huge.png", np.zeros((50, 100), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(ValueError, match="huge.png has more than .* megapixels"):
        load_image(path)


def test_load_image_takes_the_first_image_of_an_animation(tmp_path):
    frames = [Image.fromarray(np.full((4, 5), value, np.uint8)) for value in (40, 200)]
    for name in ("x.gif", "x.png", "x.webp", "x.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert abs(int(load_image(tmp_path / name)[0, 0, 0]) - 40) < 3, name


def test_load_image_reads_16_bit_colours_and_gray_with_transparency(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "16.png"), np.full((2, 3, 3), (10, 20, 30), np.uint16) * 257)  # blue, green, red
    assert load_image(tmp_path / "16.png")[0, 0].tolist() == [30, 20, 10]
    Image.fromarray(np.array([[[0, 0], [0, 255]]], np.uint8)).save(tmp_path / "la.png")
    assert load_image(tmp_path / "la.png")[0, :, 0].tolist() == [255, 0]


def test_a_phones_heic_is_read_where_a_package_for_it_is_installed(tmp_path, monkeypatch):
    path = tmp_path / "IMG_1.HEIC"
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(np.full((64, 64, 3), 90, np.uint8))).save(path)
    assert abs(int(load_image(path).mean()) - 90) < 3
    monkeypatch.setattr(pictures, "_reads_heif", lambda: False)
    with pytest.raises(ValueError, match="IMG_1.HEIC is HEIC.* -m pip install pillow-heif"):
        load_image(path)


def test_list_pictures_takes_what_can_be_read_and_no_clutter(tmp_path):
    wanted = ["a.JPG", "b.tif", "c.gif", "d.jfif", "e.webp", "f.HEIC"]
    for name in [*wanted, "._a.jpg", ".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store", "notes.txt", "x.h5"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert [path.name for path in list_pictures(tmp_path)] == wanted


def test_is_clutter():
    assert all(map(is_clutter, ("__MACOSX", "x/Thumbs.db", ".DS_Store", "._x.jpg", ".ipynb_checkpoints/x.jpg")))
    assert not any(map(is_clutter, ("x.jpg", "../x.jpg", "holidays/x.y/z")))


def test_find_faces_in_the_sample_portrait(portrait):
    (box,) = find_faces(portrait)
    eyes, nose_and_mouth = (215, 178), (270, 270)  # read off the photograph, 512x600
    assert 180 <= box.w == box.h <= 270
    for x, y in (eyes, nose_and_mouth):
        assert box.x < x < box.x + box.w and box.y < y < box.y + box.h


def test_find_faces_does_not_depend_on_resolution_or_colour(portrait):
    image = Image.fromarray(portrait)
    (box,) = find_faces(portrait)
    for factor in (0.25, 4):
        resized = np.asarray(image.resize((round(512 * factor), round(600 * factor))))
        (found,) = find_faces(to_gray(resized))
        assert np.allclose(np.array(found) / factor, box, atol=0.12 * box.w)


def test_find_faces_finds_several_largest_first(portrait):
    canvas = np.full((620, 1000, 3), 120, np.uint8)
    small = np.asarray(Image.fromarray(portrait).resize((300, 352)))
    canvas[100:452, 20:320] = small
    canvas[10:610, 400:912] = portrait
    large, other = find_faces(canvas)
    assert large.x > 400 and other.x + other.w < 320 and large.w > other.w
    assert all(isinstance(v, int) for v in large)


@pytest.mark.parametrize("shape", [(48, 48, 3), (1, 1), (3, 500), (400, 30, 3), (300, 300)])
def test_find_faces_where_there_is_none(shape):
    assert find_faces(np.full(shape, 127, np.uint8)) == []


@pytest.mark.parametrize("name", ["portrait-1.jpg", "portrait-2.jpg"])
def test_find_faces_in_photographs(real_data, name):
    picture = load_image(real_data / "photos" / name)
    (box,) = find_faces(picture)
    assert box.w > picture.shape[1] / 2


def test_drop_nested():
    large, touching, inside, apart = Box(0, 0, 100, 100), Box(80, 0, 80, 80), Box(60, 60, 50, 50), Box(200, 0, 50, 50)
    assert drop_nested([apart, inside, touching, large]) == [large, touching, apart]
    assert drop_nested([]) == []


def test_missing_opencv_is_explained(monkeypatch):
    advice = r'python -m pip install "opencv-python-headless<5"'
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match="needs OpenCV") as caught:
        cascades._cascade.__wrapped__(cascades.CASCADE)
    assert advice in str(caught.value)
    for new in (types.SimpleNamespace(__version__="5.0.0"), types.SimpleNamespace(__version__="5", data=None)):
        monkeypatch.setitem(sys.modules, "cv2", new)
        with pytest.raises(ValueError, match="OpenCV 5.* has no Haar cascades") as caught:
            cascades._cascade.__wrapped__(cascades.CASCADE)
        assert advice in str(caught.value)


def test_crop_face_leaves_a_face_as_it_is():
    face = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    rgb = np.repeat(face[..., None], 3, 2)
    assert np.array_equal(crop_face(rgb, whole_image(rgb), margin=0), face)
    assert np.array_equal(crop_face(face, whole_image(face), margin=0), face)


def test_crop_face_averages_areas():
    picture = np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8)
    crop = crop_face(picture, Box(50, 4, 144, 144), margin=0)
    assert crop.dtype == np.uint8
    expected = picture[4:148, 50:194].reshape(48, 3, 48, 3).mean((1, 3))
    assert np.abs(crop - expected).max() <= 1  # rows and columns are each rounded
    assert crop_face(picture, Box(50, 4, 144, 144), margin=0, size=64).shape == (64, 64)


def test_crop_face_margin_grows_around_the_middle():
    picture = np.zeros((100, 100), np.uint8)
    picture[20:80, 20:80] = 255  # a box of 48 in the middle and 6 more on each side
    assert crop_face(picture, Box(26, 26, 48, 48), margin=6 / 48).min() == 255
    assert (crop_face(picture, Box(26, 26, 48, 48), margin=0.25) == 0).sum() == 48**2 - 40**2
    tall = crop_face(picture, Box(40, 26, 20, 48), margin=0)  # a box that is not square: its longer side
    assert np.array_equal(tall, crop_face(picture, Box(26, 26, 48, 48), margin=0))


def test_crop_face_repeats_the_border():
    picture = np.arange(48, dtype=np.uint8)[:, None] + np.arange(0, 96, 2, dtype=np.uint8)
    crop = crop_face(picture, Box(-12, 12, 48, 48), margin=0)
    assert np.array_equal(crop, np.pad(picture, ((0, 12), (12, 0)), mode="edge")[12:, :48])


def test_small_faces_are_enlarged_smoothly():
    ramp = np.tile(np.linspace(0, 255, 12).astype(np.uint8), (12, 1))
    crop = crop_face(ramp, Box(0, 0, 12, 12), margin=0)
    assert crop.shape == (48, 48) and (np.diff(crop[24].astype(int)) <= 8).all()


def test_whole_image_and_face_crops():
    assert whole_image(np.zeros((60, 100, 3))) == (20, 0, 60, 60)
    assert whole_image(np.zeros((101, 50))) == (0, 25, 50, 50)
    assert all(is_face_crop(np.zeros(shape)) for shape in ((48, 48), (96, 80, 3)))
    assert not any(is_face_crop(np.zeros(shape)) for shape in ((48, 80), (97, 97, 3), (600, 512, 3)))


def test_what_may_be_a_face_as_a_whole():
    assert all(may_be_a_face(np.zeros(shape)) for shape in ((600, 600), (1000, 800), (200, 140)))
    assert not any(may_be_a_face(np.zeros(shape)) for shape in ((3000, 4000), (480, 640), (250, 100)))


def test_small_faces_are_found_in_a_large_picture_and_nothing_else(portrait):
    y, x = np.mgrid[:3000, :4000].astype(np.float32)
    scene = (128 + 60 * np.sin(x / 37 + y / 91) * np.cos(y / 53)).astype(np.uint8)
    face = Image.fromarray(portrait).convert("L").crop((60, 30, 380, 380))  # the face itself is 220 wide
    places = [(300, 400, 140), (1900, 1500, 100), (3400, 2400, 60)]
    for x, y, side in places:
        small = np.asarray(face.resize((round(320 * side / 220), round(350 * side / 220))))
        scene[y : y + small.shape[0], x : x + small.shape[1]] = small
    boxes = find_faces(scene)
    assert len(boxes) == 3
    for box, (x, y, side) in zip(boxes, places, strict=True):  # largest first
        assert x < box.x + box.w / 2 < x + 1.5 * side and y < box.y + box.h / 2 < y + 1.6 * side
        assert 0.75 * side < box.w < 1.25 * side


def test_a_face_that_fills_the_picture_or_lies_aslant_is_found(portrait):
    face = Image.fromarray(portrait).crop((155, 106, 375, 326))
    (box,) = find_faces(np.asarray(face.crop((0, 0, 220, 185))))  # to the chin
    assert box.w > 130 and abs(box.x + box.w / 2 - 110) < 40
    aslant = Image.fromarray(portrait).rotate(24, Image.Resampling.BILINEAR, center=(265, 216))
    (box,) = find_faces(np.asarray(aslant))
    assert abs(box.x + box.w / 2 - 265) < 50 and abs(box.y + box.h / 2 - 216) < 50


@pytest.mark.parametrize("degrees", (-25, 0, 25))
def test_a_turned_face_is_cut_out_upright(portrait, degrees):
    (box,) = find_faces(portrait)
    x, y, w, h = box
    around = Image.fromarray(to_gray(portrait)).crop((x - w, y - h, x + 2 * w, y + 2 * h))
    turned = np.asarray(around.rotate(-degrees, Image.Resampling.BILINEAR))
    there = Box(w, h, w, h)
    found = turn_of(turned, there)
    assert abs(found - degrees) < 10
    upright, levelled = crop_face(np.asarray(around), there), crop_face(turned, there, degrees=degrees)
    assert np.abs(upright.astype(int) - levelled).mean() < 3
    assert np.abs(upright.astype(int) - crop_face(turned, there, degrees=found)).mean() < 12


def test_a_turn_is_about_the_middle_of_the_box():
    image = np.random.default_rng(0).integers(0, 256, (80, 70), np.uint8)
    for box in (Box(20, 25, 24, 24), Box(21, 25, 25, 25)):
        straight = crop_face(image, box, 0, box.w)
        assert np.array_equal(crop_face(image, box, 0, box.w, 90), np.rot90(straight))
        assert np.array_equal(crop_face(image, box, 0, box.w, 180), straight[::-1, ::-1])
    assert turn_of(np.full((90, 90), 128, np.uint8), Box(20, 20, 50, 50)) == 0


def test_clip():
    picture = np.zeros((100, 200))
    assert clip(Box(-10, 60, 50, 50), picture) == (0, 60, 40, 40)
    assert clip(Box(300, 300, 9, 9), picture)[2:] == (0, 0)


def test_centerface_is_read_from_where_it_is_installed(tmp_path, monkeypatch, portrait):
    """A network that sees one face wherever it looks stands in for the one of the package."""
    assert faces.best_detector() == faces.CASCADE or centerface.weights()

    class Network:
        def setInput(self, x):  # noqa: N802
            self.side = x.shape[-1]
            assert x.shape == (1, 3, self.side, self.side) and x.dtype == np.float32 and x.max() > 200

        def forward(self, names):
            n = self.side // 4
            heat = np.zeros((1, 1, n, n), np.float32)
            heat[0, 0, n // 2, n // 2], heat[0, 0, n // 2, n // 2 + 1] = 0.9, 0.8  # the second is the same face
            return heat, np.full((1, 2, n, n), np.log(n / 8), np.float32), np.zeros((1, 2, n, n)), None

    monkeypatch.setattr(centerface, "_network", lambda side: Network())
    monkeypatch.setattr(centerface, "weights", lambda: tmp_path / centerface.FILE)
    assert faces.best_detector() == "centerface.onnx"
    (box,) = find_faces(portrait, faces.best_detector())
    h, w = portrait.shape[:2]
    assert abs(box.x + box.w / 2 - w / 2) < 8 and abs(box.y + box.h / 2 - h / 2) < 8 and box.w == box.h
