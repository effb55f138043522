"""The GPU suite on the CPU, in miniature: what runs, what is written, and what becomes of parts that go wrong."""

import json
import time

import pytest
import torch

import train
from benchmarks import accuracy, measure, variants
from benchmarks.__main__ import main
from benchmarks.gpu import learning, numerics, parts, report, speed, suite
from benchmarks.measure import recipe_for

SUITE = ["--suite", "gpu", "--device", "cpu", "--workers", "0"]
HEAD = {
    "command": "python -m benchmarks",
    "environment": {
        "device": "cpu",
        "git_commit": None,
        "git_dirty": False,
        "python": "3",
        "torch": "2",
        "cpu_cores": 2,
    },
    "gpu": {},
    "data": {"file": "faces.h5", "faces": "drawn"},
    "minutes": 1,
    "quick": True,
}


@pytest.fixture
def in_this_process(monkeypatch):
    """Child processes become function calls: importing torch again would take most of the time."""

    def call(module, options, limit):
        assert module == "benchmarks.gpu.parts" and limit > 0
        return json.loads(json.dumps(parts.one_part(options | {"started": time.time()})))

    monkeypatch.setattr(suite, "child", call)
    monkeypatch.setattr(learning, "run_process", lambda arguments, name, limit: train.main(list(arguments[1:])))


def test_the_whole_suite_leaves_a_report(tmp_path, in_this_process, capsys):
    folder = tmp_path / "gpu results"
    result = main([*SUITE, "--quick", "--output", str(folder)])
    assert json.loads((folder / "gpu.json").read_text()) == json.loads(json.dumps(result))
    done = {part["part"]: part["result"] for part in result["parts"] if part["status"] == "done"}
    assert list(done) == ["numerics", "throughput", "breakdown", "marks", "accuracy"], result["parts"]
    assert done["numerics"]["ok"] and done["numerics"]["modes"]["float32"]["loss_off"] == 0
    speeds = done["throughput"]
    assert speeds["ours_share"] == pytest.approx(speeds["row"]["ours_median"] * speeds["flop"] / speeds["peak"])
    assert len(done["breakdown"]["top"]) == speed.SHOWN and done["breakdown"]["idle"] is None
    assert list(done["marks"]["seconds"]) == ["60.0%", "80.0%", "94.0%"] and len(done["marks"]["curve"]) == 1
    assert done["accuracy"]["n"] == 16 and (folder / "runs/default-small/best.pt").exists()
    text = (folder / "gpu.md").read_text()
    assert text in capsys.readouterr().out and "Nothing is missing." in text
    for needed in (torch.__version__, "--suite gpu", "| faces | drawn", *(section[1] for section in report.SECTIONS)):
        assert needed in text
    with pytest.raises(SystemExit):
        main([*SUITE, "--quick", "--output", str(folder)])
    assert "results in it already" in capsys.readouterr().err


def test_failed_and_late_parts_are_entries_of_the_report(tmp_path, monkeypatch):
    def child(module, options, limit):
        if options["part"] == "numerics":
            raise ValueError("CUDA error: an illegal memory access")
        return {}

    monkeypatch.setattr(suite, "child", child)
    results = suite.Results(tmp_path, HEAD)
    now = time.monotonic()
    suite.run_part(suite.Part("numerics", "numerics, small", {}), results, now + 100)
    suite.run_part(suite.Part("breakdown", "where the time goes, small", {}), results, now + 30)
    assert [part["status"] for part in results.parts] == ["failed", "skipped"]
    text = (tmp_path / "gpu.md").read_text()
    assert "- numerics, small: failed; CUDA error: an illegal memory access\n" in text
    assert "- where the time goes, small: skipped; 20 s were left, and it wants 30 s\n" in text
    assert len(json.loads((tmp_path / "gpu.json").read_text())["parts"]) == 2


def test_a_mode_that_does_not_run_leaves_the_others(tmp_path, monkeypatch):
    class Compiled:
        type = "cuda"  # so that compiling is tried

        def __str__(self):
            return "cpu"

    def fails(network, **options):
        raise RuntimeError("Failed to find C compiler.\nPlease specify it")

    monkeypatch.setattr(numerics, "pick_device", lambda name: Compiled())
    monkeypatch.setattr(numerics, "bfloat16_pays", lambda device: False)
    monkeypatch.setattr(torch, "compile", fails)
    options = {"model": "small", "data": tmp_path / "none.h5", "device": "cuda", "reference": "cpu"}
    result = numerics.numerics(options | {"steps": 2, "batch_size": 4, "faces": 1})
    modes = result["modes"]
    assert modes["float32"]["ok"] and not modes["float32, compiled"]["ok"] and not result["ok"]
    assert modes["float32, compiled"]["message"] == "RuntimeError: Failed to find C compiler."
    done = {"part": "numerics", "title": "", "status": "done", "seconds": 1, "result": result}
    assert "small, float32, compiled | - | - | - | **no**: RuntimeError: Fail" in report.markdown(
        HEAD | {"parts": [done]}
    )


def test_the_full_plan_has_every_part_in_order(tmp_path):
    names = [part.name for part in suite.plan(suite.Sizes(), tmp_path, "fer2013", torch.device("cuda"), 8)]
    assert list(dict.fromkeys(names)) == ["numerics", "throughput", "breakdown", "marks", "accuracy"]
    planned = list(suite.plan(suite.Sizes(), tmp_path, "fer2013", torch.device("cuda"), 8))
    marks = [part.options for part in planned if part.name == "marks"]
    assert [(m["model"], m["seed"]) for m in marks] == [("resnet18", 0), ("vgg19", 0), ("resnet18", 1), ("resnet18", 2)]
    assert all(m["recipe"] == "fast" and m["marks"][-1] == 0.72 for m in marks)


