"""Faces of one's own: trees of folders as people have them, and the scripts with their classes from end to end."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

import evaluate
import plot_confusion_matrix
import preprocess_fer2013
import train
import visualize
from datasets.names import CKPLUS_CLASSES, FER2013_CLASSES
from datasets.own_faces import cut_face, read_raw, split_by_content
from datasets.photographs import Box, is_a_part
from datasets.pictures import load_image
from datasets.raw.tree import find_tree
from datasets.storage import FaceSet, read_faces
from engine import annotate
from utils.files import is_clutter, source_digest

NAMES = ("très content", "wide awake", "おこ$_$")
CLUTTER = (
    "._x.png",
    ".ipynb_checkpoints/x.png",
    "__MACOSX/x.png",
    "Thumbs.db",
    "desktop.ini",
    ".DS_Store",
    "@eaDir/x.jpg",
)


def draw(path: Path, seed: int, size: tuple[int, int] = (48, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    Image.fromarray(noise).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def fill(root: Path, folders: dict[str, int]) -> Path:
    """Noise of 48x48: so many pictures in each folder."""
    for k, (folder, n) in enumerate(folders.items()):
        for i in range(n):
            draw(root / folder / f"{i}.png", 1000 * k + i)
    return root


def counts(faces: FaceSet) -> dict[str, list[int]]:
    return {
        name: np.bincount(split.labels, minlength=len(faces.class_names)).tolist()
        for name, split in faces.splits.items()
    }


def read(source: Path, lines: list[str] | None = None, **options) -> FaceSet:
    return read_raw(source, "mine", (lines if lines is not None else []).append, **options)


def preprocess(source: Path, *more: str) -> FaceSet:
    return preprocess_fer2013.main(["--dataset", "folder", "--source", str(source), *more])


# ---- where the classes are ----


@pytest.mark.parametrize("inside", [".", "archive", "images/images", "a/b/c"])
@pytest.mark.parametrize(
    "train_, val, test",
    [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"), ("TRAIN_set", "valid-set", "test data")],
)
def test_folders_tell_the_splits_however_they_are_packed(tmp_path, inside, train_, val, test):
    root = tmp_path / inside
    fill(root, {f"{train_}/b": 3, f"{train_}/A": 2, f"{val}/b": 1, f"{test}/a": 1})
    for name in CLUTTER:
        for folder in (tmp_path, root, root / train_, root / train_ / "b"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"what systems leave")
    faces = read(tmp_path)
    assert faces.class_names == ("A", "b") and faces.source_sha256 == source_digest(root)
    assert counts(faces) == {"Training": [2, 3], "PublicTest": [0, 1], "PrivateTest": [1, 0]}
    first = np.asarray(Image.open(root / train_ / "A" / "0.png"))
    np.testing.assert_array_equal(faces.splits["Training"].pixels[0], first)


def test_one_split_alone_is_still_a_split(tmp_path):
    assert counts(read(fill(tmp_path, {"archive/train/b": 3, "archive/train/A": 2}))) == {"Training": [2, 3]}


@pytest.mark.parametrize("name", CLUTTER)
def test_what_systems_leave_is_no_data(name):
    assert is_clutter(name) and is_clutter(f"train/happy/{name}") and not is_clutter("train/happy/1.jpg")
    assert not is_clutter("../happy/1.jpg")


def test_known_expressions_get_their_usual_names_and_places(tmp_path):
    lines: list[str] = []
    words = ("sadness", "Happiness", "afraid", "anger", "disgusted", "surprised", "neutral")
    assert read(fill(tmp_path / "7", dict.fromkeys(words, 1)), lines).class_names == FER2013_CLASSES
    assert any("sadness/ is Sad" in line for line in lines)
    words = (*words[:-1], "contempt", "bored")
    assert read(fill(tmp_path / "8", dict.fromkeys(words, 1))).class_names == (*CKPLUS_CLASSES, "bored")
    # two words for one expression are two classes
    assert read(fill(tmp_path / "2", {"fear": 1, "afraid": 1, "calm": 1})).class_names == ("afraid", "calm", "fear")


def test_accents_written_in_two_ways_are_one_class(tmp_path):
    fill(tmp_path, {"train/caf\u00e9": 1, "train/x": 1, "test/cafe\u0301": 1})
    assert read(tmp_path).class_names == ("caf\u00e9", "x")


def test_linked_folders_are_read_and_circles_end(tmp_path):
    fill(tmp_path / "far", {"a": 2, "b": 2})
    (tmp_path / "near").mkdir()
    for name in "ab":
        (tmp_path / "near" / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "far" / "a" / "circle").symlink_to(tmp_path / "far")
    assert sum(map(sum, counts(read(tmp_path / "near")).values())) == 4


@pytest.mark.parametrize(
    "folders, message",
    [
        ({}, "holds no classes of pictures: found nothing"),
        ({"happy": 2}, "holds no classes of pictures: found happy"),
        ({"train": 2, "test": 1}, "holds test/, train/ with images but no folders of classes in them"),
        ({"S1/happy": 1, "S1/sad": 1, "S2/sad": 1}, "holds S1/, S2/ and folders in these, so it is not clear"),
        ({"images/calm": 1, "images/awake": 1, "samples": 1}, "holds images/, samples/ and folders in these, so it is"),
        ({"label": 1, "calm": 1}, "a class is called 'label', as a column of predictions.csv"),
    ],
)
def test_a_tree_that_is_none_is_refused(tmp_path, monkeypatch, capsys, folders, message):
    fill(tmp_path / "own", folders)
    (tmp_path / "own").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        preprocess(Path("own"))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["own"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--dataset folder needs --source DIR"),
        (["--source", "no"], "no does not exist: point --source at a folder of pictures"),
        (["--source", "x.zip"], "x.zip is a file: unpack it"),
        (["--source", "own", "--output", "data/fer2013.h5"], "is the file of another data set"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.zip").touch()
    with pytest.raises(SystemExit):
        preprocess_fer2013.main(["--dataset", "folder", *arguments])
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_into_is_named_before_anything_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(SystemExit):
        preprocess(tmp_path / "no", "--output", str(tmp_path / "mine.h5"))
    assert f"cannot write into {tmp_path}: no permission" in capsys.readouterr().err


# ---- splits by content ----


def test_splits_by_content_are_about_80_10_10_of_each_class():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 1000)
    where = np.array(split_by_content(rng.random(3000), labels))
    for c in range(3):
        found = Counter(where[labels == c].tolist())
        assert abs(found["Training"] - 800) < 50 and abs(found["PublicTest"] - 100) < 40


def test_files_that_are_added_move_none_of_the_others():
    rng = np.random.default_rng(1)
    u, labels = rng.random(600), rng.integers(0, 3, 600)
    before = split_by_content(u[:300], labels[:300])
    assert split_by_content(u, labels)[:300] == before


@pytest.mark.parametrize("n", [3, 4, 10, 25])
def test_small_classes_are_in_every_split_and_copies_in_one(n):
    for seed in range(20):
        u = np.random.default_rng(seed).random(n)
        where = split_by_content([*u, *u], [0] * 2 * n)
        assert set(where) == {"Training", "PublicTest", "PrivateTest"} and where[:n] == where[n:]


def test_the_content_of_a_file_decides_not_its_name(tmp_path):
    source = fill(tmp_path / "1", {"a": 12, "b": 12})
    other = Path(shutil.copytree(source, tmp_path / "2"))
    for path in sorted(other.rglob("*.png")):
        path.rename(path.with_name(f"z{99 - int(path.stem)}.png"))
    by_face = [
        {face.tobytes(): name for name, split in read(root).splits.items() for face in split.pixels}
        for root in (source, other)
    ]
    assert by_face[0] == by_face[1] and len(by_face[0]) == 24


def test_two_files_of_one_face_are_in_one_split(tmp_path):
    for i in range(40):
        for folder in "ab":
            draw(tmp_path / folder / f"{i}.png", 100 * i + ord(folder))
            with Image.open(tmp_path / folder / f"{i}.png") as image:
                image.save(tmp_path / folder / f"copy-{i}.bmp")
    where: dict[bytes, set[str]] = {}
    for name, split in read(tmp_path).splits.items():
        for face in split.pixels:
            where.setdefault(face.tobytes(), set()).add(name)
    assert len(where) == 80 and all(len(splits) == 1 for splits in where.values())


# ---- classes ----


def test_splits_may_have_other_words_for_a_class(tmp_path):
    folders = ("train/anger", "train/happy", "test/angry", "test/happiness")
    faces = read(fill(tmp_path / "1", dict.fromkeys(folders, 5)))
    assert faces.class_names == ("Angry", "Happy")
    assert counts(faces) == {"Training": [5, 5], "PrivateTest": [5, 5]}
    rivals = (*folders, "train/angry")  # in one split they are two classes
    assert read(fill(tmp_path / "2", dict.fromkeys(rivals, 5))).class_names[-2:] == ("anger", "angry")


def test_a_class_that_cannot_be_learnt_is_named(tmp_path):
    lines: list[str] = []
    read(fill(tmp_path, {"train/a": 3, "train/b": 3, "test/a": 2, "test/c": 2}), lines)
    assert any("c has no face in Training" in line for line in lines)


def test_folders_of_splits_inside_classes_are_not_taken_for_pictures_of_these(tmp_path):
    folders = ("happy/train", "happy/test", "sad/train", "sad/test")
    source = fill(tmp_path / "1", dict.fromkeys(folders, 6) | {"happy": 1, "sad": 1})
    with pytest.raises(
        ValueError, match="holds happy/test/, happy/train/, sad/test/, .*: splits are the outer folders"
    ):
        read(source)
    flat = {"happy": 6, "happy/test": 3, "sad": 6, "sad/test": 3}
    with pytest.raises(ValueError, match="splits are the outer folders"):
        read(fill(tmp_path / "3", flat))
    people = {"happy": 3, "happy/Dev": 3, "sad": 3, "sad/Ann": 3}  # somebody may be called like a split
    assert sum(map(sum, counts(read(fill(tmp_path / "2", people))).values())) == 12


def test_pictures_that_are_not_called_so_are_named(tmp_path):
    source = fill(tmp_path, {"a": 6, "b": 6, "c": 6})
    for path in (source / "c").iterdir():
        path.rename(path.with_suffix(".png_large"))
    (source / "a" / "0.png").rename(source / "a" / "0")
    (source / "a" / "notes.txt").write_text("GIF is a format")
    lines: list[str] = []
    assert read(source, lines).class_names == ("a", "b")
    assert any("7 files are pictures and not called so" in line and str(source / "a" / "0") in line for line in lines)
    for path in [*source.rglob("*.png"), *source.rglob("*.png_large")]:
        path.rename(path.with_suffix(""))
    with pytest.raises(ValueError, match="18 files in it are pictures and not called so, such as"):
        read(source)


# ---- pictures ----


def test_a_small_picture_of_people_is_no_face_as_a_whole():
    group, one = [Box(x, 90, 60, 60) for x in (5, 65, 125, 180)], [Box(64, 45, 91, 91)]
    assert not is_a_part(np.zeros((240, 240, 3), np.uint8), group)
    assert not is_a_part(np.zeros((250, 213, 3), np.uint8), one)
    assert is_a_part(np.zeros((250, 213, 3), np.uint8), [Box(64, 145, 60, 60)])
    assert not is_a_part(np.zeros((240, 238, 3), np.uint8), [Box(87, 45, 64, 64)])  # a head and shoulders
    assert not is_a_part(np.zeros((480, 640, 3), np.uint8), [Box(64, 145, 60, 60)])


def test_damaged_metadata_is_no_concern(tmp_path, recwarn):
    source = fill(tmp_path / "own", {"train/happy": 2, "train/sad": 2})
    with Image.open(source / "train" / "happy" / "0.png") as image:
        image.save(source / "train" / "happy" / "9.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0")
    for dataset in ("fer2013", "folder"):
        where = ["--source", str(source), "--output", str(tmp_path / f"{dataset}.h5")]
        assert len(preprocess_fer2013.main(["--dataset", dataset, *where]).splits["Training"]) == 5
    assert not [warning for warning in recwarn if "EXIF" in str(warning.message)]


def test_a_face_is_cut_out_as_visualize_does(tmp_path):
    """A tilted one, and a picture in which only a mouth is found."""
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        portrait.rotate(18, Image.Resampling.BICUBIC, fillcolor="white").save(tmp_path / "tilted.png")
        portrait.resize((200, 200)).save(tmp_path / "square.png")
    for path in tmp_path.iterdir():
        shown = annotate.detect(path, "auto", None, 48)
        np.testing.assert_array_equal(cut_face(load_image(path)), shown.crops[0])
    small = [Box(80, 120, 40, 40)]
    assert annotate.detect(tmp_path / "square.png", "auto", None, 48).detector
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotate, "find_faces", lambda rgb, detector: small)
        shown = annotate.detect(tmp_path / "square.png", "auto", None, 48)
    assert shown.detector is None
    np.testing.assert_array_equal(cut_face(load_image(tmp_path / "square.png"), lambda image: small), shown.crops[0])


@pytest.mark.parametrize("dataset", ["fer2013", "ckplus", "folder"])
def test_pictures_of_every_kind_are_the_same_face_everywhere(tmp_path, dataset):
    """16 bits, 8 bits kept in 16, a see-through background, and a camera that was held upright."""
    face = np.random.default_rng(0).integers(30, 256, (48, 48), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = np.dstack([face] * 3 + [np.where(face > 99, 255, 0).astype(np.uint8)])
    kinds = {
        "16": (Image.fromarray(face.astype(np.uint16) * 257), face, {}),
        "8-in-16": (Image.fromarray(face.astype(np.uint16)), face, {}),
        "clear": (Image.fromarray(clear), np.where(face > 99, face, 255), {}),
        "turned": (Image.fromarray(face), np.rot90(face, -1), {"exif": turned}),
    }
    for name, (image, wanted, how) in kinds.items():
        root = tmp_path / name
        for k, folder in enumerate(("happy", "angry")):
            place = root / folder if dataset == "ckplus" else root / "train" / folder
            place.mkdir(parents=True)
            image.save(place / f"S01{k}_004_00000010.png", **how)
        faces = preprocess_fer2013.main(
            ["--dataset", dataset, "--source", str(root), "--output", str(tmp_path / f"{name}.h5")]
        )
        (split,) = faces.splits.values()
        assert len(split) == 2
        for pixels in split.pixels:
            np.testing.assert_array_equal(pixels, wanted)


def test_one_bad_picture_costs_only_itself_and_is_named(tmp_path):
    source = fill(tmp_path / "own", {"train/a": 5, "train/b": 5})
    (source / "train" / "a" / "broken.jpg").write_bytes(b"no image")
    (source / "train" / "a" / "half.png").write_bytes((source / "train" / "a" / "0.png").read_bytes()[:900])
    draw(source / "train" / "b" / "scene.png", 1, (300, 400))
    draw(source / "train" / "b" / "dot.png", 1, (1, 1))
    draw(source / "train" / "loose.png", 1)
    (source / "train" / "b" / "notes.txt").write_text("no picture")
    lines: list[str] = []
    assert counts(read(source, lines, find=lambda image: [])) == {"Training": [5, 5]}
    (bad,) = [line for line in lines if "cannot be used" in line]
    assert "4 of 14 pictures cannot be used and are left out" in bad
    assert "train/a/broken.jpg (is not an image" in bad and "train/b/scene.png (400x300, no face is found" in bad
    assert any("1 pictures lie in no class folder and are left out" in line and "loose.png" in line for line in lines)


def test_a_class_of_bad_pictures_alone_is_left_out_and_one_class_is_none(tmp_path):
    source = fill(tmp_path / "own", {"train/a": 2, "train/b": 2})
    (source / "train" / "c").mkdir()
    (source / "train" / "c" / "x.png").write_bytes(b"")
    lines: list[str] = []
    assert read(source, lines).class_names == ("a", "b")
    assert any("c/ has no picture that can be used" in line for line in lines)
    shutil.rmtree(source / "train" / "b")
    with pytest.raises(ValueError, match="faces of 1 classes are left"):
        read(source)


def test_a_missing_detector_is_no_bad_picture(tmp_path):
    source = fill(tmp_path, {"a": 1, "b": 1})
    draw(source / "a" / "large.png", 0, (300, 300))

    def missing(image):
        raise ValueError("finding faces needs OpenCV")

    with pytest.raises(ValueError, match="needs OpenCV"):
        read(source, find=missing)


@pytest.mark.parametrize(
    "shape, boxes, expected",
    [
        ((48, 48), None, (0, 0, 48)),  # a face already: not searched
        ((224, 224), [], (0, 0, 224)),  # no box, but it may be one
        ((200, 200), [Box(80, 120, 40, 40)], (0, 0, 200)),  # a mouth
        ((200, 200), [Box(40, 40, 150, 150), Box(0, 0, 20, 20)], (37, 37, 156)),
        ((400, 600), [Box(100, 50, 100, 100)], (98, 48, 104)),
        ((400, 600), [], None),
        ((300, 300), [], None),
        ((10, 10), None, None),
    ],
)
def test_which_part_of_a_picture_becomes_the_face(shape, boxes, expected):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    face = cut_face(picture, lambda image: boxes)
    if expected is None:
        assert face is None
        return
    x, y, side = expected
    part = Image.fromarray(picture[y : y + side, x : x + side]).convert("L")
    np.testing.assert_array_equal(face, np.asarray(part.resize((48, 48), Image.Resampling.BOX)))


def test_faces_are_found_in_photographs(tmp_path):
    with Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        portrait.load()
    for folder in ("calm", "other"):
        (tmp_path / folder).mkdir()
        portrait.save(tmp_path / folder / "portrait.jpg")
    faces = read(tmp_path)
    (split,) = faces.splits.values()
    assert split.pixels.shape == (2, 48, 48)
    whole = np.asarray(portrait.convert("L").resize((48, 48)), float)
    assert abs(np.corrcoef(split.pixels[0].ravel(), whole.ravel())[0, 1]) < 0.5  # not the whole picture


def test_tree_without_pictures_is_none(tmp_path):
    assert find_tree(tmp_path, (".jpg",)) is None


# ---- the scripts, from end to end ----


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run on own data, made in a folder that then is the current one."""
    folder = tmp_path_factory.mktemp("own data")
    fill(folder / "my faces", {f"{split}/{name}": 6 for split in ("train", "val", "test") for name in NAMES})
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        faces = preprocess(Path("my faces"))
        assert faces.class_names == NAMES and read_faces("data/my faces.h5").class_names == NAMES
        small = ["--recipe", "smoke", "--epochs", "1", "--batch-size", "18", "--early-size", "0"]
        train.main(["--dataset", "my faces", "--name", "mine", *small])
    return folder / "runs" / "mine"


