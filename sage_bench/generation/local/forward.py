"""Log-probabilities of given tokens: the learner's forward, and the answer to `Score`.

Two ways give the same numbers. "rows" runs prompt + completion of every row, padded. "prompt once"
runs each distinct prompt a single time, repeats its keys and values over the rows that continue it
(gradients flow through), and runs the completions alone. The LM head sees completion tokens only,
and where its logits would be large, they are not kept but made again in the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sage_bench.generation.local.head import is_plain, plain_scores
from sage_bench.generation.local.policy import Policy
from sage_bench.generation.local.prefill import pad_left, prefill
from sage_bench.types import TokenIds

Pair = tuple[TokenIds, TokenIds]  # (prompt, completion)
# so many are kept for the backward, 32 MiB in float32: up to here that costs no more than making
# them twice
KEPT_LOGITS = 1 << 23
HEAD_LOGITS = 1 << 26  # logits of one chunk of a head that is more than a matrix


def hidden_states(policy: Policy, pairs: Sequence[Pair], *, prompt_once: bool = True) -> Tensor:
    """Hidden states that predict each completion token: (N, H), rows end to end, N = sum of
    completion lengths."""
    lengths = torch.tensor([len(c) for _, c in pairs], device=policy.device)
    states = (_prompt_once if prompt_once else _rows)(policy, pairs, int(lengths.max()))
    valid = torch.arange(states.shape[1], device=policy.device)[None] < lengths[:, None]
    return states[valid]


def _prompt_once(policy: Policy, pairs: Sequence[Pair], longest: int) -> Tensor:
    start = prefill(policy, [p for p, _ in pairs])
    first = start.last[start.rows]
    if longest == 1:
        return first
    for layer in start.cache.layers:
        layer.batch_select_indices(start.rows)
    completion, valid = pad_right([c[:-1] for _, c in pairs], longest - 1, policy)
    mask = torch.cat([start.mask[start.rows], valid], 1)
    positions = start.after[start.rows] + torch.arange(longest - 1, device=policy.device)
    rest = policy.hidden(completion, attention_mask=mask, position_ids=positions, cache=start.cache)
    return torch.cat([first, rest], 1)


def _rows(policy: Policy, pairs: Sequence[Pair], longest: int) -> Tensor:
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