def test_a_stopped_run_of_the_default_recipe_counts_as_far_as_it_got(tmp_path, monkeypatch):
    def run_process(arguments, name, limit):
        given.append(arguments)
        folder = tmp_path / "runs/default-resnet18"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,val_accuracy,seconds\n1,0.3,2\n2,0.5,4\n3,0.4,3\n")
        raise ValueError("train.py was stopped after 100 s")

    given: list[list[str]] = []
    monkeypatch.setattr(learning, "run_process", run_process)
    options = {"model": "resnet18", "data": "faces.h5", "device": "cpu", "epochs": None, "batch_size": None}
    result = learning.default_recipe(options | {"rate": 28_709 / 2}, 100, tmp_path)
    assert result["epochs"] == 10 and "--epochs 10 --data" in " ".join(given[0])  # 40 s, 4 s each
    assert (result["accuracy"], result["epoch"], result["epochs_done"], result["epoch_seconds"]) == (0.5, 2, 3, 3)
    assert result["stopped"] == "train.py was stopped after 100 s" and result["views"] == "flip"


def test_marks_are_read_off_one_run_that_ends_in_time(faces_file, monkeypatch):
    monkeypatch.setattr(accuracy, "our_epochs", lambda *_: iter((0.3, 0.65, 0.7, 0.73, 0.8)))
    options = {"model": "small", "recipe": "fast", "data": faces_file, "device": "cpu", "seed": 0, "batch_size": None}
    options |= {"epochs": None, "marks": [0.6, 0.72], "started": time.time() - 100}
    result = learning.seconds_to_marks(options | {"limit": 1e6})
    assert result["epochs"] == 4 and result["best"] == 0.73
    assert all(100 <= seconds < 200 for seconds in result["seconds"].values())
    result = learning.seconds_to_marks(options | {"limit": 100})
    assert result["epochs"] == 1 and result["seconds"] == {"60.0%": None, "72.0%": None}


def test_busy_time_counts_overlapping_kernels_once():
    events = [
        {"cat": "kernel", "name": "conv", "ts": 10.0, "dur": 10.0},
        {"cat": "kernel", "name": "add", "ts": 15.0, "dur": 10.0},  # on another stream
        {"cat": "gpu_memcpy", "name": "copy", "ts": 40.0, "dur": 5.0},
        {"cat": "kernel", "name": "conv", "ts": 41.0, "dur": 2.0},
        {"cat": "gpu_user_annotation", "name": "step", "ts": 0.0, "dur": 100.0},
        {"cat": "cpu_op", "name": "aten::conv2d", "ts": 0.0, "dur": 100.0},
        {"ph": "M", "name": "process_name"},
    ]
    busy, times, launches = speed.kernel_times(events)
    assert busy == pytest.approx(20e-6) and launches == 4
    assert times == pytest.approx({"conv": 12e-6, "add": 10e-6, "copy": 5e-6})


def test_arithmetic_of_a_training_step_is_three_forward_passes():
    assert speed.training_flop(recipe_for("small", 8)) == pytest.approx(3 * 2 * 119e6, rel=0.02)


def test_a_run_that_misses_a_mark_took_longest():
    runs = [{"model": "a", "seed": s, "recipe": "fast", "best": 0.7, "epochs": 3} for s in range(3)]
    for run, seconds in zip(runs, (50.0, None, 70.0), strict=True):
        run["seconds"] = {"60.0%": 20.0, "72.0%": seconds}
    done = {"part": "marks", "title": "", "status": "done", "seconds": 1}
    lines = report.markdown(HEAD | {"parts": [done | {"result": run} for run in runs]}).splitlines()
    assert "| a, median of 3 | 20 s | 70 s | 70.00% |  |" in lines
    assert "| a, seed 1 | 20 s | not reached | 70.00% | 3 |" in lines


def test_a_process_that_takes_too_long_is_stopped():
    sleeper = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    start = time.monotonic()
    with pytest.raises(ValueError, match="sleeper was stopped after 1 s"):
        measure.run_process(["-c", sleeper], "sleeper", 1)
    assert time.monotonic() - start < 300  # its own child does not keep us waiting


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*SUITE], "--output gpu-results"),
        ([*SUITE, "--output", "x", "--only", "train"], "--only means nothing with --suite gpu"),
        ([*SUITE, "--output", "x", "--accuracy", "0.5"], "--accuracy means nothing with --suite gpu"),
        (["--output", "x"], "for --suite gpu"),
        pytest.param(
            ["--suite", "gpu", "--output", "x"],
            "PyTorch sees no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_wrong_flags_are_one_line(arguments, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1


def test_variants_of_a_recipe_come_in_order(faces_file, capsys):
    arguments = ["--recipe", "smoke", "--faces", "32", "--epochs", "1", "--common", "ema=0", "--data", str(faces_file)]
    rows = variants.main([*arguments, "--device", "cpu", "batch_size=16,nesterov=false"])
    assert [row["variant"] for row in rows] == ["smoke, ema=0", "batch_size=16,nesterov=false"]
    assert [row["steps"] for row in rows] == [1, 2] and all(row["n"] == 40 for row in rows)
    assert len(capsys.readouterr().out.splitlines()) == 2 + 2


@pytest.mark.parametrize(
    ("variant", "said"),
    [("speed=2", "'speed' is no field"), ("epochs=two", "epochs is of type int"), ("nesterov=1", "of type bool")],
)
def test_wrong_variants_are_named(variant, said):
    with pytest.raises(ValueError, match=said):
        variants.parse_fields(variant)


def test_the_parts_run_as_processes():
    with pytest.raises(ValueError, match="benchmarks.gpu.parts ended with status 1: KeyError: 'none'"):
        measure.child("benchmarks.gpu.parts", {"part": "none"})
