"""Rules of the layout: who imports whom, nothing at import, one-line errors, fast help."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("datasets", "models", "utils")
SCRIPTS = ("preprocess_fer2013", "train", "evaluate", "plot_confusion_matrix", "visualize")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_do_not_import_one_another_or_a_script(path):
    own = path.relative_to(ROOT).parts[0]
    assert not imported(path) & (set(PACKAGES + SCRIPTS) - {own})


def test_the_rule_has_something_to_hold():
    assert len(SOURCES) > 15


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_the_script_does_and_imports_no_torch(script):
    code = f"""import sys, {script}
try: {script}.main(["--help"])
except SystemExit as stop: assert stop.code == 0
assert "torch" not in sys.modules"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python {script}.py" in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_wrong_flag_is_one_line_and_status_2(script):
    done = subprocess.run([sys.executable, f"{script}.py", "--colour", "red"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(f"{script}.py: error: ") and done.stderr.count("\n") == 1


def test_nothing_reads_checkpoints_unsafely():
    for path in [*SOURCES, *ROOT.glob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "weights_only=False" not in text and "import *" not in text, path
        assert text.count("torch.load(") == text.count("weights_only=True)"), path
