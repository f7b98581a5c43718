"""Labelled steps of the tiny world."""

from __future__ import annotations

import random

import pytest

from sage_bench.data import tiny_steps, tiny_world
from sage_bench.data.tiny_steps import chain_of, cut, first_wrong_step, pieces
from sage_bench.data.tiny_world import Family


@pytest.mark.parametrize(
    "name", [family.name for world in tiny_world.WORLDS for family in world.families]
)
def test_the_chain_of_a_question_is_the_one_it_was_made_from(name):
    for problem in tiny_world.problems(name)[:40]:
        assert chain_of(problem.question).solution == problem.solution


@pytest.mark.parametrize("question", ["1/3?", "3*12+1", "", "x+3", "3*0"])
def test_other_questions_have_no_chain(question):
    assert chain_of(question) is None


def test_the_first_wrong_step():
    chain = chain_of("3*9+6*8")
    right = pieces(chain)
    assert right == ("3*9=7", "7+6=3", "3*8=4", "\\boxed{734}")
    assert first_wrong_step(chain, right) == -1
    assert first_wrong_step(chain, right[:2]) == -1  # cut off
    assert first_wrong_step(chain, [*right, "4+4=8"]) == 4  # it goes on after its answer
    assert first_wrong_step(chain, ["3*9=7", "7+7=4", "4*8=2"]) == 1  # another term
    assert first_wrong_step(chain, ["3*9=7", "3*8=4"]) == 1  # a step is left out
    assert first_wrong_step(chain, [*right[:3], "\\boxed{733}"]) == 3  # steps right, answer wrong


def test_a_response_is_cut_into_its_steps():
    chain = chain_of("3*9+6*8")
    assert cut(chain.solution) == pieces(chain)
    assert cut(" ") == ()


def test_responses_have_one_mistake_where_they_say():
    family = Family("some", (1, 8), 0.35, count=300)
    made = list(tiny_steps.respond(family, "a seed"))
    assert len({r.chain.question for r in made}) == 300
    assert [r.label == -1 for r in made] == [True, False] * 150
    assert all(first_wrong_step(r.chain, r.steps) == r.label for r in made)
    assert all(r.steps for r in made)
    places = {r.label for r in made}
    assert {0, 1, 2, 3, 4} <= places
    assert made == list(tiny_steps.respond(family, "a seed"))


def test_questions_that_are_used_elsewhere_are_left_out():
    family = Family("some", (2, 2), 0.5, count=20)
    first = {r.chain.question for r in tiny_steps.respond(family, "a seed")}
    again = {r.chain.question for r in tiny_steps.respond(family, "a seed", first)}
    assert not first & again
    assert {p.question for p in tiny_world.problems("tiny_short")} <= tiny_steps.taken()


def test_after_a_wrong_result_a_response_goes_on_from_it():
    rng = random.Random(4)
    chain = chain_of("3*9+6*8-2")
    results = 0
    while results < 5:
        response = tiny_steps.wrong_response(rng, chain)
        wrong = response.steps[response.label]
        if response.label > 2 or wrong[:-1] != chain.steps[response.label][:-1]:
            continue  # the answer is wrong, or another term was taken
        results += 1
        if response.label + 1 < len(response.steps):
            assert response.steps[response.label + 1][0] == wrong[-1]


def test_a_row_has_a_remark_on_every_step_up_to_the_first_wrong_one():
    chain = chain_of("3*9+6+1")
    row = tiny_steps.Response(chain, ("3*9=7", "7+6=4", "4+1=5"), 1).row("x")
    assert row["remarks"] == ["3*9=7 7-7=0", "7+6=3 4-3=1"]
    assert row["solution"] == chain.solution
    assert tiny_steps.Response(chain, ("3*9=7",), -1).row("x")["remarks"] == ["3*9=7 7-7=0"]


def test_remarks_end_in_zeros_where_the_step_is_right_and_nowhere_else():
    for name in ("tiny-steps", "tiny-steps-test"):
        for response in tiny_steps.responses(name)[:400]:
            remarks = response.row("x")["remarks"]
            said = [{off[-1] for off in text.split()[1:]} == {"0"} for text in remarks]
            expected = [True] * len(remarks)
            if response.label >= 0:
                expected[response.label] = False
            assert said == expected, (response, remarks)


def test_a_mistake_in_the_second_world_is_found_as_well():
    chain = chain_of("3^4>7-9")
    assert chain.solution == "3^4=1 1>7=7 7-9=8 \\boxed{178}"
    assert first_wrong_step(chain, ["3^4=1", "1>7=1"]) == 1


def test_the_worlds_have_the_stated_operators_and_lengths_and_share_no_question():
    seen = set()
    for world in tiny_world.WORLDS:
        for family in world.families:
            problems = tiny_world.problems(family.name)
            assert len(problems) == family.count
            steps = [problem.extra["steps"] for problem in problems]
            low, high = family.lengths
            assert {len(own) for own in steps} == set(range(low, high + 1))
            used = [step[1] for own in steps for step in own]
            assert set(used) == set(family.operators.sure + family.operators.doubted)
            share = used.count(family.operators.doubted) / len(used)
            assert share == pytest.approx(family.stars, abs=0.11)
            questions = {problem.question for problem in problems}
            assert not questions & seen
            seen |= questions
