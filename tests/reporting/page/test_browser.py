"""The report in a real browser: pages, filters, keys, phones, the dark; nothing is executed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from browser import PHONE, browser, opened
from study_folders import write_study

from sage_bench.reporting.report import report

pytestmark = pytest.mark.slow

NASTY = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    " $\\href{javascript:document.title='owned'}{x}$ $\\sqrt{2}$ \\[\\frac{a}{b}\\] $\\broken{$"
)
PLAIN = "We add: $1 + 1 = 2$."
PAGES = ["overview", "samples", "passes", "training", "hints", "cost", "provenance"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Three evaluations, two training runs, and one evaluation whose samples are damaged."""
    folder = tmp_path_factory.mktemp("study")
    evaluations = write_study(folder, [NASTY, PLAIN], samples=4, steps=12, share=0.02, seeds=2)
    damaged = evaluations[-1] / "samples" / "sb_aime24.jsonl"
    damaged.write_text("not a row\n" + damaged.read_text())
    return folder


@pytest.fixture(scope="module")
def page(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page")
    report([study], out)
    return out / "index.html"


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture
def tab(chromium, page, request):
    """The page of samples, ready."""
    with opened(chromium, page, "#samples") as found:
        found.wait_for_selector("#samples[data-ready] .detail[data-shown]")
        yield found


def shown(tab) -> str:
    return tab.text_content("#samples .counted")


def samples_of(tab) -> int:
    return int(shown(tab).split(",", 1)[1].split()[0].replace(",", ""))


def stored(study: Path, run: str = "base-None") -> list[tuple[dict, dict]]:
    """(sample, grade) of every sample of an evaluation, from its files."""
    folder = next((study / "eval" / run).iterdir())
    found = []
    for file in sorted((folder / "samples").glob("*.jsonl")):
        grades = folder / "grades" / f"{file.stem}.robust.jsonl"
        rows = zip(file.open(), grades.open(), strict=True)
        found += [(json.loads(sample), json.loads(grade)) for sample, grade in rows]
    return found


@pytest.mark.parametrize(
    ("size", "scheme"), [(None, "light"), (None, "dark"), (PHONE, "light"), (PHONE, "dark")]
)
def test_every_page_draws_without_a_complaint(chromium, page, size, scheme, tmp_path):
    options = {"color_scheme": scheme} | ({"viewport": size} if size else {})
    with opened(chromium, page, **options) as tab:
        assert [a.get_attribute("href")[1:] for a in tab.query_selector_all("nav a")] == PAGES
        for name in PAGES:
            tab.evaluate(f"location.hash = {json.dumps(name)}")
            tab.wait_for_selector(f"#{name}[data-drawn]")
            figures = f"#{name} figure"
            drawn = f"#{name} .plot[data-drawn] .main-svg"
            assert tab.locator(drawn).count() >= tab.locator(figures).count()
            tab.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
            # a page-wide bar would hide half of every table on a phone
            assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert tab.complaints == []


def test_charts_are_not_white_in_the_dark(chromium, page):
    with opened(chromium, page, "#training", color_scheme="dark") as tab:
        tab.wait_for_selector("#training[data-drawn]")
        background = "getComputedStyle(document.querySelector('#training .main-svg')).background"
        assert "255, 255, 255" not in tab.evaluate(background)
        text = "getComputedStyle(document.querySelector('#training .xtick text')).fill"
        assert tab.evaluate(text) == "rgb(230, 233, 237)"


def test_every_chart_names_its_axes(chromium, page):
    with opened(chromium, page, "#training") as tab:
        tab.wait_for_selector("#training[data-drawn]")
        figures = tab.locator("#training figure").count()
        assert tab.locator("#training .xtitle").count() == figures > 5
        assert tab.locator("#training .ytitle").count() == figures


def test_seeds_are_one_line_in_a_band(chromium, page):
    with opened(chromium, page, "#training") as tab:
        tab.wait_for_selector("#training[data-drawn]")
        first = tab.locator("#training figure").first
        assert first.locator(".legend .legendtext").all_text_contents() == ["grpo", "sage"]
        assert first.locator(".scatterlayer .trace .js-fill").count() == 2


@pytest.mark.parametrize(
    ("name", "keeps"),
    [
        ("wrong", lambda s, g: not g["correct"]),
        ("right", lambda s, g: g["correct"]),
        ("truncated", lambda s, g: s["finish"] == "length"),
        ("no-answer", lambda s, g: g["status"] == "no_answer"),
    ],
)
def test_a_filter_counts_what_the_files_hold(tab, study, name, keeps):
    rows = stored(study)
    assert samples_of(tab) == len(rows)
    tab.click(f"[data-filter={name}]")
    assert samples_of(tab) == sum(keeps(s, g) for s, g in rows)
    assert tab.get_attribute(f"[data-filter={name}]", "aria-pressed") == "true"


def test_graders_that_disagree_are_found(tab, study):
    folder = next((study / "eval" / "base-None").iterdir())
    disagree = 0
    for file in (folder / "grades").glob("*.robust.jsonl"):
        other = folder / "grades" / file.name.replace("robust", "oat")
        for a, b in zip(file.open(), other.open(), strict=True):
            disagree += json.loads(a)["correct"] != json.loads(b)["correct"]
    tab.click("[data-filter=disagree]")
    assert samples_of(tab) == disagree


def test_filters_join(tab, study):
    tab.click("[data-filter=wrong]")
    tab.click("[data-filter=truncated]")
    both = [1 for s, g in stored(study) if not g["correct"] and s["finish"] == "length"]
    assert samples_of(tab) == len(both)


def test_model_output_is_text_and_never_executed(tab, study):
    tab.evaluate("document.title = 'untouched'")
    for _ in range(8):
        if "<script>" in tab.inner_text("#samples .completion"):
            break
        tab.keyboard.press("l")
        tab.wait_for_timeout(150)
    text = tab.inner_text("#samples .completion")
    assert "<script>document.title='owned'</script>" in text
    assert "<img src=x onerror=\"document.title='owned'\">" in text
    tab.wait_for_selector("#samples .completion .katex")
    assert tab.locator("#samples .completion script, #samples .completion img").count() == 0
    assert tab.locator("#samples .completion a").count() == 0
    assert tab.title() == "untouched"
    assert tab.complaints == []


def test_mathematics_is_set_and_can_be_switched_off(tab):
    tab.wait_for_selector("#samples .question .katex")
    tab.keyboard.press("m")
    tab.wait_for_selector("#samples .question .katex", state="detached")
    assert "$\\sqrt{0^2}$" in tab.inner_text("#samples .question")


def test_two_runs_stand_side_by_side(tab):
    tab.select_option("#samples select[aria-label=beside]", label="sage @12")
    tab.wait_for_selector("#samples .sides.of2 .completion")
    titles = tab.locator("#samples .sides h3").all_inner_texts()
    assert [t.split("\n")[0] for t in titles] == ["base", "sage @12"]
    assert tab.locator("#samples .completion").count() == 2


def test_keys_move_through_questions_and_samples(tab):
    first = tab.get_attribute("#samples .detail", "data-shown")
    tab.keyboard.press("l")
    name, sample = first.rsplit("/", 1)
    tab.wait_for_selector(f"[data-shown='{name}/{int(sample) + 1}']")
    tab.keyboard.press("j")
    tab.wait_for_selector(f"[data-shown]:not([data-shown^='{name}/'])")
    tab.keyboard.press("k")
    tab.wait_for_selector(f"[data-shown='{first}']")
    tab.keyboard.press("]")
    tab.wait_for_selector("#passes:not([hidden])")


def test_the_address_leads_back_to_the_sample(tab, chromium, page):
    tab.click("[data-filter=wrong]")
    tab.keyboard.press("j")
    tab.wait_for_timeout(200)
    here, shown_here = tab.evaluate("location.hash"), shown(tab)
    seen = tab.get_attribute("#samples .detail", "data-shown")
    with opened(chromium, page, here) as other:
        other.wait_for_selector(f"#samples .detail[data-shown='{seen}']")
        assert shown(other) == shown_here


def test_search_finds_a_question_by_its_name(tab):
    tab.fill("#samples input[type=search]", "math500-3")
    tab.wait_for_selector("#samples .counted:text-matches('^1 questions')")
    assert tab.inner_text("#samples .detail h2").startswith("sb_math500-3")


def test_a_phone_shows_the_list_and_then_the_question(chromium, page):
    with opened(chromium, page, "#samples", viewport=PHONE) as tab:
        tab.wait_for_selector("#samples[data-ready]")
        assert not tab.is_visible("#samples .detail")
        tab.click("#samples .row >> nth=1")
        tab.wait_for_selector("#samples .detail .completion")
        assert not tab.is_visible("#samples .list")
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.click("#samples .back")
        assert tab.is_visible("#samples .list")


def test_a_rescued_group_is_read_with_its_hint(chromium, page):
    with opened(chromium, page, "#hints") as tab:
        tab.wait_for_selector("#hints [data-ready] .detail[data-shown]")
        assert "Hint, level" in tab.inner_text("#hints .detail")
        assert tab.locator("#hints .hint .katex").count() > 0
        assert tab.locator("#hints .completion").count() == 8
        assert tab.complaints == []


def test_a_damaged_run_is_listed_with_its_reason(chromium, page):
    with opened(chromium, page) as tab:
        notice = tab.inner_text(".faults")
        assert "sb_aime24.jsonl:1" in notice
        assert "is not JSON" in notice
        rows = tab.locator("table.methods tbody tr td:first-child").all_inner_texts()
        assert rows == ["base", "grpo (2 seeds)", "sage"]


def test_the_front_joins_what_nothing_beats(chromium, page):
    with opened(chromium, page, "#cost") as tab:
        tab.wait_for_selector("#cost[data-drawn]")
        names = tab.locator("#cost .picker button").all_inner_texts()
        assert names == ["rollouts", "tokens", "hours", "tokens of an answer"]
        tab.click("#cost .picker button >> nth=2")
        tab.wait_for_selector("#cost .xtitle:has-text('hours')")
        assert tab.locator("#cost .scatterlayer .textpoint").count() == 3
