"""The eight benchmarks: where rows come from, what happens to golds, prompts, and the same number
through bare lm-eval."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pytest
import stand_ins
from hub_cache import leave

from sage_bench.evaluation.tasks import benchmarks, golds
from sage_bench.evaluation.tasks.keys import GROUP_KEYS, METADATA_KEYS, TASK_KEYS
from sage_bench.evaluation.tasks.loading import DataOptions, load
from sage_bench.evaluation.tasks.spec import parse, task_files
from sage_bench.grading.question import grade_question
from sage_bench.utils.errors import DataError, UsageError

EIGHT = {
    "sb_aime24": 30,
    "sb_aime25": 30,
    "sb_amc23": 40,
    "sb_math500": 500,
    "sb_minerva": 272,
    "sb_olympiadbench": 675,
    "sb_gpqa_diamond": 198,
    "sb_mmlu_pro": 12032,
}
MATH = list(EIGHT)[:6]
GRADERS = ("math_verify", "robust")


def write(file: Path, rows: list[dict]) -> str:
    file.write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8"
    )
    return str(file)


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def own(task: str, **how) -> benchmarks.Benchmark:
    """The task as its own file describes it, with `how` on top (data, gold_corrections, ...)."""
    return benchmarks.load(task, **{**task_files()[task].values["metadata"], **how})


def from_file(task: str, file: Path | str, **how) -> benchmarks.Benchmark:
    return own(task, data={task: str(file)}, **how)


# ---- the files


@pytest.mark.parametrize("task", EIGHT)
def test_a_task_file_says_where_its_rows_come_from(task):
    meta = task_files()[task].values["metadata"]
    assert set(meta["hub"]) == {"id", "config", "split", "revision"}
    assert re.fullmatch(r"[0-9a-f]{40}", meta["hub"]["revision"])
    assert meta["revision_note"]
    assert meta["gold"] in golds.FORMS
    assert meta["fields"]["question"]
    assert re.match(r"20\d\d-\d\d", str(meta["released"]))
    assert meta["license"]
    assert EIGHT[task] in ([meta["rows"]] if isinstance(meta["rows"], int) else meta["rows"])
    assert meta["grader"] == ("mcq" if meta.get("options") else "robust")
    assert bool(meta.get("gated")) == (task == "sb_gpqa_diamond")


def test_groups_hold_the_eight_and_a_sample_costs_what_it_is_worth():
    assert list(parse("sb_math6")) == MATH
    assert list(parse("sb_ood2")) == list(EIGHT)[6:]
    assert parse("sb_math6,sb_ood2") == {t: 1 if t == "sb_mmlu_pro" else 16 for t in EIGHT}
    assert set(EIGHT) < set(parse("all"))


@pytest.mark.parametrize("task", MATH)
def test_mathematics_is_asked_with_the_prompt_of_the_paper(task):
    values = task_files()[task].values
    assert (
        values["description"]
        == "Please reason step by step, and put your final answer within \\boxed{}."
    )
    assert values["doc_to_text"] == "{{question}}"
    kwargs = values["generation_kwargs"]
    assert (
        kwargs["temperature"],
        kwargs["top_p"],
        kwargs["max_gen_toks"],
        kwargs["until"],
        kwargs["do_sample"],
    ) == (0.6, 0.95, 8192, [], True)


def test_a_typo_in_a_task_file_is_an_error_that_names_file_and_key(tmp_path):
    from lm_eval.config.group import GroupConfig
    from lm_eval.config.task import TaskConfig

    assert {*TaskConfig.__dataclass_fields__, "class"} == TASK_KEYS
    assert set(GroupConfig.__dataclass_fields__) == GROUP_KEYS
    assert {
        p for p in inspect.signature(benchmarks.load).parameters if p not in ("_", "benchmark")
    } < METADATA_KEYS
    for text, key, near in (
        ("task: a\ndoc_to_txt: x", "doc_to_txt", "doc_to_text"),
        (
            "group: g\ntask: []\nagregate_metric_list: []",
            "agregate_metric_list",
            "aggregate_metric_list",
        ),
        ("task: a\nmetadata: {hub: {}, row: 3}", "metadata.row", "rows"),
    ):
        (tmp_path / "mine.yaml").write_text(text)
        with pytest.raises(
            UsageError,
            match=(
                rf"mine\.yaml:{re.escape(key)}: unknown key `{re.escape(key)}`; did you mean"
                rf" `{near}`"
            ),
        ):
            task_files(tmp_path)
    (tmp_path / "mine.yaml").write_text("include: _none.yaml\ntask: a")
    with pytest.raises(UsageError, match=r"_none\.yaml"):
        task_files(tmp_path)


# ---- rows


HUB_ROWS = {
    "sb_aime24": {
        "id": 60,
        "problem": "What is 32 + 1?",
        "solution": "...",
        "answer": "033",
        "url": "u",
        "year": "2024",
    },
    "sb_aime25": {"problem": "What is 300 + 36?", "answer": "336^\\circ", "id": "7"},
    "sb_amc23": {"id": 0, "question": "What is 20 + 7?", "answer": "27.0", "url": "u"},
    "sb_math500": {
        "problem": "What is $1/2$?",
        "solution": "...",
        "answer": "\\frac12",
        "subject": "Algebra",
        "level": 2,
        "unique_id": "test/algebra/1.json",
    },
    "sb_minerva": {"question": "How many stars?", "answer": "4.5e33"},
    "sb_olympiadbench": {
        "id": 1606,
        "question": "Which are the roots?",
        "solution": ["..."],
        "final_answer": ["$69$,$84$"],
        "context": "Let it be so.",
        "unit": None,
        "is_multiple_answer": True,
    },
    "sb_gpqa_diamond": {
        "Record ID": "rec1",
        "Question": "Which is even?",
        "Correct Answer": "4 ",
        "Incorrect Answer 1": "3",
        "Incorrect Answer 2": "5",
        "Incorrect Answer 3": "7",
    },
    "sb_mmlu_pro": {
        "question_id": 70,
        "question": "Which is largest?",
        "options": list("123456789") + ["10"],
        "answer": "J",
        "answer_index": 9,
        "category": "math",
        "src": "s",
    },
}
ANSWERS = {
    "sb_aime24": "33",
    "sb_aime25": "336",
    "sb_amc23": "27",
    "sb_math500": "\\frac12",
    "sb_minerva": "4.5 \\times 10^{33}",
    "sb_olympiadbench": "69, 84",
    "sb_mmlu_pro": "J",
}


@pytest.mark.parametrize("task", EIGHT)
def test_a_pinned_dataset_in_the_cache_is_read_offline(task, tmp_path, monkeypatch):
    """With the fields the Hub's own rows have."""
    place = task_files()[task].values["metadata"]["hub"]
    leave(
        tmp_path,
        place["id"],
        place["config"] or "default",
        place["split"],
        place["revision"],
        [HUB_ROWS[task]],
    )
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    loaded = own(task, offline=True)
    (question,) = loaded.questions
    assert loaded.report.source == f"{place['id']}@{place['revision']}"
    assert loaded.report.partial
    assert question["answer"] == (
        ANSWERS[task] if task != "sb_gpqa_diamond" else question["answer"]
    )
    assert question["grader"] == task_files()[task].values["metadata"]["grader"]
    begins = {"sb_olympiadbench": "Let it be so.\n", "sb_minerva": "H"}
    assert question["question"].startswith(begins.get(task, "W"))
    if "options" in question:
        assert question["options"]["ABCDEFGHIJ".index(question["answer"])] == (
            "4" if task == "sb_gpqa_diamond" else "10"
        )


