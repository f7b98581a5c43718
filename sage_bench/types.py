"""The vocabulary: what methods, engines and the learner say to each other.

A method never sees a model. It asks for `Sample`s, `Score`s or requests of its own and gets
`Completion`s, tensors or answers of its own back; it returns a `Group`, or several; its `credit`
turns a group into `Row`s, which are all the learner ever sees.

Shapes: P prompt tokens, T completion tokens, G completions of a group. Log-probabilities are in
nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from sage_bench.utils.seeds import derive_seed

if TYPE_CHECKING:  # configurations and reports need no torch
    from torch import Tensor

TokenIds: TypeAlias = tuple[int, ...]
Prompt: TypeAlias = TokenIds | str  # token ids, or rendered text that becomes some
Finish: TypeAlias = Literal["stop", "length"]


class Kind(IntEnum):
    """How a row enters the objective."""

    PG = 0  # clipped policy gradient on the ratio to the old policy
    OFF = 1  # off-policy trace: shaped probability p / (p + gamma), no ratio (LUFFY eq. 6)
    CE = 2  # cross-entropy on given tokens (SFT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One training or benchmark question.

    uid: unique in its dataset, stable over runs (seeds and method state hang on it). answer: the
    gold, as text that a grader can parse. solution: the reference solution hints are written from,
    if there is one. extra: further columns of the data row (teacher traces, ready-made hints),
    untouched.
    """

    uid: str
    question: str
    solution: str | None
    answer: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_p 1 keeps the whole distribution;
    max_tokens counts completion tokens; a completion also ends, without an end token, when one of
    the texts of `stop` has appeared in it.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 1024
    stop: tuple[str, ...] = ()


Asked = TypeVar("Asked", bound="Request")


@dataclass(frozen=True, slots=True)
class PolicyAccess:
    """What an engine hands to the requests that a method brings.

    policy: the policy at its current weights, a `sage_bench.generation.local.policy.Policy` (model,
    tokenizer, `hidden` and `logits`). seed: of the run; derive yours from it and from the request's
    `key`. tokens: padded tokens of a forward that fit the machine (`engine.micro_tokens`).
    """

    policy: Any
    seed: int = 0
    tokens: int = 1 << 14


class Request:
    """Base of everything a method can ask for.

    A method brings a request of its own as a frozen dataclass that derives from this class and says
    how an engine answers it (`answer`); the method then has "policy" among its `needs`. A field
    `key: tuple[str | int, ...] = ()` is filled in by `sage_bench.methods.driver.collect` with what
    random numbers of the answer should hang on.
    """

    __slots__ = ()

    @property
    def width(self) -> int:
        """Tokens of the longest row a forward for this request needs. The engine answers as many
        requests of one type together as fit its token budget; with 1, the default, all of them."""
        return 1

    @classmethod
    def answer(cls, access: PolicyAccess, requests: Sequence[Any]) -> list[Any]:
        """The answers to some requests of this type, in order. Must leave the weights and their
        gradients as they were."""
        raise NotImplementedError(f"no engine knows how to answer {cls.__name__}")

    def stamped(self: Asked, key: tuple[str | int, ...]) -> Asked:
        """The same request with its `key` filled in; itself where it has no such field."""
        if is_dataclass(self) and any(f.name == "key" for f in fields(self)):
            return replace(self, key=key)
        return self


@dataclass(frozen=True, slots=True)
class Sample(Request):
    """Ask for `n` completions of `prompt`. Answer: list[Completion] of length n.

    prompt: token ids, or a text that a sampler's `render` made of a chat (all that a server takes
    which applies the chat template itself). purpose says what the tokens are for; the ledger counts
    rollouts and hint writing apart. key is filled in by `sage_bench.methods.driver.collect`: the
    engine derives the seed of completion k from (run seed, key, k), so that neither batching nor
    sharding nor a restart changes what is drawn. seed: of one completion, once it is derived.
    """

    prompt: Prompt
    n: int
    params: Sampling
    purpose: Literal["rollout", "hint", "judge"] = "rollout"
    key: tuple[str | int, ...] = ()
    seed: int | None = None

    def units(self, *base: str | int, after: tuple[str | int, ...] = ()) -> list[Sample]:
        """What samplers draw: n requests for one completion each. The seed of number k is the hash
        of (base, key, after, k), unless one is given already.

        >>> [u.n for u in Sample((1, 2), 3, Sampling(), key=("validation", 0)).units(42)]
        [1, 1, 1]
        """
        if self.seed is not None:
            return [replace(self, n=1, seed=self.seed + k) for k in range(self.n)]
        return [
            replace(self, n=1, seed=derive_seed(*base, *self.key, *after, k)) for k in range(self.n)
        ]


