"""What is said to somebody who made a mistake: every command here ends in exactly the line below it, and in status 2.

To be read from top to bottom as that person: the line names the value, what is allowed and a step that can be taken.
Three dots stand for what differs from machine to machine. Nothing is written, which is tested too.
"""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import preprocess_fer2013
from datasets.names import CKPLUS_CLASSES, FER2013_CLASSES
from engine.config import RunConfig
from engine.recipes import make_recipe
from models.build import build_model
from models.checkpoint import save_checkpoint

TABLE = """
$ train.py --colour red
unrecognized arguments: --colour red; --help lists the flags
$ train.py --modle=vgg19
unrecognized arguments: --modle=vgg19; did you mean --model?
$ train.py --recipe best
argument --recipe: invalid choice: 'best' (choose from ...)
$ train.py --model lenet
unknown model 'lenet'; there are small, vgg11, vgg13, vgg16, vgg19, resnet18, resnet34, resnet50, and timm:<name>
$ train.py --lr fast
argument --lr: invalid float value: 'fast'
$ train.py --lr -1
--lr -1.0: must be a number of 0 or more
$ train.py --lr nan
--lr nan: must be a number of 0 or more
$ train.py --epochs 0
--epochs 0: must be above 0
$ train.py --epochs 2.5
argument --epochs: invalid int value: '2.5'
$ train.py --dropout 1.5
--dropout 1.5: must lie between 0 and 1
$ train.py --batch-size 1
--batch-size 1: batch normalisation needs two faces and more
$ train.py --early-size 48 --data data/synthetic.h5
--early-size 48: must not be above --crop 44; 0 is off
$ train.py --pad 60 --data data/synthetic.h5
--pad 60 and --translate 0.0 reach 60 pixels beyond the face; 47 is the most, as its margins are its mirror image
$ train.py --crop 60 --pad 0 --data data/synthetic.h5
--crop 60 does not fit into the face and its margins (48 + 2 x 0 pixels); give a smaller one, or a larger --pad
$ train.py --crop 50 --pad 4 --data data/synthetic.h5
a crop of 50 pixels does not fit into faces of 48x48, which are tested without margin
$ train.py --model vgg11 --crop 28 --data data/synthetic.h5
--early-size 32: must not be above --crop 28; 0 is off
$ train.py --model vgg11 --crop 28 --early-size 0 --data data/synthetic.h5
--model vgg11 cannot take crops of 28 pixels (...); give a larger --crop or --early-size
$ train.py --model vgg11 --crop 28 --early-size 0 --compile --data data/synthetic.h5
--model vgg11 cannot take crops of 28 pixels (...); give a larger --crop or --early-size
$ train.py --pool avg4 --model small --data data/synthetic.h5
--pool avg4 is for the ResNets and VGGs; small has global pooling only
$ train.py --model timm:lenet --data data/synthetic.h5
timm has no network 'lenet'; similar names: ...
$ train.py
data/fer2013.h5 does not exist: make it with `python preprocess_fer2013.py --dataset fer2013 --source
data/fer2013.csv --output data/fer2013.h5`
$ train.py --dataset ckplus
data/ckplus.h5 does not exist: make it with `python preprocess_fer2013.py --dataset ckplus --source data/CK+48
--output data/ckplus.h5`
$ train.py --data data/none.h5
data/none.h5 does not exist: make it with `python preprocess_fer2013.py --dataset folder --source DIR --output
data/none.h5`, DIR with <class>/*.jpg
$ train.py --data data
data is a folder, not an HDF5 file; make the file with `python preprocess_fer2013.py --dataset fer2013 --source
data/fer2013.csv --output data/fer2013.h5`
$ train.py --data notes.txt
notes.txt is not an HDF5 file; make the file with `python preprocess_fer2013.py --dataset fer2013 --source notes.txt
--output notes.h5`
$ train.py --data void
void is not an HDF5 file; make the file with `python preprocess_fer2013.py --dataset fer2013 --source void --output
void.h5`
$ train.py --data half.h5
half.h5 is a damaged HDF5 file (...); make the file with `python preprocess_fer2013.py --dataset folder --source DIR
--output half.h5`, DIR with <class>/*.jpg
$ train.py --data runs/done/best.pt
runs/done/best.pt is not an HDF5 file; make the file with `python preprocess_fer2013.py --dataset fer2013 --source
runs/done/best.pt --output runs/done/best.h5`
$ train.py --dataset ckplus --data data/synthetic.h5
data/synthetic.h5 holds synthetic, not ckplus; give --dataset synthetic, or another --data
$ train.py --data data/synthetic.h5 --device cuda
--device cuda: not available here; this PyTorch sees cpu
$ train.py --data data/synthetic.h5 --device gpu
--device gpu: not available here; this PyTorch sees cpu
$ train.py --data data/synthetic.h5 --device mps
--device mps: not available here; this PyTorch sees cpu
$ train.py --data data/synthetic.h5 --seeds 0
argument --seeds: '0' is not a whole number above 0
$ train.py --data data/synthetic.h5 --seeds 5000
--seeds 5000: give 1 to 1000
$ train.py --data data/synthetic.h5 --seed -1
argument --seed: '-1' is not a whole number of 0 or more
$ train.py --data data/synthetic.h5 --limit 0
argument --limit: '0' is not a whole number above 0
$ train.py --data data/synthetic.h5 --name done
runs/done exists already; continue it with --resume runs/done, or choose another --name
$ train.py --data data/synthetic.h5 --output other --name small
other/small exists already with nothing but evaluations; remove it, or choose another --name
$ train.py --data data/synthetic.h5 --name a/b
--name 'a/b': a plain folder name is wanted; --output says where it is
$ train.py --data data/synthetic.h5 --output notes.txt
cannot write into notes.txt: notes.txt is a file; give another folder
$ train.py --data data/synthetic.h5 --select-on Test
--select-on 'Test': there is PublicTest, PrivateTest
$ train.py --data data/synthetic.h5 --select-on Training
--select-on Training: the training set cannot select the epoch; there is PublicTest, PrivateTest
$ train.py --data data/synthetic-ckplus.h5 --select-on PublicTest
--select-on PublicTest: with folds give test (the tested fold selects the epoch) or leave it out
$ train.py --data data/synthetic.h5 --folds 1
--folds '1': give a whole number of 2 or more, or all
$ train.py --data data/synthetic.h5 --folds 5 --fold 6
--fold 6: there are 5 folds
$ train.py --data data/synthetic.h5 --folds 65
65 folds of 64 different faces: give from 2 to as many as there are faces
$ train.py --data data/synthetic.h5 --protocol frame
--protocol frame: these are folds of CK+, and no folds were asked for; leave it out
$ train.py --data data/synthetic.h5 --folds 5 --protocol frame
--protocol frame is for CK+; the folds of FER2013 are stratified
$ train.py --data data/synthetic-ckplus.h5 --protocol frame
the protocol 'frame' is made for the 981 frames of CK+48, class by class (135 177 75 207 84 249 54); these are 90
(12 15 6 18 9 24 6): use --protocol subject
$ train.py --data data/synthetic-ckplus.h5 --folds 5 --protocol frame
--folds 5: the frame protocol has 10 folds
$ train.py --data data/synthetic-ckplus.h5 --folds 500
500 folds of 11 people: give from 2 to as many folds as there are people
$ train.py --data data/synthetic-ckplus.h5 --schedule plateau
--schedule plateau would follow the accuracy on fold 1, which is a test set; choose another schedule, or say
--select-on test
$ train.py --data data/synthetic.h5 --soft-weight 0.3
--soft-weight 0.3: of which predictions? give --soft-targets too, or leave it out
$ train.py --data data/synthetic.h5 --soft-weight 2 --soft-targets runs/folds/predictions.csv
--soft-weight 2.0: must lie between 0 and 1
$ train.py --data data/synthetic.h5 --soft-targets none.csv
no predictions none.csv; make them: python evaluate.py --checkpoint PATH
$ train.py --data data/synthetic.h5 --soft-targets runs/done/predictions.csv
62 of the 64 training faces have no soft target; give predictions of all of them: evaluate.py --split Training
$ train.py --data data/synthetic.h5 --soft-targets runs/folds/predictions.csv
the soft targets' classes are Angry, Disgust, Fear, Happy, Sad, Surprise, Contempt, the faces' Angry, Disgust, Fear,
Happy, Sad, Surprise, Neutral; give predictions of these faces
$ train.py --data data/synthetic-ckplus.h5 --soft-targets runs/folds/predictions.csv
--soft-targets: those networks may have seen the faces that are tested here; soft targets are for runs without folds
$ train.py --data data/synthetic.h5 --soft-targets notes.txt
notes.txt is not a predictions.csv: it needs the columns index, label, prediction and one per class
$ train.py --data data/synthetic.h5 --soft-targets runs/folds
runs/folds is a folder; give the predictions.csv of a run or of evaluate.py
$ train.py --data data/synthetic.h5 --init none.pt
no checkpoint none.pt; train one with: python train.py (or make demo); in that folder: half.pt
$ train.py --data data/synthetic.h5 --init runs/done --model vgg11
runs/done, a checkpoint of --model small, does not fit the network; tensors 58 missing: features.0.weight,
features.0.bias, features.1.weight, features.1.bias, features.1.running_mean, features.1.running_var,
features.1.num_batches_tracked, features.4.weight, ...; 62 unexpected: conv1.weight, bn1.weight, bn1.bias,
bn1.running_mean, bn1.running_var, bn1.num_batches_tracked, stages.0.weight, stages.1.weight, ...; give --init with
the --model of its checkpoint
$ train.py --data data/synthetic.h5 --init half.pt
half.pt is truncated or not a PyTorch checkpoint (...); fetch it again
$ train.py --data data/synthetic.h5 --init notes.txt
notes.txt is not a PyTorch checkpoint: it is text ("some notes"); give a checkpoint that train.py wrote
(runs/<name>/best.pt), or one of the older repositories of README.md
$ train.py --data data/synthetic.h5 --init empty
empty has no best.pt and no last.pt; train one with: python train.py
$ train.py --resume runs/none
--resume runs/none: no run there (a run's folder has an args.json); there are runs/done, runs/folds
$ train.py --resume notes.txt
--resume notes.txt: no run there (a run's folder has an args.json); there are runs/done, runs/folds
$ train.py --resume empty
--resume empty: no run there (a run's folder has an args.json); there are runs/done, runs/folds
$ train.py --resume runs/done --lr 1
--lr: fixed by the run in runs/done; start a new run under another --name with --init runs/done/best.pt
$ train.py --resume runs/done --init runs/done --name x --recipe small
--init, --name, --recipe: fixed by the run in runs/done; start a new run under another --name with --init
runs/done/best.pt
$ train.py --resume runs/done --epochs 0
--epochs 0: must be above 0
$ train.py --resume runs/folds --epochs 3
--epochs 3: fold-01 has been finished with 1; leave --epochs out, or start a new run under another --name
$ train.py --resume runs/done --data data/none.h5
data/none.h5 does not exist: make it with `python preprocess_fer2013.py --dataset synthetic --output data/none.h5`
$ train.py --resume runs/done --data data/synthetic-ckplus.h5
data/synthetic-ckplus.h5 holds synthetic-ckplus, not synthetic; give --dataset synthetic-ckplus, or another --data
$ train.py --resume other/half-written
other/half-written/args.json is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char
1))
$ train.py --resume other/newer
other/newer/args.json has colour, which this code does not know; was it made by another version?
$ train.py --resume other/edited
other/edited/args.json: lr is 'fast', not float
$ evaluate.py --checkpoint none.pt
no checkpoint none.pt; train one with: python train.py (or make demo); in that folder: half.pt
$ evaluate.py --checkpoint runs
runs has no best.pt and no last.pt; give one of runs/done, runs/folds/fold-01, runs/folds/fold-02
$ evaluate.py --checkpoint empty
empty has no best.pt and no last.pt; train one with: python train.py
$ evaluate.py --checkpoint notes.txt
notes.txt is not a PyTorch checkpoint: it is text ("some notes"); give a checkpoint that train.py wrote
(runs/<name>/best.pt), or one of the older repositories of README.md
$ evaluate.py --checkpoint void
void is not a PyTorch checkpoint: it is empty; fetch it again
$ evaluate.py --checkpoint half.pt
half.pt is truncated or not a PyTorch checkpoint (...); fetch it again
$ evaluate.py --checkpoint page.html
page.html is not a PyTorch checkpoint: it is a web page, perhaps one that asks to sign in or to confirm a download;
fetch the file with a browser
$ evaluate.py --checkpoint data/synthetic.h5
data/synthetic.h5 is not a PyTorch checkpoint: it is an HDF5 file: faces, or a network of another library; faces are
given with --data; give a checkpoint that train.py wrote (runs/<name>/best.pt), or one of the older repositories of
README.md
$ evaluate.py --checkpoint runs/done/last.pt --data none.h5
none.h5 does not exist: make it with `python preprocess_fer2013.py --dataset folder --source DIR --output none.h5`, DIR
with <class>/*.jpg
$ evaluate.py --checkpoint runs/done --data data/synthetic-ckplus.h5
runs/done/best.pt has the classes Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral, but data/synthetic-ckplus.h5
has Angry, Disgust, Fear, Happy, Sad, Surprise, Contempt; give --data with the classes of the checkpoint (it was
trained on synthetic)
$ evaluate.py --checkpoint runs/done --dataset synthetic-ckplus
runs/done/best.pt has the classes Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral, but data/synthetic-ckplus.h5
has Angry, Disgust, Fear, Happy, Sad, Surprise, Contempt; give --data with the classes of the checkpoint (it was
trained on synthetic)
$ evaluate.py --checkpoint runs/done --dataset ckplus --data data/synthetic.h5
data/synthetic.h5 holds synthetic, not ckplus; give --dataset synthetic, or another --data
$ evaluate.py --checkpoint runs/done --split test
--split 'test': data/synthetic.h5 has Training, PublicTest, PrivateTest
$ evaluate.py --checkpoint runs/done --split data
--split 'data': data/synthetic.h5 has Training, PublicTest, PrivateTest
$ evaluate.py --checkpoint runs/done --views all
argument --views: invalid choice: 'all' (choose from ...)
$ evaluate.py --checkpoint runs/done --batch-size 0
argument --batch-size/--bs/--batch_size: '0' is not a whole number above 0
$ evaluate.py --checkpoint runs/done --device cuda:3
--device cuda:3: not available here; this PyTorch sees cpu
$ evaluate.py --checkpoint runs/done --output notes.txt
cannot write into notes.txt: notes.txt is a file; give another folder
$ evaluate.py --checkpoint runs/done runs/folds --data data/synthetic.h5
runs/folds/fold-01/best.pt has the classes Angry, Disgust, Fear, Happy, Sad, Surprise, Contempt, but
data/synthetic.h5 has Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral; give --data with the classes of the
checkpoint (it was trained on synthetic-ckplus)
$ evaluate.py --checkpoint runs/folds --convert x.pt
--convert takes one checkpoint, not 2: runs/folds/fold-01/best.pt, runs/folds/fold-02/best.pt
$ evaluate.py --checkpoint runs/done --convert runs/done/best.pt
--convert runs/done/best.pt: that is the checkpoint itself, which can be resumed; give another
$ evaluate.py --checkpoint runs/done --convert none/x.pt
--convert none/x.pt: there is no folder none; make it, or give another
$ evaluate.py --checkpoint runs/done --convert empty
--convert empty is a folder; give a file's name, such as empty/small.pt
$ evaluate.py --checkpoint runs/done --convert x.pt --split PrivateTest
--split is for testing, and --convert tests nothing; leave it out
$ evaluate.py --checkpoint runs/done --export x.onnx --data data/synthetic.h5
--data is for testing, and --export tests nothing; leave it out
$ evaluate.py --checkpoint runs/done --export none/x.onnx
--export none/x.onnx: there is no folder none; make it, or give another
$ evaluate.py --checkpoint runs/done --export x.pb
--export x.pb: the name ends in .onnx or .pt2, which says what to write
$ evaluate.py --checkpoint runs/done --report page.pdf
--report page.pdf: give the name of a file that ends in .html
$ evaluate.py
data/fer2013.h5 does not exist: make it with `python preprocess_fer2013.py --dataset fer2013 --source
data/fer2013.csv --output data/fer2013.h5`
$ plot_confusion_matrix.py
say what to draw: --run DIR (there are runs/done, runs/folds), --predictions CSV or --checkpoint PATH
$ plot_confusion_matrix.py --run runs/none
--run runs/none: no such folder; train one with: python train.py --name none
$ plot_confusion_matrix.py --run empty
empty has no best.pt and no last.pt; train one with: python train.py
$ plot_confusion_matrix.py --run notes.txt
--run notes.txt: no such folder; train one with: python train.py --name notes.txt
$ plot_confusion_matrix.py --run runs/done --checkpoint runs/done
argument --checkpoint: not allowed with argument --run
$ plot_confusion_matrix.py --run runs/done --output m.jpeg
cannot write a figure as 'm.jpeg': the name must end in .png, .pdf, .svg
$ plot_confusion_matrix.py --run runs/done --output notes.txt/m.png
cannot write into notes.txt: notes.txt is a file; give another folder
$ plot_confusion_matrix.py --run runs/done --width 1
--width 1.0: must lie between 3 and 20 inches
$ plot_confusion_matrix.py --run runs/done --over minutes
--over is for --curves; leave it out
$ plot_confusion_matrix.py --curves runs/done --reach 6000
--reach 6000: must lie above 0 and not above 100
$ plot_confusion_matrix.py --predictions none.csv
no predictions none.csv; make them: python evaluate.py --checkpoint PATH
$ plot_confusion_matrix.py --predictions notes.txt
notes.txt is not a predictions.csv: it needs the columns index, label, prediction and one per class
$ plot_confusion_matrix.py --predictions runs/done
runs/done is a folder; give the predictions.csv of a run or of evaluate.py
$ plot_confusion_matrix.py --predictions runs/done/metrics.csv
runs/done/metrics.csv is not a predictions.csv: it needs the columns index, label, prediction and one per class
$ plot_confusion_matrix.py --predictions runs/done/predictions.csv --split PrivateTest
--split PrivateTest: runs/done/predictions.csv is of PublicTest
$ plot_confusion_matrix.py --predictions runs/done/predictions.csv --data data/synthetic.h5
--data is for checkpoints; --predictions are drawn as they are; leave it out
$ plot_confusion_matrix.py --run runs/done --split Test
--split 'Test': data/synthetic.h5 has Training, PublicTest, PrivateTest
$ plot_confusion_matrix.py --predictions word.csv
word.csv, line 2, column label: 'Happy' is not 0 to 1
$ plot_confusion_matrix.py --predictions logits.csv
logits.csv: row 0 is no probability distribution: [ 3. -1.]; for logits, apply softmax first
$ plot_confusion_matrix.py --predictions short.csv
short.csv, line 3, column yes: an empty cell is not a number
$ visualize.py --image none.jpg
no image none.jpg; give the path of one that is there
$ visualize.py --image empty
no image in empty; give a folder with pictures in it (.jpg, .png, ...), or a picture
$ visualize.py --image notes.txt
notes.txt is not an image that can be read; save it as JPEG or PNG
$ visualize.py --image void
void is empty; fetch it again
$ visualize.py --checkpoint none.pt
no checkpoint none.pt; train one with: python train.py (or make demo); in that folder: half.pt
$ visualize.py --detect off --margin 0.1
--margin is added to the box of a face that is found; with --detect off leave it out
$ visualize.py --margin 3
argument --margin: '3' is not a number from 0 to 1
$ visualize.py --output v.gif
cannot write a figure as 'v.gif': the name must end in .png, .pdf, .svg
$ visualize.py --output notes.txt/v.png
cannot write into notes.txt: notes.txt is a file; give another folder
$ visualize.py --json empty
cannot write empty: it is a folder; give a file's name
$ visualize.py --output v.png --json v.png
two results would go to v.png; give two names
$ visualize.py --image data
no image in data; give a folder with pictures in it (.jpg, .png, ...), or a picture
$ preprocess_fer2013.py
data/fer2013.csv does not exist: point --source at fer2013.csv, fer2013.tar.gz or icml_face_data.csv of the Kaggle
contest 'challenges-in-representation-learning-facial-expression-recognition-challenge', or try --dataset synthetic,
which needs no download
$ preprocess_fer2013.py --dataset ckplus
data/CK+48 does not exist: point --source at the folder CK+48, or at the one with both cohn-kanade-images and
Emotion in it, or try --dataset synthetic-ckplus, which needs no download
$ preprocess_fer2013.py --source none.csv
none.csv does not exist: point --source at fer2013.csv, fer2013.tar.gz or icml_face_data.csv of the Kaggle contest
'challenges-in-representation-learning-facial-expression-recognition-challenge', or try --dataset synthetic, which
needs no download
$ preprocess_fer2013.py --source empty
empty holds no FER2013: found nothing; it should hold fer2013.csv, icml_face_data.csv, fer2013.csv.gz,
fer2013.tar.gz, fer2013.zip or train/<class>/ and test/<class>/ with images; for pictures of your own give --dataset
folder
$ preprocess_fer2013.py --source notes.txt
notes.txt: no column emotion, pixels, Usage: the first line has 'some notes'; the first line must be
emotion,pixels,Usage
$ preprocess_fer2013.py --source void
void is empty; download it again
$ preprocess_fer2013.py --source page.html
page.html is a web page, not the data: log in where it is offered and download it again
$ preprocess_fer2013.py --source data/synthetic.h5
data/synthetic.h5 is an HDF5 file already: give it to train.py as --data data/synthetic.h5
$ preprocess_fer2013.py --dataset ckplus --source notes.txt
notes.txt is a file: unpack it, if it is CK+, and point --source at the folder that comes out
$ preprocess_fer2013.py --dataset ckplus --source empty
empty holds no CK+: found nothing; it should hold anger/, disgust/, fear/, happy/, sadness/, surprise/, contempt/
with images of 48x48, or cohn-kanade-images/ and Emotion/ as they are distributed
$ preprocess_fer2013.py --dataset synthetic --source x
--source means nothing with --dataset synthetic: leave it out
$ preprocess_fer2013.py --dataset synthetic --faces 4
--faces 4 leaves none for PublicTest and PrivateTest: give 8 or more
$ preprocess_fer2013.py --dataset synthetic --faces 2000000
--faces 2000000: 1000000 is the most that are drawn
$ preprocess_fer2013.py --dataset synthetic-ckplus --faces 1
1 faces are fewer than one sequence of each class: give 21 or more
$ preprocess_fer2013.py --faces 9
--faces means nothing with --dataset fer2013: leave it out
$ preprocess_fer2013.py --dataset synthetic --faces 8 --output data
data is a folder: give --output a file name, such as data/fer2013.h5
$ preprocess_fer2013.py --dataset synthetic --faces 8 --output notes.txt
--output notes.txt is there and is no HDF5 file: move it away or name another file
$ preprocess_fer2013.py --dataset synthetic --faces 8 --output notes.txt/x.h5
cannot write into notes.txt: notes.txt is a file; give another folder
"""


