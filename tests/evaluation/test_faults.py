"""What breaks, lies or is missing in an evaluation is said, once, with the file's name; and nothing
that lacks samples passes for whole."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sage_bench.api.evaluation import evaluate as api_evaluate
from sage_bench.data.schema import EvalManifest
from sage_bench.evaluation import runner, time_limit
from sage_bench.evaluation.grades import grade_run, load_grades, questions_asked
from sage_bench.evaluation.tasks.loading import DataOptions
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.evaluation.tasks.validate import validate
from sage_bench.evaluation.votes import load_votes
from sage_bench.generation.samplers.fake import Fake
from sage_bench.grading.registry import GRADERS
from sage_bench.reporting.compare import compare_runs
from sage_bench.reporting.export import eval_runs, run_table, write_eval, write_leaderboard
from sage_bench.reporting.footers import data_notes
from sage_bench.reporting.leaderboard import leaderboard
from sage_bench.reporting.metrics import Metric
from sage_bench.reporting.report import report
from sage_bench.reporting.runs import read_eval
from sage_bench.reporting.status import status
from sage_bench.types import Completion
from sage_bench.utils.errors import DataError, PartialError, SageBenchError, UsageError

SIX = "tiny_short,tiny_mixed,tiny_chain,tiny_long,tiny_spaced,tiny_lines"


def evaluate(out: Path, tasks: str = "tiny_short:2", model: str = "m", **how) -> Path:
    sampler = how.pop("sampler", None) or Fake("fake:0.5")
    config = runner.EvalConfig(model, parse(tasks), out, **{"limit": 4, **how})
    return runner.evaluate(config, sampler, quiet=True)


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
    )


# --- W9: incomplete is partial, everywhere


@pytest.fixture
def two_of_six(tmp_path) -> Path:
    """A run that was killed after two of its six tasks, and then graded."""
    folder = evaluate(tmp_path / "out", ",".join(f"{t}:2" for t in SIX.split(",")))
    for task in SIX.split(",")[2:]:
        (folder / f"samples/{task}.jsonl").unlink()
    shutil.rmtree(folder / "grades")
    grade_run(folder)
    return folder


def test_w9_tasks_without_rows_count_as_asked(two_of_six):
    run = read_eval(two_of_six)
    assert list(run.tasks) == ["tiny_short", "tiny_mixed"]
    assert run.missing == dict.fromkeys(SIX.split(",")[2:], "partial 0/8")
    assert run.partial


def test_w9_a_killed_run_has_no_average_and_says_what_is_missing(two_of_six, capsys):
    table = run_table(read_eval(two_of_six))
    assert re.search(r"\| base \| [\d.]+ \| [\d.]+ \| – \| – \| – \| – \| \*?\*?–", table)
    assert "tiny_long: partial 0/8 samples; only questions that have all of them count." in table


def test_w9_a_killed_run_is_partial_in_the_leaderboard(two_of_six):
    board = leaderboard([read_eval(two_of_six)], passes=True)
    of = board[board.metric == "avg@n"].set_index("task")["status"]
    assert of["tiny_long"] == "partial 0/8"
    assert of["avg"] == "partial"
    assert pd.isna(board.set_index("task").loc["avg", "value"]).all()


def test_w9_a_killed_run_is_partial_in_the_report_and_in_comparisons(two_of_six, tmp_path):
    report([two_of_six], tmp_path / "report")
    assert "partial 0/8" in (tmp_path / "report/table.md").read_text()
    assert "partial 0/8" in (tmp_path / "report/report.html").read_text()
    whole = evaluate(tmp_path / "other", ",".join(f"{t}:2" for t in SIX.split(",")), model="n")
    runs = {"a": read_eval(two_of_six), "b": read_eval(whole)}
    assert compare_runs(runs, Metric()).partial


def test_w9_a_question_without_any_sample_counts_as_asked(tmp_path):
    folder = evaluate(tmp_path / "out")
    file = folder / "samples/tiny_short.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:4]))
    grade_run(folder)
    result = read_eval(folder).tasks["tiny_short"]
    assert result.status == "partial 4/8"
    assert len(result.means) == 2


def test_w9_a_run_killed_before_its_questions_were_written_counts_by_its_manifest(tmp_path):
    folder = evaluate(tmp_path / "out")
    manifest = EvalManifest.read(folder / "manifest.json")
    (folder / "questions/tiny_short.json").unlink()
    assert questions_asked(folder, manifest) == {"tiny_short": 4}
    manifest.limit = None
    assert questions_asked(folder, manifest) == {"tiny_short": 100}


# --- W10: other rows under a benchmark's name


def rows_file(folder: Path, name: str, rows: list[dict]) -> str:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))
    return str(folder / name)


def rows_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_w10_a_file_with_other_questions_is_refused(benchmark_files, tmp_path):
    data = {"sb_aime24": str(benchmark_files / "aime25.jsonl")}
    with pytest.raises(DataError, match="30 of 30 questions are not among the 30") as error:
        evaluate(tmp_path, "sb_aime24:1", data=DataOptions(data))
    assert "--accept-other-data" in error.value.remedy
    (check,) = validate(["sb_aime24"], DataOptions(data))
    assert check.status == "wrong"


def test_w10_the_switch_goes_on_and_every_table_says_so(benchmark_files, tmp_path):
    data = {"sb_aime24": str(benchmark_files / "aime25.jsonl")}
    options = DataOptions(data, accept_other_data=True)
    folder = evaluate(tmp_path, "sb_aime24:1", data=options)
    mark = "OTHER DATA than the benchmark's: 30 of 30 questions"
    manifest = EvalManifest.read(folder / "manifest.json")
    assert manifest.golds["sb_aime24"]["other_data"].startswith("30 of 30")
    assert mark in run_table(write_eval(folder))
    assert mark in (tmp_path / "leaderboard.md").read_text()
    (check,) = validate(["sb_aime24"], options)
    assert any("other data" in note for note in check.notes)


def test_w10_the_switch_is_there_at_the_command_line(benchmark_files, tmp_path):
    words = ["eval", "-m", "fake:0.5", "-t", "sb_amc23:1", "-L", 3, "-o", "out", "-q"]
    data = ["--data", f"sb_amc23={benchmark_files / 'aime24.jsonl'}"]
    refused = command(*words, *data, cwd=tmp_path)
    assert refused.returncode == 1
    assert "is another set under that name" in refused.stderr
    accepted = command(*words, *data, "--accept-other-data", cwd=tmp_path)
    assert accepted.returncode == 0, accepted.stderr
    assert "OTHER DATA" in accepted.stdout


def test_w10_one_other_gold_is_named(benchmark_files, tmp_path):
    rows = rows_of(benchmark_files / "aime24.jsonl")
    rows[7]["answer"] = "999"
    data = {"sb_aime24": rows_file(tmp_path, "a.jsonl", rows)}
    with pytest.raises(DataError, match=r"1 of 30 golds are not those .* \(aime24-7\)"):
        evaluate(tmp_path, "sb_aime24:1", data=DataOptions(data))


@pytest.mark.parametrize("task", ["aime24", "aime25", "amc23", "math500", "minerva"])
def test_w10_the_benchmarks_themselves_are_taken(benchmark_files, task):
    (check,) = validate(
        [f"sb_{task}"], DataOptions({f"sb_{task}": str(benchmark_files / f"{task}.jsonl")})
    )
    assert not [n for n in check.notes if "other data" in n]
    assert check.status in ("ok", "wrong")
    assert not [p for p in check.problems if p["check"] == "row"]


def test_w10_another_spelling_and_a_part_are_still_the_benchmark(benchmark_files, tmp_path):
    rows = rows_of(benchmark_files / "aime24.jsonl")[::-1]
    copy = [
        {"id": i, "question": r["problem"].replace(" ", "  "), "answer": f"0{r['answer']}"}
        for i, r in enumerate(rows[:20])
    ]
    data = {"sb_aime24": rows_file(tmp_path, "a.jsonl", copy)}
    folder = evaluate(tmp_path / "out", "sb_aime24:1", data=DataOptions(data))
    report = EvalManifest.read(folder / "manifest.json").golds["sb_aime24"]
    assert (report["other_data"], report["partial"]) == ("", True)


def choice_rows(count: int) -> list[dict]:
    """Multiple-choice rows that are nobody's."""
    options = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    return [
        {
            "id": i,
            "question": f"Which is number {i}?",
            "options": options,
            "answer": "ABCDEFGHIJ"[i],
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("task", ["sb_mmlu_pro", "sb_gpqa_diamond"])
def test_w10_rows_that_no_digest_is_known_of_are_marked(tmp_path, task):
    rows = choice_rows(4)
    if task == "sb_gpqa_diamond":
        rows = [{**row, "options": row["options"][:4]} for row in rows]
    data = {task: rows_file(tmp_path, "rows.jsonl", rows)}
    folder = evaluate(tmp_path / "out", f"{task}:1", data=DataOptions(data))
    manifest = EvalManifest.read(folder / "manifest.json")
    assert manifest.golds[task]["unverified"] == 4
    said = "contents not verified: no digest is known of 4 of its 4 rows"
    assert f"{task}: {said}." in run_table(write_eval(folder))
    (check,) = validate([task], DataOptions(data))
    assert said in check.notes


def test_w10_a_benchmark_whose_digests_are_known_is_not_marked(benchmark_files, tmp_path):
    data = {"sb_aime24": str(benchmark_files / "aime24.jsonl")}
    folder = evaluate(tmp_path, "sb_aime24:1", data=DataOptions(data))
    assert EvalManifest.read(folder / "manifest.json").golds["sb_aime24"]["unverified"] == 0
    assert "not verified" not in run_table(write_eval(folder))


# --- W11: n is what was asked for


def test_w11_fewer_samples_after_a_finished_run_take_nothing_away_and_it_is_said(tmp_path, capsys):
    folder = evaluate(tmp_path, "tiny_short:8")
    assert evaluate(tmp_path, "tiny_short:2") == folder
    assert (
        "note: tiny_short: 8 samples a question are stored, and the tables show all of them; this"
        " call asked for 2" in capsys.readouterr().err
    )
    assert read_eval(folder).tasks["tiny_short"].samples == 8


def test_w11_fewer_samples_after_an_unfinished_run_show_the_first_ones(tmp_path, capsys):
    folder = evaluate(tmp_path, "tiny_short:8")
    file = folder / "samples/tiny_short.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    evaluate(tmp_path, "tiny_short:2")
    assert (
        "note: tiny_short: an earlier call asked for 8 samples a question and did not finish; the"
        " tables show the first 2" in capsys.readouterr().err
    )
    result = read_eval(folder).tasks["tiny_short"]
    assert (result.samples, result.status) == (2, "ok")
    assert set(load_grades(folder)["sample"]) == {0, 1}
    assert set(load_votes(folder, "tiny_short", "robust")[0]) == {0, 1}
    evaluate(tmp_path, "tiny_short:8")
    assert read_eval(folder).tasks["tiny_short"].samples == 8
    assert set(load_votes(folder, "tiny_short", "robust")[0]) == set(range(8))


def test_w11_a_mistyped_number_is_refused_and_does_not_haunt_the_folder(tmp_path):
    with pytest.raises(UsageError, match="100,000,000 samples of 4 questions"):
        evaluate(tmp_path, "tiny_short:100000000")
    folder = evaluate(tmp_path, "tiny_short:2")
    manifest = EvalManifest.read(folder / "manifest.json")
    manifest.tasks["tiny_short"] = 100_000_000
    manifest.write(folder / "manifest.json")
    assert evaluate(tmp_path, "tiny_short:2") == folder
    assert read_eval(folder).tasks["tiny_short"].status == "ok"
    assert EvalManifest.read(folder / "manifest.json").tasks == {"tiny_short": 2}


def test_w11_more_samples_draw_only_the_new_ones(tmp_path):
    folder = evaluate(tmp_path, "tiny_short:2")
    before = (folder / "samples/tiny_short.jsonl").read_text()
    evaluate(tmp_path, "tiny_short:4")
    assert (folder / "samples/tiny_short.jsonl").read_text().startswith(before)


# --- W3: what changed is named


class Dated(Fake):
    """A chat template that writes the date, which no fingerprint sees."""

    today = "1 May"

    def render(self, messages):
        return f"{self.today} {super().render(messages)}"


def test_w3_samples_of_another_prompt_are_not_mixed_in(tmp_path):
    folder = evaluate(tmp_path, sampler=Dated("fake:0.5"))
    before = (folder / "samples/tiny_short.jsonl").read_bytes()
    other = Dated("fake:0.5")
    other.today = "2 May"
    with pytest.raises(UsageError, match="rendered prompts of 4 questions are not those") as error:
        evaluate(tmp_path, sampler=other)
    assert "tiny_short.jsonl, question 0" in error.value.where
    assert (folder / "samples/tiny_short.jsonl").read_bytes() == before
    assert evaluate(tmp_path, sampler=other, overwrite=True) == folder


# --- F6: damaged, missing, full, read-only


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "zeroes": lambda data: b"\x00" * len(data),
    "list": lambda data: b"[1]",
    "text": lambda data: b'"x"',
}
DOCUMENTS = ("manifest.json", "questions/tiny_short.json")


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_f6_a_damaged_document_is_one_error_that_names_it(tmp_path, name, how):
    folder = evaluate(tmp_path)
    file = folder / name
    file.write_bytes(DAMAGE[how](file.read_bytes()))
    with pytest.raises(DataError) as error:
        read_eval(folder)
    assert error.value.where == str(file)
    assert error.value.remedy


@pytest.mark.parametrize("name", ["samples/tiny_short.jsonl", "grades/tiny_short.robust.jsonl"])
def test_f6_a_damaged_line_is_one_error_that_names_it(tmp_path, name):
    folder = evaluate(tmp_path)
    lines = (folder / name).read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00" * 40 + b"\n"
    (folder / name).write_bytes(b"".join(lines))
    with pytest.raises(DataError) as error:
        read_eval(folder)
    assert error.value.where == f"{folder / name}:3"
    assert error.value.remedy


def test_f6_the_remedy_for_damaged_samples_can_be_followed(tmp_path):
    folder = evaluate(tmp_path)
    whole = load_grades(folder)
    file = folder / "samples/tiny_short.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b"\x00\x00\n", *lines[3:]]))
    with pytest.raises(DataError, match="remove the line"):
        evaluate(tmp_path)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    assert evaluate(tmp_path) == folder
    assert load_grades(folder).equals(whole)


@pytest.mark.parametrize("name", ["questions/tiny_short.json", "grades/robust.json"])
def test_f6_what_can_be_made_anew_is_made_anew(tmp_path, name):
    folder = evaluate(tmp_path)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:20])
    (folder / "results.json").write_bytes(b"{")
    (folder / "grades/tiny_short.robust.jsonl").write_bytes(b"\x00\n")
    assert evaluate(tmp_path) == folder
    seconds = re.compile(rb'"seconds": [\d.]+')
    assert seconds.sub(b"", (folder / name).read_bytes()) == seconds.sub(b"", whole)
    assert read_eval(folder).tasks["tiny_short"].status == "ok"


