"""What the scripts' command lines have in common."""

from pathlib import Path

import pytest

from utils.cli import expand, expand_one


def test_patterns_are_expanded_where_no_such_file_exists(tmp_path):
    for name in ("b/model.t7", "a/model.t7", "[1].jpg", "1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = expand([tmp_path / "*/model.t7", tmp_path / "1.jpg"])
    assert found == [tmp_path / "a/model.t7", tmp_path / "b/model.t7", tmp_path / "1.jpg"]
    assert expand([tmp_path / "[1].jpg", tmp_path / "none*"]) == [tmp_path / "[1].jpg", tmp_path / "none*"]
    assert expand_one(tmp_path / "b/*.t7") == tmp_path / "b/model.t7"
    assert expand_one(Path("none/*.csv")) == Path("none/*.csv")
    with pytest.raises(ValueError, match="matches 2 paths.*give one"):
        expand_one(tmp_path / "*/model.t7")
