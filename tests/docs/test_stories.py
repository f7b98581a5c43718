"""The numbers in the pages of results/stories/ are those of the tables beside them, which commands
wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scipy import stats

STORIES = Path(__file__).resolve().parents[2] / "results/stories"
PAGES = sorted(page for page in STORIES.rglob("README.md") if (page.parent / "table.md").is_file())
NUMBER = r"[+−-]?\d+\.\d"


def rows(page: Path) -> list[str]:
    """The rows of the table of methods: those of tables with a column `average`."""
    found, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
        elif "| average" in line:
            inside = True
        elif inside:
            found.append(line)
    return found


def plain(text: str) -> str:
    """With ASCII signs, and without the backslashes and the plus of a table."""
    return text.replace("−", "-").replace("\\", "").replace("+", "")


def name_of(page: Path) -> str:
    return str(page.parent.relative_to(STORIES))


def seeds_of(folder: Path) -> dict[str, list[float]]:
    """The averages by seed of every row in by_seed.md."""
    found = {}
    for line in (folder / "by_seed.md").read_text(encoding="utf-8").splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[1]] = [float(x) for x in re.findall(r"\d: (\d+\.\d)", cells[-1])]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_averages_and_differences_are_those_of_the_table(page):
    table = plain((page.parent / "table.md").read_text(encoding="utf-8"))
    for row in rows(page):
        for average in re.findall(rf"{NUMBER} ± {NUMBER}", row):
            assert average in table, row
        for difference in re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", row):
            assert plain(difference) in table, row


@pytest.mark.parametrize(
    "page", [page for page in PAGES if (page.parent / "by_seed.md").is_file()], ids=name_of
)
def test_seeds_are_those_of_the_studies(page):
    known = [" ".join(f"{x:.1f}" for x in row) for row in seeds_of(page.parent).values()]
    told = re.findall(rf"\| ((?:{NUMBER} ){{2,}}{NUMBER}) \|", "\n".join(rows(page)))
    assert told
    assert set(told) <= set(known)
    assert len(told) == len(known)


def test_differences_in_the_page_of_both_worlds_stand_in_the_tables():
    tables = [plain(file.read_text(encoding="utf-8")) for file in STORIES.rglob("table.md")]
    told = 0
    for line in (STORIES / "second/README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("|") and "offline positives" not in line:
            for difference in re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", line):
                told += 1
                assert any(plain(difference) in table for table in tables), line
    assert told > 15


@pytest.mark.parametrize("folder", ["sgpo", "second/sgpo"])
def test_offline_positives_against_negatives(folder):
    """A difference that no table has: by seed, with Student's interval."""
    by_seed = seeds_of(STORIES / folder)
    pairs = zip(by_seed["offline_positives"], by_seed["offline_negatives"], strict=True)
    differences = [a - b for a, b in pairs]
    low, high = stats.ttest_1samp(differences, 0).confidence_interval()
    text = (STORIES / folder / "README.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"\(\+(\d+\.\d) \[(\d+\.\d), (\d+\.\d)\], by seed\)", text)
    expected = (sum(differences) / len(differences), low, high)
    assert [float(x) for x in told] == pytest.approx(expected, abs=0.11)
    assert f"+{told[0]} [{told[1]}, {told[2]}]" in (STORIES / "second/README.md").read_text()
