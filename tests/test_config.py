"""The configuration of a run: from flags to args.json and back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import train
from engine.config import RunConfig, config_from_flags, read_config
from engine.recipes import make_recipe


def written(folder: Path, config: RunConfig, **changes) -> Path:
    path = folder / "args.json"
    path.write_text(json.dumps(config.as_json() | changes))
    return path


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--recipe small --seed 3 --seeds 2 --limit 9 --no-amp --compile --lr 1 --name x",
        "--dataset ckplus --folds all --protocol frame --fold 2 --init a.pt --soft-targets b.csv --soft-weight 0.2",
    ],
)
def test_what_is_written_is_read_again(tmp_path, flags):
    config = config_from_flags(train.build_parser().parse_args(flags.split()))
    assert read_config(written(tmp_path, config)) == config


def test_flags_go_before_the_recipe(tmp_path):
    config = config_from_flags(train.build_parser().parse_args("--recipe small --model VGG19 --bs 7".split()))
    assert config.recipe == replace(make_recipe("small"), model="vgg19", batch_size=7)
    assert config.recipe_name == "small" and config.data == Path("data/fer2013.h5") and config.amp is None


def test_a_field_that_an_older_version_did_not_know_has_its_default(tmp_path):
    config = RunConfig(Path("x.h5"), recipe=make_recipe("small"))
    options = {name: value for name, value in config.as_json()["options"].items() if name != "early_size"}
    assert read_config(written(tmp_path, config, options=options)) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour, which this code does not know"),
        ({"seed": "0"}, "seed is '0', not int"),
        ({"amp": 1}, "amp is 1"),
        ({"options": []}, "it has no data and options"),
        ({"options": {"lr": "fast"}}, "lr is 'fast', not float"),
        ({"options": {"lr": -1}}, "--lr -1.0"),
        ({"options": {"speed": 1}}, "speed, which this code does not know"),
    ],
)
def test_other_content_is_refused_with_its_name(tmp_path, changes, message):
    with pytest.raises(ValueError, match="args.json|--lr") as error:
        read_config(written(tmp_path, RunConfig(Path("x.h5")), **changes))
    assert message in str(error.value)


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "args.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_config(tmp_path / "args.json")
