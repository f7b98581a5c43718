"""How much each token of a span matters for an outcome: OAR's two estimators (arXiv 2601.07408;
docs/design/oar.md 3 and 4).

Both read logits at the outcome's positions only, run each prompt once, and leave the parameters'
gradients alone: the released gradient estimator calls `backward` and mixes its gradient into the
policy's, the released perturbation one holds the logits of every position of every perturbed copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from sage_bench.generation.local.cache import branch
from sage_bench.generation.local.forward import pad_right
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import prefill
from sage_bench.types import PolicyAccess, Request, TokenIds
from sage_bench.utils.seeds import derive_seed

ROWS = 64  # perturbed copies that run together


@dataclass(frozen=True, slots=True)
class Saliency(Request):
    """Ask how much each token of a span matters for an outcome. Answer: Tensor (L,) for the L
    tokens of `tokens`.

    The model reads prompt + tokens + bridge + target; the outcome is read where it predicts the A
    tokens of `target`: "last" = distribution of the first target token, "answer_mean" = softmax of
    the mean of the A logit vectors, "answer_joint" = mean log-probability of the target. bridge
    leads from the span to the target (may be empty).

    how "gradient" (OAR-G): J is the KL between the outcome and the outcome under noise of standard
    deviation `noise` on the span's embeddings (or phi(clean) - phi(noisy) for answer_joint); the
    answer is |<dJ/de_t, e_t>|. how "perturb" (OAR-P): token t is replaced by `mask`, and the answer
    is the KL of the outcomes, or the signed drop of phi. With `positions` at most so many perturbed
    copies are read, an approximation: "even" replaces tokens at even distances, and the others take
    the value of the nearest one; "fine" replaces whole blocks, then the halves of those that
    mattered most, and the tokens of a block share its value.
    """

    prompt: TokenIds
    tokens: TokenIds
    bridge: TokenIds
    target: TokenIds
    how: Literal["gradient", "perturb"] = "gradient"
    outcome: Literal["last", "answer_mean", "answer_joint"] = "answer_mean"
    noise: float = 1e-3
    mask: int = 0
    positions: int | None = None
    search: Literal["even", "fine"] = "even"
    key: tuple[str | int, ...] = ()

    @property
    def width(self) -> int:
        return len(self.prompt) + len(self.tokens)

    @classmethod
    def answer(cls, access: PolicyAccess, requests: Sequence[Saliency]) -> list[Tensor]:
        """Gradients of all requests in one backward; perturbed copies, request by request."""
        gradient = [a for a in requests if a.how == "gradient" and a.tokens]
        found = gradient_saliency(access.policy, gradient, access.seed) if gradient else []
        scores = iter(found)
        return [
            next(scores)
            if a.how == "gradient" and a.tokens
            else perturbation_saliency(access.policy, a)
            for a in requests
        ]


def inputs_after_prompt(ask: Saliency) -> TokenIds:
    """What the model reads after the prompt: the span, the bridge and, for the answer modes, all of
    the target but its last token."""
    return ask.tokens + ask.bridge + (() if ask.outcome == "last" else ask.target[:-1])


def outcome_positions(ask: Saliency) -> range:
    """Positions (after the prompt) whose hidden states predict the target."""
    start = len(ask.tokens) + len(ask.bridge) - 1
    return range(start, start + (1 if ask.outcome == "last" else len(ask.target)))


def reading(logits: Tensor, target: Tensor, outcome: str) -> Tensor:
    """The outcome of logits (..., A, V): log-probabilities (..., V) of `last` or `answer_mean`, or
    phi (...,) of `answer_joint`.

    answer_mean averages logits, not probabilities; answer_joint is the mean log-probability of the
    target tokens (A,).
    """
    if outcome == "answer_joint":
        return (
            logits.log_softmax(-1)
            .gather(-1, target.expand(*logits.shape[:-2], -1)[..., None])[..., 0]
            .mean(-1)
        )
    return (logits[..., 0, :] if outcome == "last" else logits.mean(-2)).log_softmax(-1)


def change(clean: Tensor, other: Tensor, outcome: str) -> Tensor:
    """KL(clean || other) of two readings, or phi(clean) - phi(other), which may be negative."""
    return clean - other if outcome == "answer_joint" else (clean.exp() * (clean - other)).sum(-1)


@contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """Parameters take no part in autograd: their gradients stay untouched and their activations
    unsaved."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    try:
        for p, _ in flags:
            p.requires_grad_(False)
        yield
    finally:
        for p, flag in flags:
            p.requires_grad_(flag)


