"""The exact judge of the tiny world, and judges that are made wrong on purpose."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from scripted import context

from sage_bench.data import tiny_steps
from sage_bench.data.tiny_world import Family
from sage_bench.judges.base import Judge, NotAsked
from sage_bench.judges.corrupted import Corrupted
from sage_bench.judges.reference import Reference
from sage_bench.judges.registry import JUDGES
from sage_bench.judges.steps import majority
from sage_bench.judges.tiny_world import TinyWorld
from sage_bench.types import Problem
from sage_bench.utils.errors import UsageError

MADE = list(tiny_steps.respond(Family("some", (2, 8), 0.6, count=200), "judges"))


def asked(judge, ctx, responses=MADE, votes=1) -> list:
    """The votes on each response, from a judge that asks nobody."""
    out = []
    for number, response in enumerate(responses):
        chain = response.chain
        problem = Problem(f"p{number}", chain.question, chain.solution, chain.answer)
        program = judge.judge(ctx, problem, [response.steps], votes)
        with pytest.raises(StopIteration) as done:
            next(program)
        out += done.value.value
    return out


def labels(responses=MADE) -> list:
    return [[None if r.label < 0 else r.label + 1] for r in responses]


def test_the_judge_of_the_tiny_world_is_exact(renderer):
    assert asked(TinyWorld(), context(renderer)) == labels()


def test_it_has_as_many_votes_as_are_asked_for(renderer):
    assert asked(TinyWorld(), context(renderer), MADE[1:2], votes=3) == [labels()[1] * 3]


def test_it_does_not_judge_other_problems(renderer):
    ctx = context(renderer)
    program = TinyWorld().judge(ctx, Problem("p", "1/3?", None, "1/3"), [["so 1"]], 1)
    with pytest.raises(StopIteration) as done:
        next(program)
    assert done.value.value == [[]]
    assert ctx.events["p"] == {"not_of_the_tiny_world": 1}


def test_where_a_result_is_wrong_the_reference_judge_says_the_same(renderer, robust):
    """It knows the solution, and not that the steps of this world have one order."""
    same_terms = []
    for response in MADE:
        own = [step[:-1] for step in response.steps if "=" in step]
        if all(a[1:] == b[1:-1] for a, b in zip(own, response.chain.steps, strict=False)):
            same_terms.append(response)
    assert len(same_terms) > 120
    ctx = replace(context(renderer), grader=robust)
    assert asked(Reference(), ctx, same_terms) == asked(TinyWorld(), ctx, same_terms)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_judgements_that_are_made_wrong(share, renderer):
    exact = labels()
    found = asked(Corrupted(share=share), context(renderer))
    wrong = sum(a != b for a, b in zip(exact, found, strict=True))
    # 200 judgements: 0.3 has a standard deviation of 6.5
    assert abs(wrong - 200 * share) <= 20 * (0 < share < 1)


def test_a_wrong_judgement_is_another_step_or_none(renderer):
    response = next(r for r in MADE if r.label == 1 and len(r.steps) == 4)
    seen = Counter(
        asked(Corrupted(share=1.0, seed=seed), context(renderer), [response])[0][0]
        for seed in range(200)
    )
    assert set(seen) == {None, 1, 3, 4}
    assert min(seen.values()) > 25  # each 50 in the mean, standard deviation 6


def test_what_is_made_wrong_hangs_on_seed_and_run_alone(renderer):
    one = asked(Corrupted(share=0.5, seed=1), context(renderer))
    assert asked(Corrupted(share=0.5, seed=1), context(renderer)) == one
    assert asked(Corrupted(share=0.5, seed=2), context(renderer)) != one
    assert asked(Corrupted(share=0.5, seed=1), context(renderer, seed=7)) != one


def test_votes_are_made_wrong_one_by_one(renderer):
    exact = [first for (first,) in labels()]
    four = asked(Corrupted(share=0.3), context(renderer), votes=4)
    assert all(len(votes) == 4 for votes in four)
    right = sum(majority(votes) == first for votes, first in zip(four, exact, strict=True))
    assert right > 150  # one vote is right in 140 of 200


def test_no_judgement_stays_none(renderer):
    class Silent(Judge):
        def judge(self, ctx, problem, responses, votes):
            return [NotAsked() if len(steps) > 3 else [] for steps in responses]
            yield

    judge = Corrupted(share=1.0)
    judge.inner = Silent()
    found = asked(judge, context(renderer))
    assert all(not votes for votes in found)
    kinds = [isinstance(votes, NotAsked) for votes in found]
    assert kinds == [len(r.steps) > 3 for r in MADE]


def test_a_judge_made_wrong_needs_what_the_judge_needs():
    assert Corrupted(judge="policy").needs == {"sample"}
    assert Corrupted().needs == frozenset()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"share": 1.5}, "not a share"),
        ({"judge": "refrence"}, "did you mean `reference`"),
        ({"options": {"depth": 3}}, "options of the judge"),
    ],
)
def test_wrong_options(options, said):
    with pytest.raises(UsageError, match=said):
        JUDGES.make("corrupted", options, "method.judge_options")
