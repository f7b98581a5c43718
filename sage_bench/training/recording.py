"""Keeping every draw of a run: what `log.groups=all` and `sage-bench record` write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sage_bench.config.nesting import values_of
from sage_bench.config.schema import RunConfig
from sage_bench.engines.ranks import ALONE, Ranks
from sage_bench.generation.recorded.files import (
    ABOUT,
    About,
    Ending,
    drop_from,
    write_step,
)
from sage_bench.generation.recorded.rows import Draw, key_of
from sage_bench.generation.recorded.sampler import policy_digests
from sage_bench.methods.base import Context
from sage_bench.methods.driver import Collected
from sage_bench.training.identity import data_digest
from sage_bench.types import Answer, Completion, Group, Problem, Request, Sample
from sage_bench.utils.errors import SageBenchError
from sage_bench.utils.files import make_folder
from sage_bench.utils.secrets import masked
from sage_bench.version import VERSION


def about(config: RunConfig, context: Context, problems: Sequence[Problem], weights: str) -> About:
    """What record.json says of a run. weights: digest of the policy at its beginning."""
    return About(
        backend=config.backend,
        policy=policy_digests(context.renderer, weights),
        configuration=masked(values_of(config)),
        grader=context.grader.version,
        data=data_digest(problems),
        version=VERSION,
    )


class Recorder:
    """Collects the draws of a step and writes them.

    folder: of the record. seed: of the run. ranks: of a run of several processes, whose draws the
    first one writes.
    """

    def __init__(self, folder: Path, seed: int, ranks: Ranks = ALONE):
        self.folder = folder
        self.seed = seed
        self.ranks = ranks
        self.asked: list[tuple[Sample, list[Completion]]] = []
        self.draws: list[Draw] = []
        self.order: dict[tuple[int, str], int] = {}

    def begin(self, step: int, described: About) -> None:
        """Go on at a step: what was written of it and later ones is dropped. The description of
        a record that is there stays."""
        if self.ranks.first:
            make_folder(self.folder)
            drop_from(self.folder, step)
            if not (self.folder / ABOUT).is_file():
                described.write(self.folder)

    def expect(self, batch: int, problems: Sequence[Problem]) -> None:
        """The problems of a batch, all ranks' together: the order in which draws are written."""
        for problem in problems:
            self.order[(batch, problem.uid)] = len(self.order)

    def tap(self, asks: Sequence[Request], answers: Sequence[Answer]) -> None:
        """Take note of what an engine answered in one round."""
        for ask, answer in zip(asks, answers, strict=True):
            if isinstance(ask, Sample) and key_of(ask) is not None:
                self.asked.append((ask, answer))

    def add(
        self,
        problems: Sequence[Problem],
        items: Sequence[Collected],
        context: Context,
        *,
        step: int,
    ) -> None:
        """Turn what was noted since the last call into draws. problems: those it was asked for;
        items: the groups that came of it."""
        by_uid = {problem.uid: problem for problem in problems}
        groups = _by_completion(items)
        for ask, completions in self.asked:
            key = key_of(ask)
            assert key is not None  # `tap` keeps no others
            problem = by_uid[key[1]]
            facts = self._facts(problem, ask, completions, groups, context)
            self.draws.append(
                Draw(
                    step=step,
                    key=key,
                    problem=problem,
                    prompt=_ids(ask),
                    params=ask.params,
                    completions=completions,
                    seeds=[_seed(unit) for unit in ask.units(self.seed)],
                    weights="",  # known when the step is written
                    purpose=ask.purpose,
                    **facts,
                )
            )
        self.asked.clear()

    def _facts(
        self,
        problem: Problem,
        ask: Sample,
        completions: Sequence[Completion],
        groups: Mapping[int, tuple[Group, int]],
        context: Context,
    ) -> dict[str, Any]:
        """Rewards, statuses, level and hint of a draw."""
        if ask.purpose != "rollout":
            return {}
        found = [groups.get(id(completion)) for completion in completions]
        whole = [one for one in found if one is not None]
        if len(whole) < len(found) or not found:
            return self._of_given_up(problem, completions, context)
        group = whole[0][0]
        statuses = group.notes.get("status")
        return {
            "rewards": [float(own.rewards[i]) for own, i in whole],
            "status": [str(statuses[i]) for _, i in whole] if statuses else None,
            "level": group.level,
            "hint": group.notes.get("hint"),
            "kept": True,
        }

    def _of_given_up(
        self, problem: Problem, completions: Sequence[Completion], context: Context
    ) -> dict[str, Any]:
        """An attempt that the method did not return is verified here: a record without its rewards
        could not be diagnosed."""
        texts = [context.text(c.tokens) for c in completions]
        verdicts = context.grader.grade(problem.answer, texts)
        return {
            "rewards": [float(v.correct) for v in verdicts],
            "status": [v.status for v in verdicts],
        }

    def write(self, step: int, weights: str, state: Mapping[str, Any] | None = None) -> None:
        """Write the step, with the draws of all ranks.

        weights: digest of the policy that drew them. state: of the method, where recording must be
        able to go on from here.
        """
        parts = self.ranks.gather(self.draws)
        self.draws = []
        if self.ranks.first:
            draws = [replace(draw, weights=weights) for part in parts for draw in part]
            draws.sort(key=lambda draw: (self.order[draw.key[:2]], draw.key[2]))
            write_step(self.folder, Ending(step, len(draws), dict(state or {})), draws)
        self.order.clear()


def _by_completion(items: Sequence[Collected]) -> dict[int, tuple[Group, int]]:
    """(group, number in it) of every completion that was returned. By identity: two completions
    may read the same."""
    return {
        id(completion): (item.group, i)
        for item in items
        for i, completion in enumerate(item.group.completions)
    }


def _ids(ask: Sample) -> tuple[int, ...]:
    if isinstance(ask.prompt, str):
        raise SageBenchError(
            "a request in text cannot be recorded: its tokens are not known",
            where=f"request {ask.key}",
            remedy="ask in token ids (`ctx.prompt` gives them)",
        )
    return ask.prompt


def _seed(unit: Sample) -> int:
    assert unit.seed is not None  # `units` derives it
    return unit.seed
