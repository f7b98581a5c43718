"""Methods by model beside a paper: blocks, averages, tests, marks and five markups."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from runs import draw, write_run

from sage_bench.reporting.export import eval_runs
from sage_bench.reporting.method_table import method_table, reference_table
from sage_bench.reporting.reference import (
    differences_within,
    load_reference,
    misprint_lines,
    plain,
    references,
)
from sage_bench.reporting.render import FORMATS, TIDY, tidy, to_csv, to_latex, write_tables
from sage_bench.utils.errors import UsageError

CELLS = Path(__file__).resolve().parents[2] / "results" / "paper" / "sage-table1.csv"
MODELS = ("Llama-3.2-3B-Instruct", "Qwen2.5-7B-Instruct", "Qwen3-4B-Instruct-2507")
RATES = {"base": 0.3, "grpo": 0.5, "sage": 0.9}
TASKS = ("sb_aime24", "sb_amc23", "sb_gpqa_diamond")


def evaluated(folder, model, method, rate, seed=None, **more):
    """An evaluation of three benchmarks, of a policy that is right at a rate."""
    label = {"model_name": model, "train_seed": seed, "step": None}
    table = draw(1 + (seed or 0), dict.fromkeys(TASKS, rate), questions=more.pop("questions", 30))
    return write_run(folder, method, table, label=label, **more)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> list[Path]:
    """Nine evaluations: three models x base, grpo, sage."""
    tmp_path = tmp_path_factory.mktemp("study")
    folders = []
    for model in MODELS:
        for method, rate in RATES.items():
            folders.append(evaluated(tmp_path / model / method, model, method, rate))
    return folders


def table_of(folders, **options):
    return method_table(list(eval_runs(folders).values()), **options)


def test_three_models_make_three_blocks_of_the_same_methods(study):
    table = table_of(study)
    assert table.models() == list(MODELS)
    for model in MODELS:
        assert [r.method for r in table.rows if r.model == model] == ["base", "grpo", "sage"]
    assert list(table.columns) == ["AIME24", "AMC23", "GPQA-diamond", "avg_id", "avg_ood"]
    text = FORMATS["md"](table)
    assert text.count("\n**") == 3
    assert "base (" not in text


def test_averages_are_in_and_out_of_distribution_with_their_difference_to_base(study):
    table = table_of(study)
    runs = {r.method: r for r in eval_runs(study[:3]).values()}
    sage = next(r for r in table.rows if r.method == "sage")
    by_hand = {m: [100 * runs[m].tasks[t].means.mean() for t in TASKS] for m in runs}
    assert sage.cells["avg_id"].score == pytest.approx(np.mean(by_hand["sage"][:2]))
    assert sage.cells["avg_ood"].score == pytest.approx(by_hand["sage"][2])
    expected = np.mean(by_hand["sage"][:2]) - np.mean(by_hand["base"][:2])
    assert sage.cells["avg_id"].delta == pytest.approx(expected)
    assert sage.cells["avg_id"].best
    assert next(r for r in table.rows if r.method == "grpo").cells["avg_id"].second


def test_policies_that_nobody_trained_are_tested_over_questions_within_the_table(study):
    table = table_of(study)
    lines = [n for n in table.notes if " − base, " in n]
    assert len(lines) == 12  # three models, two methods, two averages
    assert all("of these two policies (Holm" in n for n in lines)
    sage = [r.cells["avg_id"] for r in table.rows if r.method == "sage"]
    assert all(c.significant for c in sage)
    named = table_of(study, baseline="grpo")
    assert any("sage − grpo, avg_id" in n for n in named.notes)
    with pytest.raises(UsageError, match="did you mean `grpo`"):
        table_of(study, baseline="grp")


def test_methods_are_claimed_over_seeds_and_one_seed_claims_nothing(tmp_path):
    folders = [evaluated(tmp_path / "base", MODELS[0], "base", 0.2)]
    for seed in range(3):
        folders.append(evaluated(tmp_path / f"g{seed}", MODELS[0], "grpo", 0.9, seed))
    folders.append(evaluated(tmp_path / "s0", MODELS[0], "sage", 0.95, 0))
    table = table_of(folders)
    rows = {r.method: r for r in table.rows}
    assert (rows["grpo"].seeds, rows["sage"].seeds) == (3, 1)
    notes = "\n".join(table.notes)
    assert "over the training seeds 0, 1, 2 (one policy)" in notes
    assert "sage − base, avg_id: +" in notes
    assert "one training run each: no claim about the methods" in notes
    assert not rows["sage"].cells["avg_id"].significant
    assert "grpo (3 seeds)" in FORMATS["text"](table)


def test_one_policy_against_a_trained_baseline_is_a_claim_over_the_baselines_seeds(tmp_path):
    folders = [evaluated(tmp_path / "base", MODELS[0], "base", 0.2)]
    for seed, rate in enumerate((0.9, 0.6, 0.7)):
        folders.append(evaluated(tmp_path / f"g{seed}", MODELS[0], "grpo", rate, seed))
    table = table_of(folders, baseline="grpo")
    rows = {r.method: r.cells["avg_id"].score for r in table.rows}
    (note,) = [n for n in table.notes if "base − grpo, avg_id" in n]
    assert f"avg_id: {rows['base'] - rows['grpo']:+.1f} [" in note
    assert "over the training seeds 0, 1, 2 (one policy)" in note
    (mirrored,) = [n for n in table_of(folders).notes if "grpo − base, avg_id" in n]
    ends = [re.search(r"\[(.+), (.+)\], p = (\S+),", text).groups() for text in (note, mirrored)]
    (low, high, p), (other_low, other_high, other_p) = [tuple(map(float, e)) for e in ends]
    assert (low, high, p) == (-other_high, -other_low, other_p)


def test_the_tidy_file_has_its_columns_and_the_papers_cells_beside_ours(study):
    table = table_of(study, reference=load_reference("paper:sage-table1"))
    frame = pd.read_csv(io.StringIO(to_csv(table)))
    assert list(frame.columns) == TIDY
    assert set(frame.benchmark) == {"AIME24", "AMC23", "GPQA-diamond", "avg_id", "avg_ood"}
    found = frame[(frame.model == MODELS[1]) & (frame.method == "sage")].set_index("benchmark")
    printed = load_reference("paper:sage-table1")
    for benchmark, row in found.iterrows():
        assert row.paper == printed.find(MODELS[1], "SAGE", str(benchmark)).value
    assert set(found.paper_status) == {"printed cell", "printed, derived"}
    # blanks of the drawn answers end at the token limit
    assert set(frame.status) <= {"ok", "truncated"}
    assert set(frame.n_seeds) == {1}
    assert any("not here: SFT, LUFFY, Scaf-GRPO, SAGE-light" in n for n in table.notes)
    unlike = [n for n in table.notes if "compares unlike averages" in n]
    assert unlike[1].startswith("avg_ood is over GPQA-diamond here and over GPQA-diamond, MMLU-Pro")


# ---- the paper ----------------------------------------------------------------------------------
def test_the_papers_table_is_rendered_from_its_cells_to_the_printed_digit():
    table = reference_table(load_reference("paper:sage-table1"))
    printed = {}
    with CELLS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            printed[row["model"], row["method"], row["benchmark"]] = row["paper"]
    shown = {(r.model, r.method, r.benchmark): r.paper for r in tidy(table).itertuples(index=False)}
    assert len(shown) == 3 * 7 * 10
    assert [k for k, text in shown.items() if printed[k] != text] == []
    text = FORMATS["md"](table)
    for (_, _, benchmark), value in printed.items():
        if not benchmark.startswith("delta"):
            assert value in text
    best = [r for r in table.rows if r.model == MODELS[0] and r.cells["avg_id"].best]
    assert [r.method for r in best] == ["SAGE"]


def test_misprints_are_found_by_recomputing():
    found = differences_within(load_reference("paper:sage-table1"))
    assert {(d.model, d.method, d.benchmark) for d in found if d.misprint} == {
        ("Qwen2.5-7B-Instruct", "Scaf-GRPO", "delta_id")
    }
    (wrong,) = [d for d in found if d.misprint]
    assert (wrong.printed, round(wrong.recomputed, 3)) == (2.2, 3.167)
    assert len(found) == 6
    last = misprint_lines(load_reference("paper:sage-table1"))[-1]
    assert last.startswith("84 derived values recomputed, 6 differ")
    assert misprint_lines(load_reference("paper:sage-table-c1"))[-1].endswith(
        "0 of these more than rounding explains."
    )


def test_every_reference_has_cells_with_numbers_and_sources():
    names = references()
    assert {f"paper:{n}" for n in ("sage-table1", "sage-table2", "sage-table3")} <= set(names)
    assert {f"paper:{n}" for n in ("sage-table-c1", "hint", "oar", "sgpo", "luffy")} <= set(names)
    for name in names:
        cells = load_reference(name).cells
        assert all(cell.text and cell.source and cell.status for cell in cells)
        numbers = [cell for cell in cells if cell.value == cell.value]
        assert len(numbers) > 0.95 * len(cells)
    with pytest.raises(UsageError, match="did you mean `paper:sage-table1`"):
        load_reference("paper:sage-tabel1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("SAGE-light", "sage_light"),
        ("Scaf-GRPO", "scaf_grpo"),
    ],
)
def test_names_match_as_people_write_them(one, other):
    assert plain(one) == plain(other)


# ---- marks --------------------------------------------------------------------------------------
def test_what_is_not_what_it_seems_is_marked_and_explained(tmp_path):
    model = MODELS[0]
    folders = [
        evaluated(tmp_path / "base", model, "base", 0.3),
        evaluated(tmp_path / "cut", model, "cut", 0.5, drop=6),
        evaluated(tmp_path / "few", model, "few", 0.5, limit=30),
        evaluated(tmp_path / "poor", model, "poor", 0.5),
        evaluated(tmp_path / "chosen", model, "chosen", 0.5),
        evaluated(tmp_path / "again", model, "again", 0.5),
    ]
    for name, key, value in (
        ("poor", "degraded", ["hints"]),
        ("chosen", "select_rule", "test"),
        ("again", "recorded", ["groups (3fa9)"]),
    ):
        file = tmp_path / name / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["label"][key] = value
        file.write_text(json.dumps(manifest))
    table = table_of(folders)
    rows = {r.method: r for r in table.rows}
    assert "partial" in rows["cut"].cells["AIME24"].marks
    assert "partial" in rows["cut"].cells["avg_id"].marks
    assert "partial" not in rows["cut"].cells["AMC23"].marks
    assert "limited" in rows["few"].cells["AMC23"].marks
    assert "degraded" in rows["poor"].cells["AMC23"].marks
    assert "recorded" in rows["again"].cells["AMC23"].marks
    assert "recorded" not in rows["poor"].cells["AMC23"].marks
    assert "chosen on test" in rows["chosen"].cells["avg_ood"].marks
    # blanks of the drawn answers end at the token limit
    assert "truncated" in rows["base"].cells["AMC23"].marks
    assert "Recorded groups groups (3fa9): again." in table.notes
    text = FORMATS["md"](table)
    for mark, letter in table.marks().items():
        assert re.search(rf"^{letter}: ", text, re.M), mark
    assert "<sup>" in text


# ---- markups ------------------------------------------------------------------------------------
def test_all_files_are_written(study, tmp_path):
    table = table_of(study, reference=load_reference("paper:sage-table1"))
    written = write_tables(table, tmp_path / "out")
    assert [p.name for p in written] == ["table.csv", "table.md", "table.tex", "index.html"]
    page = (tmp_path / "out/index.html").read_text()
    assert page.count('class="model"') == 3
    assert "http" not in page


@pytest.mark.parametrize("form", FORMATS)
def test_labels_cannot_forge_rows_or_run_formulas(tmp_path, form):
    """Labels are given by anybody: pipes, line breaks, markup and formulas stay text."""
    nasty = "=cmd|x\n| forged | 99.9 |<script>alert(1)</script>\\end{tabular}\x1b[31m"
    folders = [
        evaluated(tmp_path / "a", "m", "base", 0.3),
        evaluated(tmp_path / "b", "m", nasty, 0.5),
    ]
    text = FORMATS[form](table_of(folders))
    assert "\x1b" not in text
    assert "\n| forged" not in text
    if form in {"md", "html"}:
        assert "<script>" not in text
    if form == "tex":
        assert text.count("\\end{tabular}") == 1
    if form == "csv":
        assert "\n=cmd" not in text
        assert len(pd.read_csv(io.StringIO(text))) == 10


def test_latex_has_booktabs_and_escapes(study):
    text = to_latex(table_of(study))
    assert text.count(r"\midrule") == 3
    assert r"\toprule" in text
    assert r"\textbf{" in text
    assert r"\underline{" in text
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    columns = {line.count("&") for line in body.splitlines() if "&" in line}
    assert columns == {7}  # a method and seven numbers in every line
    assert not re.search(r"(?<!\\)[_%#]", text.split("\n", 1)[1])


def test_latex_compiles(study, tmp_path):
    program = shutil.which("pdflatex") or shutil.which("tectonic")
    if program is None:
        pytest.skip("no pdflatex and no tectonic here; .ci/run installs texlive-latex-base")
    body = to_latex(table_of(study, reference=load_reference("paper:sage-table1")))
    head = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{body}\\end{{document}}\n")
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in program else []
    done = subprocess.run(
        [program, *flags, "t.tex"], cwd=tmp_path, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").exists()
