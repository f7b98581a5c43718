"""Rows as the padded tensors TRL's forward takes, and how they are spread over ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sage_bench.engines.local.learner import by_group
from sage_bench.types import Row

Batch = dict[str, Tensor]
LEFT, RIGHT = "left", "right"


def padded(values: Sequence[Sequence[int]], fill: int, side: str) -> Tensor:
    """(R, longest) int64."""
    width = max(map(len, values))
    out = torch.full((len(values), width), fill, dtype=torch.long)
    for i, own in enumerate(values):
        where = slice(width - len(own), width) if side == LEFT else slice(0, len(own))
        out[i, where] = torch.tensor(own, dtype=torch.long)
    return out


def pack(rows: Sequence[Row], pad_id: int, device: torch.device) -> Batch:
    """TRL's dictionary of some rows: prompts (R, P) padded on the left, completions (R, T) on the
    right."""
    prompts, completions = [r.prompt for r in rows], [r.tokens for r in rows]
    batch = {
        "prompt_ids": padded(prompts, pad_id, LEFT),
        "prompt_mask": padded([[1] * len(p) for p in prompts], 0, LEFT),
        "completion_ids": padded(completions, pad_id, RIGHT),
        "completion_mask": padded([[1] * len(c) for c in completions], 0, RIGHT),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def stand_in(pad_id: int) -> Row:
    """A row without an advantage: for ranks that have no row left while others still have."""
    return Row((pad_id,), (pad_id,), torch.zeros(1), "stand-in")


def micro_batches(rows: Sequence[Row], budget: int, *, cut: bool = False) -> Iterator[list[int]]:
    """Indices of rows that share a forward: whole groups, shortest first, within a budget of padded
    tokens; at least one group each. cut: groups beyond the budget go in parts, at least one row
    each."""
    numbers = {id(row): i for i, row in enumerate(rows)}
    parts = by_group(rows)
    if cut:
        parts = [part for group in parts for part in in_parts(group, budget)]
    batch: list[Row] = []
    for part in sorted(parts, key=lambda part: max(map(_length, part))):
        wider = [*batch, *part]
        if batch and _padded(wider) > budget:
            yield [numbers[id(row)] for row in batch]
            wider = part
        batch = wider
    if batch:
        yield [numbers[id(row)] for row in batch]


def in_parts(group: Sequence[Row], budget: int) -> Iterator[list[Row]]:
    """Consecutive rows of a group within a budget of padded tokens; at least one row each."""
    part: list[Row] = []
    for row in group:
        if part and _padded([*part, row]) > budget:
            yield part
            part = []
        part.append(row)
    if part:
        yield part


def schedule(
    rows: Sequence[Row], ranks: int, budget: int, *, cut: bool = False
) -> list[list[list[int]]]:
    """Indices of rows by rank and micro-batch, the same on whichever rank it is asked for.

    Groups stay on one rank, and in one micro-batch unless `cut`. Longest groups are dealt first,
    each to the rank with the least to do. Ranks with fewer micro-batches have empty ones at the
    end: every rank makes the same number of forwards, and there is at least one.
    """
    shares: list[list[Row]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    groups = sorted(by_group(rows), key=lambda group: -sum(map(_length, group)))
    for group in groups:
        rank = loads.index(min(loads))
        shares[rank] += group
        loads[rank] += sum(map(_length, group))
    numbers = {id(row): i for i, row in enumerate(rows)}
    planned = []
    for share in shares:
        own = [numbers[id(row)] for row in share]
        planned.append([[own[k] for k in micro] for micro in micro_batches(share, budget, cut=cut)])
    most = max(1, *map(len, planned))
    return [micro + [[]] * (most - len(micro)) for micro in planned]


def _length(row: Row) -> int:
    return len(row.prompt) + len(row.tokens)


def _padded(rows: Sequence[Row]) -> int:
    return len(rows) * max(map(_length, rows))