def test_f6_one_bad_folder_hides_no_other(tmp_path, capsys):
    bad, good = evaluate(tmp_path, model="bad"), evaluate(tmp_path, model="good")
    write_eval(good)
    shutil.copytree(good, tmp_path / "third/x")
    (bad / "manifest.json").write_text("{")
    (bad / "summary.csv").write_text("")
    (tmp_path / "third/x/grades/tiny_short.robust.jsonl").unlink()
    capsys.readouterr()
    write_leaderboard(tmp_path)
    assert "tiny_short" in (tmp_path / "leaderboard.csv").read_text()
    said = capsys.readouterr().err
    assert f"passed over: {bad / 'manifest.json'}: is not JSON" in said
    assert f"passed over: {tmp_path / 'third/x'}: no graded sample" in said
    assert [run.folder for run in eval_runs([tmp_path]).values()] == [good]
    assert report([tmp_path], tmp_path / "report")
    states = {Path(s.folder): s.state for s in status(tmp_path)}
    assert states[bad] == "unreadable"
    assert states[good] == "done"


def test_f6_a_run_that_lost_its_manifest_is_told(tmp_path, capsys):
    lost, good = evaluate(tmp_path, model="lost"), evaluate(tmp_path, model="good")
    (lost / "manifest.json").unlink()
    report([tmp_path], tmp_path / "report")
    reason = f"{lost}: this is not a run folder: manifest.json is missing"
    assert f"passed over: {reason}" in capsys.readouterr().err
    assert "manifest.json is missing" in (tmp_path / "report/index.html").read_text()
    states = {Path(s.folder): s.state for s in status(tmp_path)}
    assert states == {lost: "unreadable", good: "done"}