def test_another_revision_in_the_cache_is_not_taken_for_the_pinned_one(tmp_path, monkeypatch):
    leave(tmp_path, "math-ai/amc23", "default", "test", "0" * 40, [HUB_ROWS["sb_amc23"]])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        DataError,
        match=r"sb_amc23: the cache holds math-ai/amc23 at 0000000000, the task pins 80815d3700",
    ):
        own("sb_amc23", offline=True)


def test_offline_without_a_copy_says_which_task_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        DataError,
        match=(
            r"^sb_aime25: math-ai/aime25 at 563bb84042 is not in the cache .* Remedy: once with a"
            r" network: `sage-bench validate -t sb_aime25`; or give --data sb_aime25=FILE"
        ),
    ):
        own("sb_aime25", offline=True)


def test_files_of_every_kind_replace_the_hub_and_bad_rows_are_set_aside(tmp_path):
    rows = [{"id": i, "problem": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(5)]
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    files = [
        write(tmp_path / "a.jsonl", rows),
        *(str(tmp_path / f"a.{s}") for s in ("parquet", "csv", "json")),
    ]
    assert all(
        [q["answer"] for q in from_file("sb_aime24", f).questions] == ["1", "2", "3", "4", "5"]
        for f in files
    )
    bad = [
        *rows,
        {"id": 9, "problem": "x", "answer": "1/2"},
        {"id": 10, "problem": "", "answer": "1"},
        {"id": 11, "problem": "y"},
        {"id": 0, "problem": "z", "answer": "1"},
    ]
    report = from_file("sb_aime24", write(tmp_path / "b.jsonl", bad)).report
    assert (report.found, report.asked) == (9, 5)
    assert [q["reason"] for q in report.quarantine] == [
        "the gold `1/2` is no integer",
        "no question",
        "no answer",
        "its uid occurs twice",
    ]
    with pytest.raises(DataError, match=r"no usable row \(no answer\)"):
        from_file("sb_aime24", write(tmp_path / "c.jsonl", [{"problem": "x"}]))


def test_data_words(tmp_path):
    (tmp_path / "math500.jsonl").touch()
    (tmp_path / "other.jsonl").touch()
    tasks = ["sb_math500", "sb_aime24"]
    where = str((tmp_path / "math500.jsonl").resolve())
    assert benchmarks.data_files([str(tmp_path)], tasks) == {"sb_math500": where}
    assert benchmarks.data_files([f"aime24={tmp_path}/other.jsonl,{tmp_path}"], tasks) == {
        "sb_aime24": str((tmp_path / "other.jsonl").resolve()),
        "sb_math500": where,
    }
    for word, said in (
        (f"sb_minerva={tmp_path}/other.jsonl", "not among the tasks"),
        ("sb_aime24=none.jsonl", "no such data file"),
        ("nowhere", "neither"),
    ):
        with pytest.raises(UsageError, match=said):
            benchmarks.data_files([word], tasks)


def test_the_set_of_83_cannot_land_in_the_column_of_40(benchmark_files, tmp_path):
    assert from_file("sb_amc23", benchmark_files / "amc23.jsonl").report.asked == 40
    with pytest.raises(
        benchmarks.OtherRowsError,
        match=r"83 rows where the benchmark has 40.*AMC 2023 has 40 problems",
    ):
        from_file("sb_amc23", benchmark_files / "amc_aimo83.jsonl")
    part = from_file(
        "sb_amc23", write(tmp_path / "some.jsonl", read(benchmark_files / "amc_aimo83.jsonl")[:30])
    ).report
    assert part.partial, "a part of it is at least marked as incomplete"


@pytest.mark.parametrize("task", MATH)
def test_the_real_files_are_whole(task, benchmark_files):
    report = from_file(task, benchmark_files / f"{task[3:]}.jsonl").report
    assert report.found == EIGHT[task]
    assert not report.quarantine
    assert not report.partial
    assert report.asked == EIGHT[task] - len(report.excluded)


# ---- golds


def test_every_gold_known_to_be_wrong_is_in_the_table(benchmark_files):
    names = {t[3:] for t in EIGHT}
    table = [c for c in golds.corrections()]
    for known in read(benchmark_files / "known_bad_gold.jsonl"):
        if known["benchmark"] not in names or known["kind"].startswith("not an error"):
            continue
        rows = [
            c
            for c in table
            if c.benchmark == known["benchmark"] and (known["id"] in c.uids or known["id"] == "*")
        ]
        assert rows, known
        bad = (
            known["bad_answer"] if isinstance(known["bad_answer"], list) else [known["bad_answer"]]
        )
        for wrong in (b for b in bad if b and known["id"] != "*" and "answer_index" not in b):
            assert any(wrong in c.was for c in rows), known
    assert all(c.why and c.source for c in table)
    assert not [c for c in table if (c.action == "correct") != (c.gold is not None)]
    assert len({(c.benchmark, u) for c in table for u in c.uids}) == sum(len(c.uids) for c in table)


def test_what_the_collectors_corrected_is_what_we_correct(benchmark_files):
    for task in ("sb_minerva", "sb_olympiadbench"):
        rows = {r["id"]: r for r in read(benchmark_files / f"{task[3:]}.jsonl")}
        loaded = from_file(task, benchmark_files / f"{task[3:]}.jsonl")
        ours = {
            q["uid"]: q["answer"] for q in loaded.questions if q["uid"] in loaded.report.corrected
        }
        spell = golds.FORMS[task_files()[task].values["metadata"]["gold"]]
        theirs = {
            uid: spell(r["answer_corrected"]) for uid, r in rows.items() if "answer_corrected" in r
        }
        assert {u: a for u, a in ours.items() if u != "minerva-5"} == theirs
        assert ours.get("minerva-5", "\\arcsin(10/13)") == "\\arcsin(10/13)"
        flagged = {uid for uid, r in rows.items() if "relay" in r.get("gold_flag", "")} - {
            "olympiadbench-327",
            "olympiadbench-400",
        }  # those two can be answered
        assert set(loaded.report.excluded) == flagged
        assert len(flagged) == (17 if task == "sb_olympiadbench" else 0)


def test_golds_of_other_copies_are_put_right(benchmark_files, tmp_path):
    rows = {r["id"]: r for r in read(benchmark_files / "minerva.jsonl")}
    copy = [
        {"question": rows["minerva-57"]["problem"].replace(" ", "  "), "answer": "4.4e7"},
        {"question": rows["minerva-251"]["problem"], "answer": "SRAC=LRAC"},
    ]
    loaded = from_file("sb_minerva", write(tmp_path / "copy.jsonl", copy))
    assert [q["answer"] for q in loaded.questions] == [
        "0.53",
        "SRMC=LRMC",
    ]
    assert loaded.report.corrected == ["minerva-0", "minerva-1"]


def test_the_switch_leaves_golds_as_the_source_has_them(benchmark_files):
    for task in MATH:
        rows = read(benchmark_files / f"{task[3:]}.jsonl")
        loaded = from_file(task, benchmark_files / f"{task[3:]}.jsonl", gold_corrections=False)
        assert [q["answer"] for q in loaded.questions] == [str(r["answer"]).strip() for r in rows]
        assert not loaded.report.corrected
        assert not loaded.report.excluded
        assert not loaded.report.respelled


@pytest.mark.parametrize("grader", GRADERS)
def test_minerva_golds_in_e_notation_verify_themselves_and_take_powers_of_ten(
    grader, benchmark_files
):
    raw = {
        r["id"]: r["answer"]
        for r in read(benchmark_files / "minerva.jsonl")
        if re.fullmatch(r"-?[\d.]+e-?\d+", r["answer"])
    }
    loaded = from_file("sb_minerva", benchmark_files / "minerva.jsonl")
    asked = {
        q["uid"]: q["answer"]
        for q in loaded.questions
        if q["uid"] in raw and q["uid"] not in loaded.report.corrected
    }
    assert len(raw) == 58 and len(asked) == 57, "one of them is a wrong gold and corrected"
    wrong = []
    for uid, gold in asked.items():
        a, _, b = raw[uid].partition("e")
        texts = [
            f"\\boxed{{{gold}}}",
            f"\\boxed{{{a}\\times10^{{{int(b)}}}}}",
            f"\\boxed{{{a} \\cdot 10^{{{int(b)}}}}}",
            f"\\boxed{{{a}\\times10^{{{int(b) + 1}}}}}",
        ]
        verdicts = [v.correct for v in grade_question(gold, texts, grader)]
        if abs(int(b)) > 15 and (grader == "math_verify" or grader in stand_ins.REPLACED):
            verdicts[3] = (
                # math-verify takes numbers that differ by less than 1e-15 for equal: 2.88e-19 and
                # 2.88e-18
                False
            )
        wrong += [(uid, gold, verdicts)] if verdicts != [True, True, True, False] else []
    assert not wrong


@pytest.mark.parametrize("grader", GRADERS)
def test_an_aime_answer_with_leading_zeros_is_the_number(grader, tmp_path):
    (question,) = from_file(
        "sb_aime24", write(tmp_path / "a.jsonl", [HUB_ROWS["sb_aime24"]])
    ).questions
    assert question["answer"] == "33"
    assert question["answer_raw"] == "033"
    assert [
        v.correct
        for v in grade_question(
            question["answer"],
            [r"\boxed{33}", r"\boxed{033}", r"\boxed{33.0}", r"\boxed{330}"],
            grader,
        )
    ] == [True, True, True, False]


# ---- multiple choice


CHOICE = [
    {
        "Record ID": f"r{i}",
        "Question": f"Which of these is {i}?",
        "Correct Answer": f"{i}",
        **{f"Incorrect Answer {k}": f"{i + 10 * k}" for k in (1, 2, 3)},
    }
    for i in range(60)
]


def test_the_order_of_options_is_the_same_in_every_process_and_fits_the_gold(tmp_path):
    file = write(tmp_path / "g.jsonl", CHOICE)
    here = from_file("sb_gpqa_diamond", file).questions
    metadata = json.dumps(task_files()["sb_gpqa_diamond"].values["metadata"])
    code = (
        "import json\nfrom sage_bench.evaluation.tasks.benchmarks import"
        " load\nprint(json.dumps(load('sb_gpqa_diamond',"
        f" **json.loads({json.dumps(metadata)}),"
        f" data={{'sb_gpqa_diamond': {file!r}}}).questions))"
    )
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            timeout=120,
            check=True,
        )
        assert json.loads(done.stdout) == here
    swapped = [
        {
            **r,
            "Incorrect Answer 1": r["Incorrect Answer 3"],
            "Incorrect Answer 3": r["Incorrect Answer 1"],
        }
        for r in CHOICE
    ][::-1]
    again = from_file("sb_gpqa_diamond", write(tmp_path / "s.jsonl", swapped)).questions
    assert again[::-1] == here
    letters = [q["answer"] for q in here]
    assert all(q["options"]["ABCD".index(q["answer"])] == q["uid"][1:] for q in here)
    assert min(letters.count(x) for x in "ABCD") >= 6
    formatted = [
        {
            "uid": q["uid"],
            "question": (
                q["question"]
                + "\n\n"
                + "\n".join(f"({a}) {o}" for a, o in zip("ABCD", q["options"], strict=True))
            ),
            "choices": q["options"],
            "answer": q["answer"],
        }
        for q in here
    ]
    assert [
        (q["question"], q["options"], q["answer"])
        for q in from_file("sb_gpqa_diamond", write(tmp_path / "f.jsonl", formatted)).questions
    ] == [(q["question"], q["options"], q["answer"]) for q in here]


