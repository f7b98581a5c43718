"""A method that lacks what it builds on is refused, or marked: columns, judges, long references."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from chat_server import ChatServer
from small_runs import build, command, config, train

from sage_bench.methods.registry import BACKENDS
from sage_bench.training import loop, setup
from sage_bench.utils.errors import TrainingError, UsageError
from sage_bench.utils.files import read_jsonl


def write_data(folder: Path, *, solved: int, rows: int = 6, **extra) -> str:
    """Rows of which the first `solved` have a solution."""
    file = folder / "data.jsonl"
    lines = []
    for i in range(rows):
        row = {"id": str(i), "question": f"{i}+1=", "answer": str(i + 1), **extra}
        if i < solved:
            row["solution"] = f"{i}+1={i + 1}"
        lines.append(json.dumps(row))
    file.write_text("\n".join(lines) + "\n")
    return str(file)


# ---- columns ----
@pytest.mark.parametrize(
    ("backend", "words", "column", "without", "becomes"),
    [
        ("sft", (), "`solution`", "passed over", "no training at all"),
        ("sft", ("method.target=trace",), "`trace`", "passed over", "no training at all"),
        ("sage", (), "`solution`", "never hinted", "plain GRPO"),
        ("sage_light", (), "`solution`", "never hinted", "plain GRPO"),
        ("sage", ("method.hint_source=data",), "`hints`", "never hinted", "plain GRPO"),
        ("luffy", ("method.trace_column=trace",), "`trace`", "gets G rollouts", "plain GRPO"),
        ("hint", ("method.hint_source=data",), "`meta_hint`", "never hinted", "plain GRPO"),
        (
            "scaf_grpo",
            (),
            "`knowledge`, `planning`, `solution_parts`",
            "never hinted",
            "plain GRPO",
        ),
    ],
)
def test_missing_columns_are_refused_by_name(backend, words, column, without, becomes, tmp_path):
    data = write_data(tmp_path, solved=1)
    with pytest.raises(UsageError) as error:
        build(tmp_path / "run", *words, backend=backend, data=data)
    said = str(error.value)
    assert error.value.exit_code == 2
    assert said.startswith(f"{data}: the data lack what")
    assert column in said
    assert without in said
    share = "1 of 6 rows (17%)" if column == "`solution`" else "0 of 6 rows (0%)"
    assert f"{share} have it" in said
    assert f" would be {becomes}" in said
    assert "train.allow_degraded=true" in said


def test_what_a_switch_makes_unnecessary_is_not_asked_for(tmp_path):
    data = write_data(tmp_path, solved=0, hints=["a", "b", "c"])
    build(tmp_path / "run", "method.hint_source=data", backend="sage", data=data)


def test_half_of_the_rows_are_enough(tmp_path):
    build(tmp_path / "run", data=write_data(tmp_path, solved=3))


def test_what_fewer_than_half_lack_is_a_word_and_no_refusal(tmp_path, capsys):
    data = write_data(tmp_path, solved=4)
    setup.build(config(data=data), tmp_path / "run")
    said = " ".join(capsys.readouterr().err.split())
    assert f"{data}: `solution`: 4 of 6 rows (67%) have it; a problem without it is passed" in said


@pytest.mark.parametrize(
    ("backend", "words", "column"),
    [
        ("sage", ("method.hint_source=data",), {"hints": "first look at the sum"}),
        ("scaf_grpo", (), {"knowledge": '["add", "carry"]'}),
        ("sft", ("method.target=trace",), {"trace": [{"role": "assistant", "content": "1"}]}),
    ],
)
def test_a_list_where_a_text_is_read_is_not_taken_apart(backend, words, column, tmp_path):
    data = write_data(tmp_path, solved=6, **column)
    with pytest.raises(UsageError) as error:
        build(tmp_path / "run", *words, backend=backend, data=data)
    kind = "text" if backend == "sft" else "list"
    assert f"0 of 6 rows (0%) have it (6 have it, but not as a {kind})" in str(error.value)


def test_the_row_of_a_leaderboard_is_marked():
    from sage_bench.reporting.leaderboard import watermarked
    from sage_bench.reporting.runs import EvalRun

    class Result:
        status = "ok"

    def status_of(label, manifest):
        run = EvalRun(Path("run"), "m", "sft", label, {"t": Result()}, manifest)
        return watermarked(run, "t")

    assert status_of({}, {}) == "ok"
    assert status_of({"degraded": ["x"]}, {}) == "DEGRADED"
    assert status_of({"degraded": ["x"]}, {"limit": 3}) == "LIMITED first 3, DEGRADED"


def test_a_degraded_run_is_marked_wherever_its_weights_go(tmp_path):
    data = write_data(tmp_path, solved=1)
    words = ("train.steps=1", "train.allow_degraded=true")
    last = train(tmp_path / "run", *words, data=data)
    (noted,) = json.loads((tmp_path / "run/manifest.json").read_text())["degraded"]
    assert noted.startswith("`solution` (what is imitated): 1 of 6 rows (17%) have it")
    assert json.loads((last / "sage_bench.json").read_text())["degraded"] == [noted]


def test_the_command_line_says_it_in_one_paragraph(tmp_path):
    data = write_data(tmp_path, solved=0)
    words = [*command(tmp_path / "run"), "--data", data]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "0 of 6 rows (0%) have it" in done.stderr


# ---- services ----
@pytest.fixture
def refusing():
    """A judge's server that answers every call with 401."""
    with ChatServer(lambda n, body: 401) as server:
        yield server