def cases() -> list:
    """(script, its flags, the line) of every block of the table."""
    found = []
    for block in TABLE.strip().removeprefix("$ ").split("\n$ "):
        command, *line = block.splitlines()
        script, *flags = shlex.split(command)
        found.append(pytest.param(script, flags, " ".join(line), id=command))
    return found


def write_run(folder: Path, dataset: str, classes: tuple[str, ...], **changes) -> None:
    """What a run leaves that errors look at: args.json, best.pt and predictions.csv; untrained."""
    folder.mkdir(parents=True)
    config = RunConfig(Path(f"data/{dataset}.h5"), "smoke", make_recipe("smoke", {"epochs": 1}), dataset, device="cpu")
    (folder / "args.json").write_text(json.dumps(config.as_json() | changes))
    state = {
        "format_version": 1,
        "model_name": "small",
        "model_kwargs": {"dropout": 0.0, "pool": "global"},
        "inputs": {"size": 48, "crop": 44, "channels": 1, "mean": 0.5, "std": 0.25},
        "class_names": list(classes),
        "dataset": dataset,
        "model": build_model("small").state_dict(),
        "epoch": 1,
    }
    save_checkpoint(folder / "best.pt", state)
    columns = ["fold"] * bool(changes)
    shares = [["0.4", *["0.1"] * 6], ["0.1"] * 6 + ["0.4"]]
    rows = [["index", "label", "prediction", *classes, *columns]]
    rows += [[str(i), "0", str(6 * i), *share, *["1"] * len(columns)] for i, share in enumerate(shares)]
    (folder / "predictions.csv").write_text("\n".join(map(",".join, rows)))
    (folder / "metrics.csv").write_text("epoch,lr,train_loss\n1,0.1,2.0\n")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with data, runs, and much that is neither."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for dataset, faces in (("synthetic", 64), ("synthetic-ckplus", 90)):
            preprocess_fer2013.main(["--dataset", dataset, "--faces", str(faces)])
        write_run(Path("runs/done"), "synthetic", FER2013_CLASSES)
        Path("runs/done/last.pt").write_bytes(Path("runs/done/best.pt").read_bytes())
        Path("runs/done/summary.json").write_text('{"split": "PublicTest", "views": "ten"}')
        write_run(Path("runs/folds"), "synthetic-ckplus", CKPLUS_CLASSES, folds="2")
        for fold in ("fold-01", "fold-02"):
            Path("runs/folds", fold).mkdir()
            shutil.copy("runs/folds/best.pt", f"runs/folds/{fold}/best.pt")
            Path("runs/folds", fold, "summary.json").write_text("{}")
        Path("runs/folds/best.pt").unlink()
        arguments = json.loads(Path("runs/done/args.json").read_text())
        broken = {"newer": json.dumps(arguments | {"colour": "red"}), "half-written": "{"}
        broken["edited"] = json.dumps(arguments | {"options": arguments["options"] | {"lr": "fast"}})
        for name, text in broken.items():
            Path("other", name).mkdir(parents=True)
            Path("other", name, "args.json").write_text(text)
        Path("other/small/evaluation-PrivateTest-ten").mkdir(parents=True)
        Path("empty").mkdir()
        Path("void").touch()
        Path("notes.txt").write_text("some notes\n")
        Path("page.html").write_text("<!DOCTYPE html><html>sign in</html>")
        for path in ("runs/done/best.pt", "data/synthetic.h5"):
            content = Path(path).read_bytes()
            Path(f"half{Path(path).suffix}").write_bytes(content[: len(content) // 2])
        Path("word.csv").write_text("index,label,prediction,no,yes\n0,Happy,1,0.5,0.5\n")
        Path("logits.csv").write_text("index,label,prediction,no,yes\n0,0,0,3,-1\n")
        Path("short.csv").write_text("index,label,prediction,no,yes\n0,0,0,0.9,0.1\n1,0,0,0.")
    return home


@pytest.mark.parametrize("script, flags, line", cases())
def test_the_line(script, flags, line, home, monkeypatch, capsys):
    if any(flag.startswith("timm:") for flag in flags):
        pytest.importorskip("timm")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # as the lines are where there is no GPU
    monkeypatch.chdir(home)
    there = sorted(home.rglob("*"))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(script.removesuffix(".py")).main(flags)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1
    said = said.removeprefix(f"{script}: error: ").strip()
    assert re.fullmatch(re.escape(line).replace(r"\.\.\.", ".*"), said), f"{said}\nis not\n{line}"
    assert sorted(home.rglob("*")) == there, "something was left behind"