def test_the_prompt_lists_as_many_letters_as_there_are_options(
    tmp_path,
):
    rows = [
        {
            "question_id": n,
            "question": f"Which of the {n}?",
            "options": [f"thing {i}" for i in range(n)],
            "answer": "ABCDEFGHIJ"[n - 1],
            "answer_index": n - 1,
        }
        for n in range(3, 11)
    ]
    task = load(
        {"sb_mmlu_pro": 1}, DataOptions({"sb_mmlu_pro": write(tmp_path / "m.jsonl", rows)})
    )[0]["sb_mmlu_pro"]
    for doc, n in zip(task.eval_docs, range(3, 11), strict=True):
        prompt = task.doc_to_text(doc)
        assert re.findall(r"^([A-Z])\. thing \d$", prompt, re.M) == list("ABCDEFGHIJ"[:n])
        assert f"one of {', '.join('ABCDEFGHIJ'[:n])}." in prompt
        assert doc["options"] == rows[n - 3]["options"], "the order of the source"
        metrics = task.process_results(
            doc, [[f"So it is \\boxed{{{a}}}" for a in "ABCDEFGHIJ"[:n]]]
        )
        assert metrics["avg_at_n"] == 1 / n
        assert metrics["no_answer"] == 0
        assert task.process_results(doc, [[f"\\boxed{{{doc['answer']}}}"]])["avg_at_n"] == 1.0


def test_letter_and_index_that_disagree_are_left_out_unless_corrections_are_off(tmp_path):
    row = {
        "question_id": 1,
        "question": "Which?",
        "options": ["a", "b", "c"],
        "answer": "C",
        "answer_index": 1,
    }
    file = write(
        tmp_path / "m.jsonl",
        [
            row,
            {**row, "question_id": 2, "answer_index": 2},
            {**row, "question_id": 3, "answer": "D", "answer_index": 3},
        ],
    )
    on, off = from_file("sb_mmlu_pro", file), from_file("sb_mmlu_pro", file, gold_corrections=False)
    assert on.report.excluded == ["1"]
    assert [q["uid"] for q in on.questions] == ["2"]
    assert [q["uid"] for q in off.questions] == ["1", "2"]
    assert [q["reason"] for q in on.report.quarantine] == ["the gold `D` is none of 3 options"]
