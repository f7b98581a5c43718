"""What is done again and what is not; what a failure stops; where finished cells are kept."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from sage_bench.study.matrix.budget import steps_for
from sage_bench.study.matrix.cells import Cell
from sage_bench.study.matrix.estimate import Estimate, Estimator, Sizes
from sage_bench.study.matrix.launch import Launcher
from sage_bench.study.matrix.schedule import Local, Schedule
from sage_bench.study.matrix.spec import Assumptions, EvaluationEntry, MatrixSpec, ModelEntry, Room
from sage_bench.study.matrix.state import CellRecord, read_record, standing, write_record
from sage_bench.study.matrix.store import Store
from sage_bench.study.matrix.study import Study, run_cell
from sage_bench.utils.errors import SageBenchError, UsageError
from sage_bench.utils.files import write_text
from sage_bench.version import VERSION

MODEL = ModelEntry(name="m")
SPEC = MatrixSpec(
    name="s",
    models=(MODEL,),
    backends=[{"name": "grpo"}],
    evaluation=EvaluationEntry(tasks=("tiny_short:1",)),
)


def cell(name: str, kind: str = "eval", out: Path = Path(), after=(), **room) -> Cell:
    return Cell(name, kind, MODEL, "grpo", 0, out / name, after, ("eval",), Room(**room))


def finished(out: Path, name: str = "a", **inputs) -> Cell:
    """A done cell with an evaluation in its folder."""
    made = cell(name, out=out)
    (out / name / "run").mkdir(parents=True)
    write_text(out / name / "run" / "manifest.json", "{}")
    result = {"folder": f"{name}/run"}
    write_record(out, CellRecord(cell=name, state="done", inputs=inputs, result=result))
    return made


# ---- what is done again -------------------------------------------------------------------------
def test_a_finished_cell_with_the_same_inputs_is_done(tmp_path):
    made = finished(tmp_path, lr=1, betas=[0.9])
    assert not standing(tmp_path, made, {"lr": 1, "betas": (0.9,)}).todo


@pytest.mark.parametrize("name", ["train/a", "eval/a"])
def test_a_key_that_was_added_since_counts_as_its_default(tmp_path, name):
    made = cell(name)
    begun = {"data": "x", "evaluation.sampling.seed": 0}
    write_record(tmp_path, CellRecord(cell=name, state="failed", inputs=begun))
    added = begun | {"engine.vllm.sync": "adapters", "evaluation.sampling.limit": None}
    assert not standing(tmp_path, made, added).todo
    assert standing(tmp_path, made, added | {"engine.vllm.sync": "merged"}).changed == (
        "engine.vllm.sync: adapters then, merged now",
    )
    assert standing(tmp_path, made, {"data": "x", "evaluation.sampling.seed": 1}).todo


def test_a_cell_whose_inputs_changed_is_run_again_and_says_which(tmp_path):
    made = finished(tmp_path, lr=1)
    found = standing(tmp_path, made, {"lr": 2})
    assert found.todo
    assert found.changed == ("lr: 1 then, 2 now",)
    assert found.state == "changed"


def test_an_accepted_change_leaves_a_cell_as_it_is(tmp_path):
    made = finished(tmp_path, lr=1)
    assert not standing(tmp_path, made, {"lr": 2}, accepted=["lr"]).todo


def test_a_cell_whose_results_were_removed_is_run_again(tmp_path):
    made = finished(tmp_path, lr=1)
    (tmp_path / "a" / "run" / "manifest.json").unlink()
    found = standing(tmp_path, made, {"lr": 1})
    assert found.todo
    assert found.gone


def test_a_failed_cell_stays_failed_until_it_is_asked_for(tmp_path):
    write_record(tmp_path, CellRecord(cell="a", state="failed", inputs={"lr": 1}))
    made = cell("a", out=tmp_path)
    assert not standing(tmp_path, made, {"lr": 1}).todo
    assert standing(tmp_path, made, {"lr": 1}, retry_failed=True).todo
    assert standing(tmp_path, made, {"lr": 2}).todo


def test_a_cell_that_was_killed_goes_on(tmp_path):
    write_record(tmp_path, CellRecord(cell="a", state="running", inputs={"lr": 1}))
    found = standing(tmp_path, cell("a", out=tmp_path), {"lr": 1})
    assert found.todo
    assert not found.changed


# ---- what a failure stops -----------------------------------------------------------------------
class AtOnce:
    """An executor whose cells end as they are told to, one after the other."""

    def __init__(self, failing: str = ""):
        self.failing = failing
        self.ran: list[str] = []

    def has_room(self, made, running) -> bool:
        return not running

    def submit(self, study, name) -> Future:
        self.ran.append(name)
        ended: Future = Future()
        state = "failed" if name == self.failing else "done"
        ended.set_result(CellRecord(cell=name, state=state, reason="a reason"))
        return ended

    def stop(self) -> None:
        raise AssertionError("nobody asked for it")


def chain(out: Path) -> Study:
    """Two trainings with an evaluation each."""
    cells = [
        cell("train/a", "train", out),
        cell("eval/a", "eval", out, ("train/a",)),
        cell("train/b", "train", out),
        cell("eval/b", "eval", out, ("train/b",)),
    ]
    return Study(SPEC, out, {c.name: c for c in cells}, {c.name: {} for c in cells})


def test_a_failed_cell_stops_only_what_needs_it(tmp_path):
    where = AtOnce("train/a")
    found = Schedule(chain(tmp_path), list(chain(tmp_path).cells), where, quiet=True).run()
    assert where.ran == ["train/a", "train/b", "eval/b"]
    assert found.blocked == {"eval/a": "train/a"}
    assert found.records["train/a"].reason == "a reason"


def test_the_table_is_written_when_a_model_has_ended(tmp_path):
    told: list[str] = []
    Schedule(chain(tmp_path), ["train/b", "eval/b"], AtOnce(), quiet=True).run(told.append)
    assert told == ["m"]


def test_a_folder_nobody_needs_any_more_may_be_removed(tmp_path):
    study = chain(tmp_path)
    write_record(tmp_path, CellRecord(cell="train/a", state="done", result={"checkpoint": "gone"}))
    finished(tmp_path, "eval/a")
    where = AtOnce()
    Schedule(study, ["train/a", "eval/a"], where, quiet=True).run()
    assert where.ran == []


class Idle:
    asked = False

    def run(self, words, out, log, env) -> int:
        raise AssertionError("no command was expected")


def test_cells_run_side_by_side_while_there_is_room():
    local = Local(Idle(), gpus=["0"])
    local.cores, local.memory = 4, 10.0
    two = cell("a", cores=2, memory_gb=6)
    assert local.has_room(two, [])
    assert local.has_room(cell("b", cores=2, memory_gb=4), [two])
    assert not local.has_room(cell("b", cores=3, memory_gb=1), [two])  # cores
    assert not local.has_room(cell("b", cores=1, memory_gb=5), [two])  # memory
    assert not local.has_room(cell("b", gpus=1, memory_gb=1), [cell("c", gpus=1, memory_gb=1)])


def test_every_cell_on_this_machine_has_accelerators_of_its_own(tmp_path):
    class Seeing(Idle):
        seen: list[str] = []

        def run(self, words, out, log, env) -> int:
            self.seen.append(env["CUDA_VISIBLE_DEVICES"])
            return 1

    cells = {n: cell(n, "train", tmp_path, memory_gb=1, gpus=2) for n in ("train/a", "train/b")}
    study = Study(SPEC, tmp_path, cells, {n: {} for n in cells})
    launch = Seeing()
    local = Local(launch, gpus=["3", "5", "7", "9"], jobs=2)
    for future in [local.submit(study, name) for name in cells]:
        future.result()
    assert sorted(launch.seen) == ["3,5", "7,9"]
    assert sorted(local.free_gpus) == ["3", "5", "7", "9"]


def test_what_nobody_foresaw_fails_one_cell_only(tmp_path, capsys):
    class Odd(AtOnce):
        def submit(self, study, name) -> Future:
            if name != "train/a":
                return super().submit(study, name)
            ended: Future = Future()
            ended.set_exception(ZeroDivisionError("of the cell"))
            return ended

    found = Schedule(chain(tmp_path), list(chain(tmp_path).cells), Odd(), quiet=True).run()
    assert found.records["train/a"].reason == "ZeroDivisionError: of the cell"
    assert found.records["eval/b"].state == "done"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_cell_larger_than_the_machine_runs_alone():
    local = Local(Idle())
    assert local.has_room(cell("a", memory_gb=10_000, gpus=8), [])


def test_jobs_bound_the_cells_at_once():
    local = Local(Idle(), jobs=1)
    assert not local.has_room(cell("b"), [cell("a")])


def test_a_failing_cell_keeps_its_reason(tmp_path):
    broken = cell("train/a", "select", tmp_path)  # nothing was trained there
    study = Study(SPEC, tmp_path, {"train/a": broken}, {"train/a": {}})
    record = run_cell(study, "train/a", Idle())
    assert record.state == "failed"
    assert "this is not a training run" in record.reason
    assert read_record(tmp_path, "train/a").reason == record.reason


def test_commands_end_with_their_exit_codes_and_streams(tmp_path):
    """A server that is killed under a command is begun again for the next one."""
    launch = Launcher(tmp_path / "server.log", forks=False)
    files = tmp_path / "out", tmp_path / "log"
    try:
        assert launch.run(["--version"], *files, {}) == 0
        assert files[0].read_text() == f"sage-bench {VERSION}\n"
        assert launch.run(["ls", "nothing"], *files, {}) == 2
        assert "unknown kind `nothing`" in files[1].read_text()
        launch._process.kill()
        launch._process.wait()
        assert launch.run(["--version"], *files, {}) == 0
    finally:
        launch.close()


# ---- equal budgets ------------------------------------------------------------------------------
def test_a_run_that_samples_nothing_reaches_no_budget():
    with pytest.raises(SageBenchError, match="never reaches"):
        steps_for([0, 0], 10)


def test_estimates_are_assumed_until_a_cell_of_the_row_has_finished(tmp_path):
    cells = [cell(f"train/m/grpo/seed_{s}", "train", tmp_path) for s in (0, 1)]
    size = Sizes(10, 4, 8, True, False, 100, saved=2, parameters=1e9)
    assume = Assumptions(tokens_per_second=100, length=0.5, learning=1.0, start_seconds=40)
    before = Estimator(tmp_path, cells, assume).of(cells[1], size)
    assert before.tokens == 10 * 4 * 8 * 50
    assert before.seconds == 40 + 2 * before.tokens / 100
    assert before.gib == pytest.approx(2 * 10e9 / 2**30)
    result = {"tokens": 7, "bytes": 2**30}
    write_record(tmp_path, CellRecord(cell=cells[0].name, state="done", seconds=5, result=result))
    after = Estimator(tmp_path, cells, assume).of(cells[1], size)
    assert after == Estimate(5, 7, 1.0, measured=True)


# ---- the store ----------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_finished_cell_is_found_on_another_machine(tmp_path, kind):
    url = f"memory://{tmp_path.name}" if kind == "memory" else f"file://{tmp_path}/store"
    here, there = tmp_path / "here", tmp_path / "there"
    made = finished(here, lr=1)
    Store(url).put(here, made, read_record(here, "a"))
    found = Store(url).get(there, cell("a", out=there), {"lr": 1})
    assert found == read_record(here, "a")
    assert (there / "a" / "run" / "manifest.json").read_text() == "{}"


def test_a_stored_cell_of_other_inputs_is_not_taken(tmp_path):
    url = f"file://{tmp_path}/store"
    made = finished(tmp_path / "here", lr=1)
    Store(url).put(tmp_path / "here", made, read_record(tmp_path / "here", "a"))
    assert Store(url).get(tmp_path, cell("a", out=tmp_path), {"lr": 2}) is None


def test_a_half_copied_cell_is_not_taken(tmp_path):
    url = f"file://{tmp_path}/store"
    made = finished(tmp_path / "here", lr=1)
    Store(url).put(tmp_path / "here", made, read_record(tmp_path / "here", "a"))
    (tmp_path / "store" / "a" / "run" / "manifest.json").write_text("")
    assert Store(url).get(tmp_path, cell("a", out=tmp_path), {"lr": 1}) is None


def test_a_store_nobody_knows_is_named(tmp_path):
    with pytest.raises(UsageError, match="--store nowhere://x"):
        Store("nowhere://x").get(tmp_path, cell("a", out=tmp_path), {})
