"""Tasks of somebody else's: found by path, variable or entry point, and told what is wrong with
them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sage_bench.evaluation import runner
from sage_bench.evaluation.tasks import spec
from sage_bench.evaluation.tasks.loading import DataOptions, load
from sage_bench.evaluation.tasks.spec import include, parse, task_files, task_folders
from sage_bench.generation.samplers.fake import Fake
from sage_bench.reporting.runs import read_eval
from sage_bench.utils.errors import DataError, UsageError

ROOT = Path(__file__).parents[2]
YAML = """\
include: sage_bench/_benchmark.yaml
task: mine
metadata: {version: 1.0, file: mine.jsonl}
"""
ROWS = [{"question": f"What is {i} + 1?", "answer": str(i + 1)} for i in range(4)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with one task, known by the variable."""
    found = tmp_path / "tasks"
    found.mkdir()
    monkeypatch.setenv("SAGE_BENCH_INCLUDE_PATH", str(found))
    write(found)
    return found


def write(folder: Path, text: str = YAML, rows=ROWS, name: str = "mine") -> None:
    (folder / f"{name}.yaml").write_text(text)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def run(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sage_bench", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "160", **env},
        timeout=300,
    )


def questions(task: str = "mine", **how) -> list[dict]:
    return list(load({task: 1}, DataOptions(**how))[0][task].eval_docs)


# --- found


@pytest.mark.slow
def test_u1_the_commands_of_the_page_work_as_they_stand(tmp_path):
    shutil.copytree(ROOT / "examples/own_task", tmp_path / "examples/own_task")
    page = (ROOT / "docs/write-a-task.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert [c.split()[1] for c in commands] == ["validate", "eval", "report", "ls"]
    for command in commands:
        done = run(*command.split()[1:], cwd=tmp_path)
        assert done.returncode == 0, (command, done.stderr)
    assert re.search(r"^sums .*four sums", done.stdout, re.MULTILINE)
    manifest = json.loads(next(tmp_path.glob("runs/own/*/*/manifest.json")).read_text())
    assert manifest["tasks"] == {"sums": 8}
    assert "sums" in (tmp_path / "runs/own/report/report.html").read_text()


def test_the_files_on_the_page_are_those_of_the_example():
    page = (ROOT / "docs/write-a-task.md").read_text()
    for kind, name in (("json", "sums.jsonl"), ("yaml", "sums.yaml")):
        shown = re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1]
        assert shown == (ROOT / "examples/own_task" / name).read_text()


def test_a_task_of_yours_is_asked_graded_and_reported_like_ours(folder, tmp_path):
    config = runner.EvalConfig("m", {"mine": 2}, tmp_path / "out")
    done = read_eval(runner.evaluate(config, Fake("fake:1.0"), quiet=True))
    assert done.tasks["mine"].means.tolist() == [1.0] * 4
    assert done.manifest["golds"]["mine"]["source"] == str((folder / "mine.jsonl").resolve())


