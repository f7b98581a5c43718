"""Log-probabilities of given tokens: the learner's forward, and the answer to `Score`.

Two ways give the same numbers. "rows" runs prompt + completion of every row, padded. "prompt once"
runs each distinct prompt a single time, repeats its keys and values over the rows that continue it
(gradients flow through), and runs the completions alone, those of similar length together. The LM
head sees completion tokens only, and where its logits would be large, they are not kept but made
again in the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import Cache

from sage_bench.generation.local.cache import copied
from sage_bench.generation.local.head import is_plain, plain_scores
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import Prefill, pad_left, prefill
from sage_bench.types import TokenIds

Pair = tuple[TokenIds, TokenIds]  # (prompt, completion)
# so many are kept for the backward, 32 MiB in float32: up to here that costs no more than making
# them twice
KEPT_LOGITS = 1 << 23
HEAD_LOGITS = 1 << 26  # logits of one chunk of a head that is more than a matrix
# Completions of a micro-batch run in parts of similar length, where that saves padding: in a part
# none is shorter than this share of its longest, unless the part would have fewer positions than
# `PART`. Narrower models run all together, though it would save them a sixth as well: the trainings
# of the packaged policies stay bit for bit what they were when the stored results were made.
NEAR = 0.8
PART = 1024
WIDE = 256  # hidden size


def hidden_states(policy: Policy, pairs: Sequence[Pair], *, prompt_once: bool = True) -> Tensor:
    """Hidden states that predict each completion token: (N, H), rows end to end, N = sum of
    completion lengths."""
    lengths = [len(c) for _, c in pairs]
    if not prompt_once:
        return _rows(policy, pairs)[_valid(lengths, policy)]
    start = prefill(policy, [p for p, _ in pairs])
    parts = alike(lengths) if _width(policy) >= WIDE else [list(range(len(pairs)))]
    if len(parts) == 1:
        return _behind(policy, start, start.rows, start.cache, pairs)
    states = []
    for part in parts:
        rows = start.rows[part]
        states.append(_behind(policy, start, rows, copied(start.cache), [pairs[i] for i in part]))
    # from the order of the parts to that of the rows
    tokens = torch.split(torch.arange(sum(lengths), device=policy.device), lengths)
    order = torch.cat([tokens[i] for part in parts for i in part])
    return torch.cat(states)[order.argsort()]


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Rows whose completions are padded together: the longest first, and those that come near it.

    >>> alike([900, 1000, 300, 20]), alike([9, 2, 5])
    ([[1, 0], [2, 3]], [[0, 1, 2]])
    """
    parts: list[list[int]] = []
    longest = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        enough = bool(parts) and longest * len(parts[-1]) >= PART
        if not parts or (enough and lengths[i] < NEAR * longest):
            parts.append([])
            longest = lengths[i]
        parts[-1].append(i)
    return parts if len(parts) > 1 else [list(range(len(lengths)))]


def _behind(
    policy: Policy, start: Prefill, rows: Tensor, cache: Cache, pairs: Sequence[Pair]
) -> Tensor:
    """Hidden states (N, H) of completions that continue the prompts `rows`, (R,), of a prefill.
    cache: its own, whose rows are replaced."""
    lengths = [len(c) for _, c in pairs]
    states, longest = start.last[rows], max(lengths)
    if longest > 1:
        for layer in cache.layers:
            layer.batch_select_indices(rows)
        completion, valid = pad_right([c[:-1] for _, c in pairs], longest - 1, policy)
        mask = torch.cat([start.mask[rows], valid], 1)
        positions = start.after[rows] + torch.arange(longest - 1, device=policy.device)
        rest = policy.hidden(completion, attention_mask=mask, position_ids=positions, cache=cache)
        states = torch.cat([states, rest], 1)
    return states[_valid(lengths, policy)]


def _valid(lengths: Sequence[int], policy: Policy) -> Tensor:
    """(R, longest): which positions are a row's own."""
    count = torch.tensor(lengths, device=policy.device)
    return torch.arange(max(lengths), device=policy.device)[None] < count[:, None]