def gradient_saliency(policy: Policy, asks: Sequence[Saliency], seed: int) -> list[Tensor]:
    """|<dJ/de_t, e_t>| of every span token, one (L,) a request; all requests in one forward and one
    backward.

    Rows are independent, so the gradient of the sum of their J is every row's own gradient.
    """
    device = policy.device
    with torch.no_grad():
        start = prefill(policy, [a.prompt for a in asks])
        inputs = [inputs_after_prompt(a) for a in asks]
        width = max(map(len, inputs))
        ids, valid = pad_right(inputs, width, policy)
        model: Any = policy.model
        embeddings = model.get_input_embeddings()(ids)
        mask = torch.cat([start.mask[start.rows], valid], 1)
        positions = start.after[start.rows] + torch.arange(width, device=device)
        noise = torch.zeros_like(embeddings)
        for i, ask in enumerate(asks):
            generator = torch.Generator().manual_seed(derive_seed(seed, *ask.key))
            noise[i, : len(ask.tokens)] = (
                ask.noise * torch.randn(len(ask.tokens), embeddings.shape[-1], generator=generator)
            ).to(embeddings)

    sizes = [len(outcome_positions(a)) for a in asks]

    def readings(x: Tensor) -> list[Tensor]:
        hidden = policy.hidden(
            None,
            embeddings=x,
            attention_mask=mask,
            position_ids=positions,
            cache=branch(start.cache, start.rows),
        )
        # one call of the LM head for all rows: on a large vocabulary reading its weights is the
        # cost
        places = [_at(hidden[i], start.last[start.rows[i]], a) for i, a in enumerate(asks)]
        logits = torch.split(policy.logits(torch.cat(places)), sizes)
        return [
            reading(own, torch.tensor(a.target, device=device), a.outcome)
            for own, a in zip(logits, asks, strict=True)
        ]

    with torch.no_grad():
        clean = readings(embeddings)
    with frozen(policy.model), torch.enable_grad():
        noisy = (embeddings + noise).requires_grad_(True)
        total = torch.stack(
            [change(c, n, a.outcome) for c, n, a in zip(clean, readings(noisy), asks, strict=True)]
        ).sum()
        (gradient,) = torch.autograd.grad(total, [noisy])
    scores = (gradient.float() * embeddings.float()).sum(-1).abs()
    return [scores[i, : len(a.tokens)].cpu() for i, a in enumerate(asks)]


def _at(hidden: Tensor, last: Tensor, ask: Saliency) -> Tensor:
    """Hidden states (A, H) that predict the target; with an empty span and bridge the first is the
    prompt's last one."""
    places = list(outcome_positions(ask))
    return torch.stack([last[0] if p < 0 else hidden[p] for p in places])


