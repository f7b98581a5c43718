"""Full disks, read-only disks and kills at every write of an evaluation: the same command ends it,
and what it ends with is equal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from faults import Faults, Killed, faults

from sage_bench.evaluation import runner
from sage_bench.evaluation.grades import load_grades
from sage_bench.evaluation.tasks.spec import parse
from sage_bench.generation.samplers.fake import Fake
from sage_bench.reporting.export import write_eval
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import read_jsonl

KINDS = ("full", "read-only", "kill")
# what says when and on what machine rather than what was measured
OF_THE_MOMENT = {"date", "time", "seconds", "evaluation_seconds", "total_evaluation_time_seconds"}


def evaluate(out: Path) -> Path:
    config = runner.EvalConfig("m", parse("tiny_short:2,tiny_mixed:1"), out, limit=3)
    folder = runner.evaluate(config, Fake("fake:0.5"), quiet=True)
    write_eval(folder)
    return folder


def lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: lasting(v) for k, v in value.items() if k not in OF_THE_MOMENT}
    return value


def outcome(folder: Path) -> dict[str, Any]:
    """What two runs of one command have in common."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*.jsonl")):
        rows = [lasting(row) for row in read_jsonl(file)]
        found[file.relative_to(folder).as_posix()] = sorted(rows, key=json.dumps)
    for name in ("manifest.json", "results.json"):
        found[name] = lasting(json.loads((folder / name).read_text()))
    for file in sorted(folder.glob("questions/*.json")):
        found[file.name] = json.loads(file.read_text())
    for file in sorted(folder.glob("*.csv")):
        found[file.name] = file.read_text()
    found["grades"] = load_grades(folder).to_dict("records")
    return found


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[dict[str, Any], list[int], int]:
    """(outcome of an undisturbed run, one event of each place in the code, how many there are)."""
    out = tmp_path_factory.mktemp("straight")
    with faults(out) as seen:
        folder = evaluate(out)
    places: dict[str, int] = {}
    for number, label in enumerate(seen.events):
        places.setdefault(label, number)
    return outcome(folder), sorted(places.values()), len(seen.events)


def fails(out: Path, kind: str, at: int) -> tuple[Faults, BaseException | None]:
    with faults(out, kind, at) as broken:
        try:
            evaluate(out)
        except (Killed, SageBenchError) as error:
            return broken, error
    return broken, None


def one_event(out: Path, straight, kind: str, at: int) -> None:
    out.mkdir()
    broken, error = fails(out, kind, at)
    label = broken.failed[0] if broken.failed else "nothing"
    if broken.failed and error is not None and kind != "kill":
        reason = {"full": "No space left on device", "read-only": "Read-only file system"}[kind]
        assert reason in str(error), label
        assert str(out) in str(error.where), label
    assert outcome(evaluate(out)) == straight[0], label


def test_the_run_writes_samples_questions_grades_and_results(straight):
    named = " ".join(straight[0])
    assert all(re.search(part, named) for part in ("samples/", "grades/", "results", "manifest"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_place_and_the_same_command_ends_equal(kind, tmp_path, straight):
    for at in straight[1]:
        one_event(tmp_path / str(at), straight, kind, at)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_kill_at_every_event_and_the_same_command_ends_equal(tmp_path, straight):
    for at in range(straight[2]):
        one_event(tmp_path / str(at), straight, "kill", at)


def test_a_kill_at_some_events_and_the_same_command_ends_equal(tmp_path, straight):
    every = max(1, straight[2] // 6)
    for at in range(1, straight[2], every):
        one_event(tmp_path / str(at), straight, "kill", at)
