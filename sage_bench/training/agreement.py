"""Whether two methods find the same tokens of a completion important: rank agreement of their token
weights."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from statistics import mean
from typing import TypeAlias

from scipy.stats import spearmanr
from torch import Tensor

Place: TypeAlias = tuple[int, str, int]  # batch, problem, number of the completion
Agreement: TypeAlias = dict[str, dict[str, tuple[float, int]]]


def rank_agreement(weights: Mapping[str, Mapping[Place, Tensor]]) -> Agreement:
    """Spearman's rank correlation of |advantage| over the tokens of a completion, as (mean over the
    completions, how many) for every two methods.

    weights: |advantage| (T,) of the completions of each method. Completions whose tokens weigh
    alike have no ranks: they are left out, and so is a method that has no others.

    >>> from torch import tensor
    >>> a = {(0, "p", 0): tensor([1.0, 2.0, 3.0]), (0, "p", 1): tensor([1.0, 1.0])}
    >>> b = {(0, "p", 0): tensor([2.0, 4.0, 9.0]), (0, "p", 1): tensor([1.0, 2.0])}
    >>> rank_agreement({"a": a, "b": b})
    {'a': {'b': (1.0, 1)}, 'b': {'a': (1.0, 1)}}
    """
    uneven = {
        name: {place: w for place, w in own.items() if len(w) > 1 and bool((w != w[0]).any())}
        for name, own in weights.items()
    }
    found: Agreement = {name: {} for name, own in uneven.items() if own}
    for a, b in combinations(found, 2):
        pair = _of_two(uneven[a], uneven[b])
        if pair is not None:
            found[a][b] = found[b][a] = pair
    return found


def _of_two(a: Mapping[Place, Tensor], b: Mapping[Place, Tensor]) -> tuple[float, int] | None:
    shared = [place for place in a if place in b]
    if not shared:
        return None
    ranks = [float(spearmanr(a[p].numpy(), b[p].numpy()).statistic) for p in shared]
    return mean(ranks), len(ranks)
