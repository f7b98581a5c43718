"""One line of a record: a request for completions and what answered it.

Log-probabilities are written as the shortest decimals that read back as the same float32, so that a
run on the record sees the numbers of the run that drew it, bit for bit. Each line carries a digest
of all else in it: prompt, completions and rewards that do not belong together are seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from sage_bench.generation.weights import short_sha
from sage_bench.types import Completion, Finish, Problem, Sample, Sampling, TokenIds

Key: TypeAlias = tuple[int, str, int]  # (batch, uid, number of the request within the problem)
Purpose: TypeAlias = Literal["rollout", "hint", "judge"]
DIGEST = "sha256"
_KEY: TypeAdapter[Key] = TypeAdapter(Annotated[Key, Field(strict=False)])


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


class Strict(BaseModel):
    """What JSON says is taken as it is: the text "1" is no number."""

    model_config = ConfigDict(strict=True)


class CompletionLine(Strict):
    tokens: list[int]
    logp: list[float]
    finish: Finish
    seed: int


class ProblemLine(Strict):
    uid: str
    question: str
    solution: str | None
    answer: str
    extra: dict[str, Any]


class SamplingLine(Strict):
    temperature: float
    top_p: float
    max_tokens: int
    stop: list[str]


class Line(Strict):
    """The object of a line, as `to_line` writes it."""

    step: int
    key: Annotated[Key, Field(strict=False)]  # JSON has lists for tuples
    purpose: Purpose
    problem: ProblemLine
    prompt: list[int]
    params: SamplingLine
    completions: list[CompletionLine]
    rewards: list[float] | None
    status: list[str] | None
    level: int | None
    hint: str | None
    kept: bool
    weights: str


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


def key_in(line: Mapping[str, Any]) -> Key | None:
    """The key of a line that cannot be used, where it has one.

    >>> key_in({"key": [0, "a", 1]}), key_in({"key": [0, [], 1]}), key_in({})
    ((0, 'a', 1), None, None)
    """
    try:
        return _KEY.validate_python(line.get("key"))
    except ValidationError:
        return None


def first_reason(error: ValidationError) -> str:
    """Where what was read is of another kind than it should be, and of which."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def from_line(line: Mapping[str, Any], where: str) -> Draw:
    """The draw of a line. Raises `ValueError` with the reason where the line is not whole."""
    if line.get(DIGEST) != digest_of(line):
        raise ValueError(
            "prompt, completions and rewards do not belong together: the digest of the line is not"
            " that of its contents"
        )
    try:
        found = Line.model_validate(line)
    except ValidationError as error:
        raise ValueError(f"it is not a draw of this format ({first_reason(error)})") from error
    return _draw(found, where)


def _draw(line: Line, where: str) -> Draw:
    completions = []
    for one in line.completions:
        if len(one.tokens) != len(one.logp):
            raise ValueError(f"{len(one.tokens)} tokens have {len(one.logp)} log-probabilities")
        logp = torch.tensor(one.logp, dtype=torch.float32)
        completions.append(Completion(tuple(one.tokens), logp, one.finish))
    for name, found in (("rewards", line.rewards), ("statuses", line.status)):
        if found is not None and len(found) != len(completions):
            raise ValueError(f"{len(completions)} completions have {len(found)} {name}")
    params, problem = line.params, line.problem
    return Draw(
        step=line.step,
        key=line.key,
        problem=Problem(
            problem.uid, problem.question, problem.solution, problem.answer, problem.extra
        ),
        prompt=tuple(line.prompt),
        params=Sampling(params.temperature, params.top_p, params.max_tokens, tuple(params.stop)),
        completions=completions,
        seeds=[one.seed for one in line.completions],
        weights=line.weights,
        purpose=line.purpose,
        rewards=line.rewards,
        status=line.status,
        level=line.level,
        hint=line.hint,
        kept=line.kept,
        where=where,
    )