@torch.no_grad()
def perturbation_saliency(policy: Policy, ask: Saliency) -> Tensor:
    """Change of the outcome when a token of the span is replaced by `ask.mask`, (L,); at most
    `ask.positions` tokens are tried.

    Copies that differ at t share everything before t: chunks of neighbouring positions continue a
    common cached prefix.
    """
    n, device = len(ask.tokens), policy.device
    if n == 0:
        return torch.zeros(0)
    sequence = torch.tensor(inputs_after_prompt(ask), device=device)
    target = torch.tensor(ask.target, device=device)
    start = prefill(policy, [ask.prompt])
    prompt = len(ask.prompt)
    cache = branch(start.cache, start.rows)
    hidden = policy.hidden(
        sequence[None],
        attention_mask=_ones(1, prompt + len(sequence), device),
        position_ids=prompt + torch.arange(len(sequence), device=device)[None],
        cache=cache,
    )
    clean = reading(policy.logits(_at(hidden[0], start.last[0], ask)), target, ask.outcome)

    def changes(blocks: Sequence[range]) -> Tensor:
        """Change of the outcome when all tokens of a block are replaced, (blocks,); they begin in
        ascending order."""
        parts = [blocks[a : a + ROWS] for a in range(0, len(blocks), ROWS)]
        return torch.cat([chunk_changes(part) for part in parts])

    def chunk_changes(chunk: Sequence[range]) -> Tensor:
        first = chunk[0].start
        copies = sequence[first:].repeat(len(chunk), 1)
        for row, block in enumerate(chunk):
            copies[row, block.start - first : block.stop - first] = ask.mask
        rows = torch.zeros(len(chunk), dtype=torch.long, device=device)
        hidden = policy.hidden(
            copies,
            attention_mask=_ones(len(chunk), prompt + len(sequence), device),
            cache=branch(cache, rows, prompt + first),
            position_ids=(prompt + first + torch.arange(copies.shape[1], device=device))[
                None
            ].expand(len(chunk), -1),
        )
        read = reading(
            policy.logits(hidden[:, [p - first for p in outcome_positions(ask)]]),
            target,
            ask.outcome,
        )
        return change(clean, read, ask.outcome).float().cpu()

    if ask.positions is not None and ask.positions < n and ask.search == "fine":
        return coarse_to_fine(n, ask.positions, changes)
    places = probed(n, ask.positions)
    found = changes([range(p, p + 1) for p in places])
    nearest = (torch.arange(n)[:, None] - torch.tensor(places)[None]).abs().argmin(1)
    return found[nearest]


def coarse_to_fine(length: int, most: int, changes: Callable[[Sequence[range]], Tensor]) -> Tensor:
    """(length,) values from at most `most` blocks of tokens that are replaced together.

    Half of the blocks are spent on an even division; then the blocks with the largest change are
    halved, round by round. A token has the value of the smallest block around it that was tried.

    >>> spike = lambda blocks: torch.tensor([float(41 in b) for b in blocks])
    >>> coarse_to_fine(64, 24, spike).nonzero().flatten().tolist()
    [41]
    """
    count = max(1, min(length, most // 2))
    bounds = [round(i * length / count) for i in range(count + 1)]
    blocks = [range(a, b) for a, b in pairwise(bounds)]
    found = changes(blocks).tolist()
    values = torch.zeros(length)
    left = most - len(blocks)
    while True:
        for block, value in zip(blocks, found, strict=True):
            values[block.start : block.stop] = value
        tried = sorted(zip(found, blocks, strict=True), key=lambda pair: (-pair[0], pair[1].start))
        halved = [block for _, block in tried if len(block) > 1][: max(0, left // 2)]
        # a quarter of what is left at a time: the next round knows better where to look
        halved = halved[: max(1, left // 4)]
        if not halved or left < 2:
            return values
        cut = [(b.start, (b.start + b.stop) // 2, b.stop) for b in sorted(halved, key=_start)]
        halves = [part for a, m, b in cut for part in (range(a, m), range(m, b))]
        rest = [(v, b) for v, b in zip(found, blocks, strict=True) if b not in halved]
        left -= len(halves)
        blocks = [*(b for _, b in rest), *halves]
        found = [*(v for v, _ in rest), *changes(halves).tolist()]


def _start(block: range) -> int:
    return block.start


def probed(length: int, most: int | None) -> list[int]:
    """Which of `length` positions are perturbed: all, or `most` evenly spaced ones.

    >>> probed(3, None), probed(10, 4)
    ([0, 1, 2], [1, 3, 6, 8])
    """
    if most is None or most >= length:
        return list(range(length))
    return [int((i + 0.5) * length / most) for i in range(most)]


def _ones(rows: int, width: int, device: torch.device) -> Tensor:
    return torch.ones(rows, width, dtype=torch.long, device=device)