def test_f6_a_bad_folder_that_was_asked_for_by_name_is_the_error(tmp_path):
    bad = evaluate(tmp_path)
    (bad / "manifest.json").write_text("{")
    for call in (lambda: eval_runs([bad]), lambda: report([bad], tmp_path / "r")):
        with pytest.raises(DataError) as error:
            call()
        assert error.value.where == str(bad / "manifest.json")


def test_f6_a_bad_manifest_beside_a_run_does_not_stop_it(tmp_path, capsys):
    first = evaluate(tmp_path, seed=1)
    other = evaluate(tmp_path, seed=2)
    (other / "manifest.json").write_text("{")
    assert evaluate(tmp_path, seed=1) == first
    assert f"passed over: {other / 'manifest.json'}" in capsys.readouterr().err
    with pytest.raises(DataError) as error:
        evaluate(tmp_path, seed=2)
    assert error.value.where == str(other / "manifest.json")


class Disk:
    """Fails the k-th thing done to a file below a folder."""

    def __init__(self, monkeypatch, below: Path, error: int):
        self.below, self.error = str(below), error
        self.fails_at, self.count = -1, 0
        for owner, name in (
            (Path, "mkdir"),
            (Path, "write_text"),
            (Path, "open"),
            (os, "replace"),
            (os, "fsync"),
        ):
            monkeypatch.setattr(owner, name, self.guard(getattr(owner, name)))

    def guard(self, real):
        def call(target, *args, **kwargs):
            reading = real.__name__ == "open" and (args[:1] or ("r",))[0] in ("r", "rb")
            if not reading and (isinstance(target, int) or str(target).startswith(self.below)):
                self.count += 1
                if self.count - 1 == self.fails_at:
                    raise OSError(self.error, os.strerror(self.error), str(target))
            return real(target, *args, **kwargs)

        return call


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_f6_at_every_write_a_full_or_read_only_disk_is_one_error_and_nothing_is_lost(
    tmp_path, monkeypatch, error
):
    whole = load_grades(evaluate(tmp_path / "whole"))
    disk = Disk(monkeypatch, tmp_path / "out", error)
    for k in range(200):
        out = tmp_path / f"out{k}"
        disk.fails_at, disk.count = k, 0
        try:
            evaluate(out)
        except SageBenchError as failed:
            assert os.strerror(error) in str(failed)
            assert str(out) in str(failed.where)
        else:
            break
        disk.fails_at = -1
        assert load_grades(evaluate(out)).equals(whole)
    assert disk.count > 8, "every write was reached"
    assert disk.count == k


