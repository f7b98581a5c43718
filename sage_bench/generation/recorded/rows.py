"""One line of a record: a request for completions and what answered it.

Log-probabilities are written as the shortest decimals that read back as the same float32, so that a
run on the record sees the numbers of the run that drew it, bit for bit. Each line carries a digest
of all else in it: prompt, completions and rewards that do not belong together are seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from sage_bench.generation.weights import short_sha
from sage_bench.types import Completion, Finish, Problem, Sample, Sampling, TokenIds

Key: TypeAlias = tuple[int, str, int]  # (batch, uid, number of the request within the problem)
Purpose: TypeAlias = Literal["rollout", "hint", "judge"]
DIGEST = "sha256"


@dataclass(frozen=True, slots=True)
class Draw:
    """A request and its completions.

    step: of the run that drew them. seeds: one a completion. weights: digest of the policy that
    drew them. rewards, status: what the verifier said, one a completion; None for hints and
    judgements. level, hint: of the group they were; None for attempts that the method gave up.
    kept: the method returned them as a group. where: file:line they were read from.
    """

    step: int
    key: Key
    problem: Problem
    prompt: TokenIds
    params: Sampling
    completions: Sequence[Completion]
    seeds: Sequence[int]
    weights: str
    purpose: Purpose = "rollout"
    rewards: Sequence[float] | None = None
    status: Sequence[str] | None = None
    level: int | None = None
    hint: str | None = None
    kept: bool = False
    where: str = field(default="", compare=False)

    @property
    def is_group(self) -> bool:
        """Completions that were verified, rather than a hint or a judgement."""
        return self.purpose == "rollout"


def key_of(sample: Sample) -> Key | None:
    """The key of a method's request; None for what a run asks for itself (validation, whose keys
    begin with a word)."""
    if len(sample.key) != 3:
        return None
    batch, uid, number = sample.key
    return (batch, str(uid), int(number)) if isinstance(batch, int) else None


def shortest(values: Tensor) -> list[float]:
    """Numbers whose JSON text is short and reads back as the same float32.

    >>> shortest(torch.tensor([-0.1, -2.0]))
    [-0.1, -2.0]
    """
    exact = values.detach().float().cpu().numpy()
    short = np.array([float(str(value)) for value in exact], dtype=np.float64)
    same = short.astype(np.float32) == exact
    return [float(a if ok else b) for a, b, ok in zip(short, exact, same, strict=True)]


def to_line(draw: Draw) -> dict[str, Any]:
    """A draw as the object of its line, digest included."""
    problem = draw.problem
    line: dict[str, Any] = {
        "step": draw.step,
        "key": list(draw.key),
        "purpose": draw.purpose,
        "problem": {
            "uid": problem.uid,
            "question": problem.question,
            "solution": problem.solution,
            "answer": problem.answer,
            "extra": dict(problem.extra),
        },
        "prompt": list(draw.prompt),
        "params": {
            "temperature": draw.params.temperature,
            "top_p": draw.params.top_p,
            "max_tokens": draw.params.max_tokens,
            "stop": list(draw.params.stop),
        },
        "completions": [
            _completion(c, s) for c, s in zip(draw.completions, draw.seeds, strict=True)
        ],
        "rewards": draw.rewards,
        "status": draw.status,
        "level": draw.level,
        "hint": draw.hint,
        "kept": draw.kept,
        "weights": draw.weights,
    }
    # columns of the data may hold what JSON has no form for (dates, numbers of numpy)
    line = json.loads(json.dumps(line, default=str))
    return {**line, DIGEST: digest_of(line)}


def _completion(completion: Completion, seed: int) -> dict[str, Any]:
    if completion.logp is None:
        raise ValueError("a completion without log-probabilities cannot be recorded")
    return {
        "tokens": list(completion.tokens),
        "logp": shortest(completion.logp),
        "finish": completion.finish,
        "seed": seed,
    }


def digest_of(line: Mapping[str, Any]) -> str:
    """Digest of a line without its digest."""
    rest = {name: value for name, value in line.items() if name != DIGEST}
    return short_sha(json.dumps(rest, sort_keys=True, ensure_ascii=True))


def from_line(line: Mapping[str, Any], where: str) -> Draw:
    """The draw of a line. Raises `ValueError` with the reason where the line is not whole."""
    if line.get(DIGEST) != digest_of(line):
        raise ValueError(
            "prompt, completions and rewards do not belong together: the digest of the line is not"
            " that of its contents"
        )
    try:
        return _draw(line, where)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"it is not a draw of this format ({reason})") from error


def _draw(line: Mapping[str, Any], where: str) -> Draw:
    batch, uid, number = line["key"]
    params = line["params"]
    completions, seeds = [], []
    for one in line["completions"]:
        tokens, logp = tuple(one["tokens"]), torch.tensor(one["logp"], dtype=torch.float32)
        if len(tokens) != len(logp):
            raise ValueError(f"{len(tokens)} tokens have {len(logp)} log-probabilities")
        completions.append(Completion(tokens, logp, cast(Finish, one["finish"])))
        seeds.append(one["seed"])
    rewards = line["rewards"]
    if rewards is not None and len(rewards) != len(completions):
        raise ValueError(f"{len(completions)} completions have {len(rewards)} rewards")
    return Draw(
        step=line["step"],
        key=(batch, uid, number),
        problem=Problem(**line["problem"]),
        prompt=tuple(line["prompt"]),
        params=Sampling(**{**params, "stop": tuple(params["stop"])}),
        completions=completions,
        seeds=seeds,
        weights=line["weights"],
        purpose=line["purpose"],
        rewards=rewards,
        status=line["status"],
        level=line["level"],
        hint=line["hint"],
        kept=line["kept"],
        where=where,
    )
