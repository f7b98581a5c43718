"""The eight benchmarks run: skipped and missing data, what tables say of them, the plan, and parity
with bare lm-eval."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pandas as pd
import pytest
import scripted_lm
import stand_ins

from sage_bench.data.hub import GatedError
from sage_bench.data.tiny_world import problems
from sage_bench.evaluation import runner
from sage_bench.evaluation.tasks.files import tasks_folder
from sage_bench.evaluation.tasks.loading import DataOptions, check_complete
from sage_bench.generation.samplers.hf import Hf
from sage_bench.reporting.export import write_eval
from sage_bench.reporting.footers import data_notes
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import DataError, PartialError

HERE = Path(__file__).parents[1] / "support"
MADE_UP = [
    {
        "Record ID": f"r{i}",
        "Question": f"Which of these is {i}?",
        "Correct Answer": f"{i}",
        **{f"Incorrect Answer {k}": f"{i + 10 * k}" for k in (1, 2, 3)},
    }
    for i in range(6)
]


def write(file: Path, rows: list[dict]) -> str:
    file.write_text(
        "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8"
    )
    return str(file)


def sums(n: int) -> list[dict]:
    return [
        {"id": f"s{i}", "problem": f"What is {i} + {i}? ({i})", "answer": str(2 * i)}
        for i in range(n)
    ]


def evaluate(out: Path, tasks: dict[str, int], data: dict[str, str], **how) -> Path:
    given = {k: how.pop(k) for k in ("offline", "gated", "gold_corrections") if k in how}
    # the rows of these tests are made up
    options = DataOptions(data, accept_other_data=True, **given)
    return runner.evaluate(
        runner.EvalConfig("m/scripted", tasks, out, data=options, **how),
        scripted_lm.Scripted(),
        quiet=True,
    )


def run(*words: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **env},
        timeout=300,
    )


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_a_gated_set_is_skipped_with_its_url_and_the_rest_runs(tmp_path, empty_cache, capsys):
    folder = evaluate(tmp_path / "out", {"sb_gpqa_diamond": 2, "tiny_short": 2}, {}, limit=5)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tasks"] == {"tiny_short": 2}
    assert manifest["skipped"]["sb_gpqa_diamond"]["status"] == "skipped_gated"
    assert (
        manifest["skipped"]["sb_gpqa_diamond"]["url"]
        == "https://huggingface.co/datasets/Idavidrein/gpqa"
    )
    run_ = write_eval(folder)
    assert (
        "sb_gpqa_diamond: not evaluated, its terms are not accepted"
        " (https://huggingface.co/datasets/Idavidrein/gpqa)." in capsys.readouterr().out
    )
    check_complete(
        run_.manifest["skipped"], str(folder)
    )  # no error: it is said, and the rest is whole
    with pytest.raises(GatedError, match="export HF_TOKEN"):
        evaluate(tmp_path / "b", {"sb_gpqa_diamond": 2, "tiny_short": 2}, {}, limit=5, gated="fail")
    with pytest.raises(GatedError):
        evaluate(tmp_path / "c", {"sb_gpqa_diamond": 2}, {}, limit=5)


def test_a_gated_set_is_gated_also_where_the_hub_says_so(monkeypatch, empty_cache):
    """Only the answer of the Hub is played here: there is no network to get a real one."""

    def refuse(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError(
            "Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. Visit the dataset page to ask"
            " for access."
        )

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(GatedError, match="accept its terms at") as error:
        runner.load_tasks(runner.EvalConfig("m", {}, Path()), {"sb_gpqa_diamond": 1})
    assert "secret" not in str(error.value)


def test_missing_data_of_one_task_is_told_and_makes_the_run_partial(tmp_path, empty_cache):
    data = {"sb_math500": write(tmp_path / "m.jsonl", sums(3))}
    folder = evaluate(tmp_path / "out", {"sb_math500": 1, "sb_aime25": 1}, data)
    skipped = json.loads((folder / "manifest.json").read_text())["skipped"]
    assert skipped["sb_aime25"]["status"] == "failed"
    with pytest.raises(PartialError, match="not evaluated: sb_aime25: math-ai/aime25"):
        check_complete(skipped, str(folder))
    assert "sb_aime25: not evaluated, its data could not be loaded." in data_notes(
        {"m": read_eval(folder)}
    )
    with pytest.raises(DataError, match="sb_aime25"):
        evaluate(tmp_path / "none", {"sb_aime25": 1}, {})


def test_what_is_not_the_whole_benchmark_is_watermarked_everywhere(tmp_path, capsys):
    data = {"sb_math500": write(tmp_path / "m.jsonl", sums(9))}
    part, limited = (
        evaluate(tmp_path / name, {"sb_math500": 1}, data, limit=limit)
        for name, limit in (("part", None), ("limited", 4))
    )
    for folder, status, said in (
        (part, "LIMITED 9 of 500", "sb_math500: only 9 of 500 questions were in the data."),
        (limited, "LIMITED first 4", "LIMITED to the first 4 questions"),
    ):
        write_eval(folder)
        out = folder.parent.parent
        assert said in capsys.readouterr().out
        assert said in (out / "leaderboard.md").read_text()
        for file in (folder / "summary.csv", out / "leaderboard.csv"):
            assert list(pd.read_csv(file).status) == [status, "LIMITED"]
        report([folder], tmp_path / "report")
        assert said in (tmp_path / "report/report.html").read_text()
        assert said in (tmp_path / "report/table.md").read_text()


def test_the_footer_says_which_golds_were_corrected(benchmark_files, tmp_path):
    data = {t: str(benchmark_files / f"{t[3:]}.jsonl") for t in ("sb_minerva", "sb_olympiadbench")}
    on = read_eval(
        evaluate(
            tmp_path / "on",
            dict.fromkeys(data, 1),
            data,
            grader="string" if "string" in stand_ins.GRADERS else "mcq",
        )
    )
    off = read_eval(
        evaluate(
            tmp_path / "on",
            dict.fromkeys(data, 1),
            data,
            grader="string" if "string" in stand_ins.GRADERS else "mcq",
            gold_corrections=False,
        )
    )
    assert on.folder != off.folder
    assert off.manifest["gold_corrections"] == "off"
    notes = data_notes({"m": on})
    assert (
        notes[0] == "sb_minerva: golds corrected: minerva-5, minerva-72, minerva-126, minerva-155,"
        " minerva-162, minerva-165, minerva-201, minerva-240."
    )
    assert notes[1].startswith(
        "sb_olympiadbench: golds corrected: olympiadbench-149, olympiadbench-194,"
        " olympiadbench-267; questions left out as ill-posed or disputed: olympiadbench-357,"
    )
    assert data_notes({"m": off}) == [
        "Golds are as their sources have them, without our corrections."
    ]
    both = data_notes({"on": on, "off": off})
    assert both[0] == f"on: {notes[0]}"
    assert both[-2:] == [
        f"{t}: the rows answered different questions or golds; do not compare them." for t in data
    ]


@pytest.mark.parametrize("grader", [None, "math_verify"])
def test_each_task_is_graded_by_the_grader_it_names_unless_told_otherwise(grader, tmp_path):
    rows, choice = sums(4), write(tmp_path / "g.jsonl", MADE_UP)
    folder = evaluate(
        tmp_path / "out",
        {"sb_aime24": 2, "sb_gpqa_diamond": 2},
        {"sb_aime24": write(tmp_path / "a.jsonl", rows), "sb_gpqa_diamond": choice},
        grader=grader,
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["graders"] == (
        {"sb_aime24": "robust", "sb_gpqa_diamond": "mcq"}
        if grader is None
        else dict.fromkeys(("sb_aime24", "sb_gpqa_diamond"), grader)
    )
    assert sorted(p.name for p in (folder / "grades").glob("*.jsonl")) == sorted(
        f"{t}.{g}.jsonl" for t, g in manifest["graders"].items()
    )
    questions = json.loads((folder / "questions/sb_gpqa_diamond.json").read_text())
    assert all(q["options"]["ABCD".index(q["gold"])] == q["uid"][1:] for q in questions)
    assert set(read_eval(folder).tasks) == {"sb_aime24", "sb_gpqa_diamond"}


# ---- the same number through bare lm-eval


def bare(
    tmp_path: Path, program: list[str], tasks: str, data: dict[str, str], *words: str
) -> dict[str, dict[str, float]]:
    """`lm_eval run --include_path <tasks folder>` over files given with --metadata: its results by
    task."""
    done = subprocess.run(
        [
            sys.executable,
            *program,
            "run",
            "--tasks",
            tasks,
            "--include_path",
            str(tasks_folder()),
            "--metadata",
            json.dumps({"data": data, "grader": "math_verify"}),
            "--apply_chat_template",
            "--output_path",
            str(tmp_path / "bare"),
            *words,
        ],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next((tmp_path / "bare").rglob("results_*.json")).read_text())["results"]


@pytest.mark.slow
def test_bare_lm_eval_gives_the_same_numbers_with_scripted_answers(tmp_path):
    tricky = [
        {"id": "l0", "problem": "Which list?", "answer": "[0,1)"},
        {"id": "l1", "problem": "Which set?", "answer": "$3$,$5$"},
        {"id": "l2", "problem": "How many atoms?", "answer": "4.5e3"},
    ]
    data = {
        "sb_aime25": write(tmp_path / "a.jsonl", sums(7)),
        "sb_math500": write(tmp_path / "m.jsonl", [*sums(5), *tricky]),
        "sb_minerva": write(tmp_path / "v.jsonl", tricky),
        "sb_gpqa_diamond": write(tmp_path / "g.jsonl", MADE_UP),
    }
    from sage_bench.evaluation.tasks.loading import load

    loaded = load(dict.fromkeys(data, 1), DataOptions(data, accept_other_data=True))[0]
    key = {d["question"]: d["answer"] for t in loaded.values() for d in t.eval_docs}
    (tmp_path / "key.json").write_text(json.dumps(key))
    theirs = bare(
        tmp_path,
        [str(HERE / "scripted_lm.py"), str(tmp_path / "key.json")],
        ",".join(data),
        data,
        "--model",
        "scripted",
    )
    scripted_lm.KEY.clear()
    scripted_lm.KEY.update(key)
    ours = read_eval(
        evaluate(tmp_path / "ours", dict.fromkeys(data, 16), data, grader="math_verify")
    )
    assert set(ours.tasks) == set(data)
    for task, result in ours.tasks.items():
        assert result.samples == 16
        assert 0.2 < result.means.mean() < 0.8
        assert theirs[task]["avg_at_n,all"] == pytest.approx(result.means.mean(), abs=1e-12)
        assert theirs[task]["no_answer,all"] == pytest.approx(result.no_answer, abs=1e-12)


@pytest.mark.slow
def test_bare_lm_eval_gives_the_same_numbers_with_a_real_model(packaged, tmp_path):
    """Greedy decoding of the packaged policy, in lm-eval's own HF model and in our sampler, on
    problems of its world served as MATH-500."""
    rows = [
        {"unique_id": p.uid, "problem": p.question, "answer": p.answer}
        for name in ("tiny_short", "tiny_mixed")
        for p in problems(name)[:12]
    ]
    data = {"sb_math500": write(tmp_path / "m.jsonl", rows)}
    theirs = bare(
        tmp_path,
        ["-m", "lm_eval"],
        "sb_math500",
        data,
        "--model",
        "hf",
        "--model_args",
        f"pretrained={packaged},dtype=float32",
        "--device",
        "cpu",
        "--batch_size",
        "1",
        "--gen_kwargs",
        "do_sample=False,temperature=0.0,top_p=1.0,max_gen_toks=96",
    )["sb_math500"]
    config = runner.EvalConfig(
        packaged,
        {"sb_math500": 1},
        tmp_path / "ours",
        sampling={"do_sample": False, "temperature": 0.0, "top_p": 1.0, "max_gen_toks": 96},
        grader="math_verify",
        data=DataOptions(data, accept_other_data=True),
    )
    ours = read_eval(runner.evaluate(config, Hf(packaged, dtype="float32"), quiet=True)).tasks[
        "sb_math500"
    ]
    assert 0 < ours.means.mean() < 1
    assert theirs["avg_at_n,all"] == pytest.approx(ours.means.mean(), abs=1e-12)
    assert theirs["no_answer,all"] == pytest.approx(ours.no_answer, abs=1e-12)


# ---- the command line


@pytest.mark.slow
def test_the_plan_counts_what_would_be_asked_and_writes_nothing(tmp_path):
    data = write(
        tmp_path / "m.jsonl",
        [{"id": i, "problem": f"What is {i}?", "answer": str(i)} for i in range(7)],
    )
    done = run(
        "eval",
        "-m",
        "tiny-llama",
        "-t",
        "sb_math500:4,sb_gpqa_diamond",
        "--data",
        f"sb_math500={data}",
        "--accept-other-data",
        "--grader",
        "math_verify",
        "--dry-run",
        "--gpu-price",
        "2",
        "--offline",
        "--tokens-per-second",
        "100",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "sb_math500: 7 questions x 4 = 28 samples, graded by math_verify" in done.stdout
    assert "left out: sb_gpqa_diamond:" in done.stdout
    assert "<|user|>What is 0?" in done.stdout
    assert "put your final answer within \\boxed{}" in done.stdout
    assert (
        f"total      28 samples, at most {28 * 8192:,} new tokens: at most 0.64 GPU hours at 100"
        " tokens a second, 1.27 at 2 an hour" in done.stdout
    )
    assert [p.name for p in tmp_path.iterdir()] == ["m.jsonl"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "sb_math500=none.jsonl", "--out", "x"], 2, "no such data file"),
        (["--data", "sb_aime24=none.jsonl", "--out", "x"], 2, "not among the tasks asked for"),
        (["--gated", "maybe", "--out", "x"], 2, "Input should be 'skip' or 'fail'"),
        (["--gold-corrections", "yes", "--out", "x"], 2, "Input should be 'on' or 'off'"),
        (["--offline", "--out", "x"], 1, "give --data sb_math500=FILE"),
        (["--offline"], 2, "no --out"),
    ],
)
def test_wrong_words_about_data(words, code, said, tmp_path):
    done = run(
        "eval",
        "--model",
        "tiny-llama",
        "-t",
        "sb_math500",
        "--grader",
        "math_verify",
        *words,
        cwd=tmp_path,
        HF_DATASETS_CACHE=str(tmp_path / "cache"),
    )
    assert (
        done.returncode == code
        and said in " ".join(done.stderr.split())
        and "Traceback" not in done.stderr
    ), done.stderr
