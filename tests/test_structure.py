"""Rules of the layout: layers, short files, nothing at import, one-line errors, fast help."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ("preprocess_fer2013", "train", "evaluate", "plot_confusion_matrix", "visualize")
# Lowest first, and what each may import besides itself. Nothing points up.
LAYERS = {
    "utils": (),
    "datasets": ("utils",),
    "models": ("utils", "datasets.names"),
    "engine": ("utils", "datasets", "models"),
    "benchmarks": ("utils", "datasets", "models", "engine"),
    **dict.fromkeys(SCRIPTS, ("utils", "datasets", "models", "engine")),
}
SOURCES = sorted(path for layer in LAYERS for path in [*ROOT.glob(f"{layer}.py"), *(ROOT / layer).rglob("*.py")])


def name_of(path: Path) -> str:
    """The module's dotted name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in SOURCES}


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it, also with `lazy_module`."""
    named = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name for name in inside if name in MODULES} or {node.module}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("late", "cli.late"):
            named |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return {name for name in named if name.split(".")[0] in LAYERS}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_the_layers(path):
    own = name_of(path).split(".")[0]
    allowed = (own, *LAYERS[own])
    wrong = {name for name in imported(path) if not any(name == a or name.startswith(f"{a}.") for a in allowed)}
    assert not wrong


def test_no_modules_import_one_another_in_a_circle():
    graph = {name: imported(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES) > 50


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= (250 if path.name == "train.py" else 300)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"


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
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "weights_only=False" not in text and "import *" not in text, path
        assert text.count("torch.load(") == text.count("weights_only=True)"), path