def judged(server: ChatServer) -> tuple[str, ...]:
    options = f"{{base_url: '{server.url}', model: judge, tries: 1}}"
    return (
        "method.judge=openai",
        f"method.judge_options={options}",
        "method.judge_share=1.0",
        "method.group_size=4",
        "train.prompts_per_step=8",
    )


def test_a_judge_that_refuses_every_call_stops_the_run(refusing, tmp_path):
    run = build(tmp_path, *judged(refusing), backend="sgpo")
    with pytest.raises(TrainingError, match=r"(\d+) of \1 calls to the judge or teacher failed"):
        loop.train(run)
    assert not list(read_jsonl(tmp_path / "metrics.jsonl"))  # the step changed nothing
    assert (tmp_path / "judge_calls.jsonl").exists()


def test_where_that_is_allowed_it_is_counted_and_marked(refusing, tmp_path, capsys):
    words = (*judged(refusing), "train.steps=2", "train.allow_degraded=true")
    last = train(tmp_path, *words, backend="sgpo")
    assert capsys.readouterr().err.count("calls to the judge or teacher failed") == 1
    metrics = list(read_jsonl(tmp_path / "metrics.jsonl"))
    assert all(row["failed_calls"] == row["judge_calls"] > 0 for row in metrics)
    (noted,) = json.loads((last / "sage_bench.json").read_text())["degraded"]
    assert "calls to the judge or teacher failed" in noted


# ---- references ----
def test_references_beyond_the_context_are_left_out_counted_and_said(tmp_path, capsys):
    file = tmp_path / "data.jsonl"
    rows = [
        {"id": str(i), "question": f"{i}+1=", "answer": "2", "solution": "1+1=2 " * (1 + 999 * i)}
        for i in range(2)
    ]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    train(tmp_path / "run", "train.steps=1", data=str(file))
    (row,) = read_jsonl(tmp_path / "run/metrics.jsonl")
    assert row["events/reference_too_long"] == 1
    assert row["learner/trained_rows"] == 1
    assert "1 references of step 1 do not fit the model's context" in capsys.readouterr().err


# ---- presets and judges ----
def test_a_judge_has_to_be_named(tmp_path):
    with pytest.raises(UsageError, match=r"method\.judge: no judge is named"):
        build(tmp_path, "method.judge=null", backend="sgpo")


@pytest.fixture
def own_registry():
    """What a test registers is forgotten after it."""
    entries, places = dict(BACKENDS._entries), dict(BACKENDS._places)
    yield
    BACKENDS._entries, BACKENDS._places = entries, places


def test_presets_of_a_method_reach_its_subclasses(tmp_path, own_registry):
    file = tmp_path / "mine.py"
    file.write_text(
        "from sage_bench.backends.sgpo import SGPO\n"
        "from sage_bench.methods.registry import register_backend\n\n"
        '@register_backend("sgpo_of_mine")\n'
        "class Mine(SGPO):\n"
        '    """Ours."""\n'
    )
    mine = config(backend="sgpo_of_mine", backend_files=[str(file)]).config.method
    theirs = config(backend="sgpo").config.method
    assert mine == theirs
    assert mine["step_pattern"]


def test_responses_of_one_step_are_a_word(tmp_path, capsys):
    words = ("method.step_pattern=zzz", "method.judge_share=1.0", "train.steps=1")
    train(tmp_path, *words, "train.prompts_per_step=8", backend="sgpo")
    assert "is one step" in capsys.readouterr().err


def test_tables_say_what_the_weights_lacked(tmp_path):
    from sage_bench.evaluation.runner import read_label
    from sage_bench.reporting.footers import data_notes
    from sage_bench.reporting.runs import EvalRun

    data = write_data(tmp_path, solved=1)
    last = train(tmp_path / "run", "train.steps=1", "train.allow_degraded=true", data=data)
    run = EvalRun(tmp_path, "m", "sft", read_label(str(last)), {}, {}, {})
    (note,) = [line for line in data_notes({"sft": run}) if "Trained without" in line]
    assert "`solution` (what is imitated): 1 of 6 rows (17%) have it" in note


def test_status_says_what_is_done_and_since_when(tmp_path):
    from sage_bench.data.schema import TrainStatus
    from sage_bench.reporting.status import status
    from sage_bench.utils.files import locked

    train(tmp_path, "train.steps=1")
    TrainStatus(state="running", step=1, steps=2, activity="grading 8 answers", time=100.0).write(
        tmp_path / "status.json"
    )
    with locked(tmp_path):
        (found,) = status(tmp_path, now=160.0)
    assert found.state == "running"
    assert found.note.endswith("grading 8 answers since 60 s")
