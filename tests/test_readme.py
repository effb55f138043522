"""The README in its two languages: the same commands, the same figures, and links to files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh-CN.md"


def commands(file: Path) -> list[str]:
    """The indented lines, without their comments."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("    ")]
    return [re.split(r"\s{2,}# ", line)[0].strip() for line in lines]


def figures(file: Path) -> list[str]:
    """The numbers in the rows of tables, as they are written."""
    rows = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [number for row in rows for number in re.findall(r"\d[\d.,]*\d|\d", row)]


def names(file: Path) -> list[str]:
    """Flags and files that are named in the text."""
    text = file.read_text(encoding="utf-8").replace(ENGLISH.name, "").replace(CHINESE.name, "")
    return sorted(set(re.findall(r"--[a-z][a-z-]+|[\w/]+\.(?:py|md|pt|h5|csv|json|html)\b", text, re.ASCII)))


def sections(file: Path) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)]


@pytest.mark.parametrize("read", [commands, figures, names, sections])
def test_both_languages_say_the_same(read):
    assert read(ENGLISH), "nothing was compared"
    assert read(CHINESE) == read(ENGLISH)


@pytest.mark.parametrize("file", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md")], ids=str)
def test_links_lead_to_files(file: Path):
    text = file.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text)
    missing = [link for link in links if "://" not in link and not (file.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("file", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("weights/*.md")], ids=str)
def test_indented_lines_are_code(file: Path):
    """Right below a paragraph's line they would go on with the paragraph."""
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"^(?![ \-|`\n]).+\n {4}\S.*$", text, flags=re.MULTILINE)