def test_a_run_on_own_data_is_tested_on_its_own_file(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(run.parents[1])
    arguments = ["--checkpoint", "runs/mine", "--views", "center"]
    metrics = evaluate.main([*arguments, "--output", str(tmp_path / "evaluation")])
    assert (metrics["dataset"], metrics["split"], metrics["n"]) == ("my faces", "PrivateTest", 18)
    assert tuple(metrics["per_class"]) == NAMES and metrics["data"] == "data/my faces.h5"
    by_name = evaluate.main([*arguments, "--dataset", "my faces", "--output", str(tmp_path / "evaluation")])
    assert by_name["accuracy"] == metrics["accuracy"]
    drawn = plot_confusion_matrix.main(["--run", "runs/mine", "--output", str(tmp_path / "matrix.png")])
    assert tuple(drawn["class_names"]) == NAMES
    picture = ["--image", f"my faces/test/{NAMES[0]}/0.png", "--output", str(tmp_path / "x.png"), "--views", "center"]
    (image,) = visualize.main([*picture, "--checkpoint", "runs/mine/best.pt", "--no-explain"])
    assert tuple(image["faces"][0]["probabilities"]) == NAMES
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(SystemExit):
            evaluate.main(["--checkpoint", str(run)])
    error = capsys.readouterr().err
    assert "was trained on data/my faces.h5, which is not there" in error and "--data" in error


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--dataset", "fer2013", "--data", "data/my faces.h5"], "give --dataset 'my faces'"),
        (
            ["--dataset", "hers"],
            "data/hers.h5 does not exist: make it with `python preprocess_fer2013.py --dataset fol",
        ),
        (["--dataset", "../hers"], "'../hers' is no name of a data set"),
        (["--dataset", "fer2013", "--data", "data/ck.h5"], "--dataset fer2013 --source data/fer2013.csv"),
    ],
)
def test_wrong_data_sets_are_one_line(run, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(run.parents[1])
    for script, more in ((train, []), (evaluate, ["--checkpoint", "runs/mine"])):
        with pytest.raises(SystemExit) as ended:
            script.main([*more, *arguments])
        error = capsys.readouterr().err
        assert ended.value.code == 2 and message in error and error.count("\n") == 1
