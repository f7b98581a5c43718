"""The vocabulary: what methods, engines and the learner say to each other.

A method never sees a model. It asks for `Sample`, `Score` or `Saliency` and gets `Completion`s or tensors back; it
returns a `Group`; its `credit` turns the group into `Row`s, which are all the learner ever sees.

Shapes: P prompt tokens, T completion tokens, G completions of a group. Log-probabilities are in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, TypeAlias

from torch import Tensor

TokenIds: TypeAlias = tuple[int, ...]


class Kind(IntEnum):
    """How a row enters the objective."""

    PG = 0  # clipped policy gradient on the ratio to the old policy
    OFF = 1  # off-policy trace: shaped probability p / (p + gamma), no ratio (LUFFY eq. 6)
    CE = 2  # cross-entropy on given tokens (SFT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One training or benchmark question.

    uid: unique in its dataset, stable over runs (seeds and method state hang on it). answer: the gold, as text that a
    grader can parse. solution: the reference solution hints are written from, if there is one. extra: further columns
    of the data row (teacher traces, ready-made hints), untouched.
    """

    uid: str
    question: str
    solution: str | None
    answer: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_p 1 keeps the whole distribution; max_tokens counts completion tokens."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class Sample:
    """Ask for `n` completions of `prompt`. Answer: list[Completion] of length n.

    purpose says what the tokens are for; the ledger counts rollouts and hint writing apart. key is filled in by
    `sage_bench.method.collect`: the engine derives the seed of completion k from (run seed, key, k), so that neither
    batching nor sharding nor a restart changes what is drawn.
    """

    prompt: TokenIds
    n: int
    params: Sampling
    purpose: Literal["rollout", "hint", "judge"] = "rollout"
    key: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for log p(tokens | prompt) at the current weights. Answer: Tensor (T,)."""

    prompt: TokenIds
    tokens: TokenIds


@dataclass(frozen=True, slots=True)
class Saliency:
    """Ask for |<d log p(target | prompt + tokens) / d e_t, e_t>| of every token's input embedding e_t. Answer: Tensor (T,)."""

    prompt: TokenIds
    tokens: TokenIds
    target: TokenIds


Request: TypeAlias = Sample | Score | Saliency
Answer: TypeAlias = "list[Completion] | Tensor"


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer. tokens include the end token when finish is "stop".

    logp (T,): log-probability of each token under the policy at the sampling temperature, before top-p cuts the tail
    (the quantity the ratio needs). finish: "stop" (an end token was drawn) or "length" (cut at max_tokens: truncated).
    """

    tokens: TokenIds
    logp: Tensor
    finish: Literal["stop", "length"]


@dataclass(slots=True)
class Group:
    """The G completions of one problem that are credited against each other; all share one context.

    prompt: what they were sampled from. train_prompt: what their log-probabilities are taken under in the update
    (differs from prompt only where a method says so). rewards: (G,) float32. level: hint level they were sampled at,
    0 = no hint. notes: facts for the ledger (`status` of each verdict, `hint` text, ...).
    """

    problem: Problem
    prompt: TokenIds
    train_prompt: TokenIds
    completions: list[Completion]
    rewards: Tensor
    level: int = 0
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def solved(self) -> bool:
        """At least one completion earned a reward."""
        return bool(len(self.rewards)) and bool(self.rewards.max() > 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One token sequence for the learner.

    advantage: (T,) float32, one number a token; a scalar method broadcasts. group: rows with the same name are one
    group (for per-group weights). old_logp: (T,) log-probabilities of the policy that defines the ratio, taken under
    `prompt`; None lets the engine fill in the current weights. sampler_logp: (T,) what the sampler reported, only to
    measure the gap between sampler and learner. affinity: scale the group's loss by its Affinity (HINT).
    """

    prompt: TokenIds
    tokens: TokenIds
    advantage: Tensor
    group: str
    kind: Kind = Kind.PG
    old_logp: Tensor | None = None
    sampler_logp: Tensor | None = None
    affinity: bool = False
