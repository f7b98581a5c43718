"""Evaluation runs against each other: what is paired, refused and marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from runs import draw, write_run
from scipy import stats

from sage_bench.evaluation.votes import answer_classes, load_votes
from sage_bench.reporting.compare import compare_runs, comparison_markdown
from sage_bench.reporting.export import eval_runs
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.metrics import Metric, parse_metric
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import read_eval
from sage_bench.reporting.tables import seed_table
from sage_bench.statistics import holm, macro, paired_over_seeds, pass_at_k
from sage_bench.utils.errors import UsageError

WEAK = {"short": 0.4, "long": 0.2}
STRONG = {"short": 0.7, "long": 0.5}


@pytest.fixture
def two(tmp_path) -> list[Path]:
    return [
        write_run(tmp_path / "grpo/aa", "grpo", draw(1, WEAK)),
        write_run(tmp_path / "sage/bb", "sage", draw(2, STRONG), shuffle=3),
    ]


def test_the_table_is_paired_by_question_and_corrected(two):
    found = compare_runs(eval_runs(two), Metric())
    assert [(r.a, r.b, r.task, r.questions) for r in found.rows] == [
        ("sage @40", "grpo @40", t, n) for t, n in (("avg", 80), ("short", 40), ("long", 40))
    ]
    scores = [
        np.concatenate([(draw(s, rates)[t] == "7").mean(1) for t in rates])
        for s, rates in ((2, STRONG), (1, WEAK))
    ]
    average, short, _ = found.rows
    assert average.diff == pytest.approx(
        100 * (scores[0] - scores[1]).mean()
    )  # equal sizes: macro = micro
    delta = scores[0][:40] - scores[1][:40]
    assert short.diff == pytest.approx(100 * delta.mean())
    assert short.se == pytest.approx(100 * stats.sem(delta))
    unpaired = 100 * np.hypot(stats.sem(scores[0][:40]), stats.sem(scores[1][:40]))
    assert short.se < 0.8 * unpaired  # what pairing is for
    assert [r.holm for r in found.rows] == pytest.approx(holm([r.p for r in found.rows]))
    assert all(r.significant for r in found.rows)
    text = comparison_markdown(found)
    assert text.count("**+") == 3
    assert "n.s." not in text.split("\n\n")[0]
    assert "| sage @40 − grpo @40, avg | 80 |" in text


def test_no_difference_is_called_n_s(tmp_path):
    same = [write_run(tmp_path / str(i), f"m{i}", draw(i, WEAK)) for i in (1, 2)]
    found = compare_runs(eval_runs(same), Metric())
    assert not any(r.significant for r in found.rows)
    assert comparison_markdown(found).count("n.s. |") == 3
    assert "80 % power" in found.notes[-1]


def test_many_runs_are_compared_with_the_first_or_the_named_or_all_with_all(tmp_path):
    runs = eval_runs([write_run(tmp_path / str(i), f"m{i}", draw(i, WEAK)) for i in range(3)])
    first = compare_runs(runs, Metric())
    assert [(r.a, r.b) for r in first.rows if r.task == "avg"] == [
        ("m1 @40", "m0 @40"),
        ("m2 @40", "m0 @40"),
    ]
    named = compare_runs(runs, Metric(), against="m2 @40")
    assert {r.b for r in named.rows} == {"m2 @40"}
    every = compare_runs(runs, Metric(), all_pairs=True)
    assert {(r.a, r.b) for r in every.rows} == {
        ("m1 @40", "m0 @40"),
        ("m2 @40", "m0 @40"),
        ("m2 @40", "m1 @40"),
    }
    assert all(r.holm >= r.p for r in every.rows)
    assert max(r.holm / r.p for r in every.rows if r.holm < 1) > 1.5
    with pytest.raises(UsageError, match="did you mean `m2 @40`"):
        compare_runs(runs, Metric(), against="m2@40")


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("sampling", {"how": {"long": {"temperature": 1.0}}}, "long: temperature 0.6 and 1.0"),
        ("sampling", {"how": {"short": {"max_gen_toks": 8192}}}, "short: max_gen_toks 96 and 8192"),
        ("prompts", {"how": {"long": {"prompt_id": "other"}}}, "long: prompt_id p1 and other"),
        ("data", {"how": {"short": {"data_rev": "d2"}}}, "short: data_rev d1 and d2"),
        ("grader", {"grader": "robust"}, "math_verify and robust"),
    ],
)
def test_runs_that_were_not_asked_alike_are_refused_unless_allowed(tmp_path, kind, changes, said):
    folders = [
        write_run(tmp_path / "a", "a", draw(1, WEAK)),
        write_run(tmp_path / "b", "b", draw(2, STRONG), **changes),
    ]
    with pytest.raises(UsageError) as error:
        compare_runs(eval_runs(folders), Metric())
    assert f"a @40 and b @40 differ in {kind}" in str(error.value)
    assert said in str(error.value)
    assert f"--allow {kind}" in str(error.value)
    allowed = compare_runs(eval_runs(folders), Metric(), allow=[kind])
    assert len(allowed.rows) == 3
    assert any(said in n for n in allowed.notes)


def test_missing_samples_never_dilute(tmp_path, two):
    """A question that lacks samples is left out on both sides; it is neither wrong nor averaged
    over fewer."""
    whole, partial = (
        two[0],
        write_run(tmp_path / "cut", "sage", draw(2, STRONG), drop=6),
    )  # one question without a sample, one with 2 of 4
    result = read_eval(partial).tasks["short"]
    assert result.status == "partial 154/160"
    assert len(result.means) == 38
    right = (draw(2, STRONG)["short"] == "7").mean(1)
    assert result.means == pytest.approx(right[:38])
    assert result.means.mean() != pytest.approx((right * 4).sum() / 160)
    found = compare_runs(eval_runs([whole, partial]), Metric())
    assert [r.questions for r in found.rows] == [78, 38, 40]
    assert found.partial
    assert found.rows[1].value_b == pytest.approx(100 * (draw(1, WEAK)["short"] == "7")[:38].mean())
    board = leaderboard([read_eval(partial)], passes=True)
    assert set(board[board.task == "short"].n_questions) == {38}
    assert "partial 154/160" in set(board.status)


def test_more_samples_than_there_are_is_nan_in_tables_and_an_error_on_request(tmp_path, two):
    with pytest.raises(
        UsageError, match="pass@8 needs 8 samples a question; too few for short, long"
    ):
        compare_runs(eval_runs(two), Metric("pass", 8))
    uneven = [
        write_run(
            tmp_path / m, m, {"short": draw(i, WEAK)["short"], "long": draw(i, WEAK)["long"][:, :1]}
        )
        for i, m in enumerate("ab")
    ]
    found = compare_runs(eval_runs(uneven), Metric("pass", 4))
    average, short, long = found.rows
    assert np.isnan([average.diff, long.diff, average.holm]).all()
    assert short.value_b > 0
    assert any("no average" in n for n in found.notes)
    assert found.as_json()["rows"][0]["diff"] is None
    assert "– | – |" in comparison_markdown(found)
    board = leaderboard([read_eval(uneven[0])], passes=True)
    assert set(board[board.metric == "pass@4"].task) == {"short"}
    assert not board.value.isna().any()
    assert set(board[board.metric == "avg@n"].task) == {"short", "long", "avg"}


def test_pass_and_majority_on_the_same_questions(two):
    table = draw(2, STRONG)["short"]
    runs = eval_runs(two)
    passed = compare_runs(runs, Metric("pass", 2))
    assert passed.rows[1].value_a == pytest.approx(
        100 * pass_at_k((table == "7").sum(1), 4, 2).mean()
    )
    majority = compare_runs(runs, Metric("maj", 4))
    votes = []
    for row in table:  # 1/2 and 0.5 are one answer; blanks have no vote
        counts = {
            "7": (row == "7").sum(),
            "5": (row == "5").sum(),
            "half": np.isin(row, ["1/2", "0.5"]).sum(),
        }
        top = [c for c, n in counts.items() if n == max(counts.values()) and n]
        votes.append(("7" in top) / len(top) if top else 0.0)
    assert majority.rows[1].value_a == pytest.approx(100 * np.mean(votes))
    assert compare_runs(runs, Metric("maj", 1)).rows[0].diff == pytest.approx(
        compare_runs(runs, Metric()).rows[0].diff
    )


def test_equal_answers_are_one_class_by_the_grader_and_kept_until_the_grades_change(two):
    votes = load_votes(two[1], "short", "math_verify")
    table = draw(2, STRONG)["short"]
    for doc, row in enumerate(table):
        half = {votes[doc][s] for s, a in enumerate(row) if a in {"1/2", "0.5"}}
        assert len(half) <= 1
        assert all(
            (votes[doc][s] == 0) == (a == "7") and (votes[doc][s] == -1) == (a == "")
            for s, a in enumerate(row)
        )
    kept = two[1] / "votes/short.math_verify.json"
    before = kept.read_text()
    assert load_votes(two[1], "short", "math_verify") == votes
    assert kept.read_text() == before
    grades = two[1] / "grades/short.math_verify.jsonl"
    rows = [json.loads(line) for line in grades.read_text().splitlines()]
    grades.write_text("".join(json.dumps({**r, "correct": False}) + "\n" for r in rows))
    assert all(
        c != 0 for v in load_votes(two[1], "short", "math_verify").values() for c in v.values()
    )


def test_classes_ask_the_grader_once_a_class():
    asked = []

    def same(first, others):
        asked.append(first)
        return [first[0] == o[0] for o in others]

    rows = [
        {"sample": i, "correct": False, "extracted": a}
        for i, a in enumerate(["a1", "b1", "a2", "b2", "a1", "c"])
    ]
    assert answer_classes(rows, same) == {0: 1, 2: 1, 4: 1, 1: 2, 3: 2, 5: 3}
    assert asked == [
        "a1",
        "b1",
    ]


def test_training_seeds_are_a_level_of_their_own(tmp_path):
    folders = [
        write_run(tmp_path / f"{m}{s}", m, draw(10 * s + i, rates), label={"train_seed": s})
        for s in range(3)
        for i, (m, rates) in enumerate((("grpo", WEAK), ("sage", STRONG)))
    ]
    runs = eval_runs(folders)
    assert list(runs) == [
        "grpo @40",
        "sage @40",
        "grpo @40 seed 1",
        "sage @40 seed 1",
        "grpo @40 seed 2",
        "sage @40 seed 2",
    ]
    found = compare_runs(runs, Metric(), seeds=True)

    def of(method):
        return [r.scores for r in runs.values() if r.method == method]

    by_hand = paired_over_seeds(of("sage"), of("grpo"))
    average = found.rows[0]
    assert (average.a, average.b, average.task) == ("sage", "grpo", "avg")
    assert (
        average.diff,
        average.se,
        average.p,
    ) == pytest.approx((100 * by_hand.mean, 100 * by_hand.se, by_hand.p))
    assert "contain training seeds and questions (grpo: 3 seeds, sage: 3 seeds)" in found.notes[-2]
    table = seed_table(list(runs.values()))
    assert list(table.index) == ["grpo", "sage"]
    assert set(table.seeds) == {"0, 1, 2"}
    assert (table.se >= table["of questions"]).all()
    assert table.avg["sage"] == pytest.approx(100 * np.mean([macro(s)[0] for s in of("sage")]))
    with pytest.raises(UsageError, match="has the training seeds 0"):
        compare_runs(eval_runs(folders[:2]), Metric(), seeds=True)
    report([tmp_path], tmp_path / "out")
    assert "Over training seeds" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pass", "pass@4"),
        ("pass@k", "write a number"),
        ("pass@0", "write a number"),
        ("mja@4", "did you mean `maj`"),
        ("avg@4", "avg takes all samples"),
    ],
)
def test_a_wrong_metric_says_what_to_write(text, said):
    with pytest.raises(UsageError) as error:
        parse_metric(text)
    assert said in str(error.value)


def test_real_evaluations_are_compared(packaged, tmp_path):
    """The packaged policy, really sampled: with another seed it does not differ; another
    temperature is refused by name."""
    from sage_bench.evaluation import runner
    from sage_bench.evaluation.tasks.spec import parse
    from sage_bench.generation.samplers.hf import Hf

    sampler = Hf(packaged)

    def evaluate(name: str, **changes) -> Path:
        return runner.evaluate(
            runner.EvalConfig(
                sampler.path,
                parse("tiny_short:2"),
                tmp_path / name,
                label={"method": name},
                **{"limit": 8, **changes},
            ),
            sampler,
            quiet=True,
        )

    a, b, hot = evaluate("a"), evaluate("b", seed=1), evaluate("hot", sampling={"temperature": 1.0})
    found = compare_runs(eval_runs([a, b]), Metric("maj", 2))
    assert len(found.rows) == 1
    assert found.rows[0].questions == 8
    assert not found.rows[0].significant
    assert any("LIMITED" in n for n in found.notes)
    with pytest.raises(
        UsageError, match=r"differ in sampling \(tiny_short: temperature 0.6 and 1.0\)"
    ):
        compare_runs(eval_runs([a, hot]), Metric())
