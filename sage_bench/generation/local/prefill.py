"""Running prompts once: every distinct prompt a single time, and what all of them begin with a
single time for all.

Prompts of a batch share their system message; where hints are written it is most of the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from sage_bench.generation.local.cache import branch, join_rows
from sage_bench.generation.local.policy import Policy
from sage_bench.types import TokenIds
from sage_bench.utils.errors import SageBenchError

# tokens of prompts in one forward: what a forward needs beside the cache (a mask of width x width,
# the widest layer) is bounded however many long prompts there are
FORWARD_TOKENS = 1 << 16
SHARE_FROM = 8  # tokens of a common beginning from which a forward of its own pays


@dataclass(slots=True)
class Prefill:
    """Distinct prompts, run once. last: hidden state of each prompt's last token, (P, 1, H). rows:
    (R,) which prompt each asked-for row continues. mask: (P, width); after: (P, 1) position of the
    first token after the prompt.
    """

    cache: Cache
    last: Tensor
    rows: Tensor
    mask: Tensor
    after: Tensor


def prefill(policy: Policy, prompts: Sequence[TokenIds]) -> Prefill:
    """Run each distinct prompt of `prompts` (one a row, repeats allowed) a single time. Gradients
    flow as they do without the sharing. Raises `SageBenchError` for a prompt without a token."""
    if not all(prompts):
        raise SageBenchError(
            "a prompt has no tokens: the tokenizer knows nothing of its text",
            where=policy.path,
            remedy="check the tokenizer files of the model, and the prompts of the data",
        )
    distinct = list(dict.fromkeys(prompts))
    of = {p: i for i, p in enumerate(distinct)}
    cache = policy.new_cache()
    shared = common_beginning(distinct) if len(distinct) > 1 and policy.dense_masks else 0
    if shared >= SHARE_FROM:
        head = torch.tensor(distinct[0][:shared], device=policy.device)[None]
        policy.hidden(
            head,
            attention_mask=torch.ones_like(head),
            position_ids=torch.arange(shared, device=policy.device)[None],
            cache=cache,
        )
        for layer in cache.layers:
            layer.batch_select_indices(
                torch.zeros(len(distinct), dtype=torch.long, device=policy.device)
            )
    else:
        shared = 0
    ids, mask = pad_left([p[shared:] for p in distinct], policy.pad_id, policy.device)
    positions = shared + (mask.cumsum(-1) - 1).clamp(min=0)
    mask = torch.cat([mask.new_ones(len(distinct), shared), mask], 1)
    last, cache = _forward(policy, ids, mask, positions, cache)
    return Prefill(
        cache,
        last,
        torch.tensor([of[p] for p in prompts], device=policy.device),
        mask,
        positions[:, -1:] + 1,
    )


def _forward(
    policy: Policy, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache
) -> tuple[Tensor, Cache]:
    """(hidden state of the last token (P, 1, H), cache of all rows), in parts of whole rows.

    ids: (P, T) after what the cache holds; mask: (P, shared + T); positions: (P, T).
    """
    rows = max(1, FORWARD_TOKENS // ids.shape[1])
    if rows >= len(ids):
        last = policy.hidden(ids, attention_mask=mask, position_ids=positions, cache=cache)
        return last[:, -1:], cache
    parts, caches = [], []
    for chosen in torch.split(torch.arange(len(ids), device=ids.device), rows):
        own = branch(cache, chosen) if cache.get_seq_length() else policy.new_cache()
        states = policy.hidden(
            ids[chosen], attention_mask=mask[chosen], position_ids=positions[chosen], cache=own
        )
        parts.append(states[:, -1:])
        caches.append(own)
    return torch.cat(parts), join_rows(caches)


def common_beginning(prompts: Sequence[TokenIds]) -> int:
    """Number of leading tokens all prompts share, leaving each at least one of its own.

    >>> common_beginning([(1, 2, 3, 4), (1, 2, 9), (1, 2, 3)])
    2
    >>> common_beginning([(1, 2), (1, 2, 3)])
    1
    """
    # what the two extremes of the order share, all share
    first, last = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def pad_left(prompts: Sequence[TokenIds], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(ids, mask), both (P, longest) int64; the last column is the last token of every prompt."""
    width = max(map(len, prompts))
    ids = torch.full((len(prompts), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), width), dtype=torch.long)
    for i, p in enumerate(prompts):
        ids[i, width - len(p) :] = torch.tensor(p)
        mask[i, width - len(p) :] = 1
    return ids.to(device), mask.to(device)