def _rows(policy: Policy, pairs: Sequence[Pair]) -> Tensor:
    """(R, longest, H), prompt and completion of every row run."""
    longest = max(len(c) for _, c in pairs)
    ids, mask = pad_left([p for p, _ in pairs], policy.pad_id, policy.device)
    width = ids.shape[1]
    completion, valid = pad_right([c[:-1] for _, c in pairs], longest - 1, policy)
    ids, mask = torch.cat([ids, completion], 1), torch.cat([mask, valid], 1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    return policy.hidden(ids, attention_mask=mask, position_ids=positions)[:, width - 1 :]


def pad_right(tokens: Sequence[TokenIds], width: int, policy: Policy) -> tuple[Tensor, Tensor]:
    ids = torch.full((len(tokens), width), policy.pad_id, dtype=torch.long)
    mask = torch.zeros((len(tokens), width), dtype=torch.long)
    for i, t in enumerate(tokens):
        ids[i, : len(t)] = torch.tensor(t, dtype=torch.long)
        mask[i, : len(t)] = 1
    return ids.to(policy.device), mask.to(policy.device)


def vocabulary(policy: Policy) -> int:
    config: Any = policy.model.config
    return int(config.get_text_config().vocab_size)


def _width(policy: Policy) -> int:
    config: Any = policy.model.config
    return int(config.get_text_config().hidden_size)


def _score(
    policy: Policy, hidden: Tensor, target: Tensor, temperature: float, entropy_gradient: bool
) -> tuple[Tensor, Tensor]:
    logits = policy.logits(hidden)
    if temperature != 1.0:
        logits = logits / temperature
    norm = logits.logsumexp(-1)
    logp = logits.gather(-1, target[:, None])[:, 0] - norm
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        entropy = norm - (torch.exp(logits - norm[:, None]) * logits).sum(-1)
    return logp, entropy


def log_probs(
    policy: Policy,
    pairs: Sequence[Pair],
    *,
    temperature: float = 1.0,
    prompt_once: bool = True,
    entropy_gradient: bool = False,
) -> tuple[Tensor, Tensor]:
    """(logp (N,), entropy (N,)) of all completion tokens, rows end to end.

    temperature divides the logits, as it did when the tokens were drawn. Gradients flow to the
    policy's weights unless the caller turned them off; through the entropy only when asked for.
    """
    hidden = hidden_states(policy, pairs, prompt_once=prompt_once)
    target = torch.tensor([t for _, c in pairs for t in c], device=policy.device)
    head = policy.model.get_output_embeddings() if policy.split else None
    large = len(target) * vocabulary(policy) > KEPT_LOGITS
    if large and head is not None and is_plain(head) and not entropy_gradient:
        return plain_scores(head, hidden, target, temperature)
    chunk = max(1, HEAD_LOGITS // vocabulary(policy))
    if len(target) <= chunk:
        return _score(policy, hidden, target, temperature, entropy_gradient)
    parts = []
    for h, t in zip(torch.split(hidden, chunk), torch.split(target, chunk), strict=True):
        if torch.is_grad_enabled():
            parts.append(
                checkpoint(_score, policy, h, t, temperature, entropy_gradient, use_reentrant=False)
            )
        else:
            parts.append(_score(policy, h, t, temperature, entropy_gradient))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


@torch.no_grad()
def score(policy: Policy, pairs: Sequence[Pair], temperature: float) -> list[Tensor]:
    """Log-probabilities (T,) of each completion at a temperature."""
    logp, _ = log_probs(policy, pairs, temperature=temperature)
    return list(torch.split(logp, [len(c) for _, c in pairs]))


@torch.no_grad()
def kl_divergence(policy: Policy, other: Policy, pairs: Sequence[Pair]) -> Tensor:
    """KL(policy || other) of the next-token distribution before every completion token, (N,), exact
    over the vocabulary."""
    states = [hidden_states(p, pairs) for p in (policy, other)]
    chunk = max(1, HEAD_LOGITS // vocabulary(policy))
    parts = []
    for ours, theirs in zip(
        torch.split(states[0], chunk), torch.split(states[1], chunk), strict=True
    ):
        logp, logq = policy.logits(ours).log_softmax(-1), other.logits(theirs).log_softmax(-1)
        parts.append((logp.exp() * (logp - logq)).sum(-1))
    return torch.cat(parts)