def test_a_file_given_on_the_command_line_wins_over_the_tasks_own(folder, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text('{"problem": "2+2?", "gold": 4}\n')
    assert [q["question"] for q in questions(data={"mine": str(other)})] == ["2+2?"]


def test_the_shared_base_is_included_by_its_name_or_its_path(folder):
    by_name = questions()
    base = os.path.relpath(spec.tasks_folder() / "_benchmark.yaml", folder)
    write(folder, YAML.replace("sage_bench/_benchmark.yaml", base))
    assert questions() == by_name


def test_a_file_beside_the_task_wins_over_ours_of_that_name(folder):
    (folder / "sage_bench").mkdir()
    (folder / "sage_bench/_benchmark.yaml").write_text(
        f"include: {spec.tasks_folder() / '_benchmark.yaml'}\nrepeats: 3\n"
    )
    assert parse("mine") == {"mine": 3}


def test_folders_come_from_the_option_the_variable_and_entry_points(folder, tmp_path, monkeypatch):
    second = tmp_path / "second"
    second.mkdir()
    write(second, YAML.replace("mine", "second"), name="second")
    package = tmp_path / "site/some_tasks"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    write(package, YAML.replace("mine", "third"), name="third")
    monkeypatch.syspath_prepend(package.parent)
    points = [EntryPoint("some", "some_tasks", spec.GROUP)]
    monkeypatch.setattr(spec, "_points", lambda path: points)
    include([second])
    assert task_folders() == [spec.tasks_folder(), folder, second, package]
    assert os.environ[spec.VARIABLE] == f"{folder}{os.pathsep}{second}"
    assert parse("mine,second,third") == {"mine": 16, "second": 16, "third": 16}
    assert {"mine", "second", "third", "sb_aime24"} <= set(parse("all"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package", "does not load: ModuleNotFoundError"),
        ("json:dumps", "does not load: TypeError"),
        ("math:pi", "gives float, not a package or a path"),
    ],
)
def test_an_entry_point_that_gives_no_folder_is_named(monkeypatch, value, said):
    points = [EntryPoint("odd", value, spec.GROUP)]
    monkeypatch.setattr(spec, "_points", lambda path: points)
    with pytest.raises(UsageError, match=re.escape(said)) as error:
        parse("their_task")
    assert f"entry point odd = {value} of group sage_bench.tasks" in str(error.value)
    assert set(spec.broken_tasks()) == {"odd"}
    assert "sb_aime24" in parse("all")


def package_of(tmp_path: Path, monkeypatch, **files: str) -> Path:
    """An installed package with these task files and one task that can be used."""
    package = tmp_path / "site/package_tasks"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    write(package, YAML.replace("mine", "sound"), name="sound")
    for name, text in files.items():
        (package / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.delitem(sys.modules, "package_tasks", raising=False)
    monkeypatch.setattr(
        spec, "_points", lambda path: [EntryPoint("some", "package_tasks", spec.GROUP)]
    )
    return package


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("theirs", "task: theirs\ninclude: nowhere.yaml\n", "nowhere.yaml"),
        ("theirs", "task: theirs\nrepeatz: 3\n", "unknown key `repeatz`"),
        ("theirs", "task: [un: closed\n", "theirs.yaml"),
        ("sb_aime24", YAML.replace("mine", "sb_aime24"), "is in"),
        ("_profiles", "fast: {task: sound}\n", "is not a profile"),
    ],
)
def test_a_broken_file_of_a_package_stops_nobody_else(tmp_path, monkeypatch, name, text, said):
    package_of(tmp_path, monkeypatch, **{name: text})
    assert {"sound", "sb_aime24"} <= set(parse("all"))
    assert "quick" in spec.profiles()
    ((file, reason),) = spec.broken_tasks().items()
    assert file == f"{name}.yaml"
    assert said in reason


def test_a_broken_task_of_a_package_is_told_when_it_is_asked_for(tmp_path, monkeypatch):
    package_of(tmp_path, monkeypatch, theirs="task: theirs\nrepeatz: 3\n")
    with pytest.raises(UsageError, match=r"unknown task `theirs`.*unknown key `repeatz`"):
        parse("theirs")


def test_a_broken_file_of_a_folder_that_is_named_is_an_error_at_once(folder):
    (folder / "theirs.yaml").write_text("task: theirs\nrepeatz: 3\n")
    with pytest.raises(UsageError, match="unknown key `repeatz`"):
        parse("tiny")


def test_a_group_of_yours_may_hold_tasks_of_ours(folder):
    (folder / "suite.yaml").write_text(
        "group: suite\ntask: [mine, tiny_short]\nmetadata: {version: 1.0}\n"
    )
    assert parse("suite:2") == {"mine": 2, "tiny_short": 2}


def test_a_profile_of_yours_is_a_profile(folder):
    (folder / "_profiles.yaml").write_text('mine: {tasks: "mine:3", about: a look}\n')
    assert parse("@mine") == {"mine": 3}


def test_functions_beside_the_task_file_are_found(folder):
    write(folder, YAML + "doc_to_text: !function mine_prompts.shout\n")
    (folder / "mine_prompts.py").write_text("def shout(doc):\n    return doc['question'].upper()\n")
    task = load({"mine": 1}, DataOptions())[0]["mine"]
    assert task.doc_to_text(task.eval_docs[0]) == "WHAT IS 0 + 1?"


def test_a_prompt_made_by_a_function_is_known_by_its_source(folder, tmp_path):
    write(folder, YAML + "doc_to_text: !function prompts_a.shout\n")
    code = "def shout(doc):\n    return doc['question'].upper()\n"
    (folder / "prompts_a.py").write_text(code)
    first = runner.describe(load({"mine": 1}, DataOptions())[0]["mine"])
    assert first == runner.describe(load({"mine": 1}, DataOptions())[0]["mine"])
    write(folder, YAML + "doc_to_text: !function prompts_b.shout\n")
    (folder / "prompts_b.py").write_text(code.replace("upper", "lower"))
    assert (
        runner.describe(load({"mine": 1}, DataOptions())[0]["mine"])["prompt_id"]
        != (first["prompt_id"])
    )


