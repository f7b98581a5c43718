"""A comment that cites a specification names a file and a section of docs/design/ that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DESIGN = ROOT / "docs" / "design"
FOLDERS = ("sage_bench", "backends", "tasks", "tests", "scripts", "benchmarks", "examples")
SECTION = r"\d+(?:\.\d+)*"
# docs/design/sage.md 3.6 | docs/design/sage.md 3.2 to 3.4 | docs/design/sage.md 2 and 8
CITATION = re.compile(
    rf"docs/design/([\w-]+\.md)((?: {SECTION}(?:(?:, | and | to | or |-){SECTION})*)?)"
)
# how specifications were cited before they were in the repository
OLD = re.compile(
    r"\bspec (?:[A-D]\.?\d|\d+\b|[\w-]+\.md)|\b(?:SAGE|HINT|OAR|SGPO|LUFFY) spec\b|\bthe spec's\b"
)


@cache
def texts() -> dict[str, str]:
    """Every source file on one line each, so that a wrapped comment reads like one sentence."""
    this = Path(__file__).resolve()
    found = {}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*"):
            inside_link = file.resolve() != file and folder == "sage_bench"
            if file.suffix not in (".py", ".yaml", ".sh") or inside_link or file == this:
                continue
            text = file.read_text(encoding="utf-8")
            found[str(file.relative_to(ROOT))] = re.sub(r'["\s]*\n\s*(?:# ?)?["\s]*', " ", text)
    return found


@cache
def sections(page: str) -> set[str]:
    """Numbers of the headings of a page."""
    text = (DESIGN / page).read_text(encoding="utf-8")
    return set(re.findall(rf"^#+ ({SECTION})\.? ", text, flags=re.M))


def cited() -> list[tuple[str, str, list[str]]]:
    """(file that cites, page, sections)."""
    return [
        (file, match[1], re.findall(SECTION, match[2]))
        for file, text in texts().items()
        for match in CITATION.finditer(text)
    ]


def test_cited_pages_exist():
    assert not {(f, page) for f, page, _ in cited() if not (DESIGN / page).is_file()}


def test_cited_sections_exist():
    missing = [
        (file, page, number)
        for file, page, numbers in cited()
        for number in numbers
        if (DESIGN / page).is_file() and number not in sections(page)
    ]
    assert not missing


def test_citations_name_a_section():
    assert not [(file, page) for file, page, numbers in cited() if not numbers]


def test_no_citation_of_something_that_is_not_in_the_repository():
    assert not {(file, found) for file, text in texts().items() for found in OLD.findall(text)}


def test_there_are_citations():
    assert len(cited()) >= 15


def test_sections_are_unique():
    for page in DESIGN.glob("*.md"):
        numbers = re.findall(rf"^#+ ({SECTION})\.? ", page.read_text("utf-8"), flags=re.M)
        assert len(numbers) == len(set(numbers)), page.name
