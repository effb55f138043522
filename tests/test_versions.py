"""Nothing that only newer Pythons have than the oldest that is allowed, nor what newer ones have thrown out."""

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Python 3.12 and 3.13: What's New, "Removed"
REMOVED = set(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib"
    " ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)


def test_sources_keep_to_the_allowed_pythons():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = tuple(map(int, wanted.removeprefix(">=").split(".")))
    sources = [path for folder in ROOT.iterdir() if not folder.name.startswith(".") for path in folder.rglob("*.py")]
    assert len(sources) > 100
    for path in [*ROOT.glob("*.py"), *sources]:
        if path.name == "python2.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=oldest)
        names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not REMOVED & {name.split(".")[0] for name in names}, path
