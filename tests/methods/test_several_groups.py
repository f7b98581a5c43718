"""A problem may come back with several groups: plain and guided ones that are both trained on."""

from __future__ import annotations

import torch
from scripted import ScriptedEngine, context, problem

from sage_bench.backends.grpo import GRPO
from sage_bench.methods.driver import collect
from sage_bench.training.ledger import ledger_row, step_metrics
from sage_bench.training.loop import first_problems, problems_in
from sage_bench.training.no_signal import no_signal_share


class Both(GRPO):
    """Keeps the plain group and one under a hint."""

    def roll(self, problem):
        plain = yield from self.attempt(problem)
        guided = yield from self.attempt(problem, level=1, hint="think twice")
        return [plain, guided]


def rolled(renderer, uids=("a", "b")):
    engine = ScriptedEngine(
        renderer.tokenizer, lambda prompt, k: "42" if "twice" in prompt and k == 0 else "no"
    )
    method = Both(context(renderer), group_size=2)
    return method, collect(method, [problem(uid) for uid in uids], engine)


def test_each_group_is_credited_by_itself_in_the_order_of_its_problem(renderer):
    _, items = rolled(renderer)
    assert [(i.group.problem.uid, i.group.level, i.part) for i in items] == [
        ("a", 0, 0),
        ("a", 1, 1),
        ("b", 0, 0),
        ("b", 1, 1),
    ]
    assert all((row.advantage == 0).all() for row in items[0].rows)
    assert all((row.advantage != 0).all() for row in items[1].rows)
    assert torch.isclose(items[1].rows[0].advantage[0], torch.tensor(1.0), atol=1e-4)


def test_groups_of_one_problem_have_names_of_their_own(renderer):
    _, items = rolled(renderer)
    assert [{row.group for row in i.rows} for i in items] == [{"a"}, {"a#1"}, {"b"}, {"b#1"}]


def test_what_a_problem_cost_is_counted_once(renderer):
    method, items = rolled(renderer)
    rows = [ledger_row(0, item, method.ctx) for item in items]
    assert [row["rollouts"] for row in rows] == [4, 0, 4, 0]
    assert [row["part"] for row in rows if "part" in row] == [1, 1]
    assert [len(row["trail"]) for row in rows] == [2, 0, 2, 0]
    assert [row["outcome"] for row in rows] == ["dead_wrong", "rescued"] * 2
    metrics = step_metrics(rows, [i.group for i in items], {}, {})
    assert metrics["rollouts"] == 8
    assert metrics["extra_rollouts"] == 0
    assert metrics["plain_reward"] == 0.0
    assert no_signal_share(rows) == 0.0


def test_a_batch_is_cut_by_problems_and_not_by_groups(renderer):
    _, items = rolled(renderer, ("a", "b", "c"))
    assert problems_in(items) == 3
    assert [i.group.problem.uid for i in first_problems(items, 2)] == ["a", "a", "b", "b"]


def test_one_group_is_named_and_counted_as_ever(renderer):
    engine = ScriptedEngine(renderer.tokenizer, lambda prompt, k: "no")
    method = GRPO(context(renderer), group_size=2)
    (item,) = collect(method, [problem()], engine)
    assert (item.part, item.rows[0].group) == (0, "p")
    assert "part" not in ledger_row(0, item, method.ctx)