# --- F11: texts no file can hold, and others that are hard on readers


def test_f11_half_a_surrogate_in_a_label_is_named(tmp_path):
    with pytest.raises(DataError, match="half of a surrogate pair") as error:
        evaluate(tmp_path, label={"method": "a \ud800"})
    assert error.value.where.endswith("manifest.json")
    assert "it comes after" in error.value.what


class Says(Fake):
    text = ""

    def text_of(self, drawn):
        return self.text


@pytest.mark.parametrize(
    "text",
    ["\\boxed{" + "[" * 200_000, "\\boxed{" + "{" * 100_000 + "}" * 100_000 + "}", "\ud800 x"],
    ids=["brackets", "braces", "surrogate"],
)
def test_f11_any_text_of_a_model_is_stored_and_graded(tmp_path, text):
    sampler = Says("fake:0.5")
    sampler.text = text
    folder = evaluate(tmp_path, "tiny_short:1", sampler=sampler, limit=1)
    assert not load_grades(folder)["correct"].any()


def test_f11_a_row_with_half_a_surrogate_is_set_aside_with_its_reason(tmp_path):
    lines = ['{"question": "1+1? \\ud800", "answer": "2"}', '{"question": "1+2?", "answer": "3"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    options = DataOptions({"sb_math500": str(tmp_path / "a.jsonl")}, accept_other_data=True)
    folder = evaluate(tmp_path / "out", "sb_math500:1", data=options)
    quarantine = EvalManifest.read(folder / "manifest.json").golds["sb_math500"]["quarantine"]
    assert [q["place"] for q in quarantine] == ["a.jsonl:1"]
    assert "half of a surrogate pair" in quarantine[0]["reason"]
    assert "sb_math500: 1 unusable rows left out" in "".join(data_notes({"m": read_eval(folder)}))


# --- F5: a grader that hangs


class Hangs:
    """A grader of a plugin: some golds keep it for ever, and it catches whatever it is sent."""

    version = "hangs 1"

    def grade(self, gold, texts):
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001 (a plugin may do worse)
                continue

    def gold_error(self, gold):
        return None


@pytest.fixture
def hanging(monkeypatch):
    monkeypatch.setattr(GRADERS, "_entries", {**dict(GRADERS.items()), "hangs": Hangs})
    monkeypatch.setattr(time_limit, "START_SECONDS", 0.2)
    monkeypatch.setattr(time_limit, "TEXT_SECONDS", 0.1)


def test_f5_a_grader_that_hangs_ends_the_run_with_its_name_and_keeps_the_samples(tmp_path, hanging):
    with pytest.raises(SageBenchError, match="the grader `hangs` has not answered within") as error:
        evaluate(tmp_path, grader="hangs")
    assert error.value.where == "question tiny_short-0000"
    folder = next(tmp_path.glob("m/*"))
    assert (folder / "samples/tiny_short.jsonl").read_text().count("\n") == 8
    assert read_eval(evaluate(tmp_path)).tasks["tiny_short"].status == "ok"


def test_f5_grading_again_is_bounded_too_and_leaves_others_alarms_alone(tmp_path, hanging):
    folder = evaluate(tmp_path)
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(SageBenchError, match="has not answered") as error:
            grade_run(folder, "hangs")
        assert error.value.where == "tiny_short, question 0"
        time.sleep(0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rang == [1]


# --- F9: a server that answers nothing


class Dead(Fake):
    def draw(self, samples):
        for i, _ in enumerate(samples):
            yield i, Completion(failed="http://host:1 refuses connections")


def test_f9_a_dead_server_is_the_error_and_not_a_lack_of_grades(tmp_path, monkeypatch):
    monkeypatch.setattr("sage_bench.config.models.make", lambda *_, **__: Dead("fake:0.5"))
    with pytest.raises(PartialError, match=r"refuses connections \(x400\)"):
        api_evaluate("fake:0.5", "tiny_short:4", out=tmp_path)


def test_f6_a_damaged_training_folder_does_not_stop_the_evaluation_of_its_weights(tmp_path, capsys):
    checkpoint = tmp_path / "run/checkpoints/step_000002"
    checkpoint.mkdir(parents=True)
    (checkpoint / "sage_bench.json").write_text('{"backend": "grpo", "seed": 3, "step": 2}')
    (tmp_path / "run/manifest.json").write_text("{")
    (tmp_path / "run/config.json").write_text("{}")
    label = runner.read_label(str(checkpoint))
    assert (label["method"], label["train_seed"], label["step"]) == ("grpo", 3, 2)
    assert "run/manifest.json: is not JSON" in capsys.readouterr().err