# --- told what is wrong


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        (YAML + "repeat: 3\n", "repeat", "did you mean `repeats`"),
        (YAML + "dataset_kwargs: {benchmrk: a}\n", "dataset_kwargs.benchmrk", "`benchmark`"),
        (YAML + "generation_kwargs: {top_k: 3}\n", "generation_kwargs.top_k", "`top_p`"),
        (YAML.replace("file:", "flie:"), "metadata.flie", "did you mean `file`"),
        (YAML.replace("1.0,", "1.0, fields: {qestion: q},"), "metadata.fields.qestion", "question"),
        (YAML.replace("1.0,", "1.0, fields: {wrong: q},"), "metadata.fields.wrong", "a list"),
        (YAML.replace("1.0,", "1.0, gold: intger,"), "metadata.gold", "did you mean `integer`"),
        (YAML.replace("1.0,", "1.0, options: hash,"), "metadata.options", "did you mean `hashed`"),
        (YAML.replace("1.0,", "1.0, rows: many,"), "metadata.rows", "is not a number of rows"),
        (YAML.replace("1.0,", "1.0, hub: {ids: a},"), "metadata.hub.ids", "did you mean `id`"),
        (YAML.replace("1.0,", "1.0, hub: a,"), "metadata.hub", "is not a mapping"),
    ],
)
def test_u1_a_misspelt_key_or_value_names_file_key_and_the_nearest(folder, text, key, hint):
    write(folder, text)
    with pytest.raises(UsageError, match=re.escape(hint)) as error:
        parse("mine")
    assert str(error.value).startswith(f"{folder / 'mine.yaml'}:{key}: ")


def test_u1_a_misspelt_key_is_told_at_the_command_line(folder, tmp_path):
    write(folder, YAML.replace("file:", "flie:"))
    done = run("validate", "--include-path", str(folder), "-t", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine.yaml:metadata.flie" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: [", "is not readable YAML"),
        ("- a\n", "is not a mapping of keys"),
        ("task: a\ntask: b\n", "mine.yaml:2: the key `task` is given twice"),
        ("include: mine.yaml\ntask: a\n", "includes itself"),
        ("include: sage_bench/_bench.yaml\ntask: a\n", "cannot be read"),
        ("repeats: 3\n", "neither `task:` nor `group:`"),
        ("task: a\nmetadata: 3\n", "mine.yaml:metadata: is not a mapping"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(folder, text, said):
    write(folder, text)
    with pytest.raises(UsageError, match=re.escape(said)):
        parse("mine")


def test_a_function_that_is_not_there_is_named(folder):
    write(folder, YAML + "doc_to_text: !function none.shout\n")
    with pytest.raises(UsageError, match=r"!function none\.shout: cannot be loaded"):
        questions()


def test_two_tasks_of_one_name_are_an_error_that_names_both(folder):
    write(folder, YAML.replace("task: mine", "task: tiny_short"))
    with pytest.raises(UsageError, match=r"mine\.yaml: the task `tiny_short` is in .*tiny_short"):
        parse("tiny")


def test_a_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    with pytest.raises(UsageError, match="--include-path none: no such folder"):
        include([Path("none")])
    monkeypatch.setenv("SAGE_BENCH_INCLUDE_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"SAGE_BENCH_INCLUDE_PATH .*none: no such folder"):
        task_files()


def test_a_column_that_no_row_has_is_named_with_those_there_are(folder):
    write(folder, YAML.replace("1.0,", "1.0, fields: {question: qestion},"))
    with pytest.raises(DataError, match="did you mean `question`") as error:
        questions()
    assert "metadata.fields.question" in error.value.what
    assert error.value.remedy == "its columns are answer, question"


def test_a_file_that_is_not_there_is_named_with_its_place(folder):
    (folder / "mine.jsonl").unlink()
    with pytest.raises(UsageError, match="no such data file") as error:
        questions()
    assert error.value.where == str(folder / "mine.jsonl")


def test_rows_that_cannot_be_used_are_in_the_report(folder):
    write(folder, rows=[*ROWS, {"question": "no answer"}])
    with (folder / "mine.jsonl").open("ab") as file:
        file.write(b'{"question": "\xff", "answer": "1"}\n')
    task = load({"mine": 1}, DataOptions())[0]["mine"]
    assert [q["place"] for q in task.dataset.report.quarantine] == ["mine.jsonl:5", "mine.jsonl:6"]
    assert "not UTF-8 (byte 0xff" in task.dataset.report.quarantine[1]["reason"]
