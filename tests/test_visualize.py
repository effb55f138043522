"""visualize.py from a picture to table, JSON and figure, with a network of random weights."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image

import visualize
from datasets.photographs import CASCADE, MARGIN, Box, crop_face, find_faces
from datasets.pictures import load_image
from datasets.views import make_views
from engine.annotate import detect
from engine.explain import occlusion_map
from engine.face_table import cells, faces_table
from engine.figures import faces as face_figure
from engine.figures.faces import AnnotatedImage, Face, faces_figure, how_many_fit, percent
from engine.predict import predict
from models.build import build_model
from models.checkpoint import load_classifier, save_checkpoint

NAMES = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
PORTRAIT = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)


def write_checkpoint(path, names=NAMES):
    torch.manual_seed(0)
    state = {
        "format_version": 1,
        "model_name": "small",
        "model_kwargs": {},
        "inputs": {"size": 48, "crop": 44, "channels": 1, "mean": 0.5, "std": 0.25},
        "class_names": list(names),
        "dataset": "FER2013",
        "model": build_model("small", len(names)).state_dict(),
    }
    save_checkpoint(path, state)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "small.pt")


@pytest.fixture
def look(tmp_path, checkpoint):
    """Run the script with that checkpoint; the figure is tmp_path / "out.png" unless arguments say otherwise."""

    def run(*args, explain="--no-explain"):
        defaults = ["--checkpoint", checkpoint, "--output", tmp_path / "out.png", explain, "--device", "cpu"]
        return visualize.main([str(arg) for arg in [*defaults, *args]])

    return run


@pytest.fixture
def refused(look, capsys):
    """Run the script and return the one line with which it refuses."""

    def run(*args):
        with pytest.raises(SystemExit) as stop:
            look(*args)
        out, err = capsys.readouterr()
        assert stop.value.code == 2 and out == ""
        assert re.fullmatch(r"\S+: error: [^\n]+\n", err)
        return err

    return run


def face_file(path, size=(48, 48)):
    pixels = np.random.default_rng(0).integers(0, 256, size[::-1], np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_the_sample_portrait(look, tmp_path, capsys, checkpoint):
    (image,) = look("--json", tmp_path / "out.json", explain="--explain")
    (face,) = image["faces"]
    picture = load_image(PORTRAIT)
    (box,) = find_faces(picture)
    assert face["box"] == list(box)
    assert (image["width"], image["height"]) == (512, 600)
    assert image["image"] == PORTRAIT and image["checkpoint"] == str(checkpoint)
    assert image["detector"] == CASCADE and image["views"] == "ten"

    # the same numbers, step by step
    classifier = load_classifier(checkpoint)
    crop = crop_face(picture, box, MARGIN)
    p = predict(classifier.model, crop[None], make_views("ten", crop=44, mean=0.5, std=0.25)).softmax(1)[0]
    assert list(face["probabilities"]) == NAMES
    assert np.allclose(list(face["probabilities"].values()), p, atol=1e-5)
    assert face["prediction"] == NAMES[p.argmax()]

    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == [image]
    header, row, *rest = capsys.readouterr().out.splitlines()
    assert header.split() == ["image", "face", "box", "(x", "y", "w", "h)", "prediction", *NAMES]
    assert row.split()[:6] == [Path(PORTRAIT).name, "1", *map(str, box)]
    assert row.split()[6:] == [face["prediction"], *(f"{100 * v:.1f}%" for v in face["probabilities"].values())]
    assert len(header) == len(row)
    assert rest == [f"figure: {tmp_path / 'out.png'}", f"scores: {tmp_path / 'out.json'}"]
    with Image.open(tmp_path / "out.png") as figure:
        assert 1500 < figure.width < 3000 and 400 < figure.height < 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.png"]


def test_several_faces_and_several_pictures(look, tmp_path, capsys):
    portrait = Image.open(PORTRAIT)
    group = Image.new("RGB", (820, 420), "gray")
    group.paste(portrait.resize((256, 300)), (20, 40))
    group.paste(portrait.resize((340, 400)), (440, 10))
    group.save(tmp_path / "zwei Gesichter, $5 両方.png")
    crop = face_file(tmp_path / "face.png")
    first, second = look("--image", tmp_path / "zwei Gesichter, $5 両方.png", crop, "--views", "flip", "--json", "-")
    out, err = capsys.readouterr()
    assert json.loads(out) == [first, second] and err == ""
    assert [face["box"][0] > 400 for face in first["faces"]] == [True, False]
    assert second["detector"] is None and second["faces"][0]["box"] == [0, 0, 48, 48]
    assert first["views"] == "flip" and first["image"].endswith("両方.png")
    with Image.open(tmp_path / "out.png") as figure:  # two rows of faces, then one
        assert figure.height > 3 * 1.8 * 200


def test_detect_modes(look, refused, tmp_path, capsys):
    (image,) = look("--image", PORTRAIT, "--detect", "off")
    assert image["detector"] is None and image["faces"][0]["box"] == [0, 44, 512, 512]
    assert capsys.readouterr().err == ""

    (image,) = look("--image", PORTRAIT, "--detect", "on")
    assert image["detector"] == CASCADE

    wall = tmp_path / "wall.png"
    Image.new("L", (250, 200), 90).save(wall)
    (image,) = look("--image", wall)
    assert image["detector"] is None and image["faces"][0]["box"] == [25, 0, 200, 200]
    assert capsys.readouterr().err == f"{wall}: no face found, the whole image is taken for one\n"
    assert "no face found in" in refused("--image", wall, "--detect", "on")


def test_a_scene_without_a_face_is_not_one(look, tmp_path, capsys):
    scene = tmp_path / "scene.png"
    Image.new("RGB", (640, 480), "gray").save(scene)
    (image,) = look("--image", scene, "--json", tmp_path / "out.json")
    out, err = capsys.readouterr()
    assert image["faces"] == [] == json.loads((tmp_path / "out.json").read_text())[0]["faces"]
    assert err == f"{scene}: no face found, --detect off takes the whole for one\n"
    assert re.search(r"^scene.png +- +no face$", out, re.M) and "no face, so no figure" in out
    assert look("--image", scene, explain="--explain=gradcam")[0]["faces"] == []
    first, second = look("--image", scene, face_file(tmp_path / "face.png"))
    assert first["faces"] == [] and len(second["faces"]) == 1 and (tmp_path / "out.png").exists()


def test_files_that_cannot_be_read_are_named_and_left_out(look, refused, tmp_path, capsys):
    folder = tmp_path / "holidays"
    folder.mkdir()
    good = [face_file(folder / name) for name in ("a.png", "b.tif", "c.gif")]
    (folder / "cut.jpg").write_bytes(Path(PORTRAIT).read_bytes()[:9000])
    (folder / "empty.jpg").touch()
    face_file(folder / "one.bmp", (1, 1))
    for given in ([folder], sorted(folder.iterdir()), [folder / "*.*"]):
        images = look("--image", *given)
        assert [image["image"] for image in images] == list(map(str, good))
        lines = capsys.readouterr().err.splitlines()
        for line, name in zip(lines, ("cut.jpg is damaged", "empty.jpg is empty", "one.bmp is 1x1"), strict=True):
            assert line.startswith(f"visualize.py: left out: {folder / name}")
    with pytest.raises(SystemExit) as stop:
        look("--image", folder / "empty.jpg", folder / "one.bmp")
    assert stop.value.code == 2
    assert capsys.readouterr().err.endswith("error: nothing could be seen in any of the 2 images\n")


def test_a_face_is_used_as_it_is(look, tmp_path, checkpoint):
    path = face_file(tmp_path / "face.png")
    ((face,),) = (image["faces"] for image in look("--image", path, "--views", "center"))
    classifier = load_classifier(checkpoint)
    views = make_views("center", crop=44, mean=0.5, std=0.25)
    p = predict(classifier.model, np.array(Image.open(path))[None], views).softmax(1)[0]
    assert np.allclose(list(face["probabilities"].values()), p, atol=1e-5)


def test_margin_is_for_boxes_not_for_the_whole_image():
    picture, path = load_image(PORTRAIT), Path(PORTRAIT)
    (box,) = find_faces(picture)
    for asked, used in ((None, MARGIN), (0.5, 0.5)):
        found = detect(path, "on", asked, 48)
        assert np.array_equal(found.crops[0], crop_face(picture, box, used))
    assert np.array_equal(detect(path, "off", 0.5, 48).crops[0], crop_face(picture, Box(0, 44, 512, 512), 0))


def test_a_folder_is_its_pictures_without_the_figure(look, refused, tmp_path):
    folder = tmp_path / "holidays"
    folder.mkdir()
    assert "no image in" in refused("--image", folder)
    for name in ("b.png", "a.JPG", "._a.JPG", "notes.txt"):
        (face_file(folder / name) if name[0] in "ab" else (folder / name).touch())
    for _ in range(2):  # the second time, the first one's figure lies in the folder
        images = look("--image", folder, "--output", folder / "out.png")
        assert [image["image"] for image in images] == [str(folder / "a.JPG"), str(folder / "b.png")]


def test_output_that_cannot_take_every_letter(look, tmp_path, monkeypatch):
    path = face_file(tmp_path / "表情.png")
    for extra, expected in (((), "\\u8868\\u60c5.png"), (("--json", "-"), "\\u8868\\u60c5.png")):
        pipe = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr("sys.stdout", pipe)
        look("--image", path, *extra)
        pipe.flush()
        assert expected in pipe.buffer.getvalue().decode()


@pytest.mark.parametrize("ending, start", [("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_vector_figures(look, tmp_path, ending, start):
    path = tmp_path / "new folder" / f"out.{ending}"
    look("--image", face_file(tmp_path / "face.png"), "--output", path)
    assert path.read_bytes().startswith(start)


def test_class_names_without_a_drawing(look, tmp_path):
    odd = write_checkpoint(tmp_path / "odd.pt", ["$\\alpha$", "開心", "a rather long name of a class"])
    (image,) = look("--image", face_file(tmp_path / "face.png"), "--checkpoint", odd)
    assert set(image["faces"][0]["probabilities"]) == {"$\\alpha$", "開心", "a rather long name of a class"}


def test_bad_input_is_one_line(refused, tmp_path):
    face = face_file(tmp_path / "face.png")
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    missing = tmp_path / "missing.pt"
    assert f"no image {tmp_path / 'none.png'}" in refused("--image", tmp_path / "none.png")
    assert "text.jpg is not an image" in refused("--image", text)
    assert "8x30 pixels" in refused("--image", face_file(tmp_path / "tiny.png", (8, 30)))
    assert f"no checkpoint {missing}; train one with: python train.py" in refused("--checkpoint", missing)
    assert ".png, .pdf, .svg" in refused("--image", face, "--output", tmp_path / "out.docx")
    assert "would overwrite the image" in refused("--image", face, "--output", face)
    assert "would overwrite the image" in refused("--image", face, "--json", face)
    assert "give two names" in refused("--image", face, "--json", tmp_path / "out.png")
    assert "it is a folder" in refused("--image", face, "--json", tmp_path)
    assert "is a file" in refused("--image", face, "--output", face / "out.png")
    assert "'2' is not a number from 0 to 1" in refused("--margin", "2")
    assert "invalid choice: 'eleven'" in refused("--views", "eleven")
    assert "--device abacus: not available here" in refused("--image", face, "--device", "abacus")
    assert not (tmp_path / "out.png").exists()


def test_a_network_that_diverged_is_refused(refused, tmp_path):
    state = torch.load(write_checkpoint(tmp_path / "nan.pt"), weights_only=True)
    state["model"]["linear.bias"][0] = torch.nan
    save_checkpoint(tmp_path / "nan.pt", state)
    assert "diverged" in refused("--image", face_file(tmp_path / "face.png"), "--checkpoint", tmp_path / "nan.pt")


def test_what_the_parser_repeats_agrees():
    assert f"(default: {MARGIN})" in visualize.build_parser().format_help()


def test_table_aligns_wide_letters():
    face = {"box": [1, 2, 3, 4], "prediction": "Happy", "probabilities": {"Happy": 1.0, "悲しい": 0.0}}
    table = faces_table(
        [{"image": "写真.jpg", "faces": [face]}, {"image": "x.jpg", "faces": [face]}], ["Happy", "悲しい"]
    )
    assert len({cells(line) for line in table.splitlines()}) == 1


def test_figures_have_a_largest_height():
    face = Face((0, 0, 9, 9), np.zeros((48, 48), np.uint8), np.array([0.2, 0.8]))
    pictures = [AnnotatedImage("x", np.zeros((9, 9, 3), np.uint8), 9, 9, [face])] * 99
    shown = how_many_fit(pictures)
    assert 40 < shown < 99 and how_many_fit(pictures[:shown]) == shown
    crowd = AnnotatedImage("x", np.zeros((9, 9, 3), np.uint8), 9, 9, [face] * 400)
    assert how_many_fit([crowd, crowd]) == 1


@pytest.mark.parametrize("faces", [1, 2, 3, 6])
def test_a_tall_photograph_is_as_high_as_its_faces(faces):
    face = Face((0, 0, 9, 9), np.zeros((48, 48), np.uint8), np.array([0.2, 0.8]))
    tall, flat = (
        faces_figure([AnnotatedImage("x", np.zeros((h, 30, 3), np.uint8), 30, h, [face] * faces)], ["a", "b"], {})
        for h in (300, 3)
    )
    photograph, first, last = (tall.axes[i].get_position() for i in (0, 1, -1))
    assert tall.get_figheight() == flat.get_figheight()
    assert (photograph.y0, photograph.y1) == pytest.approx((last.y0, first.y1))


def test_a_long_folder_is_scored_whole_and_drawn_in_part(look, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(face_figure, "TALLEST", 7)
    paths = [face_file(tmp_path / f"{i}.png") for i in range(4)]
    assert len(look("--image", *paths)) == 4
    assert capsys.readouterr().err == "the figure shows the first 2 of 4 images\n"
    with Image.open(tmp_path / "out.png") as figure:
        assert figure.height < 7 * 200


@pytest.mark.parametrize("p, text", [(0, "0%"), (0.004, "0%"), (0.994, "99%"), (0.996, ">99%"), (0.9999, "100%")])
def test_percent(p, text):
    assert percent(p) == text


def test_occlusion_map_finds_what_the_score_is_made_of():
    face = np.full((48, 48), 60, np.uint8)
    face[12:20, 8:16] = 255  # the reason
    face[30:38, 30:38] = 255  # what speaks against
    shapes = []

    def score(pixels):
        shapes.append((pixels.dtype, pixels.shape[1:]))
        x = pixels.astype(float)
        return x[:, 12:20, 8:16].mean((1, 2)) - x[:, 30:38, 30:38].mean((1, 2))

    heat = occlusion_map(score, face)
    assert heat.shape == (48, 48) and heat.dtype == np.float32 and shapes == [(np.uint8, (48, 48))]
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 10 <= y < 22 and 6 <= x < 18
    y, x = np.unravel_index(heat.argmin(), heat.shape)
    assert 28 <= y < 40 and 28 <= x < 40
    assert np.abs(occlusion_map(lambda pixels: np.ones(len(pixels)), face)).max() == 0


def test_the_weights_that_come_with_the_project_see_the_sample_portrait(tmp_path, monkeypatch):
    """From any folder, with nothing but --output."""
    monkeypatch.chdir(tmp_path)
    (image,) = visualize.main(["--output", "portrait.png", "--no-explain", "--device", "cpu"])
    (face,) = image["faces"]
    assert face["prediction"] == "Neutral" and (tmp_path / "portrait.png").exists()


def test_the_weights_read_two_photographs(real_data, tmp_path):
    """One frowns, the other weeps behind her hand."""
    photographs = [str(real_data / "photos" / f"portrait-{number}.jpg") for number in (1, 2)]
    images = visualize.main(["--image", *photographs, "--output", str(tmp_path / "p.png"), "--no-explain"])
    assert [face["prediction"] for image in images for face in image["faces"]] == ["Angry", "Sad"]