@dataclass(frozen=True, slots=True)
class Score(Request):
    """Ask for log p(tokens | prompt) at the current weights. Answer: Tensor (T,); with `entropy`, a
    `Scored`."""

    prompt: TokenIds
    tokens: TokenIds
    entropy: bool = False

    @property
    def width(self) -> int:
        return len(self.prompt) + len(self.tokens)


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to a `Score` that asked for entropies.

    logp (T,): log-probability of each token. entropy (T,): of the distribution it was scored under,
    in nats, exact over the vocabulary. Both at temperature 1.
    """

    logp: Tensor
    entropy: Tensor


class Service(Protocol):
    """Something outside the engine that answers. All payloads of a round come in one call.

    Every sampler is one (`sage_bench.generation.samplers.base.Sampler`): its payloads are `Sample`s
    and its answers lists of `Completion`s. So a judge or a teacher asks another model.
    """

    def answer(self, payloads: list[Any]) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class Consult(Request):
    """Ask a service. Answer: whatever it answers to the payload. The driver sends all of a round
    together. purpose: what the ledger counts the call as."""

    service: Service
    payload: Any
    purpose: Literal["hint", "judge", "other"] = "other"


# list[Completion] to a Sample, Tensor or Scored to a Score, whatever the others say
Answer: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer, or the reason why there is none.

    tokens include the end token when finish is "stop" (or the text that was asked to end it); they
    are empty where a server gives text only. logp (T,): log-probability of each token under the
    policy at the sampling temperature, before top-p cuts the tail (the quantity the ratio needs);
    None where the sampler does not know it. finish: "stop" (an end token was drawn, or a text of
    `Sampling.stop`) or "length" (cut at max_tokens: truncated).

    text: decoded, without special tokens and what was asked to end it; None where nobody asked for
    it (a prompt of token ids is answered in tokens) or where all of it is a thought. thought:
    reasoning that a server keeps apart from the text. prompt_tokens, counted: lengths as the
    sampler counted them, 0 where it does not say. failed: why there is no completion; the others
    of its batch go on.
    """

    tokens: TokenIds = ()
    logp: Tensor | None = None
    finish: Finish = "stop"
    text: str | None = None
    thought: str = ""
    prompt_tokens: int = 0
    counted: int = 0
    failed: str | None = None

    @property
    def length(self) -> int:
        """Its number of tokens, the end token included."""
        return len(self.tokens) or self.counted


@dataclass(slots=True)
class Group:
    """The G completions of one problem that are credited against each other; all share one context.

    prompt: what they were sampled from. train_prompt: what their log-probabilities are taken under
    in the update (differs from prompt only where a method says so). rewards: (G,) float32, what the
    verifier said. level: hint level they were sampled at, 0 = no hint. scores: (G,) what the
    advantage is computed from where it is not the verifier's rewards (partial credit). prompts: one
    prompt a completion where they differ within the group. notes: facts for the ledger (`status` of
    each verdict, `hint` text, ...).
    """

    problem: Problem
    prompt: TokenIds
    train_prompt: TokenIds
    completions: list[Completion]
    rewards: Tensor
    level: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    scores: Tensor | None = None
    prompts: list[TokenIds] | None = None

    def train_prompt_of(self, i: int) -> TokenIds:
        return self.prompts[i] if self.prompts else self.train_prompt

    @property
    def solved(self) -> bool:
        """At least one completion earned a reward."""
        return bool(len(self.rewards)) and bool(self.rewards.max() > 0)


@dataclass(frozen=True, slots=True)
class Row:
    """One token sequence for the learner.

    advantage: (T,) float32, one number a token; a scalar method broadcasts. group: rows with the
    same name are one group (for per-group weights). old_logp: (T,) log-probabilities of the policy
    that defines the ratio, taken under `prompt`; None lets the engine fill in the current weights.
    sampler_logp: (T,) what the sampler reported, to measure the gap between sampler and learner
    and, where `objective.importance` is on, to correct for it. same_prompt: it is of `prompt`;
    False where the tokens were sampled from another one (with a hint, say). A method whose hooks
    of the update need more of a row derives its own row from this.
    """

    prompt: TokenIds
    tokens: TokenIds
    advantage: Tensor
    group: str
    kind: Kind = Kind.PG
    old_logp: Tensor | None = None
    sampler_logp: Tensor | None = None
    same_prompt: bool = True
